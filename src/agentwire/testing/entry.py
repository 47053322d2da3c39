"""One thing that happened, as the invariants judge it, and the error that they raise.

A message is an entry, and so is what a test notes itself: entries from several places are one list, by one clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

__all__ = ["Entry", "InvariantBroken", "Who"]

Who = Literal["client", "server", "local"]
"""Who said it; ``local`` for what was noted beside the wire."""


@attrs.frozen
class Entry:
    """One thing that happened.

    Attributes:
        time: seconds, on any clock that all entries share.
        who: who said it.
        event: the JSON object, or one of a journal's or a trace's own.
        connection: the n-th connection; 0 where there is only one.
        exchange: the n-th request of an HTTP connection; None on a WebSocket.
    """

    time: float
    who: Who
    event: Mapping[str, Any]
    connection: int = 0
    exchange: int | None = None

    @property
    def type(self) -> str:
        """The event's ``type``; empty if it has none that is a string."""
        kind = self.event.get("type")
        return kind if isinstance(kind, str) else ""

    def __str__(self) -> str:
        said = " ".join(f"{key}={_short(value)}" for key, value in self.event.items() if key != "type")
        where = "" if self.who == "local" else f"#{self.connection}"
        return f"{self.time:10.3f}  {where:3} {self.who:6}  {self.type or '(no type)'} {said}".rstrip()


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class InvariantBroken(AssertionError):
    """A rule does not hold.

    Args:
        name: of the function that found it.
        message: what is wrong.
        evidence: the entries that show it, in order.
    """

    def __init__(self, name: str, message: str, evidence: Sequence[Entry] = ()) -> None:
        super().__init__("\n".join((f"{name}: {message}", *map(str, evidence))))
        self.name = name
        self.message = message
        self.evidence = tuple(evidence)
