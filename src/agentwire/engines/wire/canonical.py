"""One form for an item as its server made it and as a client hands it back, so that the two can be compared.

Clients drop what a server says about its items (ids, statuses, log probabilities), write a text as a string or as
parts, and space JSON their own way. None of that is content; everything else is, and makes another item of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

__all__ = ["canonical_item", "canonical_settings", "sealed_part"]

_ABOUT: Final = frozenset(("status", "phase", "created_by"))
"""What a server says of an item, and no client of what it says itself."""
_ABOUT_PARTS: Final = frozenset(("annotations", "logprobs"))
_PLAIN: Final = frozenset(("input_text", "output_text", "text"))
_PAIRED: Final = frozenset(("message", "reasoning", "function_call", "custom_tool_call"))
"""Items whose id stands for nothing that another item could name; outputs have a ``call_id`` for that."""
_LABELS: Final = frozenset(("client_metadata", "metadata", "safety_identifier", "user"))
"""Settings of which the model sees nothing."""

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def _digits(text: str) -> dict[str, str]:
    """A number with a fraction, digit for digit: no two of them become one."""
    return {"": text}


_decode: Final = msgspec.json.Decoder(float_hook=_digits).decode


def canonical_settings(model: str, settings: Mapping[str, Any]) -> bytes:
    """What must be the same in two requests for the second one to continue the first (protocol, section 6.6.7)."""
    return _encode([model, {name: value for name, value in settings.items() if name not in _LABELS}])


def canonical_item(item: Mapping[str, Any]) -> bytes:
    """The item's content; what is sealed in it is left to `sealed_part`."""
    kind = item.get("type") or "message"
    said = {name: value for name, value in item.items() if value is not None and name not in _ABOUT}
    if kind in _PAIRED or "call_id" in said:
        said.pop("id", None)
    said["type"] = kind
    if kind == "message":
        said["content"] = _parts(said.get("content"))
    elif kind == "reasoning":
        said.pop("encrypted_content", None)
        for name in ("summary", "content"):
            said[name] = _parts(said.get(name))
    elif kind == "function_call":
        said["arguments"] = _arguments(said.get("arguments"))
    elif kind in ("function_call_output", "custom_tool_call_output"):
        said["output"] = _parts(said.get("output"))
    return _encode(said)


def sealed_part(item: Mapping[str, Any]) -> bytes:
    """What the client is to hand back unread, and may have never been shown; empty if there is none."""
    sealed = item.get("encrypted_content") if item.get("type") == "reasoning" else None
    return sealed.encode() if isinstance(sealed, str) else b""


def _parts(content: Any) -> Any:
    if isinstance(content, str):
        return [["text", content]] if content else []
    if not isinstance(content, list | tuple):
        return content if content is not None else []
    return [_part(part) for part in content]


def _part(part: Any) -> Any:
    if not isinstance(part, Mapping):
        return part
    said = {name: value for name, value in part.items() if value is not None and name not in _ABOUT_PARTS}
    if said.keys() == {"type", "text"} and said["type"] in _PLAIN:
        return ["text", said["text"]]
    if said.get("detail") == "auto":
        del said["detail"]
    return said


def _arguments(text: Any) -> Any:
    """JSON without its spacing and the order of its members; what is none stays as it is."""
    try:
        return ["json", _decode(text)]
    except (ValueError, TypeError, RecursionError):
        return text
