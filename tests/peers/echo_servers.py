"""Echo servers that know nothing of responses, each on a WebSocket library of its own.

python echo_servers.py websockets|uvicorn-websockets|uvicorn-wsproto|trio-websocket PORT
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any


def websockets_server(port: int) -> None:
    """The `websockets` library, under asyncio."""
    from websockets.asyncio.server import serve

    async def echo(socket: Any) -> None:
        async for message in socket:
            await socket.send(message)

    async def main() -> None:
        async with serve(echo, "127.0.0.1", port) as server:
            await server.serve_forever()

    asyncio.run(main())


def uvicorn_server(library: str, port: int) -> None:
    """An ASGI application under uvicorn, on one of the two libraries that it may use."""
    import uvicorn

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            if scope["type"] == "http":
                await send({"type": "http.response.start", "status": 404, "headers": []})
                await send({"type": "http.response.body", "body": b""})
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            said = {name: event[name] for name in ("text", "bytes") if event.get(name) is not None}
            with contextlib.suppress(Exception):
                await send({"type": "websocket.send", **said})

    uvicorn.run(app, host="127.0.0.1", port=port, ws=library, log_level="critical", lifespan="off")


def trio_server(port: int) -> None:
    """trio-websocket."""
    import trio
    import trio_websocket

    async def echo(request: trio_websocket.WebSocketRequest) -> None:
        socket = await request.accept()
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            while True:
                await socket.send_message(await socket.get_message())

    async def main() -> None:
        await trio_websocket.serve_websocket(echo, "127.0.0.1", port, ssl_context=None)

    trio.run(main)


if __name__ == "__main__":
    name, where = sys.argv[1], int(sys.argv[2])
    if name == "websockets":
        websockets_server(where)
    elif name == "trio-websocket":
        trio_server(where)
    else:
        uvicorn_server(name.removeprefix("uvicorn-"), where)
