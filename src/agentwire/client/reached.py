"""What a run has reached, as its driver counts it and whoever watches reads it."""

from __future__ import annotations

import attrs

from agentwire.client.calls import Calls
from agentwire.client.nesting import Nest
from agentwire.client.outcomes import RunSummary
from agentwire.client.turn import Turn
from agentwire.protocol.response import Response, Usage

__all__ = ["Reached"]


@attrs.define(eq=False)
class Reached:
    """What a run has reached.

    Attributes:
        turns: model turns that have begun.
        lost: those whose answer was lost, each as often as it was.
        repeated: how often one of them was asked again.
        turn: the latest one.
        response: the latest response that ended.
        usage: of all turns.
        recorded: the text that an earlier process has had.
        nest: what the runs in its tools see of it.
    """

    turns: int = 0
    lost: int = 0
    repeated: int = 0
    turn: Turn | None = None
    response: Response | None = None
    usage: Usage = attrs.field(factory=Usage)
    recorded: str = ""
    nest: Nest = attrs.field(factory=Nest)

    @property
    def text(self) -> str:
        """What the model has written in its latest turn."""
        return self.turn.text if self.turn is not None else self.recorded

    def summary(self, calls: Calls) -> RunSummary:
        """The same, and what the calls came to."""
        return RunSummary(
            turns=self.turns,
            text=self.text,
            response=self.response,
            usage=self.usage,
            sub_usage=self.nest.usage,
            results=calls.results,
            unfinished=calls.unfinished,
            lost=self.lost,
            repeated=self.repeated,
        )
