"""How a conversation is read: one query along its parents, newest first, until one is met that is in the cache."""

from __future__ import annotations

import sqlite3
from typing import Final

import attrs

from agentwire.protocol.errors import StoreError
from agentwire.protocol.limits import Limits
from agentwire.protocol.transcript import Node
from agentwire.runtime.contracts import Stored
from agentwire.stores.sqlite.nodes import NodeCache
from agentwire.stores.sqlite.owners import judge
from agentwire.stores.sqlite.rows import Put, name, read_items

__all__ = ["Found", "read_response"]


@attrs.frozen
class Found:
    """A response, and what was read and made for it, oldest first."""

    stored: Stored
    key: int
    fresh: tuple[tuple[Put, Node], ...]


_HEAD: Final = (
    "SELECT key, parent, stamp, id, input, output, response, size, status, background, owner"
    " FROM responses WHERE principal = ? AND id = ? AND response IS NOT NULL"
)
_CHAIN: Final = """
    WITH RECURSIVE chain (key, parent, stamp, id, input, output) AS (
        SELECT key, parent, stamp, id, input, output FROM responses WHERE key = ?
        UNION ALL
        SELECT one.key, one.parent, one.stamp, one.id, one.input, one.output
            FROM chain JOIN responses AS one ON one.key = chain.parent
    )
    SELECT * FROM chain"""

_Row = tuple[int, int | None, int, str, bytes, bytes]


def read_response(
    connection: sqlite3.Connection, principal: str, response_id: str, nodes: NodeCache, *, now: float, limits: Limits
) -> Found | None:
    """A response and its conversation; None if it is not there, or hidden. Runs in a transaction."""
    head = connection.execute(_HEAD, (principal, name(response_id))).fetchone()
    if head is None:
        return None
    row, (response, size, status, background, owner) = head[:6], head[6:]
    node, fresh = _build(connection, row, nodes)
    stored = Stored(node=node, response=response, size=size, status=status, background=bool(background))
    return Found(judge(connection, stored, owner, now, limits), row[0], tuple(fresh))


def _build(connection: sqlite3.Connection, row: _Row, nodes: NodeCache) -> tuple[Node, list[tuple[Put, Node]]]:
    node = nodes.find(row[0], row[2])
    missing = [] if node is not None else [row]
    if node is None and row[1] is not None:
        chain = connection.execute(_CHAIN, (row[1],))
        for before in chain:
            node = nodes.find(before[0], before[2])
            if node is not None:
                break
            missing.append(before)
        else:
            if missing[-1][1] is not None:
                raise StoreError(f"the store is damaged: what {missing[-1][3]} continues is not there")
        chain.close()
    fresh = []
    for key, parent, stamp, id_, given, made in reversed(missing):
        items = read_items(given), read_items(made)
        node = node.extend(id_, *items) if node is not None else Node.root(id_, *items)
        fresh.append((Put(key, parent, stamp, len(given) + len(made)), node))
    assert node is not None
    return node, fresh
