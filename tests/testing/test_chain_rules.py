"""What is true of chains of turns: each rule holds for what is right, and finds what is wrong, with its evidence."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentwire.testing.entry import InvariantBroken
from agentwire.testing.invariants import (
    check_all,
    evicted_after_failure,
    history_equivalence,
    outputs_answer_calls,
    tenant_isolation,
)
from tests.testing.stories import Tale, called, create, output, said, saw, told

RULES = (evicted_after_failure, history_equivalence, outputs_answer_calls, tenant_isolation)
HELLO = said("hello", "assistant")


def chained() -> Tale:
    """Two turns in a chain."""
    return Tale().turn("resp_1", input="one").turn("resp_2", previous="resp_1", input="two")


def steered() -> Tale:
    """A response that waits for an output of its client is steered; the steer goes in front of that output."""
    steer = {"type": "response.steer", "previous_response_id": "resp_1", "input": "be quick"}
    created, ended = told("resp_2")
    created["response"] |= {"previous_response_id": "resp_1"}
    return (
        Tale()
        .say("client", create(input="one"))
        .say("server", *called("resp_1", "call_1"))
        .say("client", steer, create(previous="resp_1", input=[output("call_1")]))
        .say("server", created, ended)
    )


CALL = called("resp_1", "call_1")[-1]["response"]["output"][0]


def got(number: int) -> dict[str, object]:
    return {"type": "http.request", "method": "GET", "target": f"/v1/responses/resp_{number}", "principal": "(key 2)"}


RIGHT: list[tuple[Callable[..., None], Tale]] = [
    (history_equivalence, chained().say("local", saw("resp_2", said("one"), HELLO, said("two")))),
    (history_equivalence, chained().say("local", saw("resp_1", said("one")))),
    (history_equivalence, Tale().turn("resp_2", previous="resp_1").say("local", saw("resp_2", said("no idea")))),
    (
        history_equivalence,
        Tale().turn("resp_1", truncation="auto").say("local", saw("resp_1")).turn("resp_2", previous="resp_1"),
    ),
    (
        history_equivalence,
        Tale()
        .turn("resp_1", input="a", events=told("resp_1", tokens=9))
        .turn("resp_2", input="b", events=told("resp_2", tokens=8))
        .turn("resp_3", input="a", instructions="x", events=told("resp_3", tokens=7)),
    ),
    (history_equivalence, steered().say("local", saw("resp_2", said("one"), CALL, said("be quick"), output("call_1")))),
    (tenant_isolation, Tale().opens("(key 1)").turn("resp_1").turn("resp_2", previous="resp_1")),
    (
        tenant_isolation,
        Tale()
        .opens("(key 1)")
        .turn("resp_1")
        .opens("(key 2)", connection=1)
        .refused("previous_response_not_found", 400, previous="resp_1", connection=1)
        .say("client", got(1), connection=2, exchange=0)
        .say("server", {"type": "http.response", "status": 404}, connection=2, exchange=0),
    ),
    (
        evicted_after_failure,
        Tale()
        .turn("resp_1", store=False)
        .refused("tool_call_not_found", 400, previous="resp_1", store=False)
        .refused("previous_response_not_found", 400, previous="resp_1", store=False),
    ),
    (  # it is stored
        evicted_after_failure,
        Tale().turn("resp_1").refused("tool_call_not_found", 400, previous="resp_1").turn("resp_2", previous="resp_1"),
    ),
    (  # a fork that failed
        evicted_after_failure,
        Tale()
        .turn("resp_1", store=False)
        .refused("tool_call_not_found", 400, previous="resp_1", lane="a")
        .turn("resp_2", previous="resp_1"),
    ),
    (  # it never reached its lane
        evicted_after_failure,
        Tale()
        .turn("resp_1", store=False)
        .refused("websocket_queue_full", 429, previous="resp_1")
        .turn("resp_2", previous="resp_1"),
    ),
    (
        outputs_answer_calls,
        Tale()
        .turn("resp_1", events=called("resp_1", "call_1", "call_2"))
        .turn("resp_2", previous="resp_1", input=[output("call_2"), output("call_1")]),
    ),
    (outputs_answer_calls, Tale().refused("tool_call_not_found", 400, input=[output("call_1")])),
    (outputs_answer_calls, Tale().turn("resp_2", previous="resp_1", input=[output("call_1")])),
]

WRONG: list[tuple[Callable[..., None], str, Tale]] = [
    (
        history_equivalence,
        r"the model of resp_2 was shown .*two.* as item 0, where the chain has .*one",
        chained().say("local", saw("resp_2", said("two"))),
    ),
    (
        history_equivalence,
        r"was shown nothing as item 2, where the chain has .*two",
        chained().say("local", saw("resp_2", said("one"), HELLO)),
    ),
    (
        history_equivalence,
        r"was shown .*more.* as item 1, where the chain has nothing",
        chained().say("local", saw("resp_1", said("one"), said("more"))),
    ),
    (
        history_equivalence,
        r"was shown .*function_call_output.* as item 2, where the chain has .*be quick",
        steered().say("local", saw("resp_2", said("one"), CALL, output("call_1"))),
    ),
    (
        history_equivalence,
        "the same context was counted as 9 and as 4 input tokens",
        Tale()
        .turn("resp_1", input="one", events=told("resp_1"))
        .turn("resp_2", previous="resp_1", input="two", events=told("resp_2", tokens=9))
        .turn("resp_3", input=[said("one"), HELLO, said("two")], events=told("resp_3", tokens=4), connection=1),
    ),
    (
        tenant_isolation,
        r"\(key 2\) continued what belongs to \(key 1\)",
        Tale()
        .opens("(key 1)")
        .turn("resp_1")
        .opens("(key 2)", connection=1)
        .turn("resp_2", previous="resp_1", connection=1),
    ),
    (
        tenant_isolation,
        "resp_1 was told to another key, too",
        Tale().opens("(key 1)").turn("resp_1").opens("(key 2)", connection=1).turn("resp_1", connection=1),
    ),
    (
        tenant_isolation,
        r"\(key 2\) reached what belongs to \(key 1\)",
        Tale()
        .opens("(key 1)")
        .turn("resp_1")
        .say("client", got(1), connection=2, exchange=0)
        .say("server", {"type": "http.response", "status": 200}, connection=2, exchange=0),
    ),
    (
        evicted_after_failure,
        "resp_1 was continued all the same",
        Tale()
        .turn("resp_1", store=False)
        .refused("tool_call_not_found", 400, previous="resp_1")
        .turn("resp_2", previous="resp_1"),
    ),
    (
        evicted_after_failure,
        "resp_1 was continued all the same",
        Tale()
        .turn("resp_1", store=False)
        .turn("resp_2", previous="resp_1", events=told("resp_2", end="failed"))
        .turn("resp_3", previous="resp_1", lane="a"),
    ),
    (outputs_answer_calls, "'call_1' is no call of this conversation", Tale().turn("resp_1", input=[output("call_1")])),
    (
        outputs_answer_calls,
        "'call_1' is answered twice",
        Tale()
        .turn("resp_1", events=called("resp_1", "call_1"))
        .turn("resp_2", previous="resp_1", input=[output("call_1"), output("call_1")]),
    ),
]


@pytest.mark.parametrize(("rule", "tale"), RIGHT)
def test_what_is_right_passes(rule: Callable[..., None], tale: Tale) -> None:
    rule(tale.told)
    check_all(tale.told, without=["legal_order"])


@pytest.mark.parametrize(("rule", "message", "tale"), WRONG)
def test_what_is_wrong_is_found(rule: Callable[..., None], message: str, tale: Tale) -> None:
    with pytest.raises(InvariantBroken, match=message) as broken:
        rule(tale.told)
    assert broken.value.name == rule.__name__
    assert len(str(broken.value).splitlines()) == 1 + len(broken.value.evidence) > 1
    with pytest.raises(InvariantBroken, match=message):
        check_all(tale.told, without=["legal_order"])


def test_the_items_of_a_chain_are_compared_by_what_they_say() -> None:
    shown = [{**said("one"), "id": "msg_7", "status": "completed"}, {**HELLO, "id": "msg_8"}, said("two")]
    history_equivalence(chained().say("local", saw("resp_2", *shown)).told)


def test_a_successor_has_seen_what_was_steered() -> None:
    steer = {"type": "response.steer", "previous_response_id": "resp_1", "input": "stop"}
    first, last = told("resp_2")
    begun = {**first, "response": {**first["response"], "previous_response_id": "resp_1"}}
    tale = Tale().turn("resp_1", input="one", events=told("resp_1", end="incomplete"))
    tale.say("client", steer).say("server", begun, last)
    tale.say("local", saw("resp_2", said("one"), HELLO, said("stop")))
    history_equivalence(tale.told)
    with pytest.raises(InvariantBroken, match="where the chain has"):
        history_equivalence(tale.say("local", saw("resp_2", said("one"), HELLO)).told)


def test_a_successor_has_not_seen_a_steer_that_was_handed_back() -> None:
    given = [{"previous_response_id": "resp_1", "input": text} for text in ("stop", "too late")]
    back = {"type": "response.steer.failed", "sequence_number": 0, "error": {}, "steer": given[1]}
    steers = [{"type": "response.steer", **steer} for steer in given]
    first, last = told("resp_2")
    begun = {**first, "response": {**first["response"], "previous_response_id": "resp_1"}}
    tale = Tale().turn("resp_1", input="one", events=told("resp_1", end="incomplete"))
    tale.say("client", *steers).say("server", back, begun, last)
    history_equivalence(tale.say("local", saw("resp_2", said("one"), HELLO, said("stop"))).told)


def test_a_warm_up_is_counted_without_the_model() -> None:
    tale = Tale().turn("resp_1", input="one", events=told("resp_1", tokens=9))
    warm = told("resp_2", tokens=4)
    tale.say("client", create(input="one", generate=False), connection=1).say("server", *warm, connection=1)
    history_equivalence(tale.told)


def test_chains_that_lead_in_a_circle_are_no_trouble() -> None:
    tale = Tale().turn("resp_1", previous="resp_2").turn("resp_2", previous="resp_1")
    history_equivalence(tale.say("local", saw("resp_1", said())).told)


def test_a_thousand_turns_are_followed() -> None:
    tale = Tale().turn("resp_0", input="0")
    for number in range(1, 1200):
        tale.turn(f"resp_{number}", previous=f"resp_{number - 1}", input=str(number))
    with pytest.raises(InvariantBroken, match="as item 0"):
        history_equivalence(tale.say("local", saw("resp_1199", said("1199"))).told)


def test_what_did_not_arrive_and_is_said_again_counts_once() -> None:
    welcome = {"type": "agentwire:welcome", "session": {"token": "t", "received": 0}, "resumed": False}
    tale = Tale().opens(None).say("server", welcome).say("client", create(input="one")).ends("network")
    tale.opens(None, connection=1).say("client", {"type": "agentwire:hello"}, connection=1)
    tale.say("server", {**welcome, "resumed": True}, connection=1)
    tale.turn("resp_1", connection=1, input="one").turn("resp_2", connection=1, previous="resp_1", input="two")
    check_all(tale.say("local", saw("resp_2", said("one"), HELLO, said("two"))).told, without=["legal_order"])
