"""What is true of connections and processes: each rule holds for what is right, and finds what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from agentwire.testing.entry import InvariantBroken
from agentwire.testing.invariants import (
    check_all,
    each_broken,
    honest_close,
    no_turn_lost_in_drain,
    nothing_leaked,
    one_terminal,
    requests_answered,
)
from agentwire.testing.journal import Journal
from tests.testing.stories import Tale, create, error, told

RULES = (honest_close, no_turn_lost_in_drain, nothing_leaked, requests_answered)

BEGUN = told("resp_1")[:1]
DRAIN = {"type": "drain.started", "seconds": 100}
GOAWAY = {"type": "agentwire:goaway", "reason": "drain", "seconds": 100}
FAULT = {"type": "fault", "cause": "stall server at once"}


def running() -> Tale:
    """A turn that has begun."""
    return Tale().opens(None).say("client", create()).say("server", *BEGUN)


def had(**more: dict[str, str]) -> dict[str, Any]:
    return {"type": "resources", "tasks": {"a": "main"}, "descriptors": {"7": "pipe"}, "streams": {}, **more}


RIGHT: list[tuple[Callable[..., None], Tale]] = [
    (requests_answered, Tale().turn("resp_1").refused("server_error", 500)),
    (requests_answered, Tale().say("client", create(lane="a")).say("server", {"type": "error"})),
    (requests_answered, Tale().say("client", create()).ends("client")),
    (requests_answered, Tale().say("client", create()).closes("server", 1012)),
    (honest_close, running().closes("client", 1000)),
    (honest_close, running().closes("server", 1001)),
    (honest_close, Tale().turn("resp_1").closes("server", 1000)),
    (honest_close, Tale().turn("resp_1").closes("server", None)),
    (honest_close, running().closes("server", 4000)),
    (no_turn_lost_in_drain, Tale().say("local", DRAIN).turn("resp_1").closes("server", 1012)),
    (no_turn_lost_in_drain, running().say("local", {**DRAIN, "seconds": 0.5}).closes("server", 1012)),
    (no_turn_lost_in_drain, running().say("local", DRAIN).closes("client", 1000)),
    (no_turn_lost_in_drain, running().say("local", DRAIN, FAULT).ends("server")),
    (no_turn_lost_in_drain, Tale().say("local", DRAIN).say("client", create()).closes("server", 1012)),
    (no_turn_lost_in_drain, running().closes("server", 1001)),
    (nothing_leaked, Tale().say("local", had())),
    (nothing_leaked, Tale().say("local", had(), had(streams={"b": "more"}), had())),
    (nothing_leaked, Tale().say("local", had(), had(tasks={}))),
    (nothing_leaked, Tale().say("local", had(), had(tasks={"a": "elsewhere"}))),
]

WRONG: list[tuple[Callable[..., None], str, Tale]] = [
    (requests_answered, "2 requests, 1 answers", Tale().turn("resp_1").say("client", create())),
    (requests_answered, "1 requests, 0 answers", Tale().say("client", create()).closes("server", 1000)),
    (honest_close, "with 1000, which says that all is done", running().closes("server", 1000)),
    (honest_close, "without a code", running().closes("server", None)),
    (honest_close, "with 1000", Tale().say("client", create()).closes("server", 1000)),
    (honest_close, "close code 1006 may not be sent", running().closes("server", 1006)),
    (honest_close, "close code 1015 may not be sent", Tale().turn("resp_1").closes("server", 1015)),
    (no_turn_lost_in_drain, "running or waiting", running().say("local", DRAIN).closes("server", 1012)),
    (no_turn_lost_in_drain, "running or waiting", running().say("server", GOAWAY).closes("server", 1012)),
    (no_turn_lost_in_drain, "running or waiting", running().closes("server", 1012)),
    (no_turn_lost_in_drain, "running or waiting", running().say("local", DRAIN).ends("server")),
    (
        no_turn_lost_in_drain,
        "running or waiting",
        Tale().say("client", create()).say("local", DRAIN).closes("server", 1012),
    ),
    (nothing_leaked, "descriptors: socket", Tale().say("local", had(), had(descriptors={"7": "socket"}))),
    (nothing_leaked, "tasks: b waits", Tale().say("local", had(), had(tasks={"a": "main", "b": "b waits"}))),
    (nothing_leaked, "streams: s", Tale().say("local", had(), had(streams={"c": "s"}))),
]


@pytest.mark.parametrize(("rule", "tale"), RIGHT)
def test_what_is_right_passes(rule: Callable[..., None], tale: Tale) -> None:
    rule(tale.told)


@pytest.mark.parametrize(("rule", "message", "tale"), WRONG)
def test_what_is_wrong_is_found(rule: Callable[..., None], message: str, tale: Tale) -> None:
    with pytest.raises(InvariantBroken, match=message) as broken:
        rule(tale.told)
    assert broken.value.name == rule.__name__
    assert len(str(broken.value).splitlines()) == 1 + len(broken.value.evidence) > 1
    assert rule.__name__ in {one.name for one in each_broken(tale.told)}


def test_what_was_on_its_way_when_a_drain_began_is_not_lost() -> None:
    tale = Tale().opens(None).say("client", create()).say("local", DRAIN)  # the handshake took a second
    no_turn_lost_in_drain(tale.closes("server", 1012).told)
    tale = Tale().opens(None).say("client", create()).say("server", {"type": "keepalive"}).say("local", DRAIN)
    with pytest.raises(InvariantBroken, match="running or waiting"):
        no_turn_lost_in_drain(tale.closes("server", 1012).told)


def test_a_drain_that_fails_what_runs_has_lost_it() -> None:
    failed = told("resp_1", end="failed")[1]
    cut = {**failed, "response": {**failed["response"], "error": {"code": "server_is_draining", "message": ""}}}
    with pytest.raises(InvariantBroken, match="this had begun before the drain"):
        no_turn_lost_in_drain(running().say("local", DRAIN).say("server", cut).told)
    no_turn_lost_in_drain(running().say("local", DRAIN).say("server", failed).told)


def test_where_the_connection_was_lost_a_response_may_have_no_end() -> None:
    for end in (running().ends("network"), running().closes("client", 1000), running().closes("server", 1011)):
        one_terminal(end.told)
    with pytest.raises(InvariantBroken, match="has no end"):
        one_terminal(running().closes("server", 1000).told)


def test_rules_may_be_left_out_by_name() -> None:
    check_all(running().told, without=["one_terminal", "legal_order"])
    with pytest.raises(ValueError, match="there are no invariants one_end; there are nothing_after_terminal"):
        check_all([], without=["one_end"])


async def test_a_process_says_what_it_has() -> None:
    journal = Journal()
    journal.resources()

    async def forgotten() -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(forgotten)
        await trio.lowlevel.checkpoint()
        journal.resources()
        with pytest.raises(InvariantBroken, match="forgotten"):
            nothing_leaked(journal)
        nursery.cancel_scope.cancel()
    journal.resources()
    nothing_leaked(journal)


def test_messages_that_are_no_requests_may_be_answered_with_errors() -> None:
    refusal = error("unknown_event_type", 400)
    asked = {"type": "session.update"}
    check_all(Tale().turn("resp_1").say("client", asked).say("server", refusal).told, without=["legal_order"])
    with pytest.raises(InvariantBroken, match="more answers than requests"):
        check_all(Tale().turn("resp_1").say("server", refusal).told, without=["legal_order"])
    aged = error("websocket_connection_limit_reached", 400)
    check_all(Tale().turn("resp_1").say("server", aged).told, without=["legal_order"])
