"""A report in the terminal: the table, what failed and why, what was missing; files that are checked before the run."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from agentwire.cli.failures import UserError
from agentwire.cli.reports import ReportFiles, ReportProgress, exit_code, print_report
from agentwire.testing.report import Report, Row, from_json
from tests.testing.report.test_report import report, row


def console(width: int = 200, *, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, highlight=False)


def printed(one: Report, **more: object) -> str:
    screen = console()
    print_report(one, console=screen, **more)  # type: ignore[arg-type]
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


EVIDENCE = tuple(f"   0.{number:03}  ws1 < {'x' * 400}" for number in range(40))
BAD = row("failed", "AWC-007", why="It was\x1b[2J closed.", advice="Answer.", evidence=EVIDENCE, broken=["AW-H-001"])


def test_a_failure_is_told_with_its_rule_and_the_end_of_the_evidence() -> None:
    said = printed(report(row(), BAD, found=["it answers"]))
    for part in (
        "FAILED",
        "AWC-007  Ask, and wait.",
        "AW-H-001 (must; RFC 6455): A server answers",
        "What to do: Answer.",
    ):
        assert part in said
    assert "AW-H-002" not in said, "that rule was kept"
    assert "10 lines before; --full" in said
    assert "0.009" not in said
    assert "0.039" in said
    assert f"{'x' * 400}" not in said
    assert "\x1b" not in said
    assert "it answers" in said
    assert said.rstrip().endswith("1 passed, 1 failed, 0.0 s")


def test_all_of_it_can_be_had() -> None:
    said = printed(report(BAD), full=True, found=False)
    assert "0.000" in said
    assert "x" * 400 in said
    assert "it answers" not in said


def test_choices_are_told_in_short() -> None:
    said = printed(report(row("differs", why="it chose", evidence=EVIDENCE)))
    assert "it chose" in said
    assert "0.039" not in said
    assert "0.039" in printed(report(row("differs", why="it chose", evidence=EVIDENCE)), full=True)


def test_the_table_counts_by_topic() -> None:
    said = printed(report(row(topic="Lanes"), row("fell short", topic="Lanes", why="slow"), row(topic="State")))
    header, lanes, state, total = said.splitlines()[:4]
    assert header.split() == ["passed", "fell", "short"]
    assert lanes.split() == ["Lanes", "1", "1"]
    assert state.split() == ["State", "1", "."]
    assert total.split() == ["all", "2", "1"]


def test_what_was_missing_is_told_once_with_what_to_do() -> None:
    rows = [row("not applicable", f"AWC-00{number}", why="it needs luck") for number in range(3)]
    said = printed(report(*rows), hints={"luck": "--able luck"})
    assert "it needs luck (--able luck): AWC-000, AWC-001, AWC-002" in said


@pytest.mark.parametrize(
    ("rows", "complete", "code", "strict"),
    [
        ([row()], True, 0, 0),
        ([row("fell short")], True, 0, 1),
        ([row("differs")], True, 0, 0),
        ([row("failed")], True, 1, 1),
        ([row()], False, 1, 1),
    ],
)
def test_exit_codes(rows: list[Row], complete: bool, code: int, strict: int) -> None:
    one = report(*rows, complete=complete)
    assert (exit_code(one), exit_code(one, strict=True)) == (code, strict)


def test_files_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ReportFiles(json=str(tmp_path / "r.json"), html=str(tmp_path / "r.html"))
    files.check()
    files.write(report(BAD))
    assert from_json((tmp_path / "r.json").read_text(encoding="utf-8")) == report(BAD)
    assert "AWC-007" in (tmp_path / "r.html").read_text(encoding="utf-8")
    ReportFiles(json="-").write(report(BAD))
    assert from_json(capsys.readouterr().out) == report(BAD)


@pytest.mark.parametrize("name", ["none/such/r.html", "."])
def test_what_cannot_be_written_is_said_before_the_run(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--html: .* cannot be written"):
        ReportFiles(html=str(tmp_path / name)).check()
    with pytest.raises(UserError, match=r"--json: .* cannot be written"):
        ReportFiles(json=str(tmp_path / name)).check()


def test_a_file_that_vanished_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the report cannot be written"):
        ReportFiles(html=str(tmp_path / "gone" / "r.html")).write(report())


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_says_what_does_not_pass(terminal: bool) -> None:
    screen = console(terminal=terminal)
    with ReportProgress(2, screen) as progress:
        progress.note("it answers")
        progress.begin("AWC-001", "Ask, and wait.")
        progress.end(row())
        progress.begin("AWC-007", "Ask, and wait.")
        progress.end(BAD)
    assert isinstance(screen.file, io.StringIO)
    said = screen.file.getvalue()
    assert "it answers" in said
    assert "AWC-007 failed: Ask, and wait. It was[2J closed." in said
    assert ("[2/2] AWC-007" in said) is terminal
    assert "AWC-001 passed" not in said
