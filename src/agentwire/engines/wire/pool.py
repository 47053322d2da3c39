"""The connections to one upstream, and who may use them: a conversation stays where the upstream remembers it.

Connections are opened when they are needed, one more while fewer than the bound are open, and retire before the
upstream ends them. Whoever finds no lane waits in line; if no more can be made, those that are open must do, and if
there is none, all that wait are told.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import count

import attrs
import trio

from agentwire.engines.wire.refusal import Refusal
from agentwire.engines.wire.upstream import Seat, Upstream
from agentwire.link import Link
from agentwire.protocol.errors import AgentwireError, ConnectionEnded, EngineError
from agentwire.protocol.limits import Limits

__all__ = ["Pool", "PoolStatistics", "Unreachable"]

_log = logging.getLogger("agentwire.engine")


class Unreachable(AgentwireError):
    """No connection could be made; nothing was sent.

    Args:
        cause: what happened.
    """

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@attrs.frozen(kw_only=True)
class PoolStatistics:
    """A snapshot of a pool.

    Attributes:
        connections: open, and not about to be closed.
        retired: those among them that take no more turns.
        opening: connections that are being made.
        opened: made so far.
        lanes: used so far on the open ones.
        running: turns, abandoned ones included.
        abandoned: turns that nobody hears and that have not ended.
        waiting: turns that wait for a lane.
    """

    connections: int
    retired: int
    opening: int
    opened: int
    lanes: int
    running: int
    abandoned: int
    waiting: int


@attrs.define(eq=False)
class _Waiter:
    after: str | None
    seat: Seat | None = None
    error: Unreachable | None = None
    event: trio.Event = attrs.field(factory=trio.Event)


class Pool:
    """Made by whoever has a nursery for its connections; ends with that.

    Args:
        nursery: runs the connections.
        open_connection: makes one.
        limits: bounds of a connection, and of how many turns may wait.
        most: connections at once.
        age: seconds after which a connection takes no more turns.
        lanes: whether the upstream has lanes; None if its first answer is to show that.
        cuts: whether an abandoned turn that cannot be cancelled otherwise costs its connection.
        lost: told of a response that the upstream will not remember any longer.
        stores: whether the upstream keeps all its responses, each under an id that is unique.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        open_connection: Callable[[], AbstractAsyncContextManager[Link]],
        *,
        limits: Limits,
        most: int,
        age: float,
        lanes: bool | None,
        cuts: bool,
        lost: Callable[[str], None],
        stores: bool,
    ) -> None:
        self.lanes = lanes
        self.most_lanes = limits.lanes
        self._bounded_by: Upstream | None = None
        self._nursery = nursery
        self._open_connection = open_connection
        self._limits = limits
        self._most = most
        self._age = age
        self._cuts = cuts
        self._lost = lost
        self._stores = stores
        self._upstreams: list[Upstream] = []
        self._opening = 0
        self._opened = 0
        self._sharing_until = -math.inf
        self._probes = True  # whether the others wait for what the first answer shows
        self._waiters: deque[_Waiter] = deque()
        self._homes: dict[str, Seat] = {}
        self._numbers = count(1)

    # Whoever wants a lane

    @asynccontextmanager
    async def seat(self, after: str | None = None) -> AsyncGenerator[Seat]:
        """Wait for a lane, and have it for one turn, as a context.

        Args:
            after: the mark of a response: a lane of the connection that has it is taken, if there is one.

        Raises:
            Unreachable: no connection could be made.
            EngineError: 503 ``upstream_busy``: too many wait already.
        """
        seat = await self._acquire(after)
        try:
            yield seat
        finally:
            self._release(seat)

    async def _acquire(self, after: str | None) -> Seat:
        await trio.lowlevel.checkpoint_if_cancelled()
        if len(self._waiters) >= self._limits.queued:
            raise EngineError("Too many turns wait for the model's server.", code="upstream_busy", status=503)
        waiter = _Waiter(after)
        self._waiters.append(waiter)
        self._hand_out()
        try:
            if self._probes and self.lanes is None:
                await self._probe(waiter)
            await waiter.event.wait()
        except trio.Cancelled:
            if waiter.seat is not None:
                self._release(waiter.seat)
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise
        if waiter.seat is None:
            assert waiter.error is not None
            raise waiter.error
        return waiter.seat

    async def _probe(self, waiter: _Waiter) -> None:
        """Wait as long as the first answer may take to show what the upstream can do."""
        with trio.move_on_after(self._limits.handshake):
            await waiter.event.wait()
        if not waiter.event.is_set():
            self._probes = False
            self._hand_out()

    def has(self, mark: str) -> bool:
        """Whether some connection can continue that response now."""
        home = self._homes.get(mark)
        return home is not None and home.mark == mark and home.upstream.usable(lanes=self.lanes)

    def mark_of(self, response_id: str) -> str | None:
        """The mark of a lane's latest response that has this id at the upstream; of several, the newest."""
        seats = (seat for upstream in self._upstreams for seat in upstream.seats if seat.lane.latest == response_id)
        newest = max(seats, key=lambda seat: seat.used, default=None)
        return newest.mark if newest is not None else None

    @property
    def open(self) -> bool:
        """Whether some connection takes turns."""
        return any(not upstream.retired and upstream.link.ended is None for upstream in self._upstreams)

    def retire(self) -> None:
        """Open nothing more, let each connection end with the last turn on it, and tell those who wait for another."""
        self._most = 0
        for upstream in tuple(self._upstreams):
            upstream.retire()
        self._turn_away(Unreachable(ConnectionEnded(cause="it was closed on this side")))

    def learn(self, *, lanes: bool) -> None:
        """An answer has shown whether the upstream has lanes."""
        if self.lanes is None:
            self.lanes = lanes
            _log.info("the model's server has %s", "lanes" if lanes else "no lanes: one turn at a time on a connection")
            self._hand_out()

    def refused(self, seat: Seat, refusal: Refusal) -> bool:
        """The upstream has refused a request; True if for its connection's sake alone, so that it may go up again.

        A connection that is worn out takes no more turns, nor does one on which no lane may be used.
        """
        if not (refusal.worn_out or refusal.no_more_lanes):
            return False
        if refusal.worn_out or not self._bound_lanes(seat):
            seat.upstream.retire()
        return True

    def _bound_lanes(self, seat: Seat) -> bool:
        """The upstream allows no further lane than those beside this one; False if that leaves none.

        It holds for all connections until this one ends: what refused a lane may have passed by then.
        """
        seats = seat.upstream.seats
        if seat in seats and len(seats) > 1:
            seats.remove(seat)
            seat.forget()  # nobody is to look for its conversation there
            if len(seats) < self.most_lanes:
                self.most_lanes, self._bounded_by = len(seats), seat.upstream
            _log.info("the model's server has %d lanes on a connection", self.most_lanes)
            return True
        return False

    # The books

    def _release(self, seat: Seat) -> None:
        current = seat.lane.current
        self._note(seat)
        if current is None:
            self._free(seat)
            return
        seat.abandoned = True
        current.on_end = partial(self._forget, seat)
        upstream = seat.upstream
        if self._cuts and not upstream.link.can_cancel and current.failing_since is None:
            upstream.retire()
        upstream.check()

    def _forget(self, seat: Seat) -> None:
        """An abandoned turn has ended: nobody knows what came of it."""
        seat.forget()
        self._free(seat)

    def _free(self, seat: Seat) -> None:
        seat.taken = seat.abandoned = False
        self._note(seat)
        seat.upstream.check()
        self._hand_out()

    def _note(self, seat: Seat) -> None:
        """Keep the books of where which response is."""
        mark = seat.mark
        if seat.home == mark:
            return
        if seat.home is not None and self._homes.get(seat.home) is seat:
            del self._homes[seat.home]
            self._lost(seat.home)
        seat.home = mark
        if mark is not None:
            self._homes[mark] = seat

    def _hand_out(self, *, opens: bool = True) -> None:
        """Give the lanes that are free to those who wait, the eldest first, and open a connection for the others.

        Args:
            opens: whether one more connection can be had; else what is open must do.
        """
        for waiter in tuple(self._waiters):
            seat = self._choose(waiter.after, opens=opens)
            if seat is not None:
                seat.taken, seat.used = True, next(self._numbers)
                self._waiters.remove(waiter)
                waiter.seat = seat
                waiter.event.set()
        wanted = len(self._waiters) if self.lanes is False else min(1, len(self._waiters))
        while opens and self._opening < wanted and self._may_open:
            self._opening += 1
            self._nursery.start_soon(self._run, name="upstream connection")

    @property
    def _may_open(self) -> bool:
        """Whether one more connection may be made.

        Not while the first one is to show soon what the upstream can do, nor for a while after one could not be made.
        """
        live = [upstream for upstream in self._upstreams if not upstream.retired]
        probing = self._probes and self.lanes is None and any(upstream.link.has_lanes is None for upstream in live)
        return not probing and not (live and self._shares) and len(live) + self._opening < self._most

    @property
    def _shares(self) -> bool:
        """Whether those that are open must do for now: the last attempt at another one failed."""
        return trio.current_time() < self._sharing_until

    def _choose(self, after: str | None, *, opens: bool) -> Seat | None:
        lanes = self.lanes
        usable = [upstream for upstream in self._upstreams if upstream.usable(lanes=lanes)]
        home = self._homes.get(after) if after is not None else None
        if home is not None and home.mark == after and home.upstream in usable:
            seat = home if not home.taken else home.upstream.spare(lanes=lanes, most=self.most_lanes)  # a fork
            if seat is not None:
                return seat
        quick = [upstream for upstream in usable if not upstream.link.slow]
        for upstream in quick:
            if (seat := upstream.spare(lanes=lanes, most=self.most_lanes)) is not None:
                return seat
        if opens and not self._shares and (self._may_open or self._opening):
            return None
        free = [seat for upstream in quick or usable for seat in upstream.seats if not seat.taken]
        spare = next(
            (seat for each in usable if (seat := each.spare(lanes=lanes, most=self.most_lanes)) is not None), None
        )
        return spare or min(free, key=lambda seat: seat.used, default=None)

    # Connections

    async def _run(self) -> None:
        """One connection, from its opening to its end."""
        upstream: Upstream | None = None
        try:
            async with self._open_connection() as link:
                self._opened += 1
                upstream = Upstream(link, stores=self._stores)
                self._upstreams.append(upstream)
                self._opening -= 1
                link.listen(partial(self._hear, upstream))
                if not self._most:
                    upstream.retire()
                self._hand_out()
                try:
                    await upstream.live(age=self._age)
                finally:
                    self._remove(upstream)
        except Exception as error:  # noqa: BLE001 - it ends this connection, nothing else
            if upstream is None:
                self._opening -= 1
                await self._tell(Unreachable(error))
            else:
                _log.warning("a connection to the model's server ended badly", exc_info=error)
        except trio.Cancelled:
            self._opening -= upstream is None
            raise

    def _hear(self, upstream: Upstream) -> None:
        """The upstream has said something about a connection."""
        if upstream.link.has_lanes is not None:
            self.learn(lanes=upstream.link.has_lanes)
        if upstream.link.retiring:
            upstream.retire()
        self._hand_out()

    async def _tell(self, error: Unreachable) -> None:
        """A connection could not be made: for a while, lanes that rest are given away instead, and no other is tried.

        Where none is open, whoever waits is told, unless another one is being made.
        """
        _log.info("no connection to the model's server: %s", error)
        if any(not upstream.retired for upstream in self._upstreams):
            self._sharing_until = trio.current_time() + self._limits.reconnect_longest
            self._hand_out(opens=False)
            await trio.sleep_until(self._sharing_until)
            self._hand_out()
        elif not self._opening:
            self._turn_away(error)

    def _turn_away(self, error: Unreachable) -> None:
        """Whoever waits for a lane has none."""
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            waiter.error = error
            waiter.event.set()

    def _remove(self, upstream: Upstream) -> None:
        self._upstreams.remove(upstream)
        if upstream is self._bounded_by:
            self.most_lanes, self._bounded_by = self._limits.lanes, None
        for seat in upstream.seats:
            seat.forget()
            self._note(seat)
        self._hand_out()

    def statistics(self) -> PoolStatistics:
        """The books at this moment."""
        seats = [seat for upstream in self._upstreams for seat in upstream.seats]
        return PoolStatistics(
            connections=len(self._upstreams),
            retired=sum(upstream.retired for upstream in self._upstreams),
            opening=self._opening,
            opened=self._opened,
            lanes=len(seats),
            running=sum(seat.taken for seat in seats),
            abandoned=sum(seat.abandoned for seat in seats),
            waiting=len(self._waiters),
        )
