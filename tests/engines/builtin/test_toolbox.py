"""Offers: all tools, flat, and which of them may be called."""

from __future__ import annotations

from typing import Any

import pytest

from agentwire.engines.builtin.arguments import Job
from agentwire.engines.builtin.hosted import hosted_call
from agentwire.engines.builtin.pen import Pen
from agentwire.engines.builtin.toolbox import Offer, allowed, of_json, offers
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import CustomToolCall, FunctionCall
from agentwire.protocol.tools import ToolChoice, parse_tool_choice
from agentwire.testing.recording import RecordingOut, ask_for
from tests.engines.kit import READ, tool

INNER = [{**READ, "name": "peek"}, {"type": "custom", "name": "jot"}, 7, {"type": "namespace", "name": "deeper"}]
TOOLS = [
    READ,
    {"type": "custom", "name": "note", "description": "Take notes", "format": {"type": "text"}},
    {"type": "namespace", "name": "files", "description": "f", "tools": INNER},
    {"type": "web_search"},
    {"type": "shell"},
    {**READ, "description": "the same name again"},
]
OFFERS = offers(ask_for("x", tools=TOOLS).tools)


def test_tools_are_flat_and_the_first_of_a_name_counts() -> None:
    assert [(offer.name, offer.kind, offer.namespace) for offer in OFFERS] == [
        ("read_file", "function", None), ("note", "custom", None), ("peek", "function", "files"),
        ("jot", "custom", "files"),
        ("deeper", "hosted", None), ("web_search", "hosted", None), ("shell", "hosted", None),
    ]  # fmt: skip
    assert OFFERS[0].description == "Read a text file."


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("auto", ["read_file", "note", "peek", "jot"]),
        ("none", []),
        ("required", ["read_file", "note", "peek", "jot"]),
        ({"type": "function", "name": "peek"}, ["peek"]),
        ({"type": "namespace", "name": "files"}, ["peek", "jot"]),
        ({"type": "shell"}, ["shell"]),
        ({"type": "web_search"}, []),
    ],
)
def test_what_may_be_called(choice: Any, names: list[str]) -> None:
    assert [offer.name for offer in allowed(OFFERS, parse_tool_choice(choice))] == names


def test_a_hosted_tool_is_not_called_unless_it_is_forced() -> None:
    hosted = (Offer("shell", "hosted", type="shell"),)
    assert allowed(hosted, ToolChoice()) == ()
    assert allowed(hosted, ToolChoice("required")) == hosted


def test_json_that_is_no_list_of_tools() -> None:
    assert of_json(None) == ()
    assert of_json([{}, {"type": 3}, "x"]) == ()
    assert of_json([{"type": "function", "name": "f", "parameters": []}])[0].parameters == {}


def test_what_a_tool_requires_can_be_filled_from_a_text_or_not() -> None:
    plain, nested = offers(
        ask_for("x", tools=[READ, tool("plan", steps={"type": "array", "items": {"type": "object"}})]).tools
    )
    assert plain.fillable
    assert not nested.fillable


@pytest.mark.parametrize(
    ("kind", "request_", "expected"),
    [
        ("shell", "run `ls`", {"type": "shell_call", "action": {"commands": ["ls"]}}),
        ("shell", "go", {"type": "shell_call", "action": {"commands": ["true"]}}),
        ("local_shell", 'run "make x"',
         {"type": "local_shell_call", "action": {"type": "exec", "command": ["bash", "-lc", "make x"], "env": {}}}),
        ("apply_patch", "add a line to `a.py`",
         {"type": "apply_patch_call",
          "operation": {"type": "create_file", "path": "a.py", "diff": "+add a line to `a.py"}}),
        ("computer", "go", {"type": "computer_call", "action": {"type": "screenshot"}, "pending_safety_checks": []}),
    ],
)  # fmt: skip
def test_hosted_calls(kind: str, request_: str, expected: dict[str, Any]) -> None:
    item = hosted_call(kind, request_, Sources.seeded(0))
    assert item["call_id"].startswith("call_")
    assert item["status"] == "completed"
    assert {name: item[name] for name in expected} == expected


async def test_calls_into_a_namespace_name_it() -> None:
    out = RecordingOut()
    pen = Pen(out)
    for offer, arguments in ((OFFERS[2], {"path": "a"}), (OFFERS[3], "text"), (OFFERS[0], {})):
        await pen.call(Job(offer, arguments))
    function, custom, plain = out.items
    assert isinstance(function, FunctionCall)
    assert isinstance(custom, CustomToolCall)
    assert isinstance(plain, FunctionCall)
    assert (function.namespace, function.arguments) == ("files", '{"path":"a"}')
    assert (custom.namespace, custom.input) == ("files", "text")
    assert plain.namespace is None
