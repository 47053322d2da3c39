"""Exceptions out of nurseries: one that is alone comes out as itself, as if there had been no nursery.

Callers of a context manager must not have to know whether there is a nursery inside it. Several different exceptions
stay a group; any number of `trio.Cancelled` and nothing else are one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import trio

__all__ = ["OF_THE_PROCESS", "is_failure", "open_flat_nursery", "single"]

OF_THE_PROCESS: Final = (trio.Cancelled, KeyboardInterrupt, GeneratorExit)
"""What is nobody's own to raise, and passes; anything else that foreign code raises is its failure."""


def is_failure(error: BaseException) -> bool:
    """Whether whoever raised this has failed, and that is all: also what is no `Exception`, as of extension modules."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(OF_THE_PROCESS)[0] is None
    return not isinstance(error, OF_THE_PROCESS)


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
