"""What a model may call in one step: what ``tool_choice`` leaves of the tools, and what is meant by a name.

A deferred tool is held back as long as the client's own search can find it; where there is no such search, nobody
would ever find it, and it is offered at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import attrs

from agentwire.engines.offering.catalogue import Catalogue
from agentwire.engines.offering.searches import ToolSearch
from agentwire.engines.offering.tool import Offer
from agentwire.protocol.checks import EMPTY
from agentwire.protocol.errors import EngineError
from agentwire.protocol.tools import Tool, ToolChoice

__all__ = ["Offers"]

Mode: TypeAlias = Literal["auto", "none", "required"]


@attrs.frozen
class Offers:
    """What may be called in one step.

    Attributes:
        mode: whether the model may or must call a tool; ``none`` if there is none to call.
        by_name: each offer under its name on the backend, in the request's order.
        named: whether the client named the tools that may be called.
    """

    mode: Mode = "none"
    by_name: Mapping[str, Offer] = EMPTY
    named: bool = False

    @classmethod
    def of(cls, tools: Iterable[Tool], choice: ToolChoice, *, step: int = 0) -> Offers:
        """What ``tool_choice`` leaves of some tools; see `choose`."""
        return cls.choose(Catalogue.of(tools), choice, step=step)

    @classmethod
    def choose(cls, catalogue: Catalogue, choice: ToolChoice, *, step: int = 0) -> Offers:
        """What ``tool_choice`` leaves of all tools.

        Args:
            catalogue: all of them.
            choice: of the request.
            step: of the turn; a call that is demanded is made in step 0, so that later steps can come to an answer.

        Raises:
            EngineError: 400 ``unsupported_tool``: a tool must be called, and nobody here can run any of those.
        """
        if choice.mode == "none":  # not offered at all: some backends let their models call whatever they see
            return cls()
        must = choice.mode == "required" and not step
        meant = [offer for offer in catalogue if choice.names is None or any(map(offer.answers_to, choice.names))]
        if not meant and not must:
            return cls()
        searched = any(isinstance(offer.form, ToolSearch) for offer in meant)
        named = frozenset(choice.names or ())
        found = {
            offer.backend_name: offer
            for offer in meant
            if not (offer.deferred and searched) or offer.found or offer.name in named or offer.namespace in named
        }
        if must and not found:
            names = ", ".join(choice.names or ()) or "any of the tools offered"
            message = f"Nobody here can run {names}: the model calls functions, and what a client runs itself."
            raise EngineError(message, code="unsupported_tool", status=400, param="tool_choice")
        mode: Mode = "required" if must else "auto" if found else "none"
        return cls(mode, found, choice.names is not None)

    def find(self, said: str) -> Offer:
        """The offer that a model means; one that was never made is taken for a plain function of that name."""
        plain = said.strip().rstrip(":")
        for name in (said, plain, plain.removeprefix("functions."), plain.replace(".", "__")):
            if name in self.by_name:
                return self.by_name[name]
        bare = plain.rpartition(".")[2]
        alike = [offer for offer in self.by_name.values() if bare and offer.name == bare]
        return alike[0] if len(alike) == 1 else Offer(plain or said)
