"""What a run is to do: its first request, its tools and its bounds."""

from __future__ import annotations

import os
from typing import Any, Literal

import attrs

from agentwire.client.journal import Journal
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.request import CreateRequest
from agentwire.runtime.tools import Toolbox

__all__ = ["Plan", "ToolErrors", "Unknown"]

ToolErrors = Literal["tell", "tell_type", "raise"]
"""What becomes of an exception of a tool: the model is told of it, or of its type alone; or it fails the run."""

Unknown = Literal["tell", "raise"]
"""What becomes of a call whose outcome nobody knows: the model is told so, or it fails the run."""


def _at_least_one(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    if value < 1:
        raise LocalProtocolError(f"{attribute.name} must be at least 1, not {value}")


def _with_a_key(plan: Plan, _: object, journal: Any) -> None:
    if (journal is None) != (not plan.key):
        raise LocalProtocolError("a journal needs a key, the name of the run in it, and a key needs a journal")


def _one_of(*known: str) -> Any:
    def check(_: object, attribute: attrs.Attribute[str], value: str) -> None:
        if value not in known:
            raise LocalProtocolError(f"{attribute.name} must be one of {', '.join(known)}, not {value!r}")

    return check


@attrs.frozen(kw_only=True)
class Plan:
    """What a run is to do.

    Attributes:
        request: the first turn's request; the others have the same settings.
        toolbox: the functions that are run here.
        max_turns: most turns of the model.
        concurrency: most functions that run at once.
        key: the run's name in its journal.
        journal: where the run is written down, or the path of the file for that.
        tool_errors: what becomes of an exception of a tool.
        unknown: what becomes of a call whose outcome nobody knows.
        compacts: the server is asked to compact the context, and does without that if it refuses.

    Raises:
        LocalProtocolError: a bound is less than 1, or one of the others is not possible.
    """

    request: CreateRequest
    toolbox: Toolbox
    max_turns: int = attrs.field(validator=_at_least_one)
    concurrency: int = attrs.field(validator=_at_least_one)
    key: str | None = None
    journal: Journal | str | os.PathLike[str] | None = attrs.field(default=None, validator=_with_a_key)
    tool_errors: ToolErrors = attrs.field(default="tell", validator=_one_of("tell", "tell_type", "raise"))
    unknown: Unknown = attrs.field(default="tell", validator=_one_of("tell", "raise"))
    compacts: bool = False
