"""Server events: what a response says while it is made.

A class for every event that a server of ours emits; any other type is an `UnknownEvent`, carried unchanged. Every
event has the wire's tag as ``type`` and may have a ``sequence_number`` and a ``stream_id``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, TypeAlias

import attrs

from agentwire.protocol.checks import EMPTY
from agentwire.protocol.errors import RequestError
from agentwire.protocol.item_events import (
    ContentPartAdded,
    ContentPartDone,
    CustomToolCallInputDelta,
    CustomToolCallInputDone,
    EventBase,
    FunctionCallArgumentsDelta,
    FunctionCallArgumentsDone,
    McpCallArgumentsDelta,
    McpCallArgumentsDone,
    McpCallCompleted,
    McpCallFailed,
    McpCallInProgress,
    OutputItemAdded,
    OutputItemDone,
    OutputTextAnnotationAdded,
    OutputTextDelta,
    OutputTextDone,
    ReasoningSummaryPartAdded,
    ReasoningSummaryPartDone,
    ReasoningSummaryTextDelta,
    ReasoningSummaryTextDone,
    ReasoningTextDelta,
    ReasoningTextDone,
    RefusalDelta,
    RefusalDone,
)
from agentwire.protocol.response import Response

__all__ = [
    "EVENTS",
    "TERMINAL",
    "ContentPartAdded",
    "ContentPartDone",
    "CustomToolCallInputDelta",
    "CustomToolCallInputDone",
    "ErrorEvent",
    "Event",
    "FunctionCallArgumentsDelta",
    "FunctionCallArgumentsDone",
    "Keepalive",
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
    "ResponseCompleted",
    "ResponseCreated",
    "ResponseFailed",
    "ResponseInProgress",
    "ResponseIncomplete",
    "ResponseQueued",
    "SteerAccepted",
    "SteerFailed",
    "SteerPending",
    "UnknownEvent",
]


@attrs.frozen
class _Lifecycle(EventBase):
    response: Response


@attrs.frozen
class ResponseCreated(_Lifecycle):
    """The first event of a response."""

    type: ClassVar[str] = "response.created"


@attrs.frozen
class ResponseQueued(_Lifecycle):
    """A background response waits for its turn."""

    type: ClassVar[str] = "response.queued"


@attrs.frozen
class ResponseInProgress(_Lifecycle):
    """The engine has begun."""

    type: ClassVar[str] = "response.in_progress"


@attrs.frozen
class ResponseCompleted(_Lifecycle):
    """Terminal: the model is done, or has called tools that the client must run."""

    type: ClassVar[str] = "response.completed"


@attrs.frozen
class ResponseFailed(_Lifecycle):
    """Terminal: the response failed; ``response.error`` says why."""

    type: ClassVar[str] = "response.failed"


@attrs.frozen
class ResponseIncomplete(_Lifecycle):
    """Terminal: the output stops short; ``response.incomplete_details`` says why."""

    type: ClassVar[str] = "response.incomplete"


@attrs.frozen
class SteerAccepted(EventBase):
    """Steering input is queued for a running response; ``steer`` has its id and the response's."""

    type: ClassVar[str] = "response.steer.accepted"
    steer: Mapping[str, Any]


@attrs.frozen
class SteerPending(EventBase):
    """Queued steering waits for what the client owes: ``required_input`` holds stubs to fill in."""

    type: ClassVar[str] = "response.steer.pending"
    steer: Mapping[str, Any]
    reason: str = "waiting_for_required_input"
    required_input: tuple[Any, ...] = ()


@attrs.frozen
class SteerFailed(EventBase):
    """Steering was refused; ``steer`` hands its input back."""

    type: ClassVar[str] = "response.steer.failed"
    error: Mapping[str, Any]
    steer: Mapping[str, Any]


@attrs.frozen
class Keepalive(EventBase):
    """Sign of life of a response that has nothing to say."""

    type: ClassVar[str] = "keepalive"


@attrs.frozen
class ErrorEvent(EventBase):
    """A request was refused, or a running response broke; both of the wire's shapes, nested and flat, become this.

    Attributes:
        message: for a person.
        code: for a program, if the server gave one.
        status: the HTTP status that it would have had, if the server said so.
        param: the offending field.
        error_type: family of the error, such as ``invalid_request_error``.
        headers: such as ``retry-after``.
    """

    type: ClassVar[str] = "error"
    message: str
    code: str | None = None
    status: int | None = None
    param: str | None = None
    error_type: str | None = None
    headers: Mapping[str, str] = EMPTY

    def to_error(self) -> RequestError:
        """The same as an exception, for a client to raise; a missing status counts as 500."""
        return RequestError(
            self.status or 500,
            self.code or "unknown_error",
            self.message,
            param=self.param,
            type=self.error_type,
            headers=self.headers,
        )


@attrs.frozen
class UnknownEvent:
    """An event of a type that this version does not know.

    Attributes:
        raw: the JSON object as it came; not to be changed.
    """

    raw: Mapping[str, Any]

    @property
    def type(self) -> str:
        """The tag it came with."""
        return str(self.raw["type"])

    @property
    def sequence_number(self) -> int | None:
        """Its number within the response, if it has one."""
        value = self.raw.get("sequence_number")
        return value if isinstance(value, int) else None

    @property
    def stream_id(self) -> str | None:
        """Its lane; None is the default lane."""
        value = self.raw.get("stream_id")
        return value if isinstance(value, str) else None


Event: TypeAlias = (
    ResponseCreated
    | ResponseQueued
    | ResponseInProgress
    | ResponseCompleted
    | ResponseFailed
    | ResponseIncomplete
    | OutputItemAdded
    | OutputItemDone
    | ContentPartAdded
    | ContentPartDone
    | OutputTextDelta
    | OutputTextDone
    | OutputTextAnnotationAdded
    | RefusalDelta
    | RefusalDone
    | ReasoningTextDelta
    | ReasoningTextDone
    | ReasoningSummaryPartAdded
    | ReasoningSummaryPartDone
    | ReasoningSummaryTextDelta
    | ReasoningSummaryTextDone
    | FunctionCallArgumentsDelta
    | FunctionCallArgumentsDone
    | CustomToolCallInputDelta
    | CustomToolCallInputDone
    | McpCallInProgress
    | McpCallArgumentsDelta
    | McpCallArgumentsDone
    | McpCallCompleted
    | McpCallFailed
    | SteerAccepted
    | SteerPending
    | SteerFailed
    | Keepalive
    | ErrorEvent
    | UnknownEvent
)
"""Any server event."""

TERMINAL: Final = (ResponseCompleted, ResponseFailed, ResponseIncomplete)
"""The events that end a response."""

EVENTS: Mapping[str, type] = {cls.type: cls for cls in Event.__args__ if cls is not UnknownEvent}
"""The known events by their tag."""
