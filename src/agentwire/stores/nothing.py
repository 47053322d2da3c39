"""No store: zero retention. Nothing is kept, so that every response says ``store: false`` and lives with its lane."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from agentwire.protocol.items import Item
from agentwire.runtime.contracts import Stored

__all__ = ["NoStore"]


class NoStore:
    """A `Store` in which nothing is ever found."""

    retains = False

    async def put(self, principal: str, stored: Stored) -> None:
        """Keep nothing."""
        await trio.lowlevel.checkpoint_if_cancelled()

    async def get(self, principal: str, response_id: str) -> Stored | None:
        """Nothing is here."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return None

    async def delete(self, principal: str, response_id: str) -> bool:
        """Nothing is here."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return False

    async def find_item(self, principal: str, item_id: str) -> Item | None:
        """Nothing is here."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return None

    async def append_events(self, principal: str, response_id: str, first: int, events: Sequence[bytes]) -> None:
        """There is no response to which events could belong."""
        await trio.lowlevel.checkpoint_if_cancelled()
        raise LookupError(f"there is no stored response {response_id!r}")

    async def read_events(self, principal: str, response_id: str, after: int, max_bytes: int) -> Sequence[bytes]:
        """There is no response to which events could belong."""
        await trio.lowlevel.checkpoint_if_cancelled()
        raise LookupError(f"there is no stored response {response_id!r}")
