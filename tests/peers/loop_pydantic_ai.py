"""A pydantic-ai agent on the Responses API as it is over HTTP: the whole history with each request.

python loop_pydantic_ai.py http://127.0.0.1:8000/v1 [--turns 50] [--store false] [--drop-in PATHS]
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import loop
from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIResponsesModel, OpenAIResponsesModelSettings
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.usage import UsageLimits


def hold(options: argparse.Namespace, task: str) -> str:
    """The agent's own loop."""
    http_client = loop.drop_in(options, coroutines=True)
    client = AsyncOpenAI(base_url=options.base_url, max_retries=0, http_client=http_client)
    provider = OpenAIProvider(openai_client=client)
    settings: Any = OpenAIResponsesModelSettings(openai_store=options.store == "true")
    model = OpenAIResponsesModel("looking", provider=provider, settings=settings)
    agent: Any = Agent(model, instructions=loop.INSTRUCTIONS, tools=[loop.look_up])
    return str(agent.run_sync(task, usage_limits=UsageLimits(request_limit=options.turns + 1)).output)


if __name__ == "__main__":
    sys.exit(loop.hold(hold, "A long tool loop over HTTP, by pydantic-ai."))
