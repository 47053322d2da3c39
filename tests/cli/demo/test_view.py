"""What is shown: the same facts in a terminal and outside of one, and nothing of either beside JSON."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from agentwire.cli.demo.view import Stage, View


def view_on(screen: StringIO, *, terminal: bool, width: int = 80) -> View:
    return View(Console(file=screen, force_terminal=terminal, width=width, highlight=False))


def play(view: View) -> None:
    with view.rollout() as stage:
        stage.turn(1)
        stage.started("call_1", "read_file", '{"path":"a.txt"}')
        stage.finished("call_1", "first\nsecond", 0.25)
        stage.turn(2)
        stage.said("It says ")
        stage.said("first.")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_rollout(terminal: bool) -> None:
    screen = StringIO()
    play(view_on(screen, terminal=terminal))
    said = screen.getvalue()
    for part in ('read_file {"path":"a.txt"}', "250 ms", "first", "(+1 lines)", "It says first."):
        assert part in said
    assert ("\x1b" in said) is terminal


def test_the_live_part_shows_what_runs_and_the_end_of_the_answer() -> None:
    screen = StringIO()
    view = view_on(screen, terminal=False)
    stage = Stage(view)
    stage.turn(3)
    stage.started("call_1", "search", '{"pattern":"x"}')
    stage.said("\n".join(f"line {number}" for number in range(20)) + " " + "long " * 50)
    view.console.print(stage.render())
    lines = screen.getvalue().splitlines()
    assert lines[0].endswith("turn 3, 0 calls done")
    assert lines[1] == '   running search {"pattern":"x"}'
    assert [line[:11] for line in lines[2:]] == [f"  > line {number}" for number in range(14, 20)]


@pytest.mark.parametrize("terminal", [True, False])
def test_control_characters_are_shown_to_nobody(terminal: bool) -> None:
    screen = StringIO()
    view = view_on(screen, terminal=terminal)
    with view.rollout() as stage:
        stage.started("call_1", "read_file", "\x1b]0;arguments\x07")
        stage.finished("call_1", "\x1b]0;output\x07", 0.0)
        stage.said("\x1b]0;answer\x07")
    view.cancellations([("client", "\x1b]0;what\x07", 0.001, "\x1b]0;reason\x07")])
    said = screen.getvalue()
    for part in ("arguments", "output", "answer"):
        assert f"]0;{part}" in said
    assert "\x1b]" not in said
    assert "\x07" not in said


def test_a_quiet_view_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    view = View.of(quiet=True)
    play(view)
    view.heading("title", "text")
    with view.status("busy"):
        view.table([("head", True)], [["1"]])
    assert capsys.readouterr().out == ""


def test_a_status_shows_only_in_a_terminal() -> None:
    quiet, loud = StringIO(), StringIO()
    with view_on(quiet, terminal=False).status("busy"), view_on(loud, terminal=True).status("busy"):
        pass
    assert quiet.getvalue() == ""
    assert "busy" in loud.getvalue()
