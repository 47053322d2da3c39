"""The scenarios, numbered: what the server does, what the program is to do, and which rules are looked at.

In each of them a client must come to an end, say what is true, run no tool twice and send nothing that is not valid;
whether it also has to finish its task is said by each one.
"""

from __future__ import annotations

from typing import Final, Literal

import attrs

from agentwire.testing.clients.judging import RULES, Rule
from agentwire.testing.hostile import cue
from agentwire.testing.hostile.clerk import Clerk, right_answer, task_of

__all__ = ["ALWAYS", "SCENARIOS", "TOPICS", "Need", "Scenario"]

Finishes = Literal["must", "should", "need not"]
Need = Literal["websocket", "tasks", "cancel"]

ALWAYS: Final = (
    "ends",
    "error_is_clear",
    "answer_is_right",
    "tool_runs_once",
    "sends_what_is_valid",
    "does_not_storm",
    "leaves_what_is_poisoned",
)
"""Names of the rules that are looked at in every scenario."""


@attrs.frozen(kw_only=True)
class Scenario:
    """One scenario.

    Attributes:
        number: stable, such as ``AWK-001``; never given to another one.
        name: in code.
        topic: under which heading it is told.
        title: what the server does, in a line.
        deeds: what is done, as `agentwire.testing.hostile.cue` reads it.
        finishes: whether a client has to finish its task in spite of it.
        pages: the first and the last page of each task.
        at_once: calls in one response.
        clerk: what the model is like.
        tool_seconds: that each run of the tool takes.
        tool_size: characters of what it returns.
        stores: whether the server stores responses.
        extra: seconds beyond the usual deadline.
        needs: what there must be for it.
        cancel_after: seconds after which the program is to cancel.
        sources: where it was seen, besides the reports of its deeds.
    """

    number: str
    name: str
    topic: str
    title: str
    deeds: tuple[str, ...] = ()
    finishes: Finishes = "should"
    pages: tuple[tuple[int, int], ...] = ((1, 3),)
    at_once: int = 1
    clerk: Clerk = attrs.field(factory=Clerk)
    tool_seconds: float = 0.0
    tool_size: int = 0
    stores: bool = False
    extra: float = 0.0
    needs: tuple[Need, ...] = ()
    cancel_after: float | None = None
    sources: tuple[str, ...] = ()

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the program is told."""
        return tuple(task_of(first, last, at_once=self.at_once) for first, last in self.pages)

    @property
    def answers(self) -> tuple[str, ...]:
        """What it should print."""
        return tuple(right_answer(first, last) for first, last in self.pages)

    @property
    def reports(self) -> tuple[str, ...]:
        """Where this was seen."""
        return tuple(dict.fromkeys((*self.sources, *(each for deed in self.deeds for each in cue(deed).deed.reports))))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """What is looked at, the weightiest first."""
        names = list(ALWAYS)
        if self.cancel_after is not None:
            names.insert(0, "tools_end_with_their_run")
        elif self.finishes == "must":
            names.insert(0, "takes_what_is_legal")
        elif self.finishes == "should":
            names.append("finishes")
        if len(self.pages) > 1:
            names.append("works_side_by_side")
        return tuple(RULES[name] for name in names)


TOPICS: Final = (
    "The task itself",
    "Getting connected",
    "Silence",
    "Lost connections",
    "Lost conversations",
    "Errors",
    "Order of events",
    "Broken messages",
    "Cancelling, and work side by side",
)

SCENARIOS: Final[dict[str, Scenario]] = {}
"""Every scenario, by number, in the order in which they are run."""
