"""The scenarios as a page: ``python -m agentwire.testing.clients.page docs/reference/client-scenarios.md``.

The page is made from the scenarios and rules alone, so that it cannot say anything else; a test compares it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agentwire.testing.clients import RULES, SCENARIOS, Scenario
from agentwire.testing.clients.scenarios import ALWAYS, TOPICS

__all__ = ["main", "render"]

HEAD: Final = """\
# What clients are put through, one by one

Each scenario of {doc}`agentwire conform-client </commands/conform-client>`: what the server does, whether a client has
to finish its task in spite of it, and where it was seen. The numbers are stable: one that is given up is never given to
another scenario.

This page is made from `agentwire.testing.clients` by `python -m agentwire.testing.clients.page`.

## The rules

| rule | what a client does | level | how to get there |
| --- | --- | --- | --- |
"""

_FINISHES: Final = {"must": "must", "should": "should", "need not": "need not: an error will do"}


def render() -> str:
    """The page."""
    lines = [*_rules(), *(line for topic in TOPICS for line in _topic(topic))]
    return HEAD + "\n".join(lines) + "\n"


def _rules() -> Iterator[str]:
    for rule in RULES.values():
        yield f"| {rule.id} | {rule.text} | {rule.level} | {rule.advice} |"
    always = ", ".join(RULES[name].id for name in ALWAYS)
    yield ""
    yield f"{always} are looked at in every scenario. {RULES['takes_what_is_legal'].id} counts where the task must be"
    yield f"finished, {RULES['finishes'].id} where it should be."
    yield ""


def _topic(topic: str) -> Iterator[str]:
    yield f"## {topic}"
    yield ""
    yield "| number | name | what the server does | the task is finished | seen with | needs |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for scenario in SCENARIOS.values():
        if scenario.topic == topic:
            yield f"| {' | '.join(_cells(scenario))} |"
    yield ""


def _cells(scenario: Scenario) -> tuple[str, ...]:
    finishes = "is cancelled" if scenario.cancel_after is not None else _FINISHES[scenario.finishes]
    seen, needs = ", ".join(scenario.reports), ", ".join(scenario.needs)
    return scenario.number, f"`{scenario.name}`", scenario.title, finishes, seen or "-", needs or "-"


def main(path: str) -> None:
    """Write the page."""
    Path(path).write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
