"""The desk against a naive model of the protocol: random clients on up to 33 lanes, and agreement on every answer.

The model is written from the protocol's prose, with plain lists and no thought of speed; it shares no table and no
function with the desk. It knows the rules of lanes (order, permits, names), of what is remembered, and of steering.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agentwire.protocol.desk import Desk, Outcome, Say, Ticket
from agentwire.protocol.errors import RequestError
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import FunctionCall, Item, Message
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest, Envelope
from agentwire.protocol.transcript import Node

LANES, PERMITS, QUEUED, QUEUED_BYTES, STEERS = 32, 4, 12, 300, 2
NAMES = [None, *(f"lane-{number}" for number in range(LANES + 2))]
FEW = st.sampled_from(NAMES[:4])
ENDS = ("completed", "incomplete", "failed", "refused", "previous_response_not_found", "cancelled")
OUTPUTS: Mapping[str, tuple[Item, ...]] = {
    "text": (Message("assistant", "done"),),
    "a call": (FunctionCall("call_1", "read", "{}"),),
    "half a call": (FunctionCall("call_1", "read", "{", status="incomplete"),),
}
INPUTS: list[tuple[Any, bool]] = [
    ("Stop.", True),
    ([{"role": "user", "content": "Stop."}, {"type": "message", "role": "user", "content": []}], True),
    ([], False),
    (None, False),
    ([{"role": "assistant", "content": "Stop."}], False),
]
CLOSED = RequestError(400, "websocket_connection_limit_reached", "The hour is over.")


@attrs.define(eq=False)
class Turn:
    """A request, as the model sees it."""

    lane: str | None
    previous: str | None
    size: int = 0
    ticket: Ticket | None = None
    phase: str = "waiting"
    id: str | None = None
    steerable: bool = True
    steers: list[tuple[str, Any, int]] = attrs.field(factory=list)
    """Accepted for it: id, input, bytes."""
    carries: list[tuple[str, str, Any, int]] = attrs.field(factory=list)
    """In front of its input: whom they steered, id, input, bytes."""
    lost: list[tuple[str, str, Any, int]] = attrs.field(factory=list)
    left: str | None = None
    """What its output leaves to do, if the response can be continued: one of OUTPUTS."""


@attrs.define(eq=False)
class Model:
    """The rules, naively."""

    generous: bool
    turns: list[Turn] = attrs.field(factory=list)  # all that wait or run, in the order in which lanes take them
    able: list[str | None] = attrs.field(factory=list)
    names: list[str | None] = attrs.field(factory=list)
    remembered: dict[str | None, list[str]] = attrs.field(factory=dict)
    waiting_steers: dict[str | None, list[tuple[str, str, Any, int]]] = attrs.field(factory=dict)
    closed: bool = False

    def waiting(self, lane: str | None = "any") -> list[Turn]:
        return [turn for turn in self.turns if turn.phase == "waiting" and lane in ("any", turn.lane)]

    def busy(self) -> list[Turn]:
        return [turn for turn in self.turns if turn.phase != "waiting"]

    def find(self, response_id: str | None) -> Turn | None:
        return next((turn for turn in self.busy() if turn.id == response_id and turn.id is not None), None)

    def home(self, response_id: str | None) -> list[str | None]:
        """The lanes (one, or none) that remember a response."""
        return [lane for lane, ids in self.remembered.items() if response_id in ids]

    # A create is queued in its lane, or refused without a trace

    def refusal(self, lane: str | None, size: int) -> str | None:
        waiting = self.waiting()
        if self.closed:
            return CLOSED.code
        if waiting and (len(waiting) >= QUEUED or sum(turn.size for turn in waiting) + size > QUEUED_BYTES):
            return "websocket_queue_full"
        if lane is not None and lane not in self.names and len([name for name in self.names if name]) == LANES:
            return "websocket_stream_limit_reached"
        return None

    def create(self, turn: Turn) -> None:
        if turn.lane not in self.names:
            self.names.append(turn.lane)
        if not any(other.lane == turn.lane for other in self.turns):
            self.able.append(turn.lane)
        self.turns.append(turn)

    # Requests of a lane run one at a time in order, 16 (here: a few) on all lanes; the lane that waits longest first

    def start(self) -> list[Turn]:
        started = []
        while self.able and len(self.busy()) < PERMITS:
            turn = self.waiting(self.able.pop(0))[0]
            turn.phase = "running"
            started.append(turn)
        return started

    def parent(self, turn: Turn) -> str | None:
        return turn.previous if turn.previous is not None and self.home(turn.previous) else None

    def take(self, turn: Turn) -> list[Any]:
        """Steers that waited for whoever continues their response on its lane go in front of the input."""
        here = self.waiting_steers.get(turn.lane, [])
        turn.carries = [steer for steer in here if steer[0] == turn.previous]
        self.waiting_steers[turn.lane] = [steer for steer in here if steer[0] != turn.previous]
        return [steer[2] for steer in turn.carries]

    # What is remembered after each outcome

    def settle(self, turn: Turn, outcome: str, left: str) -> None:
        turn.phase = "settled"
        latest = self.remembered.setdefault(turn.lane, [])
        if outcome in ("completed", "incomplete"):
            assert turn.id is not None
            latest.append(turn.id)
            turn.left = left
            del latest[: -3 if self.generous else -1]
        elif outcome in ("failed", "refused") and not self.generous and turn.previous in latest:
            latest.clear()
        if turn.id is None:
            turn.lost += turn.carries
        here = self.waiting_steers.get(turn.lane, [])
        turn.lost += [steer for steer in here if steer[0] not in latest]
        self.waiting_steers[turn.lane] = [steer for steer in here if steer[0] in latest]

    # Steering

    def steer(self, response_id: str, size: int, *, valid: bool) -> str:
        """``accepted``, or the code of the failure."""
        turn = self.find(response_id)
        if not valid:
            return "invalid_input"
        if turn is None:
            return "response_already_completed" if self.home(response_id) else "response_not_found"
        if turn.phase == "settled":
            return "response_already_completed" if turn.left is not None else "response_not_active"
        if not turn.steerable:
            return "steering_not_supported"
        if self.closed:
            return "successor_creation_failed"
        kept = [steer[-1] for other in self.busy() for steer in other.steers]
        kept += [steer[-1] for steers in self.waiting_steers.values() for steer in steers]
        if len(turn.steers) == STEERS or (kept and sum(kept) + size > QUEUED_BYTES):
            return "too_many_pending_steers"
        return "accepted"

    def conclude(self, turn: Turn) -> list[tuple[str, str, str, Any]]:
        """What is said after the last event: type, steered response, steer, and the input or what it waits for."""
        said = [("failed", steered, name, given) for steered, name, given, _ in turn.lost]
        steers = [(str(turn.id), name, given, size) for name, given, size in turn.steers]
        turn.lost, turn.steers = [], []
        if not steers:
            return said
        if turn.left is None or self.closed:
            return said + [("failed", steered, name, given) for steered, name, given, _ in steers]
        self.waiting_steers[turn.lane] = steers
        if turn.left != "a call":
            self.turns.insert(self.turns.index(turn) + 1, Turn(turn.lane, turn.id))
        elif not any(other.previous == turn.id for other in self.waiting(turn.lane)):
            return said + [("pending", steered, name, "call_1") for steered, name, _, _ in steers]
        return said

    def release(self, turn: Turn) -> None:
        self.turns.remove(turn)
        if self.waiting(turn.lane):
            self.able.append(turn.lane)

    def drop(self) -> int:
        dropped = self.waiting()
        self.turns = self.busy()
        self.able = []
        return len(dropped)


class DeskMachine(RuleBasedStateMachine):
    """A client says anything, turns end in any way and order; desk and model must agree."""

    @initialize(generous=st.booleans(), names=st.sampled_from([0, LANES - 1, LANES]))
    def open(self, generous: bool, names: int) -> None:
        limits = Limits(
            lanes=LANES, running=PERMITS, queued=QUEUED, queued_bytes=QUEUED_BYTES, steers=STEERS, generous_responses=3
        )
        self.desk = Desk(limits, Sources.seeded(1), generous=generous)
        self.model = Model(generous)
        self.made = 0
        for number in range(names):  # lanes that have been used before
            self.create(f"lane-{number}", 2, None)
            (turn,) = self.model.turns
            self.settle(turn, "cancelled", "text")
            self.release(turn)

    def id_of(self, back: int) -> str:
        """One of the latest ids that were made, or one that never was."""
        return f"resp_{self.made - back}"

    # What the client says

    @rule(
        lane=st.sampled_from([*NAMES, *NAMES[:4] * 9]),
        size=st.integers(2, 60),
        back=st.integers(0, 4),
        continues=st.booleans(),
    )
    def ask(self, lane: str | None, size: int, back: int, continues: bool) -> None:
        self.create(lane, size, self.id_of(back) if continues else None)

    def create(self, lane: str | None, size: int, previous: str | None) -> None:
        envelope = Envelope("response.create", lane, previous)
        code = self.model.refusal(lane, size)
        if code is not None:
            with pytest.raises(RequestError) as refused:
                self.desk.submit(envelope, b"x" * size)
            assert refused.value.code == code
            return
        ticket = self.desk.submit(envelope, b"x" * size)
        assert isinstance(ticket, Ticket)
        self.model.create(Turn(lane, previous, size, ticket))
        self.run_ready()

    @rule(back=st.integers(0, 5), given=st.sampled_from(INPUTS), size=st.integers(10, 120))
    def steer_anything(self, back: int, given: tuple[Any, bool], size: int) -> None:
        self.steer(self.id_of(back), given, size)

    def steer(self, id_: str, given: tuple[Any, bool], size: int) -> None:
        content, valid = given
        expected, turn = self.model.steer(id_, size, valid=valid), self.model.find(id_)
        answer = self.desk.submit(Envelope("response.steer", previous_response_id=id_, input=content), b"x" * size)
        assert isinstance(answer, Say)
        self.check_place(answer, turn, id_)
        assert answer.interrupts is (expected == "accepted")
        if expected == "accepted":
            assert turn is not None
            name = answer.event["steer"]["id"]
            assert answer.event == {
                "type": "response.steer.accepted",
                "steer": {"id": name, "previous_response_id": id_},
            }
            turn.steers.append((name, content, size))
        else:
            assert answer.event["type"] == "response.steer.failed"
            assert answer.event["error"]["code"] == expected
            assert answer.event["steer"] == {"previous_response_id": id_, "input": content}

    def check_place(self, answer: Say, turn: Turn | None, id_: str) -> None:
        """What is about a running response is in its order; everything else is beside it, on the lane that knows it."""
        runs = turn is not None and turn.phase != "settled"
        assert answer.ticket is (turn.ticket if turn is not None and runs else None)
        assert answer.event.get("sequence_number") == (None if runs else 0)
        places = [turn.lane] if turn is not None else self.model.home(id_)
        assert answer.stream_id == (places[0] if places else None)

    @rule(back=st.integers(0, 5))
    def inject(self, back: int) -> None:
        id_ = self.id_of(back)
        answer = self.desk.submit(Envelope("response.inject", response_id=id_, input=[1]), b"{}")
        assert isinstance(answer, Say)
        assert answer.event["error"]["code"] == (
            "response_already_completed" if self.model.home(id_) else "response_not_found"
        )
        assert answer.event["input"] == [1]
        self.check_place(answer, self.model.find(id_), id_)

    @rule(kind=st.sampled_from(["response.processed", "response.cancel", "session.update", "Response.create"]))
    def say_something_else(self, kind: str) -> None:
        if kind == "response.processed":
            assert self.desk.submit(Envelope(kind), b"{}") is None
            return
        with pytest.raises(RequestError) as refused:
            self.desk.submit(Envelope(kind), b"{}")
        assert (refused.value.status, refused.value.code) == (400, "unknown_event_type")

    # What the server does

    def run_ready(self) -> list[Turn]:
        """As the session does: whenever anything has changed, start what can run."""
        expected = self.model.start()
        tickets = list(self.desk.start())
        assert len(tickets) == len(expected)
        for turn, ticket in zip(expected, tickets, strict=True):
            if turn.ticket is None:  # the successor of a steered response: nobody has seen it before
                assert ticket.automatic
                assert ticket.request is not None
                assert ticket.request.previous_response_id == turn.previous
                assert ticket.request.model == "m"
                turn.ticket = ticket
            assert turn.ticket is ticket
            found = self.desk.find_parent(ticket)
            assert (found.response_id if found is not None else None) == self.model.parent(turn)
            said = [getattr(item, "text", None) for item in self.desk.take_steers(ticket)]
            assert said == [text for given in self.model.take(turn) for text in _texts(given)]
        return expected

    @rule(data=st.data(), steps=st.integers(3, 30))
    def work(self, data: st.DataObject, steps: int) -> None:
        """Turns go on, each at its own pace, and the client steers them and asks for more meanwhile."""
        self.go_through(data, steps)

    @rule(data=st.data(), lane=FEW, steps=st.integers(3, 30))
    def go_on(self, data: st.DataObject, lane: str | None, steps: int) -> None:
        """What a good client does most: continue the lane's own latest response, and stay with it."""
        ids = self.model.remembered.get(lane)
        self.create(lane, 5, ids[-1] if ids else None)
        self.go_through(data, steps)

    @rule(data=st.data(), fork=FEW, source=FEW, steps=st.integers(3, 30))
    def fork(self, data: st.DataObject, fork: str | None, source: str | None, steps: int) -> None:
        """What it does, too: continue one lane's latest response on another one, while the first goes on."""
        ids = self.model.remembered.get(source)
        self.create(fork, 5, ids[-1] if ids else None)
        self.create(source, 5, ids[-1] if ids else None)
        self.go_through(data, steps)

    def go_through(self, data: st.DataObject, steps: int) -> None:
        for _ in range(steps):
            busy = self.model.busy()
            if not busy:
                return
            turn = data.draw(st.sampled_from(busy))
            if turn.phase == "running":
                self.open_turn(turn, data.draw(st.sampled_from(("begin",) * 6 + ENDS[3:] + ("unsteerable",))))
            elif turn.phase == "begun":
                self.make_output(turn, data)
            elif turn.id is not None and data.draw(st.integers(0, 3)) == 0:
                self.steer(turn.id, INPUTS[0], 10)
            else:
                self.leave(turn, quietly=data.draw(st.integers(0, 9)) == 0)

    def open_turn(self, turn: Turn, how: str) -> None:
        """There is a response now, and what stood in front of the input has arrived; or it is refused."""
        assert turn.ticket is not None
        if how in ENDS:
            self.settle(turn, how, "text")
            return
        turn.phase, turn.steerable, turn.id = "begun", how == "begin", f"resp_{self.made}"
        turn.ticket.response_id, turn.ticket.steerable = turn.id, turn.steerable
        turn.ticket.request = turn.ticket.request or CreateRequest(model="m")
        self.made += 1

    def make_output(self, turn: Turn, data: st.DataObject) -> None:
        """The response goes on, and the client acts; or it ends."""
        match data.draw(st.sampled_from(["steer", "steer", "answer ahead", "ask ahead", "end", "end", "end badly"])):
            case "steer":
                size = data.draw(st.sampled_from([10, 10, 50, 150, 151]))
                self.steer(str(turn.id), data.draw(st.sampled_from(INPUTS[:2])), size)
            case "answer ahead":
                self.create(turn.lane, 5, turn.id)
            case "ask ahead":
                self.create(turn.lane, 5, None)
            case "end":
                outcome = data.draw(st.sampled_from(["completed", "incomplete"]))
                self.settle(turn, outcome, data.draw(st.sampled_from(sorted(OUTPUTS))))
            case "end badly":
                self.settle(turn, data.draw(st.sampled_from(["failed", "cancelled"])), "text")

    def settle(self, turn: Turn, outcome: str, left: str) -> None:
        assert turn.ticket is not None
        kept = outcome in ("completed", "incomplete")
        node = Node.root(str(turn.id), (), OUTPUTS[left]) if kept else None
        self.desk.settle(turn.ticket, Outcome(outcome), node)
        self.model.settle(turn, outcome, left)

    def leave(self, turn: Turn, *, quietly: bool) -> None:
        assert turn.ticket is not None
        if not quietly:  # a turn whose client is gone says nothing
            assert [_told(event) for event in self.desk.conclude(turn.ticket)] == self.model.conclude(turn)
            assert self.desk.conclude(turn.ticket) == []
        self.release(turn)

    def release(self, turn: Turn) -> None:
        assert turn.ticket is not None
        self.desk.release(turn.ticket)
        self.model.release(turn)
        self.run_ready()

    @rule(closed=st.sampled_from([False, False, False, False, False, True]))
    def refuse(self, closed: bool) -> None:
        """The hour of the connection is over, or a drain begins; or it is taken back."""
        self.desk.refuse(CLOSED if closed else None)
        self.model.closed = closed

    @rule(really=st.sampled_from([False, False, False, True]))
    def drop(self, really: bool) -> None:
        if really:
            assert self.desk.drop_queued() == self.model.drop()

    @invariant()
    def counts_agree(self) -> None:
        shown, waiting = self.desk.statistics(), self.model.waiting()
        assert shown.lanes == len(self.model.names) <= LANES + 1
        assert shown.running == len(self.model.busy()) <= PERMITS
        assert shown.queued == len(waiting)
        assert shown.queued_bytes == sum(turn.size for turn in waiting)


def _texts(given: Any) -> list[str]:
    """The texts of a steer's messages."""
    return [given] if isinstance(given, str) else [message["content"] or "" for message in given]


def _told(event: Mapping[str, Any]) -> tuple[str, str, str, Any]:
    """An event about a steer, as the model tells it."""
    kind, steer = event["type"].removeprefix("response.steer."), event["steer"]
    if kind == "failed":
        assert event["error"]["code"] == "successor_creation_failed"
        return kind, steer["previous_response_id"], steer["id"], steer["input"]
    (stub,) = event["required_input"]
    assert event["reason"] == "waiting_for_required_input"
    return kind, steer["previous_response_id"], steer["id"], stub["call_id"]


DeskMachine.TestCase.settings = settings(stateful_step_count=30)
TestDeskMachine = DeskMachine.TestCase
