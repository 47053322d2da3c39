"""Streams of events that are almost legal: a legal one with one thing wrong, and the rule that it breaks.

Whoever reads such a stream has to notice. The rules are those of `agentwire.protocol.order.RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
from hypothesis import strategies as st

from agentwire.testing.strategies.streams import legal, numbered

__all__ = ["FAULTS", "Spoilt", "almost_legal"]

Event = dict[str, Any]


@attrs.frozen
class Spoilt:
    """A stream that is not legal.

    Attributes:
        events: all of them.
        place: of the event with which it stops to be legal; their number, if it is the end that is wrong.
        rule: that is broken, a key of `agentwire.protocol.order.RULES`.
        what: in words.
    """

    events: list[Event]
    place: int
    rule: str
    what: str


def _changed(events: list[Event], place: int, rule: str, what: str, **members: Any) -> Spoilt:
    return Spoilt([*events[:place], {**events[place], **members}, *events[place + 1 :]], place, rule, what)


def _lost(events: list[Event], place: int) -> Spoilt:
    return Spoilt([*events[:place], *events[place + 1 :]], place, "sequence", "an event is lost")


def _doubled(events: list[Event], place: int) -> Spoilt:
    rule = "order" if "response" in events[place] else "sequence"
    return Spoilt([*events[: place + 1], *events[place:]], place + 1, rule, "an event comes twice")


def _misnumbered(events: list[Event], place: int) -> Spoilt:
    return _changed(events, place, "sequence", "a number is left out", sequence_number=place + 1)


def _strayed(events: list[Event], place: int) -> Spoilt:
    return _changed(events, place, "lane", "an event has another lane", stream_id="elsewhere")


def _unnamed(events: list[Event], place: int) -> Spoilt:
    return _changed(events, place, "shape", "an event has no type", type=None)


def _unheard_of(events: list[Event], place: int) -> Spoilt:
    return _changed(events, place, "unknown", "nobody knows this type", type="response.guessed")


def _cut(events: list[Event], _: int) -> Spoilt:
    return Spoilt(events[:-1], len(events) - 1, "unfinished", "the terminal event is missing")


def _ended_twice(events: list[Event], _: int) -> Spoilt:
    return Spoilt(numbered([*events, events[-1]]), len(events), "order", "the response ends twice")


def _headless(events: list[Event], _: int) -> Spoilt:
    return Spoilt(numbered(events[1:]), 0, "order", "the response was never created")


def _renamed(events: list[Event], _: int) -> Spoilt:
    other = {**events[-1]["response"], "id": "resp_other"}
    return _changed(events, len(events) - 1, "identity", "the response changes its id", response=other)


def _unstated(events: list[Event], _: int) -> Spoilt:
    other = {**events[-1]["response"], "status": "in_progress"}
    return _changed(events, len(events) - 1, "status", "the response ends in progress", response=other)


def _without_output(events: list[Event], _: int) -> Spoilt:
    other = {**events[-1]["response"], "output": [{"type": "message", "id": "msg_other", "content": []}]}
    return _changed(events, len(events) - 1, "content", "the output is not the items that were done", response=other)


FAULTS: Final[Mapping[str, Callable[[list[Event], int], Spoilt]]] = {
    "lost": _lost,
    "doubled": _doubled,
    "misnumbered": _misnumbered,
    "strayed": _strayed,
    "unnamed": _unnamed,
    "unheard of": _unheard_of,
    "cut": _cut,
    "ended twice": _ended_twice,
    "headless": _headless,
    "renamed": _renamed,
    "unstated": _unstated,
    "without output": _without_output,
}
"""What may be wrong with a stream, by name; some of it at any event but the first and the last."""


@st.composite
def almost_legal(draw: st.DrawFn, faults: tuple[str, ...] = tuple(FAULTS), *, overlapping: bool = False) -> Spoilt:
    """A whole response in which one thing is wrong.

    Args:
        faults: keys of `FAULTS`; all of them if left out.
        overlapping: whether the events of its items may be mixed.
    """
    events = draw(legal(overlapping=overlapping))
    fault = FAULTS[draw(st.sampled_from(faults))]
    return fault(events, draw(st.integers(1, len(events) - 2)))
