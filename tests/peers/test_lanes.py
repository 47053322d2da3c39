"""The official SDKs use lanes, warm-ups, forks and steering with ``agentwire serve``, by their own methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from tests.cli.kit import serving
from tests.peers import PROGRAMS, converse

pytestmark = [pytest.mark.peer, pytest.mark.socket]

ENGINE = "echoing:engine"


def check(report: dict[str, Any]) -> None:
    """What each of them must have seen."""
    warm, first = report["warm_up"], report["first"]
    assert (warm["status"], warm["items"], warm["lane"]) == ("completed", [], "main")
    assert (first["previous"], first["text"].strip()) == (warm["id"], "Remember slate.")
    assert {fork["lane"] for fork in report["forks"]} == {"left", "right"}
    for fork in report["forks"]:
        assert fork["previous"] == first["id"]
        assert fork["text"].strip() == f"Remember slate. Go {fork['lane']}."
    check_steered(report["steered"])


def check_steered(events: list[dict[str, Any]]) -> None:
    """Interrupted between two items, continued by itself, and closed to what comes too late."""
    begun = events[0]
    accepted = next(event for event in events if event["type"] == "response.steer.accepted")
    ended = next(event for event in events if event["type"] == "response.incomplete")
    assert accepted["steer"]["previous_response_id"] == begun["id"] == ended["id"]
    assert ended["reason"] == "steered"
    assert ended["items"] == ["reasoning", "web_search_call"]
    successor = events[events.index(ended) + 1]
    assert (successor["type"], successor["previous"], successor["number"]) == ("response.created", begun["id"], 0)
    completed, failed = events[-2:]
    assert (completed["id"], completed["text"].strip()) == (successor["id"], "Wait. Be brief.")
    assert failed["code"] == "response_not_found"  # its lane has gone on
    assert failed["steer"]["input"] == [{"role": "user", "content": "Too late."}]
    assert {event["lane"] for event in events[:-1]} == {"steered"}


async def test_the_python_sdk_on_lanes(openai_python: Path) -> None:
    with trio.fail_after(90):
        async with serving("--port", "0", "--engine", ENGINE, cwd=PROGRAMS) as server:
            check(await converse(openai_python, "openai_lanes.py", server.where["http"]))


async def test_the_javascript_sdk_on_lanes(node: Path) -> None:
    with trio.fail_after(90):
        async with serving("--port", "0", "--engine", ENGINE, cwd=PROGRAMS) as server:
            check(await converse(node, "node_lanes.mjs", server.where["http"]))
