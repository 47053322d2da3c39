"""A journal in an SQLite file: many runs, of many processes, each held by one of them at a time.

What is appended is on the disk before `append` returns, together with what others append at that moment. A process that
dies holds nothing any more.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from agentwire.client.journal import rows
from agentwire.client.journal.contract import JournalError
from agentwire.client.journal.holds import Holds
from agentwire.client.journal.rows import JOURNAL, Opened
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.groups import open_flat_nursery
from agentwire.stores.sqlite.file import absolute, connect, prepare
from agentwire.stores.sqlite.writer import Writer

__all__ = ["FileJournal", "JournalStatistics", "open_journal"]


@attrs.frozen
class JournalStatistics:
    """A snapshot of what this process does with its journal.

    Attributes:
        open: runs that are open here.
        waiting: writes that wait.
        written: writes since the start.
        batches: transactions that they took.
        dropped: runs that were dropped because of their age, or for want of room.
    """

    open: int
    waiting: int
    written: int
    batches: int
    dropped: int


@attrs.define(eq=False)
class _Log:
    journal: FileJournal
    run: int
    entries: tuple[bytes, ...]
    _next: int = 0

    def __attrs_post_init__(self) -> None:
        self._next = len(self.entries)

    async def append(self, entries: Sequence[bytes]) -> None:
        await self.journal._append(self.run, self._next, tuple(entries))
        self._next += len(entries)


class FileJournal:
    """A `Journal` in a file; made by `open_journal`."""

    def __init__(self, path: str, limits: Limits, sources: Sources) -> None:
        self.path = path
        self._limits = limits
        self._now = sources.now
        self._holds = Holds.open(f"{path}-holds")
        self._open = 0
        try:
            self._connection = connect(JOURNAL, path, limits)
        except BaseException:
            self._holds.close()
            raise
        self._writer = Writer(JOURNAL, path, self._connection, limits, self._prune)

    @asynccontextmanager
    async def open(self, key: str) -> AsyncGenerator[_Log]:
        """The entries of one run; see `Journal.open`."""
        opened = await self._take(key)
        self._open += 1
        try:
            yield _Log(self, opened.run, opened.entries)
        finally:
            self._open -= 1
            self._holds.release(opened.run)

    async def _take(self, key: str) -> Opened:
        held: list[Opened] = []

        def take(connection: sqlite3.Connection) -> None:
            held.append(rows.open_run(connection, key, self._holds, path=self.path, now=self._now()))

        try:
            with trio.CancelScope(shield=True):  # at most ``limits.store_busy``; then it is known what is held
                await self._writer.write(take)
        except JournalError:
            for opened in held:
                self._holds.release(opened.run)
            raise
        return held[0]

    def _prune(self, connection: sqlite3.Connection) -> int:
        return rows.prune(connection, self._holds, self._now(), self._limits)

    async def _append(self, run: int, first: int, entries: Sequence[bytes]) -> None:
        await self._writer.write(lambda it: rows.append(it, run, first, entries, self._now()))

    def statistics(self) -> JournalStatistics:
        """Counts at this moment."""
        writer = self._writer
        return JournalStatistics(self._open, writer.waiting, writer.written, writer.batches, writer.dropped)

    def _close(self) -> None:
        """In a thread, when nobody uses it any more."""
        self._connection.close()
        self._holds.close()


@asynccontextmanager
async def open_journal(
    path: str | os.PathLike[str], *, limits: Limits | None = None, sources: Sources | None = None
) -> AsyncGenerator[FileJournal]:
    """A journal in an SQLite file, for as long as the block runs; the file is made if it is not there.

    Several processes may have it open. Leave the block when no run uses it any more. Cancelled, it closes the file at
    once; a run that goes on is told that the journal is closed.

    Args:
        path: of the file; its directory must exist, on a disk of this machine. Files beside it with the same name and
            ``-wal``, ``-shm`` or ``-holds`` belong to it.
        limits: age and bytes of what is kept, and the bounds of queue and waiting.
        sources: wall clock.

    Raises:
        JournalError: the file cannot be made or opened, is no journal, or was made by another version.
    """
    limits = limits or Limits()
    place = absolute(path)
    await trio.to_thread.run_sync(prepare, JOURNAL, place, limits)
    journal = await trio.to_thread.run_sync(FileJournal, place, limits, sources or Sources.system())
    try:
        async with open_flat_nursery() as nursery:
            nursery.start_soon(journal._writer.run)
            yield journal
            journal._writer.close()
    finally:
        with trio.move_on_after(limits.cleanup, shield=True):
            await trio.to_thread.run_sync(journal._close)
