"""A client connected to a server that follows a script, one for each connection."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import trio

from agentwire.client import Client, Run, Step, connect
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.testing import MemoryStream, Network, network
from agentwire.transport.dial import ConnectFailed
from tests.link.peer import LIMITS, URL, Script, serve_script


@asynccontextmanager
async def connected(
    *scripts: Script, net: Network | None = None, limits: Limits = LIMITS, **options: Any
) -> AsyncGenerator[Client]:
    net = net or network()
    left = list(scripts)

    async def dial() -> MemoryStream:
        if not left:
            raise ConnectFailed(URL, "nobody listens")
        nursery.start_soon(accept, left.pop(0))
        return await net.connect()

    async def accept(script: Script) -> None:
        await serve(await net.accept(), script)

    async def serve(stream: MemoryStream, script: Script) -> None:
        try:
            await serve_script(stream, script)
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        async with connect(URL, limits=limits, sources=Sources.seeded(1), connector=dial, **options) as client:
            yield client
        nursery.cancel_scope.cancel(reason="the test is over")


async def steps_of(run: Run) -> list[Step]:
    return [step async for step in run]


def kinds(steps: list[Step]) -> list[str]:
    return [type(step).__name__ for step in steps]
