"""The one writer of a file: what waits is written together, in one transaction, and each is told when it is on disk.

Whoever waits may be cancelled at any time: what has not been begun then is left out, what has is written.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from typing import Any, Final, TypeVar

import attrs
import trio

from agentwire.protocol.errors import StoreError
from agentwire.protocol.limits import Limits
from agentwire.runtime.groups import open_flat_nursery
from agentwire.stores.sqlite.file import Form, savepoint, told, transaction

__all__ = ["STEP", "Work", "Writer"]

STEP: Final = 32
"""Entries that one write takes along; many more than it can add."""

log = logging.getLogger("agentwire.store")

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""Something to write. Where it raises something, nothing of it has changed; what SQLite raises is everybody's error."""


@attrs.define(eq=False)
class _Job:
    work: Work[Any]
    done: trio.Event = attrs.field(factory=trio.Event)
    wanted: bool = True
    result: Any = None
    error: Exception | None = None


class Writer:
    """Writes to one file, on a thread of its own.

    Args:
        form: what the file is.
        path: of the file, for errors.
        connection: used by nobody else.
        limits: how much may wait, and how much is written at once.
        prune: drops a few of the oldest entries, `STEP` at most, if they must go, and says how many; part of every
            transaction. Where it raises something, nothing of it has changed.
    """

    def __init__(
        self,
        form: Form,
        path: str,
        connection: sqlite3.Connection,
        limits: Limits,
        prune: Callable[[sqlite3.Connection], int],
    ) -> None:
        self._form = form
        self._path = path
        self._connection = connection
        self._limits = limits
        self._prune = prune
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()  # None: nothing follows
        self._room = trio.Semaphore(limits.store_queue)
        self._closing = trio.Event()
        self._stopped = False
        self.written = 0
        self.batches = 0
        self.dropped = 0
        self.behind = False

    @property
    def waiting(self) -> int:
        """What waits to be written."""
        return self._jobs.qsize()

    async def write(self, work: Work[T]) -> T:
        """Have something written; on return it is on its way to the disk, and everybody can read it.

        Cancelled, it is written or not, whole.

        Raises:
            StoreError: it cannot be written, or the store is closed.
        """
        try:
            self._room.acquire_nowait()
        except trio.WouldBlock:
            await self._room.acquire()
        if self._closing.is_set():
            self._room.release()
            raise self._closed()
        job = _Job(work)
        self._jobs.put(job)
        try:
            await job.done.wait()
        finally:
            job.wanted = False
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    def _tell(self, jobs: Iterable[_Job]) -> None:
        for job in jobs:
            job.done.set()
            self._room.release()

    def close(self) -> None:
        """Take nothing more; `run` ends when everything that waits has been written."""
        if not self._closing.is_set():
            self._closing.set()
            self._jobs.put(None)

    async def run(self) -> None:
        """The writer's task; ends after `close`. Cancelled, whoever waits is told that the store is closed."""
        ended = trio.Event()

        async def work() -> None:
            token, limiter = trio.lowlevel.current_trio_token(), trio.CapacityLimiter(1)
            try:
                await trio.to_thread.run_sync(self._work, token, limiter=limiter)
            finally:
                ended.set()

        try:
            async with open_flat_nursery() as nursery:
                nursery.start_soon(work)
                try:
                    await self._closing.wait()
                    await ended.wait()
                except trio.Cancelled:
                    self._stopped = True
                    raise
                finally:
                    self.close()
        finally:
            left = self._take(self._jobs.qsize())  # there is something only if its thread never began
            self._refuse(left)
            self._tell(left)

    # On the thread

    def _work(self, token: trio.lowlevel.TrioToken) -> None:
        """Write what waits, until nothing follows; the thread stays, as starting one for each write costs more."""
        while (job := self._jobs.get()) is not None:
            jobs = [job, *self._take(self._limits.store_batch - 1)]
            if self._stopped:
                self._refuse(jobs)
            else:
                self._write(jobs)
            token.run_sync_soon(self._tell, jobs)

    def _take(self, most: int) -> list[_Job]:
        """What waits now."""
        jobs: list[_Job] = []
        while len(jobs) < most and not self._jobs.empty():
            job = self._jobs.get()
            if job is None:
                self._jobs.put(None)
                break
            jobs.append(job)
        return jobs

    def _refuse(self, jobs: Iterable[_Job]) -> None:
        for job in jobs:
            job.error = self._closed()

    def _write(self, jobs: Sequence[_Job]) -> None:
        """One transaction (in a thread): all of it or, if SQLite says no, nothing of it."""
        wanted: list[_Job] = []
        try:
            with told(self._form, self._path, "write to"), transaction(self._connection, "IMMEDIATE"):
                wanted += (job for job in jobs if job.wanted)  # only now: another process may have kept us waiting
                if len(wanted) == 1:
                    wanted[0].result = wanted[0].work(self._connection)  # what it raises undoes nobody else's
                else:
                    for job in wanted:
                        _attempt(job, self._connection)
                dropped = self._drop()
        except Exception as error:  # noqa: BLE001 - whatever it is: those who wait are told, and the thread goes on
            for job in jobs:
                job.error = error
            return
        self.behind = dropped == STEP
        self.dropped += dropped
        self.written += len(wanted)
        self.batches += 1

    def _drop(self) -> int:
        try:
            return self._prune(self._connection)
        except sqlite3.Error:
            raise
        except Exception:
            log.exception("the %s %s: cannot drop its oldest entries", self._form.noun, self._path)
            return 0

    def _closed(self) -> StoreError:
        return self._form.error(f"the {self._form.noun} {self._path} is closed")


def _attempt(job: _Job, connection: sqlite3.Connection) -> None:
    try:
        with savepoint(connection):
            job.result = job.work(connection)
    except sqlite3.Error:
        raise
    except Exception as error:  # noqa: BLE001 - it is for whoever waits, and nobody else's
        job.error = error
