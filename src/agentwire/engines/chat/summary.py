"""A summary of a conversation, as the model itself makes it: one more exchange, of which nothing goes to the client.

The conversation goes up as it always does, so that the model's server finds it in its cache, with a fixed request
behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import attrs

from agentwire.protocol.items import CustomToolCall, FunctionCall, McpCall
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Phase, use_nothing

__all__ = ["SUMMARY_REQUEST", "Notes", "summary_settings"]

_WITHOUT: Final = ("response_format", "logprobs", "top_logprobs", "stop")

SUMMARY_REQUEST: Final = (
    "Summarize this conversation for a model that will continue it and will see nothing else of it but the newest "
    "messages. Say what the user wants and how; what was done and found out, with names, paths, numbers, decisions and "
    "errors as they are; and what is still open. Do not answer the user and do not call a tool: write the summary, and "
    "nothing else."
)


def summary_settings(settings: Mapping[str, Any], tokens_name: str, most: int) -> dict[str, Any]:
    """A step's settings, for a summary of so many tokens."""
    return {**{name: value for name, value in settings.items() if name not in _WITHOUT}, tokens_name: most}


@attrs.define
class Notes:
    """An `Out` that keeps the text and lets the rest go.

    Args:
        use: see `Out.use`.

    Attributes:
        pieces: the text so far.
    """

    use: Callable[[Usage], None] = use_nothing
    pieces: list[str] = attrs.field(factory=list, init=False)

    async def text(self, piece: str, *, logprobs: Sequence[Mapping[str, Any]] = ()) -> None:
        """A piece of the summary."""
        self.pieces.append(piece)

    async def annotation(self, raw: Mapping[str, Any]) -> None:
        """Nobody will read it."""

    async def begin_message(self, *, phase: Phase | None = None, id_: str | None = None) -> None:
        """All text is one summary."""

    async def seal_reasoning(self, encrypted_content: str) -> None:
        """No summary."""

    async def refusal(self, piece: str) -> None:
        """No summary."""

    async def reasoning(self, piece: str) -> None:
        """No summary."""

    async def summary(self, piece: str) -> None:
        """None of the conversation."""

    async def call(
        self,
        name: str,
        arguments: str | Mapping[str, Any],
        *,
        call_id: str | None = None,
        custom: bool = False,
        namespace: str | None = None,
    ) -> None:
        """Nobody will run it."""

    async def open_call(
        self, name: str, *, call_id: str | None = None, custom: bool = False, namespace: str | None = None
    ) -> None:
        """Nobody will run it."""

    async def arguments(self, piece: str) -> None:
        """Nobody will run it."""

    async def close_call(self) -> None:
        """Nobody will run it."""

    async def item(self, raw: Mapping[str, Any]) -> None:
        """No summary."""

    async def open_item(self, raw: Mapping[str, Any]) -> None:
        """No summary."""

    async def event(self, kind: str, members: Mapping[str, Any]) -> None:
        """No summary."""

    async def delta(self, kind: str, piece: str, *, index: int | None = None) -> None:
        """No summary."""

    async def aside(self, kind: str, members: Mapping[str, Any]) -> None:
        """No summary."""

    async def close_item(self, raw: Mapping[str, Any]) -> None:
        """No summary."""

    def together(self) -> AbstractContextManager[None]:
        """Nothing is written anywhere."""
        return nullcontext()

    @property
    def begun(self) -> bool:
        """Whether there is any text yet."""
        return bool(self.pieces)

    @property
    def calls(self) -> tuple[FunctionCall | CustomToolCall | McpCall, ...]:
        """None."""
        return ()
