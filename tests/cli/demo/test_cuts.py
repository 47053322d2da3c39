"""The plug pulled at random places: what is drawn, what is counted, and what is shown of each cut."""

from __future__ import annotations

from collections import Counter
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from agentwire.cli.demo.cuts import CutRun, pull_at_random
from agentwire.cli.demo.view import View
from agentwire.cli.demo.workspace import Workspace


def run_of(done: dict[str, int], text: str) -> CutRun:
    return CutRun(
        sessions=True,
        pulls=(),
        done=Counter(done),
        finished=sum(done.values()),
        text=text,
        turns_repeated=0,
        work_bytes=1,
        answer_bytes=1,
        seconds=0.0,
    )


def test_what_is_counted() -> None:
    plain = run_of({"a": 1, "b": 2}, "one two three")
    assert (plain.twice(plain), plain.lost(plain)) == (0, 0)
    worse = run_of({"a": 2, "b": 1}, "one two two three four")
    assert worse.twice(plain) == 1
    assert worse.lost(plain) == 1 + 2
    assert run_of({"a": 1, "b": 2}, "one").lost(plain) == 2


@pytest.mark.socket
async def test_no_tool_runs_twice_and_nothing_of_the_answer_is_lost(tmp_path: Path) -> None:
    for number in range(40):
        lines = (f"def function_{number}(): pass" if line % 3 else f"import module_{line}" for line in range(30))
        (tmp_path / f"file_{number:02}.py").write_text("\n".join(lines), encoding="utf-8")
    screen = StringIO()
    view = View(Console(file=screen, width=200))
    seed = 11
    first = await pull_at_random(Workspace(tmp_path), view, seed=seed, quick=True)
    for run in first.runs:
        assert run.pulls
        assert (run.twice(first.plain), run.lost(first.plain)) == (0, 0)
        assert run.text == first.plain.text
    said = screen.getvalue()
    assert f"seed {seed}" in said
    for number, pull in enumerate(first.runs[0].pulls, 1):
        assert f"{number}. {pull.how} {pull.after} bytes on" in said
    assert all(pull.outcome != "resumed" for pull in first.runs[1].pulls)
