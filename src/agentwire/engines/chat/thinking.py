"""A model's reasoning on its way to the client, under whichever name its server writes it.

It is shown as it comes. Where it is to come back through the client, or has details that its server wants back whole,
the item ends with all of it in ``encrypted_content``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agentwire.engines.chat.chunks import Delta
from agentwire.engines.chat.thoughts import DETAILS, Thought, merge_details, seal
from agentwire.runtime.contracts import Out

__all__ = ["Thinking"]


class Thinking:
    """The reasoning of one answer.

    Args:
        out: where it goes.
        sealed: whether the client wants to hand it back itself (``include: ["reasoning.encrypted_content"]``).

    Attributes:
        open: whether there is some that has not ended.
        field: the member that the server writes it in; None until it has.
    """

    def __init__(self, out: Out, *, sealed: bool) -> None:
        self.open = False
        self.field: str | None = None
        self._out = out
        self._sealed = sealed
        self._text: list[str] = []
        self._details: list[Mapping[str, Any]] = []

    async def take(self, delta: Delta) -> None:
        """A piece of it."""
        text = delta.reasoning_content or delta.reasoning or ""
        details = delta.reasoning_details
        if details:
            self._details += details
            self.field, self.open = DETAILS, True
            if not text:
                await self._told(details)
        elif text and self.field is None:
            self.field = "reasoning_content" if delta.reasoning_content else "reasoning"
        if text:
            await self._say(text)

    async def _told(self, details: Iterable[Mapping[str, Any]]) -> None:
        """What details say where nothing else does."""
        for each in details:
            if isinstance(text := each.get("text"), str) and text:
                await self._say(text)
            elif isinstance(text := each.get("summary"), str) and text:
                await self._out.summary(text)

    async def _say(self, text: str) -> None:
        self.open = True
        if self._sealed:
            self._text.append(text)
        await self._out.reasoning(text)

    async def end(self) -> None:
        """Something else comes, or nothing."""
        if not self.open:
            return
        self.open = False
        thought = Thought("".join(self._text), merge_details(self._details))
        self._text, self._details = [], []
        if thought.text or thought.details:
            await self._out.seal_reasoning(seal(thought))

    @staticmethod
    def apart(delta: Delta) -> Delta:
        """The same with the content as text, whose server writes it as a list of typed parts."""
        assert isinstance(delta.content, list)
        thought = "".join(text for part in delta.content for text in _thoughts(part))
        text = "".join(part["text"] for part in delta.content if _is_text(part))
        return Delta(content=text, reasoning_content=thought, tool_calls=delta.tool_calls)


def _is_text(part: Mapping[str, Any]) -> bool:
    return part.get("type") == "text" and isinstance(part.get("text"), str)


def _thoughts(part: Mapping[str, Any]) -> Iterator[str]:
    """The text in a ``thinking`` part, which is a list of parts again, or just text."""
    inner = part.get("thinking") if part.get("type") == "thinking" else None
    if isinstance(inner, str):
        yield inner
    elif isinstance(inner, list):
        yield from (each["text"] for each in inner if isinstance(each, dict) and _is_text(each))
