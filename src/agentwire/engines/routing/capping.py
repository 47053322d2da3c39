"""How many steps one model's server is given at once: the others wait in line, for so long and so many of them.

The line is fair between principals: each has one of its own, and they take turns, so that one who asks for much waits
behind itself. Whoever stops waiting, for whatever reason, leaves the line, or gives back what it was just given.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import trio

from agentwire.protocol.errors import EngineError
from agentwire.protocol.limits import Limits

__all__ = ["Busy", "Cap", "CapStatistics"]


class Busy(EngineError):
    """There was no place in time, or none in line: whoever waited has waited long enough."""


@attrs.frozen
class CapStatistics:
    """What runs and waits at this moment."""

    running: int
    waiting: int


class Cap:
    """A bound on what runs at once.

    Args:
        most: how many may run.
        limits: how many may wait (``upstream_waiting``), and for how long (``upstream_patience``).
        name: of what is bounded, for errors.
    """

    def __init__(self, most: int, limits: Limits, name: str) -> None:
        if most < 1:
            raise ValueError(f"{name}: at least one step must be allowed at once, not {most}")
        self._most = most
        self._limits = limits
        self._name = name
        self._running = 0
        self._waiting = 0
        self._lines: OrderedDict[str, deque[trio.Event]] = OrderedDict()

    def statistics(self) -> CapStatistics:
        """Counts at this moment."""
        return CapStatistics(self._running, self._waiting)

    @asynccontextmanager
    async def hold(self, principal: str) -> AsyncGenerator[None]:
        """Run the block as one of those that may; it waits its turn. Cancelled there, it leaves the line.

        Raises:
            Busy: 429 ``rate_limit_exceeded``, too many wait already, or its turn did not come in time.
        """
        await self._take(principal)
        try:
            yield
        finally:
            self._pass_on()

    async def _take(self, principal: str) -> None:
        if self._running < self._most:
            self._running += 1
            return
        if self._waiting >= self._limits.upstream_waiting:
            raise self._busy(f"{self._waiting} requests wait for it already")
        turn = trio.Event()
        self._lines.setdefault(principal, deque()).append(turn)
        self._waiting += 1
        try:
            with trio.move_on_after(self._limits.upstream_patience):
                await turn.wait()
        except BaseException:
            if turn.is_set():
                self._pass_on()
            raise
        finally:
            if not turn.is_set():
                self._leave(principal, turn)
        if not turn.is_set():
            raise self._busy(f"no place came free within {self._limits.upstream_patience:g} s")

    def _leave(self, principal: str, turn: trio.Event) -> None:
        line = self._lines[principal]
        line.remove(turn)
        self._waiting -= 1
        if not line:
            del self._lines[principal]

    def _pass_on(self) -> None:
        """A place is free: whoever is next has it, and that principal's others go behind everybody else's."""
        if not self._lines:
            self._running -= 1
            return
        principal, line = self._lines.popitem(last=False)
        line.popleft().set()
        self._waiting -= 1
        if line:
            self._lines[principal] = line

    def _busy(self, why: str) -> Busy:
        wait = str(max(1, math.ceil(min(self._limits.upstream_patience, self._limits.retry_after))))
        message = f"{self._name} is at its limit of {self._most} requests at once: {why}. Try again in {wait} s."
        return Busy(message, code="rate_limit_exceeded", status=429, headers={"retry-after": wait})
