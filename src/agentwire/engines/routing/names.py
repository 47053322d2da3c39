"""Which of many things a model's name means: an exact name, then the first pattern that fits, then the default.

A ``*`` in a pattern stands for any text, and a ``*`` in what it becomes is that text: ``local/*`` as ``*`` takes the
prefix away. Letters are as they are: names of models tell capitals apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

import attrs

__all__ = ["Names"]

T = TypeVar("T")


@attrs.frozen
class _Pattern(Generic[T]):
    text: str
    becomes: str | None
    meant: T

    def upstream_name(self, name: str) -> str | None:
        """What a name becomes that fits; None if it does not."""
        stars = _stars(self.text, name)
        return None if stars is None else _filled(self.becomes, stars, name)

    def client_name(self, upstream_name: str) -> str | None:
        """The name that becomes this one; None if none does, or nobody can tell which."""
        if self.becomes is None:
            return upstream_name if _stars(self.text, upstream_name) is not None else None
        if self.becomes.count("*") != 1 or self.text.count("*") != 1:
            return None
        stars = _stars(self.becomes, upstream_name)
        return None if stars is None else self.text.replace("*", stars[0])


def _stars(pattern: str, name: str) -> list[str] | None:
    """What each ``*`` of a pattern stands for, the first ones for as much as they can; None if the name does not fit.

    A regular expression would say the same, and take for ever over some names, which are the clients' to choose.
    """
    first, *between, last = pattern.split("*")
    begin, end = len(first), len(name) - len(last)
    if begin > end or not name.startswith(first) or not name.endswith(last):
        return None
    stars: list[str] = []
    for piece in reversed(between):
        at = name.rfind(piece, begin, end)
        if at < 0:
            return None
        stars.append(name[at + len(piece) : end])
        end = at
    return [*reversed((*stars, name[begin:end]))]


def _filled(template: str | None, stars: Iterable[str], name: str) -> str:
    if template is None:
        return name
    given = iter(stars)
    return "".join(next(given, "") if part == "*" else part for part in re.split(r"(\*)", template))


class Names(Generic[T]):
    """A table of names; what is meant may be anything."""

    def __init__(self) -> None:
        self._exact: dict[str, tuple[str, T]] = {}
        self._patterns: list[_Pattern[T]] = []

    def add(self, name: str, becomes: str | None, meant: T) -> None:
        """A name, or a pattern, which comes after those that are there.

        Args:
            name: as clients say it.
            becomes: what it is called upstream; the same if left out.
            meant: what it stands for.

        Raises:
            ValueError: it is there already, or it is none.
        """
        if not name.strip():
            raise ValueError("a model's name may not be empty")
        if name in self._exact or any(pattern.text == name for pattern in self._patterns):
            raise ValueError(f"the model {name!r} is there twice")
        if "*" in name:
            self._patterns.append(_Pattern(name, becomes, meant))
        elif becomes is not None and "*" in becomes:
            raise ValueError(f"the model {name!r} has no * that could stand in {becomes!r}")
        else:
            self._exact[name] = (name if becomes is None else becomes, meant)

    def find(self, name: str) -> tuple[str, T] | None:
        """What a name becomes, and what it means; None for one that is not here."""
        if name in self._exact:
            return self._exact[name]
        for pattern in self._patterns:
            becomes = pattern.upstream_name(name)
            if becomes is not None:
                return becomes, pattern.meant
        return None

    @property
    def exact(self) -> tuple[str, ...]:
        """The names that are no patterns, in order."""
        return tuple(self._exact)

    @property
    def patterns(self) -> Iterator[tuple[str, T]]:
        """The patterns and what they mean, in order."""
        return ((pattern.text, pattern.meant) for pattern in self._patterns)

    def reached_by(self, meant: T, upstream_names: Iterable[str]) -> Iterator[str]:
        """The names by which these can be asked for through patterns that mean this, and that nothing else hides."""
        for upstream_name in upstream_names:
            for pattern in self._patterns:
                name = pattern.client_name(upstream_name) if pattern.meant is meant else None
                if name and self.find(name) == (upstream_name, meant):
                    yield name
                    break
