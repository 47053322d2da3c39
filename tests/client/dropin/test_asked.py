"""What of a posted request goes on a socket, and what makes it one for HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentwire.client.dropin.asked import Asked
from tests.client.dropin.kit import TOOL, asked

Json = dict[str, Any]


def read(**members: Any) -> Asked | None:
    return Asked.read(json.dumps({"model": "m", "input": "Hi.", **members}).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"input": "\xff"}',
        b'{"a":' * 100_000,
        b'{"model": 1, "input": "Hi."}',
        b'{"model": "m", "input": "Hi.", "stream": "yes"}',
        b'{"model": "m", "input": "Hi.", "previous_response_id": 7}',
    ],
)
def test_what_cannot_be_read_is_left_to_the_server_over_http(body: bytes) -> None:
    assert Asked.read(body) is None


@pytest.mark.parametrize(
    "members",
    [{"background": True}, {"conversation": "conv_1"}, {"conversation": {"id": "conv_1"}}, {"stream_id": "main"}],
)
def test_what_only_http_has_goes_there(members: Json) -> None:
    assert read(**members) is None


def test_members_go_out_as_they_were_written_and_those_of_http_not_at_all() -> None:
    body = b'{"model":"m","input":[{"role":"user","content":"a"}],"temperature":1.50,"stream":true,'
    body += b'"stream_options":{"include_obfuscation":false},"background":false,"new_thing":{"b":1e2}}'
    request = Asked.read(body)
    assert request is not None
    assert request.stream
    message = request.message("lane")
    assert message.startswith(b'{"type":"response.create","stream_id":"lane",')
    assert b'"temperature":1.50,"new_thing":{"b":1e2}' in message
    assert json.loads(message).keys() == {"type", "stream_id", "model", "input", "temperature", "new_thing"}


def test_a_delta_names_the_response_and_has_the_rest_of_the_input() -> None:
    history = [{"role": "user", "content": text} for text in "abc"]
    message = json.loads(asked(history, store=False).message(None, after=2, known="resp_1"))
    assert message["input"] == history[2:]
    assert (message["previous_response_id"], message["store"]) == ("resp_1", False)
    assert "stream_id" not in message


def test_what_the_sdk_leaves_out_is_left_out() -> None:
    message = json.loads(asked().message(None))
    assert message == {"type": "response.create", "model": "m", "input": "Hi."}


@pytest.mark.parametrize(
    ("store", "stored"), [({}, True), ({"store": None}, True), ({"store": True}, True), ({"store": False}, False)]
)
def test_a_response_is_stored_unless_the_request_says_no(store: Json, stored: bool) -> None:
    assert asked(**store).stored is stored


@pytest.mark.parametrize(
    "members",
    [
        {"temperature": 0.5},
        {"tools": [TOOL]},
        {"instructions": "Be brief."},
        {"model": "n"},
        {"store": False},
        {"reasoning": {"effort": "low"}},
    ],
)
def test_other_settings_are_another_conversation(members: Json) -> None:
    assert asked(**members).key("me") != asked().key("me")


def test_the_same_settings_of_somebody_else_are_too() -> None:
    assert asked().key("me") != asked().key("you")


@pytest.mark.parametrize(
    "members", [{"metadata": {"a": "b"}}, {"stream": True}, {"store": True}, {"user": "u"}, {"generate": False}]
)
def test_labels_and_the_form_of_the_answer_are_no_settings(members: Json) -> None:
    assert asked(**members).key("me") == asked().key("me")


def test_a_request_that_names_a_response_is_not_the_whole_conversation() -> None:
    history = [{"role": "user", "content": text} for text in "ab"]
    assert len(asked(history).before) == 1
    request = asked(history, previous_response_id="resp_1")
    assert (request.before, request.transcript) == ((), None)
    assert json.loads(request.message(None))["previous_response_id"] == "resp_1"


@pytest.mark.parametrize(
    ("members", "repeatable"),
    [
        ({"store": False}, True),
        ({"store": False, "tools": [TOOL]}, True),
        ({"store": False, "tools": [TOOL, {"type": "web_search"}]}, False),
        ({"store": False, "tools": "all"}, False),
        ({}, False),
    ],
)
def test_what_may_run_twice(members: Json, repeatable: bool) -> None:
    assert asked(**members).repeatable is repeatable
