"""The input of a response as a list of pages: every item that its model saw, each with an id and a status.

Items that came without an id are given one that follows from their place in the conversation: it is the same in every
listing, and in the listings of the responses that continue it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from agentwire.protocol.errors import RequestError
from agentwire.protocol.items import Item
from agentwire.protocol.transcript import Node
from agentwire.protocol.writing import to_wire

__all__ = ["Listed", "list_page"]

_PREFIXES: Final[Mapping[str, str]] = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
    "mcp_call": "mcp",
    "compaction": "cmp",
}
_WITHOUT_STATUS: Final = frozenset(("compaction", "reasoning"))
_ID_DIGITS = 24


@attrs.frozen
class Listed:
    """One item of a listing, not yet written.

    Attributes:
        id: its own, or the one that follows from its place.
        item: the item.
    """

    id: str
    item: Item

    def wire(self) -> dict[str, Any]:
        """The JSON object; text that came as a plain string is shown as a part, and what is there is complete."""
        shown: dict[str, Any] = {"id": self.id, **to_wire(self.item)}
        if self.item.type == "message" and isinstance(shown.get("content"), str):
            shown["content"] = [_text_part(shown.get("role"), shown["content"])]
        if self.item.type in _PREFIXES and self.item.type not in _WITHOUT_STATUS:
            shown.setdefault("status", "completed")
        return shown


def _text_part(role: object, text: str) -> dict[str, Any]:
    if role == "assistant":
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "input_text", "text": text}


def list_page(
    node: Node, *, newest_first: bool, limit: int, after: str | None = None, before: str | None = None
) -> dict[str, Any]:
    """One page of a response's input, its conversation before it included, as the list object of the wire.

    Args:
        node: the response.
        newest_first: the order.
        limit: most items of the page.
        after: the item that the page begins after, in this order.
        before: the item that the page ends before, in this order.

    Raises:
        RequestError: 400, ``after`` or ``before`` is no item of it.
    """
    items = list(_listed(node))
    if newest_first:
        items.reverse()
    start = _position(items, after, "after") + 1 if after is not None else 0
    end = _position(items, before, "before") if before is not None else len(items)
    chosen = items[start:end]
    page = chosen[-limit:] if before is not None and after is None else chosen[:limit]
    return {
        "object": "list",
        "data": [listed.wire() for listed in page],
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
        "has_more": len(page) < len(chosen),
    }


def _position(items: Sequence[Listed], item_id: str, param: str) -> int:
    for index, listed in enumerate(items):
        if listed.id == item_id:
            return index
    raise RequestError.invalid(f"The response has no input item {item_id!r}.", param=param)


def _listed(node: Node) -> Iterator[Listed]:
    """The input, oldest first: that of each response up to this one, and what each before it made."""
    nodes = list(node.chain())
    for earlier in reversed(nodes):
        made = earlier.output if earlier is not node else ()
        for index, item in enumerate((*earlier.input, *made)):
            yield Listed(item.id or _id_of(earlier.response_id, index, item), item)


def _id_of(response_id: str, index: int, item: Item) -> str:
    digest = hashlib.sha256(f"{response_id}/{index}".encode()).hexdigest()[:_ID_DIGITS]
    return f"{_PREFIXES.get(item.type, 'item')}_{digest}"
