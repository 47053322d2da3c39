"""The programs in examples/ do what their first lines say."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
import trio

import agentwire
from tests.cli.kit import environment, serving

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

pytestmark = pytest.mark.socket


async def run_example(
    name: str,
    *arguments: str,
    python: Path | str = sys.executable,
    modules: Sequence[ModuleType] = (),
    ends: int = 0,
) -> str:
    """What an example prints, within a minute; it must end well, or as it is meant to.

    It finds these modules besides those that it has.
    """
    paths = os.pathsep.join(str(Path(module.__file__ or "").parent.parent) for module in modules)
    with trio.fail_after(60):
        ran = await trio.run_process(
            [python, EXAMPLES / name, *arguments],
            env=environment({"PYTHONPATH": paths} if modules else None),
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
        )
    assert ran.returncode == ends, ran.stdout.decode()
    return ran.stdout.decode()


async def test_minimal_engine() -> None:
    said = (await run_example("minimal_engine.py")).splitlines()
    assert said[0].startswith("serving ws://127.0.0.1:")
    assert said[1] == "who! is! a! pretty! bird! "


async def test_agent() -> None:
    async with serving("--port", "0") as server:
        said = await run_example("agent.py", server.where["http"])
    files = {file.name for file in EXAMPLES.glob("*.py")}
    for file in files:
        assert f'read_file {{"path":"{file}"}}' in said
    assert f"made from {len(files) + 1} tool outputs" in said


async def test_agent_with_a_task_of_its_own() -> None:
    async with serving("--port", "0") as server:
        said = await run_example("agent.py", server.where["ws"], "Read `agent.py`.")
    assert said.startswith('read_file {"path":"agent.py"}: ')
    assert "2 turns" in said


async def test_plain_python() -> None:
    async with serving("--port", "0") as server:
        said = await run_example("plain_python.py", server.where["http"])
    assert 'weather: {"city":"Oslo","sky":"sunny","celsius":21}' in said
    assert said.splitlines()[-1].startswith("2 turns, ")


async def test_in_asyncio() -> None:
    async with serving("--port", "0") as server:
        said = await run_example("in_asyncio.py", server.where["http"])
    assert [city in line for city, line in zip(("Paris", "Oslo"), said.splitlines(), strict=True)] == [True, True]


async def test_journal(tmp_path: Path) -> None:
    async with serving("--port", "0") as server:
        where = (server.where["ws"], str(tmp_path))
        assert await run_example("journal.py", *where, "2", ends=-signal.SIGKILL) == "sent to Ada\n"
        said = await run_example("journal.py", *where)
        assert await run_example("journal.py", *where) == said[said.rindex("\nthe process that ran") :]
    assert said.startswith("sent to Edsger\nReport")
    assert "Nobody knows whether the call took effect" in said
    assert said.endswith("4 turns in all\n")
    assert (tmp_path / "outbox.txt").read_text() == "Ada\nGrace\nEdsger\n"


async def test_server_tools() -> None:
    said = await run_example("server_tools.py")
    assert 'the server ran look_up({"fruit":"apples"}): 12' in said
    assert 'the server ran order({"fruit":"pears","pieces":40}): 40 pears are on the way (order mcp_' in said


async def test_mcp_approval() -> None:
    said = await run_example("mcp_approval.py")
    assert 'shop ran look_up({"fruit":"pears"}): 0' in said
    assert 'may shop run order({"fruit":"pears","pieces":40})? yes' in said
    assert "40 pears are on the way" in said


@pytest.mark.peer
async def test_openai_sdk(openai_python: Path) -> None:
    async with serving("--port", "0") as server:
        said = await run_example("openai_sdk.py", server.where["http"], python=openai_python)
    assert said.startswith('get_weather({"city":"Paris"})\n')
    assert "sunny" in said


@pytest.mark.peer
async def test_drop_in(openai_python: Path) -> None:
    async with serving("--port", "0") as server:
        url = server.where["http"]
        said = await run_example("drop_in.py", url, python=openai_python, modules=(agentwire, trio))
    assert said.startswith('get_weather({"city":"Paris"})\n')
    assert "sunny" in said


async def test_cut_anywhere() -> None:
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:timeout"]  # which the test kit's extra does not bring
    with trio.fail_after(60):
        ran = await trio.run_process(
            [sys.executable, "-m", "pytest", *options, EXAMPLES / "test_cut_anywhere.py"],
            env=environment(),
            capture_stdout=True,
            check=False,
        )
    assert ran.returncode == 0, ran.stdout.decode()
    assert b" passed" in ran.stdout


def _story(text: str) -> list[str]:
    """The lines of a failure, whatever marks them as one, and however large the frames are."""
    lines = [re.sub(r"\d+ B ", "", line.removeprefix("E").strip()) for line in text.splitlines()]
    start = next(number for number, line in enumerate(lines) if "does not survive" in line)
    lines[start] = lines[start].partition("NotSurvived: ")[2] or lines[start]
    return [line for line in lines[start : lines.index(next(line for line in lines if "alone" in line)) + 1] if line]


def _patched(text: str, patch: str) -> str:
    """A text after a patch of it."""
    for hunk in re.split(r"^@@.*\n", patch, flags=re.MULTILINE)[1:]:
        before, after = ("".join(re.findall(rf"^[ {sign}](.*\n)", hunk, re.MULTILINE)) for sign in "-+")
        assert before in text
        text = text.replace(before, after)
    return text


async def test_testing_your_agent(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(EXAMPLES / "testing-your-agent", project, ignore=shutil.ignore_patterns("__pycache__"))

    async def run_tests(ends: int) -> str:
        with trio.fail_after(60):
            ran = await trio.run_process(
                [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:timeout"],
                cwd=project,
                env={**environment(), "CI": ""},  # where it is set, pytest tells each difference in full
                capture_stdout=True,
                check=False,
            )
        assert ran.returncode == ends, ran.stdout.decode()
        return ran.stdout.decode()

    said = await run_tests(1)
    assert "2 failed" in said
    assert _story(said) == _story((project / "README.md").read_text(encoding="utf-8"))
    assert re.search(r"cancelled at checkpoint \d+, test_refunds.py:26 in FakeBank.pay", said)
    agent = project / "refunds.py"
    agent.write_text(_patched(agent.read_text(encoding="utf-8"), (project / "fix.patch").read_text(encoding="utf-8")))
    assert "2 passed" in await run_tests(0)


def test_none_is_left_out() -> None:
    tested = {
        "minimal_engine.py",
        "agent.py",
        "drop_in.py",
        "in_asyncio.py",
        "journal.py",
        "plain_python.py",
        "server_tools.py",
        "mcp_approval.py",
        "mcp_server.py",
        "openai_sdk.py",
        "test_cut_anywhere.py",
    }
    assert {file.name for file in EXAMPLES.glob("*.py")} == tested
