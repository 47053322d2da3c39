"""A client of the real server, over the network in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from agentwire.client import Client, connect
from agentwire.protocol.hello import EXTENSIONS
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Engine
from agentwire.server import serve
from agentwire.testing import Network, network, no_leaks

LIMITS = Limits(ping_interval=20, ping_timeout=60, handshake=10, close_grace=5)


@asynccontextmanager
async def served(
    engine: Engine,
    *,
    net: Network | None = None,
    limits: Limits = LIMITS,
    extensions: Sequence[str] = EXTENSIONS,
    **options: Any,
) -> AsyncGenerator[Client]:
    net = net or network()
    serving = partial(
        serve,
        engine,
        host=None,
        listeners=[net.listener()],
        limits=LIMITS,
        sources=Sources.seeded(2),
        allowed_hosts=["test"],
        extensions=extensions,
    )
    async with no_leaks(), trio.open_nursery() as nursery:
        await nursery.start(serving)
        async with connect(
            "ws://test/v1", limits=limits, sources=Sources.seeded(1), connector=net.connect, **options
        ) as wire:
            yield wire
        nursery.cancel_scope.cancel(reason="the test is over")
