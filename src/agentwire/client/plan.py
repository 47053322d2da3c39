"""What a run is to do: its first request, its tools and its bounds."""

from __future__ import annotations

import attrs

from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.request import CreateRequest
from agentwire.runtime.tools import Toolbox

__all__ = ["Plan"]


def _at_least_one(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    if value < 1:
        raise LocalProtocolError(f"{attribute.name} must be at least 1, not {value}")


@attrs.frozen(kw_only=True)
class Plan:
    """What a run is to do.

    Attributes:
        request: the first turn's request; the others have the same settings.
        toolbox: the functions that are run here.
        max_turns: most turns of the model.
        concurrency: most functions that run at once.

    Raises:
        LocalProtocolError: a bound is less than 1.
    """

    request: CreateRequest
    toolbox: Toolbox
    max_turns: int = attrs.field(validator=_at_least_one)
    concurrency: int = attrs.field(validator=_at_least_one)
