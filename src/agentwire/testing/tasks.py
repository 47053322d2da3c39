"""Which Trio tasks there are, and where each of them waits: for reports of leaks and of tests that are stuck.

Trio's own tasks are left out, and so are Trio's own lines in what a task is doing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import trio

__all__ = ["describe_task", "describe_tasks", "walk_tasks"]


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


def describe_tasks() -> str:
    """One indented line for each task."""
    return "\n".join(f"  {describe_task(task)}" for task in walk_tasks())


def _places(task: trio.lowlevel.Task) -> list[str]:
    return [
        f"{Path(frame.f_code.co_filename).name}:{line} in {frame.f_code.co_qualname}"
        for frame, line in task.iter_await_frames()
        if frame.f_globals.get("__name__", "").partition(".")[0] not in ("trio", "outcome")
    ]
