from __future__ import annotations

from typing import Any

import pytest

from agentwire.protocol.codec import decode_event, decode_item, encode_json
from agentwire.protocol.content import InputImage, InputText
from agentwire.protocol.errors import RequestError
from agentwire.protocol.events import SteerAccepted, SteerFailed, SteerPending
from agentwire.protocol.items import CLIENT_CALLS, Item, Message, client_call
from agentwire.protocol.steering import CODES, Steer, accepted, failed, pending, read_messages, required_input

STEER = Steer("steer_1", "resp_1", "Stop.", read_messages("Stop."), 50)


class TestInput:
    def test_a_string_is_one_message(self) -> None:
        assert read_messages("Stop.") == (Message("user", "Stop."),)

    @pytest.mark.parametrize("kind", [{}, {"type": "message"}])
    def test_messages_of_the_user(self, kind: dict[str, str]) -> None:
        image = {"type": "input_image", "image_url": "data:image/png;base64,aa=="}
        given = [
            {"role": "user", "content": "one", **kind},
            {"role": "user", "content": [{"type": "input_text", "text": "two"}, image], **kind},
            {"role": "user", "content": [{"type": "input_file", "file_id": "file_1"}], **kind},
        ]
        first, second, third = read_messages(given)
        assert first == Message("user", "one")
        assert isinstance(second, Message)
        assert [type(part) for part in second.content] == [InputText, InputImage]
        assert isinstance(third, Message)

    @pytest.mark.parametrize(
        ("given", "param"),
        [
            (None, "input"),
            (5, "input"),
            ({"role": "user", "content": "x"}, "input"),
            ([], "input"),
            (["x"], "input[0]"),
            ([{"content": "x"}], "input[0]"),
            ([{"role": "assistant", "content": "x"}], "input[0]"),
            ([{"role": "user", "content": "x"}, {"role": "system", "content": "x"}], "input[1]"),
            ([{"type": "function_call_output", "call_id": "c", "output": "x"}], "input[0]"),
            ([{"type": "item_reference", "id": "msg_1"}], "input[0]"),
            ([{"role": "user", "content": "x", "id": "msg_1"}], "input[0]"),
            ([{"role": "user", "content": "x", "type": ["message"]}], "input[0]"),
            ([{"role": "user"}], "input[0].content"),
            ([{"role": "user", "content": 5}], "input[0].content"),
            ([{"role": "user", "content": ["x"]}], "input[0].content"),
            ([{"role": "user", "content": [{"type": "output_text", "text": "x"}]}], "input[0].content"),
            ([{"role": "user", "content": [{"type": {}, "text": "x"}]}], "input[0].content"),
            ([{"role": "user", "content": [{"type": "input_text"}]}], "input[0].content[0].text"),
        ],
    )
    def test_everything_else_is_refused_where_it_is_wrong(self, given: Any, param: str) -> None:
        with pytest.raises(RequestError) as refused:
            read_messages(given)
        assert (refused.value.status, refused.value.param) == (400, param)


def test_every_code_has_its_sentence() -> None:
    for code in CODES:
        event = failed(code, "resp_1", "resp_1", "Stop.")
        assert event["error"]["code"] == code
        assert event["error"]["type"] == "invalid_request_error"
        assert "resp_1" in event["error"]["message"]
        assert event["steer"] == {"previous_response_id": "resp_1", "input": "Stop."}


def test_a_failure_after_acceptance_names_the_steer() -> None:
    event = failed("successor_creation_failed", "no", "resp_1", "Stop.", "steer_1")
    assert event["steer"] == {"id": "steer_1", "previous_response_id": "resp_1", "input": "Stop."}


def test_a_failure_always_names_a_response() -> None:
    assert failed("response_not_found", "", None, "Stop.")["steer"]["previous_response_id"] == ""


def test_the_client_reads_what_is_said() -> None:
    events = (accepted(STEER), pending(STEER, {}), failed("response_not_found", "x", "resp_1", "Stop."))
    read = [decode_event(encode_json({**event, "sequence_number": 4})) for event in events]
    assert [type(event) for event in read] == [SteerAccepted, SteerPending, SteerFailed]
    assert isinstance(read[0], SteerAccepted)
    assert read[0].steer == {"id": "steer_1", "previous_response_id": "resp_1"}
    assert isinstance(read[1], SteerPending)
    assert read[1].reason == "waiting_for_required_input"


CALLS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"type": "function_call", "call_id": "c1", "name": "read", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "name": "read"},
    ),
    (
        {"type": "custom_tool_call", "call_id": "c1", "name": "patch", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c1"},
    ),
    (
        {"type": "computer_call", "call_id": "c1", "action": {"type": "screenshot"}},
        {"type": "computer_call_output", "call_id": "c1"},
    ),
    (
        {"type": "shell_call", "call_id": "c1", "action": {"commands": ["ls"]}},
        {"type": "shell_call_output", "call_id": "c1"},
    ),
    (
        {"type": "local_shell_call", "call_id": "c1", "action": {"type": "exec"}},
        {"type": "local_shell_call_output", "call_id": "c1"},
    ),
    (
        {"type": "apply_patch_call", "call_id": "c1", "operation": {"type": "delete_file", "path": "a"}},
        {"type": "apply_patch_call_output", "call_id": "c1"},
    ),
    (
        {"type": "tool_search_call", "call_id": "c1", "execution": "client", "arguments": {}},
        {"type": "tool_search_output", "call_id": "c1", "execution": "client"},
    ),
    (
        {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "s", "name": "n", "arguments": "{}"},
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1"},
    ),
]


@pytest.mark.parametrize(("call", "stub"), CALLS, ids=[call["type"] for call, _ in CALLS])
def test_a_stub_asks_for_the_answer_to_each_kind_of_call(call: dict[str, Any], stub: dict[str, Any]) -> None:
    item: Item = decode_item(call)
    name = client_call(item)
    assert name is not None
    assert required_input({name: item}) == [stub]


def test_every_kind_of_call_has_a_stub() -> None:
    assert {call["type"] for call, _ in CALLS} == set(CLIENT_CALLS)
