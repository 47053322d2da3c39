"""Words as the engine compares them: lower case, plain stems, one name for each family of verbs.

"Searching", "find" and "grep" are all ``search``; "files" is ``file``. A past form ("listed", "found") of such a verb
tells of something done and asks for nothing, so it is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

__all__ = ["GENERIC", "is_common", "name_words", "significant", "stem", "stems", "word_set", "words"]


def word_set(text: str) -> frozenset[str]:
    """A vocabulary, written as one text."""
    return frozenset(text.split())


_FAMILIES: Final = {
    "search": "search find grep look lookup locate seek query",
    "read": "read open show cat view display print inspect load",
    "list": "list ls enumerate dir",
    "run": "run execute exec shell bash command invoke terminal",
    "write": "write save store create",
    "delete": "delete remove rm erase",
    "edit": "edit modify patch change update",
    "directory": "directory folder",
    "file": "file document",
}
_FAMILY_OF: Final = {word: family for family, members in _FAMILIES.items() for word in members.split()}

GENERIC: Final = word_set("search read list run write delete edit file directory get text data item name use")
"""Stems that say little about which tool is meant: they need support from the values in the text."""

_STOP: Final = word_set(
    "a an and any are as at be by can do does each every for from get fetch give given has have how if in into is it "
    "its make me my of on one or our please return returns set that the their them then there these this those to tool "
    "tools use uses used using was what when where which who will with you your"
)
_PARTS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return [word.lower() for word in _WORD.findall(text)]


def is_common(word: str) -> bool:
    """Whether a lower-case word is no name, even at the start of a sentence."""
    return word in _STOP or word in _FAMILY_OF or stem(word) in GENERIC


def name_words(name: str) -> list[str]:
    """The words of an identifier, cut at ``_``, ``-`` and capitals, in lower case."""
    return [part.lower() for part in _PARTS.findall(name)]


@lru_cache(maxsize=4096)
def stem(word: str) -> str:
    """The stem of one lower-case word, or the name of its family of verbs."""
    if word in _FAMILY_OF:
        return _FAMILY_OF[word]
    for ending, instead in (
        ("ies", "y"),
        ("ied", "y"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("sses", "ss"),
        ("ing", ""),
        ("ed", ""),
    ):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return _checked(word, word.removesuffix(ending) + instead)
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return _FAMILY_OF.get(word[:-1], word[:-1])
    return word


def _checked(word: str, short: str) -> str:
    """The family of the shortened word; a past form stays out of the families."""
    if len(short) > 3 and short[-1] == short[-2] and word.endswith(("ing", "ed")):
        short = short[:-1]
    if word.endswith("ed") and (short in _FAMILY_OF or short + "e" in _FAMILY_OF):
        return word
    return _FAMILY_OF.get(short, _FAMILY_OF.get(short + "e", short))


def stems(text: str) -> tuple[str, ...]:
    """The stems of the words of a text that say something, in order."""
    return tuple(stem(word) for word in words(text) if word not in _STOP)


def significant(parts: Iterable[str]) -> tuple[str, ...]:
    """The stems of a name's words that say something; of all its words if none does. Each once, in order."""
    listed = list(parts)
    return tuple(dict.fromkeys(stem(part) for part in listed if part not in _STOP) or dict.fromkeys(map(stem, listed)))
