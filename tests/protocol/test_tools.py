"""Tool choice in all its shapes, and what may be chosen."""

from __future__ import annotations

from typing import Any

import pytest

from agentwire.protocol.errors import RequestError
from agentwire.protocol.tools import (
    CustomTool,
    FunctionTool,
    OpaqueTool,
    Tool,
    ToolChoice,
    check_tool_choice,
    parse_tool_choice,
    tool_names,
)

SHAPES: list[tuple[Any, str, tuple[str, ...] | None]] = [
    ("none", "none", None),
    ("auto", "auto", None),
    ("required", "required", None),
    ({"type": "function", "name": "f"}, "required", ("f",)),
    ({"type": "custom", "name": "patch"}, "required", ("patch",)),
    ({"type": "mcp", "server_label": "docs"}, "required", ("docs",)),
    ({"type": "mcp", "server_label": "docs", "name": "search"}, "required", ("docs.search",)),
    ({"type": "shell"}, "required", ("shell",)),
    ({"type": "file_search"}, "required", ("file_search",)),
    ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}, "required", ("f",)),
    (
        {"type": "allowed_tools", "tools": [{"type": "function", "name": "f"}, {"type": "shell"}]},
        "auto",
        ("f", "shell"),
    ),
    ({"type": "allowed_tools", "tools": []}, "auto", ()),
]


@pytest.mark.parametrize(("raw", "mode", "names"), SHAPES)
def test_every_shape_is_read(raw: Any, mode: str, names: tuple[str, ...] | None) -> None:
    choice = parse_tool_choice(raw)
    assert (choice.mode, choice.names, choice.raw) == (mode, names, raw)


def test_a_choice_says_which_tools_it_allows() -> None:
    assert ToolChoice().allows("f")
    assert not ToolChoice("none").allows("f")
    assert ToolChoice("required", ("f",)).allows("f")
    assert not ToolChoice("auto", ("f",)).allows("g")
    assert not ToolChoice("auto", ()).allows("f")


def test_an_opaque_tool_is_named_by_what_tells_it_apart() -> None:
    assert OpaqueTool({"type": "web_search"}).name == "web_search"
    assert OpaqueTool({"type": "mcp", "server_label": "docs"}).name == "docs"
    assert OpaqueTool({"type": "namespace", "name": "fs"}).name == "fs"
    assert OpaqueTool({"type": "namespace", "name": 5}).name == "namespace"


def test_tools_inside_a_namespace_can_be_chosen() -> None:
    inner = [{"type": "function", "name": "read"}, {"type": "custom", "name": "write"}, {"name": 1}, "x"]
    tools: list[Tool] = [
        OpaqueTool({"type": "namespace", "name": "fs", "tools": inner}),
        FunctionTool("f"),
        CustomTool("g"),
    ]
    assert list(tool_names(tools)) == ["fs", "read", "write", "f", "g"]
    assert list(tool_names([OpaqueTool({"type": "namespace", "name": "fs", "tools": 3})])) == ["fs"]
    assert list(tool_names([OpaqueTool({"type": "mcp", "server_label": "a", "tools": inner})])) == ["a"]
    late = OpaqueTool({"type": "additional_tools", "tools": [tools[0].raw, {"type": "shell"}]})  # type: ignore[union-attr]
    assert list(tool_names([late])) == ["additional_tools", "fs", "read", "write", "shell"]


def test_what_is_chosen_must_be_offered() -> None:
    check_tool_choice(ToolChoice("required", ("f",)), [FunctionTool("f")])
    check_tool_choice(ToolChoice("auto"), [])
    check_tool_choice(ToolChoice("none"), [])
    with pytest.raises(RequestError) as caught:
        check_tool_choice(ToolChoice("required", ("g",)), [FunctionTool("f")])
    assert (caught.value.status, caught.value.param) == (400, "tool_choice")
    assert "'g'" in caught.value.message


def test_a_tool_cannot_be_required_if_there_is_none() -> None:
    with pytest.raises(RequestError) as caught:
        check_tool_choice(ToolChoice("required"), [])
    assert caught.value.param == "tool_choice"
