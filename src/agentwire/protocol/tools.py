"""Tools that a request offers, and which of them the model may use.

Function and free-text tools are modelled; every other type is an `OpaqueTool`, carried unchanged and never refused
(clients offer hosted tools to any server). A `ToolChoice` is the parsed form of all shapes of ``tool_choice``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final, Literal, TypeAlias

import attrs

from agentwire.protocol.checks import EMPTY, KEPT, checked, kind_of, matching, shorten
from agentwire.protocol.errors import RequestError
from agentwire.protocol.settings import check_grammar

__all__ = [
    "AUTO",
    "TOOLS",
    "TOOL_ITEMS",
    "CustomTool",
    "FunctionTool",
    "OpaqueTool",
    "Tool",
    "ToolChoice",
    "check_tool_choice",
    "parse_tool_choice",
    "tool_names",
]

NAME: Final = matching("[a-zA-Z0-9_-]", 1, 128)


@attrs.frozen
class FunctionTool:
    """A tool that takes JSON arguments.

    Attributes:
        name: 1 to 128 characters of ``[a-zA-Z0-9_-]``.
        parameters: JSON schema of the arguments; None for a tool without.
        strict: whether arguments must follow the schema exactly; None leaves it to the server.
        description: for the model.
    """

    type: ClassVar[str] = "function"
    name: str = attrs.field(metadata=checked(NAME))
    parameters: Mapping[str, Any] | None = attrs.field(default=None, metadata=KEPT)
    strict: bool | None = attrs.field(default=None, metadata=KEPT)
    description: str | None = attrs.field(default=None, metadata=KEPT)
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)


@attrs.frozen
class CustomTool:
    """A tool that takes free text, perhaps of a given grammar."""

    type: ClassVar[str] = "custom"
    name: str = attrs.field(metadata=checked(NAME))
    description: str | None = None
    format: Mapping[str, Any] | None = attrs.field(default=None, metadata=checked(check_grammar))
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)


@attrs.frozen
class OpaqueTool:
    """A tool of a type that is carried and not understood.

    Attributes:
        raw: the JSON object as it came; not to be changed.
    """

    raw: Mapping[str, Any]

    @property
    def type(self) -> str:
        """The tag it came with."""
        return str(self.raw.get("type", ""))

    @property
    def name(self) -> str:
        """Its name, or what else tells it apart: an MCP server's label, or the type."""
        for key in ("name", "server_label"):
            value = self.raw.get(key)
            if isinstance(value, str):
                return value
        return self.type


Tool: TypeAlias = FunctionTool | CustomTool | OpaqueTool
"""Any tool."""

TOOLS: Mapping[str, type] = {cls.type: cls for cls in (FunctionTool, CustomTool)}
"""The known tools by their tag."""

TOOL_ITEMS: Final = ("additional_tools", "tool_search_output")
"""Types of items that bring tools, which may be called from then on."""

_HOLDERS: Final = ("namespace", *TOOL_ITEMS)

Mode = Literal["auto", "none", "required"]


@attrs.frozen
class ToolChoice:
    """Which tools the model may, must or must not call.

    Attributes:
        mode: it may (``auto``), must not (``none``) or must (``required``) call a tool.
        names: only these tools; None for all of them. An MCP server stands here by its label, and one of its tools as
            ``label.name``.
        raw: as the client sent it, for the echo.
    """

    mode: Mode = "auto"
    names: tuple[str, ...] | None = None
    raw: Any = "auto"

    def allows(self, name: str) -> bool:
        """Whether the tool of that name may be called."""
        return self.mode != "none" and (self.names is None or name in self.names)


AUTO: Final = ToolChoice()
"""The default: the model decides."""

_MODES: Final[Mapping[str, Mode]] = {"auto": "auto", "none": "none", "required": "required"}


def parse_tool_choice(raw: object) -> ToolChoice:
    """Read any shape of ``tool_choice``.

    Raises:
        RequestError: 400 that names the offending member.
    """
    if isinstance(raw, str):
        if raw not in _MODES:
            raise _wrong(f"it must be 'auto', 'none', 'required' or an object, and is {shorten(raw)}", "tool_choice")
        return ToolChoice(_MODES[raw], None, raw)
    if not isinstance(raw, Mapping):
        raise _kind("a string or an object", raw, "tool_choice")
    if _text(raw, "type", "tool_choice") == "allowed_tools":
        return _allowed_tools(raw)
    return ToolChoice("required", (_tool_name(raw, "tool_choice"),), raw)


def _allowed_tools(raw: Mapping[str, Any]) -> ToolChoice:
    mode = raw.get("mode") or "auto"  # Open Responses' own example leaves it out
    if mode not in ("auto", "required"):
        raise _wrong(f"it must be 'auto' or 'required', and is {shorten(mode)}", "tool_choice.mode")
    tools = raw.get("tools")
    if not isinstance(tools, list | tuple):
        raise _kind("an array", tools, "tool_choice.tools")
    names = []
    for index, tool in enumerate(tools):
        param = f"tool_choice.tools[{index}]"
        if not isinstance(tool, Mapping):
            raise _kind("an object", tool, param)
        names.append(_tool_name(tool, param))
    return ToolChoice(_MODES[mode], tuple(names), raw)


def _tool_name(raw: Mapping[str, Any], param: str) -> str:
    kind = _text(raw, "type", param)
    if kind in TOOLS:
        return _text(raw, "name", param)
    if kind == "mcp":
        label, name = _text(raw, "server_label", param), raw.get("name")
        return f"{label}.{name}" if isinstance(name, str) else label
    return OpaqueTool(raw).name


def _text(raw: Mapping[str, Any], key: str, param: str) -> str:
    value = raw.get(key)
    if value is None:
        raise RequestError(
            400, "missing_required_parameter", f"Missing required parameter: '{param}.{key}'.", param=f"{param}.{key}"
        )
    if not isinstance(value, str):
        raise _kind("a string", value, f"{param}.{key}")
    return value


def _wrong(problem: str, param: str) -> RequestError:
    return RequestError.invalid(f"Invalid value for '{param}': {problem}.", param=param)


def _kind(expected: str, value: object, param: str) -> RequestError:
    message = f"Invalid type for '{param}': expected {expected}, got {kind_of(value)}."
    return RequestError.invalid(message, param=param, code="invalid_type")


def tool_names(tools: Iterable[Tool]) -> Iterator[str]:
    """The names by which tools can be chosen: their own, and those of the tools inside a namespace."""
    for tool in tools:
        yield tool.name
        if isinstance(tool, OpaqueTool):
            yield from _names_within(tool.raw)


def _names_within(raw: Mapping[str, Any], depth: int = 2) -> Iterator[str]:
    """The names in a namespace; items bring such tools, too, so that one may be within another list."""
    inner = raw.get("tools") if depth and raw.get("type") in _HOLDERS else None
    for tool in inner if isinstance(inner, list | tuple) else ():
        if isinstance(tool, Mapping):
            if name := OpaqueTool(tool).name:
                yield name
            yield from _names_within(tool, depth - 1)


def check_tool_choice(choice: ToolChoice, tools: Iterable[Tool]) -> None:
    """Check that what is chosen is on offer, once all tools are known (the server's own and late ones too).

    Raises:
        RequestError: 400 with param ``tool_choice``: a tool is named that nobody offers, or one is required and there
            is none.
    """
    tools = tuple(tools)
    offered = set(tool_names(tools))
    labels = {tool.name for tool in tools if tool.type == "mcp"}
    if choice.mode == "required" and not offered:
        raise _wrong("a tool is required, but 'tools' offers none", "tool_choice")
    for name in choice.names or ():
        if name not in offered and name.partition(".")[0] not in labels:
            raise _wrong(f"the tool {shorten(name)} is not among 'tools'", "tool_choice")
