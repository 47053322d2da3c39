"""The official Python SDK for asyncio as it is over HTTP, streaming, with a loop of one's own: all with each request.

python loop_openai_async.py http://127.0.0.1:8000/v1 [--turns 50] [--store false] [--drop-in PATHS]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

import loop
from openai import AsyncOpenAI


async def converse(options: argparse.Namespace, task: str) -> str:
    """Ask, answer the calls as they come, ask again."""
    http_client = loop.drop_in(options, coroutines=True)
    history: list[Any] = [{"role": "user", "content": task}]
    async with AsyncOpenAI(base_url=options.base_url, max_retries=0, http_client=http_client) as opened:
        client: Any = opened
        for _ in range(options.turns + 1):
            async with client.responses.stream(
                model="looking",
                instructions=loop.INSTRUCTIONS,
                input=history,
                tools=[loop.TOOL],
                store=options.store == "true",
            ) as stream:
                response = await stream.get_final_response()
            history += response.output
            calls = [item for item in response.output if item.type == "function_call"]
            if not calls:
                return str(response.output_text)
            for call in calls:
                said = loop.look_up(**json.loads(call.arguments))
                history.append({"type": "function_call_output", "call_id": call.call_id, "output": said})
    raise RuntimeError("the model did not come to an end")


def hold(options: argparse.Namespace, task: str) -> str:
    """The same in a loop of its own."""
    return asyncio.run(converse(options, task))


if __name__ == "__main__":
    sys.exit(loop.hold(hold, "A long tool loop over HTTP, by the official Python SDK for asyncio."))
