"""The frame of the commands that run many checks, without any checks."""

from __future__ import annotations

import signal

import attrs
import pytest
import trio

from agentwire.cli.checks import print_checks, run_checks, typed_options
from agentwire.cli.reports import ReportProgress


async def test_what_is_known_is_told_and_the_code_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    async def run(progress: ReportProgress) -> None:
        await trio.lowlevel.checkpoint()
        progress.note("it answers")

    assert await run_checks(1, run, lambda: 1) == 1
    assert capsys.readouterr().err == "it answers\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_interrupted_it_tells_what_is_known_all_the_same(number: signal.Signals, code: int) -> None:
    told: list[str] = []

    async def run(_: ReportProgress) -> None:
        signal.raise_signal(number)
        await trio.sleep_forever()

    def tell() -> int:
        told.append("what is known")
        return 0

    assert await run_checks(1, run, tell) == code
    assert told == ["what is known"]


@attrs.frozen(kw_only=True)
class Options:
    slow_model: str | None = None
    only: tuple[str, ...] = ()
    timeout: float = 60.0
    json: str | None = None


def test_what_was_typed_is_named_as_it_was_typed() -> None:
    typed = Options(slow_model="slow", only=("1", "2"), timeout=60.0, json="report.json")
    assert typed_options(typed, ("json",)) == {"slow-model": "slow", "only": "1, 2"}


def test_a_list_has_a_line_for_each_check(capsys: pytest.CaptureFixture[str]) -> None:
    print_checks(("number", "title"), [("AWC-001", "Ask, and wait."), ("AWC-002", "x" * 140)], fold="title")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["number   title", "AWC-001  Ask, and wait.", f"AWC-002  {'x' * 140}"]
