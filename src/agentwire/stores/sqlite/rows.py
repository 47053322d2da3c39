"""What is done with the rows, each as one function of a connection: it runs in a thread, inside a transaction.

Only what is new in a response is ever written, and what is dropped while others continue it is hidden.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs

from agentwire.protocol.codec import decode_items, encode_json
from agentwire.protocol.errors import RemoteProtocolError, StoreError
from agentwire.protocol.items import Item
from agentwire.protocol.transcript import Node
from agentwire.runtime.contracts import Stored

__all__ = ["Put", "append_events", "delete", "drop", "find_item", "name", "put", "read_events", "read_items"]

_random = random.SystemRandom()


@attrs.frozen
class Put:
    """A row that was written: its key, its parent's key, the stamp of this version, and the bytes of its items."""

    key: int
    parent: int | None
    stamp: int
    weight: int


@attrs.frozen
class _Texts:
    """One response's items as JSON, and the ids that they have."""

    input: bytes
    output: bytes
    item_ids: tuple[str, ...]

    @classmethod
    def of(cls, node: Node, given: bytes = b"", made: bytes = b"") -> _Texts:
        ids = _item_ids((*node.input, *node.output))
        return cls(given or encode_json(node.input), made or encode_json(node.output), ids)


def _item_ids(items: Iterable[Item]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name(item.id) for item in items if item.id is not None))


def name(text: str) -> str:
    """An id as it stands in the file: half a surrogate pair has no place there."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def read_items(text: bytes) -> tuple[Item, ...]:
    """Items as they stand in the file.

    Raises:
        StoreError: these are none.
    """
    try:
        return decode_items(text)
    except RemoteProtocolError as error:
        raise StoreError(f"the store is damaged: {error}") from error


# Responses


def put(connection: sqlite3.Connection, principal: str, stored: Stored, owner: str | None, now: float) -> Put:
    """Write one response, and hidden rows for what it continues that has none.

    Args:
        connection: in a transaction.
        principal: whose it is.
        stored: the response.
        owner: who runs it, if it still runs.
        now: the wall clock.
    """
    node = stored.node
    parent, missing = _find_ancestor(connection, principal, node.parent)
    hidden = [(one, _Texts.of(one)) for one in missing]
    texts = _Texts.of(node, stored.input, stored.output)
    for one, of_one in reversed(hidden):
        parent = _insert_hidden(connection, principal, one, parent, of_one, now=now)
    stamp = _random.getrandbits(63)
    values: tuple[Any, ...] = (parent, stamp, now, stored.status, stored.background, owner, stored.size)
    values = (*values, texts.input, texts.output, stored.response, principal, node.response_id)
    inserted = connection.execute(_INSERT_NEW, values)
    key = _key(inserted) if inserted.rowcount == 1 else _replace(connection, values)
    connection.executemany("INSERT INTO items VALUES (?, ?, ?)", [(principal, one, key) for one in texts.item_ids])
    return Put(key, parent, stamp, len(texts.input) + len(texts.output))


_COLUMNS: Final = "parent, stamp, created, status, background, owner, size, input, output, response, principal, id"
_INSERT: Final = f"INSERT INTO responses ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_NEW: Final = f"{_INSERT} ON CONFLICT DO NOTHING"
_UPDATE: Final = (
    "UPDATE responses SET parent = ?, stamp = ?, created = ?, status = ?, background = ?, owner = ?, size = ?,"
    " input = ?, output = ?, response = ? WHERE principal = ? AND id = ?"
)


def _replace(connection: sqlite3.Connection, values: Sequence[Any]) -> int:
    """A newer version of a row, whose key and events stay."""
    parent, principal, response_id = values[0], *values[-2:]
    key, old_parent, *texts = connection.execute(
        "SELECT key, parent, input, output FROM responses WHERE principal = ? AND id = ?", (principal, response_id)
    ).fetchone()
    connection.execute(_UPDATE, values)
    _forget_items(connection, principal, key, texts)
    if old_parent != parent:
        _release(connection, old_parent)
    return int(key)


def _find_ancestor(
    connection: sqlite3.Connection, principal: str, node: Node | None
) -> tuple[int | None, Sequence[Node]]:
    """The key of the nearest response that has a row, and those before it on the way that have none, newest first."""
    missing: list[Node] = []
    while node is not None:
        row = connection.execute(
            "SELECT key FROM responses WHERE principal = ? AND id = ?", (principal, node.response_id)
        ).fetchone()
        if row is not None:
            return row[0], missing
        missing.append(node)
        node = node.parent
    return None, missing


def _insert_hidden(
    connection: sqlite3.Connection, principal: str, one: Node, parent: int | None, texts: _Texts, *, now: float
) -> int:
    stamp = _random.getrandbits(63)
    values = (parent, stamp, now, "", False, None, 0, texts.input, texts.output, None, principal, one.response_id)
    return _key(connection.execute(_INSERT, values))


def _key(cursor: sqlite3.Cursor) -> int:
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def delete(connection: sqlite3.Connection, principal: str, response_id: str) -> bool:
    """Forget a response, if it is there and not hidden."""
    key = _find(connection, principal, response_id)
    if key is None:
        return False
    drop(connection, key)
    return True


def drop(connection: sqlite3.Connection, key: int) -> None:
    """A response that is not hidden: it is not found any more; gone, if nothing continues it."""
    principal, parent, *texts = connection.execute(
        "SELECT principal, parent, input, output FROM responses WHERE key = ?", (key,)
    ).fetchone()
    _forget_items(connection, principal, key, texts)
    connection.execute("DELETE FROM events WHERE key = ?", (key,))
    if _is_continued(connection, key):
        connection.execute("UPDATE responses SET response = NULL, owner = NULL WHERE key = ?", (key,))
    else:
        connection.execute("DELETE FROM responses WHERE key = ?", (key,))
        _release(connection, parent)


def _release(connection: sqlite3.Connection, key: int | None) -> None:
    """One row less continues this one; hidden ones that nothing continues are gone."""
    while key is not None and not _is_continued(connection, key):
        deleted = connection.execute(
            "DELETE FROM responses WHERE key = ? AND response IS NULL RETURNING parent", (key,)
        ).fetchall()
        key = deleted[0][0] if deleted else None


def _is_continued(connection: sqlite3.Connection, key: int) -> bool:
    (found,) = connection.execute("SELECT EXISTS (SELECT 1 FROM responses WHERE parent = ?)", (key,)).fetchone()
    return bool(found)


def _forget_items(connection: sqlite3.Connection, principal: str, key: int, texts: Sequence[bytes]) -> None:
    ids = _item_ids(item for text in texts for item in read_items(text))
    connection.executemany(
        "DELETE FROM items WHERE principal = ? AND item = ? AND key = ?", [(principal, one, key) for one in ids]
    )


def _find(connection: sqlite3.Connection, principal: str, response_id: str) -> int | None:
    """The key of a response that is not hidden."""
    row = connection.execute(
        "SELECT key FROM responses WHERE principal = ? AND id = ? AND response IS NOT NULL",
        (principal, name(response_id)),
    ).fetchone()
    return None if row is None else row[0]


# Items


def find_item(connection: sqlite3.Connection, principal: str, item_id: str) -> Item | None:
    """The newest item of that id."""
    row = connection.execute(
        "SELECT input, output FROM items JOIN responses USING (key)"
        " WHERE items.principal = ? AND item = ? ORDER BY created DESC, key DESC LIMIT 1",
        (principal, name(item_id)),
    ).fetchone()
    if row is None:
        return None
    given, made = map(read_items, row)
    return next(item for item in (*reversed(made), *reversed(given)) if item.id == item_id)


# Events


def append_events(
    connection: sqlite3.Connection, principal: str, response_id: str, first: int, events: Sequence[bytes]
) -> None:
    """Add to a response's events; see `Store.append_events`."""
    key = _owned(connection, principal, response_id)
    (due,) = connection.execute("SELECT coalesce(max(number) + 1, 0) FROM events WHERE key = ?", (key,)).fetchone()
    if first != due:
        raise ValueError(f"event {first} does not follow: the next one is {due}")
    rows = [(key, number, event) for number, event in enumerate(events, first)]
    connection.executemany("INSERT INTO events VALUES (?, ?, ?)", rows)


def read_events(
    connection: sqlite3.Connection, principal: str, response_id: str, after: int, max_bytes: int
) -> Sequence[bytes]:
    """Events of a response; see `Store.read_events`."""
    key = _owned(connection, principal, response_id)
    taken: list[bytes] = []
    size = 0
    for (event,) in connection.execute(
        "SELECT event FROM events WHERE key = ? AND number > ? ORDER BY number", (key, after)
    ):
        size += len(event)
        if taken and size > max_bytes:
            break
        taken.append(event)
    return taken


def _owned(connection: sqlite3.Connection, principal: str, response_id: str) -> int:
    key = _find(connection, principal, response_id)
    if key is None:
        raise LookupError(f"there is no stored response {response_id!r}")
    return key
