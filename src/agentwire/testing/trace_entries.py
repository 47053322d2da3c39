"""What a trace tells, as entries: messages of WebSockets, HTTP requests with their answers and events, and ends.

A POST to a responses resource is told as the ``response.create`` that it is; everything else of HTTP is
``http.request`` and ``http.response``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from agentwire.testing.entry import Entry
from agentwire.testing.http_scan import Body, Head
from agentwire.testing.redaction import KEY_HEADERS
from agentwire.testing.scan import Frame
from agentwire.testing.trace import ENDS, MESSAGE, Note, Record, Trace, decode

__all__ = ["CREATE", "HTTP_REQUEST", "HTTP_RESPONSE", "entries_in"]

HTTP_REQUEST: Final = "http.request"
HTTP_RESPONSE: Final = "http.response"
STREAM_ENDED: Final = "http.stream_ended"
CLOSING: Final = "closing"
UNREADABLE: Final = "(no JSON object)"
CREATE: Final = "response.create"

_CREATES: Final = re.compile(r"/responses/?")
_LOSING: Final = re.compile(r"(cut|reset)\b")


def entries_in(trace: Trace) -> list[Entry]:
    """The entries of a trace, of all its connections, in the order of its records."""
    connections: dict[int, _Connection] = {}
    entries: list[Entry] = []
    for record in trace.records:
        if isinstance(record.what, Note):
            entries.append(Entry(record.time, "local", record.what.event))
            continue
        connection = connections.setdefault(record.connection, _Connection(record.connection))
        entries.extend(connection.tell(record))
    return entries


@attrs.define(eq=False)
class _Connection:
    number: int
    over: bool = False
    parts: dict[str, bytes] = attrs.field(factory=dict)
    requests: dict[int, Head] = attrs.field(factory=dict)

    def tell(self, record: Record) -> Iterator[Entry]:
        match record.what:
            case Frame() as frame:
                yield from self._frame(record, frame)
            case Head() as head:
                yield from self._head(record, head)
            case Body() as body:
                yield from self._body(record, body)
            case str() as text:
                yield from self._word(record, text)

    def _entry(self, record: Record, event: Mapping[str, Any], exchange: int | None = None) -> Entry:
        return Entry(record.time, record.side, event, self.number, exchange)

    # WebSockets

    def _frame(self, record: Record, frame: Frame) -> Iterator[Entry]:
        if frame.opcode in MESSAGE:
            whole = self.parts.pop(record.side, b"") + frame.payload
            if not frame.final:
                self.parts[record.side] = whole
            elif (message := decode(whole)) is not None:
                yield self._entry(record, message)
            elif len(frame.payload) == frame.length:  # and not a part that was kept of something larger
                yield self._entry(record, {"type": UNREADABLE, "begins": whole[:60].decode(errors="replace")})
        elif frame.opcode == 8:
            code = int.from_bytes(frame.payload[:2], "big") if len(frame.payload) >= 2 else None
            reason = frame.payload[2:].decode(errors="replace")
            yield self._entry(record, {"type": CLOSING, "code": code, "reason": reason})

    def _word(self, record: Record, text: str) -> Iterator[Entry]:
        """A connection ends once: with the first that is heard of it."""
        ends = text in ENDS
        if not self.over and (ends or _LOSING.match(text)):
            self.over = True
            by = record.side if ends else "network"
            event = {"type": "connection.ended", "cause": text, "by": by}
            yield Entry(record.time, "local", event, self.number)
        elif text not in ENDS and not text.startswith("open"):
            yield Entry(record.time, "local", {"type": "fault", "cause": text}, self.number)

    # HTTP

    def _head(self, record: Record, head: Head) -> Iterator[Entry]:
        if head.method:
            self.requests[head.exchange] = head
            principal = next((head.header(name) for name in KEY_HEADERS if head.header(name)), None)
            event: dict[str, Any] = {"type": HTTP_REQUEST, "method": head.method, "target": head.target}
            event |= {"principal": principal, "upgrade": head.upgrades}
        else:
            event = {"type": HTTP_RESPONSE, "status": head.status}
        yield self._entry(record, event, head.exchange)

    def _body(self, record: Record, body: Body) -> Iterator[Entry]:
        if body.kind == "sse" and body.final:
            yield self._entry(record, {"type": STREAM_ENDED}, body.exchange)
        elif (message := decode(body.payload)) is not None:
            if body.kind == "body":
                message = self._whole(record, body, message)
            yield self._entry(record, message, body.exchange)

    def _whole(self, record: Record, body: Body, message: dict[str, Any]) -> dict[str, Any]:
        request = self.requests.get(body.exchange)
        if record.side == "client" and request is not None and _is_create(request):
            return {"type": CREATE, **message}
        return {"type": f"http.{'request' if record.side == 'client' else 'response'}.body", "body": message}


def _is_create(head: Head) -> bool:
    return head.method == "POST" and bool(_CREATES.search(urlsplit(head.target).path[-11:]))
