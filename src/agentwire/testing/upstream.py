"""A model server that says exactly what it is told to, faults included, and remembers what it saw of its clients.

It speaks HTTP/1.1 over a network in memory, on a virtual clock if there is one, or on 127.0.0.1. It knows nothing of
any API: what it streams are the payloads that it is given, so it may be a server of chat completions as well as one of
responses.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import trio

from agentwire.protocol.errors import ConnectionEnded, RequestError
from agentwire.protocol.limits import Limits
from agentwire.runtime.groups import open_flat_nursery
from agentwire.testing.network import Network, network
from agentwire.testing.replies import Flood, Pause, Reply
from agentwire.testing.streams import MemoryStream
from agentwire.transport.http11 import HttpConnection
from agentwire.transport.listen import accept_loop, open_listeners
from agentwire.transport.streams import NetworkStream, SocketByteStream, close_now

__all__ = ["ScriptedUpstream", "SeenAnswer", "SeenConnection", "SeenRequest", "scripted_upstream"]

_PATIENCE: Final = Limits(handshake=math.inf, idle=math.inf, body=math.inf)
_PIECE: Final = 16384


@attrs.define(eq=False)
class SeenAnswer:
    """What became of the answer to a request.

    Attributes:
        sent: bytes of it that the connection has taken; what the client has not read is among them.
        ended_at: Trio's time at which it ended; None while it goes on.
        how: it ended: ``said`` to its end, ``script`` cut off by the script, ``eof`` and ``reset`` left by the client.
        ended: set then.
    """

    sent: int = 0
    ended_at: float | None = None
    how: str = ""
    ended: trio.Event = attrs.Factory(trio.Event)

    def end(self, how: str) -> None:
        """Note its end, the first time."""
        if self.ended_at is None:
            self.ended_at, self.how = trio.current_time(), how
            self.ended.set()


@attrs.frozen
class SeenRequest:
    """A request that came.

    Attributes:
        method: of it.
        target: path and query.
        headers: names in lower case.
        body: as it is.
        connection: which of the connections it came on.
        at: Trio's time.
        answer: what became of the answer.
    """

    method: str
    target: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    connection: int
    at: float
    answer: SeenAnswer = attrs.field(factory=SeenAnswer, repr=False, eq=False)

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@attrs.define(eq=False)
class SeenConnection:
    """A connection that was made.

    Attributes:
        opened_at: Trio's time.
        sent: bytes that the connection has taken; what the client has not read is among them.
        closed_at: Trio's time at which it ended, whoever ended it; None while it is open.
        how: it ended: ``eof`` and ``reset`` are the client's, ``script`` is ours.
        closed: set then.
    """

    opened_at: float = attrs.Factory(trio.current_time)
    sent: int = 0
    closed_at: float | None = None
    how: str = ""
    closed: trio.Event = attrs.Factory(trio.Event)

    def end(self, how: str) -> None:
        """Note its end, the first time."""
        if self.closed_at is None:
            self.closed_at, self.how = trio.current_time(), how
            self.closed.set()


Choice = Callable[[SeenRequest], Reply]
_Counts = tuple[SeenConnection, SeenAnswer]


class ScriptedUpstream:
    """The server; made by `scripted_upstream`.

    Attributes:
        url: its base URL.
        requests: every request that came, in order.
        connections: every connection that was made, in order.
        replies: those to come; the last one is for all further requests. May be changed at any time.
    """

    def __init__(self, url: str, net: Network | None, replies: Iterable[Reply], choose: Choice | None = None) -> None:
        self.url = url
        self._choose = choose
        self.requests: list[SeenRequest] = []
        self.connections: list[SeenConnection] = []
        self.replies = deque(replies)
        self._net = net

    @property
    def open_connections(self) -> int:
        """How many connections have not ended."""
        return sum(connection.closed_at is None for connection in self.connections)

    @property
    def sent(self) -> int:
        """Bytes that were sent on all connections."""
        return sum(connection.sent for connection in self.connections)

    async def connect(self) -> MemoryStream:
        """A connection in memory: the ``connector`` for a client of this server.

        Raises:
            ConnectionRefusedError: the next reply is a refusal.
        """
        assert self._net is not None, "on 127.0.0.1 a client connects to the URL"
        if self.replies and self.replies[0].refused:
            self._next()
            await trio.lowlevel.checkpoint()
            raise ConnectionRefusedError(111, "Connection refused")
        return await self._net.connect()

    def _next(self) -> Reply:
        return self.replies.popleft() if len(self.replies) > 1 else self.replies[0]

    def _reply_to(self, request: SeenRequest) -> Reply:
        return self._next() if self._choose is None else self._choose(request)

    async def serve(self, network_stream: NetworkStream) -> None:
        """Serve one connection until it ends."""
        stream, seen = _Unread(network_stream), SeenConnection()
        self.connections.append(seen)
        try:
            while await self._exchange(stream, seen):
                pass
        except trio.BrokenResourceError:
            seen.end("reset")
        finally:
            seen.end("script")
            await close_now(stream)  # noqa: ASYNC102 - it waits for nothing

    async def _exchange(self, stream: _Unread, seen: SeenConnection) -> bool:
        """One request and its reply; False if it is the connection's last."""
        connection = HttpConnection(stream, _PATIENCE)
        request = await connection.next_request()
        if request is None:
            seen.end("reset" if "reset" in connection.broken else "eof")
            return False
        try:
            body = await connection.read_body()
        except (ConnectionEnded, RequestError):
            seen.end("eof")
            return False
        number = self.connections.index(seen)
        told = SeenRequest(request.method, request.target, request.headers, body, number, trio.current_time())
        self.requests.append(told)
        if self._choose is None and self.replies[0].refused:
            return False
        connection.take_over()
        return await self._reply(self._reply_to(told), stream, seen, told.answer)

    async def _reply(self, reply: Reply, stream: _Unread, seen: SeenConnection, answer: SeenAnswer) -> bool:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_watch, stream, seen, nursery)
                for step in itertools.chain(reply.steps, reply.later):
                    await _play(step, stream, (seen, answer))
                if reply.end == "stall":
                    await trio.sleep_forever()
                nursery.cancel_scope.cancel(reason="all is said")
        finally:
            answer.end(seen.how or ("said" if reply.end == "end" else "script"))
        if reply.end == "reset" and seen.closed_at is None:
            seen.end("script")
            await stream.reset()
        return reply.end == "end" and seen.closed_at is None


class _Unread:
    """The server's end of a connection, of which what was read too early can be read again."""

    def __init__(self, stream: NetworkStream) -> None:
        self._stream = stream
        self.early = b""
        self.send_nowait = stream.send_nowait
        self.wait_send = stream.wait_send
        self.send_all = stream.send_all
        self.aclose = stream.aclose

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self.early:
            return bytes(await self._stream.receive_some(max_bytes))
        await trio.lowlevel.checkpoint()
        data, self.early = self.early[:max_bytes], self.early[max_bytes or len(self.early) :]
        return data

    async def reset(self) -> None:
        if isinstance(self._stream, MemoryStream):
            self._stream.reset()
        elif isinstance(self._stream, SocketByteStream):
            self._stream.reset_at_close()
        await close_now(self._stream)


async def _watch(stream: _Unread, seen: SeenConnection, nursery: trio.Nursery) -> None:
    """Notice the client's end, whatever is said to it meanwhile; what it says belongs to the next request."""
    how, early = "eof", b""
    try:
        while data := await stream.receive_some(_PIECE):
            early += data
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        how = "reset"
    finally:
        stream.early = early
    seen.end(how)
    nursery.cancel_scope.cancel(reason="the client is gone")


async def _play(step: bytes | Pause | Flood, stream: _Unread, seen: _Counts) -> None:
    if isinstance(step, Pause):
        await trio.sleep(step.seconds)
        return
    flood = step if isinstance(step, Flood) else Flood(step, len(step))
    left = flood.total
    while left > 0:
        await _send(flood.data, stream, seen)
        left -= len(flood.data)


async def _send(data: bytes, stream: _Unread, seen: _Counts) -> None:
    rest = memoryview(data)
    while rest:
        try:
            sent = await stream.wait_send(rest[:_PIECE])
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.sleep_forever()  # the watcher will say how
        for count in seen:
            count.sent += sent
        rest = rest[sent:]


@asynccontextmanager
async def scripted_upstream(
    *replies: Reply,
    choose: Choice | None = None,
    net: Network | None = None,
    sockets: bool = False,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncGenerator[ScriptedUpstream]:
    """Run such a server as long as the block lasts.

    Args:
        replies: one for each request, in the order of their coming, whatever the connection; the last one for ever.
        choose: what is said to a request, instead of `replies`; it must not raise.
        net: the network in memory that it is on, for a delay, a bandwidth, a capacity or faults; a plain one if left
            out. A client of it connects with `ScriptedUpstream.connect`.
        sockets: listen on `host` and `port` instead. There a refusal is a connection that ends without a byte.
        host: where to listen.
        port: likewise; 0 takes any free one.
    """
    async with open_flat_nursery() as nursery:
        if sockets:
            listening = await open_listeners(host, port)
            upstream = ScriptedUpstream(f"{listening.url('http')}/v1", None, replies, choose)
            nursery.start_soon(lambda: accept_loop(listening, upstream.serve, nursery=nursery, limits=_PATIENCE))
            async with listening:
                yield upstream
                nursery.cancel_scope.cancel(reason="the server is not needed any more")
            return
        net = net or network()
        upstream = ScriptedUpstream("http://upstream.test/v1", net, replies, choose)
        await nursery.start(net.serve, upstream.serve)
        yield upstream
        nursery.cancel_scope.cancel(reason="the server is not needed any more")
