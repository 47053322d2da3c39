"""Runs async code on a virtual clock: whenever every task waits, time jumps to the next deadline.

Only Trio's own waiting counts, so nothing that runs here may wait for the kernel: no sockets, no threads, no files.
With a seed the order of tasks is the same in each run, and another one for another seed.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar, TypeVarTuple

import trio
import trio.testing

from agentwire.testing.spinning import no_spinning

__all__ = ["run", "seeded_order", "virtual_clock"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def virtual_clock() -> trio.testing.MockClock:
    """A clock that jumps as soon as nothing else can happen."""
    return trio.testing.MockClock(autojump_threshold=0)


def run(async_fn: Callable[[*Ts], Awaitable[T]], *args: *Ts, seed: int | None = None) -> T:
    """Like `trio.run`, in virtual time.

    Args:
        async_fn: what to run.
        args: its arguments.
        seed: decides the order in which Trio lets tasks run; without one it is Trio's own choice.

    Raises:
        Spinning: a task never waits, so that time stands still.
    """

    async def main() -> T:
        with no_spinning():
            return await async_fn(*args)

    with nullcontext() if seed is None else seeded_order(seed):
        return trio.run(main, clock=virtual_clock())


@contextmanager
def seeded_order(seed: int) -> Generator[None]:
    """Within this block, Trio's scheduler draws the order of tasks from ``seed``.

    It uses what Trio offers to Hypothesis; not for use inside a test that Hypothesis runs, which has its own seed.

    Raises:
        RuntimeError: this release of Trio has another scheduler.
    """
    scheduler, source = _scheduler()
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, source.getstate()
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    source.seed(seed)
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING, state = before
        source.setstate(state)


def _scheduler() -> tuple[Any, random.Random]:
    scheduler: Any = trio._core._run
    source = getattr(scheduler, "_r", None)
    if not isinstance(source, random.Random) or not hasattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING"):
        raise RuntimeError(f"the order of tasks cannot be seeded with Trio {trio.__version__}; run without a seed")
    return scheduler, source
