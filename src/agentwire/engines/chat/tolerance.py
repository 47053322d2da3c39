"""A chunk that is almost one, put right: what is written otherwise gets its usual form, what can be missed is left out.

Nothing that the model said is left out: text, calls and arguments that cannot be read stay what they are, no chunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["put_right"]

_DETAILS: Final = ("prompt_tokens_details", "completion_tokens_details")


def put_right(told: Mapping[str, Any]) -> dict[str, Any]:
    """A chunk in its usual form, as far as it can be."""
    found = {**told, "usage": _usage(told.get("usage"))}
    if isinstance(choices := told.get("choices"), list):
        found["choices"] = [_choice(each) if isinstance(each, dict) else each for each in choices]
    return found


def _choice(told: Mapping[str, Any]) -> dict[str, Any]:
    reason = told.get("finish_reason")
    if isinstance(reason, dict):
        reason = reason.get("type")
    found = {**told, "usage": _usage(told.get("usage")), "finish_reason": reason if isinstance(reason, str) else None}
    for name in ("delta", "message"):
        if isinstance(delta := told.get(name), dict):
            found[name] = _delta(delta)
        elif delta == []:
            found[name] = None  # an object without members, where a language cannot tell
    return found


def _delta(told: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(told)
    found["content"] = _content(told.get("content"))
    for name in ("reasoning", "reasoning_content"):
        found[name] = told[name] if isinstance(told.get(name), str) else None
    for name in ("reasoning_details", "annotations"):
        found[name] = [each for each in _several(told.get(name)) if isinstance(each, dict)]
    found["tool_calls"] = [_call(each) if isinstance(each, dict) else each for each in _several(told.get("tool_calls"))]
    found["function_call"] = _function(told.get("function_call"))
    return found


def _content(told: Any) -> Any:
    """Text, or a list of typed parts; a part may stand alone, or be plain text."""
    if told is None or isinstance(told, str):
        return told
    return [{"type": "text", "text": part} if isinstance(part, str) else part for part in _several(told)]


def _several(told: Any) -> Any:
    """A list; what stands where one should is its only member, as TGI has its calls."""
    if isinstance(told, list):
        return [each for each in told if each is not None]
    return [] if told is None else [told]


def _call(told: Mapping[str, Any]) -> dict[str, Any]:
    said_id, extra = told.get("id"), told.get("extra_content")
    return {
        "index": _count(told.get("index")),
        "id": said_id if said_id is None else str(said_id),
        "function": _function(told.get("function")),
        "extra_content": extra if isinstance(extra, dict) else None,
    }


def _function(told: Any) -> Any:
    if isinstance(told, dict) and told.get("arguments") == []:
        return {**told, "arguments": {}}
    return told


def _usage(told: Any) -> dict[str, Any] | None:
    if not isinstance(told, dict):
        return None
    counts = {name: _count(value) for name, value in told.items() if name not in _DETAILS}
    return {**counts, **{name: _usage(told.get(name)) for name in _DETAILS if name in told}}


def _count(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    return int(value) if isinstance(value, int | float) and abs(value) < 1 << 62 else None
