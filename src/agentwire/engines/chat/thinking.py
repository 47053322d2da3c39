"""A model's reasoning on its way to the client, under whichever name its server writes it.

It is shown as it comes. Where it is to come back through the client, or has details that its server wants back whole,
the item ends with all of it in ``encrypted_content``; so does what a server wants back with a call, just before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from msgspec import structs

from agentwire.engines.chat.chunks import Delta
from agentwire.engines.chat.thoughts import DETAILS, NOWHERE, PARTS, Thought, merge_details, seal
from agentwire.protocol.checks import EMPTY
from agentwire.runtime.contracts import Out

__all__ = ["Thinking", "is_wordless"]

_INNER: Final[Mapping[Any, str]] = {PARTS: PARTS, "reasoning": "summary"}
_OWN: Final[Mapping[Any, str]] = {PARTS: "text", "reasoning": "summary_text"}
"""Where a part of the content has its reasoning, and of which type that is, at Mistral and at Databricks."""


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
        self._late: list[Mapping[str, Any]] = []
        self._extra: Mapping[str, Any] = EMPTY

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
        thought = Thought("".join(self._text), merge_details(self._details), self._extra)
        self._text, self._details, self._extra = [], [], EMPTY
        if thought:
            await self._out.seal_reasoning(seal(thought))

    def accompany(self, extra: Mapping[str, Any]) -> None:
        """What is to come back with the call that comes next."""
        self._extra, self.open = extra, True

    def add(self, details: Iterable[Mapping[str, Any]]) -> None:
        """Details without words that come after text or a call has begun, as a signature may: they wait for the end."""
        self._late += details
        self.field = DETAILS if self._late else self.field

    async def finish(self) -> None:
        """The answer is over, and all its calls are."""
        if self._late:
            self._details, self._late, self.open = self._late, [], True
        await self.end()

    def apart(self, delta: Delta) -> Delta:
        """The same with the content as text, whose server writes it as a list of typed parts."""
        assert isinstance(delta.content, list)
        thought = "".join(text for part in delta.content for text in self._thoughts(part))
        text = "".join(part["text"] for part in delta.content if _is_text(part, "text"))
        return structs.replace(delta, content=text, reasoning_content=thought or delta.reasoning_content)

    def _thoughts(self, part: Mapping[str, Any]) -> Iterator[str]:
        """The text in a part that is reasoning, which is a list of parts again, or just text."""
        kind = part.get("type")
        inner = part.get(_INNER[kind]) if isinstance(kind, str) and kind in _INNER else None
        if inner is not None:
            self.field = PARTS if kind == PARTS else NOWHERE
        if isinstance(inner, str):
            yield inner
        elif isinstance(inner, list):
            yield from (each["text"] for each in inner if isinstance(each, dict) and _is_text(each, _OWN[kind]))


def is_wordless(delta: Delta) -> bool:
    """Whether there is nothing to be shown in a piece of reasoning: blanks, or details such as a signature."""
    words = delta.reasoning_content or delta.reasoning or ""
    return not (words.strip() or any(each.get("text") or each.get("summary") for each in delta.reasoning_details or ()))


def _is_text(part: Mapping[str, Any], kind: str) -> bool:
    return part.get("type") == kind and isinstance(part.get("text"), str)
