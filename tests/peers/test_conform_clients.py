"""Clients of others put through the scenarios: what was seen with these programs before is found again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from agentwire.testing.clients import ClientRun
from agentwire.testing.clients.selecting import select
from agentwire.testing.report import Row

pytestmark = [pytest.mark.peer, pytest.mark.socket, pytest.mark.timeout(300)]

PROGRAMS = Path(__file__).parent


async def put_through(command: Sequence[str | Path], *numbers: str, able: Sequence[str] = ()) -> dict[str, Row]:
    run = ClientRun([str(word) for word in command], select(numbers), able=frozenset(able), patience=1.0)
    await run.run()
    rows = {row.number: row for row in run.report().rows}
    assert rows["AWK-001"].verdict == "passed", rows["AWK-001"].why
    return rows


async def test_the_official_sdk_waits_for_ever_after_it_has_reconnected(openai_python: Path) -> None:
    rows = await put_through([openai_python, PROGRAMS / "conform_openai_ws.py"], "057", "070")
    assert rows["AWK-057"].verdict == "failed"
    assert "it hung" in rows["AWK-057"].why
    assert "previous_response_not_found" in rows["AWK-070"].why


async def test_the_official_sdk_over_http_ends_with_an_error_of_its_own(openai_python: Path) -> None:
    rows = await put_through([openai_python, PROGRAMS / "conform_openai_http.py"], "002", "040", "057")
    assert rows["AWK-002"].verdict == "passed"
    assert (rows["AWK-040"].verdict, rows["AWK-057"].verdict) == ("fell short", "not applicable")
    assert "APITimeoutError" in rows["AWK-040"].why


async def test_the_agents_sdk_loses_its_run_and_queues_up(frameworks_python: Path) -> None:
    program: list[str | Path] = [frameworks_python, PROGRAMS / "conform_agents.py", "--thread-tool"]
    rows = await put_through(program, "070", "075", "110-111", able=["tasks", "cancel"])
    assert rows["AWK-070"].verdict == rows["AWK-075"].verdict == "failed"
    assert "previous_response_not_found" in rows["AWK-070"].why
    assert "tools were running after it said" in rows["AWK-110"].why
    assert rows["AWK-111"].verdict == "fell short"


async def test_the_official_javascript_sdk_does_the_task(node: Path) -> None:
    rows = await put_through([node, PROGRAMS / "conform_node.mjs"], "002", "004")
    assert {row.verdict for row in rows.values()} == {"passed"}
