"""What a client asks with: its line, what it remembers, and what may be asked again.

Turns and runs, on whatever lane, have the same means; whatever ends well over them can be continued.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs

from agentwire.client.memory import Memory
from agentwire.client.recovery import Asking, Prompt
from agentwire.client.repeating import Repeats
from agentwire.client.steering import said_by
from agentwire.client.turn import Turn
from agentwire.link import Line
from agentwire.link.lease import Lease
from agentwire.link.steering import Steer
from agentwire.protocol.items import Item
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.response import Response
from agentwire.runtime.policies import Policy

__all__ = ["Means"]


@attrs.frozen
class Means:
    """The means of one client.

    Attributes:
        line: to its server.
        memory: its conversations.
        repeats: what may be asked again.
        policy: what a lost connection means for the tools of a run.
        open_steers: those that may yet be in the input of a response.
    """

    line: Line
    memory: Memory
    repeats: Repeats
    policy: Policy
    open_steers: list[Steer] = attrs.field(factory=list, init=False, repr=False)

    @property
    def limits(self) -> Limits:
        """The bounds in force."""
        return self.line.limits

    def prompt(self, request: CreateRequest) -> Prompt:
        """The request and what it continues, as far as that is remembered."""
        return Prompt(request=request, parent=self.memory.find(request.previous_response_id))

    @asynccontextmanager
    async def ask(self, prompt: Prompt, *, lease: Lease | None = None) -> AsyncGenerator[Turn]:
        """Ask for a turn; how it ends is remembered. Raises as `Asking.open` does."""

        def remember(turn: Turn, response: Response) -> None:
            request, parent = prompt.request, prompt.parent
            self.open_steers.extend(steer for steer in turn.steers if steer not in self.open_steers)
            steered = self._steered_into(response)
            if turn.responses[:-1]:  # the server has let it follow one that was steered
                before = turn.responses[-2].id
                request = attrs.evolve(request, input=steered, previous_response_id=before)
                parent = self.memory.find(before)
            elif not prompt.brought:
                request = attrs.evolve(request, input=(*steered, *request.input))
            self.memory.remember(response.id, request, response.output, parent=parent, way=turn.way.number)

        async with Asking.open(self.line, prompt, repeats=self.repeats, lease=lease) as asking:
            yield Turn(asking, on_end=remember)

    def _steered_into(self, response: Response) -> tuple[Item, ...]:
        """What the server has put in front of a response's input."""
        steers = [steer for steer in self.open_steers if steer.successor_id == response.id]
        self.open_steers[:] = [steer for steer in self.open_steers if not steer.ended]
        return said_by(steers)
