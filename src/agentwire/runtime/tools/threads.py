"""Threads of plain tools that were left to themselves, because they did not end when their call did.

Nobody can stop such a thread, so what is left of it is counted: how many there were, and how many still run.
"""

from __future__ import annotations

import threading

import attrs

__all__ = ["Thread", "ToolStatistics", "tool_statistics"]


@attrs.frozen
class ToolStatistics:
    """A snapshot of this process.

    Attributes:
        abandoned: plain tools that were left alone in their threads, since the start.
        still_running: those of them that have not ended.
    """

    abandoned: int
    still_running: int


_lock = threading.Lock()
_abandoned = 0
_ended = 0


def tool_statistics() -> ToolStatistics:
    """Counts of this process at this moment."""
    with _lock:
        return ToolStatistics(_abandoned, _abandoned - _ended)


@attrs.define(eq=False)
class Thread:
    """One call in a thread.

    Attributes:
        abandoned: whether it was left alone.
    """

    abandoned: bool = False
    _over: bool = False

    def abandon(self) -> None:
        """It was left alone."""
        global _abandoned, _ended  # noqa: PLW0603 - the process's count
        with _lock:
            self.abandoned = True
            _abandoned += 1
            _ended += self._over

    def end(self) -> None:
        """It has ended, alone or not; called in the thread."""
        global _ended  # noqa: PLW0603 - the process's count
        with _lock:
            self._over = True
            _ended += self.abandoned
