"""One tool as a function, and the tools that stand in whatever a client calls a tool.

Functions, free-text tools, both inside a namespace, and the types in `forms` are found; whatever else (searches of the
hosted service, its interpreter, its images) nobody here can run, and is passed over.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from agentwire.engines.offering.form import Form
from agentwire.engines.offering.forms import FORMS
from agentwire.engines.offering.names import plain_name
from agentwire.protocol.checks import EMPTY
from agentwire.protocol.tools import TOOL_ITEMS, CustomTool, FunctionTool, Tool

__all__ = ["Offer", "offers_in"]

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
    """One tool that a model may call.

    Attributes:
        name: as the client knows it.
        namespace: the namespace it came in.
        custom: takes free text, which goes as the one argument ``input``.
        parameters: the JSON schema of its arguments.
        description: what its author says of it.
        strict: whether arguments must follow the schema exactly.
        form: how its calls look, where those are neither of functions nor of free text.
        deferred: not to be offered before the client's own search has found it.
        found: it has.
        raw: the tool as it came, where there is more to it than the above.
        backend_name: as the backend knows it.
    """

    name: str
    namespace: str | None = None
    custom: bool = False
    parameters: Mapping[str, Any] = attrs.field(default=_NOTHING)
    description: str = ""
    strict: bool = False
    form: Form | None = None
    deferred: bool = False
    found: bool = False
    raw: Mapping[str, Any] = attrs.field(default=EMPTY, repr=False)
    backend_name: str = attrs.field(kw_only=True)

    @backend_name.default
    def _plain_name(self) -> str:
        return plain_name(self.name, self.namespace)

    @property
    def identity(self) -> tuple[str, str | None, str]:
        """What tells it from all others; a call in the history has the same."""
        return self.name, self.namespace, self.form.call_type if self.form is not None else ""

    @property
    def call_namespace(self) -> str | None:
        """What its calls have as namespace: its own name, if it is a deferred function outside of one (as hosted)."""
        return self.name if self.deferred and self.namespace is None and not self.custom else self.namespace

    def answers_to(self, name: str) -> bool:
        """Whether a ``tool_choice`` that says this name means it."""
        return name in (self.name, self.namespace) or (self.form is not None and name == self.raw.get("type"))


def offers_in(tool: Tool) -> Iterator[Offer]:
    """The offers in a tool, or in an item that brings tools."""
    if isinstance(tool, FunctionTool):
        yield Offer(
            tool.name,
            parameters=tool.parameters or _NOTHING,
            description=tool.description or "",
            strict=bool(tool.strict),
            deferred=tool.extra.get("defer_loading") is True,
        )
    elif isinstance(tool, CustomTool):
        yield _custom({**tool.extra, "name": tool.name, "description": tool.description, "format": tool.format}, None)
    else:
        yield from _in_raw(tool.raw, None)


def _in_raw(raw: Mapping[str, Any], namespace: str | None) -> Iterator[Offer]:
    """The offers in plain JSON, which nobody has checked."""
    kind, name, inner = raw.get("type"), raw.get("name"), raw.get("tools")
    if kind in TOOL_ITEMS and isinstance(inner, list | tuple):
        for offer in _in_list(inner, None):
            yield attrs.evolve(offer, found=True) if kind == "tool_search_output" else offer
    elif kind == "namespace" and namespace is None and isinstance(inner, list | tuple):
        yield from _in_list(inner, str(name))
    elif kind == "custom" and isinstance(name, str):
        yield _custom(raw, namespace)
    elif kind == "function" and isinstance(name, str):
        yield _function(raw, namespace)
    elif isinstance(kind, str) and kind in FORMS and (formed := _formed(raw, FORMS[kind])) is not None:
        yield formed
    else:
        _log.debug("a tool of type %.64r is not offered: nobody here can run it", kind)


def _in_list(tools: list[Any] | tuple[Any, ...], namespace: str | None) -> Iterator[Offer]:
    for tool in tools:
        if isinstance(tool, Mapping):
            yield from _in_raw(tool, namespace)


def _function(raw: Mapping[str, Any], namespace: str | None) -> Offer:
    parameters = raw.get("parameters")
    return Offer(
        str(raw["name"]),
        namespace,
        parameters=parameters if isinstance(parameters, Mapping) and parameters else _NOTHING,
        description=str(raw.get("description") or ""),
        strict=raw.get("strict") is True,
        deferred=raw.get("defer_loading") is True,
    )


def _custom(raw: Mapping[str, Any], namespace: str | None) -> Offer:
    """Free text as one argument; its grammar, which a backend cannot enforce, stands in the description."""
    text, grammar = str(raw.get("description") or ""), raw.get("format")
    if isinstance(grammar, Mapping) and isinstance(grammar.get("definition"), str):
        rule = f"The input must follow this {grammar.get('syntax', '')} grammar:\n{grammar['definition']}"
        text = f"{text}\n\n{rule}" if text else rule
    deferred = raw.get("defer_loading") is True
    return Offer(
        str(raw["name"]),
        namespace,
        custom=True,
        parameters=_FREE_TEXT,
        description=text,
        deferred=deferred,
        raw={"format": grammar, "description": raw.get("description")},
    )


def _formed(raw: Mapping[str, Any], form: Form) -> Offer | None:
    found = form.function(raw)
    if found is None:
        return None
    description, parameters = found
    return Offer(form.name, parameters=parameters, description=description, form=form, raw=raw)
