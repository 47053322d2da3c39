"""The tables of a journal's file, and what is done with them: each a function of a connection, inside a transaction."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from typing import Final

import attrs

from agentwire.client.journal.contract import JournalError, JournalHeld
from agentwire.client.journal.holds import Holds
from agentwire.protocol.limits import Limits
from agentwire.stores.sqlite.file import Form, savepoint
from agentwire.stores.sqlite.retention import used_bytes
from agentwire.stores.sqlite.rows import name
from agentwire.stores.sqlite.writer import STEP

__all__ = ["JOURNAL", "Opened", "append", "open_run", "prune"]

JOURNAL: Final = Form(
    noun="journal",
    application=0x6167776A,
    version=1,
    tables=(
        """CREATE TABLE runs (
            run INTEGER PRIMARY KEY AUTOINCREMENT,
            key TEXT NOT NULL UNIQUE,
            used REAL NOT NULL,
            process INTEGER NOT NULL
        )""",
        "CREATE INDEX ages ON runs (used, run)",
        """CREATE TABLE entries (
            run INTEGER NOT NULL,
            number INTEGER NOT NULL,
            entry BLOB NOT NULL,
            PRIMARY KEY (run, number)
        ) WITHOUT ROWID""",
    ),
    settings=("synchronous=FULL", "journal_size_limit=16777216"),  # a tool starts when its entry is on the disk
    error=JournalError,
)
"""A file of runs."""


@attrs.frozen
class Opened:
    """A run that is held now, and its entries."""

    run: int
    entries: tuple[bytes, ...]


def open_run(connection: sqlite3.Connection, key: str, holds: Holds, *, path: str, now: float) -> Opened:
    """Hold a run and read it; a new one is made.

    Raises:
        JournalHeld: somebody who lives has it.
    """
    key = name(key)
    connection.execute("INSERT INTO runs (key, used, process) VALUES (?, ?, 0) ON CONFLICT DO NOTHING", (key, now))
    run, process = connection.execute("SELECT run, process FROM runs WHERE key = ?", (key,)).fetchone()
    connection.execute("UPDATE runs SET used = ?, process = ? WHERE run = ?", (now, os.getpid(), run))
    rows = connection.execute("SELECT entry FROM entries WHERE run = ? ORDER BY number", (run,))
    entries = tuple(entry for (entry,) in rows)
    if not holds.take(run):  # at last, so that what fails before it leaves nothing held; nobody else writes meanwhile
        who = "this process" if process == os.getpid() else f"another process ({process})"
        raise JournalHeld(key, path, who)
    return Opened(run, entries)


def append(connection: sqlite3.Connection, run: int, first: int, entries: Sequence[bytes], now: float) -> None:
    """Add entries to a run that is held."""
    rows = [(run, first + index, entry) for index, entry in enumerate(entries)]
    connection.executemany("INSERT INTO entries VALUES (?, ?, ?)", rows)
    connection.execute("UPDATE runs SET used = ? WHERE run = ?", (now, run))


def prune(connection: sqlite3.Connection, holds: Holds, now: float, limits: Limits) -> int:
    """Drop a few runs that are too old or for which there is no room; never one that is open."""
    doomed: list[int] = []
    with savepoint(connection):
        oldest_first = connection.execute("SELECT run, used FROM runs ORDER BY used, run")
        for run, used in oldest_first:
            if len(doomed) == STEP or (
                used >= now - limits.journal_age and used_bytes(connection) <= limits.journal_file_bytes
            ):
                break
            if not holds.is_held(run):
                connection.execute("DELETE FROM entries WHERE run = ?", (run,))
                doomed.append(run)
        oldest_first.close()
        connection.executemany("DELETE FROM runs WHERE run = ?", [(run,) for run in doomed])
    return len(doomed)
