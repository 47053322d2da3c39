"""A connection: the reader of one wire, and the sessions' pulse on it.

The reader never waits for a turn. Whatever ends the connection is one reason, told to the session, the log, the close
frame and the counts alike.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress

import trio

from agentwire.protocol.desk import Say
from agentwire.protocol.errors import ConnectionEnded, RemoteProtocolError, RequestError
from agentwire.runtime.contracts import Wire
from agentwire.runtime.outbox import Outbox, ReserveExhausted
from agentwire.runtime.replay import Seen
from agentwire.runtime.session import Session

__all__ = ["Connection"]

log = logging.getLogger("agentwire.connection")


class Connection:
    """One wire and the session that it serves.

    Args:
        wire: an open WebSocket; closed here.
        session: running already; told when the connection is gone.
        seen: how far the client got on an earlier connection of this session; see `Session.attach`.

    Attributes:
        opened: Trio's time when it was.
        kind_of_end: how it ended, in a few words that can be counted.
    """

    def __init__(self, wire: Wire, session: Session, seen: Mapping[str | None, Seen] | None = None) -> None:
        self.wire = wire
        self.session = session
        self.opened = trio.current_time()
        self.kind_of_end = "stopped"
        self._seen = seen
        self._retiring: str | None = None

    async def run(self) -> str:
        """Serve until the connection ends, whoever ends it; returns the reason in words.

        Cancelled, it cuts the wire off and tells the session.

        Raises:
            ValueError: the session cannot go on from ``seen``.
            ConnectionEnded: the session is over.
        """
        outbox = self.session.attach(self.wire, self._seen)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, outbox)
            try:
                reason, code = await self._read()
            except BaseException:
                await self._cut("the server stopped")  # noqa: ASYNC102 - it waits for nothing
                raise
            if self._retiring is not None:
                self.kind_of_end, reason = "retired", self._retiring
            if code is not None:
                self.session.detach(self.wire, reason)
                await self.wire.close(code, reason)
            else:
                await self._cut(reason)
            nursery.cancel_scope.cancel(reason="the connection is over")
        return reason

    async def _cut(self, reason: str) -> None:
        """Close the socket first, so that no write that waits can hold up what is cancelled then."""
        try:
            await self.wire.abort(reason)
        finally:
            self.session.detach(self.wire, reason)

    async def _write(self, outbox: Outbox) -> None:
        with suppress(ConnectionEnded):  # the reader is told, too
            await self.wire.send_many(outbox)

    async def _read(self) -> tuple[str, int | None]:
        """Read until the end: why it ended, and the close code to answer with, if an answer is owed."""
        try:
            while True:
                self.session.receive(await self.wire.receive())
        except ConnectionEnded as end:
            self.kind_of_end = "lost" if end.received is None else "closed by the client"
            owed = end.received is not None and end.sent is None
            return str(end), end.received.code if owed and end.received is not None else None
        except RemoteProtocolError as error:
            self.kind_of_end = "protocol error"
            return str(error), error.close_code
        except ReserveExhausted as error:
            self.kind_of_end = "never reads"
            return str(error), None

    async def retire(self, code: int, reason: str, error: RequestError, *, grace: float, tell: bool) -> None:
        """Take no new requests, let running turns finish within ``grace`` seconds, then close.

        Args:
            code: the close code.
            reason: the reason in the close frame.
            error: what new requests are told.
            grace: seconds for what runs; then it is cancelled.
            tell: say the error at once, without being asked.
        """
        if self._retiring is not None:
            return
        self._retiring = f"closed with {code}: {reason}"
        self.session.desk.refuse(error)
        if tell:
            with suppress(ReserveExhausted):  # who reads nothing need not be told, either
                self.session.say(Say(error.event(sequence_number=0)))
        with trio.move_on_after(grace):
            await self.session.idle()
        await self.wire.close(code, reason)
