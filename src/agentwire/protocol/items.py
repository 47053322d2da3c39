"""Items: the entries of a conversation, as requests bring them and responses list them.

Types that no engine here makes (searches, computer use, shells and the like) are `OpaqueItem`: carried unchanged, not
modelled. `client_call` and `answered_call` say how calls and their outputs are paired, whatever their type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, TypeAlias

import attrs

from agentwire.protocol.checks import EMPTY, checked, length, one_of
from agentwire.protocol.content import Part, ReasoningText, SummaryText, text_of

__all__ = [
    "CLIENT_CALLS",
    "ITEMS",
    "UNPAIRED",
    "Compaction",
    "CustomToolCall",
    "CustomToolCallOutput",
    "FunctionCall",
    "FunctionCallOutput",
    "Item",
    "ItemReference",
    "McpCall",
    "Message",
    "OpaqueItem",
    "OpenedCompaction",
    "Reasoning",
    "Summary",
    "answered_call",
    "client_call",
    "is_torn",
]

ROLES: Final = one_of("user", "assistant", "system", "developer")
CALL_ID: Final = length(1, 64)


@attrs.frozen
class Message:
    """A message of either side; the easy form without ``type`` is read as one too.

    Attributes:
        role: ``user``, ``assistant``, ``system`` or ``developer``.
        content: plain text, or parts.
        id: given by whoever made the item.
        status: ``in_progress``, ``completed`` or ``incomplete``.
        phase: ``commentary`` or ``final_answer``, where a model tells them apart.
    """

    type: ClassVar[str] = "message"
    role: str = attrs.field(metadata=checked(ROLES))
    content: str | tuple[Part, ...]
    id: str | None = None
    status: str | None = None
    phase: str | None = None
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)

    @property
    def text(self) -> str:
        """All its text, joined."""
        return text_of(self.content)


@attrs.frozen
class Summary(Message):
    """A message that stands for earlier history, as an engine sees it; nobody said it, and no client sends it."""


@attrs.frozen
class FunctionCall:
    """A call of a function tool, for the client to run; ``arguments`` is JSON in a string."""

    type: ClassVar[str] = "function_call"
    call_id: str = attrs.field(metadata=checked(CALL_ID))
    name: str = attrs.field(metadata=checked(length(1, 128)))
    arguments: str
    id: str | None = None
    status: str | None = None
    namespace: str | None = None
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)


@attrs.frozen
class FunctionCallOutput:
    """What a function tool answered: text, or text, images and files as parts."""

    type: ClassVar[str] = "function_call_output"
    call_id: str = attrs.field(metadata=checked(CALL_ID))
    output: str | tuple[Part, ...]
    id: str | None = None
    status: str | None = None
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)

    @property
    def text(self) -> str:
        """All its text, joined."""
        return text_of(self.output)


@attrs.frozen
class CustomToolCall:
    """A call of a free-text tool, for the client to run; ``input`` is what the model wrote."""

    type: ClassVar[str] = "custom_tool_call"
    call_id: str = attrs.field(metadata=checked(CALL_ID))
    name: str = attrs.field(metadata=checked(length(1, 128)))
    input: str
    id: str | None = None
    status: str | None = None
    namespace: str | None = None
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)


@attrs.frozen
class CustomToolCallOutput:
    """What a free-text tool answered."""

    type: ClassVar[str] = "custom_tool_call_output"
    call_id: str = attrs.field(metadata=checked(CALL_ID))
    output: str | tuple[Part, ...]
    id: str | None = None
    status: str | None = None
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)

    @property
    def text(self) -> str:
        """All its text, joined."""
        return text_of(self.output)


@attrs.frozen
class Reasoning:
    """What a model thought: a summary, the raw text, or an opaque blob to hand back."""

    type: ClassVar[str] = "reasoning"
    summary: tuple[SummaryText, ...] = ()
    content: tuple[ReasoningText, ...] | None = None
    encrypted_content: str | None = None
    id: str | None = None
    status: str | None = None
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)


@attrs.frozen
class McpCall:
    """A tool that the server itself ran: call and outcome in one item."""

    type: ClassVar[str] = "mcp_call"
    server_label: str
    name: str
    arguments: str
    output: str | None = None
    error: Any = None
    id: str | None = None
    status: str | None = None
    approval_request_id: str | None = None
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)


@attrs.frozen
class Compaction:
    """Earlier history, folded into an opaque blob by whoever made it."""

    type: ClassVar[str] = "compaction"
    encrypted_content: str
    id: str | None = None
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)


@attrs.frozen(kw_only=True)
class OpenedCompaction(Compaction):
    """A compaction that this library made, with what is in its blob; on the wire it is what it was.

    Attributes:
        summary: what was folded, in words; may be empty.
        kept: items that were not folded.
        after_messages: whether the user's messages before it, in the list of items that it is in, were not folded
            either.
        shown: what an engine sees in its place, and in that of all that came before.
    """

    summary: str
    kept: tuple[Item, ...]
    after_messages: bool = False
    shown: tuple[Item, ...] = attrs.field(init=False, eq=False, repr=False)

    @shown.default
    def _show(self) -> tuple[Item, ...]:
        said = (Summary("user", self.summary, id=self.id, status="completed"),) if self.summary else ()
        return (*said, *self.kept)


@attrs.frozen
class ItemReference:
    """Stands for an item that the server already has."""

    type: ClassVar[str] = "item_reference"
    id: str = attrs.field(metadata=checked(length(1, 512)))
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)


@attrs.frozen
class OpaqueItem:
    """An item of a type that is carried and not understood.

    Attributes:
        raw: the JSON object as it came; not to be changed.
    """

    raw: Mapping[str, Any]

    @property
    def type(self) -> str:
        """The tag it came with."""
        return str(self.raw.get("type", ""))

    @property
    def id(self) -> str | None:
        """Its id, if it has one."""
        value = self.raw.get("id")
        return value if isinstance(value, str) else None


Item: TypeAlias = (
    Message
    | FunctionCall
    | FunctionCallOutput
    | CustomToolCall
    | CustomToolCallOutput
    | Reasoning
    | McpCall
    | Compaction
    | ItemReference
    | OpaqueItem
)
"""Any item."""

ITEMS: Mapping[str, type] = {
    cls.type: cls
    for cls in (
        Message,
        FunctionCall,
        FunctionCallOutput,
        CustomToolCall,
        CustomToolCallOutput,
        Reasoning,
        McpCall,
        Compaction,
        ItemReference,
    )
}
"""The known items by their tag."""

CLIENT_CALLS: Mapping[str, str] = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "computer_call": "computer_call_output",
    "shell_call": "shell_call_output",
    "local_shell_call": "local_shell_call_output",
    "apply_patch_call": "apply_patch_call_output",
    "tool_search_call": "tool_search_output",
    "mcp_approval_request": "mcp_approval_response",
}
"""Calls that end a response for the client to answer, and the type of the item that answers each."""

UNPAIRED: Final = frozenset((Message, Summary, Reasoning, McpCall, ItemReference))
"""Kinds of items that never are a client's call, nor the answer to one, nor have any in them."""

_ANSWERS: Final = frozenset(CLIENT_CALLS.values())
_PLAIN_CALLS: Final = (FunctionCall, CustomToolCall)
_PLAIN_ANSWERS: Final = (FunctionCallOutput, CustomToolCallOutput)


def is_torn(call: Item) -> bool:
    """Whether a limit cut a call short: it may be answered, and need not be, as nobody can run half a call."""
    status = call.raw.get("status") if isinstance(call, OpaqueItem) else getattr(call, "status", None)
    return status == "incomplete"


def client_call(item: Item) -> str | None:
    """The id under which the client must answer this item, or None if there is nothing to answer.

    A shell in the server's container, a tool search that the server does and whatever else says that the server runs
    it are the server's own affair.
    """
    if isinstance(item, Message):  # nearly all are
        return None
    if isinstance(item, _PLAIN_CALLS):
        return None if item.extra and item.extra.get("execution") == "server" else item.call_id
    if not isinstance(item, OpaqueItem) or item.type not in CLIENT_CALLS:
        return None
    raw = item.raw
    if item.type == "mcp_approval_request":
        return item.id
    if item.type == "tool_search_call" and not _searched_by_client(raw):
        return None
    if item.type == "shell_call" and _in_container(raw.get("environment")):
        return None
    return _name(raw.get("call_id")) or item.id


def answered_call(item: Item) -> str | None:
    """The id of the call that this item answers, or None if it is no client's answer to a call."""
    if isinstance(item, Message):
        return None
    if isinstance(item, _PLAIN_ANSWERS):
        return item.call_id
    if not isinstance(item, OpaqueItem) or item.type not in _ANSWERS:
        return None
    if item.type == "mcp_approval_response":
        return _name(item.raw.get("approval_request_id"))
    if item.type == "tool_search_output" and not _searched_by_client(item.raw):
        return None
    return _name(item.raw.get("call_id")) or (item.id if item.type == "local_shell_call_output" else None)


def _searched_by_client(raw: Mapping[str, Any]) -> bool:
    """Who searched need not be said; the server's own searches have no ``call_id``."""
    said = raw.get("execution")
    return said == "client" or (said is None and _name(raw.get("call_id")) is not None)


def _in_container(environment: object) -> bool:
    return isinstance(environment, Mapping) and str(environment.get("type", "")).startswith("container")


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
