"""Calls and outputs of a conversation, as functions' calls and outputs, or in words."""

from __future__ import annotations

from typing import Any

import pytest

from agentwire.engines.offering import Catalogue, answer_text, as_function, in_words, screenshot, tools_in
from agentwire.protocol.codec import decode_item
from agentwire.protocol.items import OpaqueItem
from agentwire.testing.recording import ask_for

NOTHING = Catalogue()


def opaque(**raw: Any) -> OpaqueItem:
    return OpaqueItem(raw)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, ("c", "f", "{}")),
        ({"type": "function_call", "call_id": "c", "name": "f", "namespace": "n", "arguments": "{}"},
         ("c", "n__f", "{}")),
        ({"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "x"}, ("c", "f", '{"input":"x"}')),
        ({"type": "local_shell_call", "id": "l", "action": {"type": "exec", "command": ["ls"], "env": {}}},
         ("l", "local_shell", '{"command":["ls"]}')),
        ({"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"], "timeout_ms": None}},
         ("c", "shell", '{"commands":["ls"]}')),
        ({"type": "tool_search_call", "arguments": {"query": "x"}}, ("tool_search", "tool_search", '{"query":"x"}')),
        ({"type": "web_search_call", "id": "w"}, None),
        ({"type": "message", "role": "user", "content": "x"}, None),
    ],
)  # fmt: skip
def test_calls(raw: dict[str, Any], told: tuple[str, str, str] | None) -> None:
    assert as_function(decode_item(raw), NOTHING) == told


def test_a_type_whose_name_a_function_has_is_told_by_the_name_that_it_was_offered_by() -> None:
    known = Catalogue.of(ask_for("x", tools=[{"type": "function", "name": "shell"}, {"type": "shell"}]).tools)
    call = as_function(opaque(type="shell_call", call_id="c", action={"commands": ["ls"]}), known)
    assert call is not None
    assert call[1] == [offer.backend_name for offer in known][1] != "shell"


def test_answers() -> None:
    assert answer_text(opaque(type="shell_call_output", output="a"), NOTHING) == "a"
    assert answer_text(opaque(type="mystery_output", output="a"), NOTHING) == "a"
    assert answer_text(opaque(type="mystery_output", id="m", output=["a"]), NOTHING) == '{"output":["a"]}'
    assert screenshot(opaque(type="computer_call_output", output={"image_url": "data:,"})) == "data:,"
    assert screenshot(opaque(type="computer_call_output", output={"file_id": "f"})) is None


def test_what_is_told_in_words_is_short() -> None:
    assert in_words(opaque(type="reasoning", x=1)) is None
    assert in_words(opaque(type="web_search_call", id="w", status="completed", action=None)) is None
    told = in_words(opaque(type="image_generation_call", id="i", result="A" * 100_000, parts=[{"n": 1}] * 100))
    assert told is not None
    assert told.startswith('(image_generation_call: {"result":"AAA')
    assert len(told) < 3_000


def test_items_that_bring_tools() -> None:
    assert tools_in(decode_item({"type": "message", "role": "user", "content": "x"})) is None
    late = tools_in(opaque(type="additional_tools", tools=[]))
    assert late is not None
    assert late.type == "additional_tools"
