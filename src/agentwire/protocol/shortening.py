"""What stays of a context that must become shorter: it is folded into a summary, or its oldest items are dropped.

A call and its output are never parted, a call that waits for its output always stays, and so does what is in force for
the whole conversation: messages of the system and the developer, and tools and settings that came as items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import attrs

from agentwire.protocol.content import InputText, Part, text_of
from agentwire.protocol.items import (
    Compaction,
    CustomToolCallOutput,
    FunctionCallOutput,
    Item,
    McpCall,
    Message,
    OpenedCompaction,
    Summary,
    answered_call,
    client_call,
)
from agentwire.protocol.writing import encode_json

__all__ = ["Fold", "clip", "drop_oldest", "fold", "is_users_message"]

Cost = Callable[[Item], int]
"""Tokens of one item."""

EXCERPT: Final = 400
"""Characters that are left of the output of a tool that is kept and too long."""
MIB: Final = 1024 * 1024

_IN_FORCE: Final = ("additional_tools", "configuration_update")


@attrs.frozen
class Fold:
    """A context, divided.

    Attributes:
        folded: what a summary shall stand for, oldest first; what is kept in part is here as a whole.
        kept: what stands beside the summary, oldest first.
    """

    folded: tuple[Item, ...]
    kept: tuple[Item, ...]


def is_users_message(item: Item) -> bool:
    """Whether the user said this."""
    return isinstance(item, Message) and item.role == "user" and not isinstance(item, Summary)


def fold(items: Sequence[Item], room: int, cost: Cost, *, most_bytes: int = MIB, messages_apart: bool = False) -> Fold:
    """Divide a context into what is folded and what is kept.

    Kept are the user's latest message, and the newest of everything else, as far as there is room; the output of a tool
    is cut where it is too long.

    Args:
        items: the context, oldest first.
        room: tokens for what is kept beside that message.
        cost: tokens of an item.
        most_bytes: as JSON, what that message may have, and as many for the rest.
        messages_apart: the user's messages stand for themselves, and are neither folded nor kept.
    """
    pairs = _pairs(items)
    kept = {index: item for index, item in enumerate(items) if _stays(item, index, pairs)}
    said = [index for index, item in enumerate(items) if is_users_message(item)]
    apart = frozenset(said if messages_apart else ())
    if said and not apart:
        kept[said[-1]] = _fitted(items[said[-1]], most_bytes)
    for index in range(len(items) - 1, -1, -1):
        if index in kept or index in apart or not _is_telling(items[index]):
            continue
        unit = {each: items[each] for each in (index, pairs.get(index, index))}
        if _cost(unit, cost) > room or _size(unit) > most_bytes:
            unit = {place: _excerpt(each) for place, each in unit.items()}
        room -= _cost(unit, cost)
        most_bytes -= _size(unit)
        if room < 0 or most_bytes < 0:
            break
        kept |= unit
    folded = [item for index, item in enumerate(items) if kept.get(index) is not item and index not in apart]
    return Fold(tuple(folded), tuple(kept[index] for index in sorted(kept)))


def _cost(unit: Mapping[int, Item], cost: Cost) -> int:
    return sum(map(cost, unit.values()))


def _size(unit: Mapping[int, Item]) -> int:
    return sum(len(encode_json(item)) for item in unit.values())


def _is_telling(item: Item) -> bool:
    """Whether it is a message or a call; an output goes with its call, and what was thought is not kept."""
    said = item.type == "agent_message" or (isinstance(item, Message) and not isinstance(item, Summary))
    return said or isinstance(item, McpCall) or client_call(item) is not None


def _stays(item: Item, index: int, pairs: dict[int, int]) -> bool:
    """Whether it stays, whatever it costs."""
    if isinstance(item, Message):
        return item.role in ("system", "developer")
    foreign = isinstance(item, Compaction) and not isinstance(item, OpenedCompaction)
    waits = client_call(item) is not None and index not in pairs
    return foreign or waits or item.type in _IN_FORCE


def _pairs(items: Iterable[Item]) -> dict[int, int]:
    """Where the output of each call is, and where the call of each output, by index."""
    waiting: dict[str, int] = {}
    pairs: dict[int, int] = {}
    for index, item in enumerate(items):
        call, answered = client_call(item), answered_call(item)
        if call is not None:
            waiting[call] = index
        elif answered is not None and answered in waiting:
            asked = waiting.pop(answered)
            pairs[index], pairs[asked] = asked, index
    return pairs


# Cutting one item


def _fitted(item: Item, most_bytes: int) -> Item:
    """A message, cut where it is too large; of what is no text it is then said that it was there."""
    if len(encode_json(item)) <= most_bytes or not isinstance(item, Message):
        return item
    return attrs.evolve(item, content=_only_text(item.content, most_bytes // 8))


def _excerpt(item: Item) -> Item:
    """An output of which little is left; its call stays whole, since half of its arguments are none."""
    if isinstance(item, FunctionCallOutput | CustomToolCallOutput):
        return attrs.evolve(item, output=_only_text(item.output, EXCERPT))
    if isinstance(item, McpCall) and item.output is not None:
        return attrs.evolve(item, output=clip(item.output, EXCERPT))
    return item


def _only_text(content: str | tuple[Part, ...], characters: int) -> str | tuple[Part, ...]:
    text = clip(text_of(content), characters)
    if isinstance(content, str):
        return text
    others = [part.type for part in content if not text_of((part,))]
    told = "".join(f" [{other} left out]" for other in others[:5])
    return (InputText(text + told),)


def clip(text: str, most: int) -> str:
    """A text, cut to so many characters, with a sign of it."""
    return text if len(text) <= most else f"{text[: max(most - 1, 0)].rstrip()}…"


# Dropping


def drop_oldest(items: Sequence[Item], room: int, cost: Cost) -> tuple[Item, ...] | None:
    """Drop the oldest items until the rest has room, in tokens.

    Returns:
        What is left, oldest first; None if not even the newest item fits, with what must stay beside it.
    """
    pairs = _pairs(items)
    kept = {index for index, item in enumerate(items) if _stays(item, index, pairs) or isinstance(item, Summary)}
    room -= sum(cost(items[index]) for index in kept)
    least = len(kept)
    for index in range(len(items) - 1, -1, -1):
        if index in kept:
            continue
        unit = {index, pairs.get(index, index)}
        room -= sum(cost(items[each]) for each in unit)
        if room < 0:
            break
        kept |= unit
    if room < 0 and len(kept) == least:
        return None
    return tuple(items[index] for index in sorted(kept))
