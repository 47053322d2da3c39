"""The strategies give what they say: legal streams, streams with one known fault, programs, plans and behaviours."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentwire.protocol.grammar import Checker, GrammarError
from agentwire.protocol.order import RULES
from agentwire.protocol.request import CreateRequest
from agentwire.testing import Fault, network, run
from agentwire.testing.programs import Program, programmed
from agentwire.testing.recording import RecordingOut, ask_for
from agentwire.testing.strategies import (
    FAULTS,
    Move,
    Said,
    Spoilt,
    almost_legal,
    behaviours,
    conversations,
    fault_plans,
    faults,
    lanes,
    legal,
    programs,
    requests,
    tool_programs,
)

FEW = settings(max_examples=30)


def judged(events: list[dict[str, object]]) -> tuple[int, str] | None:
    """Where a stream stops to be legal, and by which rule."""
    checker, fed = Checker(), 0
    try:
        for event in events:
            checker.feed(event)
            fed += 1
        checker.finish()
    except GrammarError as error:
        return fed, error.rule
    return None


@FEW
@given(legal(overlapping=True))
def test_legal_streams_are_legal(events: list[dict[str, object]]) -> None:
    assert judged(events) is None


@pytest.mark.parametrize("fault", FAULTS)
@settings(max_examples=10)
@given(st.data())
def test_a_spoilt_stream_breaks_the_rule_that_it_names(fault: str, data: st.DataObject) -> None:
    spoilt: Spoilt = data.draw(almost_legal((fault,)))
    assert judged(spoilt.events) == (spoilt.place, spoilt.rule)
    assert spoilt.rule in RULES


@FEW
@given(programs(hangs=True))
def test_programs_say_what_they_will_do(text: str) -> None:
    program = Program.parse(text)
    assert str(program) == text
    assert program.ends == ("hang" not in text)
    assert program.fails == ("fail" in text)


@FEW
@given(tool_programs(["look at=1", "ours to=2"]))
def test_a_model_makes_the_calls_of_its_program(text: str) -> None:
    program, out = Program.parse(text), RecordingOut()
    run(partial(programmed(), ask_for(text), out))
    first = program.answer_after(0)
    assert [call.name for call in out.calls] == [step.split()[1] for step in first if step.startswith("call")]
    assert program.answer_after(program.calls) == program.answers[-1]


@FEW
@given(conversations())
def test_conversations_continue_what_was_said_before(said: list[Said]) -> None:
    for place, one in enumerate(said):
        assert one.parent is None or 0 <= one.parent < place


@FEW
@given(behaviours(deeds=("ask", "cut", "wait")))
def test_behaviours_keep_to_their_deeds(moves: list[Move]) -> None:
    assert {move.deed for move in moves} <= {"ask", "cut", "wait"}
    assert all(bool(move.text) == (move.deed == "ask") for move in moves)
    assert all(bool(move.seconds) == (move.deed == "wait") for move in moves)


@FEW
@given(fault_plans(), faults(kinds=("cut",), connection=None), lanes(2), requests)
def test_plans_are_for_one_connection_after_the_other(
    plan: list[Fault], cut: Fault, lane: str | None, request: CreateRequest
) -> None:
    assert [fault.connection for fault in plan] == list(range(len(plan)))
    assert (cut.kind, cut.connection) == ("cut", None)
    assert lane in (None, "lane-0", "lane-1")
    assert request.model
    network(faults=[*plan, cut])
