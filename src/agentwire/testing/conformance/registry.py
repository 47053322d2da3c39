"""Cases by the rules that they prove: a case is an async function of a `Peer` that raises `CaseFailed`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import attrs

from agentwire.testing.conformance.peer import NEEDS, Peer
from agentwire.testing.conformance.rules.model import BOTH, Profile

__all__ = ["CASES", "FRAMING", "RETIRED", "Case", "case"]

Body = Callable[[Peer], Awaitable[None]]


@attrs.frozen
class Case:
    """One case.

    Attributes:
        number: stable, such as ``AWC-017``; never given to another case.
        name: the function's.
        rules: the ids of the rules that it proves; it is run in the profiles of the first.
        body: what is run.
        needs: keys of `NEEDS`.
        profiles: the dialects in which it means anything.
    """

    number: str
    name: str
    rules: tuple[str, ...]
    body: Body
    needs: tuple[str, ...]
    profiles: frozenset[Profile]

    @property
    def title(self) -> str:
        """What it does, in a line."""
        return (self.body.__doc__ or "").strip().partition("\n")[0]

    @property
    def bare(self) -> bool:
        """Whether it is about the WebSocket alone, whatever is spoken on it."""
        return all(rule.startswith(f"AW-{FRAMING}-") for rule in self.rules)


FRAMING: Final = "N"
"""The letter of the topic that any WebSocket server can be held to."""

CASES: Final[dict[str, Case]] = {}
"""Every case, by name, in the order in which they are registered."""

RETIRED: Final[frozenset[int]] = frozenset()
"""Numbers of cases that are there no more. A case that is removed leaves its number here."""


def case(
    number: int, *rules: str, needs: Sequence[str] = (), profiles: frozenset[Profile] = BOTH
) -> Callable[[Body], Body]:
    """Register a case.

    Args:
        number: one more than the highest that there is; it stays with the case whatever becomes of its name.
        rules: the ids of the rules that it proves; the first is the one that it is about.
        needs: what it needs beyond a URL.
        profiles: where it means anything, if that is less than its rules say.

    Raises:
        ValueError: the number or the name is taken, it proves nothing, or a need is none.
    """

    def register(body: Body) -> Body:
        made = Case(f"AWC-{number:03}", body.__name__, rules, body, tuple(needs), profiles)
        taken = {one.number for one in CASES.values()} | {f"AWC-{retired:03}" for retired in RETIRED}
        if made.number in taken or made.name in CASES or not rules or not set(needs) <= NEEDS.keys():
            raise ValueError(
                f"{made.number} {made.name}: number and name must be new, it must prove something, its needs be known"
            )
        CASES[made.name] = made
        return body

    return register
