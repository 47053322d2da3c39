"""From the user's message to an ordered list of steps, each with the tool that it asks for.

A plan is a numbered or bulleted list, or prose in order ("first ..., then ..., finally ..."); each line or clause is a
step. Prose without an order asks for each tool at most once. A step may ask for several calls: of enumerated values,
of what earlier outputs listed, "in parallel" or "three at a time".
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from itertools import islice, pairwise
from typing import Final

import attrs

from agentwire.engines.builtin.matching import best, named_in, permitted
from agentwire.engines.builtin.mentions import NUMBER_WORDS
from agentwire.engines.builtin.references import Reference, reference_in
from agentwire.engines.builtin.slots import assign, native
from agentwire.engines.builtin.toolbox import Offer

__all__ = ["AT_ONCE", "Plan", "Step", "plan_of", "plan_steps"]

AT_ONCE: Final = 8
"""Most calls in one turn."""
MOST_ENTRIES: Final = 100
MOST_CLAUSES: Final = 60
MOST_IN_ENTRY: Final = 4
LONGEST: Final = 16_384
LONGEST_CLAUSE: Final = 600

_ITEM: Final = re.compile(
    r"(?P<indent>[ \t]{0,16})(?:[-*•+]|\(?\d{1,3}[.)]|step\s\d{1,3}\s?[.:)])\s{1,8}(?P<text>\S.*)", re.IGNORECASE
)
_MASKED: Final = re.compile(r"```.*?```|`[^`\n]{1,300}`|\"[^\"\n]{1,300}\"|“[^”\n]{1,300}”", re.DOTALL)
_SENTENCE: Final = re.compile(r"(?<=\S)[.;!?](?=\s)|\n")
_ORDER: Final = re.compile(
    r"(?:,\s{0,3}|\s(?:and|but)\s|\s)?"
    r"\b(?:then|after that|afterwards|after this|and finally|finally|lastly|and next)\b,?\s{0,3}",
    re.IGNORECASE,
)
_FIRST: Final = re.compile(r"^\s*(?:first(?:ly)?|to begin with|start by)\b", re.IGNORECASE)
_TAIL: Final = re.compile(r"^\s*(?:then|finally|lastly|after that|afterwards|at the end)\b", re.IGNORECASE)
_TOGETHER: Final = re.compile(
    r"\b(?:in parallel|at once|concurrently|simultaneously|at the same time|all together)\b", re.IGNORECASE
)
_SINGLY: Final = re.compile(r"\b(?:one by one|one at a time|one after (?:the other|another)|in turn)\b", re.IGNORECASE)
_AT_A_TIME: Final = re.compile(rf"\b(\d{{1,2}}|{'|'.join(NUMBER_WORDS)}) at a time\b", re.IGNORECASE)
_JOINT: Final = re.compile(r"\s+and\s+|[,;]\s*", re.IGNORECASE)


@attrs.frozen
class Step:
    """One step of a plan.

    Attributes:
        number: its place in the list as the user wrote it, from 1.
        text: what it says.
        offer: the tool that it asks for; None for a step in words alone ("report what you found").
        reference: what it takes from earlier outputs.
        at_once: how many calls at once; None leaves it to the kind of step.
        joined: it runs together with the step before it.
    """

    number: int
    text: str
    offer: Offer | None = None
    reference: Reference | None = None
    at_once: int | None = None
    joined: bool = False


@attrs.frozen
class Plan:
    """The steps of one message.

    Attributes:
        steps: in order.
        written: whether the user wrote an order, as a list or in words.
    """

    steps: tuple[Step, ...] = ()
    written: bool = False

    @property
    def calls_tools(self) -> bool:
        """Whether any step asks for a tool."""
        return any(step.offer is not None for step in self.steps)


def plan_of(message: str, on_offer: Sequence[Offer]) -> Plan:
    """The plan of a message, in one go."""
    steps = plan_steps(message, on_offer)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            plan: Plan = stop.value
            return plan


def plan_steps(message: str, on_offer: Sequence[Offer]) -> Generator[None, None, Plan]:
    """The plan of a message: its list if it has one that asks for tools, otherwise its prose.

    It comes in slices, for a caller that must not hold its event loop: a long list and many tools take many.
    """
    message = message[:LONGEST]
    on_offer = permitted(message, on_offer)
    if not on_offer:
        return Plan()
    head, entries, tail = _split_list(message)
    if len(entries) > 1:
        steps = yield from _each(entries[:MOST_ENTRIES], on_offer)
        if any(step.offer for step in steps):
            steps += _steps_of(len(entries) + 1, tail, on_offer) if _TAIL.match(tail) else []
            return Plan(tuple(steps), written=True)
        message = f"{head} {', '.join(entries)} {tail}"
    clauses = _clauses(message)[:MOST_CLAUSES]
    steps = yield from _each(clauses, on_offer)
    if len(clauses) > 1 and (_ORDER.search(_mask(message)) or _FIRST.match(message)):
        return Plan(tuple(steps), written=True)
    return Plan(_unordered(message, steps, alone=len(clauses) == 1))


def _each(texts: Sequence[str], on_offer: Sequence[Offer]) -> Generator[None, None, list[Step]]:
    steps: list[Step] = []
    for number, text in enumerate(texts, 1):
        steps += _steps_of(number, text, on_offer)
        yield
    return steps


def _split_list(message: str) -> tuple[str, list[str], str]:
    """The text before the list, its entries (entries below them joined in), and the text after it."""
    head: list[str] = []
    entries: list[str] = []
    tail: list[str] = []
    indent, blank, fenced = 0, False, False
    for line in message.splitlines():
        match = None if fenced else _ITEM.match(line)
        if "```" in line:
            fenced = fenced is (line.count("```") % 2 == 0)
        if match is not None:
            width = len(match["indent"])
            if entries and width > indent:
                entries[-1] += (" " if entries[-1].endswith(":") else ", ") + match["text"]
            else:
                indent = width
                entries.append(match["text"])
            blank = False
        elif not line.strip() and not fenced:
            blank = True
        elif not entries:
            head.append(line)
        elif blank and not line.startswith((" ", "\t")):
            tail.append(line)
        else:
            entries[-1] += f"\n{line}" if fenced or "```" in line else f" {line.strip()}"
    return " ".join(head).strip(), entries, " ".join(tail).strip()


def _mask(text: str) -> str:
    """The text with quoted and back-ticked parts blanked out, at the same length."""
    return _MASKED.sub(lambda match: "x" * len(match.group()), text)


def _clauses(text: str) -> list[str]:
    """Sentences, cut again at the words that say an order."""
    masked = _mask(text)
    cuts = [0]
    for pattern in (_SENTENCE, _ORDER):
        for match in pattern.finditer(masked):
            cuts += [match.start(), match.end()]
    edges = [*sorted(cuts), len(text)]
    pieces = [text[start:end].strip() for start, end in pairwise(edges)]
    return [piece for piece in pieces if len(piece) > 1 and not _ORDER.fullmatch(piece)]


def _steps_of(number: int, text: str, on_offer: Sequence[Offer]) -> list[Step]:
    """The steps of one entry: one, or one for each tool that it asks for."""
    made: list[Step] = []
    for clause in _clauses(text)[:MOST_IN_ENTRY] or [text]:
        made += [_step(number, piece, offer) for piece, offer in _by_tool(clause, on_offer)]
    with_tools = [step for step in made if step.offer is not None]
    if not with_tools:
        return [Step(number, text)]
    together = bool(_TOGETHER.search(text))
    return [attrs.evolve(step, joined=together and index > 0) for index, step in enumerate(with_tools)]


def _by_tool(clause: str, on_offer: Sequence[Offer]) -> Iterator[tuple[str, Offer | None]]:
    """A clause, cut so that each piece asks for one tool."""
    named = named_in(clause, on_offer)
    if not named:
        pieces = _verb_pieces(clause, on_offer)
        yield from pieces or [(clause, best(clause, on_offer))]
        return
    start = 0
    for this, following in zip(named, [*named[1:], None], strict=True):
        end = len(clause) if following is None else _cut(clause, this.end, following.start)
        yield clause[start:end], this.offer
        start = end


def _verb_pieces(clause: str, on_offer: Sequence[Offer]) -> list[tuple[str, Offer | None]]:
    """Two pieces, if each asks for a tool of its own: "list the files in `src` and read `a.py`"."""
    if len(clause) > LONGEST_CLAUSE:
        return []
    for joint in islice(re.finditer(r"\s+and\s+", _mask(clause)), MOST_IN_ENTRY):
        first, second = clause[: joint.start()], clause[joint.end() :]
        one, other = best(first, on_offer), best(second, on_offer)
        if one is not None and other is not None and one is not other:
            return [(first, one), (second, other)]
    return []


def _cut(clause: str, after: int, before: int) -> int:
    """Where to cut between two named tools: at the last joint between them, or right before the second."""
    joints = [match.start() + after for match in _JOINT.finditer(_mask(clause)[after:before])]
    return joints[-1] if joints else before


def _step(number: int, text: str, offer: Offer | None) -> Step:
    if offer is None:
        return Step(number, text)
    return Step(number, text, offer, reference_in(text, offer), _at_once(text))


def _at_once(text: str) -> int | None:
    match = _AT_A_TIME.search(text)
    if match is not None:
        return max(1, min(AT_ONCE, NUMBER_WORDS.get(match[1].lower()) or int(match[1])))
    if _SINGLY.search(text):
        return 1
    return AT_ONCE if _TOGETHER.search(text) else None


def _unordered(message: str, steps: Sequence[Step], *, alone: bool) -> tuple[Step, ...]:
    """Each tool once; one that is asked for alone takes its values from all of the message, if its clause has none."""
    found: dict[str, Step] = {}
    for step in steps:
        if step.offer is not None:
            found.setdefault(step.offer.name, step)
    if len(found) == 1 and not alone:
        (step,) = found.values()
        if step.offer is not None and not native(step.offer.slots, assign(step.offer.slots, step.text).values):
            return (_step(step.number, message, step.offer),)
    return tuple(found.values())
