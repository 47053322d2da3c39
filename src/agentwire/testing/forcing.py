"""Ends loops that catch whatever is raised at their awaits: the exception comes at a line of the loop's own frame.

No ``try`` holds every line of the loop that it is in: its handler's are outside of it, and so is the line that it
begins with.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

__all__ = ["Forced", "Forcing"]


class Forced(BaseException):
    """Raised in a loop that is to end; it passes whoever catches `Exception`."""


class Forcing:
    """Raises `Forced` at a line of some frames: the first one that they come to; at the next attempt, the second.

    Args:
        frames: the loop's, and of the loops round it that catch what ends the inner one.
        why: what the exception says.

    Attributes:
        raised: whether it has been raised since `begin`.
    """

    def __init__(self, frames: frozenset[FrameType], why: str) -> None:
        self.frames = frames
        self.raised = False
        self._why = why
        self._lines = 0
        self._skipped = 0
        self._tracer: Any = None

    def begin(self) -> None:
        """Until `end`, whichever of the frames this thread comes to is ended."""
        self.raised = False
        self._lines = 0
        self._tracer = sys.gettrace()  # of coverage, or of a debugger
        if sys.getprofile() is None:  # a profiler that is in C cannot be put back
            sys.setprofile(self._profile)
        sys.settrace(self._trace)

    def end(self) -> None:
        """Leave the thread as it was."""
        sys.settrace(self._tracer)
        if sys.getprofile() == self._profile:
            sys.setprofile(None)
        if self.raised:
            self._skipped += 1
        elif self._lines:
            self._skipped = 0

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        if frame not in self.frames:
            return None
        if event == "line":
            self._lines += 1
            if self._lines > self._skipped:
                self.raised = True
                raise Forced(self._why)
        return self._trace

    def _profile(self, frame: FrameType, event: str, _argument: object) -> None:
        """Have the next frame traced where one ends: a trace function that has raised is not called any more."""
        if event == "return" and self.raised and frame in self.frames:
            sys.settrace(self._trace)
