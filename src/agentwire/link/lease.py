"""A lane that is one's own over all connections: for a run, or for whoever leases one and asks what he likes on it.

On each connection it is acquired once, when it is first needed there. A run's lease may be a different lane each time,
and is lent while the run has nothing to say; a caller's keeps its name, which nobody else is given meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from typing import Protocol

import trio

from agentwire.link.lanes import Lane, Lanes, Rest
from agentwire.protocol.errors import ConnectionEnded, LocalProtocolError

__all__ = ["Lease", "Reserved", "lease_lane"]


class _Way(Protocol):
    """What a lane is acquired on."""

    @property
    def lanes(self) -> Lanes:
        """Its lanes."""


class _Line(Protocol):
    """What has one way after the other."""

    @property
    def reserved(self) -> Reserved:
        """Names that are leased."""

    @property
    def current(self) -> _Way:
        """The latest way."""

    async def way(self) -> _Way:
        """The way that is open."""


class Reserved(AbstractSet[str]):
    """Names of lanes that are leased, over all connections of a line."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._given_back = trio.lowlevel.ParkingLot()

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    async def take(self, name: str) -> None:
        """Wait until nobody has the name, and have it."""
        await trio.lowlevel.checkpoint()
        while name in self._names:
            await self._given_back.park()
        self._names.add(name)

    def take_free(self, name: str) -> None:
        """Have a name that nobody has."""
        self._names.add(name)

    def give_back(self, name: str) -> None:
        """Somebody else may have it."""
        self._names.discard(name)
        self._given_back.unpark_all()


class Lease:
    """A lane, on whatever connection there is; made by `lease_lane`, or for a run.

    Args:
        name: of the lane; None for any, which may be another one on each connection.

    Attributes:
        name: of the lane; None where it may be any.
        over: it was given back for good.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self.over = False
        self._way: _Way | None = None
        self._lane: Lane | None = None
        self._rest: Rest | None = None
        self._lock = trio.Lock()

    async def on(self, way: _Way, *, after: str | None = None) -> Lane:
        """The lane to use on this connection, held; the same one each time, unless it was lent.

        Args:
            way: the connection.
            after: the response that will be continued: if there is no lane yet, its lane is taken if it is free.

        Raises:
            ConnectionEnded: the connection ended before there was one.
            LocalProtocolError: the connection has had all the named lanes that it may have, or the lease is over.
        """
        async with self._lock:
            if self.over:
                raise LocalProtocolError(f"the lane {self.name!r} was given back: its context has been left")
            if way is not self._way:
                self.release()
            lane = self._lane
            if lane is not None and self._awake(lane) and not self._clogged(lane):
                return lane
            self._lane = None
            self._lane = await way.lanes.acquire(self.name, after=after, lasting=True)
            self._way = way
            return self._lane

    def _clogged(self, lane: Lane) -> bool:
        """Whether a lost request of one's own still sits on it; then another lane is better, if any will do."""
        clogged = self.name is None and lane.current is not None
        if clogged:
            self.release()
        return clogged

    def rest(self) -> None:
        """Nothing will be asked for a while: the lane may be lent to others if there is no other left."""
        if self._lane is not None and self._way is not None and self._rest is None:
            self._rest = self._way.lanes.rest(self._lane)

    def release(self) -> None:
        """Give the lane back, if there is one."""
        lane, way = self._lane, self._way
        if lane is not None and way is not None and self._awake(lane):
            way.lanes.release(lane)
        self._lane = self._way = None

    def take(self, way: _Way, lane: Lane) -> None:
        """Go on with a lane that is held already."""
        self._way, self._lane = way, lane

    def _awake(self, lane: Lane) -> bool:
        """Whether the lane is still one's own."""
        rest, self._rest = self._rest, None
        return rest is None or (self._way is not None and self._way.lanes.wake(lane, rest))


@asynccontextmanager
async def lease_lane(line: _Line, name: str | None = None) -> AsyncGenerator[Lease]:
    """Lease a lane that has a name; waits for one that is free. It is given back when the context is left.

    Args:
        line: whose connections it is on.
        name: of the lane; None for any that nobody named.

    Raises:
        ConnectionEnded: there is no connection any more.
        LocalProtocolError: the connection has had all the named lanes that it may have.
    """
    lease = Lease(name)
    if name is not None:
        await line.reserved.take(name)
    try:
        await _settle(line, lease)
        yield lease
    finally:
        lease.over = True
        if lease.name is not None:
            line.reserved.give_back(lease.name)
        lease.release()
        line.current.lanes.hand_over()  # there the name may be somebody's who waits for one


async def _settle(line: _Line, lease: Lease) -> None:
    """Get the lane itself, on the connection that there is when one is free."""
    while True:
        way = await line.way()
        try:
            lane = await way.lanes.acquire(lease.name, lasting=True, named=True)
        except ConnectionEnded:
            continue  # `way` says whether there is another one
        lease.take(way, lane)
        if lease.name is None and lane.name is not None:
            lease.name = lane.name
            line.reserved.take_free(lane.name)
        return
