"""The part of regular expressions that JSON schemas use, matched and sampled in bounded time.

A client's ``pattern`` never reaches Python's ``re``, whose backtracking a hostile pattern can make last for years on
the event loop. What this module does not know (look-around, back-references) is `Unsupported`, not guessed.
"""

from __future__ import annotations

import string
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Final

import attrs

__all__ = ["Pattern", "Unsupported", "compile_pattern"]

LONGEST_PATTERN: Final = 1_000
LONGEST_TEXT: Final = 4_096
MOST_STEPS: Final = 50_000
DEEPEST: Final = 40

Range = tuple[str, str]

SHORTHANDS: Final[dict[str, tuple[Range, ...]]] = {
    "d": (("0", "9"),),
    "w": (("a", "z"), ("A", "Z"), ("0", "9"), ("_", "_")),
    "s": ((" ", " "), ("\t", "\r")),
}
CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
NICEST: Final = "a0A-_ .b1B" + "".join(map(chr, range(32, 127)))


class Unsupported(ValueError):
    """The pattern, or matching it, is beyond what this module does."""


@attrs.define
class Steps:
    """What matching and sampling may still cost; one for all patterns of a schema."""

    left: int = MOST_STEPS

    def take(self, count: int = 1) -> None:
        """Pay for ``count`` steps.

        Raises:
            Unsupported: the budget is spent.
        """
        self.left -= count
        if self.left < 0:
            raise Unsupported("the pattern costs too many steps")


@attrs.frozen
class Chars:
    """One character within one of the ranges (both ends belong), or within none of them."""

    ranges: tuple[Range, ...]
    negated: bool = False

    def has(self, char: str) -> bool:
        """Whether ``char`` belongs."""
        return any(low <= char <= high for low, high in self.ranges) is not self.negated

    def ends(self, text: str, starts: AbstractSet[int], steps: Steps) -> set[int]:
        """Where a match that begins at one of ``starts`` may end."""
        steps.take(len(starts) * len(self.ranges) + 1)
        return {at + 1 for at in starts if at < len(text) and self.has(text[at])}

    def sample(self, extra: int, steps: Steps) -> str:
        """A text that matches."""
        steps.take(len(self.ranges))
        for char in NICEST:
            if self.has(char):
                return char
        if self.negated:
            raise Unsupported("no printable character fits the pattern")
        return self.ranges[0][0]


@attrs.frozen
class Edge:
    """``^`` or ``$``."""

    at_end: bool

    def ends(self, text: str, starts: AbstractSet[int], steps: Steps) -> set[int]:
        """Those of ``starts`` that are at this edge."""
        steps.take()
        return {at for at in starts if at == (len(text) if self.at_end else 0)}

    def sample(self, extra: int, steps: Steps) -> str:
        """Nothing: an edge has no width."""
        return ""


@attrs.frozen
class Sequence:
    """One part after the other."""

    parts: tuple[Node, ...]

    def ends(self, text: str, starts: AbstractSet[int], steps: Steps) -> set[int]:
        """Where the last part may end."""
        steps.take(4)
        at = set(starts)
        for part in self.parts:
            at = part.ends(text, at, steps)
        return at

    def sample(self, extra: int, steps: Steps) -> str:
        """The parts' samples, joined."""
        return "".join(part.sample(extra, steps) for part in self.parts)


@attrs.frozen
class Choice:
    """Any one of the options."""

    options: tuple[Node, ...]

    def ends(self, text: str, starts: AbstractSet[int], steps: Steps) -> set[int]:
        """Where any option may end."""
        return set().union(*(option.ends(text, starts, steps) for option in self.options))

    def sample(self, extra: int, steps: Steps) -> str:
        """The first option's sample."""
        return self.options[0].sample(extra, steps)


@attrs.frozen
class Repeat:
    """The part, ``low`` to ``high`` times; without a ``high``, any number from ``low``."""

    part: Node
    low: int
    high: int | None

    def ends(self, text: str, starts: AbstractSet[int], steps: Steps) -> set[int]:
        """Where any allowed number of repetitions may end."""
        steps.take(self.low + 1)
        at = set(starts)
        for _ in range(self.low):
            at = self.part.ends(text, at, steps)
        found, fresh, count = set(at), at, self.low
        while fresh and (self.high is None or count < self.high):
            fresh = self.part.ends(text, fresh, steps) - found
            found |= fresh
            count += 1
        return found

    def sample(self, extra: int, steps: Steps) -> str:
        """The fewest repetitions, and up to ``extra`` more where the pattern allows them."""
        count = self.low + extra if self.high is None else min(self.high, self.low + extra)
        one = self.part.sample(extra, steps) if count else ""
        steps.take(len(one) * count)
        return one * count


Node = Chars | Edge | Sequence | Choice | Repeat


@attrs.frozen
class Pattern:
    """A compiled pattern; unanchored, as in JSON Schema, unless it says ``^`` and ``$``."""

    node: Node

    def matches(self, text: str, steps: Steps) -> bool:
        """Whether the pattern is found in ``text``.

        Raises:
            Unsupported: the text is too long, or matching costs too much.
        """
        if len(text) > LONGEST_TEXT:
            raise Unsupported("the text is too long to match")
        return bool(self.node.ends(text, set(range(len(text) + 1)), steps))

    def sample(self, steps: Steps, shortest: int = 0) -> str:
        """A text of at least ``shortest`` characters in which the pattern is found.

        Raises:
            Unsupported: none was found.
        """
        for extra in (0, 1, 3, 8, 40, 200):
            text = self.node.sample(extra, steps).ljust(shortest, "a")
            if self.matches(text, steps):
                return text
        raise Unsupported("no example of the pattern was found")


@lru_cache(maxsize=256)
def compile_pattern(source: str) -> Pattern:
    """Compile a schema's ``pattern``.

    Raises:
        Unsupported: it uses something that this module does not know, or is no regular expression.
    """
    if len(source) > LONGEST_PATTERN:
        raise Unsupported("the pattern is too long")
    reader = _Reader(source)
    node = reader.choice(0)
    if reader.at < len(source):
        raise Unsupported(f"unbalanced ) at {reader.at}")
    return Pattern(node)


@attrs.define
class _Reader:
    """A recursive-descent parser over one pattern."""

    source: str
    at: int = 0

    def peek(self) -> str:
        return self.source[self.at : self.at + 1]

    def next(self) -> str:
        char = self.peek()
        if not char:
            raise Unsupported("the pattern ends too early")
        self.at += 1
        return char

    def choice(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise Unsupported("the pattern is nested too deeply")
        options = [self.sequence(depth)]
        while self.peek() == "|":
            self.at += 1
            options.append(self.sequence(depth))
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while self.peek() not in ("", "|", ")"):
            parts.append(self.repeated(self.atom(depth)))
        return Sequence(tuple(parts))

    def atom(self, depth: int) -> Node:
        char = self.next()
        if char == "(":
            return self.group(depth)
        if char == "[":
            return self.char_class()
        if char in "^$":
            return Edge(at_end=char == "$")
        if char == ".":
            return Chars((("\n", "\n"), ("\r", "\r")), negated=True)
        if char == "\\":
            return self.escape()
        if char in "*+?{":
            raise Unsupported(f"nothing to repeat at {self.at - 1}")
        return Chars(((char, char),))

    def group(self, depth: int) -> Node:
        if self.peek() == "?":
            self.at += 1
            self.group_kind()
        node = self.choice(depth + 1)
        if self.next() != ")":
            raise Unsupported("a group is not closed")
        return node

    def group_kind(self) -> None:
        kind = self.next()
        if kind == "P":
            kind = self.next()
        if kind == ":":
            return
        if kind != "<" or self.peek() in ("=", "!"):
            raise Unsupported("look-around and back-references are not supported")
        while self.next() != ">":
            pass

    def escape(self) -> Chars:
        char = self.next()
        if char.lower() in SHORTHANDS:
            return Chars(SHORTHANDS[char.lower()], negated=char.isupper())
        if char in "xu":
            char = self.code_point(2 if char == "x" else 4)
        elif char in CONTROLS:
            char = CONTROLS[char]
        elif char.isalnum():
            raise Unsupported(f"\\{char} is not supported")
        return Chars(((char, char),))

    def code_point(self, digits: int) -> str:
        code, self.at = self.source[self.at : self.at + digits], self.at + digits
        if len(code) < digits or not set(code) <= set(string.hexdigits):
            raise Unsupported("a code point has too few digits")
        return chr(int(code, 16))

    def char_class(self) -> Chars:
        negated = self.peek() == "^"
        self.at += negated
        ranges: list[Range] = []
        while self.peek() != "]" or not ranges:
            ranges += self.class_part()
        self.at += 1
        return Chars(tuple(ranges), negated)

    def class_part(self) -> tuple[Range, ...]:
        first = self.class_item()
        if self.peek() != "-" or self.source[self.at + 1 : self.at + 2] in ("", "]"):
            return first
        self.at += 1
        (low, low_end), (high, high_end) = first[0], self.class_item()[0]
        if low != low_end or high != high_end or low > high:
            raise Unsupported("a range in a character class ends before it begins")
        return ((low, high),)

    def class_item(self) -> tuple[Range, ...]:
        char = self.next()
        if char != "\\":
            return ((char, char),)
        if self.peek() == "b":
            raise Unsupported("\\b in a character class is not supported")
        escaped = self.escape()
        if escaped.negated:
            raise Unsupported("a negated shorthand in a character class is not supported")
        return escaped.ranges

    def repeated(self, node: Node) -> Node:
        bounds = self.bounds()
        if bounds is None:
            return node
        low, high = bounds
        if self.peek() == "?":  # lazy or not, the same texts match
            self.at += 1
        if isinstance(node, Edge) or low > LONGEST_TEXT or (high is not None and high < low):
            raise Unsupported("the pattern repeats something that cannot be repeated like this")
        return Repeat(node, low, high)

    def bounds(self) -> tuple[int, int | None] | None:
        simple = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(self.peek())
        if simple is not None:
            self.at += 1
            return simple
        if self.peek() != "{":
            return None
        close = self.source.find("}", self.at)
        low, comma, high = self.source[self.at + 1 : max(close, self.at + 1)].partition(",")
        if not _is_count(low) or not (high == "" or _is_count(high)):
            raise Unsupported("a { that is no repetition is not supported")
        self.at = close + 1
        return int(low), (int(high) if high else None) if comma else int(low)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5
