"""Stored responses in an SQLite file: they outlive the process, and several processes may use one file at once.

Writes go through one writer, which puts together what waits; reads have connections and threads of their own, and wait
for no writer. A conversation that was used lately is not read again.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import attrs
import trio

from agentwire.protocol.errors import StoreError
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import Item
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import RUNNING, Stored
from agentwire.runtime.groups import open_flat_nursery
from agentwire.stores.sqlite import owners, rows
from agentwire.stores.sqlite.file import absolute, connect, prepare, told, transaction
from agentwire.stores.sqlite.nodes import NodeCache
from agentwire.stores.sqlite.reading import read_response
from agentwire.stores.sqlite.retention import Retention
from agentwire.stores.sqlite.schema import STORE
from agentwire.stores.sqlite.writer import Writer

__all__ = ["SqliteStore", "SqliteStoreStatistics", "open_sqlite_store"]

log = logging.getLogger("agentwire.store")

T = TypeVar("T")


@attrs.frozen
class SqliteStoreStatistics:
    """A snapshot of what this process does with its store.

    Attributes:
        waiting: writes that wait.
        written: writes since the start.
        batches: transactions that they took.
        dropped: responses that were dropped because of their age, or for want of room.
        running: responses that run in the background here.
        cached: responses that need not be read again.
        cached_bytes: bytes of them.
    """

    waiting: int
    written: int
    batches: int
    dropped: int
    running: int
    cached: int
    cached_bytes: int


class SqliteStore:
    """A `Store` in a file; made by `open_sqlite_store`.

    Args:
        path: of the file, which is there and fit.
        limits: age and bytes of what is kept; queue, cache and times.
        sources: wall clock, and this store's name in the file.
    """

    retains = True

    def __init__(self, path: str, limits: Limits, sources: Sources) -> None:
        self.path = path
        self._limits = limits
        self._now = sources.now
        self._owner = sources.new_id("store")
        self._running: set[tuple[str, str]] = set()
        self._nodes = NodeCache(limits.store_cache_bytes)
        self._reading = trio.CapacityLimiter(limits.store_readers)
        self._connections = [connect(STORE, path, limits)]
        self._free: list[sqlite3.Connection] = []
        self._closed = False
        self._retention = Retention(limits)
        self._writer = Writer(STORE, path, self._connections[0], limits, self._prune)

    # The contract

    async def put(self, principal: str, stored: Stored) -> None:
        """Keep one response; see `Store.put`."""
        running = stored.status in RUNNING
        done = await self._writer.write(partial(self._put, principal, stored, running=running))
        mine = (principal, stored.node.response_id)
        if running:
            self._running.add(mine)
        else:
            self._running.discard(mine)
        self._nodes.add(done.key, done.parent, done.stamp, stored.node, done.weight)

    def _put(self, principal: str, stored: Stored, connection: sqlite3.Connection, *, running: bool) -> rows.Put:
        now = self._now()
        done = rows.put(connection, principal, stored, self._owner if running else None, now)
        if running:
            owners.beat(connection, self._owner, now, self._limits)
        return done

    def _prune(self, connection: sqlite3.Connection) -> int:
        return self._retention.prune(connection, self._now())

    async def get(self, principal: str, response_id: str) -> Stored | None:
        """The response, or None; see `Store.get`."""
        limits, nodes = self._limits, self._nodes
        found = await self._read(
            lambda it: read_response(it, principal, response_id, nodes, now=self._now(), limits=limits)
        )
        if found is None:
            return None
        for put, node in found.fresh:
            self._nodes.add(put.key, put.parent, put.stamp, node, put.weight)
        self._nodes.touch(found.key)
        return found.stored

    async def delete(self, principal: str, response_id: str) -> bool:
        """Forget it; see `Store.delete`."""
        deleted = await self._writer.write(lambda it: rows.delete(it, principal, response_id))
        self._running.discard((principal, response_id))
        return deleted

    async def find_item(self, principal: str, item_id: str) -> Item | None:
        """The newest item of that id; see `Store.find_item`."""
        return await self._read(lambda it: rows.find_item(it, principal, item_id))

    async def append_events(self, principal: str, response_id: str, first: int, events: Sequence[bytes]) -> None:
        """Add to a response's events; see `Store.append_events`."""
        await self._writer.write(lambda it: rows.append_events(it, principal, response_id, first, events))

    async def read_events(self, principal: str, response_id: str, after: int, max_bytes: int) -> Sequence[bytes]:
        """Events after a number; see `Store.read_events`."""
        return await self._read(lambda it: rows.read_events(it, principal, response_id, after, max_bytes))

    def statistics(self) -> SqliteStoreStatistics:
        """Counts at this moment."""
        writer, nodes = self._writer, self._nodes
        return SqliteStoreStatistics(
            writer.waiting,
            writer.written,
            writer.batches,
            writer.dropped,
            len(self._running),
            len(nodes),
            nodes.bytes,
        )

    # Reading

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await trio.to_thread.run_sync(self._read_now, work, limiter=self._reading)

    def _read_now(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """In a thread: as many at once as there may be connections."""
        with told(STORE, self.path, "read"):
            connection = self._take_connection()
            try:
                with transaction(connection):
                    return work(connection)
            finally:
                self._free.append(connection)

    def _take_connection(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreError(f"the store {self.path} is closed")
        try:
            return self._free.pop()
        except IndexError:
            connection = connect(STORE, self.path, self._limits)
            self._connections.append(connection)
            return connection

    # Its life

    async def _beat(self) -> None:
        """Say that this process lives, as long as somebody may ask."""
        while True:
            await trio.sleep(self._limits.store_heartbeat)
            if self._running:
                await self._try(lambda it: owners.beat(it, self._owner, self._now(), self._limits))

    async def _sweep(self) -> None:
        """Forget what is too old, even where nothing is written; every write forgets a little."""
        while True:
            if not (await self._try(_nothing) and self._writer.behind):
                await trio.sleep(self._limits.store_sweep)

    async def _try(self, work: Callable[[sqlite3.Connection], Any]) -> bool:
        try:
            await self._writer.write(work)
        except StoreError as error:
            log.warning("%s", error)
            return False
        return True

    def _close(self) -> None:
        """In a thread, when nobody uses it any more."""
        self._closed = True
        try:
            owners.leave(self._connections[0], self._owner)
        except sqlite3.Error as error:
            log.warning("the store %s: %s", self.path, error)
        for connection in self._connections:
            connection.close()


def _nothing(_: sqlite3.Connection) -> None:
    """Writing nothing is enough for the writer to look for what is too old."""


@asynccontextmanager
async def open_sqlite_store(
    path: str | os.PathLike[str], *, limits: Limits | None = None, sources: Sources | None = None
) -> AsyncGenerator[SqliteStore]:
    """A store in an SQLite file, for as long as the block runs; the file is made if it is not there.

    At the end of the block what was to be written is written, and the file is closed. Cancelled, it closes the file
    at once; who waits for a write then is told that the store is closed.

    Args:
        path: of the file; its directory must exist, on a disk of this machine. Files beside it, with the same name
            and ``-wal`` and ``-shm``, belong to it.
        limits: age and bytes of what is kept, and the bounds of queue, cache and waiting.
        sources: wall clock and randomness.

    Raises:
        StoreError: the file cannot be made or opened, is no store, or was made by another version.
    """
    limits = limits or Limits()
    place = absolute(path)
    await trio.to_thread.run_sync(prepare, STORE, place, limits)
    store = await trio.to_thread.run_sync(SqliteStore, place, limits, sources or Sources.system())
    try:
        async with open_flat_nursery() as nursery:
            nursery.start_soon(store._writer.run)
            async with open_flat_nursery() as around:
                around.start_soon(store._beat)
                around.start_soon(store._sweep)
                yield store
                around.cancel_scope.cancel(reason="the store is closed")
            store._writer.close()
    finally:
        with trio.move_on_after(limits.cleanup, shield=True):
            await trio.to_thread.run_sync(store._close)
