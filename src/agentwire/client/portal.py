"""A Trio loop in a thread of its own, for programs that have none: what they ask for runs there, and can be cancelled.

All of a process share one. It runs as long as somebody holds it, and leaves nothing behind.
"""

from __future__ import annotations

import atexit
import contextvars
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, wait
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, ClassVar, Final, Generic, TypeVar, TypeVarTuple

import trio

from agentwire.link import Fate, RequestLost
from agentwire.protocol.errors import AgentwireError, ConnectionEnded

__all__ = ["Held", "Portal", "Work", "WorkCancelled"]

AT_EXIT: Final = 5.0
"""Seconds in which what was left open can end when the process does."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class WorkCancelled(AgentwireError):
    """What was asked for was cancelled, and did not come to its end."""


class Work(Generic[T]):
    """Something that runs in a portal.

    Attributes:
        future: what comes of it; `WorkCancelled` if it was cancelled.
    """

    def __init__(self, portal: Portal) -> None:
        self.future: Future[T] = Future()
        self._portal = portal
        self._scope = trio.CancelScope()

    def cancel(self, reason: str) -> None:
        """Cancel it, and return at once; ``future`` is done when everything has been cleaned up."""
        self._portal.soon(partial(self._scope.cancel, reason=reason))

    async def run(self, async_fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> None:
        """Run it in Trio; whatever it raises is the future's."""
        try:
            with self._scope:
                self.future.set_result(await async_fn(*args))
                return
            self.future.set_exception(WorkCancelled("cancelled"))
        except trio.Cancelled:
            self.future.set_exception(WorkCancelled("the loop has ended"))
            raise
        except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
            self.future.set_exception(error)


class Portal:
    """The loop; taken with `take`, and given back with `release` as often.

    Attributes:
        open: contexts that are open in it.
    """

    _lock: ClassVar = threading.Lock()
    _shared: ClassVar[Portal | None] = None

    def __init__(self) -> None:
        self.open: set[Held[Any]] = set()
        self._process = os.getpid()
        self._holders = 0
        self._token: trio.lowlevel.TrioToken | None = None
        self._over = trio.Event()
        self._running = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,), name="agentwire", daemon=True)

    @classmethod
    def take(cls) -> Portal:
        """The process's portal, running."""
        with cls._lock:
            portal = cls._shared
            if portal is None:
                portal = cls._shared = cls()
                portal._thread.start()
                portal._running.wait()
            portal._holders += 1
            return portal

    def release(self) -> None:
        """Give it back; whoever is the last ends it, and waits for that."""
        with Portal._lock:
            self._holders -= 1
            if self._holders:
                return
            if Portal._shared is self:  # a process that was forked has another one
                Portal._shared = None
            if self.soon(self._over.set):
                self._thread.join()

    @classmethod
    def forget(cls) -> None:
        """In a process that was forked, where the loop's thread does not exist."""
        cls._lock, cls._shared = threading.Lock(), None

    @classmethod
    def leave_all(cls) -> None:
        """The process ends: leave what somebody has left open, as long as the loop's thread still runs."""
        portal = cls._shared
        if portal is not None:
            held = tuple(portal.open)
            for one in held:
                one.leave()
            wait([one.work.future for one in held], AT_EXIT)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._running.set()
        await self._over.wait()

    def soon(self, sync_fn: Callable[[], object]) -> bool:
        """Call this in the loop, soon.

        Returns:
            False, having done nothing, if the loop has ended, or runs in the process that forked this, or if Python
            ends and has stopped its thread, perhaps with a lock in its hand.
        """
        assert self._token is not None
        if os.getpid() != self._process or sys.is_finalizing():
            return False
        try:
            self._token.run_sync_soon(sync_fn)
        except trio.RunFinishedError:
            return False
        return True

    def submit(self, async_fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> Work[T]:
        """Start an async function in the loop, with this thread's context variables.

        Raises:
            RuntimeError: this is the loop's own thread, which cannot wait for itself.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("agentwire.sync and agentwire.aio cannot be used in Trio code: await agentwire itself")
        work: Work[T] = Work(self)
        context, name = contextvars.copy_context(), getattr(async_fn, "__qualname__", None)
        start = partial(trio.lowlevel.spawn_system_task, work.run, async_fn, *args, name=name, context=context)
        if not self.soon(start):
            forked = os.getpid() != self._process
            cause = "it belongs to the process that forked this" if forked else "closed on this side"
            work.future.set_exception(RequestLost(ConnectionEnded(cause=cause), fate=Fate.NEVER_SENT))
        return work


atexit.register(Portal.leave_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Portal.forget)


class Held(Generic[T]):
    """An async context that a task of the portal holds open, since it must be left where it was entered.

    Args:
        portal: where.
        opening: makes the context.

    Attributes:
        entered: what the context gives, once it is open.
        work: the task; done when the context has been left.
    """

    def __init__(self, portal: Portal, opening: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self.entered: Future[T] = Future()
        self._portal = portal
        self._opening = opening
        self._leave = trio.Event()
        portal.open.add(self)
        self.work = portal.submit(self._hold)
        self.work.future.add_done_callback(self._ended)

    def leave(self) -> None:
        """Leave it, and return at once."""
        if not self._portal.soon(self._leave.set) and not self.work.future.done():
            self.work.future.set_result(None)  # nothing of it is in this process

    def _ended(self, future: Future[None]) -> None:
        """Whoever waits is told why it was never open: an error of its own, or a loop that has ended."""
        self._portal.open.discard(self)
        if not self.entered.done():
            self.entered.set_exception(future.exception())

    async def _hold(self) -> None:
        async with self._opening() as value:
            self.entered.set_result(value)
            await self._leave.wait()
