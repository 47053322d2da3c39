"""One direction of a simulated connection: bytes go in at one end, and come out at the other when they are due.

It needs no task of its own. Whoever uses the connection asks `next_time`, waits no longer than that, and calls
`pump`, which lets everything happen that is due; so time may be virtual, and a run can be repeated exactly.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

import attrs
import trio

from agentwire.testing.faults import Fault
from agentwire.testing.trace import Tap

__all__ = ["End", "LinkModel", "Pipe"]

_PACKET: Final = 1460  # bytes that arrive at once where bandwidth is limited

End = Literal["eof", "close", "reset"]
"""What a side can say after its last byte: no more; no more, and I read nothing either; forget it all."""


@attrs.frozen(kw_only=True)
class LinkModel:
    """What a connection is like, in each direction.

    Attributes:
        latency: seconds that a byte takes.
        bandwidth: bytes a second.
        capacity: bytes that may be sent and not yet read; then the sender waits.
    """

    latency: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    bandwidth: float = attrs.field(default=math.inf, validator=attrs.validators.gt(0))
    capacity: int = attrs.field(default=65536, validator=attrs.validators.gt(0))


@attrs.define(eq=False)
class _Armed:
    """A fault that waits for its position, which for a frame is found out on the way."""

    fault: Fault
    place: int | None


class Pipe:
    """The bytes of one direction.

    Args:
        model: latency, bandwidth, capacity.
        tap: records what is sent, and finds the frames in it.
        strike: called for a fault or an end when it reaches the other side.
        reach: called for a fault at its position, before that.
    """

    def __init__(
        self,
        model: LinkModel,
        tap: Tap,
        strike: Callable[[Fault | End], None],
        reach: Callable[[Fault], None] = lambda _: None,
    ) -> None:
        self.readers = trio.lowlevel.ParkingLot()
        self.writers = trio.lowlevel.ParkingLot()
        self.sent = 0
        self.ended = False
        self.stalled_until = -math.inf
        self.piece: int | None = None
        self.merge: Fault | None = None
        self.bandwidth = model.bandwidth
        self._model = model
        self._tap = tap
        self._strike = strike
        self._reach = reach
        self._lost = False
        self._armed: list[_Armed] = []
        self._free = -math.inf
        self._under_way: deque[tuple[float, bytes | Fault | End]] = deque()
        self._arrived: deque[bytes] = deque()
        self._arrived_bytes = 0
        self._held = 0
        self._release = math.inf

    # The sender's end

    @property
    def room(self) -> int:
        """Bytes that would be taken now."""
        return self._model.capacity - (0 if self._lost else self._held)

    @property
    def unread(self) -> int:
        """Bytes sent and not yet read."""
        return self._held

    def arm(self, fault: Fault, now: float) -> None:
        """Let a fault happen at its byte or frame, or at once if that has gone by."""
        if fault.at_frame is None:
            gone_by = (fault.at_byte or 0) <= self.sent
        else:
            gone_by = self._tap.has_passed(fault.at_frame, middle=fault.middle)
        if gone_by:
            self._happens(fault, now)
        else:
            self._armed.append(_Armed(fault, fault.at_byte))

    def offer(self, data: bytes | memoryview, now: float) -> int:
        """Take what there is room for; returns how many bytes."""
        part = bytes(data if self._lost else data[: self.room])
        self._find_frames(part, now)
        start, end = self.sent, self.sent + len(part)
        for place, fault in self._reached(end):
            self._send(part[self.sent - start : place - start], now)
            self.sent = place
            self._happens(fault, now)
        self._send(part[self.sent - start :], now)
        self.sent = end
        return len(part)

    def _find_frames(self, part: bytes, now: float) -> None:
        for mark in self._tap.passed(now, part):
            for armed in self._armed:
                if armed.fault.at_frame == mark.frame and armed.fault.middle is mark.middle:
                    armed.place = mark.position

    def _reached(self, end: int) -> list[tuple[int, Fault]]:
        """The faults at or before this position, first things first; they are armed no more."""
        reached = [
            (armed.place, armed.fault) for armed in self._armed if armed.place is not None and armed.place <= end
        ]
        self._armed = [armed for armed in self._armed if armed.place is None or armed.place > end]
        return sorted(reached, key=lambda one: one[0])

    def _happens(self, fault: Fault, now: float) -> None:
        self._tap.note(now, str(fault))
        self._reach(fault)
        if fault.kind == "slow":
            self.bandwidth = fault.rate
        else:
            self.put(fault, now)

    def put(self, what: Fault | End, now: float) -> None:
        """Send something that takes effect when it reaches the other side, after the bytes before it."""
        self._under_way.append((max(self._free, now) + self._model.latency, what))

    def _send(self, data: bytes, now: float) -> None:
        if not data or self._lost:
            return
        self._held += len(data)
        if math.isinf(self.bandwidth):
            self._put_packet(data, now)
            return
        data = self._unsent_packet(now) + data
        for start in range(0, len(data), _PACKET):
            self._put_packet(data[start : start + _PACKET], now)

    def _put_packet(self, packet: bytes, now: float) -> None:
        self._free = max(self._free, now) + len(packet) / self.bandwidth
        self._under_way.append((self._free + self._model.latency, packet))

    def _unsent_packet(self, now: float) -> bytes:
        """Take back a last packet that is small and has not begun to leave, so that small sends share packets."""
        if not self._under_way:
            return b""
        packet = self._under_way[-1][1]
        if not isinstance(packet, bytes) or len(packet) >= _PACKET:
            return b""
        leaves = self._free - len(packet) / self.bandwidth
        if leaves <= now:
            return b""
        self._under_way.pop()
        self._free = leaves
        return packet

    # On the way

    def next_time(self) -> float:
        """When something happens here next; infinity if nothing does."""
        coming = self._release if self._release > -math.inf else math.inf
        if self._under_way:
            coming = min(coming, max(self._under_way[0][0], self.stalled_until))
        return coming

    def pump(self, now: float) -> None:
        """Let arrive what is due."""
        while self._under_way and self.stalled_until <= now and self._under_way[0][0] <= now:
            _, what = self._under_way.popleft()
            if isinstance(what, bytes):
                self._arrive(what, now)
            else:
                self._strike(what)
        if self._release <= now:
            self._release = -math.inf
            self.readers.unpark_all()

    def _arrive(self, data: bytes, now: float) -> None:
        size = self.piece or len(data)
        self._arrived.extend(data[start : start + size] for start in range(0, len(data), size))
        self._arrived_bytes += len(data)
        if self.merge is not None:
            self._release = min(
                self._release, now if self._arrived_bytes >= self.merge.size else now + self.merge.seconds
            )
        self.readers.unpark_all()

    def merge_from_here(self, fault: Fault) -> None:
        """Hold back what arrives from now on; what is here may be read."""
        self.merge = fault
        if self._arrived:
            self._release = -math.inf

    def lose(self, *, arrived: bool) -> None:
        """Forget what is on the way, and what has arrived but was not read; from now on nothing arrives."""
        self._lost = True
        self._under_way.clear()
        if arrived:
            self._arrived.clear()
            self._arrived_bytes = 0
        self._held = self._arrived_bytes
        self.end()

    def end(self) -> None:
        """Nothing more will arrive."""
        self.ended = True
        self.readers.unpark_all()
        self.writers.unpark_all()

    # The reader's end

    @property
    def has_arrived(self) -> bool:
        """Whether there is something to read, the end included."""
        return bool(self._arrived) or self.ended

    def take(self, max_bytes: int) -> bytes | None:
        """What has arrived; empty at the end, None if there is nothing yet."""
        if not self._arrived:
            return b"" if self.ended else None
        if self.merge is not None and not self.ended and self._release > -math.inf:
            return None
        data = self._join(max_bytes)
        self._arrived_bytes -= len(data)
        self._held -= len(data)
        if not self._arrived:
            self._release = math.inf
        self.writers.unpark_all()
        return data

    def _join(self, max_bytes: int) -> bytes:
        """The first piece, or as many as fit where pieces mean nothing."""
        parts: list[bytes] = []
        size = 0
        while self._arrived and size < max_bytes and not (parts and self.piece):
            part = self._arrived.popleft()
            if size + len(part) > max_bytes:
                self._arrived.appendleft(part[max_bytes - size :])
                part = part[: max_bytes - size]
            parts.append(part)
            size += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
