"""A model that is no model: it has pages looked up, as many as the task says, and then says what was on them.

It follows the history alone. Whoever loses a part of it gets another answer than who does not, and who loses all of it
has the work begun again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from agentwire.testing.hostile.scene import Scene
from agentwire.testing.hostile.script import Answer, Call, Reply, Say
from agentwire.testing.replies import Pause

__all__ = ["TOOL", "WORDS", "Clerk", "page_text", "right_answer", "task_of"]

TOOL: Final = "look_up"
"""The name of the function that it calls, with the number of a page as ``page``."""

WORDS: Final = (
    "caf\u00e9",
    "\u65e5\u672c\u8a9e",
    "na\u00efve",
    "\u0434\u0430",
    "\U0001f389",
    "\u00fcber",
    "z\u0142oty",
)
"""What is on the pages, one word on each, over and over."""

_TASK: Final = re.compile(r"pages? (\d+) to (\d+)(?:, (\d+) at a time)?")
_PAGE: Final = re.compile(r"The word of page (\d+) is (\S+?)\.(?:\s|\"|\\|$)")


def word_of(page: int) -> str:
    """The word on a page."""
    return WORDS[(page - 1) % len(WORDS)]


def page_text(page: int) -> str:
    """What a page says, as the function gives it."""
    return f"The word of page {page} is {word_of(page)}."


def task_of(first: int, last: int, *, at_once: int = 1) -> str:
    """What to ask for, so that these pages are looked up."""
    how = f", {at_once} at a time" if at_once > 1 else ""
    return f"Look up pages {first} to {last}{how}, and say their words."


def right_answer(first: int, last: int) -> str:
    """The final text."""
    return f"The words are: {', '.join(word_of(page) for page in range(first, last + 1))}."


@attrs.frozen
class Clerk:
    """The script of a server; see `hostile_server`.

    Attributes:
        thinks: seconds before each answer.
        pieces: events that its final text comes in.
        every: seconds between two of them.
        last_page: the last page of a task that names none.
        same_ids: whether a page is always asked for with the same call id, however often that happens.
    """

    thinks: float = 0.0
    pieces: int = 4
    every: float = 0.0
    last_page: int = 2
    same_ids: bool = False

    def __call__(self, scene: Scene) -> Reply:
        """What it says to this history."""
        first, last, at_once = self._task(scene.history)
        found = _pages(scene.history)
        missing = [page for page in range(first, last + 1) if page not in found]
        pause = (Pause(self.thinks),) if self.thinks else ()
        if missing:
            return Answer(*pause, *(self._call(page) for page in missing[:at_once]))
        words = ", ".join(found[page] for page in range(first, last + 1))
        return Answer(*pause, Say(f"The words are: {words}.", self.pieces, self.every))

    def _call(self, page: int) -> Call:
        return Call(TOOL, {"page": page}, f"call_page_{page}" if self.same_ids else None)

    def _task(self, history: Iterable[Mapping[str, Any]]) -> tuple[int, int, int]:
        for item in history:
            if item.get("role") == "user" and (found := _TASK.search(_text(item.get("content")))):
                return int(found[1]), int(found[2]), int(found[3] or 1)
        return 1, self.last_page, 1


def _pages(history: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    texts = (_text(item.get("output")) for item in history if item.get("type") == "function_call_output")
    return {int(found[1]): found[2] for text in texts for found in _PAGE.finditer(text)}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
