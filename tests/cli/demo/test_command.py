"""``agentwire demo`` as a person and as a program runs it: what is in it, never how long it took."""

from __future__ import annotations

import json
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

import agentwire
from tests.cli.kit import COMMAND, environment, run_command

pytestmark = pytest.mark.socket

ROOT = Path(__file__).resolve().parents[3]
WAYS = ["http_new", "http_kept", "http_kept_id", "websocket", "websocket_tools"]


async def test_json_holds_all_parts_and_nothing_else_is_printed(tmp_path: Path) -> None:
    """Run outside of a repository: then the package's own files are surveyed."""
    ran = await run_command("demo", "--json", "--quick", "--seed", "5", cwd=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    survey = found["survey"]
    assert survey["root"] == str(Path(agentwire.__file__).parent)
    assert sum(survey["tool_calls"].values()) >= 20
    assert survey["tool_calls"].keys() == {"list_files", "read_file", "search"}
    assert survey["connections"] == 1
    assert "Report on 6 steps" in survey["report"]
    for act in found["plug"]:
        check_act(act)
    assert [act["tools_run_by"] for act in found["plug"]] == ["client", "server"]
    assert found["random_cuts"]["seed"] == 5
    assert [run["sessions"] for run in found["random_cuts"]["runs"]] == [True, False]
    for run in found["random_cuts"]["runs"]:
        check_cuts(run)
    check_rows(found["comparison"])
    assert "No TLS" in found["comparison"]["link_model"]
    assert "previous_response_id" in found["comparison"]["conclusion"]


def check_act(act: dict[str, Any]) -> None:
    """Everything that ran was cancelled with a reason, and nothing is left."""
    side = act["tools_run_by"]
    assert act["running"] == {"engine steps at the server": 1, f"tools at the {side}": 3}
    seen = sorted((one["where"], one["kind"]) for one in act["cancelled"])
    assert seen == sorted([("server", "engine step"), *[(side, "tool")] * 3])
    assert all("connection" in one["reason"] for one in act["cancelled"])
    assert all(one["after_ms"] >= 0 for one in act["cancelled"])
    assert act["client_raised"].startswith("RunLost: connection ended")
    assert set(act["left_on_the_server"].values()) == {0}


def check_cuts(run: dict[str, Any]) -> None:
    """However often the plug was pulled: every tool once, and the same answer."""
    assert run["cuts"] == len(run["places"]) >= 2
    assert run["resumed"] == sum(place["outcome"] == "resumed" for place in run["places"])
    assert (run["resumed"] > 0) == run["sessions"]
    assert run["tools_started"] == run["tools_finished"] > 0
    assert (run["tools_twice"], run["lost"], run["same_answer"]) == (0, 0, True)


def check_rows(comparison: dict[str, Any]) -> None:
    assert comparison["same_answer"] is True
    rows = comparison["rows"]
    rtts = sorted({row["rtt_ms"] for row in rows})
    assert rtts[0] == 0
    assert [(row["rtt_ms"], row["way"]) for row in rows] == [(rtt, way) for rtt in rtts for way in WAYS]
    assert len({row["tool_calls"] for row in rows}) == 1
    for rtt in rtts:
        new, kept, ids, wire, tools = (row for row in rows if row["rtt_ms"] == rtt)
        turns = new["turns"]
        assert [row["turns"] for row in (kept, ids, wire, tools)] == [turns, turns, turns, 1]
        assert {row["engine_steps"] for row in (new, kept, ids, wire, tools)} == {turns}
        assert [row["connections"] for row in (new, kept, ids, wire, tools)] == [turns, 1, 1, 1, 1]
        assert new["round_trips"] == 2 * turns
        assert kept["round_trips"] == ids["round_trips"] == turns + 1
        assert wire["round_trips"] == turns + 2
        assert tools["round_trips"] == 3
        assert new["bytes_up"] >= kept["bytes_up"] > ids["bytes_up"] > wire["bytes_up"] > tools["bytes_up"]
        assert ids["saved_percent_vs_http_kept_id"] == 0
    longest = [row["seconds"] for row in rows if row["rtt_ms"] == rtts[-1]]
    assert all(seconds > 0 for seconds in longest)


async def test_plain_lines_without_a_terminal() -> None:
    ran = await run_command("demo", "--quick", cwd=ROOT)
    assert (ran.code, ran.err) == (0, "")
    assert "\x1b" not in ran.out
    for part in (
        "not a language model",
        "cancelled at the client",
        "cancelled at the server",
        "reset by the peer",
        "at bytes drawn from seed ",
        "resumed where it stopped",
        "a server without sessions",
        "0 twice; lost: 0; the answer is the same",
        "round trip 0 ms",
        "WebSocket, tools at the server",
        "conn.",
    ):
        assert part in ran.out
    calls = [line for line in ran.out.splitlines() if line.startswith("turn ")]
    assert len(calls) >= 20


async def test_ctrl_c_ends_it_without_a_traceback() -> None:
    run = partial(
        trio.run_process,
        [*COMMAND, "demo"],
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        check=False,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            process = await nursery.start(run)
            said = b""
            while b"turn  1" not in said:
                piece = await process.stdout.receive_some()
                assert piece, said
                said += piece
            assert b"not a language model" in said
            process.send_signal(signal.SIGINT)
            assert [piece async for piece in process.stderr] == []
            assert await process.wait() == 130


@pytest.mark.parametrize(("root", "told"), [("nowhere", "there is no folder nowhere"), (".", "holds too few files")])
async def test_a_root_that_will_not_do(tmp_path: Path, root: str, told: str) -> None:
    ran = await run_command("demo", "--json", "--root", root, cwd=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
