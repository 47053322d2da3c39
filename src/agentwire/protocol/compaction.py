"""Compaction items: what is in their blob, what stays out of it, and a digest that needs no model.

A blob holds nothing but what its conversation held, so it is no secret of this server's: it is plain JSON with a
version and a checksum, and any process reads it. A blob of another make is carried, and not understood.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Generator, Sequence
from typing import Any, Final

from agentwire.protocol.errors import RequestError
from agentwire.protocol.items import Compaction, Item, OpenedCompaction
from agentwire.protocol.limits import Limits
from agentwire.protocol.parsing import decode_object, strictly
from agentwire.protocol.reading import request_reader
from agentwire.protocol.writing import encode_json, to_wire

__all__ = ["open_compaction", "open_compactions", "read_compactions", "seal"]

VERSION: Final = 1
BATCH: Final = 256
"""Items that are read in one step."""
_OURS: Final = re.compile(r"agentwire(\d{1,9})\.")
_WHOLE: Final = re.compile(rf"agentwire{VERSION}\.([A-Za-z0-9_-]{{22}})\.([A-Za-z0-9_=-]*)")
_ITEM: Final = request_reader(Item)
_NEVER_KEPT: Final = ("item_reference", "compaction_trigger")


def seal(item_id: str, summary: str, kept: Sequence[Item], *, after_messages: bool = False) -> OpenedCompaction:
    """Make a compaction item.

    Args:
        item_id: its id.
        summary: what was folded, in words.
        kept: items that stand beside it, oldest first; calls that wait for their output must be among them.
        after_messages: the user's messages before it stand, too.
    """
    told = {"summary": summary, "items": to_wire(tuple(kept)), "after_messages": after_messages}
    body = urlsafe_b64encode(encode_json(told))
    blob = f"agentwire{VERSION}.{_checksum(body)}.{body.decode()}"
    kept = tuple(kept)
    return OpenedCompaction(blob, id=item_id, summary=summary, kept=kept, after_messages=after_messages)


def read_compactions(items: Sequence[Item], limits: Limits) -> Generator[None, None, tuple[Item, ...]]:
    """A request's items, compactions of our own make opened; in steps, as a large one takes its time.

    Raises:
        RequestError: 400 ``invalid_encrypted_content``, param ``input[i].encrypted_content``: a blob was changed, or
            this version cannot read it.
    """
    opened: list[Item] = []
    for index, item in enumerate(items):
        if isinstance(item, Compaction):
            opened.append((yield from _open(item, f"input[{index}]", limits)))
        else:
            opened.append(item)
    return tuple(opened)


def open_compactions(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """Items that were read before, such as from a store; what cannot be opened stays closed."""
    if not any(map(_is_closed, items)):
        return items
    return tuple(_open_if_possible(item) for item in items)


def _is_closed(item: Item) -> bool:
    return isinstance(item, Compaction) and not isinstance(item, OpenedCompaction)


def _open_if_possible(item: Item) -> Item:
    try:
        return open_compaction(item) if isinstance(item, Compaction) else item
    except RequestError:
        return item


def open_compaction(item: Compaction, path: str = "item", limits: Limits | None = None) -> Compaction:
    """Open one in one go, if it is of our own make; otherwise it is given back as it is.

    Raises:
        RequestError: 400 ``invalid_encrypted_content``: see `read_compactions`.
    """
    steps = _open(item, path, limits or Limits())
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            opened: Compaction = stop.value
            return opened


def _open(item: Compaction, path: str, limits: Limits) -> Generator[None, None, Compaction]:
    blob, param = item.encrypted_content, f"{path}.encrypted_content"
    made = _OURS.match(blob)
    if made is None or isinstance(item, OpenedCompaction):
        return item
    if int(made[1]) != VERSION:
        raise _invalid(f"it is of version {int(made[1])}, and this server reads version {VERSION}", param)
    if len(blob) > limits.compaction_bytes:
        raise _invalid(f"it has more than {limits.compaction_bytes} bytes", param)
    whole = _WHOLE.fullmatch(blob)
    if whole is None or _checksum(whole[2].encode()) != whole[1]:
        raise _invalid("it is not as it was when it was made", param)
    yield
    try:
        return (yield from _read(item, urlsafe_b64decode(whole[2]), limits))
    except (RequestError, ValueError, TypeError, KeyError) as error:
        raise _invalid("there is something in it that cannot be read", param) from error


def _read(item: Compaction, body: bytes, limits: Limits) -> Generator[None, None, OpenedCompaction]:
    """From the JSON in a blob; whoever can compute a checksum can put anything there."""
    told = decode_object(body, limits)
    yield
    summary, raw, after = told["summary"], told["items"], told["after_messages"]
    if not (isinstance(summary, str) and isinstance(raw, list) and isinstance(after, bool)):
        raise TypeError("a summary in words, a list of items and a yes or no")
    if len(raw) > limits.input_items:
        raise ValueError("more items than a request may have")
    kept: list[Item] = []
    for each in raw:
        kept.append(strictly(_ITEM, each))
        if len(kept) % BATCH == 0:
            yield
    if any(each.type in _NEVER_KEPT for each in kept):
        raise TypeError("items that stand for others")
    same: dict[str, Any] = {"encrypted_content": item.encrypted_content, "id": item.id, "extra": item.extra}
    return OpenedCompaction(**same, summary=summary, kept=tuple(kept), after_messages=after)


def _checksum(body: bytes) -> str:
    digest = hashlib.sha256(b"agentwire compaction %d " % VERSION + body).digest()[:16]
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _invalid(why: str, param: str) -> RequestError:
    message = f"This compaction's encrypted_content cannot be used: {why}. Send it as it came."
    return RequestError(400, "invalid_encrypted_content", message, param=param)
