"""Server events inside an item: it begins, its content comes in pieces, it is done.

Every event has the wire's tag as ``type``; `events` has the others, and the union of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from agentwire.protocol.checks import EMPTY
from agentwire.protocol.content import Part
from agentwire.protocol.items import Item

__all__ = [
    "ContentPartAdded",
    "ContentPartDone",
    "CustomToolCallInputDelta",
    "CustomToolCallInputDone",
    "EventBase",
    "FunctionCallArgumentsDelta",
    "FunctionCallArgumentsDone",
    "McpCallArgumentsDelta",
    "McpCallArgumentsDone",
    "McpCallCompleted",
    "McpCallFailed",
    "McpCallInProgress",
    "OutputItemAdded",
    "OutputItemDone",
    "OutputTextAnnotationAdded",
    "OutputTextDelta",
    "OutputTextDone",
    "ReasoningSummaryPartAdded",
    "ReasoningSummaryPartDone",
    "ReasoningSummaryTextDelta",
    "ReasoningSummaryTextDone",
    "ReasoningTextDelta",
    "ReasoningTextDone",
    "RefusalDelta",
    "RefusalDone",
]


@attrs.frozen
class EventBase:
    """Members of every event: its number within the response, its lane (None: the default one), what is unknown."""

    sequence_number: int | None = attrs.field(default=None, kw_only=True)
    stream_id: str | None = attrs.field(default=None, kw_only=True)
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)


@attrs.frozen
class _ItemEvent(EventBase):
    output_index: int
    item: Item


@attrs.frozen
class OutputItemAdded(_ItemEvent):
    """An item begins, still without content."""

    type: ClassVar[str] = "response.output_item.added"


@attrs.frozen
class OutputItemDone(_ItemEvent):
    """An item is finished, and whole."""

    type: ClassVar[str] = "response.output_item.done"


@attrs.frozen
class _InItem(EventBase):
    item_id: str
    output_index: int


@attrs.frozen
class _InContent(_InItem):
    content_index: int


@attrs.frozen
class _PartEvent(_InContent):
    part: Part


@attrs.frozen
class ContentPartAdded(_PartEvent):
    """A content part begins, empty."""

    type: ClassVar[str] = "response.content_part.added"


@attrs.frozen
class ContentPartDone(_PartEvent):
    """A content part is finished."""

    type: ClassVar[str] = "response.content_part.done"


@attrs.frozen
class OutputTextDelta(_InContent):
    """A piece of the model's text."""

    type: ClassVar[str] = "response.output_text.delta"
    delta: str
    logprobs: tuple[Any, ...] = ()


@attrs.frozen
class OutputTextDone(_InContent):
    """The whole text of a part."""

    type: ClassVar[str] = "response.output_text.done"
    text: str
    logprobs: tuple[Any, ...] = ()


@attrs.frozen
class OutputTextAnnotationAdded(_InContent):
    """A citation in the text."""

    type: ClassVar[str] = "response.output_text.annotation.added"
    annotation_index: int
    annotation: Mapping[str, Any]


@attrs.frozen
class RefusalDelta(_InContent):
    """A piece of a refusal."""

    type: ClassVar[str] = "response.refusal.delta"
    delta: str


@attrs.frozen
class RefusalDone(_InContent):
    """The whole refusal."""

    type: ClassVar[str] = "response.refusal.done"
    refusal: str


@attrs.frozen
class ReasoningTextDelta(_InContent):
    """A piece of raw reasoning."""

    type: ClassVar[str] = "response.reasoning_text.delta"
    delta: str


@attrs.frozen
class ReasoningTextDone(_InContent):
    """The whole of a raw reasoning part."""

    type: ClassVar[str] = "response.reasoning_text.done"
    text: str


@attrs.frozen
class _InSummary(_InItem):
    summary_index: int


@attrs.frozen
class ReasoningSummaryPartAdded(_InSummary):
    """A paragraph of the reasoning summary begins."""

    type: ClassVar[str] = "response.reasoning_summary_part.added"
    part: Part


@attrs.frozen
class ReasoningSummaryPartDone(_InSummary):
    """A paragraph of the reasoning summary is finished."""

    type: ClassVar[str] = "response.reasoning_summary_part.done"
    part: Part


@attrs.frozen
class ReasoningSummaryTextDelta(_InSummary):
    """A piece of a summary's paragraph."""

    type: ClassVar[str] = "response.reasoning_summary_text.delta"
    delta: str


@attrs.frozen
class ReasoningSummaryTextDone(_InSummary):
    """The whole of a summary's paragraph."""

    type: ClassVar[str] = "response.reasoning_summary_text.done"
    text: str


@attrs.frozen
class FunctionCallArgumentsDelta(_InItem):
    """A piece of a function call's arguments."""

    type: ClassVar[str] = "response.function_call_arguments.delta"
    delta: str


@attrs.frozen
class FunctionCallArgumentsDone(_InItem):
    """The whole arguments of a function call."""

    type: ClassVar[str] = "response.function_call_arguments.done"
    arguments: str


@attrs.frozen
class CustomToolCallInputDelta(_InItem):
    """A piece of a free-text call's input."""

    type: ClassVar[str] = "response.custom_tool_call_input.delta"
    delta: str


@attrs.frozen
class CustomToolCallInputDone(_InItem):
    """The whole input of a free-text call."""

    type: ClassVar[str] = "response.custom_tool_call_input.done"
    input: str


@attrs.frozen
class McpCallInProgress(_InItem):
    """The server begins with a tool of its own."""

    type: ClassVar[str] = "response.mcp_call.in_progress"


@attrs.frozen
class McpCallArgumentsDelta(_InItem):
    """A piece of the arguments for a tool of the server's own."""

    type: ClassVar[str] = "response.mcp_call_arguments.delta"
    delta: str


@attrs.frozen
class McpCallArgumentsDone(_InItem):
    """The whole arguments for a tool of the server's own."""

    type: ClassVar[str] = "response.mcp_call_arguments.done"
    arguments: str


@attrs.frozen
class McpCallCompleted(_InItem):
    """A tool of the server's own has answered."""

    type: ClassVar[str] = "response.mcp_call.completed"


@attrs.frozen
class McpCallFailed(_InItem):
    """A tool of the server's own has failed."""

    type: ClassVar[str] = "response.mcp_call.failed"
