"""Items as they can be compared: what was said, without what may differ from one telling to another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agentwire.protocol.codec import decode_item
from agentwire.protocol.items import CustomToolCall, FunctionCall, FunctionCallOutput, Item, McpCall, Message, Reasoning

__all__ = ["Told", "open_calls", "tell", "tell_json", "user", "wrong_pair"]

Told = tuple[str, ...]
"""One item: its kind, and what it says."""


def tell(items: Iterable[Item]) -> tuple[Told, ...]:
    """Items as a model is shown them."""
    return tuple(map(_tell, items))


def _tell(item: Item) -> Told:
    match item:
        case Message(role=role):
            return role, item.text
        case FunctionCall(call_id=call_id, name=name, arguments=arguments):
            return "call", call_id, name, arguments
        case CustomToolCall(call_id=call_id, name=name):
            return "call", call_id, name, item.input
        case FunctionCallOutput(call_id=call_id):
            return "output", str(call_id), item.text
        case Reasoning():
            return "reasoning", str(item.encrypted_content or item.content)
        case McpCall(name=name, arguments=arguments):
            return "mcp_call", name, arguments, str(item.output)
        case _:
            return (str(item.type),)


def tell_json(items: Iterable[Mapping[str, Any]]) -> tuple[Told, ...]:
    """Items as they are on the wire."""
    return tell(map(decode_item, items))


def user(text: str) -> Told:
    """A message of the user."""
    return "user", text


def open_calls(told: Sequence[Told]) -> list[str]:
    """The ids of the calls that nobody has answered."""
    answered = {one[1] for one in told if one[0] == "output"}
    return [one[1] for one in told if one[0] == "call" and one[1] not in answered]


def wrong_pair(told: Sequence[Told]) -> str | None:
    """Why calls and outputs do not belong together; None if each output follows its one call, and each call has one."""
    waiting: set[str] = set()
    for one in told:
        if one[0] == "call":
            if one[1] in waiting:
                return f"call {one[1]} comes twice"
            waiting.add(one[1])
        elif one[0] == "output" and one[1] not in waiting:
            return f"output of {one[1]}, which is no open call"
        elif one[0] == "output":
            waiting.remove(one[1])
    return f"calls without an output: {', '.join(sorted(waiting))}" if waiting else None
