"""Cases by the rules that they prove: a case is an async function of a `Peer` that raises `CaseFailed`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import attrs

from agentwire.testing.conformance.peer import NEEDS, Peer
from agentwire.testing.conformance.rules.model import BOTH, Profile

__all__ = ["CASES", "Case", "case"]

Body = Callable[[Peer], Awaitable[None]]


@attrs.frozen
class Case:
    """One case.

    Attributes:
        name: the function's.
        rules: the ids of the rules that it proves; it is run in the profiles of the first.
        body: what is run.
        needs: keys of `NEEDS`.
        profiles: the dialects in which it means anything.
    """

    name: str
    rules: tuple[str, ...]
    body: Body
    needs: tuple[str, ...]
    profiles: frozenset[Profile]

    @property
    def title(self) -> str:
        """What it does, in a line."""
        return (self.body.__doc__ or "").strip().partition("\n")[0]


CASES: Final[dict[str, Case]] = {}
"""Every case, by name, in the order in which they are run."""


def case(*rules: str, needs: Sequence[str] = (), profiles: frozenset[Profile] = BOTH) -> Callable[[Body], Body]:
    """Register a case.

    Args:
        rules: the ids of the rules that it proves; the first is the one that it is about.
        needs: what it needs beyond a URL.
        profiles: where it means anything, if that is less than its rules say.

    Raises:
        ValueError: the name is taken, or a need is none.
    """

    def register(body: Body) -> Body:
        name = body.__name__
        if name in CASES or not set(needs) <= NEEDS.keys() or not rules:
            raise ValueError(f"case {name}: its name must be new, it must prove something, and its needs be known")
        CASES[name] = Case(name, rules, body, tuple(needs), profiles)
        return body

    return register
