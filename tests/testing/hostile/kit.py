"""A client of a scripted server, on its network in memory, with deadlines that a test can wait for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import agentwire
from agentwire.client import Client, connect
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.policies import Resume
from agentwire.testing.hostile import ScriptedServer
from agentwire.testing.hostile.clerk import page_text

LIMITS = Limits(first_event=30, event_silence=30, ping_interval=5, ping_timeout=15, write_progress=10)


@asynccontextmanager
async def connected(server: ScriptedServer, **options: Any) -> AsyncGenerator[Client]:
    given = {"limits": LIMITS, "sources": Sources.seeded(1), "on_disconnect": Resume(within=60), **options}
    async with connect(server.url, connector=server.connect, **given) as client:
        yield client


@agentwire.tool
async def look_up(page: int) -> str:
    """Look up a page."""
    return page_text(page)
