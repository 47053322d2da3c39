"""How a run ends other than well: each error says what was reached, so that nothing that was done is lost.

A tool call that ended has its result here; one that was cut off is listed, because only its own effects can tell what
it did.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from agentwire.client.calls import Call
from agentwire.link import Fate, RequestLost
from agentwire.protocol.errors import AgentwireError, ConnectionEnded
from agentwire.protocol.items import OpaqueItem
from agentwire.protocol.response import Response, Usage
from agentwire.runtime.tools import ToolResult

__all__ = ["CallUnanswerable", "CallUnknown", "RunLost", "RunSummary", "TurnsExhausted"]


@attrs.frozen(kw_only=True)
class RunSummary:
    """What a run reached.

    Attributes:
        turns: model turns that began.
        text: the text of the last one.
        response: the last response that ended; None if none did.
        usage: of all turns together.
        sub_usage: of the runs in its tools, and in theirs, that have ended.
        results: by call id, what came of the tool calls that ended by themselves.
        unfinished: calls that were started and cut off.
        lost: turns whose answer was lost with its connection, each as often as it was.
        repeated: how often such a turn was asked again.
    """

    turns: int
    text: str
    response: Response | None
    usage: Usage
    results: Mapping[str, ToolResult]
    unfinished: tuple[Call, ...]
    lost: int = 0
    repeated: int = 0
    sub_usage: Usage = attrs.field(factory=Usage)


class RunLost(RequestLost):
    """A turn of the run was lost for good; its tools were cancelled or have finished, as the client's policy says.

    Args:
        end: how the connection ended.
        fate: how far the last turn had come.
        response_id: of the last response that had begun.
        summary: what the run had reached, completed tool results among it.
    """

    def __init__(self, end: ConnectionEnded, *, fate: Fate, response_id: str | None, summary: RunSummary) -> None:
        super().__init__(end, fate=fate, response_id=response_id)
        self.summary = summary


class TurnsExhausted(AgentwireError):
    """The model still called tools after ``max_turns`` turns; their outputs were not sent.

    Args:
        max_turns: the bound.
        summary: what the run had reached.
    """

    def __init__(self, max_turns: int, summary: RunSummary) -> None:
        super().__init__(f"the model was not done after {max_turns} turns; allow more of them, or go on from here")
        self.max_turns = max_turns
        self.summary = summary


class CallUnanswerable(AgentwireError):
    """The model asks for something that no function can answer, such as a computer action or an approval.

    Args:
        item: what it asks for; continue from ``summary.response`` with your own answer.
        summary: what the run had reached.
    """

    def __init__(self, item: OpaqueItem, summary: RunSummary) -> None:
        super().__init__(f"a run cannot answer an item of type {item.type!r}; answer it with a turn of your own")
        self.item = item
        self.summary = summary


class CallUnknown(AgentwireError):
    """Calls were running when their process died, under ``unknown="raise"``: nobody knows what they did.

    Find out, and start the run again with ``unknown="tell"``: the model is then told what nobody knows.

    Args:
        calls: these.
    """

    def __init__(self, calls: tuple[Call, ...]) -> None:
        told = ", ".join(f"{call.name} ({call.call_id})" for call in calls)
        super().__init__(f"nobody knows whether these calls took effect, as the process that ran them died: {told}")
        self.calls = calls
