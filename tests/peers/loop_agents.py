"""The OpenAI Agents SDK on the Responses API as it is over HTTP: the whole history with each request.

python loop_agents.py http://127.0.0.1:8000/v1 [--turns 50] [--store false] [--drop-in PATHS]
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import loop
from agents import Agent, ModelSettings, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI


def hold(options: argparse.Namespace, task: str) -> str:
    """The runner's own loop."""
    set_tracing_disabled(True)
    http_client = loop.drop_in(options, coroutines=True)
    client = AsyncOpenAI(base_url=options.base_url, max_retries=0, http_client=http_client)
    model = OpenAIResponsesModel("looking", client)
    agent: Any = Agent(
        name="reader",
        instructions=loop.INSTRUCTIONS,
        model=model,
        model_settings=ModelSettings(store=options.store == "true"),
        tools=[function_tool(loop.look_up)],
    )
    return str(Runner.run_sync(agent, task, max_turns=options.turns + 1).final_output)


if __name__ == "__main__":
    sys.exit(loop.hold(hold, "A long tool loop over HTTP, by the OpenAI Agents SDK."))
