"""A file of ours in SQLite: how it is made, recognised and opened, and what SQLite says of one that cannot be used.

What such a file is for is its `Form`: the store's is in `schema`, others bring their own.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from agentwire.protocol.errors import StoreError
from agentwire.protocol.limits import Limits

__all__ = ["Form", "absolute", "connect", "prepare", "savepoint", "told", "transaction"]


@attrs.frozen
class Form:
    """What a kind of file holds.

    Attributes:
        noun: what it is called in errors.
        application: in the file's header, so that nobody takes another program's file for ours.
        version: of the tables; one more with every change that older versions cannot read.
        tables: the statements that make them.
        settings: pragmas of each connection.
        error: makes the exception.
    """

    noun: str
    application: int
    version: int
    tables: tuple[str, ...]
    settings: tuple[str, ...]
    error: Callable[[str], StoreError] = StoreError


def absolute(path: str | os.PathLike[str]) -> str:
    """The path, wherever this process goes."""
    return str(Path(path).absolute())


def connect(form: Form, path: str, limits: Limits) -> sqlite3.Connection:
    """A connection that any one thread at a time may use; each statement is a transaction, unless one is begun.

    Raises:
        StoreError: the file cannot be opened.
    """
    with told(form, path, "open"):
        connection = sqlite3.connect(
            path, timeout=limits.store_busy, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            for setting in form.settings:
                connection.execute(f"PRAGMA {setting}")
        except BaseException:
            connection.close()
            raise
        return connection


def prepare(form: Form, path: str, limits: Limits) -> None:
    """Make the file if it is not there, for its owner's eyes only, and check that it is one of ours.

    Raises:
        StoreError: it cannot be made or opened, or holds something else.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise form.error(f"cannot open the {form.noun} {path}: {error.strerror}") from error
    connection = connect(form, path, limits)
    try:
        with told(form, path, "open"):
            _check(form, connection, path)
            _switch_to_wal(connection, limits)
            with transaction(connection, "IMMEDIATE"):
                if _check(form, connection, path):
                    _create(form, connection)
    finally:
        connection.close()


def _check(form: Form, connection: sqlite3.Connection, path: str) -> bool:
    """True if there is nothing in the file yet."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (application, found, tables) == (0, 0, 0):
        return True
    if application != form.application:
        raise form.error(f"cannot use {path} as a {form.noun}: it is an SQLite file of another program")
    if found != form.version:
        raise form.error(
            f"cannot use the {form.noun} {path}: its format is {found}, and this version reads format {form.version}"
        )
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


def _create(form: Form, connection: sqlite3.Connection) -> None:
    for statement in form.tables:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={form.application}")
    connection.execute(f"PRAGMA user_version={form.version}")


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
def told(form: Form, path: str, doing: str) -> Generator[None]:
    """What SQLite says, as a `StoreError` of the form's that says which file, and what can be done about it."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        raise form.error(f"cannot {doing} the {form.noun} {path}: {_EXPLAINED.get(code, error)}") from error


_EXPLAINED: Final = {
    sqlite3.SQLITE_BUSY: "another process has kept it locked for too long",
    sqlite3.SQLITE_FULL: "there is no room on its disk",
    sqlite3.SQLITE_READONLY: "it may only be read",
    sqlite3.SQLITE_NOTADB: "it is no SQLite file",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore it or begin with a new one",
}
