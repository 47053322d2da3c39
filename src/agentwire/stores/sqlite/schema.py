"""The tables of a store.

A row holds what is new in one response and points to the row that it continues; a hidden one has no response object and
is there for those that continue it.
"""

from __future__ import annotations

from typing import Final

from agentwire.stores.sqlite.file import Form

__all__ = ["STORE"]

_TABLES: Final = (
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

STORE: Final = Form(
    noun="store",
    application=0x61677772,
    version=1,
    tables=_TABLES,
    settings=("synchronous=NORMAL", "secure_delete=ON", "journal_size_limit=16777216"),
)
"""A file of stored responses."""
