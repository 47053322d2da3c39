"""Two agents side by side on one connection, in asyncio. In one terminal: agentwire serve.

In another: python examples/in_asyncio.py [URL]
"""

from __future__ import annotations

import asyncio
import sys

import agentwire.aio

URL = "http://127.0.0.1:8000/v1"


async def weather(city: str) -> dict[str, object]:
    """Look up the weather in a city."""
    await asyncio.sleep(0.1)  # it runs in the asyncio loop, like everything else here
    return {"city": city, "sky": "sunny", "celsius": 21}


async def ask(wire: agentwire.aio.Client, city: str) -> str:
    async with wire.run(f"Look up the weather in `{city}`.", tools=[weather]) as run:
        await run.finish()
        return run.text


async def main(url: str) -> None:
    async with agentwire.aio.connect(url) as wire, asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(wire, city)) for city in ("Paris", "Oslo")]
    for task in tasks:
        print(task.result())


asyncio.run(main(*sys.argv[1:2] or [URL]))
