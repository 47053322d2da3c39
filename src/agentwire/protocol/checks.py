"""What a member of a wire object must satisfy, stated beside the member.

The small check functions say what a request may hold; `checked` and `KEPT` note it on an attrs field, for the codec to
apply. A value that does not fit raises `Misfit`, which collects its path on the way up and never leaves the codec.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

__all__ = [
    "EMPTY",
    "KEPT",
    "Check",
    "Misfit",
    "between",
    "checked",
    "kind_of",
    "length",
    "matching",
    "one_of",
    "shorten",
]

EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})
"""The mapping that everybody shares who has nothing to carry."""

Check = Callable[[Any], None]
"""Raises `Misfit` if a value is not allowed; only requests are checked, what a server sends is not."""

LONGEST_QUOTE = 80


class Misfit(Exception):
    """A value that does not fit where it stands.

    Args:
        code: the protocol's code for it, such as ``invalid_type``.
        expected: what would fit, in words; may be empty if the code says it all.
        path: where it is, innermost step first.
    """

    def __init__(self, code: str, expected: str, *path: str | int) -> None:
        super().__init__(code, expected)
        self.code = code
        self.expected = expected
        self.path = list(path)

    @property
    def param(self) -> str:
        """The path as the wire writes it: ``input[2].content[0].text``."""
        text = ""
        for step in reversed(self.path):
            text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
        return text

    def under(self, step: str | int) -> Misfit:
        """The same, found one step further down: a member's name or an index."""
        self.path.append(step)
        return self

    @classmethod
    def kind(cls, expected: str, value: object) -> Misfit:
        """The value has the wrong JSON type."""
        return cls("invalid_type", f"expected {expected}, got {kind_of(value)}")

    @classmethod
    def missing(cls, name: str) -> Misfit:
        """A required member is absent or null."""
        return cls("missing_required_parameter", "", name)


def kind_of(value: object) -> str:
    """The JSON type of a value, in words."""
    for kind, words in _KINDS:
        if isinstance(value, kind):
            return words
    return f"a {type(value).__name__}"


_KINDS: Final[tuple[tuple[type, str], ...]] = (
    (type(None), "null"),
    (bool, "a boolean"),
    (int, "an integer"),
    (float, "a number"),
    (str, "a string"),
    (Mapping, "an object"),
    (list, "an array"),
    (tuple, "an array"),
)


def shorten(value: object) -> str:
    """A value quoted for an error message: a peer's text, cut to a length that nobody can abuse."""
    text = value if isinstance(value, str) else repr(value)
    return repr(text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 3] + "...")


def length(least: int, most: int) -> Check:
    """A string or an array of between ``least`` and ``most`` characters or elements."""

    def check(value: Any) -> None:
        if not least <= len(value) <= most:
            unit = "characters" if isinstance(value, str) else "entries"
            raise Misfit("invalid_value", f"it must have {least} to {most} {unit}, and has {len(value)}")

    return check


def between(least: float, most: float | None = None) -> Check:
    """A number from ``least`` to ``most``, both allowed."""

    def check(value: Any) -> None:
        if value < least or (most is not None and value > most):
            bounds = f"at least {least}" if most is None else f"between {least} and {most}"
            raise Misfit("invalid_value", f"it must be {bounds}, and is {shorten(value)[1:-1]}")

    return check


def matching(pattern: str, least: int, most: int) -> Check:
    """A string of ``least`` to ``most`` characters of which each matches the class ``pattern``."""
    whole = re.compile(f"{pattern}*")
    size = length(least, most)

    def check(value: Any) -> None:
        size(value)
        if not whole.fullmatch(value):
            raise Misfit("invalid_value", f"it may only have characters of {pattern}, and is {shorten(value)}")

    return check


def one_of(*allowed: str) -> Check:
    """One of a closed set of strings."""

    def check(value: Any) -> None:
        if value not in allowed:
            names = ", ".join(repr(name) for name in allowed)
            raise Misfit("unsupported_value", f"it must be one of {names}, and is {shorten(value)}")

    return check


def checked(check: Check) -> Mapping[str, Any]:
    """Metadata of a field whose value must pass ``check`` in a request; what a server sends is not checked."""
    return {"check": check}


KEPT: Final[Mapping[str, Any]] = {"keep": True}
"""Metadata of a field whose key the wire demands: None is written as ``null``, and ``null`` is read as None."""
