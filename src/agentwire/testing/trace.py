"""What went by on a network: frames, HTTP, faults and ends, in the order and at the time they were sent.

A trace is for people (`Trace.timeline`), for positions of faults (`Trace.frames`), for the invariants and for files
(`Trace.save`). Secrets are replaced as they come by (see `agentwire.testing.redaction`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, Final, Literal

import attrs

from agentwire.testing.faults import SIDES, Side
from agentwire.testing.http_scan import Body, Head, HttpScanner, Talk
from agentwire.testing.redaction import Secrets
from agentwire.testing.scan import Frame, FrameScanner, Mark

__all__ = ["ENDS", "MESSAGE", "Event", "Note", "Record", "Tap", "Trace", "decode", "says", "told"]

_NAMES: Final = {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
MESSAGE: Final = (0, 1, 2)
"""The opcodes of frames that are parts of messages."""
ENDS: Final = ("eof", "close", "reset")
"""How a side can end a connection: it says no more; it also reads no more; it forgets what is under way."""
MOST_KEPT: Final = 64 * 1024 * 1024
"""Bytes of payloads that a trace in memory keeps, unless it is told otherwise."""
LONGEST: Final = 16 * 1024 * 1024
"""Most bytes that are kept of one payload."""

Event = tuple[Side, float, dict[str, Any]]
"""One JSON message: who sent it, when (Trio's clock), and what it says."""


@attrs.frozen
class Note:
    """Something that happened beside the wire, such as work that began (see `agentwire.testing.journal.Journal`).

    Attributes:
        event: what, with a ``type``.
    """

    event: Mapping[str, Any]


@attrs.frozen
class Record:
    """One thing that happened.

    Attributes:
        time: Trio's clock; in a trace that was loaded, seconds since its first record.
        connection: the network's n-th connection, from 0.
        side: who did it, or whose bytes a fault concerns; ``local`` for a note.
        what: a frame, a head, a body or an event, a note; or in words what else it was: ``open``, how a side has
            ended (``eof``, ``close``, ``reset``), or a fault.
    """

    time: float
    connection: int
    side: Side | Literal["local"]
    what: Frame | Head | Body | Note | str

    def __str__(self) -> str:
        if isinstance(self.what, Note):
            return f"{self.time:10.3f}     local      {told(self.what)}"
        arrow = "-->" if self.side == "client" else "<--"
        return f"{self.time:10.3f}  #{self.connection} {self.side:6} {arrow} {told(self.what)}"


def told(what: Frame | Head | Body | Note | str) -> str:
    """What it was, in one line."""
    match what:
        case str():
            return what
        case Frame():
            return _frame(what)
        case Note():
            said = " ".join(_brief(value) for key, value in what.event.items() if key != "type")
            return f"{what.event.get('type')} {said}".rstrip()
        case Head(method=method) if method:
            return f"{method} {what.target}" + (" (to upgrade)" if what.upgrades else "")
        case Head():
            return f"HTTP {what.status}" + (" (upgraded)" if what.upgrades else "")
        case Body(kind="sse", final=True):
            return "the event stream ends"
    name = "event" if what.kind == "sse" else "body" if what.final else "part of a body"
    return f"{name} {what.length} B {says(what.payload)}".rstrip()


def _brief(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _frame(frame: Frame) -> str:
    name = _NAMES.get(frame.opcode, f"opcode {frame.opcode:#x}") + ("" if frame.final else " (more follows)")
    shown = says(frame.payload)
    if frame.opcode == 8 and len(frame.payload) >= 2:
        code = int.from_bytes(frame.payload[:2], "big")
        shown = f"{code} {frame.payload[2:].decode(errors='replace')}".rstrip()
    return f"frame {frame.index} {name} {frame.length} B {shown}".rstrip()


def says(payload: bytes) -> str:
    """What a message is, in a few words; empty if it is no JSON object."""
    message = decode(payload) or {}
    return " ".join(str(message[key]) for key in ("type", "stream_id", "sequence_number") if key in message)


def decode(payload: bytes) -> dict[str, Any] | None:
    """The object that a payload is in JSON; None if it is something else."""
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


class Trace:
    """The record of a network.

    Args:
        keep: keep the payloads, which `events` and the invariants need; without them only sizes are known.
        most: bytes of payloads that are kept in memory; what comes after that is counted, and not kept.
        sink: takes each record instead of `records`, such as a file (`agentwire.testing.trace_file.TraceWriter`).

    Attributes:
        records: what happened, oldest first.
        left_out: records that there was no room for.
        about: what is known of it beyond the records, such as what a file says of its origin.
    """

    def __init__(
        self, *, keep: bool = True, most: int = MOST_KEPT, sink: Callable[[Record], object] | None = None
    ) -> None:
        self.records: list[Record] = []
        self.left_out = 0
        self.about: dict[str, Any] = {}
        self.secrets = Secrets()
        self._keep = keep
        self._room = most
        self._sink = sink
        self._connections = 0
        self._taps: dict[tuple[int, Side], Tap] = {}
        self._frames: Counter[tuple[int, Side]] = Counter()
        self._bytes: Counter[tuple[int, Side]] = Counter()

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Trace:
        """What is in a file (see `agentwire.testing.trace_file.read_trace`).

        Raises:
            TraceFileError: it is no such file.
            OSError: it cannot be read.
        """
        from agentwire.testing.trace_file import read_trace

        return read_trace(path)

    def save(self, path: str | PathLike[str], *, about: Mapping[str, Any] | None = None) -> None:
        """Write it to a file, as JSON lines; what is there is replaced.

        Args:
            path: the file.
            about: what else the first line should say, such as the name of a test.

        Raises:
            OSError: it cannot be written.
        """
        from agentwire.testing.trace_file import write_trace

        write_trace(self, path, {**self.about, **(about or {})})

    @property
    def is_whole(self) -> bool:
        """Nothing was left out, and a file that it was loaded from did not break off."""
        return not self.left_out and bool(self.about.get("whole", True))

    def frames(self, side: Side, connection: int = 0) -> int:
        """How many whole frames this side has sent on one connection."""
        return self._frames[connection, side]

    def bytes(self, side: Side, connection: int = 0) -> int:
        """How many bytes this side has sent on one connection."""
        return self._bytes[connection, side]

    def events(self, connection: int | None = None) -> list[Event]:
        """The JSON objects that went by as whole messages of WebSockets, on one connection or on all of them."""
        events: list[Event] = []
        parts: dict[tuple[int, str], bytes] = {}
        for record in self.records:
            frame, side, where = record.what, record.side, (record.connection, record.side)
            if not isinstance(frame, Frame) or frame.opcode not in MESSAGE or connection not in (None, where[0]):
                continue
            parts[where] = parts.get(where, b"") + frame.payload
            if frame.final and side != "local" and (message := decode(parts.pop(where))) is not None:
                events.append((side, record.time, message))
        return events

    def timeline(self) -> str:
        """One line a record."""
        lines = [str(record) for record in self.records]
        return "\n".join([*lines, f"({self.left_out} more were not kept)"] if self.left_out else lines)

    def note(self, time: float, connection: int, side: Side, what: str) -> None:
        """Record something that is no frame, such as a fault, or how a side has ended."""
        tap = self._taps.get((connection, side))
        if tap is not None and what in ENDS:
            tap.finish(time)
        self.add(Record(time, connection, side, what))

    def tap(self, connection: int, side: Side) -> Tap:
        """What records one direction of a connection."""
        beside = self._taps.get((connection, "server" if side == "client" else "client"))
        talk = beside.talk if beside is not None else Talk()
        keep = LONGEST if self._keep else 0
        tap = Tap(self, connection, side, talk, FrameScanner(keep=keep), HttpScanner(side, talk, keep=keep))
        self._taps[connection, side] = tap
        return tap

    def add(self, record: Record) -> None:
        """One more record."""
        what = record.what
        if isinstance(what, Frame) and record.side != "local":
            self._frames[record.connection, record.side] += 1
        size = len(what.payload) if isinstance(what, Frame | Body) else 0
        if self._sink is not None:
            self._sink(record)
        elif size > self._room or self.left_out:
            self.left_out += 1
        else:
            self._room -= size
            self.records.append(record)

    def next_connection(self) -> int:
        """The number of a new connection."""
        self._connections += 1
        return self._connections - 1

    def count(self, connection: int, side: Side, size: int) -> None:
        """So many bytes went by."""
        self._bytes[connection, side] += size

    def forget(self, connection: int) -> None:
        """A connection is over; what was needed to follow it is not kept."""
        for side in SIDES:
            for kept in (self._taps, self._frames, self._bytes):
                kept.pop((connection, side), None)


@attrs.define(eq=False)
class Tap:
    """Records what one side of a connection sends."""

    _trace: Trace
    _connection: int
    _side: Side
    talk: Talk
    _frames: FrameScanner
    _http: HttpScanner

    def has_passed(self, frame: int, *, middle: bool) -> bool:
        """True if this position in front of a frame, or in its middle, has gone by."""
        return self._frames.frames > frame or (not middle and self._frames.began and self._frames.frames == frame)

    def passed(self, time: float, data: bytes) -> list[Mark]:
        """These bytes were sent; returns the positions of frames that they made known."""
        self._trace.count(self._connection, self._side, len(data))
        if self._side == "client" and self.talk.state == "refused":
            self._frames.restart()
        self._record(time, self._http.feed(data))
        marks = self._frames.feed(data)
        for mark in marks:
            if mark.ended is not None:
                self._trace.add(Record(time, self._connection, self._side, mark.ended))
        return marks

    def note(self, time: float, what: str) -> None:
        """Record something that is no frame."""
        self._trace.note(time, self._connection, self._side, what)

    def finish(self, time: float) -> None:
        """This side says no more: what it left unfinished is recorded."""
        self._record(time, self._http.finish())

    def _record(self, time: float, found: list[Head | Body]) -> None:
        for one in found:
            shown = self._trace.secrets.head(one) if isinstance(one, Head) else one
            self._trace.add(Record(time, self._connection, self._side, shown))
