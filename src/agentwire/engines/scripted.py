"""An engine that plays a script, for tests and benchmarks: yours and agentwire's own.

Which turn is played follows from the conversation, not from when it is asked: a fork plays the same turn as the
original, and a replay gives the same answer. What the engine was asked, what runs and what was cancelled is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import attrs
import trio

from agentwire.engines.script import Stop, Turn
from agentwire.protocol.errors import EngineError
from agentwire.protocol.items import (
    Compaction,
    CustomToolCall,
    FunctionCall,
    Item,
    McpCall,
    Message,
    Reasoning,
    client_call,
)
from agentwire.protocol.response import Usage
from agentwire.protocol.writing import encode_json
from agentwire.runtime.contracts import Ask, Finish, Out, Phase

__all__ = ["Cancellation", "ScriptedEngine", "scripted"]

Script = Sequence[Turn] | Turn | Callable[[Ask], Turn]


@attrs.frozen
class Cancellation:
    """A step that was cancelled.

    Attributes:
        response_id: the response that it was part of.
        reason: why, as the canceller said; empty if nobody said.
    """

    response_id: str
    reason: str


def scripted(
    script: Script,
    *,
    order: Literal["conversation", "calls"] = "conversation",
    repeat: bool = False,
    usage: Usage | None = None,
) -> ScriptedEngine:
    """An engine that plays turns.

    Args:
        script: the turns of a conversation in order, one turn for all, or a function that picks one.
        order: ``conversation`` gives each conversation, and each fork, the turns from where it stands;
            ``calls`` gives the next turn to whoever asks next.
        repeat: begin again when the turns are used up; otherwise that is an error of the script.
        usage: what every turn reports that sets nothing itself; counted from the words if left out.
    """
    turns: Sequence[Turn] | Callable[[Ask], Turn] = (script,) if isinstance(script, Turn) else script
    always = repeat or isinstance(script, Turn)
    return ScriptedEngine(turns, order=order, repeat=always, usage=usage)


@attrs.define(eq=False)
class ScriptedEngine:
    """An engine made by `scripted`.

    Attributes:
        turns: what it plays.
        order: how turns are picked.
        repeat: whether they begin again.
        usage: the default report.
        asks: everything that it was asked, in order.
        cancelled: the steps that were cancelled, in order.
        running: steps that run now.
        peak: most steps that ran at once.
    """

    turns: Sequence[Turn] | Callable[[Ask], Turn]
    order: Literal["conversation", "calls"] = attrs.field(kw_only=True)
    repeat: bool = attrs.field(kw_only=True)
    usage: Usage | None = attrs.field(kw_only=True)
    asks: list[Ask] = attrs.field(factory=list, init=False)
    cancelled: list[Cancellation] = attrs.field(factory=list, init=False)
    running: int = attrs.field(default=0, init=False)
    peak: int = attrs.field(default=0, init=False)
    _after: dict[str, int] = attrs.field(factory=dict, init=False)

    async def __call__(self, ask: Ask, out: Out) -> Finish:
        """Play one turn. Cancelling it is recorded, and goes on.

        Raises:
            EngineError: the script fails here, or has no turn left.
        """
        turn = self._turn(ask)
        self.asks.append(ask)
        counting = _Counting(out, turn)
        incomplete: Literal["max_output_tokens", "content_filter"] | None = None
        with self._recorded(ask):
            for piece in turn.pieces:
                if isinstance(piece, Stop):
                    incomplete = piece.reason
                    break
                await piece.perform(ask, counting)
        return Finish(turn.usage or self.usage or _usage(ask, counting.characters), incomplete)

    def _turn(self, ask: Ask) -> Turn:
        turns = self.turns
        if callable(turns):
            return turns(ask)
        at = len(self.asks) if self.order == "calls" else self._position(ask)
        if not turns or (at >= len(turns) and not self.repeat):
            raise EngineError(
                f"The script has {len(turns)} turns, and is asked for number {at + 1}.", code="script_ended"
            )
        return turns[at % len(turns)]

    def _position(self, ask: Ask) -> int:
        """How many engine steps the conversation has behind it."""
        parent = ask.request.previous_response_id
        known = self._after.get(parent) if parent is not None else None
        start = known if known is not None else _steps_in(ask)
        at = start + ask.step
        self._after[ask.response_id] = at + 1
        return at

    @contextmanager
    def _recorded(self, ask: Ask) -> Iterator[None]:
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            yield
        except trio.Cancelled as cancelled:
            self.cancelled.append(Cancellation(ask.response_id, cancelled.reason or ""))
            raise
        finally:
            self.running -= 1


class _Counting:
    """An `Out` that counts events, and fails at the one that the turn names."""

    def __init__(self, out: Out, turn: Turn) -> None:
        self._out = out
        self._turn = turn
        self._events = 0
        self.characters = 0

    def _count(self, text: str = "") -> None:
        if self._events == self._turn.fail_at:
            raise self._turn.fail_with
        self._events += 1
        self.characters += len(text)

    async def text(self, piece: str, *, logprobs: Sequence[Mapping[str, Any]] = ()) -> None:
        self._count(piece)
        await self._out.text(piece, logprobs=logprobs)

    async def annotation(self, raw: Mapping[str, Any]) -> None:
        self._count()
        await self._out.annotation(raw)

    async def begin_message(self, *, phase: Phase | None = None, id_: str | None = None) -> None:
        await self._out.begin_message(phase=phase, id_=id_)

    async def refusal(self, piece: str) -> None:
        self._count(piece)
        await self._out.refusal(piece)

    async def reasoning(self, piece: str) -> None:
        self._count(piece)
        await self._out.reasoning(piece)

    async def summary(self, piece: str) -> None:
        self._count(piece)
        await self._out.summary(piece)

    async def seal_reasoning(self, encrypted_content: str) -> None:
        self._count()
        await self._out.seal_reasoning(encrypted_content)

    async def call(
        self,
        name: str,
        arguments: str | Mapping[str, Any],
        *,
        call_id: str | None = None,
        custom: bool = False,
        namespace: str | None = None,
    ) -> None:
        self._count(arguments if isinstance(arguments, str) else encode_json(arguments).decode())
        await self._out.call(name, arguments, call_id=call_id, custom=custom, namespace=namespace)

    async def open_call(
        self, name: str, *, call_id: str | None = None, custom: bool = False, namespace: str | None = None
    ) -> None:
        self._count(name)
        await self._out.open_call(name, call_id=call_id, custom=custom, namespace=namespace)

    async def arguments(self, piece: str) -> None:
        self._count(piece)
        await self._out.arguments(piece)

    async def close_call(self) -> None:
        await self._out.close_call()

    async def item(self, raw: Mapping[str, Any]) -> None:
        self._count()
        await self._out.item(raw)

    async def open_item(self, raw: Mapping[str, Any]) -> None:
        self._count()
        await self._out.open_item(raw)

    async def event(self, kind: str, members: Mapping[str, Any]) -> None:
        self._count()
        await self._out.event(kind, members)

    async def delta(self, kind: str, piece: str, *, index: int | None = None) -> None:
        self._count(piece)
        await self._out.delta(kind, piece, index=index)

    async def close_item(self, raw: Mapping[str, Any]) -> None:
        await self._out.close_item(raw)

    async def aside(self, kind: str, members: Mapping[str, Any]) -> None:
        self._count()
        await self._out.aside(kind, members)

    def together(self) -> AbstractContextManager[None]:
        return self._out.together()

    def use(self, usage: Usage) -> None:
        self._out.use(usage)

    @property
    def begun(self) -> bool:
        return self._out.begun

    @property
    def calls(self) -> tuple[FunctionCall | CustomToolCall | McpCall, ...]:
        return self._out.calls


def _steps_in(ask: Ask) -> int:
    """Engine steps in a history that this engine has not seen: the runs of items that a model made."""
    before = len(ask.items) - (len(ask.new_items) if ask.request.previous_response_id is not None else 0)
    steps, inside = 0, False
    for item in list(ask.items)[:before]:
        made = _made_by_model(item)
        steps += made and not inside
        inside = made
    return steps - (1 if ask.step and inside else 0)


def _made_by_model(item: Item) -> bool:
    if isinstance(item, Message):
        return item.role == "assistant"
    return isinstance(item, Reasoning | McpCall | Compaction) or client_call(item) is not None


def _usage(ask: Ask, written: int) -> Usage:
    """A plausible usage: four characters to a token, history counted as cached."""
    new = sum(map(_size, ask.new_items))
    old = sum(map(_size, ask.items)) - new
    cached = max(0, old) if ask.request.previous_response_id is not None else 0  # less than nothing: it was compacted
    return Usage(max(1, (old + new) // 4), (written + 3) // 4, cached // 4)


def _size(item: Item) -> int:
    return len(encode_json(item))
