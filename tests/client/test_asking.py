"""From what callers write to requests."""

from __future__ import annotations

from typing import Any

import pytest

from agentwire.client.asking import DEFAULT_MODEL, Offer, build_request, read_items
from agentwire.protocol.codec import encode_create
from agentwire.protocol.content import InputText
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.items import FunctionCallOutput, Message, OpaqueItem
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.tools import CustomTool, OpaqueTool


def build(given: Any = "Hi", tools: Any = (), **fields: Any) -> CreateRequest:
    return build_request(given, model=None, offer=Offer.of(tools), limits=Limits(), fields=fields)


def _add(a: int, b: int) -> int:
    return a + b


@pytest.mark.parametrize(
    ("given", "items"),
    [
        ("Hi", (Message("user", "Hi"),)),
        ("", (Message("user", ""),)),
        ((), ()),
        (Message("developer", "x"), (Message("developer", "x"),)),
        ({"role": "user", "content": "Hi"}, (Message("user", "Hi"),)),
        (
            [FunctionCallOutput("c", "1"), {"role": "user", "content": [{"type": "input_text", "text": "t"}]}],
            (FunctionCallOutput("c", "1"), Message("user", (InputText("t"),))),
        ),
        ([{"type": "odd", "x": 1}], (OpaqueItem({"type": "odd", "x": 1}),)),
    ],
)
def test_input_in_every_form(given: Any, items: Any) -> None:
    assert read_items(given) == items


@pytest.mark.parametrize("given", [None, 3])
def test_input_that_is_none_is_told(given: Any) -> None:
    with pytest.raises(LocalProtocolError, match="input must be a text, an item or a list of items, not "):
        read_items(given)


def test_members_are_as_on_the_wire_and_unknown_ones_pass() -> None:
    request = build(
        tool_choice={"type": "function", "name": "_add"},
        tools=[_add],
        text={"format": {"type": "json_object"}},
        reasoning={"effort": "low"},
        max_output_tokens=100,
        stream_id="lane",
        future={"x": 1},
        instructions=None,
    )
    assert request.model == DEFAULT_MODEL
    assert request.tool_choice.names == ("_add",)
    assert request.text.format == {"type": "json_object"}
    assert (request.max_output_tokens, request.stream_id, request.instructions) == (100, "lane", None)
    assert request.extra == {"future": {"x": 1}}
    assert b'"future":{"x":1}' in encode_create(request)


def test_functions_are_sorted_from_tools_of_other_kinds() -> None:
    web, grammar = OpaqueTool({"type": "web_search"}), CustomTool("exec")
    offer = Offer.of([web, _add, {"type": "mcp", "server_label": "x"}, grammar])
    assert offer.toolbox.names == ("_add",)
    request = build_request("x", model="m", offer=offer, limits=Limits(), fields={})
    assert [tool.name for tool in request.tools] == ["_add", "web_search", "x", "exec"]


@pytest.mark.parametrize(
    ("given", "fields", "words"),
    [
        ("x", {"temperature": 3}, "'temperature'.*between 0 and 2"),
        ("x", {"stream_id": "a b"}, "stream_id"),
        ("x", {"previous_response_id": 3}, "'previous_response_id': expected a string"),
        ("x", {"metadata": object()}, "no JSON"),
        ("x", {"tool_choice": "sometimes"}, "tool_choice"),
        ([{"type": "function_call_output"}], {}, r"input\[0\]\.call_id"),
        ([3], {}, r"input\[0\]"),
        ({"role": "nobody", "content": ""}, {}, r"input\.role"),
    ],
)
def test_mistakes_are_found_before_anything_is_sent(given: Any, fields: Any, words: str) -> None:
    with pytest.raises(LocalProtocolError, match=words):
        build(given, **fields)
