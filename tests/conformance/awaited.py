"""Cases and rules of what is not there yet; each line goes when its feature comes."""

from __future__ import annotations

AWAITED = frozenset(
    (
        # references to stored items, stores
        "references_stand_for_items",
        "AW-R-009",
        # output
        "AW-T-007",
    )
)
