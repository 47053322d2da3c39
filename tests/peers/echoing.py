"""An engine for the peers' conversation on lanes: it repeats what users said, or waits to be steered."""

from __future__ import annotations

import trio

from agentwire.protocol.items import Message
from agentwire.runtime.contracts import Ask, Out

__all__ = ["engine"]


async def engine(ask: Ask, out: Out) -> None:
    """Repeat all that users have said; after ``Wait.`` think, and then do nothing until somebody interrupts."""
    said = [item.text for item in ask.items if isinstance(item, Message) and item.role == "user"]
    if said[-1] == "Wait.":
        await out.summary("Somebody will interrupt.")
        await out.item({"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}})
        await trio.sleep_forever()
    for piece in said:
        await out.text(f"{piece} ")
