"""Both ends of a WebSocket in memory: our wire at one, and at the other a peer that knows nothing of our code.

The peer is wsproto's sans-I/O connection, so every frame of ours is judged by somebody else; it also sends raw bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio
import wsproto
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    Request,
    TextMessage,
)

from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.limits import Limits
from agentwire.runtime.window import Framing
from agentwire.testing.streams import MemoryStream
from agentwire.transport.streams import NetworkStream
from agentwire.transport.websocket import WebSocketWire, open_client_wire, open_server_wire

QUICK = Limits(close_grace=5, write_progress=30, handshake=10)


class Letters:
    """A source of messages for a wire."""

    def __init__(self) -> None:
        self.waiting: deque[bytes] = deque()
        self.taken = 0

    def post(self, wire: WebSocketWire, *messages: bytes) -> None:
        """Leave messages, and let the wire know."""
        self.waiting.extend(messages)
        wire.kick()

    @property
    def pending(self) -> bool:
        return bool(self.waiting)

    def take(self, max_bytes: int, framing: Framing) -> bytes:
        frames: list[bytes] = []
        size = 0
        while self.waiting and size < max_bytes:
            frames.append(framing((self.waiting.popleft(),)))
            size += len(frames[-1])
            self.taken += 1
        return b"".join(frames)


class Peer:
    """wsproto on one end of a stream."""

    def __init__(self, stream: MemoryStream, *, client: bool) -> None:
        kind = wsproto.ConnectionType.CLIENT if client else wsproto.ConnectionType.SERVER
        self.connection = wsproto.WSConnection(kind)
        self.stream = stream
        self.pongs: list[bytes] = []
        self._events: deque[Event] = deque()
        self._sending = trio.Lock()

    async def say(self, *events: Event) -> None:
        """Send events in one write."""
        await self.raw(b"".join(map(self.connection.send, events)))

    async def say_text(self, text: str) -> None:
        await self.say(TextMessage(data=text))

    async def raw(self, *parts: bytes) -> None:
        """Send any bytes, one write each."""
        async with self._sending:
            for part in parts:
                await self.stream.send_all(part)

    async def hear(self) -> Event:
        """The next event; pings are answered, pongs kept aside.

        Raises:
            EOFError: the other side has ended the connection.
        """
        while True:
            while not self._events:
                data = await self.stream.receive_some()
                if not data:
                    raise EOFError
                self.connection.receive_data(data)
                self._events.extend(self.connection.events())
            event = self._events.popleft()
            if isinstance(event, Ping):
                await self.say(event.response())
            elif isinstance(event, Pong):
                self.pongs.append(bytes(event.payload))
            else:
                return event

    async def hear_text(self) -> str:
        """The next whole message."""
        text = ""
        while True:
            event = await self.hear()
            assert isinstance(event, Message), event
            text += str(event.data)
            if event.message_finished:
                return text

    async def hear_close(self) -> CloseConnection:
        """The other side's close frame; messages before it are skipped."""
        while not isinstance(event := await self.hear(), CloseConnection):
            pass
        return event

    async def goodbye(self) -> tuple[int, str]:
        """Wait for a close frame, answer it, and wait for the end; the frame's code and reason."""
        close = await self.hear_close()
        if self.connection.state is ConnectionState.REMOTE_CLOSING:
            await self.say(close.response())
        with suppress(trio.BrokenResourceError):
            while await self.stream.receive_some():
                pass
        await self.stream.aclose()
        return close.code, close.reason or ""

    async def shake_hands(self) -> None:
        """Open the WebSocket, as a client."""
        await self.say(Request(host="test", target="/v1/responses"))
        assert isinstance(await self.hear(), AcceptConnection)

    async def accept(self, more: bytes = b"") -> None:
        """Accept a client's request; ``more`` goes out in the same write."""
        assert isinstance(await self.hear(), Request)
        await self.stream.send_all(self.connection.send(AcceptConnection()) + more)


async def read_head(stream: NetworkStream) -> bytes:
    """A request's head, and no more.

    Raises:
        ConnectionEnded: there was no whole one.
    """
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = await stream.receive_some(1)
        if not byte:
            raise ConnectionEnded(cause="no request")
        head += byte
    return head


class Ours:
    """Our end: the wire, its writer, and what was heard."""

    def __init__(self, wire: WebSocketWire) -> None:
        self.wire = wire
        self.letters = Letters()
        self.written: BaseException | None = None

    def post(self, *messages: bytes) -> None:
        self.letters.post(self.wire, *messages)

    async def write(self) -> None:
        try:
            await self.wire.send_many(self.letters)
        except ConnectionEnded as end:
            self.written = end

    async def end(self) -> ConnectionEnded:
        """Read on until the connection is over; how it ended."""
        try:
            while True:
                await self.wire.receive()
        except ConnectionEnded as end:
            return end


@asynccontextmanager
async def _written(wire: WebSocketWire) -> AsyncGenerator[Ours]:
    async with trio.open_nursery() as nursery:
        ours = Ours(wire)
        nursery.start_soon(ours.write)
        try:
            yield ours
        finally:
            await wire.abort("the test is over")


@asynccontextmanager
async def server_wire(stream: NetworkStream, limits: Limits = QUICK) -> AsyncGenerator[Ours]:
    """Our server's end, with its writer running."""
    async with open_server_wire(stream, await read_head(stream), limits=limits) as wire, _written(wire) as ours:
        yield ours


@asynccontextmanager
async def client_wire(stream: NetworkStream, limits: Limits = QUICK) -> AsyncGenerator[Ours]:
    """Our client's end, with its writer running."""
    opened = open_client_wire(stream, host="test", target="/v1/responses", limits=limits)
    async with opened as wire, _written(wire) as ours:
        yield ours


@asynccontextmanager
async def joined(
    streams: tuple[MemoryStream, MemoryStream], *, server: bool = True, limits: Limits = QUICK
) -> AsyncGenerator[tuple[Ours, Peer]]:
    """Our end as a server or as a client, and the peer at the other; both have shaken hands."""
    client, other = streams
    peer = Peer(client if server else other, client=server)
    shaken = trio.Event()

    async def shake_hands() -> None:
        await (peer.shake_hands() if server else peer.accept())
        shaken.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake_hands)
        opened: Any = server_wire(other, limits) if server else client_wire(client, limits)
        async with opened as ours:
            await shaken.wait()
            yield ours, peer
            await trio.aclose_forcefully(peer.stream)
