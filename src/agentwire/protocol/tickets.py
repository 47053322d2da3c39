"""Requests on their way, the lanes they wait in, and what a lane remembers when one has ended: as tables.

Nothing here decides what happens next; `agentwire.protocol.desk` does, by these tables.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Mapping
from typing import Final

import attrs

from agentwire.protocol.request import CreateRequest, Envelope
from agentwire.protocol.steering import Steer
from agentwire.protocol.transcript import Memo, Node

__all__ = ["MEMORY", "TICKETS", "Lane", "Memory", "Outcome", "State", "Ticket"]


class State(enum.StrEnum):
    """Where a request is on its way through the desk."""

    QUEUED = "queued"
    RUNNING = "running"
    SETTLED = "settled"
    GONE = "gone"


TICKETS: Final[Mapping[State, frozenset[State]]] = {
    State.QUEUED: frozenset((State.RUNNING, State.GONE)),
    State.RUNNING: frozenset((State.SETTLED,)),
    State.SETTLED: frozenset((State.GONE,)),
    State.GONE: frozenset(),
}
"""The life of a request: the states that may follow each state. Settled: its end is decided, its lane not yet free."""


class Outcome(enum.StrEnum):
    """How a turn ended."""

    COMPLETED = "completed"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    REFUSED = "refused"
    NOT_FOUND = "previous_response_not_found"
    CANCELLED = "cancelled"


class Memory(enum.Enum):
    """What the end of a turn does to its lane's latest response."""

    REMEMBER = "the lane's latest response is this one"
    EVICT = "if the turn continued the lane's own latest response, the lane has none now"
    KEEP = "nothing changes"


MEMORY: Final[Mapping[Outcome, Memory]] = {
    Outcome.COMPLETED: Memory.REMEMBER,
    Outcome.INCOMPLETE: Memory.REMEMBER,
    Outcome.FAILED: Memory.EVICT,
    Outcome.REFUSED: Memory.EVICT,
    Outcome.NOT_FOUND: Memory.KEEP,
    Outcome.CANCELLED: Memory.KEEP,
}
"""What is remembered after each outcome (Responses WebSocket guide, "errors"; Open Responses, cache eviction).

A failed fork from another lane changes nothing: the parent is not its own lane's latest response.
"""


@attrs.define(eq=False)
class Lane:
    """One ordered lane of a connection; the default lane has no name.

    Attributes:
        name: its ``stream_id``.
        kept: the responses that can be continued, oldest first: the latest one, or some more where that is allowed.
        queue: what waits.
        current: what runs, or has ended and is not yet released.
        steers: input that waits for whoever continues the response that it names, which is one of those kept.
        memo: a cell for what its turns show alike.
    """

    name: str | None
    kept: deque[Node] = attrs.field(factory=lambda: deque(maxlen=1))
    queue: deque[Ticket] = attrs.field(factory=deque)
    current: Ticket | None = None
    steers: tuple[Steer, ...] = ()
    memo: Memo = attrs.field(factory=Memo)

    def find(self, response_id: str | None) -> Node | None:
        """A response that it remembers."""
        for node in self.kept:
            if node.response_id == response_id:
                return node
        return None


@attrs.define(eq=False)
class Ticket:
    """One accepted ``response.create``, or the successor of a steered response, on its way.

    Attributes:
        lane: where it waits and runs.
        envelope: what was read of it when it came.
        frame: the message, until it is read as a whole.
        state: how far it has come.
        parent: what it continues, once that is found; kept for it, whatever its lane does.
        request: what was asked, once it is read. A successor has it from the beginning.
        response_id: of the response, once there is one.
        steerable: whether a steer may interrupt it.
        automatic: nobody asked for it: it is the successor of a steered response.
        steers: those that were accepted for its response.
        brought: those that stand in front of its input; they are the client's again if it never becomes a response.
        orphans: those that can reach no response any more by what became of this request.
        node: what came of it, if that can be continued.
    """

    lane: Lane
    envelope: Envelope
    frame: bytes
    state: State = State.QUEUED
    parent: Node | None = None
    request: CreateRequest | None = None
    response_id: str | None = None
    steerable: bool = False
    automatic: bool = False
    steers: tuple[Steer, ...] = ()
    brought: tuple[Steer, ...] = ()
    orphans: tuple[Steer, ...] = ()
    node: Node | None = None

    def move(self, state: State) -> None:
        """Go on to the next state; only along `TICKETS`."""
        if state not in TICKETS[self.state]:
            raise ValueError(f"a request that is {self.state.value} cannot become {state.value}")
        self.state = state
