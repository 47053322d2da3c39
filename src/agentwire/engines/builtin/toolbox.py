"""The tools on offer, as the engine looks at them: what their names and descriptions say, and where arguments go.

Which tools there are, and how a call of each looks to the client, is the affair of `agentwire.engines.offering`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Literal

import attrs

from agentwire.engines import offering
from agentwire.engines.builtin.schema import listed
from agentwire.engines.builtin.slots import Slot, slots_of
from agentwire.engines.builtin.words import name_words, significant, stems
from agentwire.protocol.tools import Tool, ToolChoice

__all__ = ["Offer", "allowed", "offers"]

Kind = Literal["function", "custom", "formed"]


@attrs.define(slots=False, eq=False)
class Offer:
    """One tool that may be called.

    Attributes:
        name: as it is called.
        kind: takes JSON arguments (``function``), free text (``custom``), or JSON arguments that become an item of a
            type of its own (``formed``).
        parameters: the JSON schema of the arguments; an empty object for a tool without.
        description: what its author says of it.
        namespace: the namespace it came in.
        format: of a custom tool: the grammar of its text.
        made_of: what it was made of.
    """

    name: str
    kind: Kind = "function"
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    description: str = ""
    namespace: str | None = None
    format: Mapping[str, Any] = attrs.field(factory=dict)
    made_of: offering.Offer = attrs.field(kw_only=True, repr=False)

    @made_of.default
    def _plain(self) -> offering.Offer:
        return offering.Offer(self.name, self.namespace, self.kind == "custom", self.parameters, self.description)

    @classmethod
    def of(cls, made_of: offering.Offer) -> Offer:
        """The engine's view of a tool."""
        kind: Kind = "formed" if made_of.form is not None else "custom" if made_of.custom else "function"
        grammar = made_of.raw.get("format")
        return cls(
            made_of.name,
            kind,
            {} if made_of.custom else made_of.parameters,
            str(made_of.raw.get("description") or "") if made_of.custom else made_of.description,
            made_of.namespace,
            grammar if made_of.custom and isinstance(grammar, Mapping) else {},
            made_of=made_of,
        )

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
    return _each_name(offering.Catalogue.of(tools))


def allowed(tools: Iterable[Tool], choice: ToolChoice) -> tuple[Offer, ...]:
    """The tools that ``tool_choice`` lets the engine call.

    Raises:
        EngineError: 400 ``unsupported_tool``: a tool must be called, and there is none that anybody here can run.
    """
    return _each_name(offering.Offers.of(tools, choice).by_name.values())


def _each_name(found: Iterable[offering.Offer]) -> tuple[Offer, ...]:
    """The first of each name: the engine knows what was called by name."""
    by_name: dict[str, Offer] = {}
    for made_of in found:
        if made_of.name not in by_name:
            by_name[made_of.name] = Offer.of(made_of)
    return tuple(by_name.values())


@lru_cache(maxsize=512)
def _described(description: str) -> tuple[str, ...]:
    return stems(description)
