"""Programs against hostile servers, on real sockets: some that are small and bad in one way each."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import pytest
import trio

from agentwire.testing.clients import SCENARIOS, ClientRun, Result, Scenario
from agentwire.testing.clients.program import run_program
from agentwire.testing.clients.running import run_scenario

pytestmark = pytest.mark.socket

PEERS = Path(__file__).parents[2] / "peers"
OURS = [sys.executable, str(PEERS / "conform_agentwire.py")]

HONEST = """
    import json, os, sys, urllib.request
    history = [{"role": "user", "content": os.environ["AGENTWIRE_TASK"]}]
    def ask(history):
        body = json.dumps({"model": "m", "input": history}).encode()
        request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/responses", body)
        with urllib.request.urlopen(request, timeout=3) as answer:
            return json.loads(answer.read())["output"]
    def look_up(page):
        return urllib.request.urlopen(f"{os.environ['AGENTWIRE_TOOL_URL']}?page={page}").read().decode()
    while True:
        output = ask(history)
        history += output
        calls = [item for item in output if item["type"] == "function_call"]
        for call in calls:
            said = look_up(json.loads(call["arguments"])["page"])
            history.append({"type": "function_call_output", "call_id": call["call_id"], "output": said})
        if not calls:
            print(output[-1]["content"][0]["text"])
            break
"""
"""A client over HTTP in a few lines."""


def named(name: str) -> Scenario:
    return next(scenario for scenario in SCENARIOS.values() if scenario.name == name)


async def run(scenario: str, program: str, *, patience: float = 0.3) -> Result:
    return await run_scenario(named(scenario), [sys.executable, "-c", textwrap.dedent(program)], patience=patience)


def env() -> dict[str, str]:
    return dict(os.environ)


async def test_an_honest_client_passes() -> None:
    result = await run("honest", HONEST)
    assert (result.verdict, result.row().why) == ("passed", "")
    assert result.observed is not None
    assert [page.page for page in result.observed.tool] == [1, 2, 3]
    assert any("urllib" not in line and "POST" in line for line in result.row().evidence)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("print(output[-1]", "print(2) or (output[-1]"), "said '2'"),
        (("said = look_up(", "look_up(1); said = look_up("), "ran 4 times for page 1"),
        (('call["call_id"]', '"call_x"'), "call_x"),
        (("history += output", "history += []"), "No tool call found"),
        (("while True:", "raise KeyError('output')\nwhile True:"), "over its own feet"),
        (("timeout=3", "timeout=None"), ""),
    ],
)
async def test_a_bad_client_fails(change: tuple[str, str], why: str) -> None:
    assert change[0] in HONEST
    result = await run("honest", textwrap.dedent(HONEST).replace(*change))
    assert result.verdict == ("failed" if why else "passed")
    assert why in result.row().why


async def test_a_client_without_patience_hangs_where_the_server_is_silent() -> None:
    result = await run("silence", HONEST.replace("timeout=3", "timeout=None"), patience=0.05)
    assert result.verdict == "failed"
    assert "it hung" in result.row().why


async def test_a_program_that_hangs_is_killed_with_all_that_it_has_started(tmp_path: Path) -> None:
    program = f"""
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
        print("begun", flush=True)
        time.sleep(60)
    """
    with trio.fail_after(20):
        ran = await run_program([sys.executable, "-c", textwrap.dedent(program)], env=env(), deadline=2)
    assert ran.exit_code is None
    assert ran.output == "begun"
    with trio.fail_after(5):
        while not is_gone(int((tmp_path / "pid").read_text())):  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"  # it has ended, and nobody has asked how


async def test_a_flood_of_output_takes_no_memory() -> None:
    program = "import sys\nfor n in range(100000): print('x' * 100)\nsys.stdout.write('y' * 5_000_000)"
    ran = await run_program([sys.executable, "-c", program], env=env(), deadline=20)
    assert ran.exit_code == 0
    assert len(ran.lines) <= 2_000
    assert max(len(line.text) for line in ran.lines) <= 4_000


async def test_without_a_baseline_nothing_else_is_run() -> None:
    client = ClientRun([sys.executable, "-c", "print('hello')"], [named("honest"), named("reset-midway")])
    told: list[Result] = []
    client.tell = told.append
    await client.run()
    report = client.report()
    assert [row.verdict for row in report.rows] == ["failed", "not applicable"]
    assert report.complete
    assert "AWK-001 failed" in report.rows[1].why
    assert [result.scenario.name for result in told] == ["honest", "reset-midway"]


async def test_what_is_about_websockets_is_not_for_a_client_without() -> None:
    scenarios = [named("refuse-426"), named("reset-midway"), named("side-by-side"), named("cancelled")]
    client = ClientRun([sys.executable, "-c", textwrap.dedent(HONEST)], scenarios, patience=0.3)
    await client.run()
    verdicts = {row.name: row.verdict for row in client.report().rows}
    assert verdicts["refuse-426"] == verdicts["side-by-side"] == verdicts["cancelled"] == "not applicable"
    assert verdicts["reset-midway"] in ("failed", "fell short")
    assert "speaks over http" in client.report().found[0]


async def test_a_run_that_is_cancelled_keeps_what_is_known() -> None:
    client = ClientRun([sys.executable, "-c", textwrap.dedent(HONEST)], [named("honest"), named("silence")])
    with trio.move_on_after(30) as scope:
        client.begin = lambda scenario: scope.cancel() if scenario.name == "silence" else None
        await client.run()
    report = client.report()
    assert [row.number for row in report.rows] == ["AWK-001"]
    assert not report.complete


@pytest.mark.parametrize(
    "name", ["reset-midway", "half-open-idle", "forgets", "same-call-again", "born-old", "cancelled"]
)
async def test_our_own_client_survives(name: str) -> None:
    result = await run_scenario(named(name), OURS, patience=1.0, slack=20)
    assert (result.verdict, result.row().why) == ("passed", "")
