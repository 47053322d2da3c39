"""What went by on a network: frames, heads, faults and ends, in the order and at the time they were sent.

A trace is for people (`Trace.timeline`), for positions of faults (`Trace.frames`) and for the invariants
(`Trace.events`).
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final

import attrs

from agentwire.testing.faults import Side
from agentwire.testing.scan import Frame, FrameScanner, Mark

__all__ = ["Event", "Record", "Trace"]

_NAMES: Final = {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
_MESSAGE: Final = (0, 1, 2)

Event = tuple[Side, float, dict[str, Any]]
"""One JSON message: who sent it, when (Trio's clock), and what it says."""


@attrs.frozen
class Record:
    """One thing that happened.

    Attributes:
        time: Trio's clock.
        connection: the network's n-th connection, from 0.
        side: who did it, or whose bytes a fault concerns.
        what: a frame, or in words what else it was.
    """

    time: float
    connection: int
    side: Side
    what: Frame | str

    def __str__(self) -> str:
        arrow = "-->" if self.side == "client" else "<--"
        return f"{self.time:10.3f}  #{self.connection} {self.side:6} {arrow} {_told(self.what)}"


def _told(what: Frame | str) -> str:
    if isinstance(what, str):
        return what
    name = _NAMES.get(what.opcode, f"opcode {what.opcode:#x}") + ("" if what.final else " (more follows)")
    says = ""
    if what.opcode == 8 and len(what.payload) >= 2:
        code = int.from_bytes(what.payload[:2], "big")
        says = f"{code} {what.payload[2:].decode(errors='replace')}".rstrip()
    elif (message := _decode(what.payload)) is not None:
        says = " ".join(str(message[key]) for key in ("type", "stream_id", "sequence_number") if key in message)
    return f"frame {what.index} {name} {what.length} B {says}".rstrip()


def _decode(payload: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(payload)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


class Trace:
    """The record of a network.

    Args:
        keep: keep the payloads of frames, which `events` needs; without them only sizes are known.

    Attributes:
        records: what happened, oldest first.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self.records: list[Record] = []
        self._keep = keep
        self._frames: Counter[tuple[int, Side]] = Counter()
        self._bytes: Counter[tuple[int, Side]] = Counter()

    def frames(self, side: Side, connection: int = 0) -> int:
        """How many whole frames this side has sent on one connection."""
        return self._frames[connection, side]

    def bytes(self, side: Side, connection: int = 0) -> int:
        """How many bytes this side has sent on one connection."""
        return self._bytes[connection, side]

    def events(self, connection: int | None = None) -> list[Event]:
        """The JSON objects that went by as whole messages, on one connection or on all of them."""
        events: list[Event] = []
        parts: dict[tuple[int, Side], bytes] = {}
        for record in self.records:
            frame, where = record.what, (record.connection, record.side)
            if not isinstance(frame, Frame) or frame.opcode not in _MESSAGE or connection not in (None, where[0]):
                continue
            parts[where] = parts.get(where, b"") + frame.payload
            if frame.final and (message := _decode(parts.pop(where))) is not None:
                events.append((record.side, record.time, message))
        return events

    def timeline(self) -> str:
        """One line a record."""
        return "\n".join(map(str, self.records))

    def note(self, time: float, connection: int, side: Side, what: str) -> None:
        """Record something that is no frame."""
        self.records.append(Record(time, connection, side, what))

    def tap(self, connection: int, side: Side) -> Tap:
        """What records one direction of a connection."""
        return Tap(self, connection, side, FrameScanner(keep=self._keep))

    def _count(self, connection: int, side: Side, size: int) -> None:
        self._bytes[connection, side] += size

    def _frame(self, record: Record) -> None:
        self._frames[record.connection, record.side] += 1
        self.records.append(record)


@attrs.define(eq=False)
class Tap:
    """Records what one side of a connection sends."""

    _trace: Trace
    _connection: int
    _side: Side
    _scanner: FrameScanner

    def has_passed(self, frame: int, *, middle: bool) -> bool:
        """True if this position in front of a frame, or in its middle, has gone by."""
        return self._scanner.frames > frame or (not middle and self._scanner.began and self._scanner.frames == frame)

    def passed(self, time: float, data: bytes) -> list[Mark]:
        """These bytes were sent; returns the positions of frames that they made known."""
        self._trace._count(self._connection, self._side, len(data))
        marks = self._scanner.feed(data)
        for mark in marks:
            if mark.ended is not None:
                self._trace._frame(Record(time, self._connection, self._side, mark.ended))
        return marks

    def note(self, time: float, what: str) -> None:
        """Record something that is no frame."""
        self._trace.note(time, self._connection, self._side, what)
