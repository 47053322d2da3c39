"""The same conversations with peers that use their libraries plainly: trio-websocket, and websockets on real sockets.

Our frames go beside trio-websocket, so a trio-websocket that sends and receives all of its own frames is the check on
that shortcut.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol

import pytest
import trio
import trio_websocket
import websockets.exceptions
from websockets.trio.client import connect
from websockets.trio.server import ServerConnection, serve

from agentwire.protocol.errors import CloseFrame
from agentwire.testing import network, no_leaks
from agentwire.transport.streams import SocketByteStream
from tests.transport.wires import Ours, client_wire, server_wire

SIZES = (0, 1, 125, 126, 1000, 65535, 65536, 1_000_000)


class Plain(Protocol):
    """What each library's connection can do, under one set of names."""

    async def send(self, text: str) -> None:
        """One text message."""

    async def hear(self) -> str:
        """The next message."""

    async def ping(self) -> None:
        """Ask for a pong, and wait for it."""

    async def close(self, code: int, reason: str) -> None:
        """The closing handshake."""

    async def closed(self) -> tuple[int, str]:
        """Wait for the end: the other side's close frame."""


class TrioWebsocket:
    """A plain trio-websocket connection."""

    def __init__(self, connection: trio_websocket.WebSocketConnection) -> None:
        self._connection = connection

    async def send(self, text: str) -> None:
        await self._connection.send_message(text)

    async def hear(self) -> str:
        return str(await self._connection.get_message())

    async def ping(self) -> None:
        await self._connection.ping(b"are you there")

    async def close(self, code: int, reason: str) -> None:
        await self._connection.aclose(code, reason)

    async def closed(self) -> tuple[int, str]:
        with pytest.raises(trio_websocket.ConnectionClosed) as end:
            await self._connection.get_message()
        assert end.value.reason is not None
        return end.value.reason.code, end.value.reason.reason or ""


class Websockets:
    """A plain connection of websockets."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def send(self, text: str) -> None:
        await self._connection.send(text)

    async def hear(self) -> str:
        return str(await self._connection.recv())

    async def ping(self) -> None:
        await self._connection.ping(b"are you there")

    async def close(self, code: int, reason: str) -> None:
        await self._connection.aclose(code, reason)

    async def closed(self) -> tuple[int, str]:
        with pytest.raises(websockets.exceptions.ConnectionClosed) as end:
            await self._connection.recv()
        assert end.value.rcvd is not None
        return end.value.rcvd.code, end.value.rcvd.reason


Opened = tuple[Ours, Plain]


@asynccontextmanager
async def trio_websocket_client() -> AsyncGenerator[Opened]:
    """Our server, in memory, and trio-websocket's client."""
    client, server = network().pair()
    async with trio.open_nursery() as nursery:
        stream: Any = client
        connections: list[trio_websocket.WebSocketConnection] = []
        opened = trio.Event()

        async def open_it() -> None:
            connections.append(
                await trio_websocket.wrap_client_stream(nursery, stream, "test", "/", max_message_size=1 << 24)
            )
            opened.set()

        nursery.start_soon(open_it)
        async with server_wire(server) as ours:
            await opened.wait()
            yield ours, TrioWebsocket(connections[0])
            await trio.aclose_forcefully(client)


@asynccontextmanager
async def trio_websocket_server() -> AsyncGenerator[Opened]:
    """Our client, in memory, and trio-websocket's server."""
    client, server = network().pair()
    async with trio.open_nursery() as nursery:
        stream: Any = server
        connections: list[trio_websocket.WebSocketConnection] = []
        opened = trio.Event()

        async def accept() -> None:
            request = await trio_websocket.wrap_server_stream(nursery, stream, max_message_size=1 << 24)
            connections.append(await request.accept())
            opened.set()

        nursery.start_soon(accept)
        async with client_wire(client) as ours:
            await opened.wait()
            yield ours, TrioWebsocket(connections[0])
            await trio.aclose_forcefully(server)


@asynccontextmanager
async def websockets_client() -> AsyncGenerator[Opened]:
    """Our server on a real socket, and the client of websockets."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        connections: list[Any] = []
        opened, over = trio.Event(), trio.Event()

        async def open_it() -> None:
            async with connect(f"ws://127.0.0.1:{port}/v1/responses", max_size=1 << 24) as connection:
                connections.append(connection)
                opened.set()
                await over.wait()

        nursery.start_soon(open_it)
        stream = SocketByteStream(await listener.accept())
        async with server_wire(stream) as ours:
            await opened.wait()
            yield ours, Websockets(connections[0])
            over.set()
        await listener.aclose()


@asynccontextmanager
async def websockets_server() -> AsyncGenerator[Opened]:
    """Our client on a real socket, and the server of websockets."""
    async with trio.open_nursery() as nursery:
        connections: list[ServerConnection] = []
        opened, over = trio.Event(), trio.Event()

        async def handle(connection: ServerConnection) -> None:
            connections.append(connection)
            opened.set()
            await over.wait()

        server = await nursery.start(partial(serve, handle, 0, host="127.0.0.1", max_size=1 << 24))
        port = server.listeners[0].socket.getsockname()[1]
        async with client_wire(SocketByteStream(await trio.open_tcp_stream("127.0.0.1", port))) as ours:
            await opened.wait()
            yield ours, Websockets(connections[0])
            over.set()
        nursery.cancel_scope.cancel(reason="test")


Open = Callable[[], Any]
peers = pytest.mark.parametrize(
    "open_peer",
    [
        trio_websocket_client,
        trio_websocket_server,
        pytest.param(websockets_client, marks=pytest.mark.socket),
        pytest.param(websockets_server, marks=pytest.mark.socket),
    ],
)
Conversation = Callable[[Ours, Plain], Awaitable[None]]


async def messages(ours: Ours, plain: Plain) -> None:
    """Messages of every size, one by one and in a burst, with pings from both sides between."""
    for size in SIZES:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(plain.send, "x" * size)
            assert await ours.wire.receive() == b"x" * size
        ours.post(b"y" * size)
        assert await plain.hear() == "y" * size
        ours.wire.ping()
        await plain.ping()
    ours.post(*(b"%d" % number for number in range(200)))
    assert [await plain.hear() for _ in range(200)] == [str(number) for number in range(200)]
    assert ours.wire.ended is None


async def we_close(ours: Ours, plain: Plain) -> None:
    ours.post(b"last words")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.wire.close, 1012, "the server restarts")
        assert await plain.hear() == "last words"
        assert await plain.closed() == (1012, "the server restarts")
    assert ours.wire.ended is not None
    assert ours.wire.ended.sent == ours.wire.ended.received == CloseFrame(1012, "the server restarts")


async def they_close(ours: Ours, plain: Plain) -> None:
    await plain.send("last words")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(plain.close, 4000, "enough")
        assert await ours.wire.receive() == b"last words"
        assert (await ours.end()).received == CloseFrame(4000, "enough")
        await ours.wire.close(4000)


@peers
@pytest.mark.parametrize("conversation", [messages, we_close, they_close])
async def test_plain_peers_understand_us(open_peer: Open, conversation: Conversation) -> None:
    with trio.fail_after(30):
        async with no_leaks(), open_peer() as (ours, plain):
            await conversation(ours, plain)
