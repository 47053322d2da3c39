"""What is true of every run, whatever goes wrong in it: named rules, one function each, and all of them at once.

Each takes what happened on one connection (a journal, a network's trace, or a list of events) and raises
`InvariantBroken` with the events that show it.
"""

from __future__ import annotations

from collections.abc import Mapping

from agentwire.testing.journal import Happened, InvariantBroken, entries
from agentwire.testing.wire_rules import (
    contiguous_numbers,
    deltas_match_done,
    echoes_lane,
    exact_codes,
    lane_fifo,
    legal_order,
    nothing_after_terminal,
    one_terminal,
)
from agentwire.testing.work_rules import bounded, cancelled_within, tool_once, tools_awaited

__all__ = [
    "InvariantBroken",
    "bounded",
    "cancelled_within",
    "check_all",
    "contiguous_numbers",
    "deltas_match_done",
    "echoes_lane",
    "exact_codes",
    "lane_fifo",
    "legal_order",
    "nothing_after_terminal",
    "one_terminal",
    "tool_once",
    "tools_awaited",
]


def check_all(
    happened: Happened,
    *,
    complete: bool = True,
    cancelled_after: float | None = None,
    limits: Mapping[str, int] | None = None,
) -> None:
    """Every rule of this module.

    Args:
        complete: False if the connection may have been cut before everything was said.
        cancelled_after: for `cancelled_within`, which is left out without it.
        limits: for `bounded`.

    Raises:
        InvariantBroken: the first rule that does not hold.
    """
    told = entries(happened)
    for rule in (nothing_after_terminal, contiguous_numbers, echoes_lane, lane_fifo, deltas_match_done, exact_codes):
        rule(told)
    one_terminal(told, complete=complete)
    legal_order(told, complete=complete)
    tool_once(told)
    tools_awaited(told)
    if cancelled_after is not None:
        cancelled_within(told, cancelled_after)
    bounded(told, limits or {})
