"""A connection: the reader of one wire, and the sessions' pulse on it.

The reader never waits for a turn. Whatever ends the connection is one reason, told to the session, the log, the close
frame and the counts alike.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import trio

from agentwire.protocol.errors import ConnectionEnded, RemoteProtocolError, RequestError
from agentwire.protocol.extensions import goaway
from agentwire.protocol.hello import Reason
from agentwire.runtime.contracts import Wire
from agentwire.runtime.negotiation import Negotiation
from agentwire.runtime.outbox import Outbox, ReserveExhausted
from agentwire.runtime.replay import Seen
from agentwire.runtime.wire_session import WireSession

__all__ = ["Connection"]

log = logging.getLogger("agentwire.connection")


class Connection:
    """One wire and the session that it serves.

    Args:
        wire: an open WebSocket; closed here.
        session: running already; told when the connection is gone.
        seen: how far the client got on an earlier connection of this session; see `WireSession.attach`.
        negotiation: what the client may ask for before anything else.

    Attributes:
        opened: Trio's time when it was.
        heard: Trio's time of the client's last message.
        kind_of_end: how it ended, in a few words that can be counted.
    """

    def __init__(
        self,
        wire: Wire,
        session: WireSession,
        seen: Mapping[str | None, Seen] | None = None,
        *,
        negotiation: Negotiation | None = None,
    ) -> None:
        self.wire = wire
        self.session = session
        self._now = trio.lowlevel.current_clock().current_time  # what trio.current_time() asks, without the way there
        self.opened = self.heard = self._now()
        self.kind_of_end = "stopped"
        self._seen = seen
        self._negotiation = negotiation
        self._ending: str | None = None
        self._goodbye = False
        self._refusal: RequestError | None = None
        self._farewell: tuple[Reason, float] | None = None
        self._told: Reason | None = None

    async def run(self) -> str:
        """Serve until the connection ends, whoever ends it; returns the reason in words.

        Cancelled, it cuts the wire off and tells the session.

        Raises:
            ValueError: the session cannot go on from ``seen``.
            ConnectionEnded: the session is over.
        """
        outbox = self.session.attach(self.wire, self._seen)
        if self._negotiation is not None:
            self._negotiation.begin(self)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, outbox)
            try:
                reason, code = await self._read()
            except BaseException:
                await self._cut("the server stopped")  # noqa: ASYNC102 - it waits for nothing
                raise
            if self._ending is not None:
                reason = self._ending
            elif self.session.wire is not self.wire:
                self.kind_of_end = "taken over"
            if code is not None:
                self.session.detach(self.wire, reason, goodbye=self._goodbye)
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
            self.session.detach(self.wire, reason, goodbye=self._goodbye)

    async def _write(self, outbox: Outbox) -> None:
        with suppress(ConnectionEnded):  # the reader is told, too
            await self.wire.send_many(outbox)

    async def _read(self) -> tuple[str, int | None]:
        """Read until the end: why it ended, and the close code to answer with, if an answer is owed."""
        try:
            if self._negotiation is not None:
                self._take(await self.wire.receive(), first=self._negotiation)
                self._tell()
            await self.wire.receive_each(self._take)
        except ConnectionEnded as end:
            if self._ending is None:
                self.kind_of_end = "lost" if end.received is None else "closed by the client"
            self._goodbye = end.received is not None and end.received.code == 1000 and self._ending is None
            owed = end.received is not None and end.sent is None
            return str(end), end.received.code if owed and end.received is not None else None
        except RemoteProtocolError as error:
            self.kind_of_end = "protocol error"
            return str(error), error.close_code
        except ReserveExhausted as error:
            self.kind_of_end = "never reads"
            return str(error), None

    def _take(self, frame: bytes, first: Negotiation | None = None) -> None:
        """A message of the client; it may send none any more once the session goes on elsewhere."""
        session = self.session
        if session.wire is not self.wire:
            raise ConnectionEnded(cause="the session goes on on another connection")
        self.heard = self._now()
        if first is None or not first.take_first(self, frame):
            session.receive(frame)

    # What is beside the session

    def notify(self, event: Mapping[str, Any]) -> None:
        """Say something about the connection itself.

        Raises:
            ReserveExhausted: the client reads nothing.
        """
        self.session.notify(event)

    def move(self, session: WireSession, seen: Mapping[str | None, Seen], reply: int) -> None:
        """Go on with a session that its client has come back to; what it missed is sent.

        Args:
            session: it; the connection's new one, in which nothing has happened yet, ends.
            seen: how far the client got.
            reply: likewise; `WireSession.missed` has not raised for these.
        """
        new = self.session
        self.session = session
        outbox = new.outbox
        new.leave("its client came back to another session")
        session.attach(self.wire, seen, reply=reply, outbox=outbox)
        session.desk.refuse(self._refusal)

    def announce(self, reason: Reason, deadline: float) -> None:
        """Tell a client that asked for it when its connection will end, once for each reason.

        Args:
            reason: why.
            deadline: Trio's time.
        """
        self._farewell = (reason, deadline)
        self._tell()

    def _tell(self) -> None:
        if self._farewell is None or self._told == self._farewell[0] or not self.session.granted.goaway:
            return
        self._told, deadline = self._farewell
        with suppress(ReserveExhausted):  # who reads nothing need not be told
            self.notify(goaway(self._told, deadline - trio.current_time()))

    async def end(self, code: int, reason: str, kind: str, *, patience: float = 0.0) -> None:
        """Close it, for this reason; the first one counts. ``patience`` is `Wire.close`'s."""
        if self._ending is not None:
            return
        self._ending, self.kind_of_end = f"closed with {code}: {reason}", kind
        await self.wire.close(code, reason, patience=patience)

    async def retire(self, code: int, reason: str, error: RequestError, *, grace: float, tell: bool) -> None:
        """Take no new requests, let running turns finish within ``grace`` seconds, then close.

        What has ended is delivered, too, as long as the grace lasts: its client may read slowly.

        Args:
            code: the close code.
            reason: the reason in the close frame.
            error: what new requests are told.
            grace: seconds for what runs; then it is cancelled, or waits to be resumed.
            tell: say the error at once, without being asked.
        """
        if self._refusal is not None:
            return
        self._refusal = error
        self.session.desk.refuse(error)
        if tell:
            with suppress(ReserveExhausted):  # who reads nothing need not be told, either
                self.notify(error.event())
        with trio.move_on_after(grace) as scope:
            await self._wait_idle()
        session, patience = self.session, 0.0
        if session.received:  # what its latest turn has said may still be on its way
            patience = min(scope.deadline, session.idle_since + grace) - trio.current_time()
        await self.end(code, reason, "retired", patience=patience)

    async def _wait_idle(self) -> None:
        session = None
        while session is not self.session:
            session = self.session
            await session.idle()
