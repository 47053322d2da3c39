"""Two ends of an HTTP connection for tests: the server under test, and a peer that says exactly what it is told to."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple

import h11
import trio
import trio.testing

from agentwire.protocol.limits import Limits
from agentwire.transport.http11 import HttpConnection
from agentwire.transport.listen import Listening, accept_loop, open_listeners
from agentwire.transport.serving import Answer, serve_requests
from agentwire.transport.streams import NetworkStream, SlicedByteStream

LONG_AGO = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the date that RFC 9110 uses


class Reply(NamedTuple):
    """What the peer understood of one response."""

    status: int
    headers: dict[str, str]
    body: bytes


class Peer:
    """The client's end: sends raw bytes, and reads responses with h11's client side."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._rest = b""
        self.continues = 0

    async def send(self, *raw: bytes) -> None:
        for part in raw:
            await self.stream.send_all(part)

    async def reply(self, method: str = "GET") -> Reply:
        """The next whole response; an AssertionError if the server goes before its end."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("host", "test")]))
        parser.send(h11.EndOfMessage())
        if self._rest:
            parser.receive_data(self._rest)
        head: h11.Response | None = None
        body = b""
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                data = await self.stream.receive_some(65536)
                assert data or head is not None, "the server went away without an answer"
                parser.receive_data(bytes(data))
            elif isinstance(event, h11.InformationalResponse):
                self.continues += 1
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
        assert head is not None
        self._rest = parser.trailing_data[0]
        return Reply(head.status_code, {name.decode(): value.decode("latin-1") for name, value in head.headers}, body)

    async def ask(self, *raw: bytes, method: str = "GET") -> Reply:
        await self.send(*raw)
        return await self.reply(method)

    async def at_end(self) -> bool:
        """True if the server has closed, with nothing more to say."""
        return not self._rest and not await self.stream.receive_some(65536)


def http_pair(limits: Limits | None = None) -> tuple[Peer, HttpConnection]:
    """A peer and a server's connection, joined in memory."""
    theirs, ours = trio.testing.memory_stream_pair()
    limits = limits or Limits()
    stream = SlicedByteStream(ours, slice_bytes=limits.slice_bytes, peer="memory")
    return Peer(theirs), HttpConnection(stream, limits, now=lambda: LONG_AGO)


@asynccontextmanager
async def serving(answer: Answer, limits: Limits | None = None) -> AsyncGenerator[Peer]:
    """A peer whose requests are answered in the background, in memory."""
    peer, connection = http_pair(limits)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_requests, connection, answer)
        yield peer
        nursery.cancel_scope.cancel(reason="the test is over")


@asynccontextmanager
async def loopback(
    answer: Answer, *, limits: Limits | None = None, listening: Listening | None = None
) -> AsyncGenerator[Listening]:
    """A server on 127.0.0.1, gone within five seconds of the block's end whatever happens."""
    limits = limits or Limits()
    listening = listening or await open_listeners("127.0.0.1")

    async def handle(stream: NetworkStream) -> None:
        await serve_requests(HttpConnection(stream, limits), answer)

    async with listening, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: accept_loop(listening, handle, nursery=nursery, limits=limits))
        yield listening
        nursery.cancel_scope.cancel(reason="the test is over")
