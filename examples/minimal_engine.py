"""An engine in a few lines, a server around it, and a client that asks: python examples/minimal_engine.py"""

from __future__ import annotations

import trio

import agentwire
from agentwire.protocol.events import OutputTextDelta
from agentwire.protocol.items import Message


async def parrot(ask: agentwire.Ask, out: agentwire.Out) -> agentwire.Finish:
    """Any async function with these arguments is an engine: return to complete, raise to fail."""
    last = ask.new_items[-1]
    words = last.text.split() if isinstance(last, Message) else ["what"]
    for word in words:
        await out.text(f"{word}! ")  # waits while the client is slow; cancelled when it goes
        await trio.sleep(0.05)
    return agentwire.Finish()


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(agentwire.serve, parrot)
        print("serving", server.url)
        async with agentwire.connect(server.url) as wire, wire.turn("who is a pretty bird") as turn:
            async for event in turn:
                if isinstance(event, OutputTextDelta):
                    print(event.delta, end="", flush=True)
        print()
        await server.drain()


trio.run(main)
