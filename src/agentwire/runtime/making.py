"""The items of a response, and its tool calls while they are made: how each kind of them appears on the wire.

Nothing here waits or writes: `agentwire.runtime.out` does, and keeps these as its state.
"""

from __future__ import annotations

from typing import Final

import attrs

from agentwire.protocol.codec import encode_json
from agentwire.protocol.items import CustomToolCall, FunctionCall, Item, McpCall, OpaqueItem
from agentwire.protocol.mcp_items import APPROVAL_REQUEST
from agentwire.runtime.parts import around_delta
from agentwire.runtime.window import Pieces

__all__ = [
    "APPROVAL",
    "CUSTOM",
    "FUNCTION",
    "MCP",
    "Call",
    "CallKind",
    "OpenCall",
    "Output",
    "id_prefix",
]

Call = FunctionCall | CustomToolCall | McpCall


class Output:
    """The items of one response, by ``output_index``; a slot is empty while its item is still being made."""

    __slots__ = ("_shown", "_slots")

    def __init__(self) -> None:
        self._slots: list[Item | None] = []
        self._shown: list[bytes] = []

    def open(self) -> int:
        """The index of the next item."""
        self._slots.append(None)
        self._shown.append(b"")
        return len(self._slots) - 1

    @property
    def size(self) -> int:
        """How many items there are, finished or not."""
        return len(self._slots)

    def fill(self, index: int, item: Item, shown: bytes = b"") -> None:
        """This item is final; ``shown`` is its JSON, if somebody has it."""
        self._slots[index] = item
        self._shown[index] = shown or encode_json(item)

    def items(self) -> tuple[Item, ...]:
        """The final items so far, in order."""
        return tuple([item for item in self._slots if item is not None])

    def shown(self) -> bytes:
        """The final items so far as a JSON array."""
        return b"[%b]" % b",".join(filter(None, self._shown))


# Ids

_ID_PREFIXES: Final = {
    "message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc", "mcp_call": "mcp",
    "web_search_call": "ws", "file_search_call": "fs", "code_interpreter_call": "ci", "image_generation_call": "ig",
    "mcp_list_tools": "mcpl", "mcp_approval_request": "mcpr", "compaction": "cmp", "shell_call": "sh",
    "apply_patch_call": "apc", "local_shell_call": "lsh", "computer_call": "cu", "tool_search_call": "ts",
}  # fmt: skip


def id_prefix(kind: str) -> str:
    """What the ids of items of this type begin with, by custom."""
    return _ID_PREFIXES.get(kind, "item")


# Calls


@attrs.frozen
class CallKind:
    """How one kind of tool call appears on the wire.

    Attributes:
        item: the type of the item.
        id_prefix: of the item's id.
        events: the stem of the events that carry its arguments.
        text_member: where the whole arguments stand.
    """

    item: str
    id_prefix: str
    events: str
    text_member: str


FUNCTION: Final = CallKind("function_call", "fc", "response.function_call_arguments", "arguments")
CUSTOM: Final = CallKind("custom_tool_call", "ctc", "response.custom_tool_call_input", "input")
MCP: Final = CallKind("mcp_call", "mcp", "response.mcp_call_arguments", "arguments")
APPROVAL: Final = CallKind(APPROVAL_REQUEST, "mcpr", "", "arguments")
"""A call of the server's own that waits for the client's approval; it has no events."""


class OpenCall(Pieces):
    """A tool call while its arguments come in.

    Args:
        kind: how it appears.
        index: its ``output_index``.
        call: the item, but for its arguments and its status; it has an id.
    """

    __slots__ = ("_call", "index", "kind", "where")

    def __init__(self, kind: CallKind, index: int, call: Call) -> None:
        self.kind = kind
        self.index = index
        self.where = {"item_id": call.id, "output_index": index}
        self._call = call
        super().__init__(*around_delta(kind.events, self.where), b"")

    def item(self, text: str, status: str) -> Call:
        """The item as it is now."""
        if isinstance(self._call, CustomToolCall):
            return attrs.evolve(self._call, input=text, status=status)
        return attrs.evolve(self._call, arguments=text, status=status)

    def shown(self, item: Call) -> Item:
        """That item as the client sees it."""
        if self.kind is not APPROVAL or not isinstance(item, McpCall):
            return item
        raw = {
            "id": item.id,
            "type": APPROVAL_REQUEST,
            "server_label": item.server_label,
            "name": item.name,
            "arguments": item.arguments,
        }
        return OpaqueItem({**raw, "status": "incomplete"} if item.status == "incomplete" else raw)
