"""The servers that are compared: each sends the same stream of events, in bursts or paced, and encodes each one.

``python -m benchmarks.wire.contestants NAME`` serves one of them on a free port of 127.0.0.1, and prints the port. A
client sends one message that names the stream; the answer is that many text events and a last one.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

PIECE = "a piece of text, as models give them "
LAST = '{"type":"response.completed"}'
BURST_PAUSE, PACE = 0.002, 0.02  # seconds between two ticks of the one shared ticker

_encode = msgspec.json.Encoder().encode


def event(number: int) -> bytes:
    """The event that every contestant encodes: about 200 bytes."""
    return _encode(
        {
            "type": "response.output_text.delta",
            "sequence_number": number,
            "item_id": "msg_0123456789abcdef01234567",
            "output_index": 0,
            "content_index": 0,
            "delta": PIECE,
            "logprobs": [],
        }
    )


def stream_of(text: str | bytes) -> tuple[int, int, float]:
    """What a client asked for: ticks, events a tick, seconds between ticks."""
    ticks, burst, pause = json.loads(text)["model"].split(":")
    return int(ticks), int(burst), float(pause)


class AsyncioTicker:
    """One timer for all connections."""

    def __init__(self) -> None:
        self._waiting: dict[float, list[asyncio.Future[None]]] = {}

    def wait(self, pause: float) -> Awaitable[None]:
        """The next tick."""
        loop = asyncio.get_running_loop()
        if pause not in self._waiting:
            self._waiting[pause] = []
            loop.call_later(pause, self._tick, pause)
        future = loop.create_future()
        self._waiting[pause].append(future)
        return future

    def _tick(self, pause: float) -> None:
        for future in self._waiting.pop(pause):
            if not future.done():
                future.set_result(None)


async def asyncio_stream(request: str | bytes, ticker: AsyncioTicker, send: Callable[[str], Awaitable[Any]]) -> None:
    """Any asyncio contestant's handler."""
    ticks, burst, pause = stream_of(request)
    number = 0
    for _ in range(ticks):
        await ticker.wait(pause)
        for _ in range(burst):
            await send(event(number).decode())
            number += 1
    await send(LAST)


def serve_uvicorn(listener: socket.socket) -> None:
    """uvicorn on uvloop with websockets' sans-I/O core, and a bare ASGI application."""
    import uvicorn

    ticker = AsyncioTicker()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await asyncio_stream(message["text"], ticker, lambda text: send({"type": "websocket.send", "text": text}))

    config = uvicorn.Config(
        app, ws="websockets-sansio", loop="uvloop", log_level="error", ws_per_message_deflate=False, lifespan="off"
    )
    uvicorn.Server(config).run(sockets=[listener])


def serve_websockets(listener: socket.socket) -> None:
    """The websockets library's asyncio server on uvloop."""
    import uvloop
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed

    async def main() -> None:
        ticker = AsyncioTicker()

        async def handler(connection: ServerConnection) -> None:
            with contextlib.suppress(ConnectionClosed):
                async for message in connection:
                    await asyncio_stream(message, ticker, connection.send)

        async with serve(handler, sock=listener, compression=None):
            await asyncio.get_running_loop().create_future()

    uvloop.run(main())


class TrioTicker:
    """One timer for all connections; like the other one, it starts when the first waits, and no tick starts a task."""

    def __init__(self, nursery: Any) -> None:
        self._nursery = nursery
        self._lots: dict[float, tuple[Any, Any]] = {}

    async def wait(self, pause: float) -> None:
        """The next tick."""
        import trio

        if pause not in self._lots:
            self._lots[pause] = trio.lowlevel.ParkingLot(), trio.lowlevel.ParkingLot()
            self._nursery.start_soon(self._run, pause)
        waiting, timer = self._lots[pause]
        if timer:
            timer.unpark_all()
        await waiting.park()

    async def _run(self, pause: float) -> None:
        import trio

        waiting, timer = self._lots[pause]
        while True:
            await trio.sleep(pause)
            waiting.unpark_all()
            await timer.park()


def serve_trio_websocket(listener: socket.socket) -> None:
    """A bare trio-websocket handler."""
    import trio
    import trio_websocket

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            ticker = TrioTicker(nursery)

            async def handler(request: Any) -> None:
                connection = await request.accept()
                with contextlib.suppress(trio_websocket.ConnectionClosed):
                    while True:
                        ticks, burst, pause = stream_of(await connection.get_message())
                        number = 0
                        for _ in range(ticks):
                            await ticker.wait(pause)
                            for _ in range(burst):
                                await connection.send_message(event(number).decode())
                                number += 1
                        await connection.send_message(LAST)

            sockets = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
            await trio_websocket.WebSocketServer(handler, [sockets]).run()

    trio.run(main)


def serve_trio_floor(listener: socket.socket) -> None:
    """No server: Trio wakes a task, and the task writes a ready frame to its socket; nothing on Trio undercuts this."""
    import base64
    import hashlib
    import os

    import trio

    accept = base64.b64encode(hashlib.sha1(b"dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    hello = b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            ticker = TrioTicker(nursery)

            async def handler(stream: trio.SocketStream) -> None:
                descriptor, body = stream.socket.fileno(), event(1000)
                frame = bytes((0x81, 126, *len(body).to_bytes(2, "big"))) + body
                last = bytes((0x81, len(LAST))) + LAST.encode()
                await stream.receive_some()
                await stream.send_all(hello)
                while request := await stream.receive_some():
                    ticks, burst, pause = stream_of(request[6:])
                    for _ in range(ticks):
                        await ticker.wait(pause)
                        for _ in range(burst):
                            os.write(descriptor, frame)
                    await stream.send_all(last)

            await trio.serve_listeners(handler, [trio.SocketListener(trio.socket.from_stdlib_socket(listener))])

    trio.run(main)


def serve_agentwire(listener: socket.socket) -> None:
    """agentwire, the whole path: engine, turn, window, writer."""
    import trio

    import agentwire
    from agentwire.runtime.contracts import Ask, Out

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            ticker = TrioTicker(nursery)

            async def engine(ask: Ask, out: Out) -> None:
                ticks, burst, pause = (float(part) for part in ask.model.split(":"))
                for _ in range(int(ticks)):
                    await ticker.wait(pause)
                    for _ in range(int(burst)):
                        await out.text(PIECE)

            port = listener.getsockname()[1]
            listener.close()
            await nursery.start(lambda task_status: agentwire.serve(engine, port=port, task_status=task_status))

    trio.run(main)


CONTESTANTS: dict[str, Callable[[socket.socket], None]] = {
    "agentwire": serve_agentwire,
    "trio floor, no server": serve_trio_floor,
    "trio-websocket": serve_trio_websocket,
    "websockets+uvloop": serve_websockets,
    "uvicorn-sansio+uvloop": serve_uvicorn,
}


def settle_collector() -> None:
    """Set it for everybody as agentwire's own command does; else how often it runs would be a part of the figures."""
    from agentwire.cli.serve import GC_THRESHOLDS

    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def main() -> None:
    """Serve the contestant that is named, until killed."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    settle_collector()
    CONTESTANTS[sys.argv[1]](listener)


if __name__ == "__main__":
    main()
