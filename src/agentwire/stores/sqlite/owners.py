"""Who runs what: a store has a name in the file while its process lives, and says so from time to time.

A response that says that it runs, and whose owner has been silent for too long, has died with it. It is shown as
failed; nothing is written, so that an owner that was only slow may still end it.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import attrs
import msgspec

from agentwire.protocol.codec import encode_json
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import RUNNING, Stored

__all__ = ["beat", "judge", "leave"]

STOPPED: Final = {"code": "server_error", "message": "The server that ran it stopped."}


def beat(connection: sqlite3.Connection, owner: str, now: float, limits: Limits) -> None:
    """This owner lives; those that have been dead for long are forgotten."""
    connection.execute("INSERT OR REPLACE INTO owners VALUES (?, ?)", (owner, now))
    connection.execute("DELETE FROM owners WHERE seen < ?", (now - FORGOTTEN * limits.store_silence,))


FORGOTTEN: Final = 10


def leave(connection: sqlite3.Connection, owner: str) -> None:
    """This owner stops: what it still ran has failed."""
    connection.execute("DELETE FROM owners WHERE owner = ?", (owner,))


def judge(connection: sqlite3.Connection, stored: Stored, owner: str | None, now: float, limits: Limits) -> Stored:
    """A response as it is shown: failed, if it says that it runs and its owner is gone."""
    if stored.status not in RUNNING:
        return stored
    row = connection.execute("SELECT seen FROM owners WHERE owner = ?", (owner,)).fetchone()
    if row is not None and row[0] >= now - limits.store_silence:
        return stored
    shown = msgspec.json.decode(stored.response) | {"status": "failed", "error": STOPPED}
    return attrs.evolve(stored, status="failed", response=encode_json(shown))
