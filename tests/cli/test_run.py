"""``agentwire run``: the answer, the tools, what Ctrl-C cuts off, and how it fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import trio
from rich.console import Console

from agentwire.cli.app import main
from agentwire.cli.interrupts import Interrupts
from agentwire.cli.lines import Lines, LineWriter
from agentwire.cli.reaching import Settings
from agentwire.cli.run import Job, Plan, Report
from agentwire.cli.run_events import TYPES, VERSION, JsonReport
from agentwire.cli.run_view import RunView
from agentwire.cli.terminal import Screen
from agentwire.engines import builtin
from agentwire.runtime.contracts import Ask, Engine, Finish, Out
from agentwire.runtime.tools import LocalTool
from agentwire.server import Server, serve
from agentwire.testing.relay import open_relay
from tests.cli.kit import COMMAND, environment, run_command, wait_until

pytestmark = pytest.mark.socket

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = """
import time, trio

print("imported")

def add(a: int, b: int) -> int:
    "Add two numbers."
    print("adding")
    return a + b

async def hang() -> str:
    "Never ends, and blocks the loop when it should."
    try:
        await trio.sleep_forever()
    finally:
        time.sleep(120)
"""

DEADLY = """
import os, signal

def done(what):
    with open("done", "a") as file:
        file.write(what + " ")

async def note() -> str:
    "Note something."
    done("note")
    return "noted"

async def die() -> str:
    "End this process."
    done("die")
    os.kill(os.getpid(), signal.SIGKILL)

tools = [note, die]
"""


@asynccontextmanager
async def server_of(engine: Engine, **options: Any) -> AsyncGenerator[Server]:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, engine, **options))
        yield server
        nursery.cancel_scope.cancel(reason="the test is over")


class Seat:
    """Somebody who has one run done, in this process."""

    def __init__(self, *, terminal: bool = False) -> None:
        self.out, self.err = StringIO(), StringIO()
        answers, notes = (Console(file=file, force_terminal=terminal, width=100) for file in (self.out, self.err))
        self.screen = Screen(answers, notes)

    async def run(
        self, url: str, *words: str, tools: Sequence[Callable[..., Any]] = (), report: Report | None = None, **plan: Any
    ) -> int:
        settings = Settings(url, tools=tuple(LocalTool.of(tool) for tool in tools))
        interrupts = Interrupts(self.screen.note, leave=lambda _: pytest.fail("nobody asked for that"))
        return await Job(
            settings, Plan(words, 5), report or RunView(self.screen), interrupts, Lines(0), self.screen.aside
        ).run()


def objects(text: str) -> list[dict[str, Any]]:
    """The lines of a JSON report; each has what all have, and the last one alone ends it."""
    found = [json.loads(line) for line in text.splitlines()]
    assert {one["v"] for one in found} == {VERSION}
    assert {one["type"] for one in found} <= set(TYPES)
    assert [one["at"] for one in found] == sorted(one["at"] for one in found)
    assert [one["type"] in TYPES[-3:] for one in found] == [False] * (len(found) - 1) + [True]
    return found


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


# As a process


async def test_stdout_holds_the_answer_alone_and_stdin_is_a_word_of_the_task(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TOOLS, encoding="utf-8")
    ran = await run_command("run", "--tools", "mine:add", "call add with", "-", stdin=b"a=3 and b=4\n", cwd=tmp_path)
    assert (ran.code, ran.out) == (0, "add(a=3, b=4) returned: 7\n")
    assert "not a language model" in ran.err
    assert 'turn 1  add {"a":3,"b":4}: 7' in ran.err
    assert "2 turns, 1 tool call" in ran.err
    assert {"imported", "adding"} <= set(ran.err.splitlines())


async def test_json_for_programs(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TOOLS, encoding="utf-8")
    ran = await run_command("run", "--json", "--tools", "mine:add", "call add with a=3 and b=4", cwd=tmp_path)
    assert ran.code == 0
    told = objects(ran.out)
    assert (told[0]["type"], told[0]["tools"]) == ("run.started", ["add"])
    assert sorted({one["type"] for one in told}) == sorted(set(TYPES) - {
        "reasoning", "server_tool.finished", "turn.lost", "run.cancelled", "run.failed"
    })  # fmt: skip
    (started,) = (one for one in told if one["type"] == "tool.started")
    (finished,) = (one for one in told if one["type"] == "tool.finished")
    assert (started["name"], started["arguments"]) == ("add", '{"a":3,"b":4}')
    assert (finished["call_id"], finished["output"], finished["error"]) == (started["call_id"], "7", None)
    assert "".join(one["delta"] for one in told if one["type"] == "text") == told[-1]["text"]
    assert (told[-1]["status"], told[-1]["turns"], told[-1]["tool_calls"]) == ("completed", 2, 1)
    assert told[-1]["exit_code"] == 0


async def test_ctrl_c_once_more_leaves_at_once_whatever_the_tool_does(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TOOLS, encoding="utf-8")
    command = [*COMMAND, "run", "--tools", "mine:hang", "call hang"]
    run = partial(trio.run_process, command, cwd=tmp_path, env=environment(), check=False)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            process = await nursery.start(partial(run, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
            await _said(process, b"hang {}")
            process.send_signal(signal.SIGINT)
            await _said(process, b"once more")
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130


async def _said(process: Any, text: bytes) -> None:
    said = b""
    while text not in said:
        piece = await process.stderr.receive_some()
        assert piece, said
        said += piece


async def test_a_process_that_dies_goes_on_from_its_journal(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(DEADLY, encoding="utf-8")
    command = ("run", "--journal", "j.db", "--key", "job", "--tools", "mine:tools", "1. Call note. 2. Call die.")
    first = await run_command(*command, cwd=tmp_path)
    assert (first.code, first.out) == (-signal.SIGKILL, "")
    second = await run_command(*command, cwd=tmp_path)
    assert second.code == 0
    assert "noted" in second.out
    assert "died before it said what came of it" in second.out
    assert (tmp_path / "done").read_text(encoding="utf-8") == "note die "


def test_nobody_reads_the_json() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*COMMAND, "run", "--json", "hello"]
    ran = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment(), check=False)
    os.close(writing)
    assert ran.returncode == 1
    assert b"Traceback" not in ran.stderr
    assert b"agentwire:" not in ran.stderr


# Within this process


SIGNALS = {
    "ctrl-c": (signal.SIGINT, 130, "interrupted from the keyboard"),
    "sigterm": (signal.SIGTERM, 143, "the process was told to end"),
}


@pytest.mark.parametrize(("number", "code", "reason"), SIGNALS.values(), ids=SIGNALS)
async def test_a_signal_lets_the_tools_clean_up_and_says_what_was_cut_off(number: int, code: int, reason: str) -> None:
    cleaned: list[str] = []

    async def wait_for(name: str) -> str:
        try:
            return str(await trio.sleep_forever())
        except trio.Cancelled as cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
            cleaned.append(f"{name}: {cancelled.reason}")
            raise

    seat = Seat()
    with trio.fail_after(30):
        async with server_of(builtin()) as server, trio.open_nursery() as nursery:

            @nursery.start_soon
            async def interrupt() -> None:
                await wait_until(lambda: "wait_for" in seat.err.getvalue())
                signal.raise_signal(number)

            assert await seat.run(server.url, "call wait_for with name=Godot", tools=[wait_for]) == code
            await wait_until(lambda: not server.statistics().sessions)
    assert cleaned == [f"Godot: {reason}"]
    assert seat.out.getvalue() == ""
    assert 'cancelled in turn 1; cut off: wait_for {"name":"Godot"}' in seat.err.getvalue()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_as_an_object(tmp_path: Path, number: int, code: int) -> None:
    async def slow(ask: Ask, out: Out) -> None:
        await out.text("so far")
        signal.raise_signal(number)
        await trio.sleep_forever()

    with trio.fail_after(30), (tmp_path / "out").open("w+b") as file:
        async with server_of(slow) as server:
            report = JsonReport(LineWriter(file.fileno()), time.monotonic)
            assert await Seat().run(server.url, "go", report=report) == code
            await wait_until(lambda: not server.statistics().sessions)
        told = objects((tmp_path / "out").read_text(encoding="utf-8"))[-1]
    assert (told["type"], told["turns"], told["unfinished"], told["exit_code"]) == ("run.cancelled", 1, [], code)


async def test_a_terminal_shows_what_runs_and_the_answer_as_it_comes() -> None:
    seen: list[str] = []

    async def look() -> str:
        await wait_until(lambda: "look {}  0 s" in seat.err.getvalue())
        seen.append("shown live")
        return "\x1b]0;title\x07seen"

    async def engine(ask: Ask, out: Out) -> None:
        if not seen:
            await out.call("look", {})
        else:
            await out.reasoning("hm")
            await out.text("It is ")
            await wait_until(lambda: "It is " in seat.out.getvalue())
            await out.text("seen.")

    seat = Seat(terminal=True)
    with trio.fail_after(30):
        async with server_of(engine) as server:
            assert await seat.run(server.url, "go", tools=[look]) == 0
    assert seat.out.getvalue() == "It is seen.\n"
    assert "look {}: ]0;titleseen" in seat.err.getvalue()
    assert "\x1b]" not in seat.err.getvalue()


async def test_an_answer_that_stops_short_and_the_servers_own_tools() -> None:
    async def engine(ask: Ask, out: Out) -> Finish | None:
        if ask.step == 0:
            await out.call("add", {"a": 1, "b": 2})
            return None
        await out.text("thr")
        return Finish(incomplete="max_output_tokens")

    seat = Seat()
    with trio.fail_after(30):
        async with server_of(engine, tools=[add]) as server:
            assert await seat.run(server.url, "go") == 1
    assert seat.out.getvalue() == "thr\n"
    assert 'add {"a":1,"b":2}: 3 (run by the server)' in seat.err.getvalue()
    assert "the answer stops short: max_output_tokens" in seat.err.getvalue()


async def test_a_turn_that_was_lost_is_told(tmp_path: Path) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        await out.text("once")
        if relay.statistics().connections == 1:
            await wait_until(lambda: "once" in out_file.read_text(encoding="utf-8") + seat.out.getvalue())
            relay.cut()
            await trio.sleep_forever()

    out_file, seat = tmp_path / "out", Seat(terminal=True)
    with trio.fail_after(30), out_file.open("w+b") as file:
        async with server_of(engine, extensions=()) as server:
            assert server.port is not None
            async with open_relay("127.0.0.1", server.port) as relay:
                report = JsonReport(LineWriter(file.fileno()), time.monotonic)
                assert await Seat().run(relay.through(server.url), "go", report=report) == 0
            told = objects(out_file.read_text(encoding="utf-8"))
            out_file.write_bytes(b"")
            async with open_relay("127.0.0.1", server.port) as relay:
                assert await seat.run(relay.through(server.url), "go") == 0
    (lost,) = (one for one in told if one["type"] == "turn.lost")
    assert (lost["turn"], lost["repeated"]) == (1, True)
    assert told[-1]["text"] == "once"
    assert seat.out.getvalue() == "once\nonce\n"
    assert "turn 1 was lost with its connection: it is asked again" in seat.err.getvalue()


CANNOT = {
    "nothing to do": ((), 2, "UserError", "there is nothing to do"),
    "nobody there": (("ws://127.0.0.1:1/v1", "hi"), 1, "ConnectFailed", "cannot connect to ws://127.0.0.1:1/v1"),
    "no address": (("wss://", "hi"), 2, "LocalProtocolError", "is not the address of a server"),
    "no such option": (("--modle=x", "hi"), 2, "UserError", "there is no option --modle"),
    "no module": (("--tools", "not_here:x", "hi"), 2, "UserError", "no module 'not_here'"),
    "no key": (("--key-file", "/nowhere", "hi"), 2, "UserError", "cannot read /nowhere"),
    "no name in the journal": (("--journal", "j.db", "hi"), 2, "UserError", "--key NAME belong together"),
    "no place for a journal": (
        ("--journal", "/no/j", "--key", "k", "hi"),
        2,
        "JournalError",
        "cannot open the journal",
    ),
    "no turns": (("--max-turns", "0", "hi"), 2, "LocalProtocolError", "max_turns must be at least 1"),
}


@pytest.mark.parametrize("case", CANNOT)
def test_what_cannot_be_done_is_one_line_and_one_object(case: str, capfd: pytest.CaptureFixture[str]) -> None:
    arguments, code, kind, told = CANNOT[case]
    assert main(["run", *arguments]) == code
    plain = capfd.readouterr()
    assert plain.out == ""
    assert told in plain.err.splitlines()[-1]
    assert main(["run", "--json", *arguments]) == code
    last = objects(capfd.readouterr().out)[-1]
    assert (last["type"], last["error"]["kind"], last["exit_code"]) == ("run.failed", kind, code)
    assert told in last["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "task"),
    [
        (("--", "--modle=x"), "--modle=x"),
        (("--max-turns", "3", "--", "--max-turns", "0"), "--max-turns 0"),
        (("hey", "--", "--json", "--", "-x"), "hey --json -- -x"),
    ],
)
def test_what_comes_after_two_dashes_is_no_option(
    arguments: Sequence[str], task: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *arguments]) == 0
    assert f"“{task}”" in capfd.readouterr().out


def test_what_comes_before_two_dashes_may_be_one(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--modle=x", "--", "--hi"]) == 2
    told = "there is no option --modle (see agentwire run --help); what is no option goes after a --"
    assert told in capfd.readouterr().err
    assert main(["run", "--"]) == 2
    assert "there is nothing to do" in capfd.readouterr().err
    assert main(["run", "--", "ws://127.0.0.1:1/v1", "--hi"]) == 1
    assert "cannot connect to ws://127.0.0.1:1/v1" in capfd.readouterr().err


def test_a_task_may_begin_with_a_dash_where_it_is_no_option(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "-5", "degrees:", "say", '"cold"']) == 0
    assert capfd.readouterr().out == "cold\n"


def test_the_page_names_every_type() -> None:
    page = (ROOT / "docs" / "commands" / "run.md").read_text(encoding="utf-8")
    table = page[page.index("| type | tells |") :].split("\n\n")[0]
    assert tuple(row.split("`")[1] for row in table.splitlines()[2:]) == TYPES
