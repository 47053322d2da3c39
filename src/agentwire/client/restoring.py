"""A run that was begun before: what its journal says becomes what this run knows, and it goes on from there.

Results that are known are not worked for again. A call that was running when its process died is run again only if its
tool says that this is safe; otherwise nobody knows what it did, and that is what is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agentwire.client.calls import Call, Calls
from agentwire.client.journal import RunJournal
from agentwire.client.outcomes import CallUnknown
from agentwire.client.plan import Plan
from agentwire.protocol.items import CustomToolCall, FunctionCall, Item, answered_call, client_call
from agentwire.runtime.tools import ToolResult

__all__ = ["UNKNOWN", "calls_of", "is_to_run", "restore"]

UNKNOWN: Final = ToolResult.failed(
    "the process that ran this call died before it said what came of it. Nobody knows whether the call took effect, "
    "wholly, in part or not at all, and it was not run again; find out before you call it again",
    unknown=True,
)
"""What a model is told of a call whose outcome nobody knows."""


def is_to_run(call: Call) -> bool:
    """A call that was cut off by a limit has no arguments to run with, and some calls the server has run."""
    return call.status != "incomplete" and client_call(call) is not None


def calls_of(items: Sequence[Item]) -> list[Call]:
    """The calls to be answered, each id once: the first with it is the one that runs."""
    calls: dict[str, Call] = {}
    for item in items:
        if isinstance(item, FunctionCall | CustomToolCall) and is_to_run(item):
            calls.setdefault(item.call_id, item)
    return list(calls.values())


async def restore(journal: RunJournal, plan: Plan, calls: Calls) -> Sequence[Call]:
    """Take up the calls of a run; those that can run are started.

    Returns:
        The calls to be answered before the model is asked again.

    Raises:
        CallUnknown: nobody knows what a call did, and the plan says to raise then.
        JournalError: the journal cannot be written.
    """
    items = journal.items
    answered = {call_id for item in items if (call_id := answered_call(item)) is not None}
    over = journal.response is not None
    waiting = [] if over else [call for call in calls_of(items) if call.call_id not in answered]
    unknown = [call for call in waiting if _is_unknown(journal, plan, call)]
    if unknown and plan.unknown == "raise":
        raise CallUnknown(tuple(unknown))
    for call in unknown:
        await journal.finished(call, UNKNOWN)
    for call in calls_of(items):
        if (result := journal.outcome(call)) is not None:
            calls.restore(call, result)
    for call in waiting:
        calls.start(call)
    return waiting


def _is_unknown(journal: RunJournal, plan: Plan, call: Call) -> bool:
    """Whether it was started, did not come to its end, and must not run again."""
    if not journal.was_started(call) or journal.outcome(call) is not None:
        return False
    tool = plan.toolbox.tools.get(call.name)
    return tool is None or tool.rerun == "never"
