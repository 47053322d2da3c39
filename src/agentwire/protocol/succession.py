"""What becomes of steers: which are taken, and where they go when the response that they were sent to has ended.

They follow it as its successor, which nobody has to ask for; they wait if the client owes an answer first; and they go
back if neither can be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from agentwire.protocol.errors import RequestError
from agentwire.protocol.items import Item
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import Envelope
from agentwire.protocol.steering import Steer, failed, pending
from agentwire.protocol.tickets import State, Ticket

__all__ = ["conclude", "judge", "orphan", "take"]

Event = Mapping[str, Any]


def judge(
    target: Ticket | None, *, remembered: bool, closed: RequestError | None, waiting: int, size: int, limits: Limits
) -> str | None:
    """Why a steer is not taken, as one of `steering.CODES`; None if it is.

    Args:
        target: the request whose response it names, if that is not over yet.
        remembered: that response has ended, and can be continued.
        closed: why nothing new may begin here.
        waiting: bytes of all steers that wait on the connection.
        size: bytes of this one.
        limits: how many may wait.
    """
    if target is None:
        return "response_already_completed" if remembered else "response_not_found"
    if target.state is not State.RUNNING:
        return "response_already_completed" if target.node is not None else "response_not_active"
    if not target.steerable:
        return "steering_not_supported"
    if closed is not None:
        return "successor_creation_failed"
    if len(target.steers) >= limits.steers or (waiting and waiting + size > limits.queued_bytes):
        return "too_many_pending_steers"
    return None


def take(ticket: Ticket) -> tuple[Item, ...]:
    """What a request says in front of its own input: the steers that waited on its lane for whoever continues."""
    lane = ticket.lane
    if lane.steers and lane.steers[0].response_id == ticket.envelope.previous_response_id:
        ticket.brought, lane.steers = lane.steers, ()
    return tuple(message for steer in ticket.brought for message in steer.messages) if ticket.brought else ()


def orphan(ticket: Ticket) -> None:
    """A request is settled: find the steers that can reach no response any more."""
    lane = ticket.lane
    if ticket.response_id is None:
        ticket.orphans = ticket.brought
    if lane.steers and lane.find(lane.steers[0].response_id) is None:
        ticket.orphans, lane.steers = (*ticket.orphans, *lane.steers), ()


def conclude(ticket: Ticket, closed: RequestError | None, error: RequestError | None) -> tuple[list[Event], bool]:
    """A settled request has said its last word: what is to be said after it, and whether it has a successor now.

    The successor is the first in its lane, so that nothing comes in between.

    Args:
        ticket: settled.
        closed: why nothing new may begin here.
        error: why the request was refused or failed, if it was.
    """
    why = error.message if error is not None else "what it was to follow cannot be continued any more."
    events = [_hand_back(steer, why) for steer in ticket.orphans]
    steers, ticket.steers, ticket.orphans = ticket.steers, (), ()
    if not steers:
        return events, False
    if ticket.node is None or closed is not None:
        why = closed.message if closed is not None else why
        return [*events, *(_hand_back(steer, why) for steer in steers)], False
    ticket.lane.steers = steers
    owed = ticket.node.owed
    if not owed:
        ticket.lane.queue.appendleft(_successor(ticket))
        return events, True
    if not any(other.envelope.previous_response_id == ticket.response_id for other in ticket.lane.queue):
        events += [pending(steer, owed) for steer in steers]
    return events, False


def _successor(ticket: Ticket) -> Ticket:
    """A request that nobody sent, with the settings of the steered one; its input are the steers that wait for it."""
    assert ticket.request is not None
    lane, parent = ticket.lane, ticket.response_id
    request = attrs.evolve(ticket.request, previous_response_id=parent, input=())
    envelope = Envelope("response.create", lane.name, parent)
    return Ticket(lane, envelope, b"", request=request, automatic=True)


def _hand_back(steer: Steer, why: str) -> Event:
    return failed("successor_creation_failed", why, steer.response_id, steer.input, steer.id)
