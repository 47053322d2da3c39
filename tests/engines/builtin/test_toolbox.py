"""Offers: all tools, flat, and which of them may be called."""

from __future__ import annotations

from typing import Any

import pytest

from agentwire.engines.builtin.arguments import Job
from agentwire.engines.builtin.pen import Pen
from agentwire.engines.builtin.toolbox import allowed, offers
from agentwire.protocol.errors import EngineError
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import CustomToolCall, FunctionCall
from agentwire.protocol.tools import parse_tool_choice
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
ASKED = ask_for("x", tools=TOOLS).tools
OFFERS = offers(ASKED)


def test_tools_are_flat_and_the_first_of_a_name_counts() -> None:
    assert [(offer.name, offer.kind, offer.namespace) for offer in OFFERS] == [
        ("read_file", "function", None), ("note", "custom", None), ("peek", "function", "files"),
        ("jot", "custom", "files"),
        ("shell", "formed", None),
    ]  # fmt: skip
    assert OFFERS[0].description == "Read a text file."


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("auto", ["read_file", "note", "peek", "jot", "shell"]),
        ("none", []),
        ("required", ["read_file", "note", "peek", "jot", "shell"]),
        ({"type": "function", "name": "peek"}, ["peek"]),
        ({"type": "namespace", "name": "files"}, ["peek", "jot"]),
        ({"type": "shell"}, ["shell"]),
    ],
)
def test_what_may_be_called(choice: Any, names: list[str]) -> None:
    assert [offer.name for offer in allowed(ASKED, parse_tool_choice(choice))] == names


def test_what_nobody_here_can_run_is_refused_where_it_is_demanded() -> None:
    with pytest.raises(EngineError, match="web_search") as caught:
        allowed(ASKED, parse_tool_choice({"type": "web_search"}))
    assert (caught.value.status, caught.value.param) == (400, "tool_choice")


def test_what_a_tool_requires_can_be_filled_from_a_text_or_not() -> None:
    plain, nested = offers(
        ask_for("x", tools=[READ, tool("plan", steps={"type": "array", "items": {"type": "object"}})]).tools
    )
    assert plain.fillable
    assert not nested.fillable


async def test_calls_into_a_namespace_name_it() -> None:
    out = RecordingOut()
    pen = Pen(out, new_id=Sources.seeded(1).new_id)
    for offer, arguments in ((OFFERS[2], {"path": "a"}), (OFFERS[3], "text"), (OFFERS[0], {})):
        await pen.call(Job(offer, arguments))
    function, custom, plain = out.items
    assert isinstance(function, FunctionCall)
    assert isinstance(custom, CustomToolCall)
    assert isinstance(plain, FunctionCall)
    assert (function.namespace, function.arguments) == ("files", '{"path":"a"}')
    assert (custom.namespace, custom.input) == ("files", "text")
    assert plain.namespace is None
