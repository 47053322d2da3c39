"""Items, their text, and how calls and answers are told apart."""

from __future__ import annotations

from typing import Any

import pytest

from agentwire.protocol.content import InputImage, InputText, OpaquePart, OutputText, Refusal, SummaryText, text_of
from agentwire.protocol.items import (
    CLIENT_CALLS,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    McpCall,
    Message,
    OpaqueItem,
    answered_call,
    client_call,
)


def opaque(kind: str, **members: Any) -> OpaqueItem:
    return OpaqueItem({"type": kind, **members})


CALLS: list[tuple[Item, str | None]] = [
    (FunctionCall("c", "f", "{}"), "c"),
    (CustomToolCall("c", "f", "x"), "c"),
    (opaque("computer_call", call_id="c"), "c"),
    (opaque("shell_call", call_id="c"), "c"),
    (opaque("shell_call", call_id="c", environment={"type": "local"}), "c"),
    (opaque("shell_call", call_id="c", environment={"type": "container_reference"}), None),
    (opaque("local_shell_call", id="i"), "i"),
    (opaque("apply_patch_call", call_id="c", id="i"), "c"),
    (opaque("tool_search_call", call_id="c", execution="client"), "c"),
    (opaque("tool_search_call", call_id="c", execution="server"), None),
    (opaque("tool_search_call", call_id="c"), "c"),
    (opaque("tool_search_call", call_id=None), None),
    (opaque("mcp_approval_request", id="i"), "i"),
    (opaque("computer_call"), None),
    (opaque("computer_call", call_id=5), None),
    (opaque("web_search_call", call_id="c"), None),
    (McpCall("s", "f", "{}"), None),
    (Message("user", "x"), None),
]
ANSWERS: list[tuple[Item, str | None]] = [
    (FunctionCallOutput("c", "x"), "c"),
    (CustomToolCallOutput("c", "x"), "c"),
    (opaque("computer_call_output", call_id="c"), "c"),
    (opaque("local_shell_call_output", id="i"), "i"),
    (opaque("shell_call_output", id="i"), None),
    (opaque("mcp_approval_response", approval_request_id="i"), "i"),
    (opaque("tool_search_output", call_id="c", execution="client"), "c"),
    (opaque("tool_search_output", call_id="c", execution="server"), None),
    (opaque("tool_search_output", call_id="c", execution=None), "c"),
    (opaque("tool_search_output", call_id=None), None),
    (opaque("program_output", call_id="c"), None),
    (Message("user", "x"), None),
]


@pytest.mark.parametrize(("item", "call"), CALLS)
def test_a_call_waits_for_the_client_if_it_is_the_clients_to_run(item: Item, call: str | None) -> None:
    assert client_call(item) == call
    assert answered_call(item) is None


@pytest.mark.parametrize(("item", "call"), ANSWERS)
def test_an_answer_says_which_call_it_answers(item: Item, call: str | None) -> None:
    assert answered_call(item) == call
    assert client_call(item) is None


def test_every_kind_of_call_has_its_kind_of_answer() -> None:
    for call, answer in CLIENT_CALLS.items():
        members = {"call_id": "c", "id": "c", "approval_request_id": "c", "execution": "client"}
        item = FunctionCall("c", "f", "") if call == "function_call" else opaque(call, **members)
        assert client_call(CustomToolCall("c", "f", "") if call == "custom_tool_call" else item) == "c"
        if answer not in ("function_call_output", "custom_tool_call_output"):
            assert answered_call(opaque(answer, **members)) == "c"


def test_text_is_joined_over_all_parts_that_have_some() -> None:
    parts = (
        InputText("a"),
        InputImage(file_id="f"),
        OutputText("b"),
        Refusal("c"),
        OpaquePart({"type": "x", "text": "y"}),
    )
    assert Message("user", parts).text == "abc"
    assert Message("user", "plain").text == "plain"
    assert FunctionCallOutput("c", parts).text == CustomToolCallOutput("c", parts).text == "abc"
    assert text_of([SummaryText("s")]) == "s"


def test_what_is_opaque_still_has_a_type_and_perhaps_an_id() -> None:
    assert (opaque("x", id="i").type, opaque("x", id="i").id) == ("x", "i")
    assert opaque("x", id=5).id is None
    assert OpaquePart({"type": "p"}).type == "p"
