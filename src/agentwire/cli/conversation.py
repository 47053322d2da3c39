"""What a conversation sends next: the response that it continues, and what was said since that one.

The client remembers the rest, and says it in full wherever the server does not have it any more. An answer that was cut
off leaves what came before it: every exchange that is complete, a tool call never without its output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from agentwire.protocol.items import (
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    Message,
)
from agentwire.protocol.response import Response
from agentwire.runtime.tools import ToolResult

__all__ = ["Conversation"]


@attrs.define
class Conversation:
    """How far it has come.

    Attributes:
        previous: the response to continue; None as long as there is none.
        unanswered: what was said after it.
    """

    previous: str | None = None
    unanswered: list[Item] = attrs.field(factory=list)

    def say(self, text: str) -> Sequence[Item]:
        """The person says something; returns what is to be sent."""
        self.unanswered.append(Message("user", text))
        return tuple(self.unanswered)

    def settle(self, responses: Sequence[Response], results: Mapping[str, ToolResult]) -> None:
        """The run that answers is over, well or not.

        Args:
            responses: those that ended in it, in order.
            results: by call id, what came of the calls in them.
        """
        for response in responses:
            calls = [item for item in response.output if isinstance(item, FunctionCall | CustomToolCall)]
            if any(call.call_id not in results for call in calls):
                break
            self.previous = response.id
            self.unanswered = [_output(call, results[call.call_id]) for call in calls]


def _output(call: FunctionCall | CustomToolCall, result: ToolResult) -> Item:
    kind = FunctionCallOutput if isinstance(call, FunctionCall) else CustomToolCallOutput
    return kind(call.call_id, result.output)
