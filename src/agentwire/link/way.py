"""What a request can go over: a WebSocket connection, or plain HTTP where there is none.

Both take the same requests and give the same events; they differ in what the server remembers between two requests.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import attrs

from agentwire.link.exchange import Exchange
from agentwire.link.lanes import Lane, Lanes
from agentwire.link.steering import Steer
from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest

__all__ = ["LinkStatistics", "Way"]


@attrs.frozen
class LinkStatistics:
    """A snapshot of one way to the server.

    Attributes:
        connections: connections so far: more than one if its session was resumed.
        lanes: lanes used so far, the default lane among them.
        running: requests whose events may still come, abandoned ones among them.
        waiting: requests that wait for a lane.
        buffered_bytes: events that wait to be read.
        unsent_bytes: requests that wait to be written.
        bytes_in: bytes that came from the server.
        bytes_out: bytes that went there.
        events: events that came.
        keepalives: those among them that only said that a response still runs.
        unexpected: those among them that fitted no request.
    """

    connections: int
    lanes: int
    running: int
    waiting: int
    buffered_bytes: int
    unsent_bytes: int
    bytes_in: int
    bytes_out: int
    events: int
    keepalives: int
    unexpected: int


class Way(Protocol):
    """A way to the server; whoever opened it closes it."""

    @property
    def number(self) -> int:
        """Counts the ways of one line, from 1."""
        ...

    @property
    def remembers(self) -> bool:
        """Whether a response that the server has not stored can be continued here."""
        ...

    @property
    def limits(self) -> Limits:
        """The bounds in force."""
        ...

    @property
    def lanes(self) -> Lanes:
        """Its lanes."""
        ...

    @property
    def ended(self) -> ConnectionEnded | None:
        """How it ended; None while it is open."""
        ...

    @property
    def retiring(self) -> bool:
        """Whether it is near its end: ask nothing more here."""
        ...

    @property
    def lasts(self) -> float:
        """Seconds after which another way should take its place."""
        ...

    @property
    def lost_since(self) -> float | None:
        """Trio's time since when there has been no connection; None while there is one, or none is needed."""
        ...

    @property
    def interrupted(self) -> bool:
        """Whether requests were lost when it ended."""
        ...

    def exchange(self, request: CreateRequest, *, lane: Lane | None = None) -> AbstractAsyncContextManager[Exchange]:
        """Send a request and have its events, as a context.

        Waits for the request's lane and for room to send. Leaving the context before the last event abandons the
        request; nobody sees what it still says.

        Args:
            request: what to ask; ``stream_id`` names its lane, None takes one that is free.
            lane: a lane of this way that the caller holds, for several requests in a row.

        Raises:
            RequestLost: it has ended, or takes no more requests: never sent.
            LocalProtocolError: the request is too large, or names one lane too many.
        """
        ...

    @property
    def can_cancel(self) -> bool:
        """Whether a response can be cancelled without leaving it."""
        ...

    def cancel(self, exchange: Exchange) -> None:
        """Ask the server to end a response that has begun; nothing if that is not possible."""
        ...

    async def steer(self, exchange: Exchange, given: Any, wire: Any) -> Steer:
        """Send input for the response of an exchange, and return at once: `Steer.accepted` waits for the answer.

        Args:
            exchange: whose response has begun.
            given: the input, to be handed back if it is refused.
            wire: the same, as JSON.

        Raises:
            SteerRefused: the response has not begun, or has ended, or nothing is steered on this way.
            SteerLost: it has ended.
            LocalProtocolError: the message is too large.
        """
        ...

    def watch(self, told: Callable[[], None]) -> None:
        """Have something called, plainly, when the connection is lost, is there again, or has ended."""
        ...

    def retire(self, cause: str) -> None:
        """Take no more requests; those that wait for a lane are told that they were never sent."""
        ...

    async def drained(self) -> None:
        """Wait until no request is open."""
        ...

    async def wait_ended(self) -> ConnectionEnded:
        """Wait until it is over; returns how it ended."""
        ...

    async def close(self) -> None:
        """Close it; requests that still run are told."""
        ...

    def statistics(self) -> LinkStatistics:
        """Queues and totals at this moment."""
        ...
