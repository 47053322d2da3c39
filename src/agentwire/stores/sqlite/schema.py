"""The file: its tables, its version, and how a connection to it is opened.

A row holds what is new in one response and points to the row that it continues; a hidden one has no response object and
is there for those that continue it. What SQLite says of a file that cannot be used becomes a `StoreError` here.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from agentwire.protocol.errors import StoreError
from agentwire.protocol.limits import Limits

__all__ = ["FORMAT", "connect", "prepare", "savepoint", "told", "transaction"]

APPLICATION: Final = 0x61677772
"""In the file's header, so that nobody takes another program's file for ours."""

FORMAT: Final = 1
"""The version of the tables; one more with every change that older versions cannot read."""

SETTINGS: Final = ("synchronous=NORMAL", "secure_delete=ON", "journal_size_limit=16777216")

TABLES: Final = (
    """CREATE TABLE responses (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        principal TEXT NOT NULL,
        id TEXT NOT NULL,
        parent INTEGER,
        stamp INTEGER NOT NULL,
        created REAL NOT NULL,
        status TEXT NOT NULL,
        background INTEGER NOT NULL,
        owner TEXT,
        size INTEGER NOT NULL,
        input BLOB NOT NULL,
        output BLOB NOT NULL,
        response BLOB,
        UNIQUE (principal, id)
    )""",
    "CREATE INDEX continuations ON responses (parent) WHERE parent IS NOT NULL",
    "CREATE INDEX ages ON responses (created, key) WHERE response IS NOT NULL",
    """CREATE TABLE items (
        principal TEXT NOT NULL,
        item TEXT NOT NULL,
        key INTEGER NOT NULL,
        PRIMARY KEY (principal, item, key)
    ) WITHOUT ROWID""",
    """CREATE TABLE events (
        key INTEGER NOT NULL,
        number INTEGER NOT NULL,
        event BLOB NOT NULL,
        PRIMARY KEY (key, number)
    ) WITHOUT ROWID""",
    "CREATE TABLE owners (owner TEXT PRIMARY KEY, seen REAL NOT NULL) WITHOUT ROWID",
)


def connect(path: str, limits: Limits) -> sqlite3.Connection:
    """A connection that any one thread at a time may use; each statement is a transaction, unless one is begun.

    Raises:
        StoreError: the file cannot be opened.
    """
    with told(path, "open"):
        connection = sqlite3.connect(
            path, timeout=limits.store_busy, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            for setting in SETTINGS:
                connection.execute(f"PRAGMA {setting}")
        except BaseException:
            connection.close()
            raise
        return connection


def prepare(path: str, limits: Limits) -> None:
    """Make the file if it is not there, for its owner's eyes only, and check that it is one of ours.

    Raises:
        StoreError: it cannot be made or opened, or holds something else.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreError(f"cannot open the store {path}: {error.strerror}") from error
    connection = connect(path, limits)
    try:
        with told(path, "open"):
            _check(connection, path)
            _switch_to_wal(connection, limits)
            with transaction(connection, "IMMEDIATE"):
                if _check(connection, path):
                    _create(connection)
    finally:
        connection.close()


def _check(connection: sqlite3.Connection, path: str) -> bool:
    """True if there is nothing in the file yet."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (application, found, tables) == (0, 0, 0):
        return True
    if application != APPLICATION:
        raise StoreError(f"cannot use {path} as a store: it is an SQLite file of another program")
    if found != FORMAT:
        raise StoreError(f"cannot use the store {path}: its format is {found}, and this version reads format {FORMAT}")
    return False


def _switch_to_wal(connection: sqlite3.Connection, limits: Limits) -> None:
    """Readers and the writer do not wait for each other. SQLite does not wait for the lock that this takes."""
    deadline = time.monotonic() + limits.store_busy
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(PAUSE)
        else:
            return


PAUSE: Final = 0.01


def _create(connection: sqlite3.Connection) -> None:
    for statement in TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION}")
    connection.execute(f"PRAGMA user_version={FORMAT}")


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "DEFERRED") -> Generator[None]:
    """All of it or nothing; everything that is read in it is of one moment."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite ends some transactions by itself, such as on a full disk
            connection.execute("ROLLBACK")
        raise


@contextmanager
def savepoint(connection: sqlite3.Connection) -> Generator[None]:
    """A part of a transaction that may fail alone."""
    connection.execute("SAVEPOINT part")
    try:
        yield
    except sqlite3.Error:
        raise  # it ends the whole transaction
    except BaseException:
        connection.execute("ROLLBACK TO part")
        connection.execute("RELEASE part")
        raise
    connection.execute("RELEASE part")


@contextmanager
def told(path: str, doing: str) -> Generator[None]:
    """What SQLite says, as a `StoreError` that says which file, and what can be done about it."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        raise StoreError(f"cannot {doing} the store {path}: {_EXPLAINED.get(code, error)}") from error


_EXPLAINED: Final = {
    sqlite3.SQLITE_BUSY: "another process has kept it locked for too long",
    sqlite3.SQLITE_FULL: "there is no room on its disk",
    sqlite3.SQLITE_READONLY: "it may only be read",
    sqlite3.SQLITE_NOTADB: "it is no SQLite file",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore it or begin with a new one",
}
