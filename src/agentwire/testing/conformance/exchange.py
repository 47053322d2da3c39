"""One HTTP request on a connection of its own: the whole answer, or its body piece by piece."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import trio

from agentwire.protocol.errors import RemoteProtocolError
from agentwire.testing.conformance.wire import Log
from agentwire.transport.refusal import AnswerReader

__all__ = ["Reply", "StreamReply", "exchange", "open_stream_reply"]

_CHUNK: Final = 65536


class Reply(NamedTuple):
    """One HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


async def exchange(stream: trio.abc.Stream, request: bytes, log: Log) -> Reply:
    """Send one request on a connection of its own, and read the answer to its end."""
    reply = await open_stream_reply(stream, request, log)
    body = b""
    while piece := await reply.more():
        body += piece
    log.note(reply.name, "<", body)
    return Reply(reply.status, reply.headers, body)


class StreamReply:
    """An HTTP answer whose body comes piece by piece; ``Transfer-Encoding: chunked`` is undone."""

    def __init__(
        self, stream: trio.abc.Stream, name: str, status: int, headers: Mapping[str, str], rest: bytes
    ) -> None:
        self.name = name
        self.status = status
        self.headers = headers
        self._stream = stream
        self._raw = rest
        self._chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        self._left = None if self._chunked else int(headers.get("content-length", "-1"))
        self._over = self._left == 0

    async def more(self) -> bytes:
        """The next piece of the body; empty at its end."""
        while not self._over:
            piece = self._cut_chunk() if self._chunked else self._cut_plain()
            if piece or self._over:
                return piece
            data = bytes(await self._stream.receive_some(_CHUNK))
            if not data:
                if self._chunked or (self._left or 0) > 0:
                    raise RemoteProtocolError("the answer ended before its end")
                self._over = True
            self._raw += data
        return b""

    def _cut_plain(self) -> bytes:
        piece, self._raw = self._raw, b""
        if self._left is not None and self._left >= 0:
            self._left -= len(piece)
            self._over = self._left <= 0
        return piece

    def _cut_chunk(self) -> bytes:
        head, found, rest = self._raw.partition(b"\r\n")
        if not found:
            return b""
        size = int(head.partition(b";")[0], 16)
        if len(rest) < size + 2:
            return b""
        self._raw = rest[size + 2 :]
        self._over = size == 0
        return rest[:size]


async def open_stream_reply(stream: trio.abc.Stream, request: bytes, log: Log) -> StreamReply:
    """Send one request, and read the head of its answer."""
    name = log.name("http")
    head, _, body = request.partition(b"\r\n\r\n")
    log.note(name, ">", head.split(b"\r\n", 1)[0] + b" " + body)
    await stream.send_all(request)
    reader = AnswerReader(1 << 26)
    while reader.answer is None:
        data = bytes(await stream.receive_some(_CHUNK))
        if not data:
            raise RemoteProtocolError("the server went away without an answer")
        reader.feed(data)
    answer = reader.answer
    log.note(name, "<", f"HTTP {answer.status}")
    return StreamReply(stream, name, answer.status, dict(answer.headers), answer.body)
