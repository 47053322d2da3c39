"""What is too old, and what there is no room for, goes: a few responses with every write, the oldest first.

The bound on bytes is on what is used of the file; pages that become free are used again.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from agentwire.protocol.limits import Limits
from agentwire.stores.sqlite import rows
from agentwire.stores.sqlite.file import savepoint
from agentwire.stores.sqlite.writer import STEP

__all__ = ["Retention", "used_bytes"]


class Retention:
    """Drops what must go, in the transactions of one connection.

    Room is looked for in every transaction, with one question while the file is smaller than it may be; what has become
    too old, once in a while.

    Args:
        limits: age of what is kept, and bytes of the file.
    """

    def __init__(self, limits: Limits) -> None:
        self._age = limits.stored_age
        self._most = limits.stored_file_bytes
        self._page = 0
        self._looked = -INFINITE

    def prune(self, connection: sqlite3.Connection, now: float) -> int:
        """Drop a few responses, if they must go; returns how many. Runs in a transaction."""
        self._page = self._page or _ask(connection, "page_size")
        rested = abs(now - self._looked) < PAUSE  # the wall clock may be set back
        if rested and _ask(connection, "page_count") * self._page <= self._most:
            return 0
        with savepoint(connection):
            dropped = self._drop(connection, now)
        self._looked = now if dropped < STEP else -INFINITE
        return dropped

    def _drop(self, connection: sqlite3.Connection, now: float) -> int:
        expired = connection.execute(_OLDEST, (now - self._age, STEP)).fetchall()
        for (key,) in expired:
            rows.drop(connection, key)
        dropped = len(expired)
        while dropped < STEP and used_bytes(connection) > self._most:
            oldest = connection.execute(_OLDEST, (INFINITE, 1)).fetchone()
            if oldest is None:
                break
            rows.drop(connection, oldest[0])
            dropped += 1
        return dropped


PAUSE: Final = 1.0
"""Seconds between two looks for what is too old, where all of it has been dropped."""
INFINITE: Final = float("inf")

_OLDEST: Final = "SELECT key FROM responses WHERE response IS NOT NULL AND created < ? ORDER BY created, key LIMIT ?"


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    pages, free, size = (_ask(connection, name) for name in ("page_count", "freelist_count", "page_size"))
    return (pages - free) * size


def _ask(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
