"""Events of another server as they are read: nearly all are plain pieces of text, and those have a quick way.

What is no such piece, or has a member that such a piece has not, is read as what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agentwire.protocol.checks import shorten
from agentwire.protocol.errors import RemoteProtocolError
from agentwire.transport.complaints import complaint_in

__all__ = ["PlainDelta", "read_delta", "read_event"]


class PlainDelta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A piece of text and where it belongs; members that upstreams leave out are None."""

    type: str
    delta: str
    item_id: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    sequence_number: int | None = None
    logprobs: list[Any] | None = None
    obfuscation: str | None = None
    stream_id: str | None = None


_SAME: Final = {
    "response.reasoning_part.added": "response.content_part.added",
    "response.reasoning_part.done": "response.content_part.done",
    "response.output_text_annotation.added": "response.output_text.annotation.added",
    "response.error": "error",
}
"""What some servers call an event, and what it is."""

_DELTA: Final = msgspec.json.Decoder(PlainDelta).decode
_EVENT: Final = msgspec.json.Decoder(dict[str, Any]).decode


def read_delta(payload: bytes) -> PlainDelta | None:
    """The piece of text that this is, if it is no more than that."""
    try:
        delta = _DELTA(payload)
    except (ValueError, RecursionError):
        return None
    return None if delta.logprobs else delta


def read_event(payload: bytes) -> Mapping[str, Any]:
    """Any event, with the ``type`` that it has here: a guess where the upstream gave none.

    Raises:
        RemoteProtocolError: it is no event.
        RecursionError: it is nested too deeply.
    """
    try:
        event = _EVENT(payload)
    except ValueError:
        raise RemoteProtocolError(f"it sent what is no event: {shorten(payload)}") from None
    kind = event.get("type")
    if not isinstance(kind, str):
        event["type"] = _guess(event)
    elif kind in _SAME:
        event["type"] = _SAME[kind]
    elif event.get("object") == "error":
        event["type"] = "error"  # an error alone has the type of the error
    return event


def _guess(event: dict[str, Any]) -> str:
    """What an event without a type must be, by what it has."""
    response = event.get("response")
    if isinstance(response, dict):
        return f"response.{response.get('status') or 'in_progress'}"
    if event.get("error") is not None or event.get("object") == "error":
        return "error"
    if event.get("object") == "response":
        return "response.done"
    item = event.get("item")
    if isinstance(item, dict):
        return f"response.output_item.{'added' if item.get('status') == 'in_progress' else 'done'}"
    complaint = complaint_in(event)
    if not complaint.message:
        raise RemoteProtocolError(f"it sent an event without a type: {shorten(event)}")
    event["error"] = {"message": complaint.message, "code": complaint.code or complaint.status}
    return "error"
