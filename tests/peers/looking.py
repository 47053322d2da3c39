"""An engine for the peers that hold a long loop: it looks up one page after the other, then says how many there were.

The task says how many, as in ``Look up 50 pages.``; each call names the next page.
"""

from __future__ import annotations

import re

from agentwire.protocol.items import FunctionCallOutput, Message
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Ask, Finish, Out

__all__ = ["looking"]


async def looking(ask: Ask, out: Out) -> Finish:
    """Call ``look_up`` for the next page, or end."""
    task = next(item.text for item in ask.items if isinstance(item, Message) and item.role == "user")
    wanted = re.search(r"\d+", task)
    assert wanted is not None
    done = sum(isinstance(item, FunctionCallOutput) for item in ask.items)
    if done < int(wanted[0]):
        await out.text(f"Page {done + 1} next.")
        await out.call("look_up", {"page": done + 1})
    else:
        await out.text(f"All {done} pages were looked up.")
    return Finish(Usage(len(ask.items), 1))
