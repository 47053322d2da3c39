"""Steering: what a client may add to a response that runs, and what it is told about it.

A steer is the user's next message, sent ahead. The server owns it until a response is created with it in its input,
and hands it back if that cannot be (Responses WebSocket guide, "steering").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from agentwire.protocol.codec import decode_item
from agentwire.protocol.content import InputFile, InputImage, InputText
from agentwire.protocol.errors import RequestError
from agentwire.protocol.items import CLIENT_CALLS, FunctionCall, Item, Message

__all__ = ["CODES", "Steer", "accepted", "failed", "pending", "read_messages", "required_input"]

CODES: Final[Mapping[str, str]] = {
    "response_not_found": "There is no response {0!r} on this connection.",
    "invalid_input": "This cannot be a steer: {0}",
    "steering_not_supported": "Response {0!r} cannot be steered: it compacts its context by itself, or runs no model.",
    "too_many_pending_steers": "As many steers wait for response {0!r} as may.",
    "response_already_completed": "Response {0!r} has ended; send a response.create that continues it.",
    "response_not_active": "Response {0!r} is ending, and takes no more input.",
    "successor_creation_failed": "No response was created with this input: {0}",
}
"""Why a steer fails, and how that is said."""


@attrs.frozen
class Steer:
    """Input that waits for the response after the one that it was sent to.

    Attributes:
        id: the server's name for it.
        response_id: the response that was steered.
        input: as the client sent it, to be handed back.
        messages: the same, read.
        size: bytes of the event that brought it.
    """

    id: str
    response_id: str
    input: Any
    messages: tuple[Item, ...]
    size: int


# What may be said

_MEMBERS: Final = frozenset(("type", "role", "content"))
_PARTS: Final = frozenset((InputText.type, InputImage.type, InputFile.type))


def read_messages(given: Any) -> tuple[Item, ...]:
    """The input of a steer: a string, or one message or more, all of the user.

    Raises:
        RequestError: it is anything else.
    """
    if isinstance(given, str):
        return (Message("user", given),)
    if not isinstance(given, list) or not given:
        raise RequestError.invalid("'input' must be a string, or an array of one message or more.", param="input")
    return tuple(_read_message(item, f"input[{index}]") for index, item in enumerate(given))


def _read_message(item: Any, param: str) -> Item:
    """A message of the user, and nothing that only a create can bring."""
    if not isinstance(item, Mapping) or item.get("type", Message.type) != Message.type or item.get("role") != "user":
        raise RequestError.invalid(f"'{param}' must be a message with the role 'user'.", param=param)
    if item.keys() - _MEMBERS:
        raise RequestError.invalid(f"'{param}' may have a type, a role and content only.", param=param)
    content = item.get("content")
    if isinstance(content, list) and not all(_may_stand(part) for part in content):
        message = f"'{param}.content' may have parts of input_text, input_image and input_file only."
        raise RequestError.invalid(message, param=f"{param}.content")
    return decode_item(item, param)


def _may_stand(part: Any) -> bool:
    kind = part.get("type") if isinstance(part, Mapping) else None
    return isinstance(kind, str) and kind in _PARTS


# What is said about it


def accepted(steer: Steer) -> Mapping[str, Any]:
    """The server owns it now."""
    return {"type": "response.steer.accepted", "steer": _name(steer)}


def pending(steer: Steer, owed: Mapping[str, Item]) -> Mapping[str, Any]:
    """It waits until the client has answered these calls."""
    return {
        "type": "response.steer.pending",
        "steer": _name(steer),
        "reason": "waiting_for_required_input",
        "required_input": required_input(owed),
    }


def failed(code: str, about: str, response_id: str | None, given: Any, id: str | None = None) -> Mapping[str, Any]:  # noqa: A002
    """It goes back.

    Args:
        code: one of `CODES`.
        about: what its sentence is about: the response, or what is wrong.
        response_id: the response that was to be steered.
        given: the input as it came.
        id: the steer's, if it was accepted before.
    """
    error = {"type": "invalid_request_error", "code": code, "message": CODES[code].format(about)}
    steer = {"previous_response_id": response_id or "", "input": given}
    return {"type": "response.steer.failed", "error": error, "steer": steer if id is None else {"id": id, **steer}}


def _name(steer: Steer) -> Mapping[str, str]:
    return {"id": steer.id, "previous_response_id": steer.response_id}


def required_input(owed: Mapping[str, Item]) -> list[Mapping[str, Any]]:
    """What the client must send next: the answer to each call, without what it is for the client to fill in."""
    return [_stub(call, item) for call, item in owed.items()]


def _stub(call: str, item: Item) -> Mapping[str, Any]:
    kind = CLIENT_CALLS[item.type]
    if kind == "mcp_approval_response":
        return {"type": kind, "approval_request_id": call}
    if kind == "tool_search_output":
        return {"type": kind, "call_id": call, "execution": "client"}
    if isinstance(item, FunctionCall):
        return {"type": kind, "call_id": call, "name": item.name}
    return {"type": kind, "call_id": call}
