"""What servers send: every event and the response object, and both shapes of errors."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentwire.protocol.codec import decode_event, decode_response, encode_json, to_wire
from agentwire.protocol.content import OutputText, Refusal
from agentwire.protocol.errors import AgentwireError, RemoteProtocolError
from agentwire.protocol.events import (
    EVENTS,
    TERMINAL,
    ErrorEvent,
    Keepalive,
    OutputTextDelta,
    ResponseCreated,
    UnknownEvent,
)
from agentwire.protocol.items import FunctionCall, Message
from agentwire.protocol.request import CreateRequest, TextConfig
from agentwire.protocol.response import Response, Usage
from agentwire.protocol.tools import FunctionTool, ToolChoice
from agentwire.testing.strategies import values as strategies

REQUIRED = [
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "background",
    "error",
    "incomplete_details",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "output",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "truncation",
    "usage",
]
"""The keys that the schema of Open Responses requires."""


@pytest.mark.parametrize("kind", sorted(EVENTS))
def test_every_event_comes_back_as_it_went(kind: str) -> None:
    @settings(max_examples=20)
    @given(strategies.of_class(EVENTS[kind]))
    def check(event: Any) -> None:
        frame = encode_json(event)
        assert json.loads(frame)["type"] == kind
        assert decode_event(frame) == event
        assert decode_event(frame.decode()) == event

    check()


@settings(max_examples=50)
@given(strategies.responses)
def test_a_response_comes_back_as_it_went(response: Response) -> None:
    assert decode_response(encode_json(response)) == response


def test_the_lane_and_the_number_are_left_out_if_there_are_none() -> None:
    assert to_wire(Keepalive()) == {"type": "keepalive"}
    assert to_wire(Keepalive(sequence_number=0, stream_id="a")) == {
        "type": "keepalive",
        "sequence_number": 0,
        "stream_id": "a",
    }


def test_lists_of_log_probabilities_are_always_on_the_wire() -> None:
    assert to_wire(OutputTextDelta("msg_1", 0, 0, "x"))["logprobs"] == []
    assert to_wire(OutputText("x")) == {"type": "output_text", "text": "x", "annotations": [], "logprobs": []}


def test_an_unknown_event_goes_through_unchanged() -> None:
    raw = {"type": "acme:x", "sequence_number": 3, "stream_id": "a", "more": [1]}
    event = decode_event(encode_json(raw))
    assert event == UnknownEvent(raw)
    assert (event.type, event.sequence_number, event.stream_id) == ("acme:x", 3, "a")
    assert to_wire(event) == raw
    odd = UnknownEvent({"type": "x", "sequence_number": "1", "stream_id": 2})
    assert (odd.sequence_number, odd.stream_id) == (None, None)


def test_three_events_end_a_response() -> None:
    assert [cls.type for cls in TERMINAL] == ["response.completed", "response.failed", "response.incomplete"]


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (b"[DONE]", "cannot be read"),
        (b"[]", "expected an object, got an array"),
        (b"{}", "does not fit at type: it is missing"),
        (b'{"type":5}', "does not fit at type"),
        (b"\xff", "cannot be read"),
        (b"[" * 1_000_000, "nested too deeply"),  # deeper than any Python reads
        (b'{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0}', "at delta"),
        (b'{"type":"response.created","response":{}}', "at response.id"),
        (b'{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call"}}', "at item.call_id"),
        (b'{"type":"response.output_text.delta","delta":"' + b"x" * 9999 + b'"}', "at item_id"),
    ],
)
def test_an_event_that_cannot_be_is_the_servers_fault(frame: bytes, told: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_event(frame)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 300


@given(st.binary(max_size=100) | strategies.JSON.map(encode_json))
def test_whatever_a_server_sends_is_an_event_or_an_error_of_ours(frame: bytes) -> None:
    told: object = None
    try:
        told = decode_event(frame)
    except AgentwireError as error:
        told = error
    assert isinstance(told, UnknownEvent | RemoteProtocolError)


@given(st.sampled_from(sorted(EVENTS)), strategies.OBJECT)
def test_a_known_type_with_any_members_is_an_event_or_an_error_of_ours(kind: str, members: dict[str, Any]) -> None:
    try:
        event = decode_event(encode_json({**members, "type": kind}))
    except RemoteProtocolError:
        return
    assert event.type == kind


# Tolerance


def test_a_server_may_leave_out_most_of_a_response_and_write_times_as_floats() -> None:
    response = decode_response('{"id":"resp_1","created_at":1795376805.0,"completed_at":null,"usage":null,"odd":1}')
    assert response == Response(id="resp_1", created_at=1795376805, extra={"odd": 1})
    assert type(response.created_at) is int


def test_null_means_none_where_the_wire_has_the_key_anyway() -> None:
    response = decode_response('{"id":"r","temperature":null,"service_tier":null,"metadata":null,"output":null}')
    assert (response.temperature, response.service_tier, response.metadata) == (None, None, None)
    assert response.output == ()


def test_what_a_server_sends_is_not_checked() -> None:
    call = {"type": "function_call", "call_id": "c" * 200, "name": "odd name", "arguments": ""}
    event = decode_event(encode_json({"type": "response.output_item.added", "output_index": 0, "item": call}))
    assert to_wire(event)["item"]["call_id"] == "c" * 200


def test_a_reasoning_part_with_another_tag_is_still_read() -> None:
    item = {"type": "reasoning", "content": [{"type": "text", "text": "hm"}, {"text": "so"}]}
    event = decode_event(encode_json({"type": "response.output_item.done", "output_index": 0, "item": item}))
    assert [part["text"] for part in to_wire(event)["item"]["content"]] == ["hm", "so"]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({}, Usage()),
        ({"input_tokens": 3, "output_tokens": 2.0, "total_tokens": 5}, Usage(3, 2)),
        (
            {"input_tokens": 3, "input_tokens_details": None, "output_tokens_details": {"reasoning_tokens": 1}},
            Usage(3, 0, 0, 1),
        ),
        (
            {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 2, "x": 1}, "cost": 7},
            Usage(3, 0, 2, extra={"input_tokens_details": {"x": 1}, "cost": 7}),
        ),
    ],
)
def test_usage_is_read_whatever_is_missing(usage: dict[str, Any], expected: Usage) -> None:
    response = decode_response(encode_json({"id": "r", "usage": usage}))
    assert response.usage == expected
    written = to_wire(response)["usage"]
    assert written["total_tokens"] == written["input_tokens"] + written["output_tokens"]
    assert written.get("cost") == usage.get("cost")


def test_usage_that_is_no_object_is_the_servers_fault() -> None:
    with pytest.raises(RemoteProtocolError, match="at usage"):
        decode_response('{"id":"r","usage":[]}')


def test_usages_add_up() -> None:
    assert Usage(1, 2, 3, 4, 5) + Usage(10, 20, 30, 40, 50) == Usage(11, 22, 33, 44, 55)


# Errors

NESTED = {
    "type": "error",
    "status": 429,
    "stream_id": "plan",
    "headers": {"Retry-After": 2},
    "error": {
        "type": "rate_limit_error",
        "code": "rate_limit_exceeded",
        "message": "Try again.",
        "param": None,
        "headers": {"x-a": "b"},
        "misalignment": {"x": 1},
    },
}


def test_a_nested_error_is_read() -> None:
    event = decode_event(encode_json(NESTED))
    assert event == ErrorEvent(
        "Try again.",
        code="rate_limit_exceeded",
        status=429,
        error_type="rate_limit_error",
        headers={"retry-after": "2", "x-a": "b"},
        stream_id="plan",
        extra={"error": {"misalignment": {"x": 1}}},
    )
    assert to_wire(event)["error"]["misalignment"] == {"x": 1}
    assert to_wire(event)["headers"] == to_wire(event)["error"]["headers"] == {"retry-after": "2", "x-a": "b"}


def test_a_flat_error_is_read_and_written_nested() -> None:
    flat = {
        "type": "error",
        "sequence_number": 3,
        "code": "c",
        "message": "m",
        "param": "p",
        "status_code": 400,
        "z": 1,
    }
    event = decode_event(encode_json(flat))
    assert event == ErrorEvent("m", code="c", status=400, param="p", sequence_number=3, extra={"z": 1})
    assert to_wire(event) == {
        "type": "error",
        "sequence_number": 3,
        "status": 400,
        "error": {"type": None, "code": "c", "message": "m", "param": "p"},
        "z": 1,
    }


@pytest.mark.parametrize("error", [{}, {"error": None}, {"error": {"message": 5}, "status": "x", "headers": []}])
def test_an_error_without_a_message_is_still_an_error(error: dict[str, Any]) -> None:
    event = decode_event(encode_json({"type": "error", **error}))
    assert isinstance(event, ErrorEvent)
    assert event.message == "the server gave no message"
    assert event.status is None


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"error": "Oh."}, "Oh."),
        ({"error": "Bad Request", "message": "Too hot."}, "Too hot."),
        ({"error": "Oh.", "message": None, "code": "hot"}, "Oh."),
    ],
)
def test_a_text_as_error_is_its_message(told: dict[str, Any], message: str) -> None:
    event = decode_event(encode_json({"type": "error", **told}))
    assert event == ErrorEvent(message, code=told.get("code"))


def test_an_error_event_can_be_raised() -> None:
    event = decode_event(encode_json(NESTED))
    assert isinstance(event, ErrorEvent)
    error = event.to_error()
    assert (error.status, error.code, error.type) == (429, "rate_limit_exceeded", "rate_limit_error")
    assert error.headers == {"retry-after": "2", "x-a": "b"}
    bare = ErrorEvent("m").to_error()
    assert (bare.status, bare.code, bare.type) == (500, "unknown_error", "server_error")


# The response object


def test_all_keys_that_the_wire_demands_are_there() -> None:
    wire = to_wire(Response(id="resp_1"))
    assert sorted(wire) == sorted(REQUIRED)
    assert wire["object"] == "response"
    assert wire["text"] == {"format": {"type": "text"}, "verbosity": "medium"}
    assert wire["usage"] is None


def test_an_echoed_function_tool_has_all_its_keys() -> None:
    wire = to_wire(Response(id="resp_1", tools=(FunctionTool("f"),)))
    assert wire["tools"] == [{"type": "function", "name": "f", "parameters": None, "strict": None, "description": None}]


def test_a_response_echoes_its_request() -> None:
    request = CreateRequest(
        model="m",
        instructions="be brief",
        temperature=0.0,
        store=False,
        metadata={"a": "b"},
        tools=(FunctionTool("f"),),
        tool_choice=ToolChoice("required", ("f",), {"type": "function", "name": "f"}),
        reasoning={"effort": "low"},
        text=TextConfig({"type": "json_object"}),
        service_tier="auto",
        previous_response_id="resp_0",
        user="u",
    )
    wire = to_wire(Response.begin(request, id="resp_1", created_at=5))
    assert sorted(wire) == sorted([*REQUIRED, "user"])
    shown = {name: wire[name] for name in ("instructions", "temperature", "store", "metadata", "tool_choice", "user")}
    assert shown == {
        "instructions": "be brief",
        "temperature": 0.0,
        "store": False,
        "metadata": {"a": "b"},
        "tool_choice": {"type": "function", "name": "f"},
        "user": "u",
    }
    assert wire["reasoning"] == {"effort": "low", "summary": None}
    assert wire["text"] == {"format": {"type": "json_object"}, "verbosity": "medium"}
    assert wire["service_tier"] == "default"
    assert (wire["status"], wire["output"], wire["created_at"], wire["model"]) == ("in_progress", [], 5, "m")


def test_a_response_may_begin_queued_and_with_another_model() -> None:
    response = Response.begin(CreateRequest(model="m"), id="r", created_at=1, model="n", status="queued")
    assert (response.model, response.status) == ("n", "queued")
    assert response == attrs.evolve(Response(id="r", created_at=1), model="n", status="queued")


@settings(max_examples=50)
@given(strategies.requests)
def test_every_request_has_a_whole_echo(request: CreateRequest) -> None:
    wire = to_wire(Response.begin(request, id="r", created_at=1))
    assert set(REQUIRED) <= wire.keys()
    assert decode_event(encode_json(ResponseCreated(decode_response(encode_json(wire))))).type == "response.created"


def test_the_text_of_a_response_is_what_the_model_wrote() -> None:
    content = (OutputText("a"), Refusal("no"), OutputText("b"))
    output = (Message("assistant", content), FunctionCall("c", "f", "{}"), Message("assistant", "c"))
    assert Response(id="r", output=output).output_text == "abc"
