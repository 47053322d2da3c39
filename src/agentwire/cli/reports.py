"""Reports in the terminal and in files: a table by topic, and what a person needs to act on what did not pass.

stdout has the report, stderr what goes on; files are looked at before a long run, so that none is for nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Self

import attrs
from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agentwire.cli.failures import FAILED, OK, UserError
from agentwire.cli.terminal import clean
from agentwire.testing.report import VERDICTS, Reference, Report, Row, Tally, Verdict, to_html, to_json

__all__ = ["STYLES", "ReportFiles", "ReportProgress", "exit_code", "print_report"]

STYLES: Final[Mapping[Verdict, str]] = {
    "failed": "bold red",
    "fell short": "yellow",
    "differs": "blue",
    "passed": "green",
    "not applicable": "dim",
}
"""How verdicts are shown."""

EVIDENCE: Final = 30
"""Lines of evidence that are shown of a check, unless all are asked for."""
RULES: Final = 3
"""Rules that are told of a check that may have broken any of more, unless all are asked for."""
DEEP: Final = 9
DEEPER: Final = 11
"""Columns by which what belongs to a row is indented, and its evidence."""
LINE: Final = 300
"""Characters of a line of evidence that are shown, unless all are asked for."""
WIDTH: Final = 120
"""Columns where there is no terminal."""

_COLUMNS: Final[tuple[Verdict, ...]] = ("passed", "failed", "fell short", "differs", "not applicable")
_ASIDE: Final = re.compile(r" \(|: |, which ")  # what a source says of itself beyond its name


def exit_code(report: Report, *, strict: bool = False) -> int:
    """What a command ends with: 0 if all was run and nothing failed, and, read strictly, nothing fell short."""
    return OK if report.complete and report.good(strict=strict) else FAILED


@attrs.frozen(kw_only=True)
class ReportFiles:
    """Where a report is written.

    Attributes:
        json: path of the JSON; ``-`` is stdout, instead of what a person reads.
        html: path of the page.
    """

    json: str | None = None
    html: str | None = None

    @property
    def stdout_is_taken(self) -> bool:
        """Whether stdout is for the JSON."""
        return self.json == "-"

    def check(self) -> None:
        """See that they can be written.

        Raises:
            UserError: one cannot.
        """
        for option, name in (("--json", self.json), ("--html", self.html)):
            if name is None or (name == "-" and option == "--json"):
                continue
            path = Path(name)
            folder = path.parent
            if path.is_dir() or not folder.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
                raise UserError(f"{option}: {name} cannot be written")

    def write(self, report: Report) -> None:
        """Write them.

        Raises:
            UserError: one cannot be written.
        """
        if self.stdout_is_taken:
            print(to_json(report), end="")
        try:
            if self.json is not None and not self.stdout_is_taken:
                Path(self.json).write_text(to_json(report), encoding="utf-8")
            if self.html is not None:
                Path(self.html).write_text(to_html(report), encoding="utf-8")
        except OSError as error:
            raise UserError(f"the report cannot be written: {error}") from error


@attrs.define
class ReportProgress:
    """What goes on, on stderr: a line that changes in a terminal, and a line that stays for what did not pass.

    Attributes:
        total: how many checks there will be.
        console: where.
    """

    total: int
    console: Console = attrs.field(factory=lambda: Console(stderr=True, highlight=False))
    _done: list[Row] = attrs.field(factory=list)
    _live: Live | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(console=self.console, transient=True, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def note(self, text: str) -> None:
        """A line that stays."""
        self.console.print(Text(clean(text), style="dim"), soft_wrap=True)

    def begin(self, number: str, title: str) -> None:
        """A check begins."""
        if self._live is not None:
            tally = Tally.of(self._done)
            line = Text(
                f"[{len(self._done) + 1}/{self.total}] {number} {clean(title)}", overflow="ellipsis", no_wrap=True
            )
            self._live.update(Text("\n").join((line, Text(str(tally), style="dim"))), refresh=True)

    def end(self, row: Row) -> None:
        """A check is over."""
        self._done.append(row)
        if row.verdict in ("failed", "fell short", "differs"):
            line = Text(f"{row.number} ")
            line.append(row.verdict, style=STYLES[row.verdict])
            ended = row.title if row.title.endswith((".", "?")) else f"{row.title}:"
            line.append(f": {clean(ended)} {clean(row.why)}")
            self.console.print(line, soft_wrap=not self.console.is_terminal)


def print_report(
    report: Report,
    *,
    full: bool = False,
    found: bool = True,
    hints: Mapping[str, str] | None = None,
    console: Console | None = None,
) -> None:
    """Print a report for a person.

    Args:
        report: what came of the run.
        full: all evidence, and what is merely another choice in as many words as a failure.
        found: what the run found out, too.
        hints: of what a row that was not applicable lacks, by a part of its text: what to do about it.
        console: where; stdout if left out.
    """
    console = console or _stdout()
    for sentence in report.found if found else ():
        console.print(Text(clean(f"{report.subject}: {sentence}"), style="dim"), soft_wrap=True)
    console.print(_table(report))
    for verdict in ("failed", "fell short", "differs"):
        _print_rows(console, report.having(verdict), verdict, full=full)
    _print_missing(console, report.having("not applicable"), hints or {})
    console.print(_judgement(report), soft_wrap=True)


def _stdout() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH, color_system=None)


def _table(report: Report) -> Table:
    shown = [verdict for verdict in _COLUMNS if report.tally.count(verdict)]
    table = Table(box=None, pad_edge=False, show_footer=True)
    table.add_column("", footer="all")
    for verdict in shown:
        count = str(report.tally.count(verdict))
        table.add_column(Text(verdict, style=STYLES[verdict]), justify="right", footer=count)
    for topic, rows in report.topics().items():
        tally = Tally.of(rows)
        cells = [
            Text(str(tally.count(each) or "."), style=STYLES[each] if tally.count(each) else "dim") for each in shown
        ]
        table.add_row(Text(clean(topic)), *cells)
    return table


def _print_rows(console: Console, rows: Iterable[Row], verdict: Verdict, *, full: bool) -> None:
    for place, row in enumerate(rows):
        if not place:
            console.print(Text(f"\n{verdict.upper()}", style=STYLES[verdict]).append(f": {VERDICTS[verdict]}", "dim"))
        console.print()
        short = verdict == "differs" and not full
        for indent, line in _row(row, short=short, full=full):
            _print_indented(console, indent, line)


def _print_indented(console: Console, indent: int, line: Text) -> None:
    """In a terminal folded within its indentation; elsewhere a line is a line."""
    if console.is_terminal:
        console.print(Padding(line, (0, 0, 0, indent)))
    else:
        console.print(Text("\n").join(Text(" " * indent) + part for part in line.split("\n")), soft_wrap=True)


def _row(row: Row, *, short: bool, full: bool) -> Iterator[tuple[int, Text]]:
    """The lines of a row, each with its indentation."""
    yield 0, Text(f"{row.number}  {clean(row.title)}", style="bold")
    yield DEEP, Text(clean(row.why), style=STYLES[row.verdict])
    if short:
        yield from ((DEEP, Text(f"{rule.id}: {rule.text}", style="dim")) for rule in row.told[:1])
        return
    told = row.told if full else row.told[:RULES]
    yield from ((DEEP, Text(_rule(rule))) for rule in told)
    if len(told) < len(row.told):
        yield DEEP, Text(f"and, as it belongs together, {', '.join(rule.id for rule in row.told[RULES:])}")
    if row.advice:
        yield DEEP, Text(f"What to do: {row.advice}")
    lines = row.evidence if full else row.evidence[-EVIDENCE:]
    if len(lines) < len(row.evidence):
        left_out = len(row.evidence) - len(lines)
        yield DEEPER, Text(f"... {left_out} lines before; --full, --html and --json have them", style="dim")
    for line in lines:
        cut = line if full or len(line) <= LINE else f"{line[:LINE]}..."
        yield DEEPER, Text(clean(cut).rstrip(), style="dim")


def _rule(rule: Reference) -> str:
    sources = (_ASIDE.split(source)[0] for source in rule.sources)
    return f"{rule.id} ({'; '.join((rule.level, *sources))}): {rule.text}"


def _print_missing(console: Console, rows: Iterable[Row], hints: Mapping[str, str]) -> None:
    """What was not applicable, by what was missing."""
    missing: dict[str, list[str]] = {}
    for row in rows:
        missing.setdefault(row.why, []).append(row.number)
    if missing:
        console.print(Text("\nNOT APPLICABLE", style="dim"))
    for why, numbers in missing.items():
        hint = "; ".join(dict.fromkeys(said for part, said in hints.items() if part in why))
        line = f"{clean(why)}{f' ({hint})' if hint else ''}: {', '.join(numbers)}"
        console.print(Text(line, style="dim"), soft_wrap=not console.is_terminal)


def _judgement(report: Report) -> Text:
    stopped = "" if report.complete else "; the run ended early"
    worst: Verdict = next((verdict for verdict in VERDICTS if report.tally.count(verdict)), "not applicable")
    return (
        Text(f"\n{report.subject}: ")
        .append(str(report.tally), STYLES[worst])
        .append(f", {report.seconds:.1f} s{stopped}")
    )
