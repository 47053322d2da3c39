"""An agent without Trio or asyncio: plain calls and a plain loop. In one terminal: agentwire serve.

In another: python examples/plain_python.py [URL]
"""

from __future__ import annotations

import sys

import agentwire.sync
from agentwire.client import TextDelta, ToolFinished

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"


def weather(city: str) -> dict[str, object]:
    """Look up the weather in a city."""
    return {"city": city, "sky": "sunny", "celsius": 21}


with agentwire.sync.connect(url) as wire:
    with wire.run("Look up the weather in `Paris` and `Oslo`.", tools=[weather]) as run:
        for step in run:
            match step:
                case ToolFinished():
                    print(f"{step.call.name}: {step.result.text}")
                case TextDelta():
                    print(step.text, end="", flush=True)
    print(f"\n{run.turns} turns, {run.usage.total_tokens} tokens")
