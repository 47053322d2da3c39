"""Which scenarios are meant by a few words: numbers, ranges of them, names and topics."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from agentwire.testing.clients.scenarios import SCENARIOS, Scenario

__all__ = ["select"]

_NUMBERS: Final = re.compile(r"(?:AWK-)?(\d+)(?:-(?:AWK-)?(\d+))?", re.IGNORECASE)


def select(only: Iterable[str] = (), skip: Iterable[str] = ()) -> list[Scenario]:
    """The scenarios, in order.

    Args:
        only: words for those that are meant; all if there are none.
        skip: words for those that are left out.

    Raises:
        ValueError: a word means nothing.
    """
    wanted, unwanted = list(map(_meaning, only)), list(map(_meaning, skip))
    return [
        scenario
        for scenario in SCENARIOS.values()
        if (not wanted or any(means(scenario) for means in wanted)) and not any(means(scenario) for means in unwanted)
    ]


def _meaning(word: str) -> Callable[[Scenario], bool]:
    numbers = _NUMBERS.fullmatch(word)
    if numbers:
        first = int(numbers[1])
        last = int(numbers[2] or first)
        means: Callable[[Scenario], bool] = lambda scenario: first <= int(scenario.number[-3:]) <= last  # noqa: E731
    else:
        said = word.lower()
        means = lambda scenario: scenario.name == said or said in scenario.topic.lower()  # noqa: E731
    if not any(means(scenario) for scenario in SCENARIOS.values()):
        raise ValueError(f"{word!r} is no number, name or topic of a scenario; --list shows them")
    return means
