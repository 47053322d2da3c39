"""A simulated connection: two pipes, and what happens to both of them at once.

All that is due happens in `Link.pump`, in the order of the clock, whoever calls it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count

import attrs
import trio

from agentwire.testing.faults import SIDES, Fault, Side
from agentwire.testing.pipe import End, LinkModel, Pipe
from agentwire.testing.trace import Trace

__all__ = ["Link", "other"]


def other(side: Side) -> Side:
    """The opposite end."""
    return "server" if side == "client" else "client"


@attrs.define(eq=False)
class _End:
    """What has become impossible for one side, and why."""

    send_error: str = ""
    receive_error: str = ""


class Link:
    """Two pipes between a client and a server.

    Args:
        index: the network's n-th connection.
        model: latency, bandwidth and capacity of each direction.
        trace: where it is recorded.
        faults: what will go wrong; those of other connections are left out.
        duplicate: takes what the client has sent, where a fault wants that to arrive a second time.
    """

    def __init__(
        self,
        index: int,
        *,
        model: LinkModel,
        trace: Trace,
        faults: Iterable[Fault] = (),
        duplicate: Callable[[Fault, bytes], None] | None = None,
    ) -> None:
        self.index = index
        self.opened = trio.current_time()
        self.pipes: dict[Side, Pipe] = {
            side: Pipe(model, trace.tap(index, side), partial(self._strike, side), self._reach) for side in SIDES
        }
        self._duplicate = duplicate
        self._said: bytearray | None = None
        self._said_at: dict[Fault, int] = {}
        self._ends: dict[Side, _End] = {side: _End() for side in SIDES}
        self._trace = trace
        self._timed: list[tuple[float, int, Fault]] = []
        self._order = count()
        self._moment = self.opened
        for fault in faults:
            self.arm(fault)

    def arm(self, fault: Fault) -> None:
        """Let a fault happen at its position; at once if it has none, or has gone by."""
        if fault.connection not in (None, self.index):
            return
        if fault.kind == "duplicate" and not self.pipes["client"].sent:
            self._said = bytearray()
        now = trio.current_time()
        if fault.at_time is None and (fault.at_byte is not None or fault.at_frame is not None):
            self.pipes[fault.side].arm(fault, now)
        else:
            moment = now if fault.at_time is None else self.opened + fault.at_time
            heapq.heappush(self._timed, (moment, next(self._order), fault))
        self.pump()
        self.wake()

    # Time

    def next_time(self) -> float:
        """When something happens next; infinity if nothing does."""
        coming = min(pipe.next_time() for pipe in self.pipes.values())
        return min(coming, self._timed[0][0]) if self._timed else coming

    def pump(self) -> None:
        """Let everything happen that is due."""
        now = trio.current_time()
        while (moment := self.next_time()) <= now:
            self._moment = moment
            if self._timed and self._timed[0][0] <= moment:
                self._time_comes(heapq.heappop(self._timed)[2])
            else:
                for pipe in self.pipes.values():
                    pipe.pump(moment)

    def _time_comes(self, fault: Fault) -> None:
        self._trace.note(self._moment, self.index, fault.side, str(fault))
        self._reach(fault)
        if fault.kind == "slow":
            self.pipes[fault.side].bandwidth = fault.rate
        else:
            self._strike(fault.side, fault)

    def wake(self) -> None:
        """Let everybody who waits look again, because something may come earlier than they thought."""
        for pipe in self.pipes.values():
            pipe.readers.unpark_all()
            pipe.writers.unpark_all()

    async def wait(self, lot: trio.lowlevel.ParkingLot) -> None:
        """Wait in a pipe's lot until something has happened, perhaps for nothing."""
        with trio.move_on_at(self.next_time()):
            await lot.park()
        self.pump()

    # What both sides do

    def send(self, side: Side, data: bytes | memoryview) -> int:
        """A side sends; returns how many bytes there was room for."""
        before = self.next_time()
        sent = self.pipes[side].offer(data, trio.current_time())
        if side == "client" and self._said is not None:
            self._said += data[:sent]
        self.pump()
        if self.next_time() < before:
            self.wake()
        return sent

    def end(self, side: Side, how: End) -> None:
        """A side ends its part: it tells the other side, as fast as bytes travel."""
        now = trio.current_time()
        self._trace.note(now, self.index, side, how)
        self.pipes[side].put(how, now)
        self.pump()
        self.wake()

    def send_error(self, side: Side) -> str:
        """Why this side can send no more; empty if it can."""
        return self._ends[side].send_error

    def receive_error(self, side: Side) -> str:
        """Why reading fails for this side; empty if it does not."""
        return self._ends[side].receive_error

    # What happens

    def _reach(self, fault: Fault) -> None:
        """A fault is at its position."""
        self._said_at[fault] = self.pipes["client"].sent

    def _strike(self, side: Side, what: Fault | End) -> None:
        """A fault, or what ``side`` said at its end, has arrived."""
        kind = what.kind if isinstance(what, Fault) else what
        pipe = self.pipes[side]
        match kind:
            case "eof":
                pipe.end()
            case "half_close":
                pipe.lose(arrived=False)
            case "close":
                pipe.end()
                self._stop_sending(other(side), "the peer has closed the connection")
            case "cut":
                self._cut()
            case "reset":
                self._reset()
        if isinstance(what, Fault):
            self._change(pipe, what)

    def _change(self, pipe: Pipe, fault: Fault) -> None:
        match fault.kind:
            case "stall":
                pipe.stalled_until = self._moment + fault.seconds
            case "split":
                pipe.piece = fault.size
            case "merge":
                pipe.merge_from_here(fault)
            case "duplicate":
                if self._duplicate is not None and self._said is not None:
                    self._duplicate(fault, bytes(self._said[: self._said_at[fault]]))

    def _cut(self) -> None:
        for side, pipe in self.pipes.items():
            pipe.lose(arrived=False)
            self._ends[side].send_error = "the connection was cut"

    def _reset(self) -> None:
        for side, pipe in self.pipes.items():
            pipe.lose(arrived=True)
            self._ends[side].send_error = self._ends[side].receive_error = "connection reset by the peer"

    def _stop_sending(self, side: Side, why: str) -> None:
        self.pipes[side].lose(arrived=True)
        self._ends[side].send_error = why
