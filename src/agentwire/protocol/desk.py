"""The desk: what a session does with what its client asks, as rules without I/O, clock or randomness.

Requests queue in lanes, first come first served; where permits are short, the lane that could have gone on first does.
A lane remembers its latest response, and how a turn ends decides what is remembered, and what becomes of what the
client has added to it meanwhile. This is the only place where these rules stand; the tables are in `tickets`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from agentwire.protocol import steering, succession
from agentwire.protocol.errors import RequestError
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import Item
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import Envelope
from agentwire.protocol.steering import Steer
from agentwire.protocol.tickets import MEMORY, TICKETS, Lane, Memory, Outcome, State, Ticket
from agentwire.protocol.transcript import Node

__all__ = ["MEMORY", "TICKETS", "Desk", "DeskStatistics", "Lane", "Memory", "Outcome", "Say", "State", "Ticket"]

STEER_BITS = 128


@attrs.frozen
class Say:
    """An event that answers at once.

    Attributes:
        event: what to say.
        stream_id: the lane that it is about; None for the default lane, or none at all.
        ticket: the running request that it is about: it takes its number among that one's events.
        interrupts: that request is to end as soon as nothing is torn by it.
    """

    event: Mapping[str, Any]
    stream_id: str | None = None
    ticket: Ticket | None = None
    interrupts: bool = False


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
        sources: names steers.
        generous: lanes remember more than their latest response, and no failure makes them forget it.
    """

    def __init__(self, limits: Limits, sources: Sources, *, generous: bool = False) -> None:
        self._limits = limits
        self._sources = sources
        self._generous = generous
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
                return self._steer(envelope, len(frame))
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
            kept = self._limits.generous_responses if self._generous else 1
            lane = self._lanes[name] = Lane(name, deque(maxlen=kept))
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
        """The parent that a running request names, if some lane remembers it; it is pinned then."""
        found = self._remembered(ticket.envelope.previous_response_id)
        if found is not None:
            ticket.parent = found[1]
        return ticket.parent if found is not None else None

    def _remembered(self, response_id: str | None) -> tuple[Lane, Node] | None:
        """A response that can be continued, and the lane that it belongs to."""
        for lane in self._lanes.values():
            node = lane.find(response_id)
            if node is not None:
                return lane, node
        return None

    def take_steers(self, ticket: Ticket) -> tuple[Item, ...]:
        """What a running request says in front of its own input: steers that waited for it on its lane."""
        return succession.take(ticket)

    def settle(self, ticket: Ticket, outcome: Outcome, node: Node | None = None) -> None:
        """How this turn ended; what its lane remembers follows from `MEMORY`. ``node`` is what came of it."""
        ticket.move(State.SETTLED)
        lane, memory = ticket.lane, MEMORY[outcome]
        if memory is Memory.REMEMBER and node is not None:
            ticket.node = node
            lane.kept.append(node)
        elif memory is Memory.EVICT and not self._generous and lane.find(ticket.envelope.previous_response_id):
            lane.kept.clear()
        succession.orphan(ticket)

    def conclude(self, ticket: Ticket, error: RequestError | None = None) -> list[Mapping[str, Any]]:
        """What is to be said right after a settled turn's last event: what becomes of steers. Its lane goes on then.

        Args:
            ticket: settled, and not yet released.
            error: why it failed or was refused, if it was.
        """
        events, has_successor = succession.conclude(ticket, self._closed, error)
        self._queued += has_successor
        return events

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
        ticket = self._making(response_id)
        return ticket if ticket is not None and ticket.state is State.RUNNING else None

    def _making(self, response_id: str | None) -> Ticket | None:
        for ticket in self._running:
            if response_id is not None and ticket.response_id == response_id:
                return ticket
        return None

    def _steer(self, envelope: Envelope, size: int) -> Say:
        """A steer waits for the response after the one that it names, which makes room for it; or it goes back."""
        wanted, given = envelope.previous_response_id, envelope.input
        target, remembered = self._making(wanted), self._remembered(wanted)
        try:
            messages = steering.read_messages(given)
            if envelope.stream_id is not None:
                raise RequestError.invalid("leave 'stream_id' out; the response tells the lane.", param="stream_id")
        except RequestError as error:
            return self._say(steering.failed("invalid_input", error.message, wanted, given), wanted)
        code = succession.judge(
            target,
            remembered=remembered is not None,
            closed=self._closed,
            waiting=self._steer_bytes(),
            size=size,
            limits=self._limits,
        )
        if code is not None:
            about = self._closed.message if code == "successor_creation_failed" and self._closed else wanted or ""
            return self._say(steering.failed(code, about, wanted, given), wanted)
        assert target is not None
        assert wanted is not None
        steer = Steer(self._sources.new_id("steer", STEER_BITS), wanted, given, messages, size)
        target.steers = (*target.steers, steer)
        return Say(steering.accepted(steer), target.lane.name, target, interrupts=True)

    def _steer_bytes(self) -> int:
        """Bytes of all steers that wait here."""
        waiting = [ticket.steers for ticket in self._running] + [lane.steers for lane in self._lanes.values()]
        return sum(steer.size for steers in waiting for steer in steers)

    def _judge_inject(self, envelope: Envelope) -> Say:
        """Nothing here waits for injected input; it is handed back."""
        wanted = envelope.response_id
        code = "response_already_completed" if self._remembered(wanted) is not None else "response_not_found"
        event = {
            "type": "response.inject.failed",
            "response_id": wanted,
            "input": envelope.input,
            "error": {"code": code, "message": f"No response {wanted} waits for input here; send a response.create."},
        }
        return self._say(event, wanted)

    def _say(self, event: Mapping[str, Any], response_id: str | None) -> Say:
        """Say it where it belongs: in the order of what runs, or beside it, about what has ended or was never here.

        What is no response's event has the number 0, as every refusal has.
        """
        ticket = self.running(response_id)
        if ticket is not None:
            return Say(event, ticket.lane.name, ticket)
        making, remembered = self._making(response_id), self._remembered(response_id)
        lane = making.lane if making is not None else remembered[0] if remembered is not None else None
        unnumbered = {"type": event["type"], "sequence_number": 0, **event}
        return Say(unnumbered, lane.name if lane is not None else None)

    def statistics(self) -> DeskStatistics:
        """Lanes and requests at this moment."""
        return DeskStatistics(len(self._lanes), len(self._running), self._queued, self._queued_bytes)
