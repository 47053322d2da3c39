"""Wide frozen objects, new or as changed copies. All that an object has is set at once, and not field by field.

It is for classes with ``slots=False`` that check and convert nothing when they are made; for any other there is
`attrs.evolve`.
"""

from __future__ import annotations

from typing import Any, TypeVar

__all__ = ["changed", "made"]

T = TypeVar("T")


def made(of: type[T], members: dict[str, Any]) -> T:
    """An object with these members, which must be all that it has; the dict is its own from now on."""
    new: T = object.__new__(of)
    object.__setattr__(new, "__dict__", members)
    return new


def changed(of: T, changes: dict[str, Any]) -> T:
    """The same with these members changed, as `attrs.evolve` gives it.

    Raises:
        TypeError: it has no such member.
    """
    members = of.__dict__
    merged = members | changes
    if len(merged) != len(members):
        unknown = ", ".join(sorted(changes.keys() - members.keys()))
        raise TypeError(f"{type(of).__name__} has no {unknown}")
    copy: T = object.__new__(type(of))
    object.__setattr__(copy, "__dict__", merged)
    return copy
