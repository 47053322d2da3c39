"""One turn as a deed sees it: who asked for what, what came before, and what may be forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from agentwire.testing.hostile.seen import SeenTurn
from agentwire.testing.hostile.steps import Step

__all__ = ["Scene"]


@attrs.frozen
class Scene:
    """One turn.

    Attributes:
        asked: the request.
        history: all items that the model sees, this request's among them.
        response_id: of the response to come.
        before: what was sent on this connection for the turn before; empty for its first.
        forget: forget every conversation of this connection, and all that was stored.
        deafen: read nothing of this connection any more.
    """

    asked: SeenTurn
    history: Sequence[Mapping[str, Any]]
    response_id: str
    before: Sequence[Step]
    forget: Callable[[], None]
    deafen: Callable[[], None]

    @property
    def turn(self) -> int:
        """The turn's number, from 1, over all connections."""
        return self.asked.number
