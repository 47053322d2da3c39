"""Which Trio tasks there are, and where each of them waits: for reports of leaks and of tests that are stuck.

Trio's own tasks are left out, and so are Trio's own lines in what a task is doing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

import trio

__all__ = ["describe_frame", "describe_place", "describe_task", "describe_tasks", "is_trio", "walk_tasks"]

_TRIO: Final = ("trio", "outcome")
_INSTALLED: Final = frozenset(("site-packages", "dist-packages"))


def walk_tasks() -> Iterator[trio.lowlevel.Task]:
    """Every task of this run that is not Trio's own, parents first."""
    root = trio.lowlevel.current_root_task()
    waiting = [root] if root is not None else []
    while waiting:
        task = waiting.pop()
        if _places(task):
            yield task
        for nursery in task.child_nurseries:
            waiting.extend(nursery.child_tasks)


def describe_task(task: trio.lowlevel.Task) -> str:
    """One line: the task's name, and the innermost line of code that is not Trio's own."""
    places = _places(task)
    return f"{task.name}: {places[-1] if places else 'in Trio'}"


def describe_place(task: trio.lowlevel.Task) -> str:
    """The innermost line of a task that is of no library and not agentwire's own; if there is none, the task, too."""
    own = [describe_frame(frame, line) for frame, line in task.iter_await_frames() if _is_own(frame)]
    return own[-1] if own else f"{(_places(task) or ['in Trio'])[-1]} (task {task.name})"


def describe_tasks() -> str:
    """One indented line for each task."""
    return "\n".join(f"  {describe_task(task)}" for task in walk_tasks())


def is_trio(frame: FrameType) -> bool:
    """Whether a frame is Trio's own."""
    return _package(frame) in _TRIO


def _places(task: trio.lowlevel.Task) -> list[str]:
    return [describe_frame(frame, line) for frame, line in task.iter_await_frames() if not is_trio(frame)]


def describe_frame(frame: FrameType, line: int) -> str:
    """A line of code, and the function that it is in."""
    return f"{Path(frame.f_code.co_filename).name}:{line} in {frame.f_code.co_qualname}"


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_own(frame: FrameType) -> bool:
    """A library is Python's own, agentwire, or whatever is installed."""
    package = _package(frame)
    return (
        package != "agentwire"
        and package not in sys.stdlib_module_names
        and _INSTALLED.isdisjoint(Path(frame.f_code.co_filename).parts)
    )
