"""From a text and a tool's schema to the calls that the text asks for.

Values come, in this order, from the mentions that suit a slot, from named facts, and for a required slot from what is
left over, or from the plainest value that the schema allows. Where the text enumerates values for one slot ("read
`a`, `b` and `c`") there is one call for each.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from agentwire.engines.builtin.filling import fill
from agentwire.engines.builtin.mentions import groups
from agentwire.engines.builtin.pattern import Steps, Unsupported, compile_pattern
from agentwire.engines.builtin.schema import Path, Schemas, Unfillable
from agentwire.engines.builtin.slots import Assignment, Slot, assign, slots_of
from agentwire.engines.builtin.toolbox import Offer
from agentwire.engines.builtin.words import stem, word_set, words

__all__ = ["MOST_CALLS", "Context", "Job", "jobs_for", "object_of", "structured"]

MOST_CALLS: Final = 64
LONGEST: Final = 200

_PLACE: Final = re.compile(r"\b(?:in|under|inside|within)\s+(?:the\s+)?(?P<name>[\w.-]{1,100})", re.IGNORECASE)
_NO_PLACES: Final = word_set(
    "repository repo project parallel order turn it them this that these those general detail details full total all "
    "each every short one two three step here there current root directory folder and which a an my your our"
)
_HARMLESS: Final[Mapping[str, str]] = {"command": "true", "path": "note.txt"}
"""What a shell runs and an editor writes, where a call is demanded and the text says nothing of it."""
_LEADING: Final = word_set(
    "a about an and any are at by call can check could did do does finally first for from get give go how i in is it "
    "its know like look me my need next now of on our please show tell that the their then this to us use using want "
    "was we what what's when where which who why will with would you your"
)


@attrs.frozen
class Context:
    """What else values can come from.

    Attributes:
        facts: named values of the conversation.
        answer: what the engine would say by itself, for a slot that asks for the answer.
    """

    facts: Mapping[str, Any] = attrs.field(factory=dict)
    answer: Callable[[], str] = str


@attrs.frozen
class Job:
    """One call to make: the tool, and its JSON arguments or its free text."""

    offer: Offer
    arguments: Mapping[str, Any] | str


def jobs_for(offer: Offer, text: str, context: Context, targets: tuple[Slot, Sequence[Any]] | None = None) -> list[Job]:
    """The calls of one tool that a text asks for; at least one, unless ``targets`` is given and empty.

    Args:
        offer: the tool.
        text: what is asked, such as one step of a plan.
        context: where missing values come from.
        targets: a slot, and the values for it that come from earlier outputs.
    """
    if offer.kind == "custom":
        values = [str(value) for value in targets[1]] if targets else _free_texts(offer, text)
        return [Job(offer, value) for value in values[:MOST_CALLS]]
    slots = [slot for slot in offer.slots if targets is None or slot.path != targets[0].path]
    assignment = assign(slots, text)
    values_of = dict(assignment.values)
    for slot in slots:
        if slot.required and slot.kind == "string" and slot.path not in values_of and "enum" not in slot.schema:
            values_of[slot.path] = [_missing(slot, offer, text, context, assignment)]
    _from_facts([slot for slot in slots if slot.required], values_of, assignment, context.facts)
    if targets is not None:
        values_of[targets[0].path] = list(targets[1])
    return [Job(offer, arguments) for arguments in _combinations(offer, values_of)]


def structured(schema: Mapping[str, Any], text: str, context: Context) -> Any:
    """A value that a schema allows, filled from the text and the context where names match.

    Raises:
        Unfillable: no value was found.
    """
    slots = slots_of(schema)
    assignment = assign(slots, text)
    chosen = {path: values for path, values in assignment.values.items() if values}
    _from_facts(slots, chosen, assignment, context.facts)
    for slot in slots:
        if slot.want == "answer" and slot.path not in chosen and slot.kind == "string":
            chosen[slot.path] = [context.answer()]
    many = {slot.path for slot in slots if slot.many}
    return fill(schema, {path: values if path in many else values[0] for path, values in chosen.items()})


def object_of(text: str, skip: Iterable[str] = ()) -> str:
    """What a request is about: the text without its verbs, articles and prepositions in front.

    Args:
        text: such as "search for open nurseries".
        skip: stems to pass over, such as the words of the tool's name.
    """
    passed = frozenset(skip)
    rest = text[: 8 * LONGEST].strip()
    while True:
        head, _, tail = rest.partition(" ")
        said = words(head)
        if not tail.strip() or not all(word in _LEADING or stem(word) in passed for word in said):
            break
        rest = tail.strip()
    return rest.strip(" .,:;!?\"'`")[:LONGEST] or text.strip()[:LONGEST]


def _from_facts(
    slots: Sequence[Slot], values_of: dict[Path, list[Any]], assignment: Assignment, facts: Mapping[str, Any]
) -> None:
    """A fact of the same name beats whatever was only left over or plain."""
    for slot in slots:
        name = "_".join(slot.words)
        if slot.path not in assignment.values and name in facts and Schemas(slot.schema).fits(slot.schema, facts[name]):
            values_of[slot.path] = list(facts[name]) if slot.many else [facts[name]]


def _missing(slot: Slot, offer: Offer, text: str, context: Context, assignment: Assignment) -> Any:
    """A text for a required slot for which there is none that suits it."""
    if offer.kind == "formed" and slot.want in _HARMLESS:
        return _HARMLESS[slot.want]
    if slot.want == "answer":
        return context.answer()
    if slot.want == "path":
        return _place(text) or "."
    for group in assignment.left:
        if group[0].kind != "number":
            assignment.left.remove(group)
            return group[0].text
    return object_of(text, offer.words)


def _place(text: str) -> str | None:
    for match in _PLACE.finditer(text):
        name = match["name"].rstrip(".")
        if name.lower() not in _NO_PLACES:
            return name
    return None


def _combinations(offer: Offer, values_of: Mapping[Path, Sequence[Any]]) -> list[Mapping[str, Any]]:
    many = {slot.path for slot in offer.slots if slot.many}
    paths = list(values_of)
    lists = [[list(values_of[path])] if path in many else list(values_of[path]) for path in paths]
    made = itertools.islice(itertools.product(*lists), MOST_CALLS)
    return [_arguments(offer, dict(zip(paths, combination, strict=True))) for combination in made]


def _arguments(offer: Offer, chosen: Mapping[Path, Any]) -> Mapping[str, Any]:
    for path, value in chosen.items():
        if path[-1:] == ("command",) and isinstance(value, list) and len(value) == 1:
            chosen = {**chosen, path: ["bash", "-lc", value[0]]}  # a list here is an argument vector
    try:
        filled = fill({"type": "object", **offer.parameters}, chosen)
    except Unfillable:
        return {}
    return filled if isinstance(filled, Mapping) else {}


def _free_texts(offer: Offer, text: str) -> list[str]:
    found = groups(text)
    marked = [group for group in found if group[0].marked]
    blocks = [group for group in marked if group[0].kind == "block"]
    texts = [mention.text for mention in (blocks or marked)[0]] if marked else [object_of(text, offer.words)]
    if offer.format.get("syntax") != "regex":
        return texts
    return [_in_grammar(str(offer.format.get("definition", "")), value) for value in texts]


def _in_grammar(definition: str, value: str) -> str:
    """The value if the tool's regular expression allows it whole, otherwise an example of it."""
    steps = Steps()
    try:
        pattern = compile_pattern(f"^(?:{definition})$")
        return value if pattern.matches(value, steps) else pattern.sample(steps)
    except Unsupported:
        return value
