"""One request and what comes back: the server's events in order, and how far the request came.

An exchange that is left before its end goes on without its reader: what still comes is swallowed, up to the terminal
event, so that no later request on the lane ever sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import trio

from agentwire.link.flow import Flow
from agentwire.link.inbox import Inbox
from agentwire.link.outcome import Fate, RequestLost, TurnOverflow
from agentwire.protocol.codec import decode_event
from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.events import Event

if TYPE_CHECKING:
    from agentwire.link.lanes import Lane

__all__ = ["Exchange"]


class Exchange:
    """A request on its way; made by `Link.exchange`. Iterate it for the events, from one task.

    Attributes:
        lane: where its events come.
        fate: how far it has come.
        response_id: of the response, once it has begun.
        heard: Trio's time of the last event, a ``keepalive`` included; before the first one, of its departure.
        between_since: Trio's time since when the successor of a steered response is awaited.
        over: whether nothing of it will come any more.
        on_begin: told that it has begun.
        on_end: told that nothing of it will come any more.
    """

    def __init__(self, lane: Lane, *, limit: int, flow: Flow | None = None) -> None:
        self.lane = lane
        self.fate = Fate.NEVER_SENT
        self.response_id: str | None = None
        self.failing_since: float | None = None
        self.between_since: float | None = None
        self.heard = trio.current_time()
        self.on_begin: Callable[[Exchange], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self.over = False
        self._left = False
        self._news = trio.lowlevel.ParkingLot()
        self._limit = limit
        self._inbox = Inbox(limit, flow)

    # The reader's side

    async def receive_frame(self) -> bytes | None:
        """The next event as the server wrote it; None after the last one.

        Raises:
            RequestLost: the connection ended before the request did; what had come before was given first.
            TurnOverflow: this task read too slowly.
        """
        return await self._inbox.get()

    async def receive_frames(self) -> list[bytes]:
        """The events that have come, as the server wrote them; none after the last one. Raises as `receive_frame`."""
        return await self._inbox.get_some()

    async def receive(self) -> Event | None:
        """The next event; None after the last one. Sees no ``keepalive``.

        Raises:
            RequestLost: the connection ended before the request did; what had come before was given first.
            TurnOverflow: this task read too slowly.
            RemoteProtocolError: the event cannot be read.
        """
        frame = await self._inbox.get()
        return None if frame is None else decode_event(frame)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await self.receive()
        if event is None:
            raise StopAsyncIteration
        return event

    @property
    def buffered_bytes(self) -> int:
        """Bytes of events that wait to be read."""
        return self._inbox.waiting_bytes

    async def begun(self) -> None:
        """Wait until a response of it runs, or none will any more, or nobody reads it."""
        await trio.lowlevel.checkpoint()
        while not (self.over or self._left) and (self.fate is not Fate.STARTED or self.between_since is not None):
            await self._news.park()

    async def ended(self) -> None:
        """Wait until nothing of it will come any more."""
        await trio.lowlevel.checkpoint()
        while not self.over:
            await self._news.park()

    # The connection's side

    def taken(self) -> None:
        """The wire has the request: from now on nobody can say that it was not sent."""
        self.fate = Fate.UNKNOWN
        self.heard = trio.current_time()

    def begin(self, response_id: str | None) -> None:
        """The server has begun a response."""
        self.fate = Fate.STARTED
        self.response_id = self.response_id or response_id
        self._news.unpark_all()
        if self.on_begin is not None and self.response_id is not None:
            hook, self.on_begin = self.on_begin, None
            hook(self)

    def deliver(self, frame: bytes) -> None:
        """An event has come."""
        self.heard = trio.current_time()
        if not self._inbox.put(frame):
            self._inbox.close(TurnOverflow(self._limit, self.response_id), drop=True)

    def wait_for_successor(self, frame: bytes) -> None:
        """The response has ended with this event, and another one takes its place: it was steered."""
        self.between_since = trio.current_time()
        self.deliver(frame)

    def succeed(self, response_id: str | None) -> None:
        """The successor of a steered response has begun."""
        self.between_since = None
        self.response_id = None
        self.begin(response_id)

    def has_room(self, size: int) -> bool:
        """Whether an event of that size may be delivered now."""
        return self._inbox.has_room(size)

    async def room(self, size: int) -> None:
        """Wait until it may, or nobody reads any more."""
        await self._inbox.room(size)

    def fail_soon(self, frame: bytes) -> None:
        """The server has said that the response broke; ``response.failed`` should follow."""
        self.failing_since = trio.current_time()
        self.deliver(frame)

    def finish(self, frame: bytes | None = None) -> None:
        """The server has said its last word, with this event."""
        if frame is not None:
            self.deliver(frame)
        self.fate = Fate.FINISHED
        self._inbox.close()
        self._end()

    def lose(self, end: ConnectionEnded) -> None:
        """The connection ended first."""
        self._inbox.close(RequestLost(end, fate=self.fate, response_id=self.response_id))
        self._end()

    def leave(self) -> None:
        """Nobody reads any more; what comes is swallowed."""
        self._left = True
        self._news.unpark_all()
        self._inbox.close(drop=True)

    def _end(self) -> None:
        self.over = True
        self._news.unpark_all()
        if self.on_end is not None:
            hook, self.on_end = self.on_end, None
            hook()
