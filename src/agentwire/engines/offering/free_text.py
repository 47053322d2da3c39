"""The text of a free-text call, out of the JSON in which a model writes it, while that comes in.

The JSON is ``{"input": "..."}``. A model that escapes badly is taken at its word: an unknown escape stays as it is, and
a quotation mark ends the text only where what follows can be the end of the object.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

__all__ = ["FreeText"]

MOST_AFTER: Final = 256
"""Characters that may stand between the end of the text and that of the object; more are part of the text."""

_HEAD: Final = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_SQUEEZED: Final = '{"input":"'
_BLANKS: Final = re.compile(r"\s+")
_SPECIAL: Final = re.compile(r'["\\]')
_OVER: Final = re.compile(r'"\s*,\s*"')
_MAY_BE_OVER: Final = re.compile(r'"\s*(?:,\s*|\}\s*)?')
_SURROGATE: Final = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}")
_PAIR: Final = 12
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\", "/": "/"}


class FreeText:
    """Reads one call.

    Attributes:
        begun: whether the text comes in pieces; if it does not, `whole` has it at the end.
    """

    def __init__(self) -> None:
        self.begun = False
        self._other = False
        self._over = False
        self._held = ""

    def feed(self, piece: str) -> str:
        """The next piece of the JSON; what it adds to the text, which may be nothing yet."""
        if self._over or self._other:
            return ""
        self._held += piece
        if not self.begun and not self._begin():
            return ""
        return self._advance()

    def _begin(self) -> bool:
        """Whether the text has begun; if it never will, as the model wrote something else, that is all."""
        head = _HEAD.match(self._held)
        if head is not None:
            self.begun, self._held = True, self._held[head.end() :]
            return True
        self._other = not _SQUEEZED.startswith(_BLANKS.sub("", self._held))
        return False

    def _advance(self) -> str:
        """What of the text is certain; the rest waits for more."""
        held, at, made = self._held, 0, []
        while (special := _SPECIAL.search(held, at)) is not None:
            made.append(held[at : special.start()])
            at = special.start()
            size = self._quote(at) if held[at] == '"' else self._escape(at)
            if not size:
                break
            made.append(held[at] if held[at] == '"' else _unescaped(held[at : at + size]))
            at += size
        else:
            made.append(held[at:])
            at = len(held)
        self._held = "" if self._over else held[at:]
        return "".join(made)

    def _quote(self, at: int) -> int:
        """1 if this mark is part of the text, 0 if it ends it or nobody knows yet."""
        held = self._held
        if _OVER.match(held, at):
            self._over = True
            return 0
        return 0 if _MAY_BE_OVER.fullmatch(held, at) and len(held) - at <= MOST_AFTER else 1

    def _escape(self, at: int) -> int:
        """How long this escape is; 0 if it is not all there."""
        held = self._held
        if held[at + 1 : at + 2] != "u":
            return 2 if len(held) > at + 1 else 0
        first = _SURROGATE.match(held, at) is not None
        if len(held) < at + 6 or (first and len(held) < at + _PAIR and "\\u".startswith(held[at + 6 : at + 8])):
            return 0
        if first and held[at + 6 : at + 8] == "\\u":
            return _PAIR if len(held) >= at + _PAIR else 0
        return 6

    def finish(self) -> str:
        """There is no more; the last of the text: an escape that was never completed stays as it is."""
        rest, self._held = self._held, ""
        return rest if self.begun and not self._over and not rest.startswith('"') else ""

    @staticmethod
    def whole(arguments: str) -> str:
        """The text of a call that is complete, whatever the JSON looks like; without any it is the text itself."""
        try:
            told = msgspec.json.decode(arguments)
        except (ValueError, RecursionError):
            reader = FreeText()
            text = reader.feed(arguments) + reader.finish()
            return text if reader.begun else arguments
        value: Any = told.get("input") if isinstance(told, dict) else None
        return value if isinstance(value, str) else arguments


def _unescaped(escape: str) -> str:
    if escape[1] != "u":
        return _ESCAPES.get(escape[1], escape)
    try:
        units = [int(escape[at + 2 : at + 6], 16) for at in range(0, len(escape), 6)]
    except ValueError:
        return escape
    text = b"".join(unit.to_bytes(2, "little") for unit in units)
    return text.decode("utf-16-le", "surrogatepass")
