"""Lines for tests: to a server in memory that follows a script on each of its connections."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from agentwire.link import Line, open_line
from agentwire.protocol.events import OutputTextDelta
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import Message
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest
from agentwire.testing import MemoryStream, Network, network
from tests.link.peer import LIMITS, URL, Peer, serve_script, text_turn

Serve = Callable[[MemoryStream], Awaitable[object]]


@attrs.define
class Servers:
    """What serves each connection, by its number from 0; the last one serves all that come after it."""

    net: Network
    scripts: tuple[Serve, ...]
    served: int = 0

    async def serve(self, stream: MemoryStream) -> None:
        script = self.scripts[min(self.served, len(self.scripts) - 1)]
        self.served += 1
        await script(stream)


def follows(script: Callable[[Peer], Awaitable[object]]) -> Serve:
    """A server that is a WebSocket and follows a script."""

    async def serve(stream: MemoryStream) -> None:
        await serve_script(stream, script)

    return serve


def refuses(status: int, *headers: str, body: str = "") -> Serve:
    """A server that refuses the upgrade."""

    async def serve(stream: MemoryStream) -> None:
        await stream.receive_some()
        lines = [f"HTTP/1.1 {status} No", f"Content-Length: {len(body)}", *headers, "", body]
        await stream.send_all("\r\n".join(lines).encode())
        await stream.receive_some()

    return serve


async def leaves(stream: MemoryStream) -> None:
    """A server that goes away during the handshake."""
    await stream.receive_some()


async def echo(peer: Peer) -> None:
    """Answer each request with its own text."""
    number = 0
    while True:
        number += 1
        request = await peer.request()
        peer.say(*text_turn(f"resp_{number}", "<", request["input"][0]["content"], ">"), lane=request.get("stream_id"))


@asynccontextmanager
async def lined(
    *scripts: Serve, net: Network | None = None, limits: Limits = LIMITS, **arguments: Any
) -> AsyncGenerator[tuple[Line, Servers]]:
    """A line to servers that follow these scripts, one after the other."""
    servers = Servers(net or network(), scripts or (follows(echo),))
    async with trio.open_nursery() as nursery:
        await nursery.start(servers.net.serve, servers.serve)
        async with open_line(
            URL, limits=limits, sources=Sources.seeded(1), connector=servers.net.connect, **arguments
        ) as line:
            yield line, servers
        nursery.cancel_scope.cancel(reason="the test is over")


def ask(text: str = "Hi", **fields: Any) -> CreateRequest:
    return CreateRequest(model="m", input=(Message("user", text),), store=False, **fields)


async def say(line: Line, text: str = "Hi") -> str:
    """What the server answers."""
    way = await line.way()
    async with way.exchange(ask(text)) as exchange:
        return "".join([event.delta async for event in exchange if isinstance(event, OutputTextDelta)])
