"""Waiting for what runs in a portal: for plain code, and for coroutines of asyncio and of Trio alike.

Whoever is interrupted or cancelled while it waits cancels what it waits for, and goes on when that has been cleaned up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any, Final, TypeVar

import trio

from agentwire.client.portal import Work

__all__ = ["async_result", "result", "until"]

T = TypeVar("T")

INTERRUPTED: Final = "the call that waited for it was interrupted"
CANCELLED: Final = "the task that waited for it was cancelled"


def result(future: Future[T], work: Work[Any]) -> T:
    """Wait for a future; interrupted, cancel the work behind it and wait until it has ended."""
    try:
        return future.result()
    except BaseException:
        if not future.done():
            work.cancel(INTERRUPTED)
            wait([work.future])
        raise


async def async_result(future: Future[T], work: Work[Any]) -> T:
    """Wait for a future; cancelled, cancel the work behind it and wait until it has ended."""
    try:
        await until(future)
    except asyncio.CancelledError:
        work.cancel(CANCELLED)
        while not work.future.done():
            with suppress(asyncio.CancelledError):  # it ends by itself, and must not be left behind
                await until(work.future)  # noqa: ASYNC102 - asyncio knows no shield
        raise
    except trio.Cancelled:
        work.cancel(CANCELLED)
        with trio.CancelScope(shield=True):  # it ends by itself, and must not be left behind
            await until(work.future)
        raise
    return future.result()


async def until(future: Future[Any]) -> None:
    """Wait until it is done; cancelled, leave it alone."""
    done, tell = _flag()
    future.add_done_callback(lambda _: tell())
    await done.wait()


def _flag() -> tuple[asyncio.Event | trio.Event, Callable[[], None]]:
    """An event of the loop that runs here, and what sets it from any thread, as long as that loop runs."""
    if trio.lowlevel.in_trio_run():
        token, event = trio.lowlevel.current_trio_token(), trio.Event()

        def tell_trio() -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(event.set)

        return event, tell_trio
    loop, flag = asyncio.get_running_loop(), asyncio.Event()

    def tell_asyncio() -> None:
        with suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(flag.set)

    return flag, tell_asyncio
