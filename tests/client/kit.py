"""A client connected to a server that follows a script."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import trio

from agentwire.client import Client, Run, Step, connect
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.testing import Network, network
from tests.link.peer import LIMITS, URL, Script, serve_script


@asynccontextmanager
async def connected(
    script: Script, *, net: Network | None = None, limits: Limits = LIMITS, **options: Any
) -> AsyncGenerator[Client]:
    net = net or network()

    async def accept() -> None:
        stream = await net.accept()
        try:
            await serve_script(stream, script)
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        async with connect(URL, limits=limits, sources=Sources.seeded(1), connector=net.connect, **options) as client:
            yield client
        nursery.cancel_scope.cancel(reason="the test is over")


async def steps_of(run: Run) -> list[Step]:
    return [step async for step in run]


def kinds(steps: list[Step]) -> list[str]:
    return [type(step).__name__ for step in steps]
