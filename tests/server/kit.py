"""A whole server for tests, in memory or on 127.0.0.1, and clients that share no code with it (wsproto, h11)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import attrs
import trio
import wsproto
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from agentwire.protocol.ids import Sources
from agentwire.runtime.contracts import Engine
from agentwire.server import Server, serve
from agentwire.testing import Fault, Network, network, no_leaks
from tests.runtime.kit import TERMINALS, Event, check, create
from tests.transport.kit import Peer as HttpPeer

TARGET = "/v1/responses"


class Closed(Exception):
    """The server closed the WebSocket, or vanished.

    Args:
        code: of its close frame; 1006 if there was none.
        reason: of its close frame.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The upgrade was answered with another status."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(status, body)
        self.status = status
        self.headers = headers
        self.error = json.loads(body)["error"] if body else {}


class Peer:
    """A WebSocket client over any stream.

    Attributes:
        events: every message so far, decoded.
        answers: False: it answers no pings.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.events: list[Event] = []
        self.answers = True
        self.pings = 0
        self.headers: dict[str, str] = {}
        self._ws = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self._partial = ""
        self._pending: list[Any] = []

    async def shake_hands(self, target: str = TARGET, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Become a WebSocket."""
        extra = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        await self._send(Request(host="localhost", target=target, extra_headers=extra))
        refused, body = 0, b""
        while True:
            event = await self._next()
            if isinstance(event, AcceptConnection):
                self.headers = {name.decode(): value.decode() for name, value in event.extra_headers}
                return
            if isinstance(event, RejectConnection):
                refused = event.status_code
                self.headers = {name.decode(): value.decode() for name, value in event.headers}
                if not event.has_body:
                    raise Refused(refused, self.headers, b"")
            elif isinstance(event, RejectData):
                body += event.data
                if event.body_finished:
                    raise Refused(refused, self.headers, body)

    async def _next(self) -> Any:
        while not self._pending:
            try:
                data = await self.stream.receive_some(65536)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise Closed(1006, "reset") from None
            if not data:
                raise Closed(1006, "end")
            self._ws.receive_data(bytes(data))
            self._pending += self._ws.events()
        return self._pending.pop(0)

    async def receive(self) -> Event:
        """The next message; pings are answered on the way.

        Raises:
            Closed: there will be none.
        """
        while True:
            event = await self._next()
            if isinstance(event, Ping):
                self.pings += 1
                if self.answers and self._ws.state is ConnectionState.OPEN:
                    await self._send(event.response())
            elif isinstance(event, CloseConnection):
                await self._close_reply(event)
                raise Closed(event.code, event.reason or "")
            elif isinstance(event, TextMessage):
                self._partial += event.data
                if event.message_finished:
                    message: Event = json.loads(self._partial)
                    self._partial = ""
                    self.events.append(message)
                    return message
            elif isinstance(event, BytesMessage):
                raise AssertionError("a server sends text alone")  # noqa: TRY004

    async def _close_reply(self, event: CloseConnection) -> None:
        if self._ws.state is ConnectionState.REMOTE_CLOSING:
            with suppress(Closed):
                await self._send(event.response())

    async def _send(self, event: Any) -> None:
        try:
            await self.stream.send_all(self._ws.send(event))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Closed(1006, "reset") from None

    async def read_on(self) -> Closed:
        """Read until the server closes; returns how."""
        try:
            while True:
                await self.receive()
        except Closed as closed:
            return closed

    async def say(self, message: bytes | str) -> None:
        """Send one message, text or binary."""
        event = TextMessage(message) if isinstance(message, str) else BytesMessage(message)
        await self._send(event)

    async def create(self, content: Any = "hi", **fields: Any) -> None:
        """Send a ``response.create``."""
        await self.say(create(content, **fields).decode())

    async def until(self, *kinds: str) -> list[Event]:
        """Read until an event of one of these types; returns what was read."""
        start = len(self.events)
        while (await self.receive())["type"] not in (kinds or TERMINALS):
            pass
        return self.events[start:]

    async def ask(self, content: Any = "hi", **fields: Any) -> list[Event]:
        """One turn, alone on the connection; checked."""
        await self.create(content, **fields)
        start = len(self.events)
        while (event := await self.receive())["type"] not in TERMINALS:
            if event["type"] == "error" and len(self.events) == start + 1:
                break
        check(self.events[start:])
        return self.events[start:]

    async def ping(self) -> None:
        """Send a ping."""
        await self._send(Ping())

    async def close(self, code: int = 1000, reason: str = "") -> Closed:
        """Say goodbye, and wait for the server's answer and its end."""
        await self._send(CloseConnection(code, reason))
        closed = await self.read_on()
        await trio.aclose_forcefully(self.stream)
        return closed


@attrs.define(eq=False)
class Rig:
    """A running server, and its clients' streams, which are closed with it if not before."""

    server: Server
    nursery: trio.Nursery
    open_stream: Callable[[], Awaitable[trio.abc.HalfCloseableStream]]
    streams: list[trio.abc.AsyncResource]
    _net: Network | None = None

    @property
    def net(self) -> Network:
        """The network in memory."""
        assert self._net is not None
        return self._net

    async def dial(self) -> trio.abc.HalfCloseableStream:
        """A client's end of a new connection."""
        stream = await self.open_stream()
        self.streams.append(stream)
        return stream

    async def connect(self, target: str = TARGET, headers: Sequence[tuple[str, str]] = ()) -> Peer:
        """A WebSocket client."""
        peer = Peer(await self.dial())
        await peer.shake_hands(target, headers)
        return peer

    async def http(self) -> HttpPeer:
        """An HTTP client."""
        return HttpPeer(await self.dial())

    async def gone(self) -> None:
        """Wait until the server has neither connections nor sessions nor open sockets."""

        def nothing() -> bool:
            shown = self.server.statistics()
            return not (shown.connections or shown.sessions or shown.listening.open)

        await eventually(nothing)


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until this is true."""
    while not condition():  # noqa: ASYNC110 - nobody tells us
        await trio.sleep(0.01)


@asynccontextmanager
async def _closing(streams: list[trio.abc.AsyncResource]) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            for stream in streams:
                await trio.aclose_forcefully(stream)


@asynccontextmanager
async def _running(
    run: Callable[..., Awaitable[None]], rounds: int
) -> AsyncGenerator[tuple[Server, trio.Nursery, Any]]:
    """A server, cancelled in the end: nothing of it may be left."""
    streams: list[trio.abc.AsyncResource] = []
    async with no_leaks(rounds=rounds), _closing(streams), trio.open_nursery() as nursery:
        server: Server = await nursery.start(run)
        yield server, nursery, streams
        nursery.cancel_scope.cancel(reason="the test is over")


@asynccontextmanager
async def serving(engine: Engine, *, net: Network | None = None, **options: Any) -> AsyncGenerator[Rig]:
    """A server on a network in memory, with seeded ids."""
    net = net or network()
    options = {"sources": Sources.seeded(1), **options}
    run = partial(serve, engine, host=None, listeners=[net.listener()], **options)
    async with _running(run, rounds=50) as (server, nursery, streams):
        yield Rig(server, nursery, net.connect, streams, net)


@asynccontextmanager
async def on_loopback(engine: Engine, *, seconds: float = 10, **options: Any) -> AsyncGenerator[Rig]:
    """A server on 127.0.0.1, for ten seconds at most, unless other processes take part."""
    with trio.fail_after(seconds):
        async with _running(partial(serve, engine, **options), rounds=2000) as (server, nursery, streams):
            yield Rig(server, nursery, partial(_dial, server), streams)


async def _dial(server: Server) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", server.port or 0)


def cut_now(net: Network, kind: Any = "cut", side: Any = "client") -> None:
    """The latest connection breaks, at once."""
    net.arm(Fault(kind, side, connection=len(net.links) - 1))
