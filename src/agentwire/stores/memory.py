"""Stored responses in this process's memory: bounded, gone with it, and enough for one server.

Conversations share their history by reference, so a stored turn costs what is new in it.
"""

from __future__ import annotations

from collections import OrderedDict

import attrs
import trio

from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Stored

__all__ = ["MemoryStore", "MemoryStoreStatistics"]


@attrs.frozen
class MemoryStoreStatistics:
    """A snapshot: responses kept, bytes of them and of their requests, and how many were dropped for want of room."""

    responses: int
    bytes: int
    dropped: int


class MemoryStore:
    """A `Store` of at most ``limits.stored_responses`` and ``limits.stored_bytes``; the oldest responses go first."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._kept: OrderedDict[tuple[str, str], Stored] = OrderedDict()
        self._bytes = 0
        self._dropped = 0

    async def put(self, principal: str, stored: Stored) -> None:
        """Keep one response; see `Store.put`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        key = (principal, stored.node.response_id)
        self._forget(key)
        self._kept[key] = stored
        self._bytes += stored.size
        while len(self._kept) > self._limits.stored_responses or self._bytes > self._limits.stored_bytes:
            self._forget(next(iter(self._kept)))
            self._dropped += 1

    async def get(self, principal: str, response_id: str) -> Stored | None:
        """The response, or None; see `Store.get`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return self._kept.get((principal, response_id))

    async def delete(self, principal: str, response_id: str) -> bool:
        """Forget it; see `Store.delete`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return self._forget((principal, response_id))

    def _forget(self, key: tuple[str, str]) -> bool:
        stored = self._kept.pop(key, None)
        if stored is None:
            return False
        self._bytes -= stored.size
        return True

    def statistics(self) -> MemoryStoreStatistics:
        """Counts at this moment."""
        return MemoryStoreStatistics(len(self._kept), self._bytes, self._dropped)
