"""The pieces of a script: what a scripted engine does in one step, in order.

    Turn(Summary("Looking."), Call("grep", {"q": "x"}))
    Turn(Text("It is in a.py.", pieces=5), Stop("max_output_tokens"))
    Turn(Text("Half", pieces=4), fail_at=2)

Each piece performs itself on an `Out`. Where text is written in pieces, each piece is one event of the stream, and
one place where the engine may be cancelled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Literal, Protocol

import attrs
import trio

from agentwire.protocol.errors import EngineError
from agentwire.protocol.response import Usage
from agentwire.protocol.writing import encode_json
from agentwire.runtime.contracts import Ask, Out, Phase

__all__ = [
    "Annotation", "Call", "Delay", "Do", "Fail", "Hang", "Item", "NewMessage", "Piece", "Reasoning", "Refusal",
    "Sealed", "Stop", "Summary", "Text", "Told", "Turn", "cut",
]  # fmt: skip

Arguments = str | Mapping[str, Any]


class Piece(Protocol):
    """Anything that can stand in a turn."""

    async def perform(self, ask: Ask, out: Out) -> None:
        """Do it. May be cancelled at any of its events."""


def cut(text: str, pieces: int) -> list[str]:
    """A text in that many parts of nearly equal length; fewer if it has fewer characters.

    Raises:
        ValueError: ``pieces`` is less than 1.
    """
    if pieces < 1:
        raise ValueError(f"a text cannot be cut into {pieces} pieces: use 1 or more")
    pieces = min(pieces, len(text)) or 1
    edges = [len(text) * number // pieces for number in range(pieces + 1)]
    return [text[start:end] for start, end in pairwise(edges)]


@attrs.frozen
class _Written:
    """Text of some kind.

    Attributes:
        text: all of it.
        pieces: in how many events it comes.
        every: seconds between two events.
    """

    text: str
    pieces: int = 1
    every: float = 0.0

    async def _write(self, put: Callable[[str], Awaitable[None]]) -> None:
        for number, piece in enumerate(cut(self.text, self.pieces)):
            if number and self.every:
                await trio.sleep(self.every)
            await put(piece)


@attrs.frozen
class Text(_Written):
    """Text of the assistant's message, in ``pieces`` events, ``every`` so many seconds.

    Attributes:
        logprobs: what each of these events says of its tokens.
    """

    logprobs: Sequence[Mapping[str, Any]] = ()

    async def perform(self, ask: Ask, out: Out) -> None:
        """Write it."""
        await self._write(partial(out.text, logprobs=self.logprobs))


@attrs.frozen
class Annotation:
    """Something said about the text before it, as plain JSON."""

    raw: Mapping[str, Any]

    async def perform(self, ask: Ask, out: Out) -> None:
        """Say it."""
        await out.annotation(self.raw)


@attrs.frozen
class NewMessage:
    """Text that follows is another message, of this phase."""

    phase: Phase | None = None

    async def perform(self, ask: Ask, out: Out) -> None:
        """Begin it."""
        await out.begin_message(phase=self.phase)


class Refusal(_Written):
    """A refusal."""

    async def perform(self, ask: Ask, out: Out) -> None:
        """Write it."""
        await self._write(out.refusal)


class Reasoning(_Written):
    """Raw reasoning."""

    async def perform(self, ask: Ask, out: Out) -> None:
        """Write it."""
        await self._write(out.reasoning)


class Summary(_Written):
    """A summary of the reasoning."""

    async def perform(self, ask: Ask, out: Out) -> None:
        """Write it."""
        await self._write(out.summary)


@attrs.frozen
class Sealed:
    """The end of the reasoning item, or all of it: ``encrypted_content``."""

    content: str

    async def perform(self, ask: Ask, out: Out) -> None:
        """Seal it."""
        await out.seal_reasoning(self.content)


@attrs.frozen
class Call:
    """A tool call.

    Attributes:
        name: the tool.
        arguments: JSON arguments, as an object or as their text; free text for a custom tool.
        call_id: given by the engine's ids if left out.
        custom: a tool that takes free text.
        pieces: in how many events the arguments come; None for one whole call.
        namespace: of the tool, if it has one.
    """

    name: str
    arguments: Arguments = attrs.field(factory=dict)
    call_id: str | None = None
    custom: bool = False
    pieces: int | None = None
    namespace: str | None = None

    async def perform(self, ask: Ask, out: Out) -> None:
        """Make it."""
        how = {"call_id": self.call_id, "namespace": self.namespace}
        if self.pieces is None:
            await out.call(self.name, self.arguments, custom=self.custom, **how)
            return
        await out.open_call(self.name, custom=self.custom, **how)
        text = self.arguments if isinstance(self.arguments, str) else encode_json(self.arguments).decode()
        for piece in cut(text, self.pieces):
            await out.arguments(piece)
        await out.close_call()


@attrs.frozen
class Item:
    """Any other finished item, as plain JSON."""

    raw: Mapping[str, Any]

    async def perform(self, ask: Ask, out: Out) -> None:
        """Put it out."""
        await out.item(self.raw)


@attrs.frozen
class Told:
    """An item with its events, each the type and the other members, as plain JSON.

    Attributes:
        begun: the item when it begins.
        events: what is told of it, in order.
        done: the item when it ends; as it begins, but ``completed``, if left out.
    """

    begun: Mapping[str, Any]
    events: Sequence[tuple[str, Mapping[str, Any]]] = ()
    done: Mapping[str, Any] | None = None

    async def perform(self, ask: Ask, out: Out) -> None:
        """Tell it."""
        await out.open_item(self.begun)
        for kind, members in self.events:
            await out.event(kind, members)
        await out.close_item(self.done or {**self.begun, "status": "completed"})


@attrs.frozen
class Delay:
    """A pause, in seconds of Trio's clock."""

    seconds: float

    async def perform(self, ask: Ask, out: Out) -> None:
        """Sleep."""
        await trio.sleep(self.seconds)


@attrs.frozen
class Hang:
    """Never end; only a cancellation gets past this."""

    async def perform(self, ask: Ask, out: Out) -> None:
        """Sleep forever."""
        await trio.sleep_forever()


@attrs.frozen
class Fail:
    """Raise an exception: an `EngineError` for a typed failure, any other for a fault of the engine."""

    error: Exception = attrs.field(factory=lambda: EngineError("The script says so.", code="scripted_failure"))

    async def perform(self, ask: Ask, out: Out) -> None:
        """Raise it."""
        raise self.error


@attrs.frozen
class Do:
    """Anything else: an async function of the ask and the out."""

    action: Callable[[Ask, Out], Awaitable[None]]

    async def perform(self, ask: Ask, out: Out) -> None:
        """Await it."""
        await self.action(ask, out)


@attrs.frozen
class Stop:
    """End the step here, ``incomplete``; pieces after this one are not performed."""

    reason: Literal["max_output_tokens", "content_filter"] = "max_output_tokens"

    async def perform(self, ask: Ask, out: Out) -> None:
        """Nothing: the engine looks for this piece itself."""


@attrs.frozen(init=False)
class Turn:
    """What the engine does in one step.

    Args:
        pieces: in order.
        usage: what it reports; counted from the words if left out.
        fail_at: raise instead of the event of this number, counted from 0 over all pieces that put something out.
        fail_with: what is raised then.
    """

    pieces: tuple[Piece, ...]
    usage: Usage | None
    fail_at: int | None
    fail_with: Exception

    def __init__(
        self, *pieces: Piece, usage: Usage | None = None, fail_at: int | None = None, fail_with: Exception | None = None
    ) -> None:
        failure = fail_with or EngineError("The script fails at this event.", code="scripted_failure")
        self.__attrs_init__(pieces, usage, fail_at, failure)
