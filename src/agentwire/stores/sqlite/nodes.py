"""Conversations that were read or written lately, so that a hot one is continued without reading it again.

A node is kept together with all that it continues, and each is counted once. What was used longest ago goes first, from
the ends of conversations backwards, so that what is let go of is free indeed.
"""

from __future__ import annotations

from collections import OrderedDict

import attrs

from agentwire.protocol.transcript import Node

__all__ = ["NodeCache"]


@attrs.define(eq=False)
class _Entry:
    node: Node
    stamp: int
    parent: int | None
    weight: int
    children: int = 0


class NodeCache:
    """Nodes by the keys of their rows.

    `find` may be called from any thread; the others from the event loop's only.

    Args:
        max_bytes: of the JSON of their items.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: dict[int, _Entry] = {}
        self._ends: OrderedDict[int, None] = OrderedDict()  # those that nothing here continues, longest unused first
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: int, stamp: int) -> Node | None:
        """The node of this version of a row."""
        entry = self._entries.get(key)
        return entry.node if entry is not None and entry.stamp == stamp else None

    def touch(self, key: int) -> None:
        """It was used."""
        if key in self._ends:
            self._ends.move_to_end(key)

    def add(self, key: int, parent: int | None, stamp: int, node: Node, weight: int) -> None:
        """Keep a node, if what it continues is here: this very object, or else it would be counted twice."""
        before = self._entries.get(parent) if parent is not None else None
        if (before.node if before is not None else None) is not node.parent:
            return
        entry = self._entries.get(key)
        if entry is None:
            self._entries[key] = _Entry(node, stamp, parent, weight)
            self._ends[key] = None
            if before is not None and parent is not None:
                before.children += 1
                self._ends.pop(parent, None)
        elif entry.parent == parent:
            self.bytes -= entry.weight
            entry.node, entry.stamp, entry.weight = node, stamp, weight
        else:
            return
        self.bytes += weight
        self.touch(key)
        while self.bytes > self._max_bytes and self._ends:
            self._evict(*self._ends.popitem(last=False))

    def _evict(self, key: int, _: None) -> None:
        entry = self._entries.pop(key)
        self.bytes -= entry.weight
        if entry.parent is None:
            return
        before = self._entries[entry.parent]
        before.children -= 1
        if not before.children:
            self._ends[entry.parent] = None
            self._ends.move_to_end(entry.parent, last=False)
