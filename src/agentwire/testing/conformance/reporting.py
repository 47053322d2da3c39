"""Results of cases as rows of a report: a rule that was not kept is called by how binding it is.

Where a case could not tell which of its rules was broken, the most binding of them counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from agentwire.testing.conformance.advice import ADVICE
from agentwire.testing.conformance.registry import CASES, Case
from agentwire.testing.conformance.rules import RULES, SOURCES, TOPICS, Profile
from agentwire.testing.conformance.runner import Result
from agentwire.testing.report import LEVELS, Level, Reference, Row

__all__ = ["level_of", "references_of", "row_of", "topic_of"]

_TITLES: Final[Mapping[str, str]] = {rule.id: topic.title for topic in TOPICS for rule in topic.rules}
_ORDER: Final[tuple[Level, ...]] = ("must", "should", "choice")
_FIRST: Final = 30
_LAST: Final = 90


def topic_of(case: Case) -> str:
    """Under which heading a case is told: that of the rule that it is about."""
    return _TITLES[case.rules[0]]


def references_of(case: Case, profile: Profile) -> tuple[Reference, ...]:
    """The rules that a case proves in a dialect, with their sources in words."""
    return tuple(
        Reference(
            id=rule.id,
            text=rule.text,
            sources=[SOURCES[name] for name in rule.sources],
            level=rule.level_in(profile),
        )
        for rule in (RULES[name] for name in case.rules)
        if profile in rule.profiles
    )


def level_of(case: Case, profile: Profile, rule: str | None = None) -> Level:
    """How binding a rule is in a dialect; without one, the most binding of a case's rules that hold there."""
    names = (rule,) if rule else [name for name in case.rules if profile in RULES[name].profiles] or case.rules
    return min((RULES[name].level_in(profile) for name in names), key=_ORDER.index)


def row_of(result: Result, profile: Profile) -> Row:
    """What came of a case, for a report."""
    case = result.case
    verdict = LEVELS[level_of(case, profile, result.rule)] if result.verdict == "failed" else result.verdict
    return Row(
        number=case.number,
        name=case.name,
        topic=topic_of(case),
        title=case.title,
        verdict=verdict,
        rules=references_of(case, profile),
        broken=(result.rule,) if result.rule else (),
        why=result.why,
        advice=_advice(case),
        evidence=_shortened(result.evidence),
        seconds=round(result.seconds, 3),
    )


def _advice(case: Case) -> str:
    """What to do about a failure; nothing for a case that is not of this package."""
    found = ADVICE.get(int(case.number.removeprefix("AWC-")))
    return found.mend if found is not None and CASES.get(case.name) is case else ""


def _shortened(lines: Sequence[str]) -> tuple[str, ...]:
    """How it began and how it ended, if there is very much of it."""
    if len(lines) <= _FIRST + _LAST:
        return tuple(lines)
    return (*lines[:_FIRST], f"          ... {len(lines) - _FIRST - _LAST} lines ...", *lines[-_LAST:])
