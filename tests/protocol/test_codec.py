"""Requests in and out: round trips, strictness, and what is told of each mistake."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.protocol.codec import (
    InvalidUtf8,
    decode_create,
    decode_create_steps,
    decode_envelope,
    decode_item,
    decode_object,
    encode_create,
    encode_item,
    encode_json,
    encode_wire,
    to_wire,
)
from agentwire.protocol.content import InputText, OpaquePart
from agentwire.protocol.envelope import Delivery, peek_delivery
from agentwire.protocol.errors import AgentwireError, RequestError
from agentwire.protocol.items import FunctionCallOutput, Item, ItemReference, Message, OpaqueItem
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest, Envelope
from agentwire.protocol.tools import FunctionTool
from agentwire.testing.strategies import values as strategies

LIMITS = Limits()


def create(**members: Any) -> CreateRequest:
    """Decode a create request as the socket brings it; ``model`` and ``input`` are filled in."""
    body = {"type": "response.create", "model": "m", "input": "hi", **members}
    return decode_create(json.dumps(body).encode(), LIMITS, transport="websocket")


def refusal(**members: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        create(**members)
    assert caught.value.status == 400
    return caught.value


# Round trips


@given(strategies.items)
def test_an_item_comes_back_as_it_went(item: Item) -> None:
    assert decode_item(json.loads(encode_json(item))) == item


@given(strategies.items)
def test_what_came_is_written_back(item: Item) -> None:
    wire = encode_item(item)
    assert encode_item(decode_item(wire)) == wire


@given(strategies.requests)
def test_a_request_comes_back_as_it_went(request: CreateRequest) -> None:
    assert decode_create(encode_create(request), LIMITS, transport="websocket") == request


@given(strategies.requests)
def test_a_request_goes_over_http_as_well(request: CreateRequest) -> None:
    body = encode_create(request, transport="http")
    assert not {"type", "stream_id"} & json.loads(body).keys()
    assert decode_create(body, LIMITS, transport="http") == attrs.evolve(request, stream_id=None)


def test_a_request_says_only_what_differs_from_the_defaults() -> None:
    request = CreateRequest(model="m", input=(Message("user", "hi"),), store=False)
    assert json.loads(encode_create(request)) == {
        "type": "response.create",
        "model": "m",
        "input": [{"type": "message", "role": "user", "content": "hi"}],
        "store": False,
    }


@pytest.mark.parametrize(
    "item",
    [
        {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}, "id": None},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "caller": {"type": "direct"}},
        {"type": "message", "role": "assistant", "content": [{"type": "output_audio", "data": "x"}]},
        {"type": "message", "role": "user", "content": "x", "type_": 1, "extra": {"extra": None}, "raw": []},
        {"type": "reasoning", "summary": [], "content": [], "encrypted_content": "e", "id": "rs_1"},
    ],
)
def test_unknown_members_and_types_go_through(item: dict[str, Any]) -> None:
    assert encode_item(decode_item(item)) == item


def test_an_unknown_field_of_a_request_is_kept() -> None:
    request = create(moderation={"model": "x"}, extra=1)
    assert request.extra == {"moderation": {"model": "x"}, "extra": 1}


# The shapes that clients send


def test_a_string_is_one_user_message() -> None:
    assert create(input="hi").input == (Message("user", "hi"),)


def test_items_may_leave_out_what_says_itself() -> None:
    request = create(input=[{"role": "developer", "content": "x"}, {"id": "msg_1"}, {"type": None, "id": "msg_2"}])
    assert request.input == (Message("developer", "x"), ItemReference("msg_1"), ItemReference("msg_2"))


def test_null_is_the_same_as_absent() -> None:
    assert create(**dict.fromkeys(("store", "tools", "temperature", "text", "stream_id", "tool_choice"))) == create()


def test_what_agents_send_beside_the_rules_is_accepted() -> None:
    request = create(
        stream=True,
        stream_options={"include_obfuscation": False},
        client_metadata={"traceparent": "00-1-2-03"},
        background=False,
        text={"verbosity": "low"},
        reasoning={"effort": "low", "context": "all_turns"},
        include=[],
        tools=[
            {"type": "namespace", "name": "fs", "tools": [{"type": "function", "name": "read"}]},
            {"type": "web_search"},
            {
                "type": "custom",
                "name": "apply_patch",
                "format": {"type": "grammar", "syntax": "lark", "definition": "a"},
            },
        ],
    )
    assert [tool.name for tool in request.tools] == ["fs", "web_search", "apply_patch"]
    assert request.text.format == {"type": "text"}
    assert request.client_metadata == {"traceparent": "00-1-2-03"}


def test_an_integer_is_good_for_a_number_and_nothing_else_is_converted() -> None:
    request = create(temperature=1)
    assert request.temperature == 1.0
    assert type(request.temperature) is float


@pytest.mark.parametrize("members", [{"generate": False}, {"prompt_cache_options": {"prewarm": True}}])
def test_a_warm_up_needs_no_input(members: dict[str, Any]) -> None:
    request = create(input=None, **members)
    assert not request.generate
    assert request.input == ()


def test_a_continuation_needs_no_input() -> None:
    assert create(input=[], previous_response_id="resp_1").input == ()


def test_a_prewarm_that_is_false_changes_nothing() -> None:
    assert create(prompt_cache_options={"prewarm": False}).generate


def test_tool_outputs_may_be_parts() -> None:
    output = {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "a"}]}
    assert create(input=[output]).input == (FunctionCallOutput("c", (InputText("a"),)),)


# Mistakes

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "model missing": ({"model": None}, "missing_required_parameter model"),
    "model empty": ({"model": ""}, "invalid_value model"),
    "input missing": ({"input": None}, "missing_required_parameter input"),
    "input empty": ({"input": []}, "missing_required_parameter input"),
    "input object": ({"input": {}}, "invalid_type input"),
    "item number": ({"input": [1]}, "invalid_type input[0]"),
    "item untyped": ({"input": [{"content": "x"}]}, "missing_required_parameter input[0].type"),
    "item type": ({"input": [{"type": 3}]}, "invalid_type input[0].type"),
    "role": ({"input": [{"role": "tool", "content": "x"}]}, "unsupported_value input[0].role"),
    "content missing": ({"input": [{"role": "user"}]}, "missing_required_parameter input[0].content"),
    "content number": ({"input": [{"role": "user", "content": 1}]}, "invalid_type input[0].content"),
    "part text": (
        {
            "input": ["x", {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text"}]}][
                1:
            ]
        },
        "missing_required_parameter input[0].content[1].text",
    ),
    "part untyped": (
        {"input": [{"role": "user", "content": [{}]}]},
        "missing_required_parameter input[0].content[0].type",
    ),
    "image": (
        {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
        "missing_required_parameter input[0].content[0].image_url",
    ),
    "file": (
        {"input": [{"role": "user", "content": [{"type": "input_file", "filename": "a"}]}]},
        "missing_required_parameter input[0].content[0].file_id",
    ),
    "call id missing": (
        {"input": [{"type": "function_call_output", "output": "x"}]},
        "missing_required_parameter input[0].call_id",
    ),
    "call id long": (
        {"input": [{"type": "function_call_output", "call_id": "c" * 65, "output": "x"}]},
        "invalid_value input[0].call_id",
    ),
    "trigger": ({"input": [{"type": "compaction_trigger"}, {"role": "user", "content": ""}]}, "invalid_value input[0]"),
    "tools string": ({"tools": "x"}, "invalid_type tools"),
    "tool untyped": ({"tools": [{"name": "f"}]}, "missing_required_parameter tools[0].type"),
    "tool name": ({"tools": [{"type": "function", "name": "a b"}]}, "invalid_value tools[0].name"),
    "tool name long": ({"tools": [{"type": "function", "name": "a" * 129}]}, "invalid_value tools[0].name"),
    "tool strict": ({"tools": [{"type": "function", "name": "f", "strict": 1}]}, "invalid_type tools[0].strict"),
    "tool format": (
        {"tools": [{"type": "custom", "name": "f", "format": {"type": "grammar", "syntax": "ebnf"}}]},
        "unsupported_value tools[0].format.syntax",
    ),
    "store": ({"store": "yes"}, "invalid_type store"),
    "summary": (
        {"input": [{"type": "reasoning", "summary": [{"type": "reasoning_text", "text": "x"}]}]},
        "unsupported_value input[0].summary[0].type",
    ),
    "user": ({"user": 5}, "invalid_type user"),
    "client_metadata": ({"client_metadata": []}, "invalid_type client_metadata"),
    "temperature": ({"temperature": 2.1}, "invalid_value temperature"),
    "temperature true": ({"temperature": True}, "invalid_type temperature"),
    "temperature huge": ({"temperature": 10**400}, "invalid_type temperature"),
    "top_p": ({"top_p": -0.1}, "invalid_value top_p"),
    "top_logprobs": ({"top_logprobs": 21}, "invalid_value top_logprobs"),
    "top_logprobs float": ({"top_logprobs": 5.0}, "invalid_type top_logprobs"),
    "max_output_tokens": ({"max_output_tokens": 15}, "invalid_value max_output_tokens"),
    "max_output_tokens true": ({"max_output_tokens": True}, "invalid_type max_output_tokens"),
    "max_tool_calls": ({"max_tool_calls": 0}, "invalid_value max_tool_calls"),
    "truncation": ({"truncation": "middle"}, "unsupported_value truncation"),
    "verbosity": ({"text": {"verbosity": "loud"}}, "unsupported_value text.verbosity"),
    "format type": ({"text": {"format": {"type": "xml"}}}, "unsupported_value text.format.type"),
    "format untyped": ({"text": {"format": {}}}, "missing_required_parameter text.format.type"),
    "format schema": (
        {"text": {"format": {"type": "json_schema", "name": "a"}}},
        "missing_required_parameter text.format.schema",
    ),
    "format name": (
        {"text": {"format": {"type": "json_schema", "name": "a b", "schema": {}}}},
        "invalid_value text.format.name",
    ),
    "format strict": (
        {"text": {"format": {"type": "json_schema", "name": "a", "schema": {}, "strict": "yes"}}},
        "invalid_type text.format.strict",
    ),
    "effort": ({"reasoning": {"effort": 3}}, "invalid_type reasoning.effort"),
    "include": ({"include": ["x", 1]}, "invalid_type include[1]"),
    "metadata": ({"metadata": {"a": 1}}, "invalid_type metadata"),
    "metadata pairs": ({"metadata": {str(n): "" for n in range(17)}}, "invalid_value metadata"),
    "metadata key": ({"metadata": {"k" * 65: ""}}, "invalid_value metadata"),
    "metadata value": ({"metadata": {"k": "v" * 513}}, "invalid_value metadata"),
    "safety_identifier": ({"safety_identifier": "x" * 129}, "invalid_value safety_identifier"),
    "compaction": ({"context_management": []}, "invalid_value context_management"),
    "compaction entry": ({"context_management": [1]}, "invalid_type context_management[0]"),
    "compaction type": ({"context_management": [{"type": "x"}]}, "unsupported_value context_management[0].type"),
    "compaction threshold": (
        {"context_management": [{"type": "compaction", "compact_threshold": 999}]},
        "invalid_value context_management[0].compact_threshold",
    ),
    "compaction threshold type": (
        {"context_management": [{"type": "compaction", "compact_threshold": True}]},
        "invalid_type context_management[0].compact_threshold",
    ),
    "prewarm": ({"prompt_cache_options": {"prewarm": 1}}, "invalid_type prompt_cache_options.prewarm"),
    "previous": ({"previous_response_id": ""}, "invalid_value previous_response_id"),
    "lane": ({"stream_id": "a b"}, "invalid_stream_id stream_id"),
    "lane newline": ({"stream_id": "a\n"}, "invalid_stream_id stream_id"),
    "conversation": ({"conversation": "conv_1"}, "unsupported_parameter conversation"),
    "prompt": ({"prompt": {"id": "p"}}, "unsupported_parameter prompt"),
    "background": ({"background": True}, "unsupported_parameter background"),
    "background options": ({"background_options": {}}, "unsupported_parameter background_options"),
    "choice": ({"tool_choice": "any"}, "invalid_value tool_choice"),
    "choice number": ({"tool_choice": 1}, "invalid_type tool_choice"),
    "choice untyped": ({"tool_choice": {}}, "missing_required_parameter tool_choice.type"),
    "choice nameless": ({"tool_choice": {"type": "function"}}, "missing_required_parameter tool_choice.name"),
    "choice name": ({"tool_choice": {"type": "custom", "name": 1}}, "invalid_type tool_choice.name"),
    "choice tools": ({"tool_choice": {"type": "allowed_tools"}}, "invalid_type tool_choice.tools"),
    "choice tool": ({"tool_choice": {"type": "allowed_tools", "tools": [1]}}, "invalid_type tool_choice.tools[0]"),
    "choice mode": (
        {"tool_choice": {"type": "allowed_tools", "mode": "none", "tools": []}},
        "invalid_value tool_choice.mode",
    ),
}


@pytest.mark.parametrize(("members", "told"), WRONG.values(), ids=WRONG.keys())
def test_a_mistake_is_told_with_its_place(members: dict[str, Any], told: str) -> None:
    error = refusal(**members)
    assert f"{error.code} {error.param}" == told
    assert f"'{error.param}'" in error.message or error.code in ("unsupported_parameter", "invalid_value")


COMPLETE: dict[str, Any] = {
    "type": "response.create",
    "stream_id": "main",
    "model": "m",
    "instructions": "be brief",
    "previous_response_id": "resp_1",
    "store": True,
    "generate": True,
    "stream": True,
    "parallel_tool_calls": False,
    "max_tool_calls": 3,
    "max_output_tokens": 100,
    "temperature": 0.5,
    "top_p": 0.5,
    "top_logprobs": 1,
    "reasoning": {"effort": "low"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"},
    "truncation": "auto",
    "include": ["reasoning.encrypted_content"],
    "metadata": {"k": "v"},
    "service_tier": "flex",
    "prompt_cache_key": "k",
    "safety_identifier": "s",
    "user": "u",
    "client_metadata": {"a": "b"},
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "t"}], "id": "msg_1"},
        {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": "u", "detail": "low"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "t", "annotations": []}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_file", "file_id": "f"}]},
        {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "x", "namespace": "n"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "x"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}], "encrypted_content": "e"},
        {"type": "mcp_call", "server_label": "s", "name": "f", "arguments": "{}", "output": "x"},
        {"type": "compaction", "encrypted_content": "e"},
        {"type": "item_reference", "id": "msg_1"},
    ],
    "tools": [
        {"type": "function", "name": "f", "parameters": {}, "strict": True, "description": "d"},
        {"type": "custom", "name": "g", "format": {"type": "text"}},
    ],
}
FREE = ("arguments.", "schema.", "parameters.", "client_metadata.", "metadata.")


def places(value: Any, path: str = "") -> list[str]:
    """Every path inside a JSON value of which the type is fixed."""
    found = [path] if path and not path.startswith(FREE) else []
    if isinstance(value, dict):
        for name, inner in value.items():
            found += places(inner, f"{path}.{name}" if path else name)
    if isinstance(value, list):
        for index, inner in enumerate(value):
            found += places(inner, f"{path}[{index}]")
    return found


PLACES = [path for path in places(COMPLETE) if path != "type" and "annotations" not in path]


def replace(path: str, value: Any) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(COMPLETE))
    steps = [int(step) if step.isdigit() else step for step in path.replace("[", ".").replace("]", "").split(".")]
    target: Any = changed
    for step in steps[:-1]:
        target = target[step]
    target[steps[-1]] = value
    return changed


def look_up(path: str) -> Any:
    target: Any = COMPLETE
    for step in path.replace("[", ".").replace("]", "").split("."):
        target = target[int(step) if step.isdigit() else step]
    return target


def _kind(value: Any) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def test_the_complete_request_is_fine() -> None:
    assert len(decode_create(encode_json(COMPLETE), LIMITS, transport="websocket").input) == len(COMPLETE["input"])


@given(st.sampled_from(PLACES), st.data())
def test_a_wrong_type_anywhere_is_told_with_its_place(path: str, data: st.DataObject) -> None:
    also = {"list", "str"} if path.endswith((".content", ".output")) or path == "input" else set()
    kinds = {_kind(look_up(path))} | also
    wrong = data.draw(strategies.JSON.filter(lambda value: value is not None and _kind(value) not in kinds))
    with pytest.raises(RequestError) as caught:
        decode_create(encode_json(replace(path, wrong)), LIMITS, transport="websocket")
    told = caught.value.param
    assert told is not None
    assert told == path or (path.startswith("metadata.") and told == "metadata")
    assert caught.value.code in ("invalid_type", "invalid_stream_id")


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_our_own_words(frame: bytes) -> None:
    with suppress(AgentwireError):
        assert isinstance(decode_object(frame, LIMITS), dict)  # two bytes are enough for that
    with suppress(AgentwireError):
        assert decode_envelope(frame, LIMITS).type  # and a dozen for this
    with pytest.raises(AgentwireError):
        decode_create(frame, LIMITS, transport="websocket")


@given(strategies.JSON, st.sampled_from(sorted(COMPLETE)), st.booleans())
def test_any_json_is_read_or_refused(value: Any, name: str, whole: bool) -> None:
    frame = encode_json(value if whole else {**COMPLETE, name: value})
    for transport in ("websocket", "http"):
        told = None
        try:
            decode_create(frame, LIMITS, transport=transport)
            decode_envelope(frame, LIMITS)
        except RequestError as error:
            told = error
        if told is not None:
            assert told.status == 400
            assert told.code
            assert len(str(told)) < 1000


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", "invalid_json"),
        (b"[]", "invalid_json"),
        (b"null", "invalid_json"),
        (b'{"model":"\xff"}', "invalid_json"),
        (b'{"model":"m"} {}', "invalid_json"),
        (b'{"temperature":1e999}', "invalid_json"),
        (b'{"temperature":NaN}', "invalid_json"),
        (b'{"x":"\\ud800"}', "invalid_json"),
        (b'{"x":' + b"1" * 5000 + b"}", "invalid_json"),
    ],
)
def test_what_is_no_json_object_is_told(frame: bytes, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        decode_create(frame, LIMITS, transport="http")
    assert caught.value.code == code


def test_lanes_are_for_the_socket() -> None:
    body = {"model": "m", "input": "x", "stream_id": "a"}
    with pytest.raises(RequestError) as caught:
        decode_create(encode_json(body), LIMITS, transport="http")
    assert (caught.value.code, caught.value.param) == ("unknown_parameter", "stream_id")


def test_what_runs_in_the_background_is_stored() -> None:
    body = {"model": "m", "input": "x", "background": True, "store": False}
    with pytest.raises(RequestError) as caught:
        decode_create(encode_json(body), LIMITS, transport="http")
    assert (caught.value.status, caught.value.param) == (400, "store")


def test_a_request_that_is_only_looked_at_may_lack_model_and_input() -> None:
    steps = decode_create_steps(b'{"instructions": "x", "model": null}', LIMITS, transport="http", partial=True)
    requests: list[CreateRequest] = []

    def read() -> Generator[None]:
        requests.append((yield from steps))

    for _ in read():
        pass
    assert [(request.model, request.instructions, request.input) for request in requests] == [("default", "x", ())]


@pytest.mark.parametrize(
    ("body", "background", "stream"),
    [
        (b'{"background": true, "stream": true}', True, True),
        (b'{"input": {"background": true}, "stream":true}', False, True),
        (b'{"background": 1, "stream": "true"}', False, False),
        (b'{"background": null}', False, False),
        (b"{}", False, False),
        (b"[]", False, False),
        (b'{"background": true', False, False),
        (b'\xff{"background": true}', False, False),
        (b'{"background": ' + b"[" * 5000, False, False),
        (b"", False, False),
    ],
)
def test_how_an_answer_is_wanted(body: bytes, background: bool, stream: bool) -> None:
    assert peek_delivery(body) == Delivery(background=background, stream=stream)


def test_the_background_is_for_http() -> None:
    body = {"model": "m", "input": "x", "background": True, "stream_id": None}
    assert decode_create(encode_json(body), LIMITS, transport="http").background


def test_a_message_of_an_error_is_short_whatever_was_sent() -> None:
    assert len(refusal(truncation="x" * 100_000).message) < 300
    assert len(refusal(metadata={"x" * 100_000: ""}).message) < 300


# In steps


def test_a_big_input_is_read_in_steps() -> None:
    body = {"model": "m", "input": [{"role": "user", "content": "x"}] * 9_000}
    steps = decode_create_steps(encode_json(body), LIMITS, transport="http")
    taken = 0
    try:
        while True:
            next(steps)
            taken += 1
    except StopIteration as stop:
        request = stop.value
    assert len(request.input) == 9_000
    assert taken > 4


def test_many_tools_are_read_in_steps_as_well() -> None:
    body = {"model": "m", "input": "x", "tools": [{"type": "function", "name": "f"}] * 5_000}
    assert sum(1 for _ in decode_create_steps(encode_json(body), LIMITS, transport="http")) > 2


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ([{"role": "user", "content": "x"}] * 4, "input"),
        ([{"role": "user", "content": [{"type": "input_text", "text": ""}] * 4}], "input[0]"),
    ],
)
def test_too_many_items_or_parts_are_refused(given: Any, param: str) -> None:
    limits = attrs.evolve(LIMITS, input_items=3)
    with pytest.raises(RequestError) as caught:
        decode_create(encode_json({"model": "m", "input": given}), limits, transport="http")
    assert (caught.value.code, caught.value.param) == ("request_too_complex", param)


# Envelopes


def test_an_envelope_is_read_whatever_the_order_of_its_members() -> None:
    frame = (
        b'{"input":[{"a":"\\""}],"generate":false,"previous_response_id":"resp_1",'
        b'"stream_id":"a.B_9-","type":"response.create"}'
    )
    assert decode_envelope(frame, LIMITS) == Envelope("response.create", "a.B_9-", "resp_1", None, generate=False)


def test_an_envelope_does_not_look_at_the_body() -> None:
    envelope = decode_envelope(
        b'{"type":"response.create","input":[1,2],"previous_response_id":5,"generate":1}', LIMITS
    )
    assert envelope == Envelope("response.create")


@pytest.mark.parametrize(("value", "background"), [("true", True), ("false", False), ("1", False), ('"true"', False)])
def test_an_envelope_says_whether_its_request_is_to_run_without_its_connection(value: str, background: bool) -> None:
    frame = b'{"type":"response.create","background":%b}' % value.encode()
    assert decode_envelope(frame, LIMITS).background is background


@pytest.mark.parametrize("value", [b'""', b"7", b"null", b'"' + b"x" * 513 + b'"'])
def test_what_cannot_be_an_id_is_none(value: bytes) -> None:
    frame = b'{"type":"response.create","previous_response_id":' + value + b"}"
    assert decode_envelope(frame, LIMITS).previous_response_id is None


def test_a_steer_and_an_inject_bring_their_input_along() -> None:
    steer = decode_envelope(b'{"type":"response.steer","previous_response_id":"r","input":"stop"}', LIMITS)
    assert steer == Envelope("response.steer", None, "r", input="stop")
    inject = decode_envelope(b'{"type":"response.inject","response_id":"r","input":[{"a":1}]}', LIMITS)
    assert inject == Envelope("response.inject", None, None, "r", input=[{"a": 1}])
    assert decode_envelope(b'{"type":"response.steer"}', LIMITS).input is None


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (b"not json", "invalid_json None"),
        (b"[]", "invalid_json None"),
        (b"{}", "unknown_event_type type"),
        (b'{"type":null}', "unknown_event_type type"),
        (b'{"type":7}', "unknown_event_type type"),
        (b'{"type":""}', "unknown_event_type type"),
        (b'{"type":"' + b"x" * 257 + b'"}', "unknown_event_type type"),
        (b'{"type":"\\ud800"}', "invalid_json None"),
        (b'{"type":"a","stream_id":""}', "invalid_stream_id stream_id"),
        (b'{"type":"a","stream_id":5}', "invalid_stream_id stream_id"),
        (b'{"type":"a","stream_id":"' + b"x" * 257 + b'"}', "invalid_stream_id stream_id"),
        (b'{"type":"a","stream_id":"\xc3\xa9"}', "invalid_stream_id stream_id"),
        (b'{"type":"a","x":' + b"[" * 1_000_000 + b"}", "request_too_complex None"),  # deeper than any Python reads
        (b'{"type":"response.steer","input":' + b"[" * 200 + b"]" * 200 + b"}", "request_too_complex None"),
    ],
)
def test_an_envelope_that_is_wrong_is_told(frame: bytes, told: str) -> None:
    with pytest.raises(RequestError) as caught:
        decode_envelope(frame, LIMITS)
    assert f"{caught.value.code} {caught.value.param}" == told


def test_a_lane_that_is_null_is_the_default_lane() -> None:
    assert decode_envelope(b'{"type":"a","stream_id":null}', LIMITS).stream_id is None


@pytest.mark.parametrize("frame", [b'{"type":"a","x":"\xff"}', b"\x80", b'{"type":"a","x":"\xed\xa0\x80"}'])
def test_bytes_that_are_no_text_are_an_error_of_the_connection(frame: bytes) -> None:
    with pytest.raises(InvalidUtf8):
        decode_envelope(frame, LIMITS)


# Writing


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert json.loads(encode_json({"a\ud800": ["\udfff", "\U0001f600"]})) == {"a\ufffd": ["\ufffd", "\U0001f600"]}


def test_objects_inside_plain_values_are_written_too() -> None:
    value = {"items": [Message("user", (OpaquePart({"type": "x"}),))], "tool": FunctionTool("f"), "n": (1, None)}
    assert to_wire(value) == {
        "items": [{"type": "message", "role": "user", "content": [{"type": "x"}]}],
        "tool": {"type": "function", "name": "f", "parameters": None, "strict": None, "description": None},
        "n": [1, None],
    }


def test_members_of_opaque_objects_may_be_any_mapping_and_any_text() -> None:
    item = OpaqueItem({"type": "x", "q": MappingProxyType({"b": ("\ud800",)})})
    assert json.loads(encode_wire(encode_item(item))) == {"type": "x", "q": {"b": ["\ufffd"]}}


def test_what_has_no_json_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        encode_json({"x": object()})


def test_our_bytes_are_the_bytes_of_the_library() -> None:
    assert encode_json({"a": [1, "é"]}) == msgspec.json.encode({"a": [1, "é"]})


def test_an_item_may_be_any_mapping() -> None:
    item = decode_item(attrs.asdict(Message("user", "x"), filter=lambda field, _: field.name in ("role", "content")))
    assert item == Message("user", "x")
    assert decode_item(OpaqueItem({"type": "x"}).raw) == OpaqueItem({"type": "x"})


def test_an_item_that_is_wrong_is_told_under_the_name_that_it_was_given() -> None:
    with pytest.raises(RequestError) as caught:
        decode_item({"type": "message", "role": "user", "content": [{"type": "input_text", "text": 1}]}, "output[3]")
    assert caught.value.param == "output[3].content[0].text"
