"""Values that a step takes from what earlier tools put out: "read each `.py` file that it listed".

Understood are each, every, both, them, those, these, "all of them", "the first three", "the last two", "the first",
"it", "that file", and "of step 2". Which values are meant follows from the noun (file, directory, link, class,
function, number) and from what the tool wants. A pattern (`*.py`), a folder or a quoted text narrows the choice to the
lines of the output that have it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import attrs

from agentwire.engines.builtin.facts import facts_of_json, parse_json
from agentwire.engines.builtin.mentions import NUMBER_WORDS, groups, looks_like_path
from agentwire.engines.builtin.reading import Exchange
from agentwire.engines.builtin.slots import Slot, Want, assign
from agentwire.engines.builtin.toolbox import Offer
from agentwire.engines.builtin.words import word_set, words

__all__ = ["Reference", "reference_in", "targets_in"]

MOST: Final = 32
LONGEST_OUTPUT: Final = 65_536
LONGEST_LINE: Final = 120

_MANY: Final = re.compile(
    r"\b(?:each|every|both|them|those|these|they"
    r"|all (?:of )?(?:them|those|these|the \w+ (?:it|you|that|listed|found)))\b",
    re.IGNORECASE,
)
_COUNTED: Final = re.compile(rf"\b(first|last|top)\s+(\d{{1,2}}|{'|'.join(NUMBER_WORDS)})\b", re.IGNORECASE)
_ONE: Final = re.compile(
    r"\b(?:the (?:first|last|top)(?: \w+)?|it|that (?:file|one|path|url|link|page|result|directory|folder|name))\b",
    re.IGNORECASE,
)
_STEP: Final = re.compile(r"\bsteps?\s+(\d{1,3})\b", re.IGNORECASE)

_NOUNS: Final[dict[Want, frozenset[str]]] = {
    "path": word_set("file files module modules path paths document documents directory directories folder folders"),
    "url": word_set("link links url urls site sites"),
    "query": word_set("class classes function functions name names word words term terms symbol symbols"),
}
_FOLDERS: Final = word_set("directory directories folder folders")
_LANGUAGES: Final = {
    "python": ".py",
    "markdown": ".md",
    "javascript": ".js",
    "typescript": ".ts",
    "rust": ".rs",
    "json": ".json",
}
_PLACE_CUES: Final = word_set("in under inside within from of")
_ELSEWHERE: Final = word_set("for about with to")

_CLASS: Final = re.compile(r"^(?:\S{1,200}:\d{1,6}:)?\s{0,40}(?:export )?class ([A-Za-z_]\w{0,100})\s?[(:{]")
_FUNCTION: Final = re.compile(
    r"^(?:\S{1,200}:\d{1,6}:)?\s{0,40}(?:async |export |pub )?(?:def|function|func|fn) ([A-Za-z_]\w{0,100})\s?[(<]"
)
_URL: Final = re.compile(r"https?://[^\s<>\"'`)\]]{1,500}")
_NUMBER: Final = re.compile(r"(?<![\w.])-?\d{1,15}(?:\.\d{1,10})?(?![\w.])")
_MARKED: Final = re.compile(r"`([^`\n]{1,120})`|\"([^\"\n]{1,120})\"")
_LISTED: Final = re.compile(r"[\w.@+~-]{1,200}/?(?:[\s,|]+[\d.,]+\s?(?:[kKMG]?i?[bB]|bytes|lines)?)*")


@attrs.frozen
class Reference:
    """What a step takes from earlier outputs.

    Attributes:
        slot: where the values go.
        noun: what they are called, in lower case; empty if nothing says it.
        start: index of the first of them that counts; negative from the end.
        most: how many of them, at most.
        step: the number of the step whose outputs are meant; None for the latest that has any.
        globs: patterns of which a value must match one.
        texts: texts that a value, or its line, must contain.
    """

    slot: Slot
    noun: str = ""
    start: int = 0
    most: int = MOST
    step: int | None = None
    globs: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()

    def keeps(self, value: str, line: str) -> bool:
        """Whether the filters let a value through."""
        name = value.rstrip("/")
        globs = not self.globs or any(
            name.endswith(glob) if glob.startswith(".") else fnmatch.fnmatch(name, f"*{glob}") for glob in self.globs
        )
        return globs and all(text in line or text in value for text in self.texts)

    @property
    def folders(self) -> bool:
        """Whether directories are meant, not files."""
        return self.noun in _FOLDERS


def reference_in(text: str, offer: Offer) -> Reference | None:
    """The reference that a step makes for a tool, or None if it makes none."""
    many, counted, one = _MANY.search(text), _COUNTED.search(text), _ONE.search(text)
    match = counted or many or one
    noun = _noun(text, match.end()) if match else ""
    slot = _key_slot(offer, noun) if match else None
    if match is None or slot is None:
        return None
    if match is one and not noun and slot.want not in ("path", "url"):
        return None  # "is it nice in Paris?"
    globs, texts, direct = _filters(text, slot)
    if direct or (slot.want not in ("path", "url") and not noun and slot.path in assign(offer.slots, text).values):
        return None
    start, most = _extent(counted, single=not many)
    step = _STEP.search(text)
    return Reference(slot, noun, start, most, int(step[1]) if step else None, globs, texts)


def targets_in(reference: Reference, exchanges: Iterable[Exchange]) -> tuple[list[Any], int]:
    """The values that earlier outputs have for a reference, and how many more there were than are taken."""
    found: dict[Any, None] = {}
    for exchange in exchanges:
        for value, line in _values(reference, exchange):
            if reference.keeps(str(value), line):
                found.setdefault(value)
    values = list(found)
    if reference.start < 0:
        return values[reference.start :], max(0, len(values) + reference.start)
    return values[: reference.most], max(0, len(values) - reference.most)


def _extent(counted: re.Match[str] | None, *, single: bool) -> tuple[int, int]:
    if counted is None:
        return 0, 1 if single else MOST
    count = NUMBER_WORDS.get(counted[2].lower()) or max(1, int(counted[2]))
    return (-count, count) if counted[1].lower() == "last" else (0, count)


def _noun(text: str, end: int) -> str:
    nouns = frozenset().union(*_NOUNS.values(), {"number", "numbers", "id", "ids"})
    return next((word for word in words(text[max(0, end - 12) : end + 40]) if word in nouns), "")


def _key_slot(offer: Offer, noun: str) -> Slot | None:
    """Where values of that noun go: the slot that wants them, or the first that must be filled."""
    if offer.kind == "custom":
        return Slot((), {}, required=True, kind="string")
    scalar = [slot for slot in offer.slots if slot.kind == "string" and "enum" not in slot.schema]
    wanted = next((want for want, names in _NOUNS.items() if noun in names), None)
    for want in (wanted,) if wanted else ("path", "url"):
        for slot in scalar:
            if slot.want == want:
                return slot
    required = [slot for slot in offer.slots if slot.required and slot.kind in ("string", "number", "integer")]
    return next(iter(required or scalar), None)


def _filters(text: str, slot: Slot) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """Patterns, texts, and whether the text has direct values for the slot, so that nothing is taken from outputs."""
    globs = [_LANGUAGES[word] for word in words(text) if word in _LANGUAGES]
    texts: list[str] = []
    for group in groups(text):
        mention = group[0]
        if mention.kind == "glob":
            globs += [each.text for each in group]
        elif mention.kind in ("path", "url") and slot.want == mention.kind:
            if mention.cue not in _PLACE_CUES or len(group) > 1:
                return (), (), True
            texts += [] if mention.text in (".", "./") else [mention.text]
        elif mention.marked and slot.want in ("path", "url") and mention.cue not in _ELSEWHERE:
            texts.append(mention.text)
    return tuple(globs), tuple(texts), False


def _values(reference: Reference, exchange: Exchange) -> Iterator[tuple[Any, str]]:
    text = exchange.output[:LONGEST_OUTPUT]
    if reference.slot.want == "path" and reference.noun not in _NOUNS["query"]:
        yield from _paths(text, exchange, folders=reference.folders)
    elif reference.noun.startswith("class"):
        yield from _by_line(_CLASS, text)
    elif reference.noun.startswith("function"):
        yield from _by_line(_FUNCTION, text)
    elif reference.slot.want == "url":
        yield from _by_line(_URL, text)
    elif reference.slot.kind != "string":
        for value, line in _by_line(_NUMBER, text):
            yield (float(value) if "." in value else int(value)), line
    else:
        yield from _texts(text)


def _by_line(pattern: re.Pattern[str], text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        for match in pattern.finditer(line):
            yield match[1] if pattern.groups else match[0], line


def _texts(text: str) -> Iterator[tuple[str, str]]:
    marked = [(match[1] or match[2], match[0]) for match in _MARKED.finditer(text)]
    if marked:
        yield from marked
        return
    for line in text.splitlines():
        value = line.strip(" \t-*•").rstrip()
        if value:
            yield value[:LONGEST_LINE], line


def _paths(text: str, exchange: Exchange, *, folders: bool) -> Iterator[tuple[str, str]]:
    found = [(path, line) for path, line in _listed_paths(text) if path.endswith("/") is folders]
    base = exchange.place.rstrip("/")
    known = not base or base == "." or any(path.startswith((f"{base}/", "/")) for path, _ in found)
    for path, line in found:
        yield (path if known else f"{base}/{path}"), line


def _listed_paths(text: str) -> Iterator[tuple[str, str]]:
    value = parse_json(text)
    lines: Sequence[str] = text.splitlines()
    if isinstance(value, list):
        lines = [entry if isinstance(entry, str) else _path_member(entry) for entry in value]
    elif value is not None:
        lists = [member for member in facts_of_json(value).values() if isinstance(member, list)]
        lines = [entry if isinstance(entry, str) else _path_member(entry) for entries in lists for entry in entries]
    for line in lines:
        path = _path_of_line(line.strip(" \t-*•│├└─`'\","))
        if path:
            yield path, line


def _path_member(entry: Any) -> str:
    facts = facts_of_json(entry)
    return next((str(facts[name]) for name in ("path", "file", "filename", "name") if name in facts), "")


def _path_of_line(line: str) -> str | None:
    """The path that a line of a listing or of search results begins with, or the first in it."""
    if _LISTED.fullmatch(line):
        return line.split(maxsplit=1)[0].rstrip(",|")
    for token in line[:1000].split():
        path = token.partition(":")[0].strip("`'\"(),;")
        if looks_like_path(path) and path not in (".", ".."):
            return path
    return None
