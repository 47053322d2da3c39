"""The tools on offer, flat: the client's, the server's own, those inside a namespace and those that came as items.

An `Offer` is one tool that the engine knows how to call. Tools of other types are on offer only when the client
forces them, and only where a harmless call can be made; the rest is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Final, Literal

import attrs

from agentwire.engines.builtin.schema import listed
from agentwire.engines.builtin.slots import Slot, slots_of
from agentwire.engines.builtin.words import name_words, significant, stems
from agentwire.protocol.tools import CustomTool, FunctionTool, OpaqueTool, Tool, ToolChoice

__all__ = ["HARMLESS", "Offer", "allowed", "offers"]

Kind = Literal["function", "custom", "hosted"]

HARMLESS: Final = ("shell", "local_shell", "apply_patch", "computer", "computer_use_preview")
"""Types of tools that the client runs and that can be called without a schema."""


@attrs.define(slots=False, eq=False)
class Offer:
    """One tool that may be called.

    Attributes:
        name: as it is called.
        kind: takes JSON arguments (``function``), free text (``custom``), or has an item type of its own (``hosted``).
        parameters: the JSON schema of the arguments; an empty object for a tool without.
        description: what its author says of it.
        namespace: the namespace it came in.
        type: the tool's type on the wire.
        format: of a custom tool: the grammar of its text.
    """

    name: str
    kind: Kind = "function"
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    description: str = ""
    namespace: str | None = None
    type: str = "function"
    format: Mapping[str, Any] = attrs.field(factory=dict)

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The words of the name."""
        return tuple(name_words(self.name))

    @cached_property
    def spelled(self) -> re.Pattern[str]:
        """Where the name stands in a text of lower case, as it is written or in words."""
        forms = (re.escape(self.name.lower()), r"[ _-]".join(map(re.escape, self.parts)))
        return re.compile(rf"(?<![\w-])(?:{'|'.join(forms)})(?![\w-])")

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of the name that say something, as stems."""
        return significant(self.parts)

    @cached_property
    def slots(self) -> Sequence[Slot]:
        """Where its arguments go."""
        return slots_of(self.parameters)

    @cached_property
    def fillable(self) -> bool:
        """Whether every argument that it requires is a plain value or a list of them."""
        tops = {slot.path[0] for slot in self.slots if slot.path}
        return all(name in tops for name in listed(self.parameters, "required"))

    @cached_property
    def described(self) -> tuple[str, ...]:
        """The words of the description that say something, as stems; the first is usually what it does."""
        return _described(self.description[:600])


def offers(tools: Iterable[Tool]) -> tuple[Offer, ...]:
    """All tools, flat, the first of each name."""
    found: dict[str, Offer] = {}
    for tool in tools:
        for offer in _of_tool(tool):
            found.setdefault(offer.name, offer)
    return tuple(found.values())


def of_json(raw: object) -> tuple[Offer, ...]:
    """The offers of a list of tools that is still plain JSON; what is no tool is passed over."""
    made: list[Offer] = []
    for tool in raw if isinstance(raw, list | tuple) else ():
        if isinstance(tool, Mapping):
            made += _of_raw(tool, None)
    return tuple(made)


def allowed(on_offer: Sequence[Offer], choice: ToolChoice) -> tuple[Offer, ...]:
    """Those that ``tool_choice`` lets the engine call; hosted ones only if they are forced."""
    if choice.mode == "none":
        return ()
    named = [o for o in on_offer if choice.names is None or o.name in choice.names or o.namespace in choice.names]
    modelled = tuple(offer for offer in named if offer.kind != "hosted")
    if modelled or choice.mode != "required":
        return modelled
    return tuple(offer for offer in named if offer.type in HARMLESS)


def _of_tool(tool: Tool) -> Sequence[Offer]:
    if isinstance(tool, FunctionTool):
        return (Offer(tool.name, parameters=tool.parameters or {}, description=tool.description or ""),)
    if isinstance(tool, CustomTool):
        return (Offer(tool.name, "custom", {}, tool.description or "", type="custom", format=tool.format or {}),)
    return _of_raw(tool.raw, None) or (Offer(tool.name, "hosted", type=tool.type),)


def _of_raw(raw: Mapping[str, Any], namespace: str | None) -> Sequence[Offer]:
    kind, name = raw.get("type"), raw.get("name")
    if kind == "namespace" and namespace is None and isinstance(raw.get("tools"), list | tuple):
        inner = [tool for tool in raw["tools"] if isinstance(tool, Mapping)]
        return [offer for tool in inner for offer in _of_raw(tool, str(name))]
    if kind not in ("function", "custom") or not isinstance(name, str):
        return (Offer(OpaqueTool(raw).name, "hosted", type=str(kind)),) if isinstance(kind, str) else ()
    return (
        Offer(
            name,
            "function" if kind == "function" else "custom",
            _mapping(raw.get("parameters")),
            str(raw.get("description") or ""),
            namespace,
            str(kind),
            _mapping(raw.get("format")),
        ),
    )


@lru_cache(maxsize=512)
def _described(description: str) -> tuple[str, ...]:
    return stems(description)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
