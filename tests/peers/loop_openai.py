"""The official Python SDK as it is over HTTP, with a loop of one's own: the whole history with each request.

python loop_openai.py http://127.0.0.1:8000/v1 [--turns 50] [--store false] [--drop-in PATHS]
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import loop
from openai import OpenAI


def hold(options: argparse.Namespace, task: str) -> str:
    """Ask, answer the calls, ask again."""
    client: Any = OpenAI(base_url=options.base_url, max_retries=0, http_client=loop.drop_in(options))
    history: list[Any] = [{"role": "user", "content": task}]
    for _ in range(options.turns + 1):
        response = client.responses.create(
            model="looking",
            instructions=loop.INSTRUCTIONS,
            input=history,
            tools=[loop.TOOL],
            store=options.store == "true",
        )
        history += response.output
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            return str(response.output_text)
        for call in calls:
            said = loop.look_up(**json.loads(call.arguments))
            history.append({"type": "function_call_output", "call_id": call.call_id, "output": said})
    raise RuntimeError("the model did not come to an end")


if __name__ == "__main__":
    sys.exit(loop.hold(hold, "A long tool loop over HTTP, by the official Python SDK."))
