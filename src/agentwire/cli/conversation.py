"""A conversation as its client keeps it, so that it outlives a connection.

While a connection lasts, only what is new is sent. After a hang-up the next message takes the whole history with it:
every exchange that is complete, a tool call never without its output.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from agentwire.client import Step, ToolFinished, TurnFinished
from agentwire.protocol.items import (
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    Message,
    Reasoning,
)
from agentwire.protocol.response import Response
from agentwire.runtime.tools import ToolResult

__all__ = ["Conversation"]


@attrs.define
class Conversation:
    """What was said, and what of it the server still has.

    Attributes:
        items: the history, oldest first.
        previous: the response to continue; None if the server has nothing of it.
    """

    items: list[Item] = attrs.field(factory=list)
    previous: str | None = None
    _responses: list[Response] = attrs.field(factory=list)
    _results: dict[str, ToolResult] = attrs.field(factory=dict)

    def say(self, text: str) -> Sequence[Item]:
        """The person says something; returns what is to be sent."""
        message = Message("user", text)
        self._responses.clear()
        self._results.clear()
        self.items.append(message)
        return (message,) if self.previous is not None else tuple(self.items)

    def take(self, step: Step) -> None:
        """Something happened in the run that answers."""
        match step:
            case ToolFinished():
                self._results[step.call.call_id] = step.result
            case TurnFinished():
                self._responses.append(step.response)

    def settle(self, *, connected: bool) -> None:
        """The run is over, well or not.

        Args:
            connected: whether the connection goes on, and every call in the last response has been answered.
        """
        for response in self._responses:
            calls = [item for item in response.output if isinstance(item, FunctionCall | CustomToolCall)]
            if any(call.call_id not in self._results for call in calls):
                break
            self.items += [item for item in response.output if _stands_alone(item)]
            self.items += [_output(call, self._results[call.call_id]) for call in calls]
        self.previous = self._responses[-1].id if connected and self._responses else None


def _stands_alone(item: Item) -> bool:
    """Whether a server that has forgotten the rest can read it: not so reasoning that is only named."""
    return not isinstance(item, Reasoning) or item.encrypted_content is not None


def _output(call: FunctionCall | CustomToolCall, result: ToolResult) -> Item:
    if isinstance(call, FunctionCall):
        return FunctionCallOutput(call.call_id, result.output)
    return CustomToolCallOutput(call.call_id, result.output)
