"""``tool_search`` that the client does: it answers with tools, which may be called from then on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec

from agentwire.engines.offering.form import Form, Json, Said, shape

__all__ = ["ToolSearch"]

LONGEST: Final = 200
"""Characters of a description in the list of what was found; the tool itself is offered whole."""


class ToolSearch(Form):
    """A search for tools that were not offered yet."""

    tool_types: ClassVar = ("tool_search",)
    call_type: ClassVar = "tool_search_call"
    output_type: ClassVar = "tool_search_output"
    id_prefix: ClassVar = "ts"
    name: ClassVar = "tool_search"

    def function(self, tool: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
        """Not one that the hosted service would have to do."""
        if tool.get("execution") != "client":
            return None
        parameters = tool.get("parameters")
        if not isinstance(parameters, Mapping) or not parameters:
            parameters = shape(("query",), query={"type": "string", "description": "What the tool should do."})
        text = "Searches for tools that are not offered yet; what it finds can be called afterwards."
        return str(tool.get("description") or text), parameters

    def calls(self, said: Said, tool: Mapping[str, Any]) -> Sequence[Json]:
        """The arguments are an object here, not a text."""
        arguments = {**said} if isinstance(said, Mapping) else {"query": said}
        return ({"arguments": arguments, "execution": "client"},)

    def arguments(self, call: Mapping[str, Any]) -> Json:
        """As the call has them; some clients send them back as a text."""
        arguments = call.get("arguments")
        if isinstance(arguments, str):
            try:
                arguments = msgspec.json.decode(arguments)
            except (ValueError, RecursionError):
                arguments = {"query": arguments}
        return {**arguments} if isinstance(arguments, Mapping) else {}

    def output(self, answer: Mapping[str, Any], name_of: Callable[[str, str | None], str]) -> str:
        """The names of what was found; the tools themselves are offered like others."""
        lines = [
            f"\n- {name_of(name, space)}: {text[:LONGEST]}".rstrip(": ")
            for name, space, text in _found(answer.get("tools"))
        ]
        return f"Found; these can be called now:{''.join(lines)}" if lines else "Found no tool."


def _found(tools: object, space: str | None = None) -> Iterator[tuple[str, str | None, str]]:
    """Name, namespace and description of each."""
    for tool in tools if isinstance(tools, list | tuple) else ():
        if not isinstance(tool, Mapping) or not isinstance(tool.get("name"), str):
            continue
        if tool.get("type") == "namespace" and space is None:
            yield from _found(tool.get("tools"), tool["name"])
        else:
            yield tool["name"], space, str(tool.get("description") or "")
