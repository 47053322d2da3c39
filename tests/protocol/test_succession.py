from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from agentwire.protocol.desk import Desk, Outcome, Say, State, Ticket
from agentwire.protocol.errors import RequestError
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import FunctionCall, FunctionCallOutput, Message
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest, Envelope
from agentwire.protocol.transcript import Node

REQUEST = CreateRequest(model="m", instructions="Be brief.", tools=(), stream_id="a", input=(Message("user", "hi"),))
CALL = FunctionCall("call_1", "read", "{}")
CUT = FunctionCall("call_2", "read", '{"pa', status="incomplete")


def make_desk(**limits: float) -> Desk:
    return Desk(Limits(**limits), Sources.seeded(1))  # type: ignore[arg-type]


def submit(desk: Desk, lane: str | None = "a", previous: str | None = None) -> Ticket:
    ticket = desk.submit(Envelope("response.create", lane, previous), b"{}")
    assert isinstance(ticket, Ticket)
    return ticket


def begin(desk: Desk, response_id: str = "resp_1", lane: str | None = "a", previous: str | None = None) -> Ticket:
    """A turn that has said ``created``."""
    ticket = submit(desk, lane, previous)
    return open_next(desk, ticket, response_id)


def open_next(desk: Desk, ticket: Ticket, response_id: str | None) -> Ticket:
    assert list(desk.start()) == [ticket]
    desk.find_parent(ticket)
    desk.take_steers(ticket)
    ticket.request, ticket.steerable = ticket.request or REQUEST, True
    ticket.response_id = response_id
    return ticket


def steer(desk: Desk, response_id: str | None = "resp_1", given: Any = "Stop.", size: int = 10) -> Say:
    answer = desk.submit(Envelope("response.steer", previous_response_id=response_id, input=given), b"x" * size)
    assert isinstance(answer, Say)
    return answer


def code(answer: Say | Mapping[str, Any]) -> str:
    event = answer.event if isinstance(answer, Say) else answer
    assert event["type"] == "response.steer.failed"
    found: str = event["error"]["code"]
    return found


def end(
    desk: Desk, ticket: Ticket, *output: Any, outcome: Outcome = Outcome.COMPLETED, error: RequestError | None = None
) -> list[Mapping[str, Any]]:
    """The turn ends, says its last word, and is released."""
    node = None
    if outcome in (Outcome.COMPLETED, Outcome.INCOMPLETE):
        assert ticket.response_id is not None
        grow = ticket.parent.extend if ticket.parent is not None else Node.root
        node = grow(ticket.response_id, (), output)
    desk.settle(ticket, outcome, node)
    said = desk.conclude(ticket, error)
    desk.release(ticket)
    return said


class TestAccepting:
    def test_a_running_response_takes_it_and_makes_way(self) -> None:
        desk = make_desk()
        ticket = begin(desk)
        answer = steer(desk)
        assert answer.event["type"] == "response.steer.accepted"
        named = answer.event["steer"]
        assert named["previous_response_id"] == "resp_1"
        assert named["id"].startswith("steer_")
        assert len(named["id"]) == len("steer_") + 32
        assert (answer.ticket, answer.stream_id, answer.interrupts) == (ticket, "a", True)

    def test_each_has_a_name_of_its_own(self) -> None:
        desk = make_desk()
        begin(desk)
        assert steer(desk).event["steer"]["id"] != steer(desk).event["steer"]["id"]

    def test_invalid_input_goes_back_in_the_order_of_the_response(self) -> None:
        desk = make_desk()
        ticket = begin(desk)
        answer = steer(desk, given=[])
        assert (code(answer), answer.ticket, answer.interrupts) == ("invalid_input", ticket, False)
        assert answer.event["steer"] == {"previous_response_id": "resp_1", "input": []}
        assert ticket.steers == ()

    def test_the_response_tells_the_lane_and_nothing_else_may(self) -> None:
        desk = make_desk()
        begin(desk)
        answer = desk.submit(Envelope("response.steer", "a", "resp_1", input="x"), b"{}")
        assert isinstance(answer, Say)
        assert code(answer) == "invalid_input"

    def test_a_request_that_compacts_by_itself_cannot_be_steered(self) -> None:
        desk = make_desk()
        begin(desk).steerable = False
        assert code(steer(desk)) == "steering_not_supported"

    def test_a_response_that_failed_a_moment_ago_takes_nothing(self) -> None:
        desk = make_desk()
        desk.settle(begin(desk), Outcome.FAILED)
        answer = steer(desk)
        assert (code(answer), answer.stream_id, answer.ticket) == ("response_not_active", "a", None)
        assert answer.event["sequence_number"] == 0

    def test_an_answer_about_no_running_response_has_the_number_of_a_refusal(self) -> None:
        desk = make_desk()
        assert steer(desk).event["sequence_number"] == 0
        ticket = begin(desk)
        assert "sequence_number" not in steer(desk, given=[]).event
        end(desk, ticket)
        assert steer(desk).event["sequence_number"] == 0

    def test_there_are_only_so_many(self) -> None:
        desk = make_desk(steers=2)
        begin(desk)
        steer(desk)
        steer(desk)
        assert code(steer(desk)) == "too_many_pending_steers"

    def test_their_bytes_are_bounded_on_the_whole_connection(self) -> None:
        desk = make_desk(queued_bytes=100)
        begin(desk, "resp_1", "a")
        begin(desk, "resp_2", "b")
        assert steer(desk, "resp_1", size=1000).interrupts  # one passes alone
        assert code(steer(desk, "resp_2", size=10)) == "too_many_pending_steers"

    def test_a_desk_that_takes_nothing_new_gives_it_back_with_the_reason(self) -> None:
        desk = make_desk()
        begin(desk)
        desk.refuse(RequestError(400, "websocket_connection_limit_reached", "Sixty minutes are over."))
        answer = steer(desk)
        assert code(answer) == "successor_creation_failed"
        assert "Sixty minutes" in answer.event["error"]["message"]


class TestSuccessor:
    @pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.INCOMPLETE])
    def test_it_comes_by_itself_with_the_settings_and_the_steers_in_order(self, outcome: Outcome) -> None:
        desk = make_desk()
        ticket = begin(desk)
        steer(desk, given="one")
        steer(desk, given=[{"role": "user", "content": "two"}, {"role": "user", "content": "three"}])
        assert end(desk, ticket, outcome=outcome) == []
        (successor,) = desk.start()
        assert successor.automatic
        assert successor.envelope == Envelope("response.create", "a", "resp_1")
        assert successor.request is not None
        assert successor.request.instructions == "Be brief."
        assert successor.request.previous_response_id == "resp_1"
        assert successor.request.input == ()
        assert desk.find_parent(successor) is ticket.node
        said = [item.text for item in desk.take_steers(successor) if isinstance(item, Message)]
        assert said == ["one", "two", "three"]

    def test_it_comes_before_everything_that_waits_in_its_lane(self) -> None:
        desk = make_desk()
        ticket = begin(desk)
        waiting = submit(desk)
        assert desk.statistics().queued == 1
        steer(desk)
        end(desk, ticket)
        assert desk.statistics().queued == 2
        (successor,) = desk.start()
        assert successor is not waiting
        assert successor.automatic
        end(desk, open_successor(desk, successor))
        assert list(desk.start()) == [waiting]
        assert desk.statistics().queued == 0

    def test_it_can_be_steered_itself(self) -> None:
        desk = make_desk()
        ticket = begin(desk)
        steer(desk)
        end(desk, ticket)
        (successor,) = desk.start()
        open_successor(desk, successor)
        assert steer(desk, "resp_2").interrupts
        end(desk, successor)
        (third,) = desk.start()
        assert third.envelope.previous_response_id == "resp_2"

    def test_there_is_none_without_a_steer(self) -> None:
        desk = make_desk()
        assert end(desk, begin(desk)) == []
        assert list(desk.start()) == []

    def test_a_call_that_was_cut_off_is_nothing_to_wait_for(self) -> None:
        desk = make_desk()
        ticket = begin(desk)
        steer(desk)
        assert end(desk, ticket, CUT, outcome=Outcome.INCOMPLETE) == []
        (successor,) = desk.start()
        assert successor.automatic

    @pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.CANCELLED])
    def test_a_response_that_does_not_end_well_gives_its_steers_back(self, outcome: Outcome) -> None:
        desk = make_desk()
        ticket = begin(desk)
        ids = [steer(desk, given=given).event["steer"]["id"] for given in ("one", "two")]
        said = end(desk, ticket, outcome=outcome, error=RequestError(500, "server_error", "The engine stopped."))
        assert [code(event) for event in said] == ["successor_creation_failed"] * 2
        assert [event["steer"]["id"] for event in said] == ids
        assert [event["steer"]["input"] for event in said] == ["one", "two"]
        assert "The engine stopped." in said[0]["error"]["message"]
        assert list(desk.start()) == []

    def test_a_successor_that_cannot_open_gives_them_back(self) -> None:
        desk = make_desk()
        ticket = begin(desk)
        id_ = steer(desk).event["steer"]["id"]
        end(desk, ticket)
        (successor,) = desk.start()
        desk.find_parent(successor)
        desk.take_steers(successor)
        error = RequestError(400, "context_length_exceeded", "Too long.")
        (said,) = end(desk, successor, outcome=Outcome.REFUSED, error=error)
        assert (code(said), said["steer"]["id"]) == ("successor_creation_failed", id_)
        assert "Too long." in said["error"]["message"]

    def test_a_successor_that_fails_later_has_committed_them(self) -> None:
        desk = make_desk()
        ticket = begin(desk)
        steer(desk)
        end(desk, ticket)
        (successor,) = desk.start()
        open_successor(desk, successor)
        assert end(desk, successor, outcome=Outcome.FAILED) == []

    def test_a_desk_that_takes_nothing_new_makes_none(self) -> None:
        desk = make_desk()
        ticket = begin(desk)
        steer(desk)
        desk.refuse(RequestError(503, "server_is_overloaded", "The server is going down."))
        (said,) = end(desk, ticket)
        assert code(said) == "successor_creation_failed"
        assert "going down" in said["error"]["message"]
        assert list(desk.start()) == []

    def test_it_is_forgotten_with_everything_else_that_waits(self) -> None:
        desk = make_desk()
        ticket = begin(desk)
        steer(desk)
        desk.settle(ticket, Outcome.COMPLETED, Node.root("resp_1", (), ()))
        desk.conclude(ticket)
        (successor,) = ticket.lane.queue
        assert desk.drop_queued() == 1
        assert successor.state is State.GONE


def open_successor(desk: Desk, successor: Ticket) -> Ticket:
    desk.find_parent(successor)
    desk.take_steers(successor)
    successor.response_id, successor.steerable = "resp_2", True
    return successor


class TestWaiting:
    """The response ends with a call for the client: steers wait for whoever answers it."""

    def test_each_is_told_once_what_it_waits_for(self) -> None:
        desk = make_desk()
        ticket = begin(desk)
        ids = [steer(desk).event["steer"]["id"] for _ in range(2)]
        said = end(desk, ticket, CALL)
        assert [event["type"] for event in said] == ["response.steer.pending"] * 2
        assert [event["steer"]["id"] for event in said] == ids
        stub = {"type": "function_call_output", "call_id": "call_1", "name": "read"}
        assert [event["required_input"] for event in said] == [[stub]] * 2
        assert list(desk.start()) == []

    def test_nothing_is_told_if_the_answer_waits_already(self) -> None:
        desk = make_desk()
        ticket = begin(desk)
        answer = submit(desk, previous="resp_1")
        steer(desk, given="one")
        assert end(desk, ticket, CALL) == []
        assert list(desk.start()) == [answer]
        desk.find_parent(answer)
        assert desk.take_steers(answer) == (Message("user", "one"),)

    def test_who_continues_on_the_lane_takes_them_once(self) -> None:
        desk = make_desk()
        ticket = begin(desk)
        steer(desk, given="one")
        steer(desk, given="two")
        end(desk, ticket, CALL)
        answer = begin(desk, "resp_2", previous="resp_1")
        assert [steer.input for steer in answer.brought] == ["one", "two"]
        end(desk, answer)
        assert begin(desk, "resp_3", previous="resp_2").brought == ()

    def test_a_fork_takes_nothing(self) -> None:
        desk = make_desk()
        ticket = begin(desk)
        steer(desk)
        end(desk, ticket, CALL)
        fork = begin(desk, "resp_2", lane="b", previous="resp_1")
        assert fork.brought == ()
        end(desk, fork)
        assert len(begin(desk, "resp_3", previous="resp_1").brought) == 1

    def test_an_answer_that_is_refused_gives_them_back(self) -> None:
        desk = make_desk()
        ticket = begin(desk)
        id_ = steer(desk).event["steer"]["id"]
        end(desk, ticket, CALL)
        answer = open_next(desk, submit(desk, previous="resp_1"), None)
        error = RequestError(400, "tool_output_missing", "No tool output found.")
        (said,) = end(desk, answer, outcome=Outcome.REFUSED, error=error)
        assert (code(said), said["steer"]["id"]) == ("successor_creation_failed", id_)

    def test_a_lane_that_goes_on_with_something_else_gives_them_back(self) -> None:
        desk = make_desk()
        ticket = begin(desk)
        id_ = steer(desk).event["steer"]["id"]
        end(desk, ticket, CALL)
        other = begin(desk, "resp_2")
        assert other.brought == ()
        (said,) = end(desk, other)
        assert (code(said), said["steer"]["id"]) == ("successor_creation_failed", id_)
        assert said["steer"]["previous_response_id"] == "resp_1"

    @pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.FAILED, Outcome.CANCELLED, Outcome.NOT_FOUND])
    def test_something_else_that_comes_to_nothing_changes_nothing(self, outcome: Outcome) -> None:
        desk = make_desk()
        ticket = begin(desk)
        steer(desk)
        end(desk, ticket, CALL)
        assert end(desk, begin(desk, "resp_2"), outcome=outcome) == []
        assert len(begin(desk, "resp_3", previous="resp_1").brought) == 1

    def test_an_ended_response_takes_no_more(self) -> None:
        desk = make_desk()
        ticket = begin(desk)
        steer(desk)
        end(desk, ticket, CALL)
        assert code(steer(desk)) == "response_already_completed"

    def test_a_generous_desk_keeps_them_as_long_as_the_response(self) -> None:
        desk = Desk(Limits(generous_responses=2), Sources.seeded(1), generous=True)
        ticket = begin(desk)
        steer(desk)
        end(desk, ticket, CALL)
        assert end(desk, begin(desk, "resp_2")) == []
        (said,) = end(desk, begin(desk, "resp_3"))
        assert said["steer"]["previous_response_id"] == "resp_1"


def test_an_answer_in_the_chain_settles_what_is_owed() -> None:
    node = Node.root("resp_1", (), (CALL, CUT))
    assert node.owed == {"call_1": CALL}
    assert node.extend("resp_2", (FunctionCallOutput("call_1", "x"),), ()).owed == {}
