"""Every kind of output, as the official Python SDK reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.cli.kit import serving
from tests.peers import converse

pytestmark = [pytest.mark.peer, pytest.mark.socket]

TOLD = {
    "response.reasoning_summary_text.delta",
    "response.web_search_call.searching",
    "response.output_text.annotation.added",
    "response.refusal.delta",
    "response.function_call_arguments.delta",
    "response.custom_tool_call_input.done",
    "response.completed",
}


@pytest.mark.parametrize("way", ["socket", "stream"])
async def test_the_python_sdk_reads_every_kind_of_output(openai_python: Path, way: str) -> None:
    with trio.fail_after(90):
        async with serving("--port", "0", "--engine", "tests.peers.showing:showing") as server:
            report = await converse(openai_python, "openai_output.py", server.where["http"])
    seen = report[way]
    assert set(seen.pop("events")) >= TOLD
    assert seen == {
        "reasoning": ["Looking.", "opaque"],
        "search": ["ResponseFunctionWebSearch", "completed"],
        "phase": "commentary",
        "text": ["found", "https://x.y", "found"],
        "refusal": "but no",
        "calls": [["one", '{"a":1}'], ["two", '{"b":2}'], ["patch", "free text"]],
    }
