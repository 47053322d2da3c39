"""The lanes of one connection: on each, one request at a time, in the order in which they were asked for.

A lane's next request leaves when the last one has ended, so that an event can only mean one request; requests side by
side go over different lanes. Whoever names no lane gets one that is free, the default lane first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import attrs
import trio

from agentwire.link.exchange import Exchange
from agentwire.protocol.errors import ConnectionEnded, LocalProtocolError

__all__ = ["Lane", "Lanes"]


@attrs.define(eq=False)
class Lane:
    """One ordered lane.

    Attributes:
        name: the wire's ``stream_id``; None is the default lane.
        held: whether somebody has it, for one request or for a whole run.
        current: the request whose events come on it now, perhaps abandoned.
        latest: the id of its last response that ended well: what the server still has of it.
        expired: the id of a response that was given up after its error, whose end may still come.
    """

    name: str | None
    held: bool = False
    current: Exchange | None = None
    latest: str | None = None
    expired: str | None = None

    @property
    def free(self) -> bool:
        """Whether the next request may take it."""
        return not self.held and self.current is None


@attrs.define(eq=False)
class _Waiter:
    name: str | None
    after: str | None
    lane: Lane | None = None
    event: trio.Event = attrs.field(factory=trio.Event)


class Lanes:
    """All lanes of a connection.

    Args:
        limit: how many named lanes a connection may ever have (Responses WebSocket guide: 32).
        running: how many requests a server runs at once; those that name no lane get no more lanes than that.
    """

    def __init__(self, limit: int, running: int) -> None:
        self._limit = limit
        self._most_own = min(limit, running - 1)
        self._lanes: dict[str | None, Lane] = {None: Lane(None)}
        self._own: list[Lane] = []
        self._waiters: deque[_Waiter] = deque()
        self._end: ConnectionEnded | None = None

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def waiting(self) -> int:
        """Tasks that wait for a lane."""
        return len(self._waiters)

    def find(self, name: str | None) -> Lane | None:
        """The lane of that name, if it was ever used."""
        return self._lanes.get(name)

    async def acquire(self, name: str | None = None, *, after: str | None = None) -> Lane:
        """Wait for a lane and hold it until `release`; first come, first served on each lane.

        Cancelled, it holds nothing.

        Args:
            name: the lane; None takes any that nobody named.
            after: the response that will be continued: its lane is taken if it is free.

        Raises:
            ConnectionEnded: the connection ended first.
            LocalProtocolError: the connection has had all the named lanes that it may have.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._end is not None:
            raise self._end
        lane = self._choose(name, after)
        if lane is not None:
            lane.held = True
            return lane
        waiter = _Waiter(name, after)
        self._waiters.append(waiter)
        try:
            await waiter.event.wait()
        except trio.Cancelled:
            self._waiters.remove(waiter)  # it is still there: who is given a lane is no longer cancelled here
            raise
        if waiter.lane is None:
            assert self._end is not None
            raise self._end
        return waiter.lane

    def claim(self, name: str | None) -> Lane:
        """Hold a lane that nobody else uses, for as long as the connection lasts.

        Raises:
            LocalProtocolError: the connection has had all the named lanes that it may have.
        """
        lane = self._lanes.get(name) or self._add(name)
        lane.held = True
        return lane

    def release(self, lane: Lane) -> None:
        """Give a lane back; it is free once its current request has ended."""
        lane.held = False
        self._hand_over()

    def settle(self, lane: Lane) -> None:
        """The lane's current request has ended."""
        lane.current = None
        self._hand_over()

    def close(self, end: ConnectionEnded) -> None:
        """The connection has ended; whoever waits is told."""
        self._end = end
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            waiter.event.set()

    def _hand_over(self) -> None:
        """Give what is free to those who wait, the eldest first."""
        for waiter in tuple(self._waiters):
            lane = self._choose(waiter.name, waiter.after)
            if lane is not None:
                lane.held = True
                waiter.lane = lane
                self._waiters.remove(waiter)
                waiter.event.set()

    def _choose(self, name: str | None, after: str | None) -> Lane | None:
        """The lane to take now, or None to wait for one."""
        if name is not None:
            lane = self._lanes.get(name) or self._add(name)
            return lane if lane.free else None
        if after is not None:
            for lane in self:
                if lane.latest == after and lane.free:
                    return lane
        for lane in (self._lanes[None], *self._own):
            if lane.free:
                return lane
        if len(self._own) >= self._most_own or len(self._lanes) > self._limit:
            return None
        number = len(self._own) + 1
        while f"auto-{number}" in self._lanes:
            number += 1
        self._own.append(self._add(f"auto-{number}"))
        return self._own[-1]

    def _add(self, name: str | None) -> Lane:
        if len(self._lanes) > self._limit:
            raise LocalProtocolError(
                f"lane {name!r} is one too many: a connection may name {self._limit} lanes in its life; "
                "use one of those that it has"
            )
        lane = self._lanes[name] = Lane(name)
        return lane
