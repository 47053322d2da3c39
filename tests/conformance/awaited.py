"""Cases and rules of what is not there yet; each line goes when its feature comes."""

from __future__ import annotations

AWAITED = frozenset(
    (
        # output
        "AW-T-007",
    )
)
