"""Which tool a piece of text asks for.

A tool is *named* when its name stands in the text. It is *matched* when the words of its name, or the verb that its
description begins with, are in the text and the text also has the values that its required arguments want. Less than
that is no call: an engine that calls too eagerly is worse than one that answers in words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import attrs

from agentwire.engines.builtin.references import reference_in
from agentwire.engines.builtin.slots import assign, native
from agentwire.engines.builtin.toolbox import Offer
from agentwire.engines.builtin.words import GENERIC, stem, word_set, words

__all__ = ["Hint", "Named", "best", "closest", "named_in", "permitted"]

LONGEST: Final = 1_000
MOST_HINTS: Final = 4
MOST_OCCURRENCES: Final = 20

_ANSWERING: Final = word_set(
    "answer compare conclude describe explain give report say summarise summarize tell thank think"
)
_NEGATION: Final = re.compile(r"\b(?:do not|don['’]t|never|without|instead of|not)\b[^.;,\n]{0,60}$", re.IGNORECASE)  # noqa: RUF001
_NO_TOOLS: Final = re.compile(
    r"\b(?:(?:do not|don['’]t|never) (?:use|call)|without(?: using| calling)?|use no|call no)"  # noqa: RUF001
    r"(?: any| the| your)? (?:tool|function)",
    re.IGNORECASE,
)
_VERBS: Final = word_set("search read list run write delete edit")
_POLITE: Final = word_set("please now then first next finally also and could can would you")
_USED: Final = re.compile(
    r"\b(?:use|using|call|calling|invoke|run|with|via|through)(?: the| a| your)?\s+[`\"']?$", re.IGNORECASE
)


@attrs.frozen
class Named:
    """A tool's name in a text."""

    offer: Offer
    start: int
    end: int


@attrs.frozen
class Hint:
    """How the words of a clause speak for a tool, before its values are looked at.

    Attributes:
        offer: the tool.
        share: the share of the words of its name that are in the clause.
        telling: how many of these say more than "read" or "file" do.
        leads: whether the clause begins with a word of the name, or with what the description begins with.
        lead: that word.
        overlap: how many words of the description are in the clause.
        exact: how many words of the name are in the clause letter for letter ("file" is not "files").
    """

    offer: Offer
    share: float
    telling: int
    leads: bool
    lead: str
    overlap: int
    exact: int

    @classmethod
    def of(cls, offer: Offer, lead: str, said: frozenset[str], have: frozenset[str]) -> Hint | None:
        """The hint for a tool, or None if nothing speaks for it; ``have`` are the stems of what is ``said``."""
        matched = [word for word in offer.words if word in have]
        overlap = len(have.intersection(offer.described))
        leads = lead in offer.words or lead == (*offer.described, "")[0]
        if lead in _VERBS and not leads:
            return None  # "delete the file" is no reason to read it
        if not (matched or leads or overlap >= 3):
            return None
        telling = sum(word not in GENERIC for word in matched)
        exact = len(said.intersection(offer.parts))
        return cls(offer, len(matched) / max(len(offer.words), 1), telling, leads, lead, overlap, exact)

    @property
    def score(self) -> float:
        """How much speaks for the tool."""
        return 4 * self.share + 2 * self.telling + 2 * self.leads + self.exact + 0.3 * min(self.overlap, 5)

    def fits(self, text: str) -> bool:
        """Whether the clause has the values that the tool requires, or takes them from earlier outputs."""
        if reference_in(text, self.offer) is not None:
            return True
        return self.offer.kind != "custom" and native(self.offer.slots, assign(self.offer.slots, text).values)

    def is_clear(self, text: str) -> bool:
        """Whether that is enough for a call."""
        if self.share == 1 and ((self.telling and self.offer.fillable) or (self.leads and self.lead != "run")):
            return True
        return (self.share >= 0.5 or self.leads or self.overlap >= 3) and self.fits(text)


def permitted(message: str, on_offer: Sequence[Offer]) -> tuple[Offer, ...]:
    """The tools that a message does not forbid ("do not use grep", "without tools")."""
    if _NO_TOOLS.search(message):
        return ()
    lowered = message.lower()
    return tuple(offer for offer in on_offer if not _forbidden(message, lowered, offer))


def named_in(text: str, on_offer: Sequence[Offer]) -> list[Named]:
    """The tools that a text names, in order."""
    lowered = text.lower()
    found = [named for offer in on_offer if (named := _named(text, lowered, offer)) is not None]
    found.sort(key=lambda named: (named.start, named.start - named.end))
    apart: list[Named] = []
    for named in found:  # of names that overlap ("read" in "read_file"), the longest
        if not apart or named.start >= apart[-1].end:
            apart.append(named)
    return apart


def best(text: str, on_offer: Sequence[Offer]) -> Offer | None:
    """The tool that a clause clearly matches, or None."""
    said = words(text[:LONGEST])
    lead = next((word for word in said if word not in _POLITE), "")
    if not said or lead in _ANSWERING:
        return None
    have, literal = frozenset(map(stem, said)), frozenset(said)
    hints = [hint for offer in on_offer if (hint := Hint.of(offer, stem(lead), literal, have)) is not None]
    hints.sort(key=lambda hint: -hint.score)
    clear = [hint for hint in hints[:MOST_HINTS] if hint.is_clear(text)]
    return max(clear, key=lambda hint: hint.score + hint.fits(text)).offer if clear else None


def closest(text: str, on_offer: Sequence[Offer], called: Sequence[str]) -> Offer:
    """The tool to call when one must be called: named, or matched, or at least not called yet.

    Args:
        text: the message.
        on_offer: the tools that are allowed; at least one.
        called: the names of the tools that were called since the message.
    """
    fresh = [offer for offer in on_offer if offer.name not in called] or list(on_offer)
    named = named_in(text, fresh)
    if named:
        return named[0].offer
    stems = frozenset(map(stem, words(text)))
    return best(text, fresh) or max(fresh, key=lambda offer: _overlap(offer, stems))


def _forbidden(text: str, lowered: str, offer: Offer) -> bool:
    found = list(_occurrences(lowered, offer))
    return bool(found) and all(_NEGATION.search(text[max(0, start - 80) : start]) for start, _ in found)


def _named(text: str, lowered: str, offer: Offer) -> Named | None:
    for start, end in _occurrences(lowered, offer):
        if _counts(text, offer, start, end):
            return Named(offer, start, end)
    return None


def _occurrences(lowered: str, offer: Offer) -> Iterator[tuple[int, int]]:
    """Where a tool's name stands in a text, the first times."""
    if offer.parts and offer.parts[0] in lowered:
        for match in islice(offer.spelled.finditer(lowered), MOST_OCCURRENCES):
            yield match.span()


def _counts(text: str, offer: Offer, start: int, end: int) -> bool:
    lead = text[max(0, start - 80) : start]
    if set(offer.words) - GENERIC or len(offer.words) > 1:
        return True
    in_ticks = text[start - 1 : start] == "`" == text[end : end + 1]
    return in_ticks or bool(_USED.search(lead)) or text[end : end + 6].lower() == " tool" or text[end : end + 1] == "("


def _overlap(offer: Offer, stems: frozenset[str]) -> float:
    return 2 * len(stems.intersection(offer.words)) + 0.5 * len(stems.intersection(offer.described))
