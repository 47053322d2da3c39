"""What is too old, and what there is no room for, goes: a few responses with every write, the oldest first.

The bound on bytes is on what is used of the file; pages that become free are used again.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from agentwire.protocol.limits import Limits
from agentwire.stores.sqlite import rows
from agentwire.stores.sqlite.writer import STEP

__all__ = ["prune", "used_bytes"]


def prune(connection: sqlite3.Connection, now: float, limits: Limits) -> int:
    """Drop a few responses, if they must go; returns how many. Runs in a transaction."""
    expired = connection.execute(_OLDEST, (now - limits.stored_age, STEP)).fetchall()
    for (key,) in expired:
        rows.drop(connection, key)
    dropped = len(expired)
    while dropped < STEP and used_bytes(connection) > limits.stored_file_bytes:
        oldest = connection.execute(_OLDEST, (INFINITE, 1)).fetchone()
        if oldest is None:
            break
        rows.drop(connection, oldest[0])
        dropped += 1
    return dropped


_OLDEST: Final = "SELECT key FROM responses WHERE response IS NOT NULL AND created < ? ORDER BY created, key LIMIT ?"
INFINITE: Final = float("inf")


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
