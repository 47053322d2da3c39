"""Bare relays in front of the same fake server: what a gateway on Trio cannot do without, and nothing else.

Each takes a WebSocket, posts one request upstream for every message and passes the answer's events on unread. None
keeps, checks, numbers or bounds anything, and no error is told: they are a floor to measure others by, not gateways.

``python -m benchmarks.gateway.relays KIND PORT URL`` serves one of them.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from functools import partial
from urllib.parse import urlsplit

import trio
import trio_websocket

from agentwire.transport.frames import FrameParser, server_framing
from benchmarks.wire.contestants import settle_collector

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(rb"(?i)\r\nsec-websocket-key: *([^\r]+)\r\n")
_SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: %b\r\n\r\n"
)
_POST = b"POST /v1/responses HTTP/1.1\r\nhost: upstream\r\ncontent-length: %d\r\n\r\n%b"
_EVENT = re.compile(rb"data: (.*)\n\n")
_LAST = b"0\r\n\r\n"
_SIZE = 65536

Ask = Callable[[bytes], AsyncGenerator[list[bytes]]]


class Socket:
    """A socket with the fewest calls of the kernel and of Trio: a read waits first, and a write does not wait at all.

    Args:
        stream: Trio's, over the socket.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        stream.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
        self._stream = stream
        self._number = stream.socket.fileno()

    async def receive(self) -> bytes:
        """What comes next."""
        await trio.lowlevel.wait_readable(self._number)
        return os.read(self._number, _SIZE)

    async def send(self, data: bytes) -> None:
        """Send it all, which hardly ever has to wait."""
        sent = self._write(data)
        while sent < len(data):
            await trio.lowlevel.wait_writable(self._number)
            sent += self._write(data[sent:])

    def _write(self, data: bytes) -> int:
        try:
            return os.write(self._number, data)
        except BlockingIOError:
            return 0


class Upstream:
    """One kept connection to the fake server; of HTTP it knows as much as it takes.

    Args:
        host: the server's.
        port: likewise.
    """

    def __init__(self, host: str, port: int) -> None:
        self._at = host, port
        self._socket: Socket | None = None

    async def ask(self, body: bytes) -> AsyncGenerator[list[bytes]]:
        """Post a request; its events, as they come together."""
        if self._socket is None:
            self._socket = Socket(await trio.open_tcp_stream(*self._at))
        await self._socket.send(_POST % (len(body), body))
        data, end = b"", 0
        while not data.endswith(_LAST):
            data = data[end:] + await self._socket.receive()
            found = [*_EVENT.finditer(data)]
            end = found[-1].end() if found else 0
            yield [event[1] for event in found]


async def serve_bare(ask: Callable[[], Ask], port: int) -> None:
    """On bare sockets, with agentwire's frames: what comes together leaves in one write."""

    async def serve(stream: trio.SocketStream) -> None:
        socket, upstream, head = Socket(stream), ask(), b""
        while not (key := _KEY.search(head)):
            head += await socket.receive()
        digest = hashlib.sha1(key[1] + _MAGIC, usedforsecurity=False).digest()
        await socket.send(_SWITCH % base64.b64encode(digest))
        parser = FrameParser(masked=True, max_message=1 << 24)
        while data := await socket.receive():
            for message in parser.feed(data):
                if isinstance(message, bytes):
                    async with aclosing(upstream(message)) as answer:
                        async for events in answer:
                            await socket.send(server_framing(events))

    await trio.serve_tcp(serve, port, host="127.0.0.1")


async def serve_library(ask: Callable[[], Ask], port: int) -> None:
    """On trio-websocket as it is, an event a message."""

    async def serve(request: trio_websocket.WebSocketRequest) -> None:
        upstream, socket = ask(), await request.accept()
        with suppress(trio_websocket.ConnectionClosed):
            while True:
                message = await socket.get_message()
                async with aclosing(upstream(message.encode() if isinstance(message, str) else message)) as answer:
                    async for events in answer:
                        for event in events:
                            await socket.send_message(event.decode())

    await trio_websocket.serve_websocket(serve, "127.0.0.1", port, ssl_context=None)


KINDS: Mapping[str, Callable[[Callable[[], Ask], int], Awaitable[None]]] = {
    "bare": serve_bare,
    "library": serve_library,
}


def main(kind: str, port: int, url: str) -> None:
    """Serve until killed."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    host, upstream_port = parts.hostname, parts.port
    settle_collector()
    trio.run(partial(KINDS[kind], lambda: Upstream(host, upstream_port).ask, port))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
