from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.protocol.desk import MEMORY, TICKETS, Desk, Memory, Outcome, Say, State, Ticket
from agentwire.protocol.errors import RequestError
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import Envelope
from agentwire.protocol.transcript import Node


def make_desk(**limits: float) -> Desk:
    return Desk(Limits(**limits), Sources.seeded(1))  # type: ignore[arg-type]


def create(lane: str | None = None, previous: str | None = None) -> Envelope:
    return Envelope("response.create", stream_id=lane, previous_response_id=previous)


def node(response_id: str) -> Node:
    return Node.root(response_id, (), ())


def submit(desk: Desk, lane: str | None = None, previous: str | None = None, frame: bytes = b"{}") -> Ticket:
    ticket = desk.submit(create(lane, previous), frame)
    assert isinstance(ticket, Ticket)
    return ticket


def run(desk: Desk, lane: str | None, response_id: str, outcome: Outcome, previous: str | None = None) -> None:
    """One whole turn on an idle desk."""
    submit(desk, lane, previous)
    (ticket,) = desk.start()
    desk.find_parent(ticket)
    ticket.response_id = response_id
    remembered = outcome in (Outcome.COMPLETED, Outcome.INCOMPLETE)
    desk.settle(ticket, outcome, node(response_id) if remembered else None)
    desk.release(ticket)


def finish(desk: Desk, ticket: Ticket) -> None:
    desk.settle(ticket, Outcome.CANCELLED)
    desk.release(ticket)


def finds(desk: Desk, lane: str | None, response_id: str) -> bool:
    """Whether a turn on this lane would find this response, without changing what is remembered."""
    submit(desk, lane, response_id)
    (ticket,) = desk.start()
    found = desk.find_parent(ticket)
    assert ticket.parent is found
    finish(desk, ticket)
    return found is not None


class TestOrder:
    def test_one_lane_runs_one_at_a_time_in_order(self) -> None:
        desk = make_desk()
        tickets = [submit(desk, "a") for _ in range(3)]
        for ticket in tickets:
            assert list(desk.start()) == [ticket]
            assert ticket.state is State.RUNNING
            assert list(desk.start()) == []
            finish(desk, ticket)
        assert list(desk.start()) == []

    def test_lanes_run_side_by_side(self) -> None:
        desk = make_desk()
        tickets = [submit(desk, lane) for lane in (None, "a", "b")]
        assert list(desk.start()) == tickets

    def test_a_settled_turn_keeps_its_lane_until_it_is_released(self) -> None:
        desk = make_desk()
        first, second = submit(desk), submit(desk)
        assert list(desk.start()) == [first]
        desk.settle(first, Outcome.COMPLETED, node("resp_1"))
        assert list(desk.start()) == []
        desk.release(first)
        assert list(desk.start()) == [second]

    def test_permits_are_shared_by_all_lanes(self) -> None:
        desk = make_desk(running=2)
        a, b, c = (submit(desk, lane) for lane in "abc")
        assert list(desk.start()) == [a, b]
        finish(desk, b)
        assert list(desk.start()) == [c]

    def test_a_lane_that_goes_on_queues_behind_lanes_that_wait(self) -> None:
        desk = make_desk(running=1)
        a1, a2 = submit(desk, "a"), submit(desk, "a")
        b = submit(desk, "b")
        assert list(desk.start()) == [a1]
        finish(desk, a1)
        assert list(desk.start()) == [b]
        finish(desk, b)
        assert list(desk.start()) == [a2]

    def test_sixteen_run_and_more_wait(self) -> None:
        desk = make_desk()
        tickets = [submit(desk, f"lane-{number}") for number in range(20)]
        assert list(desk.start()) == tickets[:16]
        assert desk.statistics().queued == 4


class TestTicket:
    @pytest.mark.parametrize("state", State)
    def test_it_moves_along_the_table_only(self, state: State) -> None:
        for target in State:
            ticket = Ticket(make_desk()._lane(None), create(), b"{}", state=state)
            if target in TICKETS[state]:
                ticket.move(target)
                assert ticket.state is target
            else:
                with pytest.raises(ValueError, match="cannot become"):
                    ticket.move(target)

    def test_every_state_can_be_reached_and_left_but_the_last(self) -> None:
        reached = {target for targets in TICKETS.values() for target in targets}
        assert reached == set(State) - {State.QUEUED}
        assert [state for state, targets in TICKETS.items() if not targets] == [State.GONE]


class TestBounds:
    def test_the_33rd_lane_is_refused_and_leaves_no_trace(self) -> None:
        desk = make_desk()
        for number in range(32):
            submit(desk, f"lane-{number}")
        before = desk.statistics()
        for _ in range(2):
            with pytest.raises(RequestError) as refused:
                submit(desk, "one-too-many")
            assert (refused.value.status, refused.value.code) == (400, "websocket_stream_limit_reached")
            assert refused.value.param == "stream_id"
        assert desk.statistics() == before
        submit(desk, "lane-0")  # a known name still works

    @pytest.mark.parametrize("default_first", [True, False])
    def test_the_default_lane_does_not_count(self, default_first: bool) -> None:
        desk = make_desk(lanes=2)
        order = [None, "a", "b"] if default_first else ["a", "b", None]
        for lane in order:
            submit(desk, lane)
        assert desk.statistics().lanes == 3

    def test_names_are_not_released(self) -> None:
        desk = make_desk(lanes=1)
        run(desk, "a", "resp_1", Outcome.COMPLETED)
        with pytest.raises(RequestError, match="websocket_stream_limit_reached"):
            submit(desk, "b")

    def test_the_queue_is_bounded_in_requests(self) -> None:
        desk = make_desk(queued=2)
        running = submit(desk)
        assert list(desk.start()) == [running]
        submit(desk)
        submit(desk)
        before = desk.statistics()
        with pytest.raises(RequestError) as refused:
            submit(desk)
        assert (refused.value.status, refused.value.code) == (429, "websocket_queue_full")
        assert refused.value.headers["retry-after"]
        assert desk.statistics() == before
        finish(desk, running)
        assert len(list(desk.start())) == 1
        submit(desk)  # room again

    def test_the_queue_is_bounded_in_bytes(self) -> None:
        desk = make_desk(queued_bytes=100)
        submit(desk)
        list(desk.start())
        submit(desk, frame=b"x" * 60)
        with pytest.raises(RequestError, match="websocket_queue_full"):
            submit(desk, frame=b"x" * 41)
        submit(desk, frame=b"x" * 40)
        assert desk.statistics().queued_bytes == 100

    def test_a_message_larger_than_the_queue_passes_alone(self) -> None:
        desk = make_desk(queued_bytes=100)
        submit(desk, frame=b"x" * 1000)
        assert len(list(desk.start())) == 1

    def test_a_refused_request_for_a_new_lane_does_not_take_a_name(self) -> None:
        desk = make_desk(queued=1, lanes=1)
        running = submit(desk)
        list(desk.start())
        submit(desk)
        with pytest.raises(RequestError, match="websocket_queue_full"):
            submit(desk, "a")
        finish(desk, running)
        list(desk.start())
        submit(desk, "b")

    def test_a_closed_desk_refuses_what_is_new_and_runs_what_waits(self) -> None:
        desk = make_desk()
        first, second = submit(desk), submit(desk)
        list(desk.start())
        desk.refuse(RequestError(400, "websocket_connection_limit_reached", "Time is up."))
        with pytest.raises(RequestError, match="websocket_connection_limit_reached"):
            submit(desk, "a")
        assert desk.statistics().lanes == 1
        finish(desk, first)
        assert list(desk.start()) == [second]
        desk.refuse(None)
        submit(desk, "a")


# What is remembered: outcome, and which response the turn continued -> what can be continued afterwards.

OWN, FORK, NOTHING, UNKNOWN = "its lane's own", "another lane's", "nothing", "an unknown"
MEMORY_TABLE: list[tuple[Outcome, str, set[str]]] = [
    (Outcome.COMPLETED, OWN, {"new", "other"}),
    (Outcome.COMPLETED, FORK, {"new", "other"}),
    (Outcome.COMPLETED, NOTHING, {"new", "other"}),
    (Outcome.INCOMPLETE, OWN, {"new", "other"}),
    (Outcome.INCOMPLETE, FORK, {"new", "other"}),
    (Outcome.INCOMPLETE, NOTHING, {"new", "other"}),
    (Outcome.FAILED, OWN, {"other"}),
    (Outcome.FAILED, FORK, {"own", "other"}),
    (Outcome.FAILED, NOTHING, {"own", "other"}),
    (Outcome.REFUSED, OWN, {"other"}),
    (Outcome.REFUSED, FORK, {"own", "other"}),
    (Outcome.REFUSED, NOTHING, {"own", "other"}),
    (Outcome.NOT_FOUND, UNKNOWN, {"own", "other"}),
    (Outcome.CANCELLED, OWN, {"own", "other"}),
    (Outcome.CANCELLED, FORK, {"own", "other"}),
]


class TestMemory:
    def test_every_outcome_is_decided(self) -> None:
        assert set(MEMORY) == set(Outcome)
        assert {outcome for outcome, _, _ in MEMORY_TABLE} == set(Outcome)
        assert set(MEMORY.values()) == set(Memory)

    @pytest.mark.parametrize(("outcome", "continued", "left"), MEMORY_TABLE)
    @pytest.mark.parametrize("lane", [None, "mine"])
    def test_what_can_be_continued_afterwards(
        self, outcome: Outcome, continued: str, left: set[str], lane: str | None
    ) -> None:
        desk = make_desk()
        run(desk, lane, "own", Outcome.COMPLETED)
        run(desk, "other-lane", "other", Outcome.COMPLETED)
        previous = {OWN: "own", FORK: "other", NOTHING: None, UNKNOWN: "nobody's"}[continued]
        run(desk, lane, "new", outcome, previous)
        assert {name for name in ("own", "other", "new") if finds(desk, "asking", name)} == left

    def test_only_the_latest_response_of_a_lane_is_there(self) -> None:
        desk = make_desk()
        run(desk, "a", "resp_1", Outcome.COMPLETED)
        run(desk, "a", "resp_2", Outcome.COMPLETED, "resp_1")
        assert not finds(desk, "a", "resp_1")
        assert finds(desk, "a", "resp_2")

    def test_a_parent_is_looked_up_when_its_turn_starts(self) -> None:
        """A fork that waits loses its parent if the parent's lane goes on first."""
        desk = make_desk(running=1)
        run(desk, "a", "resp_1", Outcome.COMPLETED)
        advance, fork = submit(desk, "a", "resp_1"), submit(desk, "b", "resp_1")
        assert list(desk.start()) == [advance]
        assert desk.find_parent(advance) is not None
        desk.settle(advance, Outcome.COMPLETED, node("resp_2"))
        desk.release(advance)
        assert list(desk.start()) == [fork]
        assert desk.find_parent(fork) is None

    def test_a_pinned_parent_stays_while_its_lane_goes_on(self) -> None:
        desk = make_desk()
        run(desk, "a", "resp_1", Outcome.COMPLETED)
        fork, advance = submit(desk, "b", "resp_1"), submit(desk, "a", "resp_1")
        assert list(desk.start()) == [fork, advance]
        parent = desk.find_parent(fork)
        desk.settle(advance, Outcome.COMPLETED, node("resp_2"))
        assert fork.parent is parent is not None

    def test_what_a_turn_made_is_there_before_its_lane_is_free(self) -> None:
        desk = make_desk()
        ticket = submit(desk, "a")
        list(desk.start())
        desk.settle(ticket, Outcome.COMPLETED, node("resp_1"))
        fork = submit(desk, "b", "resp_1")
        assert list(desk.start()) == [fork]
        assert desk.find_parent(fork) is not None

    def test_a_request_without_a_parent_has_none(self) -> None:
        desk = make_desk()
        run(desk, None, "resp_1", Outcome.COMPLETED)
        ticket = submit(desk)
        list(desk.start())
        assert desk.find_parent(ticket) is None

    def test_dropping_what_waits_leaves_what_runs(self) -> None:
        desk = make_desk()
        running, waiting = submit(desk), submit(desk)
        list(desk.start())
        assert desk.drop_queued() == 1
        assert (running.state, waiting.state) == (State.RUNNING, State.GONE)
        assert (desk.statistics().queued, desk.statistics().queued_bytes) == (0, 0)
        finish(desk, running)
        assert list(desk.start()) == []


class TestGenerous:
    @staticmethod
    def generous(responses: int = 3) -> Desk:
        return Desk(Limits(generous_responses=responses), Sources.seeded(1), generous=True)

    @staticmethod
    def found(desk: Desk) -> set[str]:
        return {name for name in (f"resp_{number}" for number in range(9)) if finds(desk, "asking", name)}

    def test_each_lane_of_a_generous_desk_remembers_its_last_responses(self) -> None:
        desk = self.generous()
        for number in range(1, 6):
            run(desk, "a", f"resp_{number}", Outcome.COMPLETED, f"resp_{number - 1}")
        run(desk, "b", "resp_7", Outcome.COMPLETED)
        assert self.found(desk) == {"resp_3", "resp_4", "resp_5", "resp_7"}

    @pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.REFUSED])
    def test_a_failure_evicts_nothing(self, outcome: Outcome) -> None:
        desk = self.generous()
        run(desk, "a", "resp_1", Outcome.COMPLETED)
        run(desk, "a", "resp_2", outcome, "resp_1")
        assert self.found(desk) == {"resp_1"}

    def test_a_fork_that_waits_keeps_its_parent(self) -> None:
        desk = self.generous()
        run(desk, "a", "resp_1", Outcome.COMPLETED)
        run(desk, "a", "resp_2", Outcome.COMPLETED, "resp_1")
        assert finds(desk, "b", "resp_1")


class TestInterrupting:
    STEER = Envelope("response.steer", previous_response_id="resp_1", input="Stop.")
    INJECT = Envelope("response.inject", response_id="resp_1", input=[{"type": "function_call_output"}])

    @staticmethod
    def ask(desk: Desk, envelope: Envelope) -> Say:
        answer = desk.submit(envelope, b"{}")
        assert isinstance(answer, Say)
        return answer

    @staticmethod
    def running(desk: Desk, lane: str | None = "a") -> Ticket:
        ticket = submit(desk, lane)
        list(desk.start())
        ticket.response_id = "resp_1"
        return ticket

    @pytest.mark.parametrize("envelope", [STEER, INJECT], ids=["steer", "inject"])
    def test_an_ended_response_is_told_on_its_lane(self, envelope: Envelope) -> None:
        desk = make_desk()
        run(desk, "a", "resp_1", Outcome.COMPLETED)
        answer = self.ask(desk, envelope)
        assert answer.event["error"]["code"] == "response_already_completed"
        assert (answer.ticket, answer.stream_id) == (None, "a")

    @pytest.mark.parametrize("envelope", [STEER, INJECT], ids=["steer", "inject"])
    def test_a_response_whose_end_is_decided_has_ended(self, envelope: Envelope) -> None:
        desk = make_desk()
        desk.settle(self.running(desk), Outcome.COMPLETED, node("resp_1"))
        answer = self.ask(desk, envelope)
        assert answer.event["error"]["code"] == "response_already_completed"
        assert answer.ticket is None

    @pytest.mark.parametrize("envelope", [STEER, INJECT], ids=["steer", "inject"])
    def test_an_unknown_response(self, envelope: Envelope) -> None:
        answer = self.ask(make_desk(), envelope)
        assert answer.event["error"]["code"] == "response_not_found"
        assert (answer.ticket, answer.stream_id) == (None, None)

    @pytest.mark.parametrize("kind", ["response.steer", "response.inject"])
    def test_naming_no_response_finds_none(self, kind: str) -> None:
        desk = make_desk()
        submit(desk)
        list(desk.start())  # runs, and has no id yet
        assert self.ask(desk, Envelope(kind, input="x")).event["error"]["code"] == "response_not_found"

    def test_an_inject_hands_its_input_back(self) -> None:
        desk = make_desk()
        ticket = self.running(desk)
        answer = self.ask(desk, self.INJECT)
        assert answer.event == {
            "type": "response.inject.failed",
            "response_id": "resp_1",
            "input": [{"type": "function_call_output"}],
            "error": {"code": "response_not_found", "message": answer.event["error"]["message"]},
        }
        assert answer.ticket is ticket

    def test_an_acknowledgement_is_ignored(self) -> None:
        assert make_desk().submit(Envelope("response.processed"), b"{}") is None

    @pytest.mark.parametrize("kind", ["response.cancel", "response.append", "session.update", "Response.create"])
    def test_an_unknown_event_is_refused(self, kind: str) -> None:
        with pytest.raises(RequestError) as refused:
            make_desk().submit(Envelope(kind), b"{}")
        assert (refused.value.status, refused.value.code, refused.value.param) == (400, "unknown_event_type", "type")

    def test_interrupting_changes_nothing(self) -> None:
        desk = make_desk()
        run(desk, "a", "resp_0", Outcome.COMPLETED)
        self.running(desk)
        before = desk.statistics()
        for envelope in (self.STEER, self.INJECT, Envelope("response.processed")):
            desk.submit(envelope, b"{}")
        assert desk.statistics() == before


@given(st.lists(st.tuples(st.sampled_from([None, "a", "b", "c"]), st.booleans()), max_size=60))
def test_each_lane_is_first_come_first_served(steps: list[tuple[str | None, bool]]) -> None:
    """Whatever runs when: the tickets of one lane start in the order in which they came."""
    desk = make_desk(running=2, queued=1000)
    submitted: dict[str | None, list[Ticket]] = {}
    started: dict[str | None, list[Ticket]] = {}
    running: deque[Ticket] = deque()

    def start() -> None:
        for ticket in desk.start():
            started.setdefault(ticket.lane.name, []).append(ticket)
            running.append(ticket)

    for lane, end_one in steps:
        submitted.setdefault(lane, []).append(submit(desk, lane))
        start()
        if end_one and running:
            finish(desk, running.popleft())
            start()
    while running:
        finish(desk, running.popleft())
        start()
    assert started == submitted


def test_statistics_are_a_snapshot() -> None:
    desk = make_desk()
    before = desk.statistics()
    submit(desk)
    assert (before.lanes, desk.statistics().lanes) == (0, 1)
    assert isinstance(attrs.asdict(before), Mapping)
