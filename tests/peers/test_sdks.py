"""The official SDKs, as they come from their registries, hold a two-turn tool conversation with ``agentwire serve``.

Server and client are processes of their own; what the client saw must be legal, complete and chained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from tests.cli.kit import serving
from tests.peers import converse

pytestmark = [pytest.mark.peer, pytest.mark.socket]

SECOND_TURN = (
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
)


def check(report: dict[str, Any]) -> None:
    """What a conversation about the weather must have come to."""
    first, second = report["turns"]
    assert [first["status"], second["status"]] == ["completed", "completed"]
    assert first["id"] != second["id"]
    assert report["call"]["name"] == "get_weather"
    assert report["call"]["arguments"]["city"] == "Paris"
    assert "21" in report["text"], "the answer must say what the tool said"
    assert report["usage"]["total_tokens"] > 0


def check_events(report: dict[str, Any]) -> None:
    """A stream must be whole, and its text must come in deltas."""
    first, second = (turn["events"] for turn in report["turns"])
    assert first[0] == "response.created"
    assert first[-1] == "response.completed"
    assert "response.function_call_arguments.done" in first
    assert tuple(dict.fromkeys(kind for kind in second if kind != "response.output_text.delta")) == SECOND_TURN
    assert "response.output_text.delta" in second


@pytest.mark.parametrize("store", ["true", "false"])
async def test_the_python_sdk_over_the_websocket(openai_python: Path, store: str) -> None:
    with trio.fail_after(90):
        async with serving("--port", "0") as server:
            report = await converse(openai_python, "openai_ws.py", server.where["http"], "--store", store)
    check(report)
    check_events(report)


async def test_the_python_sdk_over_http(openai_python: Path) -> None:
    with trio.fail_after(90):
        async with serving("--port", "0") as server:
            check(await converse(openai_python, "openai_http.py", server.where["http"]))


async def test_the_python_sdk_over_a_stream(openai_python: Path) -> None:
    with trio.fail_after(90):
        async with serving("--port", "0") as server:
            report = await converse(openai_python, "openai_http.py", server.where["http"], "--stream")
    check(report)
    check_events(report)


async def test_the_javascript_sdk_over_the_websocket(node: Path) -> None:
    with trio.fail_after(90):
        async with serving("--port", "0") as server:
            report = await converse(node, "node_ws.mjs", server.where["http"])
    check(report)
    check_events(report)


async def test_a_key_is_asked_for_and_taken(openai_python: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# the only one\nsk-right\n", encoding="utf-8")
    with trio.fail_after(90):
        async with serving("--port", "0", "--key-file", str(keys)) as server:
            check(await converse(openai_python, "openai_ws.py", server.where["http"], "--key", "sk-right"))
            with pytest.raises(AssertionError, match="401"):
                await converse(openai_python, "openai_ws.py", server.where["http"], "--key", "sk-wrong")
