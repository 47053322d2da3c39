"""The tools that go up: what the request offers, what its ``tool_choice`` leaves of that, each as a function.

Function tools and free-text tools are offered, those inside a namespace too; other types are not, because no chat
server can call them. A tool that comes back is found here by the name that it went up with.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import attrs

from agentwire.engines.chat.names import chat_name
from agentwire.protocol.checks import EMPTY
from agentwire.protocol.errors import EngineError
from agentwire.protocol.tools import CustomTool, FunctionTool, Tool, ToolChoice

__all__ = ["Offer", "Offers"]

_log = logging.getLogger("agentwire.engine")

_NOTHING: Final = {"type": "object", "properties": {}}
_FREE_TEXT: Final = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The whole input of the tool, as free text."}},
    "required": ["input"],
    "additionalProperties": False,
}


@attrs.frozen
class Offer:
    """One tool that the model may call.

    Attributes:
        name: as the client knows it.
        namespace: the namespace it came in.
        custom: takes free text, which goes as the one argument ``input``.
        parameters: the JSON schema of its arguments.
        description: what its author says of it.
        strict: whether arguments must follow the schema exactly.
    """

    name: str
    namespace: str | None = None
    custom: bool = False
    parameters: Mapping[str, Any] = attrs.field(default=_NOTHING)
    description: str = ""
    strict: bool = False

    @property
    def chat_name(self) -> str:
        """As the model's server knows it."""
        return chat_name(self.name, self.namespace)

    def wire(self) -> dict[str, Any]:
        """Its entry in ``tools`` (Chat Completions API)."""
        function: dict[str, Any] = {"name": self.chat_name}
        if self.description:
            function["description"] = self.description
        function["parameters"] = self.parameters
        if self.strict:
            function["strict"] = True
        return {"type": "function", "function": function}


@attrs.frozen
class Offers:
    """What may be called in one step.

    Attributes:
        mode: whether the model may or must call a tool; ``none`` if there is none to call.
        by_name: each offer under its name on the chat server, in the request's order.
        named: whether the client named the tools that may be called.
    """

    mode: Literal["auto", "none", "required"] = "none"
    by_name: Mapping[str, Offer] = EMPTY
    named: bool = False

    @classmethod
    def of(cls, tools: Iterable[Tool], choice: ToolChoice, *, step: int = 0) -> Offers:
        """What ``tool_choice`` leaves of the tools.

        Args:
            tools: all of them; the first of each name counts.
            choice: of the request.
            step: of the turn; a call that is demanded is made in step 0, so that later steps can come to an answer.

        Raises:
            EngineError: 400 ``unsupported_tool``: a tool must be called, and no chat server can call any of those.
        """
        if choice.mode == "none":  # not offered at all: some servers let their models call whatever they see
            return cls()
        found: dict[str, Offer] = {}
        for tool in tools:
            for offer in _of_tool(tool):
                if choice.names is None or offer.name in choice.names or offer.namespace in choice.names:
                    found.setdefault(offer.chat_name, offer)
        must = choice.mode == "required" and not step
        if must and not found:
            names = ", ".join(choice.names or ()) or "any of the tools offered"
            message = f"The model's server cannot call {names}: it calls functions, and custom tools as functions."
            raise EngineError(message, code="unsupported_tool", status=400, param="tool_choice")
        mode: Literal["auto", "none", "required"] = "required" if must else "auto" if found else "none"
        return cls(mode, found, choice.names is not None)

    def settings(self, *, parallel: bool) -> dict[str, Any]:
        """The members of the request that concern tools; none if there is nothing to call."""
        if not self.by_name:
            return {}
        choice: Any = self.mode
        if self.mode == "required" and self.named and len(self.by_name) == 1:
            choice = {"type": "function", "function": {"name": next(iter(self.by_name))}}
        tools = [offer.wire() for offer in self.by_name.values()]
        return {"tools": tools, "tool_choice": choice, "parallel_tool_calls": parallel}

    def find(self, said: str) -> Offer:
        """The offer that the model means; one that was never made is taken for a plain function of that name."""
        for name in (said, said.strip().rstrip(":").removeprefix("functions.")):
            if name in self.by_name:
                return self.by_name[name]
        return Offer(said.strip().rstrip(":") or said)


def _of_tool(tool: Tool) -> Iterator[Offer]:
    if isinstance(tool, FunctionTool):
        yield Offer(
            tool.name,
            parameters=tool.parameters or _NOTHING,
            description=tool.description or "",
            strict=bool(tool.strict),
        )
    elif isinstance(tool, CustomTool):
        yield _custom(tool.name, None, tool.description, tool.format)
    else:
        yield from _of_raw(tool.raw, None)


def _of_raw(raw: Mapping[str, Any], namespace: str | None) -> Iterator[Offer]:
    """The offers in a tool that is plain JSON still, and was checked by nobody."""
    kind, name, inner = raw.get("type"), raw.get("name"), raw.get("tools")
    if isinstance(inner, list | tuple) and namespace is None and kind in ("namespace", "additional_tools"):
        space = str(name) if kind == "namespace" else None
        for tool in inner:
            if isinstance(tool, Mapping):
                yield from _of_raw(tool, space)
    elif kind == "custom" and isinstance(name, str):
        yield _custom(name, namespace, raw.get("description"), raw.get("format"))
    elif kind == "function" and isinstance(name, str):
        parameters = raw.get("parameters")
        yield Offer(
            name,
            namespace,
            parameters=parameters if isinstance(parameters, Mapping) and parameters else _NOTHING,
            description=str(raw.get("description") or ""),
            strict=raw.get("strict") is True,
        )
    else:
        _log.debug("a tool of type %.64r is not offered to a chat server", kind)


def _custom(name: str, namespace: str | None, description: object, grammar: object) -> Offer:
    text = str(description or "")
    if isinstance(grammar, Mapping) and isinstance(grammar.get("definition"), str):
        rule = f"The input must follow this {grammar.get('syntax', '')} grammar:\n{grammar['definition']}"
        text = f"{text}\n\n{rule}" if text else rule
    return Offer(name, namespace, custom=True, parameters=_FREE_TEXT, description=text)
