"""Reads the events of one turn of a session beside its connection, at a pace of its own.

It takes nothing away from the connection and does not hold it up; while there is none, it stands in for it, so that the
turn goes on as fast as it reads.
"""

from __future__ import annotations

from collections.abc import Callable

from agentwire.runtime.window import Window

__all__ = ["Onlooker"]


class Onlooker:
    """A reader of one window; made by `Session.look_on`.

    Args:
        window: of the turn.
        number: the next event to read.
        alone: whether the session has no connection now.
    """

    def __init__(self, window: Window, number: int, *, alone: Callable[[], bool]) -> None:
        self._window = window
        self._number = number
        self._alone = alone

    def latest(self) -> bytes:
        """The event in front of the next one; empty if there is none, or it is not kept."""
        before = self._number - 1
        return self._window.peek(before, 1)[0] if before >= 0 and self._window.has(before) else b""

    async def read(self, budget: int) -> list[bytes]:
        """The next events, about so many bytes; none after the last one. Cancelled, it has read nothing.

        Raises:
            ValueError: the connection is so far ahead that the next event is not kept any more.
        """
        window = self._window
        while True:
            if self._alone():
                window.skip_to(self._number)
            if events := window.peek(self._number, budget):
                self._number += len(events)
                return events
            if window.closed:
                return []
            await window.changed()
