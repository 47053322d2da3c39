"""Stored responses in this process's memory: bounded, gone with it, and enough for one server.

Conversations share their history by reference, so a stored turn costs what is new in it. A response that is dropped
while others continue it is hidden instead: it is not found any more, and counts for as long as they are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

import attrs
import trio

from agentwire.protocol.codec import encode_json
from agentwire.protocol.items import Item
from agentwire.protocol.limits import Limits
from agentwire.protocol.transcript import Node
from agentwire.runtime.contracts import Stored
from agentwire.stores.eventlog import EventLogs

__all__ = ["MemoryStore", "MemoryStoreStatistics"]

Key = tuple[str, str]


@attrs.frozen
class MemoryStoreStatistics:
    """A snapshot.

    Attributes:
        responses: those that are found.
        hidden: those that are kept only because others continue them.
        bytes: of all of them, and of their requests.
        event_bytes: of the events of background responses.
        dropped: responses that were dropped for want of room, since the start.
    """

    responses: int
    hidden: int
    bytes: int
    event_bytes: int
    dropped: int


@attrs.define(eq=False)
class _Row:
    """One response of somebody's.

    Attributes:
        node: it, and what it continues.
        size: bytes that it counts for.
        stored: None if it is hidden.
        children: rows that continue it.
    """

    node: Node
    size: int
    stored: Stored | None = None
    children: int = 0


class MemoryStore:
    """A `Store` of at most ``limits.stored_responses`` and ``limits.stored_bytes``; the oldest responses go first."""

    retains = True

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._rows: dict[Key, _Row] = {}
        self._kept: OrderedDict[Key, None] = OrderedDict()  # those that are found, oldest first
        self._having: dict[Key, tuple[str, ...]] = {}  # principal and item: the responses that have it, oldest first
        self._logs = EventLogs(self._limits.stored_event_bytes)
        self._bytes = 0
        self._dropped = 0

    async def put(self, principal: str, stored: Stored) -> None:
        """Keep one response; see `Store.put`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        weights: dict[Node, int] = {}
        for node in self._unknown(principal, stored.node.parent):
            weights[node] = _weigh(node)
            await trio.lowlevel.checkpoint()
        self._put(principal, stored, weights)
        while len(self._kept) > self._limits.stored_responses or (
            self._kept and self._bytes > self._limits.stored_bytes
        ):
            self._drop(next(iter(self._kept)))
            self._dropped += 1

    async def get(self, principal: str, response_id: str) -> Stored | None:
        """The response, or None; see `Store.get`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        row = self._rows.get((principal, response_id))
        return row.stored if row is not None else None

    async def delete(self, principal: str, response_id: str) -> bool:
        """Forget it; see `Store.delete`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        key = (principal, response_id)
        if key not in self._kept:
            return False
        self._drop(key)
        return True

    async def find_item(self, principal: str, item_id: str) -> Item | None:
        """The newest item of that id; see `Store.find_item`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        having = self._having.get((principal, item_id))
        if having is None:
            return None
        node = self._rows[principal, having[-1]].node
        return next(item for item in (*reversed(node.output), *reversed(node.input)) if item.id == item_id)

    async def append_events(self, principal: str, response_id: str, first: int, events: Sequence[bytes]) -> None:
        """Add to a response's events; see `Store.append_events`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check(principal, response_id)
        self._logs.append((principal, response_id), first, events)

    async def read_events(self, principal: str, response_id: str, after: int, max_bytes: int) -> Sequence[bytes]:
        """Events after a number; see `Store.read_events`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check(principal, response_id)
        return self._logs.read((principal, response_id), after, max_bytes)

    def _check(self, principal: str, response_id: str) -> None:
        if (principal, response_id) not in self._kept:
            raise LookupError(f"there is no stored response {response_id!r}")

    # Rows

    def _is_full(self) -> bool:
        return len(self._kept) > self._limits.stored_responses or self._bytes > self._limits.stored_bytes

    def _unknown(self, principal: str, node: Node | None) -> Iterator[Node]:
        """What a new row continues and has no row, newest first."""
        while node is not None and (principal, node.response_id) not in self._rows:
            yield node
            node = node.parent

    def _put(self, principal: str, stored: Stored, weights: Mapping[Node, int]) -> None:
        """The new row, and hidden ones for what it continues that has none."""
        key = (principal, stored.node.response_id)
        old = self._rows.get(key)
        hidden = list(self._unknown(principal, stored.node.parent))
        for node in reversed(hidden):
            self._add(principal, _Row(node, weights[node] if node in weights else _weigh(node)))
        if stored.input or stored.output:
            stored = attrs.evolve(stored, input=b"", output=b"")  # the node has both
        self._add(principal, _Row(stored.node, stored.size, stored, old.children if old is not None else 0))
        if old is not None:
            self._bytes -= old.size
            self._unfind(principal, old)
            self._release(principal, old.node.parent)
        self._kept[key] = None
        self._kept.move_to_end(key)
        for item_id in _item_ids(stored.node):
            self._having[principal, item_id] = (*self._having.get((principal, item_id), ()), stored.node.response_id)

    def _add(self, principal: str, row: _Row) -> None:
        self._rows[principal, row.node.response_id] = row
        self._bytes += row.size
        if row.node.parent is not None:
            self._rows[principal, row.node.parent.response_id].children += 1

    def _drop(self, key: Key) -> None:
        """It is not found any more; gone, if nothing continues it."""
        principal, row = key[0], self._rows[key]
        assert row.stored is not None
        del self._kept[key]
        self._logs.forget(key)
        self._unfind(principal, row)
        if row.children:
            self._bytes -= row.size
            row.size = max(row.size - len(row.stored.response), 0)
            self._bytes += row.size
            row.stored = None
        else:
            self._remove(principal, row)
            self._release(principal, row.node.parent)

    def _remove(self, principal: str, row: _Row) -> None:
        del self._rows[principal, row.node.response_id]
        self._bytes -= row.size

    def _release(self, principal: str, node: Node | None) -> None:
        """One row less continues this one; hidden ones that nothing continues are gone."""
        while node is not None:
            row = self._rows[principal, node.response_id]
            row.children -= 1
            if row.children or row.stored is not None:
                break
            self._remove(principal, row)
            node = node.parent

    def _unfind(self, principal: str, row: _Row) -> None:
        """Its items are not found any more, or only in other responses."""
        if row.stored is None:
            return
        for item_id in _item_ids(row.node):
            rest = tuple(id_ for id_ in self._having.pop((principal, item_id)) if id_ != row.node.response_id)
            if rest:
                self._having[principal, item_id] = rest

    def statistics(self) -> MemoryStoreStatistics:
        """Counts at this moment."""
        hidden = len(self._rows) - len(self._kept)
        return MemoryStoreStatistics(len(self._kept), hidden, self._bytes, self._logs.bytes, self._dropped)


def _item_ids(node: Node) -> Sequence[str]:
    return tuple(dict.fromkeys(item.id for item in (*node.input, *node.output) if item.id is not None))


def _weigh(node: Node) -> int:
    """About what a response that nobody has put would count for."""
    return len(encode_json((node.input, node.output)))
