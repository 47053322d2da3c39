"""Which cases a run is about, from the words that people have for them: numbers, names, rules and topics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final

from agentwire.testing.conformance.registry import CASES, Case
from agentwire.testing.conformance.rules import RULES, TOPICS
from agentwire.testing.conformance.runner import in_order

__all__ = ["select"]

_RANGE: Final = re.compile(r"(?:AWC-?)?(\d+)(?:-(?:AWC-?)?(\d+))?", re.IGNORECASE)


def select(only: Iterable[str] = (), skip: Iterable[str] = ()) -> list[Case]:
    """The cases that are meant, in the order of a run.

    Args:
        only: each a number (``AWC-017``, ``17``), a range (``17-25``), a case's name, a rule (``AW-S-012``), or a
            topic by its title or letter (``lanes``, ``L``); everything if there are none.
        skip: the same, of what is left out.

    Raises:
        ValueError: a word means no case.
    """
    wanted = {name for word in only for name in _meant(word)} if (only := tuple(only)) else CASES.keys()
    unwanted = {name for word in skip for name in _meant(word)}
    return [case for case in in_order() if case.name in wanted and case.name not in unwanted]


def _meant(word: str) -> set[str]:
    found = {case.name for case in CASES.values() if _means(word.strip(), case)}
    if not found:
        close = get_close_matches(word.lower(), list(_known()), n=1)
        hint = f"; is {close[0]!r} meant?" if close else ""
        raise ValueError(f"{word!r} is no case's number or name, no rule that a case shows, and no topic{hint}")
    return found


def _means(word: str, case: Case) -> bool:
    if span := _RANGE.fullmatch(word):
        first, last = int(span[1]), int(span[2] or span[1])
        return first <= int(case.number.removeprefix("AWC-")) <= last
    if word.upper() in RULES:
        return word.upper() in case.rules
    letter = case.rules[0].split("-")[1]
    title = next(topic.title for topic in TOPICS if topic.letter == letter)
    return word == case.name or word.upper() == letter or word.lower() == title.lower()


def _known() -> Iterator[str]:
    yield from CASES
    yield from (topic.title.lower() for topic in TOPICS)
    yield from (rule.lower() for rule in RULES)
