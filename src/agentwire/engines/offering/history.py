"""Calls and outputs in a conversation, as a backend knows them: functions with arguments, and texts.

What was called by a type that nobody here can run was another backend's doing; it is told in words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from agentwire.engines.offering.catalogue import Catalogue
from agentwire.engines.offering.forms import FORM_OF_CALL, FORM_OF_OUTPUT
from agentwire.protocol.codec import encode_json
from agentwire.protocol.content import InputImage, InputText, Part
from agentwire.protocol.items import CustomToolCall, FunctionCall, Item, Message, OpaqueItem
from agentwire.protocol.tools import TOOL_ITEMS, OpaqueTool

__all__ = ["SEALED", "answer_text", "as_function", "between_agents", "in_words", "screenshot", "tools_in", "unsealed"]

LONGEST: Final = 2_000
"""Characters of any one text in what is told in words: such items hold whole images."""

SEALED: Final = "encrypted_content"
"""The type of such parts, and their member."""

_UNREADABLE: Final = re.compile(r"[A-Za-z0-9+/_=-]{100,}")
_IDS: Final = ("type", "id", "call_id", "status", "approval_request_id", "caller", "created_by", "encrypted_content")


def as_function(item: Item, known: Catalogue) -> tuple[str, str, str] | None:
    """The id, the function's name and the arguments of a call; None if it is no call of a tool that a client runs."""
    if isinstance(item, FunctionCall):
        return item.call_id, known.name_of(item.name, item.namespace), item.arguments
    if isinstance(item, CustomToolCall):
        arguments = encode_json({"input": item.input}).decode()
        return item.call_id, known.name_of(item.name, item.namespace), arguments
    form = FORM_OF_CALL.get(item.type) if isinstance(item, OpaqueItem) else None
    if form is None or not isinstance(item, OpaqueItem):
        return None
    call_id = item.raw.get("call_id") or item.id
    arguments = encode_json(form.arguments(item.raw)).decode()
    return str(call_id or form.name), known.name_of(form.name, None, form.call_type), arguments


def answer_text(item: OpaqueItem, known: Catalogue) -> str:
    """The text of an answer to a call."""
    form = FORM_OF_OUTPUT.get(item.type)
    if form is not None:
        return form.output(item.raw, known.name_of)
    output = item.raw.get("output")
    return output if isinstance(output, str) else encode_json(_told(item.raw)).decode()


def screenshot(item: OpaqueItem) -> str | None:
    """The address of the picture in an answer, if it is one."""
    output = item.raw.get("output")
    address = output.get("image_url") if isinstance(output, Mapping) else None
    return address if isinstance(address, str) else None


def between_agents(item: OpaqueItem) -> Message | None:
    """A message from one of a client's agents to another, as a user's; None if the item is no such message.

    The hosted service seals such messages, and opens them for its models. What a model here has written is not sealed.
    """
    if item.type != "agent_message":
        return None
    content = item.raw.get("content")
    parts = [_agents_part(part) for part in (content if isinstance(content, list | tuple) else ())]
    return Message("user", tuple(part for part in parts if part is not None))


def _agents_part(part: Any) -> Part | None:
    told = part if isinstance(part, Mapping) else {}
    text, image = told.get("text"), told.get("image_url")
    if isinstance(sealed := told.get(SEALED), str):
        text = unsealed(sealed)
    if isinstance(text, str):
        return InputText(text)
    return InputImage(image) if isinstance(image, str) else None


def unsealed(text: str) -> str:
    """What stands in a part that the hosted service would have sealed, if it has not."""
    return "(This part can be read by the hosted service alone.)" if _UNREADABLE.fullmatch(text) else text


def in_words(item: OpaqueItem) -> str | None:
    """A call of a type that nobody here can run, or what came of it; None if the item is no such thing, or empty."""
    told = _told(item.raw) if item.type.endswith(("_call", "_call_output")) else None
    return f"({item.type}: {encode_json(told).decode()})" if told else None


def tools_in(item: Item) -> OpaqueTool | None:
    """The item as what brings tools, if it does."""
    return OpaqueTool(item.raw) if isinstance(item, OpaqueItem) and item.type in TOOL_ITEMS else None


def _told(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _short(value) for name, value in raw.items() if name not in _IDS and value is not None}


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= LONGEST else f"{value[:LONGEST]}…"
    if isinstance(value, Mapping):
        return {name: _short(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_short(inner) for inner in value[:50]]
    return value
