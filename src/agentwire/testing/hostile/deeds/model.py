"""What a deed is, and when it is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import attrs

from agentwire.testing.hostile.scene import Scene
from agentwire.testing.hostile.socket import ServerSocket
from agentwire.testing.hostile.steps import Plan, Step
from agentwire.transport.http11 import HttpConnection

__all__ = ["Cue", "Deed", "Door", "When"]

When = Literal["upgrade", "connection", "turn"]
"""What is counted: upgrades that are asked for, WebSockets that are opened, or turns."""

Door = Callable[[HttpConnection], Awaitable[None]]
"""Answers an upgrade, or does not."""


@attrs.frozen(kw_only=True)
class Deed:
    """One thing that a server does wrong.

    Attributes:
        name: stable.
        title: what it does, in a line.
        reports: where it was seen, as ``owner/repo#number``, or a program with its version.
        when: what its cue counts.
        first: of these, the one at which it is done where nobody says otherwise.
        times: how often it is done then.
        door: answers an upgrade.
        socket: changes a WebSocket that was just opened.
        opened: what is said on it at once.
        turn: changes what a turn says; the same list means that there was nothing to be done.
    """

    name: str
    title: str
    reports: tuple[str, ...] = ()
    when: When = "turn"
    first: int = 2
    times: float = 1
    door: Door | None = None
    socket: Callable[[ServerSocket], None] | None = None
    opened: Sequence[Step] = ()
    turn: Callable[[Plan, Scene], Plan] | None = None


@attrs.frozen
class Cue:
    """A deed and its moment.

    Attributes:
        deed: what is done.
        first: the turn, upgrade or connection at which it is done, from 1.
        times: how often, from there on.
    """

    deed: Deed
    first: int
    times: float

    def due(self, number: int) -> bool:
        """Whether it is done at this one."""
        return self.first <= number < self.first + self.times
