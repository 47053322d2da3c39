"""The lanes of one connection: on each, one request at a time, in the order in which they were asked for.

A lane's next request leaves when the last one has ended, so that an event can only mean one request; requests side by
side go over different lanes. Whoever names no lane gets one that is free, the default lane first. A holder that has
nothing to say for a while may rest: its lane is lent when no other is left, so that no two wait for each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Final

import attrs
import trio

from agentwire.link.exchange import Exchange
from agentwire.protocol.errors import ConnectionEnded, LocalProtocolError

__all__ = ["Lane", "Lanes", "Rest"]

_AUTO: Final = "auto-"


class Rest:
    """A holder's claim to a lane that may be lent meanwhile."""


@attrs.define(eq=False)
class Lane:
    """One ordered lane.

    Attributes:
        name: the wire's ``stream_id``; None is the default lane.
        held: whether somebody has it, for one request or for a whole run.
        current: the request whose events come on it now, perhaps abandoned.
        latest: the id of its last response that ended well: what the server still has of it.
        ended: the id of its last response, whatever came of it: its end may come once more.
        turns: responses that have ended on it.
        rest: of a holder who needs it later.
        source: the lane that its request forks from, until the fork has begun.
        forks: requests on other lanes that fork from ``latest``, and have not begun.
        lasting: whether it is held for longer than one request.
        clogged: why nothing may ever follow what runs there; None as long as that is not so.
    """

    name: str | None
    held: bool = False
    current: Exchange | None = None
    latest: str | None = None
    ended: str | None = None
    turns: int = 0
    rest: Rest | None = None
    source: Lane | None = None
    forks: int = 0
    lasting: bool = False
    clogged: ConnectionEnded | None = None
    quiet: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, repr=False)

    @property
    def free(self) -> bool:
        """Whether the next request may take it."""
        return not self.held and self.idle

    @property
    def idle(self) -> bool:
        """Whether its holder's next request may leave (Responses WebSocket guide: not before a fork has begun)."""
        return self.current is None and not self.forks


@attrs.frozen
class _Wish:
    """What somebody wants: see `Lanes.acquire`."""

    name: str | None
    after: str | None
    lasting: bool
    named: bool


@attrs.define(eq=False)
class _Waiter:
    wish: _Wish
    lane: Lane | None = None
    end: ConnectionEnded | None = None
    event: trio.Event = attrs.field(factory=trio.Event)


class Lanes:
    """All lanes of a connection.

    Args:
        limit: how many named lanes a connection may ever have (Responses WebSocket guide: 32).
        running: how many requests a server runs at once; those that name no lane get no more lanes than that.
        reserved: names that belong to somebody over all connections, and are given to nobody else.
    """

    def __init__(self, limit: int, running: int, reserved: AbstractSet[str] = frozenset()) -> None:
        self._limit = limit
        self._most_own = min(limit, running - 1)
        self._reserved = reserved
        self._lanes: dict[str | None, Lane] = {None: Lane(None)}
        self._own: list[Lane] = []
        self._waiters: deque[_Waiter] = deque()
        self._end: ConnectionEnded | None = None

    def __iter__(self) -> Iterator[Lane]:
        return iter(tuple(self._lanes.values()))  # whatever it does with one may give another to somebody

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def waiting(self) -> int:
        """Tasks that wait for a lane."""
        return len(self._waiters)

    def find(self, name: str | None) -> Lane | None:
        """The lane of that name, if it was ever used."""
        return self._lanes.get(name)

    def remember(self, response_id: str) -> bool:
        """Whether the server still has this response as the latest one of a lane."""
        return any(lane.latest == response_id for lane in self)

    async def acquire(
        self, name: str | None = None, *, after: str | None = None, lasting: bool = False, named: bool = False
    ) -> Lane:
        """Wait for a lane and hold it until `release`; first come, first served on each lane.

        Cancelled, it holds nothing.

        Args:
            name: the lane; None takes any that nobody named.
            after: the response that will be continued: its lane is taken if it is free.
            lasting: it is for more than one request, so that there may be as many as there are names.
            named: not the default lane.

        Raises:
            ConnectionEnded: the connection ended first, or the lane is clogged.
            LocalProtocolError: the connection has had all the named lanes that it may have.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if (end := self._end or self._clogged(name)) is not None:
            raise end
        wish = _Wish(name, after, lasting, named)
        if (lane := self._choose(wish)) is not None:
            return self._hold(lane, wish)
        waiter = _Waiter(wish)
        self._waiters.append(waiter)
        try:
            await waiter.event.wait()
        except trio.Cancelled:
            self._waiters.remove(waiter)  # it is still there: who is given a lane is no longer cancelled here
            raise
        if waiter.lane is None:
            assert waiter.end is not None
            raise waiter.end
        return waiter.lane

    def _clogged(self, name: str | None) -> ConnectionEnded | None:
        lane = self._lanes.get(name) if name is not None else None
        return lane.clogged if lane is not None else None

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
        lane.held = lane.lasting = False
        lane.rest = None
        self.hand_over()

    def settle(self, lane: Lane) -> None:
        """The lane's current request has ended."""
        lane.current = lane.clogged = None
        self.begun(lane)
        self.pass_on(lane)
        self.hand_over()

    def clog(self, lane: Lane, end: ConnectionEnded) -> None:
        """The lane's current request is lost, and may never end: whoever waits is told, and had better go elsewhere."""
        lane.clogged = end
        self.begun(lane)
        lane.quiet.unpark_all()
        self._turn_away(end)

    def close(self, end: ConnectionEnded) -> None:
        """The connection has ended; whoever waits is told."""
        self._end = end
        self._turn_away(end)
        for lane in self:
            lane.quiet.unpark_all()

    def _turn_away(self, end: ConnectionEnded) -> None:
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            waiter.end = end
            waiter.event.set()

    # Of a lane that one holds

    async def quiet(self, lane: Lane) -> None:
        """Wait until the holder's next request may leave: the last one has ended, an abandoned one too, and every fork
        from what it left has begun. Nothing else runs between that moment and the caller.

        Raises:
            ConnectionEnded: the connection ended first, or the last request may never end.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not lane.idle and (self._end or lane.clogged) is None:
            await lane.quiet.park()
        if (end := self._end or lane.clogged) is not None:
            raise end

    def pass_on(self, lane: Lane) -> None:
        """Let the holder's next request go on, if it may: the last one has ended, or does not leave after all."""
        if lane.idle:
            lane.quiet.unpark()

    def rest(self, lane: Lane) -> Rest:
        """The holder says nothing for a while: the lane may be lent, to one who would have to wait otherwise."""
        lane.rest = Rest()
        rest = lane.rest
        self.hand_over()
        return rest

    def wake(self, lane: Lane, rest: Rest) -> bool:
        """The holder goes on; False if the lane is somebody else's now, and has to be acquired anew."""
        if lane.rest is not rest:
            return False
        lane.rest = None
        return True

    # Forks

    def fork(self, lane: Lane, parent: str | None) -> None:
        """A request that continues ``parent`` leaves on a lane; where that is another lane's, that one waits for it.

        (Responses WebSocket guide: a response that is not stored is kept only as the latest one of its lane.)
        """
        source = next((other for other in self if parent is not None and other.latest == parent), None)
        if source is not None and source is not lane:
            source.forks += 1
            lane.source = source

    def begun(self, lane: Lane) -> None:
        """The request on this lane has begun, or never will."""
        source, lane.source = lane.source, None
        if source is not None:
            source.forks -= 1
            if not source.forks:
                self.pass_on(source)
                self.hand_over()

    # Who gets which

    def hand_over(self) -> None:
        """Give what is free to those who wait, the eldest first."""
        for waiter in tuple(self._waiters):
            lane = self._choose(waiter.wish)
            if lane is not None:
                waiter.lane = self._hold(lane, waiter.wish)
                self._waiters.remove(waiter)
                waiter.event.set()

    def _hold(self, lane: Lane, wish: _Wish) -> Lane:
        lane.held, lane.lasting, lane.rest = True, wish.lasting, None
        return lane

    def _choose(self, wish: _Wish) -> Lane | None:
        """The lane to take now, or None to wait for one."""
        if wish.name is not None:
            lane = self._lanes.get(wish.name) or self._add(wish.name)
            return lane if lane.free or _lends(lane) else None
        for lane in self:
            if wish.after is not None and lane.latest == wish.after and lane.free and lane.name not in self._reserved:
                return lane
        pool = [lane for lane in self._pool if not (wish.named and lane.name is None)]
        free = next((lane for lane in pool if lane.free), None) or self._new(wish)
        return free or next((lane for lane in pool if _lends(lane)), None)

    @property
    def _pool(self) -> list[Lane]:
        """The lanes that nobody named."""
        return [lane for lane in (self._lanes[None], *self._own) if lane.name not in self._reserved]

    def _new(self, wish: _Wish) -> Lane | None:
        """Another lane, as long as there may be more."""
        passing = sum(not lane.lasting for lane in self._own)
        if self._names_left <= 0 or (passing >= self._most_own and not wish.lasting):
            return None
        number = len(self._own) + 1
        while (name := f"{_AUTO}{number}") in self._lanes or name in self._reserved:
            number += 1
        self._own.append(lane := self._add(name))
        return lane

    @property
    def _names_left(self) -> int:
        """How many more may be used, beside those that are reserved."""
        return self._limit + 1 - len(self._lanes) - sum(name not in self._lanes for name in self._reserved)

    def _add(self, name: str | None) -> Lane:
        if len(self._lanes) > self._limit or (name not in self._reserved and self._names_left <= 0):
            raise LocalProtocolError(
                f"lane {name!r} is one too many: a connection may name {self._limit} lanes in its life; "
                "use one of those that it has"
            )
        lane = self._lanes[name] = Lane(name)
        if name is not None and name in self._reserved and name.startswith(_AUTO):
            self._own.append(lane)
        return lane


def _lends(lane: Lane) -> bool:
    """Whether it may be lent: its holder rests, and nothing of his is on it any more."""
    return lane.rest is not None and lane.idle
