"""Where responses rest: implementations of the runtime's `Store` contract."""

from __future__ import annotations

from agentwire.stores.memory import MemoryStore as MemoryStore
from agentwire.stores.nothing import NoStore as NoStore
from agentwire.stores.sqlite import SqliteStore as SqliteStore
from agentwire.stores.sqlite import open_sqlite_store as open_sqlite_store

__all__ = ["MemoryStore", "NoStore", "SqliteStore", "open_sqlite_store"]
