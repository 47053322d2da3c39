"""HTTP/1.1 in a stream of bytes: heads, bodies and server-sent events, for records; it judges nothing.

It follows one direction of a connection and shares with the other one what was asked, because the end of an answer
depends on it. What it cannot read, it leaves alone from there on.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

import attrs

from agentwire.protocol.errors import RemoteProtocolError
from agentwire.testing.faults import Side
from agentwire.transport.sse import SseParser

__all__ = ["Body", "Head", "HttpScanner", "Talk"]

_HEAD_END: Final = b"\r\n\r\n"
_LONGEST_HEAD: Final = 65536
_LONGEST_LINE: Final = 1024

_State = Literal["head", "body", "size", "chunk", "chunk end", "trailers", "rest", "frames", "lost"]


@attrs.frozen
class Head:
    """The head of a request or an answer.

    Attributes:
        exchange: the n-th request of the connection, from 0.
        method: of a request; empty for an answer.
        target: of a request: path and query, secrets replaced.
        status: of an answer; 0 for a request.
        headers: names in lower case, secrets replaced.
        length: bytes of the head.
    """

    exchange: int
    method: str = ""
    target: str = ""
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    length: int = 0

    def header(self, name: str) -> str:
        """The value of a header; empty if it is not there."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def upgrades(self) -> bool:
        """It asks for a WebSocket, or grants it."""
        asked = self.header("upgrade").lower() == "websocket"
        return asked if self.method else self.status == 101


@attrs.frozen
class Body:
    """A body, or one event of an event stream.

    Attributes:
        exchange: the n-th request of the connection, from 0.
        kind: ``body`` for a whole one, ``sse`` for the payload of one event.
        length: bytes.
        payload: what was kept of it.
        final: nothing more comes of this exchange from this side, and it is whole.
    """

    exchange: int
    kind: Literal["body", "sse"]
    length: int
    payload: bytes = b""
    final: bool = True


@attrs.define(eq=False)
class Talk:
    """What the two directions of a connection know of each other.

    Attributes:
        asked: methods of requests that have no answer yet.
        state: of the WebSocket: ``no``, ``asked``, ``open``, ``refused``.
    """

    asked: deque[str] = attrs.field(factory=deque)
    state: Literal["no", "asked", "open", "refused"] = "no"


class HttpScanner:
    """Follows one direction of a connection, up to the first WebSocket frame.

    Args:
        side: who sends.
        talk: shared with the other direction.
        keep: most bytes of a body or an event that are kept.
    """

    def __init__(self, side: Side, talk: Talk, *, keep: int) -> None:
        self._side = side
        self._talk = talk
        self._keep = keep
        self._state: _State = "head"
        self._exchange = -1
        self._buffer = bytearray()
        self._left = 0
        self._chunked = False
        self._events: SseParser | None = None
        self._body = bytearray()
        self._length = 0
        self._begun = False

    def feed(self, data: bytes) -> list[Head | Body]:
        """Follow ``data``; returns what became whole."""
        found: list[Head | Body] = []
        if not self._begun and data:
            self._begun = True
            if not 0x41 <= data[0] <= 0x5A:  # a method or HTTP/1.1 begins with a capital, a frame never does
                self._state = "lost"
        if self._state == "frames" and self._side == "client" and self._talk.state == "refused":
            self._state, self._talk.state = "head", "no"
        rest = memoryview(data)
        while rest and self._state not in ("lost", "frames"):
            rest = self.step(rest, found)
        return found

    def finish(self) -> list[Head | Body]:
        """This side says no more; returns what that ends."""
        found: list[Head | Body] = []
        if self._state == "rest":
            self._end(found)
        elif self._body:
            found.append(Body(self._exchange, "body", self._length, bytes(self._body), final=False))
            self._body.clear()
        return found

    @property
    def in_head(self) -> bool:
        """What comes next belongs to a head."""
        return self._state == "head"

    def step(self, data: memoryview, found: list[Head | Body]) -> memoryview:
        """Follow ``data`` to the end of one part, such as a head or a chunk; returns what comes after it."""
        match self._state:
            case "lost" | "frames":
                return data[:0]
            case "head":
                return self._head(data, found)
            case "size" | "chunk end" | "trailers":
                return self._line(data, found)
            case "rest":
                self._take(data, found)
                return data[:0]
        part = data[: self._left]
        self._left -= len(part)
        self._take(part, found)
        if not self._left:
            if self._state == "chunk":
                self._state = "chunk end"
            else:
                self._end(found)
        return data[len(part) :]

    # Heads

    def _head(self, data: memoryview, found: list[Head | Body]) -> memoryview:
        before = len(self._buffer)
        self._buffer += data
        end = self._buffer.find(_HEAD_END, max(0, before - len(_HEAD_END) + 1))
        if end < 0:
            if len(self._buffer) > _LONGEST_HEAD:
                self._lose()
            return data[:0]
        raw, size = bytes(self._buffer[:end]), end + len(_HEAD_END)
        self._buffer.clear()
        head = self._read(raw, size)
        if head is None:
            self._lose()
            return data[:0]
        found.append(head)
        self._begin_body(head, found)
        return data[size - before :]

    def _read(self, raw: bytes, size: int) -> Head | None:
        first, *lines = raw.decode("latin-1").split("\r\n")
        words = first.split(" ", 2)
        pairs = [line.partition(":") for line in lines]
        headers = tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)
        if self._side == "client":
            if len(words) != 3:
                return None
            self._exchange += 1
            self._talk.asked.append(words[0])
            return Head(self._exchange, method=words[0], target=words[1], headers=headers, length=size)
        if len(words) < 2 or not words[1].isdigit():
            return None
        status = int(words[1])
        if _is_interim(status):
            return Head(self._exchange + 1, status=status, headers=headers, length=size)
        self._exchange += 1
        return Head(self._exchange, status=status, headers=headers, length=size)

    def _begin_body(self, head: Head, found: list[Head | Body]) -> None:
        self._body.clear()
        self._length, self._left, self._events = 0, 0, None
        if self._side == "server":
            if _is_interim(head.status):
                return
            method = self._talk.asked.popleft() if self._talk.asked else ""
            if self._judge_upgrade(head) or method == "HEAD" or head.status in (204, 304):
                return
        elif head.upgrades:
            self._talk.state, self._state = "asked", "frames"
            return
        if self._side == "server" and head.header("content-type").startswith("text/event-stream"):
            self._events = SseParser(self._keep)
        length = head.header("content-length")
        if head.header("transfer-encoding").lower().endswith("chunked"):
            self._state = "size"
        elif length.isdigit() and (int(length) or self._events is not None):
            self._state, self._left = "body", int(length)
        elif not length and self._side == "server":
            self._state = "rest"
        if self._state == "body" and not self._left:
            self._end(found)

    def _judge_upgrade(self, head: Head) -> bool:
        if head.status == 101:
            self._talk.state, self._state = "open", "frames"
            return True
        if self._talk.state == "asked":
            self._talk.state = "refused"
        return False

    # Bodies

    def _line(self, data: memoryview, found: list[Head | Body]) -> memoryview:
        before = len(self._buffer)
        self._buffer += data[: _LONGEST_LINE - before]
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) >= _LONGEST_LINE:
                self._lose()
            return data[len(self._buffer) - before :]
        line = bytes(self._buffer[:end]).strip()
        self._buffer.clear()
        if self._state == "size":
            self._size(line)
        elif self._state == "chunk end":
            self._state = "size"
        elif not line:
            self._end(found)
        return data[end + 1 - before :]

    def _size(self, line: bytes) -> None:
        try:
            self._left = int(line.partition(b";")[0], 16)
        except ValueError:
            self._lose()
            return
        self._state = "chunk" if self._left else "trailers"

    def _take(self, data: memoryview, found: list[Head | Body]) -> None:
        self._length += len(data)
        if self._events is None:
            self._body += data[: max(0, self._keep - len(self._body))]
            return
        try:
            payloads = self._events.feed(bytes(data))
        except RemoteProtocolError:  # an event larger than what is kept: its stream is followed no further
            self._events = None
            return
        found += [Body(self._exchange, "sse", len(payload), payload, final=False) for payload in payloads]

    def _end(self, found: list[Head | Body]) -> None:
        if self._events is not None:
            found.append(Body(self._exchange, "sse", 0))
        elif self._length:
            found.append(Body(self._exchange, "body", self._length, bytes(self._body)))
        self._body.clear()
        self._events, self._state = None, "head"

    def _lose(self) -> None:
        self._state = "lost"
        self._buffer.clear()


def _is_interim(status: int) -> bool:
    """The answer itself is still to come."""
    return 100 <= status < 200 and status != 101
