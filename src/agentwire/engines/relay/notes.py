"""The text of another server's response and nothing else, for a summary that no client sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentwire.engines.chat.summary import Notes

__all__ = ["HeardNotes"]

_TEXT = "response.output_text.delta"


class HeardNotes(Notes):
    """An `Out` that keeps the text of relayed messages."""

    async def delta(self, kind: str, piece: str, *, index: int | None = None) -> None:
        """A piece of the summary, if it is text."""
        if kind == _TEXT:
            self.pieces.append(piece)

    async def event(self, kind: str, members: Mapping[str, Any]) -> None:
        """A piece with more to it than its text."""
        if kind == _TEXT:
            self.pieces.append(members["delta"])
