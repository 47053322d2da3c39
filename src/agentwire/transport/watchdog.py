"""Deadlines that cost nothing as long as they are met: one task for any number of waits.

Who waits for a peer notes until when, and goes on waiting without a cancel scope of its own; who is late has its
connection closed from outside, which ends the wait. Moving a deadline is an assignment; only an earlier one than any
other wakes the task.
"""

from __future__ import annotations

import math
from typing import Protocol

import trio

__all__ = ["Watchdog", "Watched"]


class Watched(Protocol):
    """Something with a deadline.

    Attributes:
        deadline: Trio's time; infinity while nothing is awaited.
    """

    deadline: float

    async def expire(self) -> None:
        """The deadline has passed: end what waits, without waiting for anything."""


class Watchdog:
    """Looks after the deadlines of its members.

    Attributes:
        next_look: Trio's time of the next look; whoever sets an earlier deadline calls `hurry`.
    """

    def __init__(self) -> None:
        self.next_look = math.inf
        self._members: set[Watched] = set()
        self._nap: trio.CancelScope | None = None

    def add(self, member: Watched) -> None:
        """Look after one more."""
        self._members.add(member)

    def remove(self, member: Watched) -> None:
        """Forget it, if it is known."""
        self._members.discard(member)

    def hurry(self, deadline: float) -> None:
        """Look again at this time at the latest."""
        self.next_look = min(self.next_look, deadline)
        if self._nap is not None:
            self._nap.deadline = self.next_look

    async def run(self) -> None:
        """Look after them, until cancelled."""
        while True:
            now = trio.current_time()
            for member in [member for member in self._members if member.deadline <= now]:
                await member.expire()
            self.next_look = min((member.deadline for member in self._members), default=math.inf)
            with trio.CancelScope(deadline=self.next_look) as self._nap:
                await trio.sleep_forever()
