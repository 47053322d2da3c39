"""Reports as pages of the documentation: ``python tools/reports.py NAME=report.json ... docs/project/reports``.

A page keeps what `agentwire conform --json` and `agentwire conform-client --json` have found and leaves the frames out:
a table by topic, and a line for each check that did not pass, which links to the case's own page. With
``NAME=report.json+more.json+...`` the rows of runs of single cases, such as those that take minutes, stand for its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from agentwire.testing.report import VERDICTS, Report, Row, Tally, Verdict, from_json

COLUMNS: Final[tuple[Verdict, ...]] = ("passed", "failed", "fell short", "differs", "not applicable")
LONGEST: Final = 240


def page(name: str, report: Report, more: Sequence[Report] = ()) -> str:
    """One report, without its frames, with what single cases have added to it."""
    alone = {row.number: row for one in more for row in one.rows}
    rows = {row.number: row for row in report.rows} | alone
    whole = attrs.evolve(report, rows=tuple(rows.values()))
    return "\n".join((f"# {name}", "", *_facts(whole, sorted(alone)), *_table(whole), *_verdicts(whole)))


def _facts(report: Report, alone: Sequence[str]) -> Iterator[str]:
    yield f"{Tally.of(report.rows)}; {report.seconds:.0f} s, {report.started_at[:10]}, agentwire {report.version}."
    yield ""
    profile = f", profile `{report.profile}`" if report.profile else ""
    yield f"Looked at was a {report.kind}{profile}:"
    yield ""
    yield "```text"
    yield f"{report.options.get('start') or report.subject}"
    yield "```"
    yield ""
    if report.found:
        yield "What the run found out by itself:"
        yield ""
        yield from (f"- {fact}" for fact in report.found)
        yield ""
    if alone:
        yield f"Run one by one, with more time: {', '.join(alone)}."
        yield ""


def _table(report: Report) -> Iterator[str]:
    yield f"| | {' | '.join(COLUMNS)} |"
    yield f"| --- |{' --: |' * len(COLUMNS)}"
    for topic in dict.fromkeys(row.topic for row in report.rows):
        tally = Tally.of(row for row in report.rows if row.topic == topic)
        yield f"| {topic} | {' | '.join(str(tally.count(verdict) or '') for verdict in COLUMNS)} |"
    yield ""


def _verdicts(report: Report) -> Iterator[str]:
    for verdict, meaning in VERDICTS.items():
        rows = [row for row in report.rows if row.verdict == verdict]
        if verdict == "passed" or not rows:
            continue
        yield f"## {verdict.capitalize()}: {meaning}"
        yield ""
        yield "| check | what was done | what was seen instead |"
        yield "| --- | --- | --- |"
        yield from (f"| {_link(report, row)} | {_cell(row.title)} | {_cell(row.why)} |" for row in rows)
        yield ""


def _link(report: Report, row: Row) -> str:
    if report.kind == "server":
        return f"[{row.number}](../../conformance/{row.number}.md)"
    return row.number


def _cell(text: str) -> str:
    """A text as it can stand in a table."""
    line = " ".join(text.split())
    line = line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
    for sign in "\\|<*_[`$":
        line = line.replace(sign, f"\\{sign}")
    return line


def main(*words: str) -> None:
    """Write a page for each report, and name it for its file."""
    *given, folder = words
    for word in given:
        name, _, file = word.rpartition("=")
        paths = [Path(path) for path in file.split("+")]
        report, *more = [from_json(path.read_text(encoding="utf-8")) for path in paths]
        (Path(folder) / f"{paths[0].stem}.md").write_text(page(name, report, more), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
