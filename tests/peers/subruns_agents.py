"""The OpenAI Agents SDK with an agent as a tool, over its WebSocket model: python subruns_agents.py BASE_URL TASKS."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from agents import Agent, ModelSettings, Runner, set_tracing_disabled
from agents.models.openai_responses import OpenAIResponsesWSModel
from openai import AsyncOpenAI


async def main(base_url: str, tasks: int) -> None:
    """One run, and how long it took."""
    set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0)
    model, settings = OpenAIResponsesWSModel("m", client), ModelSettings(store=False, parallel_tool_calls=True)
    helper = Agent(name="helper", instructions="Work on it.", model=model, model_settings=settings)
    tool = helper.as_tool(tool_name="helper", tool_description="Works on a task.")
    boss = Agent(name="boss", instructions="Delegate.", model=model, model_settings=settings, tools=[tool])
    begun = time.perf_counter()
    result = await Runner.run(boss, f"Delegate {tasks} tasks.")
    sys.stdout.write(json.dumps({"text": result.final_output, "seconds": time.perf_counter() - begun}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
