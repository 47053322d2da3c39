"""What a deed is, when it is done, and how both are written in a word: ``reset-idle@2``, ``refuse-500@1+``."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

import attrs

from agentwire.testing.hostile.scene import Scene
from agentwire.testing.hostile.socket import ServerSocket
from agentwire.testing.hostile.steps import Plan, Step
from agentwire.transport.http11 import HttpConnection

__all__ = ["DEEDS", "Cue", "Deed", "Door", "When", "cue", "deed_of"]

When = Literal["upgrade", "connection", "turn"]
"""What is counted: upgrades that are asked for, WebSockets that are opened, or turns."""

Door = Callable[[HttpConnection], Awaitable[None]]
"""Answers an upgrade, or does not."""

_WRITTEN: Final = re.compile(r"(?P<name>[a-z0-9-]+?)(@(?P<first>[0-9]+)(?P<on>\+)?)?")


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


DEEDS: Final[dict[str, Deed]] = {}
"""Every deed, by name."""


def deed_of(deed: Deed) -> Deed:
    """Register a deed.

    Raises:
        ValueError: its name is taken.
    """
    if deed.name in DEEDS:
        raise ValueError(f"there is a deed {deed.name} already")
    DEEDS[deed.name] = deed
    return deed


def cue(written: str | Deed | Cue, *, first: int | None = None, times: float | None = None) -> Cue:
    """A deed and when it is done.

    Args:
        written: a deed or its name, with ``@N`` for another moment than its own and ``+`` for each time from there on:
            ``reset-idle``, ``reset-idle@3``, ``reset-idle@3+``.
        first: the same as ``@N``.
        times: how often.

    Raises:
        ValueError: there is no such deed, or this is no moment.
    """
    if isinstance(written, Cue):
        return written
    if isinstance(written, str):
        parts = _WRITTEN.fullmatch(written)
        if parts is None or parts["name"] not in DEEDS:
            raise ValueError(f"there is no deed {written!r} (there are {', '.join(DEEDS)})")
        deed = DEEDS[parts["name"]]
        if parts["first"]:
            first = int(parts["first"])
            times = math.inf if parts["on"] else deed.times
    else:
        deed = written
    first = deed.first if first is None else first
    if first < 1:
        raise ValueError(f"{deed.name}: turns, upgrades and connections are counted from 1, not {first}")
    return Cue(deed, first, deed.times if times is None else times)
