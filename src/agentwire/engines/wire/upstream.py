"""One connection to the model's server, and who sits on which of its lanes.

A seat is a lane in our books: it is taken for a turn, and free again when the upstream has said its last word on it,
which for an abandoned turn may be later. What the lane's latest response is decides what can be continued there.
"""

from __future__ import annotations

from itertools import count
from typing import Final

import attrs
import trio

from agentwire.link import Lane, Link

__all__ = ["Seat", "Upstream"]

NAMES: Final = "turn-{}"

_numbers: Final = count(1)
"""Of the connections: no two of a process have the same, so that no two of their responses have the same mark."""


@attrs.define(eq=False)
class Seat:
    """A lane.

    Attributes:
        upstream: its connection.
        lane: the lane itself.
        taken: a turn is on it, or an abandoned one that has not ended.
        abandoned: nobody hears that turn any more.
        used: when it was last taken: a number that only grows.
        size: bytes of the request that was sent on it last.
        home: the mark under which the books know its latest response.
    """

    upstream: Upstream = attrs.field(repr=False)
    lane: Lane
    taken: bool = False
    abandoned: bool = False
    used: int = 0
    size: int = 0
    home: str | None = None

    @property
    def mark(self) -> str | None:
        """What its latest response is called here, and nothing else ever; None if it has none.

        The upstream's own id need be unique on its connection alone, and some count them.
        """
        latest, upstream = self.lane.latest, self.upstream
        if latest is None or upstream.stores:
            return latest
        return f"{upstream.number}.{self.lane.name}.{self.lane.turns}"

    def forget(self) -> None:
        """The upstream has let go of the lane's latest response."""
        self.lane.latest = None


class Upstream:
    """A connection that is open.

    Args:
        link: the connection; closed by whoever opened it.
        stores: the upstream keeps its responses, each under an id that is unique.

    Attributes:
        number: tells it from every other connection.
        seats: the lanes used so far.
        retired: it takes no more turns.
        over: set when nothing is to be expected of it any more.
        cut: why it must not be closed politely, if so.
    """

    def __init__(self, link: Link, *, stores: bool) -> None:
        self.link = link
        self.number = next(_numbers)
        self.stores = stores
        self.seats: list[Seat] = []
        self.retired = False
        self.over = trio.Event()
        self.cut: str | None = None

    @property
    def running(self) -> int:
        """Turns on it, abandoned ones included."""
        return sum(seat.taken for seat in self.seats)

    def usable(self, *, lanes: bool | None) -> bool:
        """Whether it can take one more turn.

        Args:
            lanes: whether the upstream has lanes; None if that is not known, and the first turn will show it.
        """
        if self.retired or self.link.ended is not None or self.link.retiring:
            return False
        known = self.link.has_lanes if lanes is None else lanes
        return self.running < (self.link.limits.running if known else 1)

    def spare(self, *, lanes: bool | None, most: int) -> Seat | None:
        """A free lane without a memory.

        Args:
            lanes: as for `usable`.
            most: lanes that the connection may have.
        """
        for seat in self.seats:
            if not seat.taken and seat.lane.latest is None:
                return seat
        known = self.link.has_lanes if lanes is None else lanes
        if self.seats and (len(self.seats) >= most or known is False):
            return None
        name = None if known is False else self._free_name
        self.seats.append(Seat(self, self.link.lanes.claim(name)))
        return self.seats[-1]

    @property
    def _free_name(self) -> str:
        """The first that none of its seats has, if need be one that was given up: a connection has only so many."""
        used = {seat.lane.name for seat in self.seats}
        return next(name for name in map(NAMES.format, count(1)) if name not in used)

    def id_of(self, mark: str) -> str | None:
        """The upstream's id of that response, if it can continue it on this connection."""
        if self.stores:
            return mark
        return next((seat.lane.latest for seat in self.seats if seat.mark == mark), None)

    def is_largest(self, seat: Seat) -> bool:
        """Whether no lane's latest request was larger than this one's."""
        return all(each.size <= seat.size for each in self.seats)

    def retire(self) -> None:
        """Take no more turns, and end with the last one."""
        self.retired = True
        self.check()

    def check(self) -> None:
        """See whether it is of any use still: turns that nobody hears do not keep a retired connection open."""
        if not self.retired:
            return
        if any(seat.abandoned for seat in self.seats) and all(seat.abandoned for seat in self.seats if seat.taken):
            self.cut = self.cut or "nobody waits for what still runs on it"
        if self.cut is not None or not self.running:
            self.over.set()

    async def live(self, *, age: float) -> None:
        """Be there until there is no more use for it, the connection ends, or it has the age to retire and is idle."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            with trio.move_on_after(age):
                await self.over.wait()
            self.retire()
            await self.over.wait()
            nursery.cancel_scope.cancel(reason="the connection is of no more use")
        if self.cut is not None:
            await self.link.abort(self.cut)

    async def _watch(self) -> None:
        await self.link.wait_ended()
        self.over.set()
