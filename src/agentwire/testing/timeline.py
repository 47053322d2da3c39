"""A trace as lines for people: one for a message, a run of deltas, a head, an end, a fault or a piece of work.

Lines are values; `agentwire trace show` gives them colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import attrs

from agentwire.testing.http_scan import Body, Head
from agentwire.testing.redaction import KEY_HEADERS
from agentwire.testing.scan import Frame
from agentwire.testing.trace import ENDS, MESSAGE, Note, Record, Trace, decode, told

__all__ = ["Line", "brief_id", "lines"]

Kind = Literal["message", "error", "end of response", "http", "control", "end", "fault", "note"]

_TERMINAL: Final = ("response.completed", "response.incomplete", "response.failed")
_QUOTED: Final = 60


@attrs.define(eq=False)
class Line:
    """One line.

    Attributes:
        time: of the last record in it, as in the trace.
        connection: the n-th connection; None for work.
        by: who did it.
        kind: what it is.
        name: the type of a message, or what else it is.
        says: what is worth knowing of it, in a few words.
        lane: of a message: its ``stream_id``; None for the default lane, and for what is no message.
        exchange: the n-th request of an HTTP connection; None on a WebSocket.
        size: bytes; None for what has none.
        count: messages in it.
        since: the time of the first.
        payloads: the messages, as they went by.
    """

    time: float
    connection: int | None
    by: str
    kind: Kind
    name: str
    says: str = ""
    lane: str | None = None
    exchange: int | None = None
    size: int | None = None
    count: int = 1
    since: float = attrs.field(default=attrs.Factory(lambda line: line.time, takes_self=True))
    payloads: list[bytes] = attrs.field(factory=list)

    @property
    def is_message(self) -> bool:
        """It has a lane, be it the default one."""
        return self.kind in ("message", "error", "end of response")


def lines(trace: Trace, *, runs: bool = True) -> list[Line]:
    """The lines of a trace, by the clock.

    Args:
        trace: what happened.
        runs: put deltas that follow each other on a lane into one line.
    """
    told_: list[Line] = []
    last: dict[tuple[object, ...], Line] = {}
    parts: dict[tuple[int, str], list[Frame]] = {}
    for record in trace.records:
        for line in _lines(record, parts):
            where = (line.connection, line.exchange, line.lane, line.by)
            before = last.get(where)
            if runs and before is not None and _goes_on(before, line):
                _join(before, line)
                continue
            told_.append(line)
            last[where] = line
    return sorted(told_, key=lambda line: line.time)


def _goes_on(before: Line, line: Line) -> bool:
    return before.name == line.name and line.name.endswith(".delta") and line.is_message


def _join(before: Line, line: Line) -> None:
    before.time = line.time
    before.count += 1
    before.size = (before.size or 0) + (line.size or 0)
    before.payloads += line.payloads
    if before.count <= _QUOTED:  # what comes later is not shown
        pieces = [str((decode(payload) or {}).get("delta", "")) for payload in before.payloads]
        before.says = _quote("".join(pieces))


def _lines(record: Record, parts: dict[tuple[int, str], list[Frame]]) -> Iterator[Line]:
    match record.what:
        case Frame() as frame if frame.opcode in MESSAGE:
            waiting = parts.setdefault((record.connection, record.side), [])
            waiting.append(frame)
            if frame.final:
                yield _message(record, [*waiting])
                waiting.clear()
        case Frame() as frame:
            name, _, says = told(frame).partition(" B")
            yield _line(record, "control", name.split(" ", 2)[2].rpartition(" ")[0], says.strip(), size=frame.length)
        case Head() as head:
            yield _line(record, "http", told(head), _head(head), exchange=head.exchange)
        case Body(kind="sse", final=True) as body:
            yield _line(record, "http", "the event stream ends", exchange=body.exchange)
        case Body() as body:
            yield _body(record, body)
        case Note(event):
            name, says = _note(event)
            yield Line(record.time, None, "local", "note", name, says)
        case str() as text:
            kind: Kind = "end" if text in ENDS or text.startswith("open") else "fault"
            yield _line(record, kind, {"eof": "says no more", "close": "closes", "reset": "resets"}.get(text, text))


def _line(record: Record, kind: Kind, name: str, says: str = "", **more: Any) -> Line:
    return Line(record.time, record.connection, record.side, kind, name, says, **more)


def _message(record: Record, frames: list[Frame]) -> Line:
    payload, size = b"".join(frame.payload for frame in frames), sum(frame.length for frame in frames)
    line = _told(record, payload, size)
    if len(frames) > 1:
        line.says = f"{line.says} (in {len(frames)} frames)".strip()
    if frames[0].opcode == 2:
        line.says = f"{line.says} (binary)".strip()
    return line


def _told(record: Record, payload: bytes, size: int, exchange: int | None = None) -> Line:
    message = decode(payload)
    if message is None:
        text = payload[:_QUOTED].decode(errors="replace")
        shown = _quote(text) if text else ""
        return _line(record, "control", "message", shown, size=size, exchange=exchange, payloads=[payload])
    name = str(message.get("type", "(no type)"))
    kind: Kind = "error" if name in ("error", "response.failed") else "message"
    kind = "end of response" if name in _TERMINAL and kind == "message" else kind
    lane = message.get("stream_id")
    more: dict[str, Any] = {"size": size, "exchange": exchange, "payloads": [payload]}
    return _line(record, kind, name, describe(message), lane=None if lane is None else str(lane), **more)


def _body(record: Record, body: Body) -> Line:
    if body.kind == "sse" and body.payload != b"[DONE]":
        return _told(record, body.payload, body.length, body.exchange)
    name = "body" if body.final or body.kind == "sse" else "part of a body"
    message = decode(body.payload) or {}
    says = describe(message) if message else _quote(body.payload[:_QUOTED].decode(errors="replace"))
    ended = message.get("object") == "response" and f"response.{message.get('status')}" in _TERMINAL
    kind: Kind = "end of response" if ended else "http"
    return _line(record, kind, name, says, size=body.length, exchange=body.exchange, payloads=[body.payload])


def _head(head: Head) -> str:
    if not head.method:
        return head.header("content-type")
    return " ".join(filter(None, (next(filter(None, map(head.header, KEY_HEADERS)), ""), head.header("user-agent"))))


# What messages say


def describe(message: Mapping[str, Any]) -> str:
    """What is worth knowing of a message, in a few words."""
    said = (
        *_of_request(message),
        *([str(message.get("status"))] if message.get("object") == "response" else ()),
        *_of_response(message if message.get("object") == "response" else message.get("response")),
        *_of_item(message.get("item")),
        *_of_error(message.get("error"), message.get("status")),
        *_of_more(message),
    )
    return " ".join(one for one in said if one)


def _of_request(message: Mapping[str, Any]) -> Iterator[str]:
    if "output" in message:
        return  # a whole response, which repeats its request
    if "input" in message:
        given = message["input"]
        yield _quote(given) if isinstance(given, str) else ", ".join(_items(given))
    if message.get("previous_response_id"):
        yield f"after {brief_id(message['previous_response_id'])}"
    if message.get("generate") is False:
        yield "to warm up"
    if isinstance(message.get("tools"), list) and message["tools"]:
        yield f"with {_many(len(message['tools']), 'tool')}"
    if message.get("store") is False:
        yield "not stored"


def _items(given: object) -> Iterable[str]:
    items = given if isinstance(given, list) else []
    shown = [" ".join(filter(None, _of_item(item))) for item in items[-2:]]
    return [_many(len(items) - 2, "item"), *shown] if len(items) > 2 else shown


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _of_response(response: object) -> Iterator[str]:
    if not isinstance(response, Mapping):
        return
    yield brief_id(response.get("id"))
    if response.get("previous_response_id"):
        yield f"after {brief_id(response['previous_response_id'])}"
    if isinstance(response.get("output"), list) and response["output"]:
        yield _many(len(response["output"]), "item")
    usage = response.get("usage")
    if isinstance(usage, Mapping):
        yield f"{usage.get('input_tokens')}+{usage.get('output_tokens')} tokens"
    details = response.get("incomplete_details")
    if isinstance(details, Mapping):
        yield str(details.get("reason"))
    yield from _of_error(response.get("error"), None)


def _of_item(item: object) -> Iterator[str]:
    if not isinstance(item, Mapping):
        return
    yield str(item.get("type", "message"))
    for key in ("role", "name"):
        yield str(item.get(key) or "")
    yield brief_id(item.get("call_id"))
    content = item.get("output") if "output" in item else item.get("content")
    texts = content if isinstance(content, list) else [{"text": content}]
    yield _quote("".join(str(part.get("text") or "") for part in texts if isinstance(part, Mapping)))


def _of_error(error: object, status: object) -> Iterator[str]:
    if isinstance(error, Mapping):
        yield str(status or "")
        yield str(error.get("code") or error.get("type") or "")
        yield _quote(str(error.get("message", "")))


def _of_more(message: Mapping[str, Any]) -> Iterator[str]:
    for key in () if "output" in message else ("delta", "text", "arguments"):
        if isinstance(message.get(key), str):
            yield _quote(message[key])
    for key in ("reason", "seconds"):
        if key in message:
            yield f"{key} {message[key]}"
    if message.get("resumed"):
        yield "resumed"


def _quote(text: str) -> str:
    shown = " ".join(text.split())
    return "" if not shown else f"“{shown if len(shown) <= _QUOTED else shown[: _QUOTED - 1] + '…'}”"


def brief_id(given: object) -> str:
    """An id, short enough for a line: its kind and its last characters."""
    text = given if isinstance(given, str) else ""
    kind, mark, rest = text.rpartition("_")
    return f"{kind}{mark}…{rest[-6:]}" if len(rest) > 10 else text


def _note(event: Mapping[str, Any]) -> tuple[str, str]:
    match event:
        case {"type": "work.started", "kind": kind, "name": name}:
            return f"{kind} begins", _work(name)
        case {"type": "work.ended", "kind": kind, "name": name, "how": how}:
            return f"{kind} {how}", _work(name)
        case {"type": "model.saw", "response_id": response_id, "items": items}:
            return "the model is shown", f"{len(items)} items for {brief_id(response_id)}"
        case {"type": "resources", **kinds}:
            return "there are", ", ".join(f"{len(there)} {kind}" for kind, there in kinds.items())
        case {"type": "size", "name": name, "bytes": size}:
            return "size", f"{name} holds {size} B"
    said = " ".join(f"{key} {value}" for key, value in event.items() if key != "type")
    return str(event.get("type", "note")), said


def _work(name: object) -> str:
    first, _, rest = str(name).partition(" ")
    return f"{brief_id(first)} {rest}".strip()
