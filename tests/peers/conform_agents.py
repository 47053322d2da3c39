"""The OpenAI Agents SDK with its WebSocket model, each turn continuing the last one.

agentwire conform-client --able tasks --able cancel PYTHON tests/peers/conform_agents.py [--history] [--thread-tool]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from typing import Any

import conform_common as given
import httpx
from agents import Agent, ModelSettings, Runner, function_tool, set_tracing_disabled
from agents.models.openai_provider import OpenAIProvider
from agents.run import RunConfig
from openai import AsyncOpenAI

PARSER = argparse.ArgumentParser()
PARSER.add_argument("--history", action="store_true", help="say the whole conversation each time, as is its default")
PARSER.add_argument("--thread-tool", action="store_true", help="a tool that is a plain function")
OPTIONS = PARSER.parse_args()


async def look_up(page: int) -> str:
    """Look up a page."""
    async with httpx.AsyncClient(timeout=30) as client:
        return str((await client.get(given.TOOL_URL, params={"page": page})).text)


def agent() -> Agent[Any]:
    """The agent."""
    tool = function_tool(given.look_up if OPTIONS.thread_tool else look_up, name_override="look_up")
    return Agent(name="reader", model=given.MODEL, tools=[tool], model_settings=ModelSettings(store=False))


async def do(provider: OpenAIProvider, task: str) -> str:
    """One task."""
    config = RunConfig(model_provider=provider)
    result = Runner.run_streamed(
        agent(), task, run_config=config, max_turns=given.MOST_TURNS, auto_previous_response_id=not OPTIONS.history
    )
    async for _ in result.stream_events():
        pass
    return str(result.final_output)


async def all_tasks() -> None:
    """All tasks, side by side."""
    set_tracing_disabled(True)
    client = AsyncOpenAI(timeout=given.PATIENCE)
    provider = OpenAIProvider(openai_client=client, use_responses=True, use_responses_websocket=True)
    try:
        tasks = [asyncio.create_task(do(provider, task)) for task in given.TASKS]
        if given.CANCEL_AFTER:
            await asyncio.sleep(given.CANCEL_AFTER)
            for task in tasks:
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            print("cancelled", flush=True)
            await asyncio.sleep(3)
            return
        for task in tasks:
            print(await task, flush=True)
    finally:
        await provider.aclose()


if __name__ == "__main__":
    sys.exit(given.main(lambda: asyncio.run(all_tasks())))
