"""Responses at rest in an SQLite file."""

from __future__ import annotations

from agentwire.stores.sqlite.store import SqliteStore as SqliteStore
from agentwire.stores.sqlite.store import SqliteStoreStatistics as SqliteStoreStatistics
from agentwire.stores.sqlite.store import open_sqlite_store as open_sqlite_store

__all__ = ["SqliteStore", "SqliteStoreStatistics", "open_sqlite_store"]
