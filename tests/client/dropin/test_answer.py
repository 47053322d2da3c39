"""Events of the socket as HTTP says them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentwire.client.dropin.answer import EVENTS, Collected, framed, identified, refused
from agentwire.protocol.errors import RemoteProtocolError, RequestError
from tests.link.peer import call, created, delta, done, ended, error, message, response, text_turn

Json = dict[str, Any]


def collected(*events: Json) -> Collected:
    whole = Collected()
    whole.take(json.dumps(event).encode() for event in events)
    return whole


def test_events_are_framed_and_their_lanes_left_out() -> None:
    said = framed([json.dumps({**delta("a"), "stream_id": "turn-2"}).encode(), b'{"type":"new.thing","x":1.50}'])
    first, second, end = said.split(b"\n\n")
    assert first.startswith(b"event: response.output_text.delta\ndata: ")
    assert json.loads(first.partition(b"data: ")[2]) == delta("a")
    assert second == b'event: new.thing\ndata: {"type":"new.thing","x":1.50}'
    assert end == b""


def test_an_event_that_is_set_on_several_lines_becomes_one() -> None:
    assert framed([b'{\n "type": "a",\r\n "x": 1}']).count(b"\n") == 3


def test_a_whole_answer_is_the_last_response_as_it_was_written() -> None:
    whole = collected(*text_turn("resp_1", "Hel", "lo"))
    answer = whole.answer()
    assert (answer.status, whole.response_id) == (200, "resp_1")
    assert json.loads(answer.body) == text_turn("resp_1", "Hello")[-1]["response"] | {"output": [message("Hello")]}
    assert whole.output == [message("Hello")]


def test_an_output_that_was_told_item_by_item_is_in_the_answer() -> None:
    whole = collected(created("resp_1"), done(call("c", "look"), 1), done(message("a"), 0), ended("resp_1"))
    assert json.loads(whole.answer().body)["output"] == whole.output == [message("a"), call("c", "look")]


def test_an_incomplete_response_is_an_answer() -> None:
    whole = collected(created("resp_1"), ended("resp_1", "incomplete", [message("a")]))
    assert whole.answer().status == 200
    assert whole.response_id == "resp_1"


@pytest.mark.parametrize(
    ("events", "status", "code"),
    [
        (
            [error("slow", status=503, number=1), ended("r", "failed", error={"code": "slow", "message": "No."})],
            503,
            "slow",
        ),
        ([ended("r", "failed", error={"code": "rate_limit_exceeded", "message": "No."})], 429, "rate_limit_exceeded"),
        ([ended("r", "failed", error=None)], 500, "server_error"),
        ([error("broken", status=500, number=1)], 500, "broken"),
    ],
)
def test_a_response_that_failed_is_an_error(events: list[Json], status: int, code: str) -> None:
    whole = collected(created("r"), *events)
    answer = whole.answer()
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (status, code)
    assert whole.response_id is None


@pytest.mark.parametrize("told", [{"code": 7, "message": "No."}, "No."])
def test_an_error_of_an_unusual_shape_keeps_its_words(told: Any) -> None:
    answer = collected(created("r"), ended("r", "failed", error=told)).answer()
    assert (answer.status, json.loads(answer.body)["error"]["message"]) == (500, "No.")


def test_an_end_that_does_not_say_how_is_the_servers_fault() -> None:
    with pytest.raises(RemoteProtocolError, match="without saying how"):
        collected(created("r")).answer()


@pytest.mark.parametrize("frame", [b"{", b'{"type":1}', b'{"type":"response.completed","response":{"output":3}}'])
def test_what_is_no_event_is_the_servers_fault(frame: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="cannot be read"):
        Collected().take([frame])


def test_a_refusal_has_its_headers_but_for_those_of_the_transfer() -> None:
    headers = {"retry-after": "7", "Content-Length": "3", "x-bad": "a\nb"}
    answer = refused(RequestError(429, "rate_limit_exceeded", "Wait.", headers=headers))
    assert answer.status == 429
    assert dict(answer.headers) == {"content-type": "application/json", "retry-after": "7"}
    told = {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "Wait.", "param": None}
    assert json.loads(answer.body) == {"error": told}


def test_what_is_in_progress_is_no_end() -> None:
    assert not collected(created("r"), {"type": "response.in_progress", "response": response("r")}).ended


@pytest.mark.parametrize("value", [None, "bj\xf6rn", "a\nb"])
def test_an_id_that_http_cannot_carry_is_none(value: str | None) -> None:
    assert identified(EVENTS, value) == EVENTS
