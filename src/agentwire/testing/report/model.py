"""What a report says: who was looked at, how, and a row for each numbered check with its verdict and evidence.

Verdicts tell apart what breaks others from what is worse than it could be, and from what is merely another choice; only
the first makes a report fail, unless it is read strictly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

import attrs

from agentwire._version import __version__

__all__ = ["LEVELS", "VERDICTS", "Level", "Reference", "Report", "Row", "Tally", "Verdict", "without_secrets"]

Verdict = Literal["passed", "failed", "fell short", "differs", "not applicable"]
Level = Literal["must", "should", "choice"]
Kind = Literal["server", "client"]

VERDICTS: Final[Mapping[Verdict, str]] = {
    "failed": "it does what others cannot live with",
    "fell short": "it does less than is expected, and those around it get worse",
    "differs": "the sources leave it open, and it chose otherwise than agentwire",
    "passed": "it does what the rules say",
    "not applicable": "it could not be looked at; the row says what is missing",
}
"""The verdicts, those that need attention first."""

LEVELS: Final[Mapping[Level, Verdict]] = {"must": "failed", "should": "fell short", "choice": "differs"}
"""What it is called not to keep a rule, by how binding the rule is."""

_SHORTEST: Final = 4  # what is shorter than this protects nothing, and stands in every other word


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@attrs.frozen(kw_only=True)
class Reference:
    """A rule that a row is about.

    Attributes:
        id: stable, such as ``AW-S-012``.
        text: the rule in a sentence.
        sources: where it comes from, in words, the weightiest first.
        level: how binding it is.
    """

    id: str
    text: str
    sources: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    level: Level = "must"


def _references(values: Iterable[Reference]) -> tuple[Reference, ...]:
    return tuple(values)


@attrs.frozen(kw_only=True)
class Row:
    """What came of one check.

    Attributes:
        number: stable, and never given to another check, such as ``AWC-017``.
        name: in code, such as ``members_come_in_any_order``.
        topic: under which heading it is told.
        title: what was done, in a line.
        verdict: one of `VERDICTS`.
        rules: what it is about; the first is the weightiest.
        broken: ids of the rules that were not kept, where that is known; some of `rules`.
        why: what was seen instead, or what is missing; empty if it passed.
        advice: how to mend it; empty if nobody knows.
        evidence: lines of what went over the wire, and of what was printed, in order.
        seconds: how long it took.
    """

    number: str
    name: str
    topic: str
    title: str
    verdict: Verdict
    rules: tuple[Reference, ...] = attrs.field(default=(), converter=_references)
    broken: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    why: str = ""
    advice: str = ""
    evidence: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    seconds: float = 0.0

    @property
    def told(self) -> tuple[Reference, ...]:
        """The rules that a failure is told with: those that were broken, or else all."""
        return tuple(rule for rule in self.rules if rule.id in self.broken) or self.rules


@attrs.frozen(kw_only=True)
class Tally:
    """How many rows have which verdict."""

    passed: int = 0
    failed: int = 0
    fell_short: int = 0
    differs: int = 0
    not_applicable: int = 0

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Tally:
        """Count rows."""
        counts = dict.fromkeys((name.replace(" ", "_") for name in VERDICTS), 0)
        for row in rows:
            counts[row.verdict.replace(" ", "_")] += 1
        return cls(**counts)

    def count(self, verdict: Verdict) -> int:
        """Those with this verdict."""
        number: int = getattr(self, verdict.replace(" ", "_"))
        return number

    def __str__(self) -> str:
        said = [f"{self.count(verdict)} {verdict}" for verdict in ("passed", *VERDICTS) if self.count(verdict)]
        return ", ".join(dict.fromkeys(said)) or "nothing was run"


def _rows(values: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(values)


@attrs.frozen(kw_only=True)
class Report:
    """What came of one run.

    Attributes:
        kind: of what is looked at.
        subject: its URL, or the command that starts it.
        profile: the dialect of the run; empty where there is none.
        started_at: date and time in UTC, as ISO 8601.
        seconds: how long the run took.
        options: what was asked for, by name; never a key.
        found: what the run found out by itself, in sentences.
        complete: whether every check that was asked for has its row; otherwise the run was stopped.
        version: of agentwire.
        rows: in the order of the run.
    """

    kind: Kind
    subject: str
    profile: str = ""
    started_at: str = ""
    seconds: float = 0.0
    options: Mapping[str, str] = attrs.field(factory=dict)
    found: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    complete: bool = True
    version: str = __version__
    rows: tuple[Row, ...] = attrs.field(default=(), converter=_rows)

    @property
    def tally(self) -> Tally:
        """All rows, counted."""
        return Tally.of(self.rows)

    def topics(self) -> dict[str, tuple[Row, ...]]:
        """The rows by topic, in the order in which topics appear."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.topic, []).append(row)
        return {topic: tuple(rows) for topic, rows in found.items()}

    def having(self, *verdicts: Verdict) -> tuple[Row, ...]:
        """The rows with one of these verdicts."""
        return tuple(row for row in self.rows if row.verdict in verdicts)

    def good(self, *, strict: bool = False) -> bool:
        """Whether nothing failed; read strictly, whether nothing fell short either."""
        return not self.having("failed", *(("fell short",) if strict else ()))


def without_secrets(report: Report, secrets: Iterable[str]) -> Report:
    """The same report with every occurrence of these texts blotted out, where it repeats what was seen or typed."""
    hidden = sorted((secret for secret in secrets if len(secret) >= _SHORTEST), key=len, reverse=True)

    def clean(text: str) -> str:
        for secret in hidden:
            text = text.replace(secret, "[key]")
        return text

    if not hidden:
        return report
    rows = [
        attrs.evolve(row, why=clean(row.why), evidence=tuple(clean(line) for line in row.evidence))
        for row in report.rows
    ]
    return attrs.evolve(
        report,
        rows=rows,
        subject=clean(report.subject),
        found=tuple(clean(line) for line in report.found),
        options={name: clean(value) for name, value in report.options.items()},
    )
