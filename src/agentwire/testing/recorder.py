"""Records what goes by on real connections: through a relay in front of a server, or within a client or a server.

    async with open_recorder("http://127.0.0.1:8000/v1", trace) as recorder:
        ... talk to recorder.url ...

The relay hands on bytes as they come, keeps none, and changes three headers of requests: `Host` is the server's, and
compression is not asked for, because what is compressed cannot be read.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import attrs
import trio

from agentwire.testing.faults import Side
from agentwire.testing.http_scan import Body, Head, HttpScanner, Talk
from agentwire.testing.trace import Trace
from agentwire.transport.streams import Data, NetworkStream, SlicedByteStream

__all__ = ["RecordedStream", "Recorder", "open_recorder", "recorded_connector", "recorded_listener"]

PIECE: Final = 64 * 1024
_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_DROPPED: Final = (b"sec-websocket-extensions", b"accept-encoding")
_LONGEST_HEAD: Final = 65536
_LOST: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)

Stream = trio.abc.HalfCloseableStream


@attrs.frozen
class Target:
    """A server, as an URL names it.

    Attributes:
        host: name or address.
        port: TCP port.
        tls: how it is spoken to over TLS; None for plain TCP.
        url: as it was given.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    url: str

    @classmethod
    def parse(cls, url: str, tls: ssl.SSLContext | None = None) -> Target:
        """Read an URL of HTTP or of a WebSocket.

        Args:
            url: what it is.
            tls: for a secure one; the system's trust if left out.

        Raises:
            ValueError: it is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"a server's URL begins with http://, https://, ws:// or wss:// and a host, not {url!r}")
        context = tls or ssl.create_default_context() if parts.scheme in ("https", "wss") else None
        return cls(parts.hostname, parts.port or _PORTS[parts.scheme], context, url)

    @property
    def name(self) -> str:
        """What requests call it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port in (80, 443) else f"{host}:{self.port}"

    async def connect(self) -> Stream:
        """A connection to it.

        Raises:
            OSError: it cannot be reached.
        """
        stream = await trio.open_tcp_stream(self.host, self.port)
        if self.tls is None:
            return stream
        secure = trio.SSLStream(stream, self.tls, server_hostname=self.host, https_compatible=True)
        try:
            await secure.do_handshake()
        except trio.BrokenResourceError as error:
            await trio.aclose_forcefully(stream)
            raise ConnectionAbortedError(f"TLS failed: {error.__cause__ or error}") from error
        return _Secure(secure)


class _Secure(Stream):
    """TLS, which ends in both directions at once."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.transport_stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


@attrs.define(eq=False)
class Recorder:
    """A relay that records; made by `open_recorder`.

    Attributes:
        trace: where it is recorded.
        target: the server.
        address: where clients find the relay.
        connections: how many there were.
        failed: how many of them had no server to go to.
    """

    trace: Trace
    target: Target
    address: tuple[str, int]
    connections: int = 0
    failed: int = 0

    @property
    def url(self) -> str:
        """The server's URL by way of the relay, with the scheme ``http``."""
        return self.through("http")

    def through(self, scheme: str) -> str:
        """The same with another scheme, such as ``ws``."""
        host, port = self.address
        shown = f"[{host}]" if ":" in host else host
        parts = urlsplit(self.target.url)
        return urlunsplit((scheme, f"{shown}:{port}", parts.path, parts.query, ""))

    async def accept(self, client: trio.SocketStream) -> None:
        """Carry one connection until both sides have ended it."""
        number, self.connections = self.connections, self.connections + 1
        self.trace.note(trio.current_time(), number, "client", "open")
        try:
            async with client:
                await self._carry(client, number)
        finally:
            self.trace.forget(number)

    async def _carry(self, client: trio.SocketStream, number: int) -> None:
        try:
            server = await self.target.connect()
        except OSError as error:
            self.failed += 1
            self.trace.note(trio.current_time(), number, "server", f"{self.target.url} cannot be reached: {error}")
            _reset(client)
            return
        async with server:
            passage = _Passage(self.trace, number, client, server, self.target.name)
            await passage.run()


@attrs.define(eq=False)
class _Passage:
    """One connection through the relay."""

    trace: Trace
    number: int
    client: trio.SocketStream
    server: Stream
    host: str
    broken: bool = False

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass, "client", self.client, self.server, nursery.cancel_scope)
            nursery.start_soon(self._pass, "server", self.server, self.client, nursery.cancel_scope)
        if self.broken:
            for stream in (self.client, self.server):
                if isinstance(stream, trio.SocketStream):
                    _reset(stream)

    async def _pass(self, side: Side, source: Stream, sink: Stream, scope: trio.CancelScope) -> None:
        tap = self.trace.tap(self.number, side)
        rewrite = HeadRewriter(self.host).feed if side == "client" else bytes
        while True:
            try:
                data = bytes(await source.receive_some(PIECE))
            except _LOST:
                self._break(side, scope)
                return
            if not data:
                break
            tap.passed(trio.current_time(), data)
            try:
                await sink.send_all(rewrite(data))
            except _LOST:
                self._break("server" if side == "client" else "client", scope)
                return
        tap.note(trio.current_time(), "eof")
        with suppress(*_LOST):
            await sink.send_eof()

    def _break(self, side: Side, scope: trio.CancelScope) -> None:
        """This side has reset its connection; the other one is told in the same way."""
        if not self.broken:
            self.broken = True
            self.trace.note(trio.current_time(), self.number, side, "reset")
            scope.cancel(reason=f"the {side} has reset the connection")


class HeadRewriter:
    """Puts the server's name into the heads of requests, and takes offers of compression out; the rest passes as it is.

    Args:
        host: for the header ``Host``.
    """

    def __init__(self, host: str) -> None:
        self._host = host.encode()
        self._scanner = HttpScanner("client", Talk(), keep=0)
        self._head = bytearray()
        self._is_lost = False

    def feed(self, data: bytes) -> bytes:
        """What the server is sent for this; a head is held back until it is whole."""
        if self._is_lost:
            return data
        sent = bytearray()
        rest = memoryview(data)
        while rest:
            if self._scanner.in_head:
                rest = self._hold(rest, sent)
            else:
                before, rest = rest, self._scanner.step(rest, [])
                sent += before[: len(before) - len(rest)]
        return bytes(sent)

    def _hold(self, data: memoryview, sent: bytearray) -> memoryview:
        before = len(self._head)
        self._head += data
        end = self._head.find(b"\r\n\r\n", max(0, before - 3))
        if end < 0:
            if len(self._head) > _LONGEST_HEAD or not 0x41 <= self._head[0] <= 0x5A:
                self._is_lost = True
                sent += self._head
            return data[:0]
        size = end + 4
        head = bytes(self._head[:size])
        self._head.clear()
        found: list[Head | Body] = []
        self._scanner.step(memoryview(head), found)
        sent += self._rewrite(head)
        return data[size - before :]

    def _rewrite(self, head: bytes) -> bytes:
        first, *lines = head.split(b"\r\n")
        kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in _DROPPED]
        kept = [b"Host: " + self._host if line.lower().startswith(b"host:") else line for line in kept]
        return b"\r\n".join([first, *kept])


def _reset(stream: trio.SocketStream) -> None:
    with suppress(OSError):
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()


@asynccontextmanager
async def open_recorder(
    url: str, trace: Trace, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Recorder]:
    """Open a relay to a server that records everything; its connections are cut off when the block is left.

    Args:
        url: the server's, with ``http``, ``https``, ``ws`` or ``wss``; a path stands in `Recorder.url`, too.
        trace: where it is recorded.
        host: where to listen.
        port: 0 for any free one.
        tls: for a server over TLS, instead of the system's trust.

    Raises:
        ValueError: the URL cannot be one.
        OSError: the port is taken.
    """
    target = Target.parse(url, tls)
    (listener, *others) = await trio.open_tcp_listeners(port, host=host)
    recorder = Recorder(trace, target, listener.socket.getsockname()[:2])
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, recorder.accept, [listener, *others])
        yield recorder
        nursery.cancel_scope.cancel(reason="the recorder was closed")


# Within a process


class RecordedStream(SlicedByteStream):
    """A connection whose bytes are recorded in both directions.

    Args:
        stream: the connection; this object closes it.
        trace: where it is recorded.
        side: which end this process is.
    """

    def __init__(self, stream: Stream, trace: Trace, side: Side) -> None:
        super().__init__(stream, slice_bytes=PIECE, peer=getattr(stream, "peer", "unknown"))
        number = trace.next_connection()
        self._ours = trace.tap(number, side)
        self._theirs = trace.tap(number, "server" if side == "client" else "client")
        self._is_over = False
        self._is_closed = False
        trace.note(trio.current_time(), number, "client", "open")

    def has_input(self) -> bool:
        """Whether anything has come; see `NetworkStream.has_input`."""
        return isinstance(self._stream, NetworkStream) and self._stream.has_input()

    async def send_all(self, data: Data) -> None:
        """Send everything; it is recorded when it has been taken."""
        await super().send_all(data)
        self._ours.passed(trio.current_time(), bytes(data))

    async def send_eof(self) -> None:
        """Say that we send no more."""
        self._ours.note(trio.current_time(), "eof")
        await super().send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes; empty at the end."""
        try:
            data = await super().receive_some(max_bytes)
        except trio.BrokenResourceError:
            self._end("reset")
            raise
        if data:
            self._theirs.passed(trio.current_time(), data)
        else:
            self._end("eof")
        return data

    def _end(self, how: str) -> None:
        if not self._is_over:
            self._is_over = True
            self._theirs.note(trio.current_time(), how)

    async def aclose(self) -> None:
        """Close it; closing again does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._ours.note(trio.current_time(), "close")
        await super().aclose()


class _RecordedListener(trio.abc.Listener[RecordedStream]):
    def __init__(self, listener: trio.abc.Listener[Stream], trace: Trace) -> None:
        self._listener = listener
        self._trace = trace

    async def accept(self) -> RecordedStream:
        return RecordedStream(await self._listener.accept(), self._trace, "server")

    async def aclose(self) -> None:
        await self._listener.aclose()


def recorded_listener(listener: trio.abc.Listener[Stream], trace: Trace) -> trio.abc.Listener[RecordedStream]:
    """A server's listener whose connections are recorded, for ``agentwire.serve(listeners=[...])`` and the like."""
    return _RecordedListener(listener, trace)


def recorded_connector(connect: Callable[[], Awaitable[Stream]], trace: Trace) -> Callable[[], Awaitable[Stream]]:
    """A client's connector whose connections are recorded, for ``agentwire.connect(connector=...)`` and the like."""

    async def dial() -> Stream:
        return RecordedStream(await connect(), trace, "client")

    return dial
