"""A connection: the reader of one wire, and the sessions' pulse on it.

The reader never waits for a turn. Whatever ends the connection is one reason, told to the session, the log, the close
frame and the counts alike.
"""

from __future__ import annotations

import logging
from contextlib import suppress

import trio

from agentwire.protocol.desk import Say
from agentwire.protocol.errors import ConnectionEnded, RemoteProtocolError, RequestError
from agentwire.runtime.contracts import Wire
from agentwire.runtime.outbox import ReserveExhausted
from agentwire.runtime.session import Session

__all__ = ["Connection"]

log = logging.getLogger("agentwire.connection")


class Connection:
    """One wire and the session that it serves.

    Args:
        wire: an open WebSocket; closed here.
        session: running already; told when the connection is gone.

    Attributes:
        opened: Trio's time when it was.
        kind_of_end: how it ended, in a few words that can be counted.
    """

    def __init__(self, wire: Wire, session: Session) -> None:
        self.wire = wire
        self.session = session
        self.opened = trio.current_time()
        self.kind_of_end = "stopped"
        self._retiring: str | None = None

    async def run(self) -> str:
        """Serve until the connection ends, whoever ends it; returns the reason in words.

        Cancelled, the session is told, and the caller closes the wire.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            reason, code = "the server stopped", None
            try:
                reason, code = await self._read()
            finally:
                self.session.detach(self._retiring or reason)
            if code is not None:
                await self.wire.close(code, reason)
            if self._retiring is not None:
                self.kind_of_end = "retired"
            nursery.cancel_scope.cancel(reason="the connection is over")
        return self._retiring or reason

    async def _write(self) -> None:
        with suppress(ConnectionEnded):  # the reader is told, too
            await self.wire.send_many(self.session.outbox)

    async def _read(self) -> tuple[str, int | None]:
        """Read until the end: why it ended, and the close code to say so with, if it is for us to say."""
        try:
            while True:
                self.session.receive(await self.wire.receive())
        except ConnectionEnded as end:
            self.kind_of_end = "lost" if end.received is None else "closed by the client"
            return str(end), None
        except RemoteProtocolError as error:
            self.kind_of_end = "protocol error"
            return str(error), error.close_code
        except ReserveExhausted as error:
            self.kind_of_end = "never reads"
            await self.wire.abort(str(error))
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
            self.session.say(Say(error.event(sequence_number=0)))
        with trio.move_on_after(grace):
            await self.session.idle()
        await self.wire.close(code, reason)
