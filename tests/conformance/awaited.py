"""Cases and rules of what is not there yet; each line goes when its feature comes."""

from __future__ import annotations

AWAITED = frozenset(
    (
        # references to stored items, stores
        "references_stand_for_items",
        "AW-R-009",
        # output
        "AW-T-007",
        # steering
        "a_steer_takes_user_messages",
        "a_steered_response_has_a_successor",
        "a_successor_goes_before_what_waits",
        "a_steer_waits_for_the_outputs",
        "AW-G-006",
        "AW-G-008",
        "AW-G-014",
        "AW-G-015",
        "AW-G-017",
        "AW-S-028",
    )
)
