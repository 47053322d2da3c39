"""The places in a tool's schema that a value can go to, and which mention belongs in which.

A slot wants values of some kinds, by its type and by its name (``path`` wants paths, ``query`` wants quoted text). All
pairs of slot and mention are scored, and the best go together first. Nothing is guessed here: a slot for which the
text has nothing stays empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, Literal

import attrs

from agentwire.engines.builtin.mentions import Group, Kind, Mention, groups
from agentwire.engines.builtin.schema import Path, Schemas, Unfillable, listed, properties_of, types_of
from agentwire.engines.builtin.words import name_words, stem, word_set

__all__ = ["Assignment", "Slot", "Want", "assign", "native", "slots_of"]

Want = Literal[
    "path", "url", "query", "command", "proper", "date", "content", "glob", "expression", "email", "answer", "other"
]

MOST: Final = 24
DEEPEST: Final = 3
ENOUGH_FOR_OPTIONAL: Final = 9

_WANTS: Final[dict[Want, str]] = {
    "path": "path file filename filepath dir directory folder root cwd workdir source src destination dest target "
    "paths files directories folders",
    "url": "url uri link href endpoint site website urls links",
    "glob": "glob include exclude glob_pattern",
    "query": "query pattern q search term keyword regex needle question phrase topic symbol keywords queries",
    "command": "command cmd script shell code sql program commands",
    "expression": "expression formula equation calculation math",
    "proper": "name title city location place country town region person user username author owner customer who where "
    "recipient",
    "date": "date day when time start_date end_date until since deadline",
    "email": "email mail",
    "content": "content body contents data markdown patch diff",
    "answer": "answer result summary output report response conclusion reply explanation findings final_answer",
}
_WANT_OF: Final[dict[str, Want]] = {word: want for want, names in _WANTS.items() for word in names.split()}

_SCORES: Final[dict[Want, dict[Kind, int]]] = {
    "path": {"path": 10, "code": 4, "quoted": 3, "glob": 2, "name": 1},
    "url": {"url": 10},
    "glob": {"glob": 10, "code": 3, "quoted": 3},
    "query": {"quoted": 9, "code": 8, "expression": 2, "glob": 3, "path": 3, "name": 4, "block": 2},
    "command": {"code": 9, "block": 9, "quoted": 7, "path": 3},
    "expression": {"expression": 10, "code": 8, "quoted": 8},
    "proper": {"name": 8, "quoted": 8, "code": 6, "email": 2},
    "date": {"date": 10, "quoted": 4, "name": 4},
    "email": {"email": 10, "name": 2},
    "content": {"block": 9, "quoted": 9, "code": 7},
    "answer": {},
    "other": {
        "quoted": 7,
        "code": 7,
        "block": 5,
        "name": 5,
        "path": 4,
        "url": 4,
        "date": 4,
        "email": 4,
        "expression": 3,
    },
}
_PLACE_CUES: Final = word_set("in into under inside within from at")
_LOOKED_FOR: Final = word_set("for about matching containing contains mentions mention")
_DESTINATION: Final = word_set("destination dest target to")


@attrs.frozen(slots=False)
class Slot:
    """One place for a scalar value, or for a list of them.

    Attributes:
        path: the names of the properties that lead to it.
        schema: its own schema, resolved.
        required: whether a value must be there.
        kind: the JSON type of the value, or of a list's entries.
        many: whether it is a list.
    """

    path: Path
    schema: Mapping[str, Any]
    required: bool
    kind: str
    many: bool = False

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of its name."""
        return tuple(name_words(self.path[-1])) if self.path else ()

    @cached_property
    def stems(self) -> frozenset[str]:
        """The stems of these words."""
        return frozenset(map(stem, self.words))

    @cached_property
    def want(self) -> Want:
        """What its name asks for."""
        name = "_".join(self.words)
        if name in _WANT_OF:
            return _WANT_OF[name]
        return next((_WANT_OF[word] for word in reversed(self.words) if word in _WANT_OF), "other")


def slots_of(schema: Mapping[str, Any]) -> list[Slot]:
    """The slots of a schema whose root is an object, in its order; objects within are entered, required ones first."""
    schemas = Schemas(schema)
    found: list[Slot] = []
    try:
        _collect(schemas, schema, (), found, required=True)
    except (Unfillable, RecursionError):
        return found
    return found[:MOST]


def _collect(schemas: Schemas, schema: Any, path: Path, found: list[Slot], *, required: bool) -> None:
    resolved, nullable = _not_null(schemas, schemas.resolve(schema))
    required = required and (not nullable or not path)
    kind = next((name for name in types_of(resolved) if name != "null"), "string" if path else "object")
    if kind == "object":
        if len(path) < DEEPEST and len(found) < MOST:
            needed = set(map(str, listed(resolved, "required")))
            for name, member in properties_of(resolved).items():
                _collect(schemas, member, (*path, name), found, required=required and name in needed)
    elif kind == "array":
        entry, _ = _not_null(schemas, schemas.resolve(resolved.get("items", True)))
        inner = next(iter(types_of(entry)), "string")
        if inner not in ("object", "array"):
            found.append(Slot(path, resolved, required, inner, many=True))
    else:
        found.append(Slot(path, resolved, required, kind))


def _not_null(schemas: Schemas, schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """The schema of what may be said, alternatives resolved to the first, and whether null may be said instead."""
    options = [schemas.resolve(option) for option in [*listed(schema, "anyOf"), *listed(schema, "oneOf")][:MOST]]
    nullable = any("null" in types_of(option) for option in [schema, *options])
    other = next((option for option in options if types_of(option) != ("null",)), {})
    return {**schema, **other}, nullable


@attrs.frozen
class Assignment:
    """Which values go where, and what is left.

    Attributes:
        values: per slot one value, or several where the text enumerates them.
        left: the groups that found no slot.
    """

    values: dict[Path, list[Any]]
    left: list[Group]


def assign(slots: Sequence[Slot], text: str) -> Assignment:
    """Match the mentions of a text with the slots.

    A mention is used once. A group goes to one slot as a whole, unless other required slots of its kind would stay
    empty; then its values are dealt out ("add 3 and 4" fills ``a`` and ``b``).
    """
    chosen = _named_choices(slots, text)
    found = groups(text)[:MOST]
    free = [slot for slot in slots if slot.path not in chosen]
    taken, used = _best_pairs(free, found)
    _deal_out(free, taken)
    for slot in free:
        if slot.path in taken:
            chosen[slot.path] = [
                mention.text if slot.kind == "string" else mention.value for mention in taken[slot.path]
            ]
    return Assignment(chosen, [group for number, group in enumerate(found) if number not in used])


def _best_pairs(slots: Sequence[Slot], found: Sequence[Group]) -> tuple[dict[Path, Group], set[int]]:
    scored = [
        (-score, number, order)
        for number, group in enumerate(found)
        for order, slot in enumerate(slots)
        if (score := _score(slot, group[0])) > (0 if slot.required else ENOUGH_FOR_OPTIONAL - 1)
    ]
    taken: dict[Path, Group] = {}
    used: set[int] = set()
    for _, number, order in sorted(scored):
        if number not in used and slots[order].path not in taken:
            used.add(number)
            taken[slots[order].path] = found[number]
    return taken, used


def native(slots: Iterable[Slot], chosen: Mapping[Path, Any]) -> bool:
    """Whether the text itself has a value for every required slot, and for one at least."""
    required = [slot for slot in slots if slot.required]
    return bool(required) and all(slot.path in chosen for slot in required)


def _named_choices(slots: Sequence[Slot], text: str) -> dict[Path, list[Any]]:
    """What the text says by its words alone: the options of an enum, and booleans ("recursively", "not hidden")."""
    lowered = text.lower()
    said = [stem(word) for word in name_words(text)] if any(slot.kind == "boolean" for slot in slots) else []
    chosen: dict[Path, list[Any]] = {}
    for slot in slots:
        options = [option for option in listed(slot.schema, "enum") if isinstance(option, str) and option]
        named = [option for option in options[:200] if _has_word(lowered, option.lower())]
        if named and not slot.many:
            chosen[slot.path] = named[:1]
        elif slot.kind == "boolean" and not slot.many and slot.words:
            at = next((i for i, word in enumerate(said) if _same_word(word, stem(slot.words[-1]))), None)
            if at is not None:
                chosen[slot.path] = [not {"not", "no", "non", "without", "never"} & set(said[max(0, at - 2) : at])]
    return chosen


def _has_word(text: str, word: str) -> bool:
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        if not text[at - 1 : at].isalnum() and not text[end : end + 1].isalnum():
            return True
        at = text.find(word, at + 1)
    return False


def _same_word(one: str, other: str) -> bool:
    return one == other or (len(other) > 4 and one.removesuffix("ly").startswith(other[:-1]))


def _score(slot: Slot, mention: Mention) -> int:
    """How well a mention suits a slot; 0 or less if it does not."""
    adjacent = bool(mention.before) and stem(mention.before) in slot.stems
    follows = bool(mention.after) and stem(mention.after) in slot.stems
    if slot.kind in ("number", "integer"):
        if mention.kind != "number" or (slot.kind == "integer" and not isinstance(mention.value, int)):
            return 0
        return 5 + 8 * adjacent + 6 * follows
    if slot.kind != "string" or "enum" in slot.schema or "const" in slot.schema:
        return 0
    if mention.kind == "number":
        return 8 * adjacent + (4 if {"id", "number", "code", "zip"} & set(slot.words) else 0)
    base = _SCORES[slot.want].get(mention.kind, 0)
    if base == 0:
        return 8 if adjacent and mention.kind != "block" else 0
    return base + 8 * adjacent + _cue_score(slot, mention)


def _cue_score(slot: Slot, mention: Mention) -> int:
    is_token = mention.kind in ("code", "quoted") and " " not in mention.text
    if mention.cue in _PLACE_CUES:
        if slot.want == "path":
            return 9 if is_token else 3
        return -3 if slot.want == "query" else 0
    if mention.cue in _LOOKED_FOR:
        return 3 if slot.want == "query" else -3 if slot.want == "path" else 0
    if mention.cue == "to" and _DESTINATION & set(slot.words):
        return 3
    return 0


def _deal_out(slots: Sequence[Slot], taken: dict[Path, Group]) -> None:
    for empty in slots:
        if not empty.required or empty.many or empty.path in taken:
            continue
        rich = [slot for slot in slots if len(taken.get(slot.path, ())) > 1 and not slot.many]
        for slot in rich:
            if (slot.kind == "string") is (empty.kind == "string") and (
                slot.want == empty.want or slot.kind != "string"
            ):
                first, *rest = taken[slot.path]
                taken[slot.path], taken[empty.path] = (first,), tuple(rest)
                break
