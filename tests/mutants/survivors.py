"""What was judged of the mutants that survived, one by one: the same program, or one that no check sees yet."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import attrs

__all__ = ["SURVIVORS", "Judged", "read_survivors"]

SURVIVORS: Final = Path(__file__).with_name("survivors.txt")
"""A line for each: its name, ``=`` for the same program or ``!`` for one that is not, why, and what was changed."""


@attrs.frozen
class Judged:
    """One judgment.

    Attributes:
        mutant: by its name.
        equivalent: nothing that anybody can see is different.
        why: the reason.
    """

    mutant: str
    equivalent: bool
    why: str

    def __str__(self) -> str:
        return f"{'equivalent' if self.equivalent else 'not found'}: {self.why}"


def read_survivors() -> dict[str, Judged]:
    """The judgments by mutant."""
    judged: dict[str, Judged] = {}
    for line in SURVIVORS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, sign, why = line.split(maxsplit=2)
            judged[name] = Judged(name, equivalent=sign == "=", why=why)
    return judged
