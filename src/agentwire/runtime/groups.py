"""Exceptions out of nurseries: one that is alone comes out as itself, as if there had been no nursery.

Callers of a context manager must not have to know whether there is a nursery inside it. Several different exceptions
stay a group; any number of `trio.Cancelled` and nothing else are one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

__all__ = ["Noted", "open_flat_nursery", "parted", "single"]

_OF_THE_PROCESS: Final = (trio.Cancelled, KeyboardInterrupt, GeneratorExit)
"""What is nobody's own to raise, and passes; anything else that foreign code raises is its failure."""


def parted(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """What of this passes, and what of it is the failure of whoever raised it: of a cancellation both may come at once.

    Each is as `single` makes it, and None if there is none.
    """
    if not isinstance(error, BaseExceptionGroup):
        return (error, None) if isinstance(error, _OF_THE_PROCESS) else (None, error)
    passing, failure = error.split(_OF_THE_PROCESS)
    return passing and single(passing), failure and single(failure)


class Noted:
    """Whatever foreign code raises inside is noted and goes no further, but for what is of the process, which passes.

    Args:
        note: told of the failure, also where something else passes.
    """

    __slots__ = ("_note",)

    def __init__(self, note: Callable[[BaseException], None]) -> None:
        self._note = note

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if error is None:
            return False
        passing, failure = parted(error)
        if failure is None:
            return False
        self._note(failure)
        if passing is not None:
            raise passing from None
        return True


def single(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception in a group; one `trio.Cancelled`, which carries the reason, for a group of nothing else.

    A group of several stays as it is.
    """
    _, rest = group.split(trio.Cancelled)
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and (rest is None or len(error.exceptions) == 1):
        error = error.exceptions[0]
    return error


@asynccontextmanager
async def open_flat_nursery() -> AsyncGenerator[trio.Nursery]:
    """A nursery whose single exception comes out without a group round it; otherwise as `trio.open_nursery`."""
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        error = single(group)
        if error is group:
            raise
        raise error from error.__cause__
