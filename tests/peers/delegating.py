"""An engine for agents with sub-agents: the first delegates as many tasks as it is told to, and each takes a second.

The task says how many, as in ``Delegate 4 tasks.``; whoever works on one has instructions that begin with ``Work``.
"""

from __future__ import annotations

import re

import trio

from agentwire.protocol.items import FunctionCallOutput, Message
from agentwire.protocol.response import Usage
from agentwire.protocol.tools import FunctionTool
from agentwire.runtime.contracts import Ask, Finish, Out

__all__ = ["PIECES", "SECONDS", "delegating"]

SECONDS = 1.0
PIECES = 10


async def delegating(ask: Ask, out: Out) -> Finish:
    """Work for a second, writing as it goes; or call ``helper`` for each task, or end."""
    task = next(item.text for item in ask.items if isinstance(item, Message) and item.role == "user")
    done = sum(isinstance(item, FunctionCallOutput) for item in ask.items)
    if (ask.request.instructions or "").startswith("Work"):
        for number in range(PIECES):
            await trio.sleep(SECONDS / PIECES)
            await out.text(f"step {number} ")
    elif done:
        await out.text(f"All {done} tasks are done.")
    else:
        wanted = re.search(r"\d+", task)
        assert wanted is not None
        for number in range(int(wanted[0])):
            await out.call("helper", {_parameter(ask): f"Task {number}."})
    return Finish(Usage(len(ask.items), 1))


def _parameter(ask: Ask) -> str:
    """What the tool calls the task that it is given."""
    (helper,) = (tool for tool in ask.tools if isinstance(tool, FunctionTool))
    (name,) = (helper.parameters or {})["properties"]
    return str(name)
