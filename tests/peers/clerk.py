"""The model of `independent_server.py` as an engine: what it does follows from the history alone.

``Look up 20 pages, 3 at a time.`` makes it call ``look_up`` until each page is there; then it says which ones it has
seen, in the order of their outputs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import trio

from agentwire.protocol.items import FunctionCall, FunctionCallOutput, Item, Message
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Ask, Finish, Out

__all__ = ["clerk"]


async def clerk(ask: Ask, out: Out) -> Finish:
    """Call for the pages that are missing, or say that all are there; what is no such task is repeated."""
    told = next(item.text for item in ask.items if isinstance(item, Message) and item.role == "user")
    task = re.search(r"Look up (\d+) pages(?:, (\d+) at a time)?", told)
    usage = Usage(len(ask.items), 1)
    if task is None:
        await out.text(f"You said: {told}")
        return Finish(usage)
    seen = _pages(ask.items)
    missing = [page for page in range(1, int(task[1]) + 1) if page not in seen]
    if not missing:
        await out.text(f"Seen: {' '.join(map(str, seen))}.")
    else:
        await out.text(f"Page {missing[0]} next.")
        for page in missing[: int(task[2] or 1)]:
            await trio.lowlevel.checkpoint()
            await out.call("look_up", {"page": page})
    return Finish(usage)


def _pages(items: Sequence[Item]) -> list[int]:
    calls = {item.call_id: json.loads(item.arguments)["page"] for item in items if isinstance(item, FunctionCall)}
    return [calls[item.call_id] for item in items if isinstance(item, FunctionCallOutput)]
