"""Items of a response while they are made: what is open, and how each kind of it appears on the wire.

Nothing here waits or writes: `agentwire.runtime.out` does, and keeps these as its state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from agentwire.protocol.codec import encode_json
from agentwire.protocol.content import OutputText, Part, ReasoningText, Refusal, SummaryText
from agentwire.protocol.items import CustomToolCall, FunctionCall, Item, McpCall, Message, OpaqueItem, Reasoning
from agentwire.protocol.mcp_items import APPROVAL_REQUEST
from agentwire.runtime.window import Pieces

__all__ = [
    "APPROVAL",
    "CUSTOM",
    "FUNCTION",
    "LOGGED",
    "MCP",
    "REASONING",
    "REFUSAL",
    "SUMMARY",
    "TEXT",
    "Call",
    "CallKind",
    "OpenCall",
    "OpenPart",
    "OpenText",
    "Output",
    "PartKind",
    "around_delta",
    "id_prefix",
]

Call = FunctionCall | CustomToolCall | McpCall


class Output:
    """The items of one response, by ``output_index``; a slot is empty while its item is still being made."""

    def __init__(self) -> None:
        self._slots: list[Item | None] = []

    def open(self) -> int:
        """The index of the next item."""
        self._slots.append(None)
        return len(self._slots) - 1

    @property
    def size(self) -> int:
        """How many items there are, finished or not."""
        return len(self._slots)

    def fill(self, index: int, item: Item) -> None:
        """This item is final."""
        self._slots[index] = item

    def items(self) -> tuple[Item, ...]:
        """The final items so far, in order."""
        return tuple(item for item in self._slots if item is not None)


# Text of all kinds


@attrs.frozen
class PartKind:
    """How one kind of streamed text appears on the wire.

    Attributes:
        item: the type of the item that it is part of.
        part_event: the stem of the events that begin and end a part.
        text_event: the stem of the events that carry its text.
        index_name: the member that counts such parts within their item.
        make: the part, of its text.
        text_member: where the whole text stands in the event that ends it.
        delta_tail: what follows the text in each delta.
    """

    item: str
    part_event: str
    text_event: str
    index_name: str
    make: Callable[[str], Part]
    text_member: str = "text"
    delta_tail: bytes = b""


TEXT: Final = PartKind(
    "message", "response.content_part", "response.output_text", "content_index", OutputText,
    delta_tail=b',"logprobs":[]',
)  # fmt: skip
LOGGED: Final = attrs.evolve(TEXT)
"""Text whose pieces may come with their probabilities; the usual text does not look for any."""
REFUSAL: Final = PartKind("message", "response.content_part", "response.refusal", "content_index", Refusal, "refusal")
REASONING: Final = PartKind(
    "reasoning", "response.content_part", "response.reasoning_text", "content_index", ReasoningText
)
SUMMARY: Final = PartKind(
    "reasoning", "response.reasoning_summary_part", "response.reasoning_summary_text", "summary_index", SummaryText
)


def around_delta(events: str, where: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Head and middle of a ``delta`` event (see `Pieces`)."""
    return b'{"type":"%b.delta","sequence_number":' % events.encode(), b',%b,"delta":' % encode_json(where)[1:-1]


class OpenPart(Pieces):
    """One part of a message or of a reasoning item while its text comes in."""

    __slots__ = ("annotations", "kind", "logprobs", "where")

    def __init__(self, kind: PartKind, item_id: str, output_index: int, index: int) -> None:
        self.kind = kind
        self.annotations: list[Any] = []
        self.logprobs: list[Any] = []
        self.where = {"item_id": item_id, "output_index": output_index, kind.index_name: index}
        super().__init__(*around_delta(kind.text_event, self.where), kind.delta_tail)

    def final(self) -> Part:
        """The part with all that was said."""
        part = self.kind.make("".join(self.pieces))
        if isinstance(part, OutputText) and (self.annotations or self.logprobs):
            return attrs.evolve(part, annotations=tuple(self.annotations), logprobs=tuple(self.logprobs))
        return part

    def done_members(self) -> Mapping[str, Any]:
        """The members of the event that ends its text."""
        members = {**self.where, self.kind.text_member: "".join(self.pieces)}
        return {**members, "logprobs": self.logprobs} if self.kind.text_event == TEXT.text_event else members


@attrs.define
class OpenText:
    """A message or a reasoning item while it is made."""

    kind: str
    id: str
    index: int
    parts: list[Part] = attrs.field(factory=list)
    summaries: list[SummaryText] = attrs.field(factory=list)
    phase: str | None = None
    encrypted_content: str | None = None

    def begin(self, kind: PartKind) -> OpenPart:
        """Its next part."""
        return OpenPart(kind, self.id, self.index, len(self.summaries if kind is SUMMARY else self.parts))

    def add(self, part: Part) -> None:
        """A part of it is final."""
        if isinstance(part, SummaryText):
            self.summaries.append(part)
        else:
            self.parts.append(part)

    def item(self, status: str) -> Item:
        """The item as it is now."""
        if self.kind == "message":
            return Message("assistant", tuple(self.parts), id=self.id, status=status, phase=self.phase)
        content = tuple(part for part in self.parts if isinstance(part, ReasoningText))
        return Reasoning(tuple(self.summaries), content or None, self.encrypted_content, id=self.id, status=status)


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
