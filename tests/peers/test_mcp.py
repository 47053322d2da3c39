"""The official Python SDK uses tools of a real MCP server behind ``agentwire serve``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
import trio

from tests.cli.kit import serving
from tests.peers import converse

pytestmark = [pytest.mark.peer, pytest.mark.socket]

SHOP = Path(__file__).resolve().parents[2] / "examples" / "mcp_server.py"


async def test_the_python_sdk_and_an_mcp_server(openai_python: Path) -> None:
    command = shlex.join([sys.executable, str(SHOP)])
    with trio.fail_after(90):
        async with serving("--port", "0", "--mcp", f"shop={command}") as server:
            report = await converse(openai_python, "openai_mcp.py", server.where["http"])
    assert report["tools"] == ["look_up", "order"]
    assert report["events"] == [
        "response.mcp_list_tools.in_progress",
        "response.mcp_list_tools.completed",
        "response.mcp_call.in_progress",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.mcp_call.completed",
    ]
    looked, asked = report["first"][-2:]
    assert (looked["type"], looked["name"], looked["output"], looked["status"]) == (
        "mcp_call",
        "look_up",
        "0",
        "completed",
    )
    assert (asked["type"], asked["arguments"]) == ("mcp_approval_request", '{"fruit":"pears","pieces":40}')
    ordered = report["second"][0]
    assert (ordered["type"], ordered["output"]) == ("mcp_call", "40 pears are on the way")
    assert ordered["approval_request_id"] == asked["id"]
    assert "40 pears" in report["text"]
    kinds = [kind for kind in report["listed"] if kind.startswith("mcp")]
    assert kinds == ["mcp_list_tools", "mcp_call", "mcp_approval_request", "mcp_approval_response"]
