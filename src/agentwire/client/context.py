"""What a conversation is when it is said in full: to a server that has nothing of it any more.

What cannot stand without the server's memory is left out, and what a compaction has replaced is not said again. The
rest goes out as it came.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentwire.protocol.items import (
    Compaction,
    CustomToolCall,
    FunctionCall,
    Item,
    McpCall,
    OpaqueItem,
    Reasoning,
    answered_call,
    client_call,
)

__all__ = ["is_server_work", "latest_compaction", "said_in_full"]

_TRIGGER = "compaction_trigger"


def said_in_full(items: Sequence[Item]) -> tuple[Item, ...]:
    """The items of a conversation that can be said to anybody.

    Left out are thoughts that only their server could read, and calls that were cut off before they were whole, for
    nobody will answer them (Responses guide, reasoning: ``encrypted_content`` is what a stateless client hands back).
    """
    answered = {call_id for item in items if (call_id := answered_call(item)) is not None}
    return tuple(item for item in items if _stands(item, answered))


def _stands(item: Item, answered: set[str]) -> bool:
    if isinstance(item, Reasoning):
        return item.encrypted_content is not None or bool(item.content)
    if isinstance(item, FunctionCall | CustomToolCall) and item.status == "incomplete":
        return item.call_id in answered
    return item.type != _TRIGGER


def latest_compaction(items: Sequence[Item]) -> int | None:
    """Where the latest compaction is that a response made of all that came before it; None without one."""
    for index in range(len(items) - 1, -1, -1):
        if isinstance(items[index], Compaction):
            return index
    return None


def is_server_work(item: Item) -> bool:
    """Whether a server did something to make this item, beyond asking its model."""
    if isinstance(item, McpCall):
        return True
    return isinstance(item, OpaqueItem) and item.type.endswith("_call") and client_call(item) is None
