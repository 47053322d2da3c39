"""The desk: what a session does with what its client asks, as rules without I/O, clock or randomness.

Requests queue in lanes, first come first served; where permits are short, the lane that could have gone on first does.
A lane remembers its latest response, and how a turn ends decides what is remembered. This is the only place where these
rules stand.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from agentwire.protocol.errors import RequestError
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import Envelope
from agentwire.protocol.transcript import Node

__all__ = ["MEMORY", "TICKETS", "Desk", "DeskStatistics", "Lane", "Memory", "Outcome", "Say", "State", "Ticket"]


class State(enum.Enum):
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


class Outcome(enum.Enum):
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
    """One ordered lane of a connection; the default lane has no name."""

    name: str | None
    queue: deque[Ticket] = attrs.field(factory=deque)
    current: Ticket | None = None
    latest: Node | None = None


@attrs.define(eq=False)
class Ticket:
    """One accepted ``response.create`` on its way: the raw message, its lane, and the parent once it is pinned."""

    lane: Lane
    envelope: Envelope
    frame: bytes
    state: State = State.QUEUED
    parent: Node | None = None
    response_id: str | None = None

    def move(self, state: State) -> None:
        """Go on to the next state; only along `TICKETS`."""
        if state not in TICKETS[self.state]:
            raise ValueError(f"a request that is {self.state.value} cannot become {state.value}")
        self.state = state


@attrs.frozen
class Say:
    """An event that answers at once.

    Attributes:
        event: what to say.
        stream_id: the lane that it is about; None for the default lane, or none at all.
        ticket: the running request that it is about: it takes its number among that one's events.
    """

    event: Mapping[str, Any]
    stream_id: str | None = None
    ticket: Ticket | None = None


@attrs.frozen
class DeskStatistics:
    """A snapshot of one desk."""

    lanes: int
    running: int
    queued: int
    queued_bytes: int


class Desk:
    """The rules of one session.

    Args:
        limits: how many lanes, running turns, waiting requests and waiting bytes.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lanes: dict[str | None, Lane] = {}
        self._turn: deque[Lane] = deque()  # idle lanes with something to run, longest wait first
        self._running: dict[Ticket, None] = {}
        self._queued = 0
        self._queued_bytes = 0
        self._closed: RequestError | None = None

    # Coming in

    def submit(self, envelope: Envelope, frame: bytes) -> Ticket | Say | None:
        """Take one client event: a ticket that now waits in its lane, an answer, or nothing to do.

        Call `start` afterwards for what may run.

        Raises:
            RequestError: it is refused; the connection stays open and nothing has changed.
        """
        match envelope.type:
            case "response.create":
                return self._enqueue(envelope, frame)
            case "response.steer":
                return self._judge_steer(envelope)
            case "response.inject":
                return self._judge_inject(envelope)
            case "response.processed":
                return None
        message = f"Unknown event type {envelope.type!r}; this server takes response.create and response.steer."
        raise RequestError(400, "unknown_event_type", message, param="type")

    def _enqueue(self, envelope: Envelope, frame: bytes) -> Ticket:
        if self._closed is not None:
            raise self._closed
        limits = self._limits
        full = self._queued >= limits.queued or self._queued_bytes + len(frame) > limits.queued_bytes
        if full and self._queued:  # a message larger than the queue passes alone: its own bound is another one
            message = f"{self._queued} requests ({self._queued_bytes} bytes) wait on this connection; let some finish."
            raise RequestError(429, "websocket_queue_full", message, headers={"retry-after": "1"})
        lane = self._lane(envelope.stream_id)
        ticket = Ticket(lane, envelope, frame)
        lane.queue.append(ticket)
        self._queued += 1
        self._queued_bytes += len(frame)
        if lane.current is None and len(lane.queue) == 1:
            self._turn.append(lane)
        return ticket

    def _lane(self, name: str | None) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            if name is not None and len(self._lanes) - (None in self._lanes) >= self._limits.lanes:
                message = (
                    f"This connection has its {self._limits.lanes} streams; use one of them or open another connection."
                )
                raise RequestError(400, "websocket_stream_limit_reached", message, param="stream_id")
            lane = self._lanes[name] = Lane(name)
        return lane

    def refuse(self, why: RequestError | None) -> None:
        """From now on refuse new requests with this error; None takes them again. What waits may still run."""
        self._closed = why

    # Running

    def start(self) -> Iterator[Ticket]:
        """The requests that may run now, as far as there are permits; each is running when it is given out."""
        while self._turn and len(self._running) < self._limits.running:
            lane = self._turn.popleft()
            ticket = lane.current = lane.queue.popleft()
            self._queued -= 1
            self._queued_bytes -= len(ticket.frame)
            self._running[ticket] = None
            ticket.move(State.RUNNING)
            yield ticket

    def find_parent(self, ticket: Ticket) -> Node | None:
        """The parent that a running request names, if some lane has it as its latest response; it is pinned then."""
        wanted = ticket.envelope.previous_response_id
        for lane in self._lanes.values():
            if lane.latest is not None and lane.latest.response_id == wanted:
                ticket.parent = lane.latest
                return lane.latest
        return None

    def settle(self, ticket: Ticket, outcome: Outcome, node: Node | None = None) -> None:
        """How this turn ended; what its lane remembers follows from `MEMORY`. ``node`` is what came of it."""
        ticket.move(State.SETTLED)
        lane, memory = ticket.lane, MEMORY[outcome]
        if memory is Memory.REMEMBER:
            lane.latest = node
        elif memory is Memory.EVICT and self._ended(ticket.envelope.previous_response_id) is lane:
            lane.latest = None

    def release(self, ticket: Ticket) -> None:
        """Its last event is on its way: the lane and the permit are free for the next one."""
        ticket.move(State.GONE)
        lane = ticket.lane
        lane.current = None
        del self._running[ticket]
        if lane.queue:
            self._turn.append(lane)

    def drop_queued(self) -> int:
        """Forget every request that has not started; returns how many those were."""
        dropped = 0
        for lane in self._lanes.values():
            for ticket in lane.queue:
                ticket.move(State.GONE)
                dropped += 1
            lane.queue.clear()
        self._turn.clear()
        self._queued = self._queued_bytes = 0
        return dropped

    # Interrupting

    def running(self, response_id: str | None) -> Ticket | None:
        """The running request that makes this response."""
        for ticket in self._running:
            if response_id is not None and ticket.response_id == response_id and ticket.state is State.RUNNING:
                return ticket
        return None

    def _ended(self, response_id: str | None) -> Lane | None:
        """The lane whose latest response this is."""
        for lane in self._lanes.values():
            if lane.latest is not None and lane.latest.response_id == response_id:
                return lane
        return None

    def _judge_steer(self, envelope: Envelope) -> Say:
        """A steer may interrupt only what runs and can be steered; no engine can, yet, and the input goes back."""
        wanted = envelope.previous_response_id
        ticket, ended = self.running(wanted), self._ended(wanted)
        if ticket is not None:
            code, message = "steering_not_supported", "This model cannot be steered."
        elif ended is not None:
            code, message = "response_already_completed", f"Response {wanted} has ended; send a response.create."
        else:
            code, message = "response_not_found", f"No running response {wanted} here."
        event = {
            "type": "response.steer.failed",
            "error": {"type": "invalid_request_error", "code": code, "message": message},
            "steer": {"previous_response_id": wanted, "input": envelope.input},
        }
        return _say(event, ticket, ended)

    def _judge_inject(self, envelope: Envelope) -> Say:
        """Nothing here waits for injected input; it is handed back."""
        wanted = envelope.response_id
        ticket, ended = self.running(wanted), self._ended(wanted)
        code = "response_already_completed" if ended is not None else "response_not_found"
        event = {
            "type": "response.inject.failed",
            "response_id": wanted,
            "input": envelope.input,
            "error": {"code": code, "message": f"No response {wanted} waits for input here; send a response.create."},
        }
        return _say(event, ticket, ended)

    def statistics(self) -> DeskStatistics:
        """Lanes and requests at this moment."""
        return DeskStatistics(len(self._lanes), len(self._running), self._queued, self._queued_bytes)


def _say(event: Mapping[str, Any], ticket: Ticket | None, ended: Lane | None) -> Say:
    """Say it where it belongs: in the order of what runs, or on the lane of what has ended."""
    lane = ticket.lane if ticket is not None else ended
    return Say(event, lane.name if lane is not None else None, ticket)
