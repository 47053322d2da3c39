"""The grammar against a second opinion: what a server really sent passes, and what is made of it passes if it may.

Streams are recorded from a running session, then events are lost, doubled, swapped, moved, renumbered and retyped. The
checker and `legality` must say the same of each result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.engines import scripted
from agentwire.engines.script import Call, Fail, Item, Reasoning, Refusal, Stop, Summary, Text, Turn
from agentwire.protocol.grammar import Checker, GrammarError
from agentwire.testing.clock import run
from tests.protocol.legality import judge, names
from tests.runtime.kit import client

Event = dict[str, Any]
SEARCH = {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}}
TURNS = {
    "words": Turn(Text("hello", pieces=3)),
    "thought": Turn(Summary("First.", pieces=2), Reasoning("hm", pieces=2), Text("so", pieces=2), Refusal("no")),
    "calls": Turn(Call("f", {"a": 1}, pieces=2), Call("f", {"a": 2}), Call("note", "abab", custom=True, pieces=2)),
    "search": Turn(Text("aa", pieces=2), Item(SEARCH), Text("aa", pieces=2)),
    "short": Turn(Summary("x"), Text("half", pieces=2), Stop("max_output_tokens")),
    "failed": Turn(Text("half", pieces=2), Fail()),
    "server": Turn(Call("double", {"number": 2}), Call("double", {"number": "x"})),
    "after": Turn(Text("done")),
}
LATE = {"type": "response.steer.pending"}


def double(number: int) -> int:
    """The server's own tool."""
    return 2 * number


@cache
def recorded() -> dict[str, list[Event]]:
    """What a session says to each kind of request."""

    def turn(ask: Any) -> Turn:
        return TURNS["after" if ask.step else ask.request.metadata["play"]]

    async def record() -> dict[str, list[Event]]:
        streams = {}
        async with client(scripted(turn), double) as session:
            for name in TURNS:
                streams[name] = await session.wire.ask(metadata={"play": name}, stream_id="a")
            streams["warm-up"] = await session.wire.ask(generate=False)
            streams["refused"] = await session.wire.ask(previous_response_id="resp_none")
        return streams

    return run(record)


def accepted(events: Sequence[Event]) -> str | None:
    """Why the checker refuses these; None if it does not."""
    checker = Checker()
    try:
        for event in events:
            checker.feed(event)
        checker.finish()
    except GrammarError as error:
        return str(error)
    return None


def renumbered(events: Sequence[Event]) -> list[Event]:
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


# What may happen to a stream

Mutation = Callable[[st.DataObject, list[Event]], list[Event]]


def _place(data: st.DataObject, events: Sequence[Event]) -> int:
    return data.draw(st.integers(0, len(events) - 1))


def lose(data: st.DataObject, events: list[Event]) -> list[Event]:
    place = _place(data, events)
    return [*events[:place], *events[place + 1 :]]


def double_up(data: st.DataObject, events: list[Event]) -> list[Event]:
    place, other = _place(data, events), _place(data, events)
    return [*events[:other], events[place], *events[other:]]


def swap(data: st.DataObject, events: list[Event]) -> list[Event]:
    place, other = _place(data, events), _place(data, events)
    swapped = [*events]
    swapped[place], swapped[other] = swapped[other], swapped[place]
    return swapped


def move(data: st.DataObject, events: list[Event]) -> list[Event]:
    place, other = _place(data, events), _place(data, events)
    rest = [*events[:place], *events[place + 1 :]]
    return [*rest[:other], events[place], *rest[other:]]


def renumber(data: st.DataObject, events: list[Event]) -> list[Event]:
    place = _place(data, events)
    number = data.draw(st.sampled_from([None, -1, len(events), _place(data, events)]))
    return [*events[:place], {**events[place], "sequence_number": number}, *events[place + 1 :]]


def retype(data: st.DataObject, events: list[Event]) -> list[Event]:
    place, other = _place(data, events), _place(data, events)
    kind = data.draw(st.sampled_from([events[other]["type"], "keepalive", "acme:note", LATE["type"], "response.done"]))
    return [*events[:place], {**events[place], "type": kind}, *events[place + 1 :]]


def reindex(data: st.DataObject, events: list[Event]) -> list[Event]:
    place = _place(data, events)
    indexed = [name for name in events[place] if name.endswith("_index")]
    if not indexed:
        return events
    name = data.draw(st.sampled_from(indexed))
    return [*events[:place], {**events[place], name: data.draw(st.integers(0, 3))}, *events[place + 1 :]]


MUTATIONS: list[Mutation] = [lose, double_up, swap, move, renumber, retype, reindex]


@pytest.mark.parametrize("name", [*TURNS, "warm-up", "refused"])
def test_what_a_server_sent_is_legal_in_both_opinions(name: str) -> None:
    events = recorded()[name]
    assert accepted(events) is None
    assert judge(events) is None


def test_the_recordings_hold_what_there_is_to_spoil() -> None:
    told = {name for events in recorded().values() for name in names(events)}
    assert len(told) >= 28, sorted(told)


@pytest.mark.parametrize("mutation", MUTATIONS)
@given(data=st.data())
def test_both_opinions_agree_on_a_spoilt_stream(mutation: Mutation, data: st.DataObject) -> None:
    _agree(data, [mutation])


@given(data=st.data())
def test_both_opinions_agree_on_what_is_spoilt_twice(data: st.DataObject) -> None:
    _agree(data, [data.draw(st.sampled_from(MUTATIONS)) for _ in range(2)])


def _agree(data: st.DataObject, mutations: list[Mutation]) -> None:
    streams = recorded()
    original = streams[data.draw(st.sampled_from(sorted(streams)))]
    events = original
    for mutation in mutations:
        events = mutation(data, events) if events else events
    if data.draw(st.booleans()):
        events = renumbered(events)
    verdict, second = accepted(events), judge(events) if events else "nothing"
    assert (verdict is None) == (second is None), (verdict, second, names(events))


@given(data=st.data())
def test_a_stream_with_one_fault_that_shows_is_never_taken(data: st.DataObject) -> None:
    """The same without a second opinion: in a recorded stream every loss, copy and exchange of unlike events shows."""
    events = recorded()[data.draw(st.sampled_from(["words", "thought", "calls", "server"]))]
    assert accepted(lose(data, events)) is not None
    assert accepted(double_up(data, events)) is not None
    swapped = swap(data, events)
    assert (accepted(swapped) is None) == (swapped == events)
