"""Traces as files: JSON lines, one record each, written as they come: memory stays small, and a crash loses little.

The first line says what it is, the last one that it is whole. Times are seconds since the first record. What is text is
kept as text, to the byte; secrets are replaced (see `agentwire.testing.redaction`).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any, Final, Self, TextIO

import attrs

from agentwire._version import __version__
from agentwire.protocol.errors import AgentwireError
from agentwire.protocol.writing import to_wire
from agentwire.testing.faults import SIDES
from agentwire.testing.http_scan import Body, Head
from agentwire.testing.redaction import Secrets
from agentwire.testing.scan import Frame
from agentwire.testing.trace import ENDS, Note, Record, Trace

__all__ = ["MAGIC", "VERSION", "TraceFileError", "TraceWriter", "read_trace", "write_trace"]

MAGIC: Final = "agentwire-trace"
VERSION: Final = 1
"""The version of the format. A reader passes over members and kinds of records that it does not know."""

LARGEST: Final = 256 * 1024 * 1024
"""Bytes of a file that a recorder fills, unless it is told otherwise."""


class TraceFileError(AgentwireError):
    """A file is no trace, or one that cannot be read; the text says where and why."""


class TraceWriter:
    """Writes records to a file; a context manager, which closes it.

    Args:
        path: the file; what is there is replaced.
        about: what the first line says besides, such as ``{"of": "a relay to ws://..."}``.
        most: bytes of the file; records that would make it larger are counted, and left out.

    Attributes:
        written: records in the file.
        left_out: records that there was no room for.
        secrets: the labels in it; those of the trace that is written, if there is one.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(
        self, path: str | PathLike[str], about: Mapping[str, Any] | None = None, *, most: int = LARGEST
    ) -> None:
        self.written = 0
        self.left_out = 0
        self._room = most
        self.secrets = Secrets()
        self._origin: float | None = None
        self._file: TextIO = Path(path).open("w", encoding="utf-8", newline="\n")  # noqa: SIM115 - closed by close()
        started = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._line({MAGIC: VERSION, "agentwire": __version__, "started": started, **(about or {})})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, record: Record) -> None:
        """One more record."""
        if self._origin is None:
            self._origin = record.time
        line = _to_line(record, record.time - self._origin, self.secrets)
        if self.left_out or not self._line(line):
            self.left_out += 1
        else:
            self.written += 1

    def flush(self) -> None:
        """Let others read what was written so far."""
        self._file.flush()

    def close(self) -> None:
        """Say that it is whole, and close the file; again does nothing."""
        if not self._file.closed:
            self._room = 1024
            self._line({"is": "stopped", "records": self.written, "left_out": self.left_out})
            self._file.close()

    def _line(self, value: Mapping[str, Any]) -> bool:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_plain)
        size = len(text.encode(errors="replace")) + 1
        if size > self._room:
            return False
        self._room -= size
        self._file.write(text.encode(errors="replace").decode() + "\n")
        return True


def _plain(value: Any) -> Any:
    """Items that a model was shown, and whatever else a note may hold."""
    return to_wire(value) if attrs.has(type(value)) else str(value)


def write_trace(trace: Trace, path: str | PathLike[str], about: Mapping[str, Any]) -> None:
    """Write a trace that is in memory.

    Raises:
        OSError: it cannot be written.
    """
    about = {key: value for key, value in about.items() if key not in (MAGIC, "agentwire", "started")}
    with TraceWriter(path, about, most=1 << 62) as writer:
        writer.secrets = trace.secrets
        for record in trace.records:
            writer.write(record)
        writer.left_out += trace.left_out


def read_trace(path: str | PathLike[str]) -> Trace:
    """Read a file. One that ends in the middle of a line, as after a crash, is read up to there.

    `Trace.about` is its first line; ``whole`` in it says whether the last one was there.

    Raises:
        TraceFileError: it is no such file, or a line is broken.
        OSError: it cannot be read.
    """
    trace = Trace(most=1 << 62)
    with Path(path).open("rb") as file:
        trace.about = _read_header(path, file.readline())
        for number, line in enumerate(file, start=2):
            value = _read_line(path, number, line)
            if value is None:
                break
            if value.get("is") == "stopped":
                trace.about["whole"] = True
                left_out = value.get("left_out", 0)
                if not isinstance(left_out, int):
                    raise TraceFileError(f"{path}, line {number}: left_out is a number, and not {left_out!r}")
                trace.left_out = left_out
            elif (record := _read_record(path, number, value)) is not None:
                trace.add(record)
    return trace


def _read_header(path: str | PathLike[str], line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or MAGIC not in header:
        raise TraceFileError(f"{path} is no trace: its first line is not that of `agentwire trace record`")
    if header[MAGIC] != VERSION:
        raise TraceFileError(
            f"{path} is a trace of version {header[MAGIC]!r}; this agentwire ({__version__}) reads version {VERSION}"
        )
    return {**header, "whole": False}


def _read_line(path: str | PathLike[str], number: int, line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
        if not isinstance(value, dict):
            raise TypeError
    except (ValueError, TypeError):
        if line.endswith(b"\n"):
            raise TraceFileError(f"{path}, line {number}: it is no JSON object") from None
        return None
    return value


def _read_record(path: str | PathLike[str], number: int, value: Mapping[str, Any]) -> Record | None:
    try:
        what = _what(value)
        side = value.get("by", "local")
        if what is None or side not in (*SIDES, "local"):
            return None
        return Record(float(value["t"]), int(value.get("c", 0)), side, what)
    except (KeyError, TypeError, ValueError) as error:
        raise TraceFileError(f"{path}, line {number}: {type(error).__name__}: {error}") from None


# One record


def _to_line(record: Record, time: float, secrets: Secrets) -> dict[str, Any]:
    line: dict[str, Any] = {"t": round(time, 6), "c": record.connection, "by": record.side}
    match record.what:
        case str() as text:
            kind = "end" if text in ENDS else "open" if text.startswith("open") else "fault"
            line |= {"is": kind, "how": text}
        case Note(event):
            line = {"t": line["t"], "by": "local", "is": "note", "event": dict(event)}
        case Head() as head:
            line |= _head_line(secrets.head(head))
        case Frame() as frame:
            line |= {"is": "frame", "n": frame.index, "opcode": frame.opcode, "final": frame.final}
            line |= _payload(frame.payload, frame.length, secrets)
        case Body() as body:
            line |= {"is": body.kind, "x": body.exchange, "final": body.final}
            line |= _payload(body.payload, body.length, secrets)
    return line


def _head_line(head: Head) -> dict[str, Any]:
    if head.method:
        line: dict[str, Any] = {"is": "request", "x": head.exchange, "method": head.method, "target": head.target}
    else:
        line = {"is": "response", "x": head.exchange, "status": head.status}
    return {**line, "headers": [list(pair) for pair in head.headers], "bytes": head.length}


def _payload(payload: bytes, length: int, secrets: Secrets) -> dict[str, Any]:
    """The text if it is text; ``bytes`` are those that went by, also where fewer were kept."""
    payload = secrets.message(payload)
    try:
        return {"bytes": length, "text": payload.decode()}
    except UnicodeDecodeError:
        return {"bytes": length, "base64": base64.b64encode(payload).decode()}


def _what(value: Mapping[str, Any]) -> Frame | Head | Body | Note | str | None:
    match value.get("is"):
        case "end" | "open" | "fault":
            return str(value["how"])
        case "note":
            return Note(dict(value["event"]))
        case "request" | "response":
            return _read_head(value)
        case "frame":
            return Frame(int(value["n"]), int(value["opcode"]), bool(value["final"]), int(value["bytes"]), _kept(value))
        case "body" | "sse" as kind:
            return Body(int(value["x"]), kind, int(value["bytes"]), _kept(value), bool(value["final"]))
    return None


def _read_head(value: Mapping[str, Any]) -> Head:
    return Head(
        int(value["x"]),
        method=str(value.get("method", "")),
        target=str(value.get("target", "")),
        status=int(value.get("status", 0)),
        headers=tuple((str(name), str(text)) for name, text in value["headers"]),
        length=int(value["bytes"]),
    )


def _kept(value: Mapping[str, Any]) -> bytes:
    text = value.get("text")
    return text.encode() if isinstance(text, str) else base64.b64decode(value["base64"])
