"""A summary of a conversation that needs no model: what was said and called, each in short form.

It is the same for the same conversation, it is bounded, and it says itself that it is no more than a digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from agentwire.protocol.codec import encode_json
from agentwire.protocol.content import text_of
from agentwire.protocol.items import (
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    McpCall,
    Message,
    OpaqueItem,
    Summary,
    answered_call,
    client_call,
)
from agentwire.protocol.shortening import clip, is_users_message

__all__ = ["NOTICE", "digest"]

NOTICE: Final = "Digest of the conversation so far, made by rule and not by a model; “…” is where a text was cut."
"""How every digest begins."""

LEAST: Final = 40
"""Characters of a line, if there are too many lines to give each its share; then the middle ones are left out."""
NAME, ARGUMENTS = 60, 120


def digest(items: Iterable[Item], most: int) -> str:
    """Summarize items in at most so many characters (a hundred at least); an empty string if there is nothing to say.

    Half of the room is for what was said before, by an earlier summary and by the user; the rest is for calls with
    their outputs, and for what the assistant said last.
    """
    items = tuple(items)
    earlier = [item.text for item in items if isinstance(item, Summary)]
    said = [item.text for item in items if isinstance(item, Message) and is_users_message(item)]
    answers = [item.text for item in items if isinstance(item, Message) and item.role == "assistant" and item.text]
    room = max(most - len(NOTICE) - 120, 100)
    parts = (
        _part("# Before that", [text.removeprefix(NOTICE).strip() for text in earlier], room // 4, marks=False),
        _part("# The user said", said, room // 2 if not earlier else room // 4),
        _part("# Tools that were called, and what they returned", _calls(items), 3 * room // 10),
        _part("# The assistant said last", answers[-1:], room // 5, marks=False),
    )
    told = [part for part in parts if part]
    return clip("\n\n".join((NOTICE, *told)), max(most, 100)) if told else ""


def _part(title: str, lines: Sequence[str | _Call], room: int, *, marks: bool = True) -> str:
    """Some lines under a title; each gets its share of the room, and the middle ones are left out if that is little."""
    if not lines:
        return ""
    most = max(room // LEAST, 1)
    shown = list(lines)
    if len(lines) > most:
        first = most // 4
        left = f"({len(lines) - most} more are left out here)"
        shown = [*lines[:first], left, *lines[len(lines) - (most - first) :]]
    share = max(room // len(shown), LEAST)
    texts = [line if isinstance(line, str) else line.line() for line in shown]
    mark = "- " if marks else ""
    return "\n".join((title, *(f"{mark}{clip(_flat(text) if marks else text.strip(), share)}" for text in texts)))


def _flat(text: str) -> str:
    """A text in one line; a long one is not looked at to its end."""
    return " ".join(text[:4000].split())


@attrs.frozen
class _Call:
    """A call and its output; put into words only if it is shown."""

    call: Item
    output: Item | None

    def line(self) -> str:
        """The tool, what it was asked, what came back."""
        if isinstance(self.call, McpCall):
            output = self.call.output or str(self.call.error or "")
            return _line(self.call.name, self.call.arguments, output)
        return _line(*_asked(self.call), _told(self.output) if self.output is not None else "(no output yet)")


def _calls(items: Sequence[Item]) -> list[_Call]:
    outputs = {call: item for item in items if (call := answered_call(item)) is not None}
    calls = ((item, client_call(item)) for item in items)
    return [
        _Call(item, outputs.get(call) if call is not None else None)
        for item, call in calls
        if call is not None or isinstance(item, McpCall)
    ]


def _line(name: str, arguments: str, output: str) -> str:
    return f"{clip(name, NAME)}({clip(_flat(arguments), ARGUMENTS)}): {_flat(output)}"


def _asked(item: Item) -> tuple[str, str]:
    if isinstance(item, FunctionCall):
        return item.name, item.arguments
    if isinstance(item, CustomToolCall):
        return item.name, item.input
    return item.type.removesuffix("_call"), _told(item)


def _told(item: Item) -> str:
    if isinstance(item, FunctionCallOutput | CustomToolCallOutput):
        return text_of(item.output)
    raw = item.raw if isinstance(item, OpaqueItem) else {}
    told = raw.get("output") or raw.get("action") or raw.get("operation") or ""
    return told if isinstance(told, str) else encode_json(told).decode()
