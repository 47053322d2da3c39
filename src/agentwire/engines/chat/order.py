"""The order of a conversation's messages, for servers and templates that refuse others.

Many templates know the system's message at the start alone; those of Mistral and Gemma want the user and the assistant
to take turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from agentwire.engines.chat.dialect import Order

__all__ = ["BRIDGE", "Arranged"]

BRIDGE: Final[Mapping[str, Any]] = {"role": "assistant", "content": "OK."}
"""What the assistant says where it said nothing, and has to before the user may speak again."""


@attrs.define
class Arranged:
    """Messages on their way to the server; what the user says in several is one, until somebody else speaks.

    Attributes:
        order: what the server takes.
        last: whose message was the last one, by its role.
        held: what the user has said since then.
    """

    order: Order
    last: str
    held: dict[str, Any] | None = attrs.field(default=None, init=False)

    def take(self, message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The messages that can be sent once this one has come."""
        role = message["role"]
        if role == "system" and self.order != "any":
            role, message = "user", {**message, "role": "user"}
        if self.order != "alternating":
            self.last = role
            yield message
            return
        if role != "user":
            yield from self.rest()
            self.last = role
            yield message
        elif self.held is not None:
            self.held["content"] = _joined(self.held["content"], message["content"])
        else:
            if self.last in ("user", "tool"):
                yield BRIDGE
            self.last, self.held = role, dict(message)

    def rest(self) -> Iterator[Mapping[str, Any]]:
        """What the user has said, if that was not sent yet."""
        held, self.held = self.held, None
        if held is not None:
            yield held


def _joined(one: Any, other: Any) -> Any:
    """Two contents as one: text, as long as both are."""
    if isinstance(one, str) and isinstance(other, str):
        return "\n\n".join(filter(None, (one, other)))
    return [*_parts(one), *_parts(other)]


def _parts(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [*content]
