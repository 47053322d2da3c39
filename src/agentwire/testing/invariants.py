"""What is true of every run, whatever goes wrong in it: named rules, one function each, and all of them at once.

Each takes what happened (a journal, a network's trace, a recorded one, or a list of events) and raises
`InvariantBroken` with the events that show it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Final

from agentwire.testing.chain_rules import (
    evicted_after_failure,
    history_equivalence,
    outputs_answer_calls,
    tenant_isolation,
)
from agentwire.testing.entry import InvariantBroken
from agentwire.testing.journal import Happened, entries
from agentwire.testing.life_rules import honest_close, no_turn_lost_in_drain, nothing_leaked, requests_answered
from agentwire.testing.trace import Trace
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
from agentwire.testing.wires import Recorded
from agentwire.testing.work_rules import bounded, cancelled_within, tool_once, tools_awaited

__all__ = [
    "INVARIANTS",
    "InvariantBroken",
    "bounded",
    "cancelled_within",
    "check_all",
    "contiguous_numbers",
    "deltas_match_done",
    "each_broken",
    "echoes_lane",
    "evicted_after_failure",
    "exact_codes",
    "history_equivalence",
    "honest_close",
    "lane_fifo",
    "legal_order",
    "no_turn_lost_in_drain",
    "nothing_after_terminal",
    "nothing_leaked",
    "one_terminal",
    "outputs_answer_calls",
    "requests_answered",
    "tenant_isolation",
    "tool_once",
    "tools_awaited",
]

INVARIANTS: Final[Mapping[str, Callable[..., None]]] = {
    rule.__name__: rule
    for rule in (
        nothing_after_terminal,
        contiguous_numbers,
        echoes_lane,
        lane_fifo,
        deltas_match_done,
        exact_codes,
        one_terminal,
        legal_order,
        requests_answered,
        honest_close,
        outputs_answer_calls,
        history_equivalence,
        evicted_after_failure,
        tenant_isolation,
        tool_once,
        tools_awaited,
        cancelled_within,
        bounded,
        no_turn_lost_in_drain,
        nothing_leaked,
    )
}
"""All of them by name, in the order in which `check_all` goes through them."""

_MAY_BE_INCOMPLETE: Final = ("one_terminal", "legal_order", "requests_answered")


def check_all(
    *happened: Happened,
    complete: bool = True,
    cancelled_after: float | None = None,
    limits: Mapping[str, int] | None = None,
    without: Collection[str] = (),
) -> None:
    """Every rule of this module.

    Args:
        happened: what happened; several records are put together, by the clock.
        complete: False if connections may have been cut without a trace of it. A `Trace` knows what was cut, and
            whether it is whole itself.
        cancelled_after: for `cancelled_within`, which is left out without it.
        limits: for `bounded`.
        without: names of rules that do not apply, such as ``evicted_after_failure`` for a generous server.

    Raises:
        InvariantBroken: the first rule that does not hold.
        ValueError: there is no rule of a name in ``without``.
    """
    for broken in each_broken(
        *happened, complete=complete, cancelled_after=cancelled_after, limits=limits, without=without
    ):
        raise broken


def each_broken(
    *happened: Happened,
    complete: bool = True,
    cancelled_after: float | None = None,
    limits: Mapping[str, int] | None = None,
    without: Collection[str] = (),
) -> Iterator[InvariantBroken]:
    """Like `check_all`, but tells every rule that does not hold, each with the first place where it is broken."""
    if unknown := set(without) - set(INVARIANTS):
        raise ValueError(f"there are no invariants {', '.join(sorted(unknown))}; there are {', '.join(INVARIANTS)}")
    rules: dict[str, Callable[..., None]] = {**INVARIANTS, "bounded": partial(bounded, limits=limits or {})}
    complete = complete and not any(isinstance(one, Trace) and not one.is_whole for one in happened)
    for name in _MAY_BE_INCOMPLETE:
        rules[name] = partial(rules[name], complete=complete)
    if cancelled_after is None:
        del rules["cancelled_within"]
    else:
        rules["cancelled_within"] = partial(cancelled_within, seconds=cancelled_after)
    recorded = Recorded(entries(*happened))
    for name, rule in rules.items():
        if name not in without:
            try:
                rule(recorded)
            except InvariantBroken as broken:
                yield broken
