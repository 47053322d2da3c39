"""What an engine is asked, made of a request and of what it continues."""

from __future__ import annotations

from collections.abc import Sequence

from agentwire.protocol import copying
from agentwire.protocol.items import Item
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.transcript import History, Memo, Node
from agentwire.runtime.contracts import Ask, use_nothing
from agentwire.runtime.service import Service
from agentwire.runtime.tools.roster import Roster

__all__ = ["ask_of", "has_trigger"]

TRIGGER = "compaction_trigger"


def has_trigger(request: CreateRequest) -> bool:
    """Whether the client asks for a compaction now, with the last item of its input."""
    return bool(request.input) and request.input[-1].type == TRIGGER


def ask_of(
    service: Service,
    request: CreateRequest,
    parent: Node | None,
    *,
    principal: str,
    response_id: str,
    made: Sequence[Item] = (),
    step: int = 0,
    memo: Memo | None = None,
    roster: Roster | None = None,
) -> Ask:
    """What an engine is asked in one step.

    Args:
        service: engine, sources and bounds.
        request: what the client asks, references resolved.
        parent: what it continues.
        principal: who asks.
        response_id: the response that is made.
        made: the items of that response so far.
        step: how many engine steps it has behind it.
        memo: goes with the conversation; an empty one if left out.
        roster: the turn's tools; the client's and the server's own functions if left out.
    """
    if roster is None:
        roster = Roster.of(request.tools, service.own)
    choice = roster.choose(request.tool_choice)
    new = request.input[:-1] if has_trigger(request) else request.input
    members = {
        "request": request,
        "items": History(parent, (*new, *made)),
        "new_items": new,
        "tools": roster.tools,
        "response_id": response_id,
        "root_id": parent.root_id if parent is not None else response_id,
        "principal": principal,
        "step": step,
        "sources": service.sources,
        "limits": service.limits,
        "choice": choice if choice is not request.tool_choice else None,
        "names": roster.names,
        "used_tokens": 0,
        "memo": memo or Memo(),
        "use": use_nothing,
    }
    return copying.made(Ask, members)
