"""Each invariant holds for what is right, and is broken by the one thing that it is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentwire.testing import invariants
from agentwire.testing.invariant_table import render
from agentwire.testing.invariants import (
    InvariantBroken,
    bounded,
    cancelled_within,
    check_all,
    contiguous_numbers,
    deltas_match_done,
    echoes_lane,
    exact_codes,
    lane_fifo,
    legal_order,
    nothing_after_terminal,
    one_terminal,
    tool_once,
    tools_awaited,
)
from agentwire.testing.journal import Journal
from tests.testing.conversations import Event, answer, conversation, create, error, on_lane
from tests.testing.test_chain_rules import RULES as CHAIN_RULES
from tests.testing.test_life_rules import RULES as LIFE_RULES


def started(name: str, kind: str = "tool") -> Event:
    return {"type": "work.started", "kind": kind, "name": name}


def ended(name: str, kind: str = "tool") -> Event:
    return {"type": "work.ended", "kind": kind, "name": name, "how": "done"}


GONE = {"type": "connection.ended", "cause": "reset"}


def interleaved(*streams: list[Event]) -> list[Event]:
    """One of each in turn."""
    rest = [iter(stream) for stream in streams]
    events: list[Event] = []
    while rest:
        for stream in tuple(rest):
            event = next(stream, None)
            if event is None:
                rest.remove(stream)
            else:
                events.append(event)
    return events


@pytest.mark.parametrize(
    "events",
    [
        [],
        conversation(),
        conversation(lane="a"),
        interleaved(conversation(), conversation(lane="a"), conversation(lane="b")),
        [create(), create(), *answer("resp_1"), *answer("resp_2")],
        answer("resp_1"),
        [create(), *answer("resp_1")[:1], create(), error("websocket_queue_full", 429), *answer("resp_1")[1:]],
        [create(), *answer("resp_1"), {"type": "response.steer.pending", "sequence_number": 13, "steer": {}}],
        [create(), {"type": "keepalive"}, *answer("resp_1"), {"type": "codex.rate_limits"}],
        [create(lane="a"), error("invalid_stream_id", 400)],
        [started("1"), started("2"), ended("2"), ended("1")],
    ],
)
def test_what_is_right_passes(events: list[Event]) -> None:
    check_all(events, cancelled_after=1, limits={"window": 10})


def test_a_failed_stream_passes_with_a_number_or_without() -> None:
    numbers: list[dict[str, Any]] = [{}, {"sequence_number": 2}]
    for number in numbers:
        events: list[Event] = [*answer("resp_1")[:2], error("server_error", 500, **number)]
        end = answer("resp_1", end="failed")[-1]
        events.append({**end, "sequence_number": 3 if number else 2, "response": {**end["response"], "output": []}})
        for rule in (one_terminal, nothing_after_terminal, contiguous_numbers, lane_fifo, exact_codes):
            rule([create(), *events])


WORDLESS = {"type": "server_error", "code": "x", "message": None}

TURN = answer("resp_1")
CASES: list[tuple[Callable[..., None], str, list[Event]]] = [
    (one_terminal, "has ended twice", [*TURN, TURN[-1]]),
    (one_terminal, "has no end", TURN[:-1]),
    (nothing_after_terminal, "had ended", [*TURN, TURN[5]]),
    (nothing_after_terminal, "belongs to no response", TURN[1:]),
    (contiguous_numbers, "2 where 1 comes next", [TURN[0], *TURN[2:]]),
    (contiguous_numbers, "1 where 2 comes next", [*TURN[:2], *TURN[1:]]),
    (contiguous_numbers, "None where 0 comes next", [{**TURN[0], "sequence_number": None}]),
    (contiguous_numbers, "False where 0 comes next", [{**TURN[0], "sequence_number": False}]),
    (echoes_lane, "nobody has asked on lane 'b'", [create(lane="a"), *answer("resp_1", lane="b")]),
    (echoes_lane, "nobody has asked on lane None", [create(lane="a"), *TURN]),
    (echoes_lane, "nobody has asked on lane 'a'", [create(), *answer("resp_1", lane="a")]),
    (echoes_lane, "string or absent", [{**TURN[0], "stream_id": None}]),
    (lane_fifo, "two responses run on one lane", [create(), create(), *TURN[:3], *answer("resp_2")]),
    (lane_fifo, "more answers than requests", [create(), *TURN, *answer("resp_2")]),
    (lane_fifo, "more answers than requests", [create(), *TURN, error("server_error", 500), create()]),
    (
        lane_fifo,
        "answers none of the requests that wait",
        [
            create(metadata={"n": "1"}),
            create(metadata={"n": "2"}),
            *({**event, "response": {**event["response"], "metadata": {"n": "2"}}} for event in (TURN[0], TURN[-1])),
            *({**event, "response": {**event["response"], "metadata": {"n": "1"}}} for event in (TURN[0], TURN[-1])),
        ],
    ),
    (legal_order, "order: response.output_item.done cannot come", TURN[-2:]),
    (legal_order, "unfinished", TURN[:-1]),
    (deltas_match_done, "the pieces say 'hell'", [event for event in TURN if event.get("delta") != "o"]),
    (exact_codes, "has the members", [{"type": "error", "code": "server_error", "message": "flat"}]),
    (exact_codes, "has the members", [{"type": "error", "status": 500, "error": {"code": "x", "message": "no"}}]),
    (exact_codes, "a status and a code", [{**error("server_error", 500), "status": None}]),
    (exact_codes, "a status and a code", [error("", 500)]),
    (exact_codes, "says what was wrong", [{"type": "error", "status": 500, "error": {**WORDLESS, "param": None}}]),
    (exact_codes, "says why", [{"type": "response.failed", "response": {"id": "r", "error": WORDLESS}}]),
    (exact_codes, "says why", [{"type": "response.steer.failed", "error": WORDLESS}]),
    (exact_codes, "rate_limit_exceeded goes with status 429", [error("rate_limit_exceeded", 400)]),
    (exact_codes, "model_not_found goes with status 400 or 404", [error("model_not_found", 500)]),
    (tool_once, "call 'call_1' has run twice", [started("call_1"), ended("call_1"), started("call_1")]),
    (tools_awaited, "left running", [started("call_1"), started("call_2"), ended("call_1")]),
]


@pytest.mark.parametrize(("rule", "message", "events"), CASES)
def test_what_is_wrong_is_found(rule: Callable[..., None], message: str, events: list[Event]) -> None:
    with pytest.raises(InvariantBroken, match=message) as broken:
        rule(events)
    assert broken.value.name == rule.__name__
    assert broken.value.evidence
    assert str(broken.value).startswith(f"{rule.__name__}: ")
    assert len(str(broken.value).splitlines()) == 1 + len(broken.value.evidence)
    with pytest.raises(InvariantBroken):
        check_all(events)


@pytest.mark.parametrize("rule", [one_terminal, legal_order, check_all])
def test_a_connection_that_was_cut_may_stop_anywhere(rule: Callable[..., None]) -> None:
    events = conversation()
    for cut in range(len(events)):
        rule(events[:cut], complete=False)


def test_lanes_are_judged_apart() -> None:
    spoilt = [on_lane(event, "b") for event in [*TURN, TURN[-1]]]
    with pytest.raises(InvariantBroken, match="ended twice"):
        one_terminal([*conversation(lane="a"), *spoilt])


def test_refused_requests_may_be_skipped() -> None:
    first, second = create(metadata={"n": "1"}), create(metadata={"n": "2"})
    begin = {**TURN[0], "response": {**TURN[0]["response"], "metadata": {"n": "2"}}}
    lane_fifo([first, second, error("websocket_queue_full", 429), begin, *TURN[1:]])


def test_what_else_a_client_says_is_no_request() -> None:
    lane_fifo([{"type": "response.processed"}, create(), *TURN])
    lane_fifo([create(), *TURN, {"type": "agentwire:response.cancel"}, error("agentwire:response_not_running", 400)])
    with pytest.raises(InvariantBroken, match="more answers than requests"):
        lane_fifo([create(), *TURN, {"type": "response.processed"}, *answer("resp_2")])


def test_a_steer_is_answered_by_a_response() -> None:
    steer = {"type": "response.steer", "previous_response_id": "resp_1"}
    lane_fifo([create(), *TURN[:-1], steer, TURN[-1], *answer("resp_2")])


STEER = {"type": "response.steer", "previous_response_id": "resp_1", "input": "x"}


def follower(response_id: str, parent: str, lane: str | None = None) -> list[Event]:
    """A response that says what it continues."""
    begun, *rest = answer(response_id, lane=lane)
    return [{**begun, "response": {**begun["response"], "previous_response_id": parent}}, *rest]


def late(kind: str, number: int, about: str = "resp_1") -> Event:
    steer = {"previous_response_id": about, "input": "x"}
    return {
        "type": f"response.steer.{kind}",
        "sequence_number": number,
        "steer": steer,
        "error": {"code": "response_already_completed", "message": "It is over."},
    }


def test_a_successor_comes_before_what_waits_and_is_nobody_elses_answer() -> None:
    waiting = create(previous="resp_9")
    check_all([create(), *TURN, STEER, waiting, *follower("resp_2", "resp_1"), *follower("resp_3", "resp_9")])


def test_a_steer_on_a_named_lane_names_no_lane() -> None:
    turn, after = answer("resp_1", lane="a"), follower("resp_2", "resp_1", lane="a")
    check_all([create(lane="a"), *turn, STEER, *after])
    with pytest.raises(InvariantBroken, match="more answers than requests"):
        lane_fifo([create(lane="a"), *turn, {**STEER, "previous_response_id": "resp_9"}, *after])


def test_who_answers_first_takes_the_steers() -> None:
    asked = create(previous="resp_1")
    lane_fifo([create(), *TURN, STEER, STEER, asked, *follower("resp_2", "resp_1")])


def test_a_successor_comes_before_a_request_that_was_there_first() -> None:
    """It repeats the request that was steered, and so it is not the answer of the one that waits."""
    first, second = ({"machine": name} for name in "12")
    begun, *rest = follower("resp_2", "resp_1")
    begun = {**begun, "response": {**begun["response"], "metadata": first}}
    refusal = {"type": "error", "sequence_number": 0, "status": 400, "error": {"code": "previous_response_not_found"}}
    asked = create(previous="resp_1", metadata=second)
    lane_fifo([create(metadata=first), *TURN[:-1], asked, STEER, TURN[-1], begun, *rest, refusal])


def test_late_answers_count_with_the_response_that_they_are_about() -> None:
    ended = [create(), *TURN]
    check_all([*ended, late("failed", len(TURN))])
    check_all([*ended, late("failed", 0)])
    check_all([create(), *TURN[:3], late("failed", 0, "resp_9"), *TURN[3:]])
    check_all([late("failed", 0, "resp_9"), *ended])
    with pytest.raises(InvariantBroken, match="comes next"):
        contiguous_numbers([create(), *TURN[:3], late("failed", 0), *TURN[3:]])


def test_work_ends_soon_after_the_connection() -> None:
    work: list[tuple[Any, float, Event]] = [
        ("local", 0, started("resp_1", "engine")),
        ("local", 1, started("call_1")),
        ("local", 2, GONE),
        ("local", 2.5, ended("call_1")),
        ("local", 3, ended("resp_1", "engine")),
        ("local", 9, started("call_2")),
    ]
    cancelled_within(work, 1)
    with pytest.raises(InvariantBroken, match=r"still running 0.9 s later(\n.*)*resp_1") as broken:
        cancelled_within(work, 0.9)
    assert [entry.time for entry in broken.value.evidence] == [0, 2]
    with pytest.raises(InvariantBroken):
        check_all(work[:-1], cancelled_after=0.1)


def test_sizes_stay_below_their_limits() -> None:
    journal = Journal(clock=lambda: 0.0)
    journal.size("window", 10)
    journal.size("other", 1000)
    bounded(journal, {"window": 10})
    with pytest.raises(InvariantBroken, match="window may have 9 bytes"):
        bounded(journal, {"window": 9})
    with pytest.raises(InvariantBroken, match="window may have 9 bytes"):
        check_all(journal, limits={"window": 9})


def test_every_rule_is_tested() -> None:
    here = {rule.__name__ for rule, _, _ in CASES} | {"cancelled_within", "bounded"}
    elsewhere = {rule.__name__ for rule in (*CHAIN_RULES, *LIFE_RULES)}
    assert here | elsewhere == set(invariants.INVARIANTS)
    assert {*invariants.INVARIANTS, "INVARIANTS", "InvariantBroken", "check_all", "each_broken"} == set(
        invariants.__all__
    )


def mutations(events: list[Event]) -> Iterator[list[Event]]:
    for place, event in enumerate(events):
        if event["type"] in ("error", "response.create"):
            continue
        yield [*events[:place], *events[place + 1 :]]
        yield [*events[:place], event, *events[place:]]


def test_no_event_can_be_lost_or_doubled_unnoticed() -> None:
    for spoilt in mutations(conversation(lane="a")):
        with pytest.raises(InvariantBroken):
            check_all(spoilt)


def test_the_page_has_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "topics" / "invariants.md"
    assert render() in page.read_text(encoding="utf-8"), "run: python -m agentwire.testing.invariant_table"
