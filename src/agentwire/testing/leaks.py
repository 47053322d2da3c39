"""Nothing may be left behind: no task, no file descriptor, no stream in memory.

What counts is what came into being inside the block and is still there at its end; things that were there before, and
things that end soon by themselves, are no leak.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

import attrs
import trio

from agentwire.testing.streams import MemoryStream, open_memory_streams
from agentwire.testing.tasks import describe_task, walk_tasks

__all__ = ["Leaked", "no_leaks", "open_descriptors", "present"]

_LISTED: Final = Path("/proc/self/fd")
_HIGHEST: Final = 4096


class Leaked(AssertionError):
    """Something was left behind; the message says what, and for tasks where they wait.

    Args:
        left: one line for each.
    """

    def __init__(self, left: tuple[str, ...]) -> None:
        super().__init__("left behind:\n" + "\n".join(f"  {line}" for line in left))
        self.left = left


@asynccontextmanager
async def no_leaks(*, rounds: int = 50) -> AsyncGenerator[None]:
    """Raise `Leaked` if the block leaves something behind that is still there some scheduler rounds later.

    An exception of the block passes, and nothing is checked then.

    Args:
        rounds: how often Trio's scheduler may go round until everything is gone, at least once; time stands still.
    """
    before = _Present.now()
    yield
    left: tuple[str, ...] = ()
    for _ in range(rounds):
        await trio.lowlevel.checkpoint()
        left = before.left()
        if not left:
            return
    raise Leaked(left)


def present() -> dict[str, dict[str, str]]:
    """What this process has now, by kind: tasks, file descriptors, streams in memory; each with what it is."""
    return {
        "tasks": {f"{id(task):x}": describe_task(task) for task in walk_tasks()},
        "descriptors": {str(number): what for number, what in open_descriptors().items()},
        "streams": {f"{id(stream):x}": repr(stream) for stream in open_memory_streams()},
    }


def open_descriptors() -> dict[int, str]:
    """This process's open file descriptors, and what each of them is."""
    listed = [int(entry.name) for entry in _LISTED.iterdir()] if _LISTED.is_dir() else range(_HIGHEST)
    found = ((number, _describe(number)) for number in listed)
    return {number: what for number, what in found if what}


def _describe(descriptor: int) -> str:
    """What a descriptor is, such as ``socket:[4711]``; empty if it is closed."""
    try:
        if _LISTED.is_dir():
            return str((_LISTED / str(descriptor)).readlink())
        status = os.fstat(descriptor)
    except OSError:
        return ""
    return f"device {status.st_dev}, inode {status.st_ino}, mode {status.st_mode:o}"


@attrs.frozen
class _Present:
    """What there is at one moment."""

    tasks: frozenset[trio.lowlevel.Task]
    descriptors: dict[int, str]
    streams: frozenset[MemoryStream]

    @classmethod
    def now(cls) -> Self:
        return cls(frozenset(walk_tasks()), open_descriptors(), frozenset(open_memory_streams()))

    def left(self) -> tuple[str, ...]:
        """What there is now and was not then."""
        now = _Present.now()
        tasks = [f"task {describe_task(task)}" for task in now.tasks - self.tasks]
        descriptors = [
            f"descriptor {number}: {what}"
            for number, what in now.descriptors.items()
            if self.descriptors.get(number) != what
        ]
        streams = [f"stream {stream!r}" for stream in open_memory_streams() if stream not in self.streams]
        return (*sorted(tasks), *descriptors, *streams)
