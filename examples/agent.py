"""An agent with two tools on one WebSocket. In one terminal: agentwire serve. In another: python examples/agent.py

The task is written so that the built-in engine can follow it, which is no language model. With a real one behind the
server (agentwire serve --upstream URL), ask for what you like: python examples/agent.py URL TASK
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

import agentwire
from agentwire.client import TextDelta, ToolFinished
from agentwire.protocol.items import FunctionCall

URL = "http://127.0.0.1:8000/v1"
HERE = Path(__file__).parent
TASK = """
1. List the files in `.`.
2. Read each `.py` file that it listed, two at a time.
3. Report what you found.
"""


async def list_files(folder: str) -> str:
    """List the files in a folder."""
    return "\n".join(sorted(entry.name for entry in (HERE / folder).iterdir() if entry.is_file()))


@agentwire.tool(timeout=5)
def read_file(path: str) -> str:
    """Read a file."""  # a plain function runs in a thread
    return (HERE / path).read_text(encoding="utf-8")


async def main(url: str, task: str) -> None:
    async with agentwire.connect(url) as wire, wire.run(task, tools=[list_files, read_file]) as run:
        async for step in run:
            match step:
                case ToolFinished(call=FunctionCall() as call):
                    print(f"{call.name} {call.arguments}: {len(step.result.text)} characters")
                case TextDelta():
                    print(step.text, end="", flush=True)
        print(f"\n{run.turns} turns, {run.usage.total_tokens} tokens")


url, task = [*sys.argv[1:3], *(URL, TASK)[len(sys.argv) - 1 :]]
trio.run(main, url, task)
