"""How far a plan has come: its steps, replayed against what the conversation says was called.

Nothing is remembered between turns. What a step asks for follows from its text and from the outputs before it, so the
same conversation gives the same next calls, on any process, after any fork. A call counts for the first step that
still waits for one of that tool.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from agentwire.engines.builtin.arguments import Context, Job, jobs_for
from agentwire.engines.builtin.facts import facts_of_json, parse_json
from agentwire.engines.builtin.plan import AT_ONCE, Plan, Step
from agentwire.engines.builtin.reading import Exchange
from agentwire.engines.builtin.references import Reference, targets_in

__all__ = ["Done", "Progress", "facts_in", "follow"]


@attrs.frozen
class Done:
    """A step that has been worked on.

    Attributes:
        step: the step.
        exchanges: its calls and their outputs.
        left_out: how many values of earlier outputs were more than a step takes.
    """

    step: Step
    exchanges: tuple[Exchange, ...] = ()
    left_out: int = 0


@attrs.frozen
class Progress:
    """Where a plan stands.

    Attributes:
        done: the steps that are done, and the one that is under way.
        next: the calls to make now; empty at the end of the plan.
        step: the step that they belong to.
        other: exchanges that belong to no step.
    """

    done: tuple[Done, ...]
    next: tuple[Job, ...] = ()
    step: Step | None = None
    other: tuple[Exchange, ...] = ()


def follow(
    plan: Plan, since: Sequence[Exchange], before: Sequence[Exchange], context: Context, *, parallel: bool = True
) -> Progress:
    """Replay a plan.

    Args:
        plan: what the message asks for.
        since: what was called since that message.
        before: what was called for the message before; a reference may mean it.
        context: where missing values come from.
        parallel: whether the client allows several calls at once.
    """
    waiting: dict[str, deque[Exchange]] = defaultdict(deque)
    for exchange in since:
        waiting[exchange.name].append(exchange)
    done: list[Done] = []
    pending: list[Job] = []
    first: Step | None = None
    for step in plan.steps:
        if pending and not (step.joined and parallel):
            break
        jobs, left_out = _jobs(step, done, before, context)
        queue = waiting[step.offer.name] if step.offer is not None else deque()
        made = tuple(queue.popleft() for _ in range(min(len(queue), len(jobs))))
        done.append(Done(step, made, left_out))
        rest = jobs[len(made) :]
        if rest:
            first = first or step
            pending += rest[: _share(step, parallel=parallel)]
    other = tuple(exchange for queue in waiting.values() for exchange in queue)
    return Progress(tuple(done), tuple(pending[: AT_ONCE if parallel else 1]), first, other)


def facts_in(exchanges: Sequence[Exchange]) -> Mapping[str, Any]:
    """The named values in outputs that are JSON; the latest output counts."""
    found: dict[str, Any] = {}
    for exchange in exchanges[-50:]:
        found |= facts_of_json(parse_json(exchange.output))
    return found


def _jobs(step: Step, done: Sequence[Done], before: Sequence[Exchange], context: Context) -> tuple[list[Job], int]:
    if step.offer is None:
        return [], 0
    if step.reference is None or not (before or any(earlier.exchanges for earlier in done)):
        return jobs_for(step.offer, step.text, context), 0
    values, left_out = _targets(step.reference, done, before)
    return jobs_for(step.offer, step.text, context, (step.reference.slot, values)), left_out


def _targets(reference: Reference, done: Sequence[Done], before: Sequence[Exchange]) -> tuple[list[Any], int]:
    """The values of the step that is named, or of the latest that has any."""
    if reference.step is not None:
        meant = [
            exchange for earlier in done if earlier.step.number == reference.step for exchange in earlier.exchanges
        ]
        return targets_in(reference, meant)
    for source in [*(earlier.exchanges for earlier in reversed(done)), before]:
        values, left_out = targets_in(reference, source)
        if values:
            return values, left_out
    return [], 0


def _share(step: Step, *, parallel: bool) -> int:
    """How many calls of a step go out at once: all that it enumerates, and one by one what it takes from outputs."""
    if not parallel:
        return 1
    return step.at_once or (1 if step.reference is not None else AT_ONCE)
