"""What a run does, step by step, and the bounded way from the run to whoever watches it.

The model's text waits for a slow watcher; tools never do: what they report is little, and goes in at once.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

import attrs
import trio

from agentwire.link import Fate
from agentwire.protocol.items import CustomToolCall, FunctionCall, McpCall
from agentwire.protocol.response import Response
from agentwire.runtime.tools import ToolResult

__all__ = [
    "ReasoningDelta",
    "ServerToolFinished",
    "Step",
    "Steps",
    "TextDelta",
    "ToolFinished",
    "ToolStarted",
    "TurnFinished",
    "TurnLost",
    "TurnStarted",
]


_BURST = 64  # steps between two checkpoints of a watcher who never has to wait


@attrs.frozen
class TurnStarted:
    """The model's turn ``number`` (from 1) has begun."""

    number: int
    response_id: str


@attrs.frozen
class TextDelta:
    """A piece of the model's text."""

    text: str


@attrs.frozen
class ReasoningDelta:
    """A piece of the model's reasoning, or of its summary."""

    text: str


@attrs.frozen
class ToolStarted:
    """A tool runs, here."""

    call: FunctionCall | CustomToolCall


@attrs.frozen
class ToolFinished:
    """A tool has answered, well or not; ``seconds`` is how long it took."""

    call: FunctionCall | CustomToolCall
    result: ToolResult
    seconds: float


@attrs.frozen
class ServerToolFinished:
    """The server has run a tool of its own."""

    call: McpCall


@attrs.frozen
class TurnFinished:
    """The model's turn is over; tools that it called may still run."""

    response: Response


@attrs.frozen
class TurnLost:
    """The model's turn ``number`` was lost with its connection: its text is void.

    Attributes:
        number: of the turn.
        fate: how far it had come.
        repeated: whether it is asked again, from the start and under the same number; otherwise the calls that it had
            made stand, and the next turn goes on from them.
    """

    number: int
    fate: Fate
    repeated: bool


Step: TypeAlias = (
    TurnStarted | TextDelta | ReasoningDelta | ToolStarted | ToolFinished | ServerToolFinished | TurnFinished | TurnLost
)
"""Anything that happens in a run."""


class Steps:
    """Steps on their way to one watcher.

    Args:
        limit: steps that may wait; `put` then waits, `put_nowait` does not.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._steps: deque[Step] = deque()
        self._streak = 0
        self._closed = False
        self._unwatched = False
        self._room = trio.lowlevel.ParkingLot()
        self._news = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._steps)

    async def put(self, step: Step) -> None:
        """Append a step, once there is room for it."""
        while len(self._steps) >= self._limit and not self._unwatched:
            await self._room.park()
        self.put_nowait(step)

    def put_nowait(self, step: Step) -> None:
        """Append a step that waits for nobody."""
        if not self._unwatched:
            self._steps.append(step)
            self._news.unpark_all()

    def unwatch(self) -> None:
        """Nobody will read steps any more: forget them."""
        self._unwatched = True
        self._steps.clear()
        self._room.unpark_all()

    def close(self) -> None:
        """No more steps will come."""
        self._closed = True
        self._news.unpark_all()

    async def get(self) -> Step | None:
        """The next step; None after the last one. Cancelled, it takes none."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._streak += 1
        if self._streak >= _BURST:
            self._streak = 0
            await trio.lowlevel.checkpoint()
        while not self._steps:
            if self._closed:
                return None
            self._streak = 0
            await self._news.park()
        self._room.unpark()
        return self._steps.popleft()

    async def ended(self) -> None:
        """Wait until no more steps will come."""
        while not self._closed:
            await self._news.park()
