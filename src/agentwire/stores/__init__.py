"""Where responses rest: implementations of the runtime's `Store` contract."""

from __future__ import annotations

from agentwire.stores.memory import MemoryStore as MemoryStore

__all__ = ["MemoryStore"]
