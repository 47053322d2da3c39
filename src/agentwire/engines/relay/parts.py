"""The parts of an item as its end has them, beside what was told of it in pieces."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from agentwire.protocol.order import PART_TEXT

__all__ = ["are_told_as_one", "known_parts", "with_unknown_parts"]


def known_parts(parts: Any) -> list[Mapping[str, Any]]:
    """Those that events tell of."""
    return [part for part in parts if not _is_unknown(part)] if isinstance(parts, list) else []


def _is_unknown(part: Any) -> bool:
    return not isinstance(part, dict) or part.get("type") not in PART_TEXT


def with_unknown_parts(said: list[Any], given: Any) -> list[Any]:
    """What was said, and between it the parts that no event tells of, in their places."""
    whole, rest = [], deque(said)
    for part in given if isinstance(given, list) else ():
        if _is_unknown(part):
            whole.append(part)
        elif rest:
            whole.append(rest.popleft())
    return [*whole, *rest]


def are_told_as_one(parts: Sequence[Mapping[str, Any]], said: str) -> bool:
    """Whether the pieces of several parts, which nobody announced, were taken for those of one with this text."""
    texts = [part.get(PART_TEXT[part["type"]]) or "" for part in parts]
    return len(texts) > 1 and said != texts[0] and said == "".join(map(str, texts))
