"""Changes to what a turn says, from which deeds are made; a refusal is left as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from agentwire.testing.hostile.scene import Scene
from agentwire.testing.hostile.steps import Plan, Step, Tell
from agentwire.testing.hostile.telling import TERMINAL

__all__ = ["Change", "after", "before", "cut", "each_event", "evolved", "instead", "is_terminal", "on_steps"]

Change = Callable[[Plan, Scene], Plan]


def on_steps(change: Callable[[list[Step]], list[Step]]) -> Change:
    """A change of what is said; what is refused stays refused."""

    def changed(plan: Plan, _: Scene) -> Plan:
        return change(plan) if isinstance(plan, list) else plan

    return changed


def is_terminal(step: Step) -> bool:
    """Whether this event ends its response."""
    return isinstance(step, Tell) and step.event.get("type") in TERMINAL


def cut(*then: Step, at: str | int = ".delta") -> Change:
    """Say only so much, and then something else.

    Args:
        then: what is done instead of the rest.
        at: events that are said, or the end of the type of the last one of them.
    """

    @on_steps
    def change(steps: list[Step]) -> list[Step]:
        told = 0
        for place, step in enumerate(steps):
            if told == at:
                return [*steps[:place], *then]
            if isinstance(step, Tell):
                told += 1
                if isinstance(at, str) and str(step.event.get("type")).endswith(at):
                    return [*steps[: place + 1], *then]
        return [*steps[:-1], *then]

    return change


def instead(*then: Step) -> Change:
    """Say nothing of it."""
    return lambda _plan, _scene: list(then)


def after(*then: Step) -> Change:
    """Do something once all is said."""
    return on_steps(lambda steps: [*steps, *then])


def before(*first: Step) -> Change:
    """Do something first."""
    return on_steps(lambda steps: [*first, *steps])


def each_event(change: Callable[[Tell], Sequence[Step]]) -> Change:
    """Something else for each event."""

    @on_steps
    def changed(steps: list[Step]) -> list[Step]:
        found: list[Step] = []
        for step in steps:
            found += change(step) if isinstance(step, Tell) else [step]
        return found

    return changed


def evolved(step: Tell, **members: Any) -> Tell:
    """The same event with other members; one that is None is left out."""
    event = {
        name: value for name, value in {**step.event, **members}.items() if value is not None or name not in members
    }
    return attrs.evolve(step, event=event)
