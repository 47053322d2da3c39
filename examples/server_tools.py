"""Tools that the server runs between the model's steps: python examples/server_tools.py

The client sends one request and gets one response; no tool call ever crosses the wire, so no round trip is spent on it.
Each call runs in a nursery of the turn: a client that goes cancels the turn, and with it the tools.
"""

from __future__ import annotations

from functools import partial

import trio

import agentwire
from agentwire.engines import builtin
from agentwire.protocol.items import McpCall

STOCK = {"apples": 12, "pears": 0}


async def look_up(fruit: str) -> int:
    """Look up how many pieces of a fruit are in stock."""
    await trio.sleep(0.05)
    if fruit not in STOCK:
        raise agentwire.ToolError(f"there is no {fruit!r}; there are {', '.join(STOCK)}")
    return STOCK[fruit]


async def order(fruit: str, pieces: int, call: agentwire.ToolCall) -> str:
    """Order pieces of a fruit."""
    return f"{pieces} {fruit} are on the way (order {call.id})"  # a call's id is its idempotency key


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(agentwire.serve, builtin(), tools=[look_up, order]))
        async with agentwire.connect(server.url) as wire:
            response = await wire.respond("First look_up `apples` and `pears` in parallel, then order 40 `pears`.")
        for item in response.output:
            if isinstance(item, McpCall):
                print(f"the server ran {item.name}({item.arguments}): {item.output}")
        print(response.output_text)
        await server.drain()


trio.run(main)
