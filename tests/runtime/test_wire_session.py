"""What a client says over its wire, and what becomes of its session without one (test_resume has the cuts)."""

from __future__ import annotations

import json

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.codec import encode_json
from agentwire.protocol.desk import Outcome
from agentwire.protocol.errors import ConnectionEnded, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Out
from agentwire.runtime.outbox import ReserveExhausted
from agentwire.runtime.policies import Cancel, Policy, Resume
from agentwire.runtime.wire_session import WireSession
from agentwire.testing import no_leaks, run
from tests.runtime.kit import Gate, MemoryWire, check, check_lanes, client, create, hello, kinds, service

# What the client says


@pytest.mark.parametrize(
    ("frame", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"hello", "invalid_json", None),
        (b'{"type":"response.create"', "invalid_json", None),
        (b"[]", "invalid_json", None),
        (b'"response.create"', "invalid_json", None),
        (b"null", "invalid_json", None),
        (b"{}", "unknown_event_type", "type"),
        (b'{"type":5}', "unknown_event_type", "type"),
        (b'{"type":"response.cancel","response_id":"resp_1"}', "unknown_event_type", "type"),
        (b'{"type":"response.create","stream_id":""}', "invalid_stream_id", "stream_id"),
        (b'{"type":"response.create","stream_id":"a b"}', "invalid_stream_id", "stream_id"),
        (b'{"type":"response.create","stream_id":7}', "invalid_stream_id", "stream_id"),
        (b"[" * 100_000, "invalid_json", None),
        (b'{"a":' * 1_000_000, "request_too_complex", None),  # deeper than any Python reads
    ],
)
async def test_malformed_messages_are_answered_and_the_connection_goes_on(
    frame: bytes, code: str, param: str | None, autojump_clock: MockClock
) -> None:
    async with client(hello) as it:
        it.wire.say(frame)
        (error,) = await it.wire.until("error")
        assert (error["status"], error["error"]["code"], error["error"]["param"]) == (400, code, param)
        assert "stream_id" not in error
        assert error["sequence_number"] == 0
        assert kinds(await it.wire.ask())[-1] == "completed"
        check_lanes(it.wire.events)


async def test_a_body_that_is_too_costly_is_refused_in_its_lane(autojump_clock: MockClock) -> None:
    frame = create("x", metadata={"k": "PLACE"}, stream_id="a").replace(b'"PLACE"', b"[" * 500 + b"]" * 500)
    async with client(hello) as it:
        it.wire.say(frame)
        (error,) = await it.wire.until("error")
        assert (error["error"]["code"], error["stream_id"]) == ("request_too_complex", "a")


async def test_text_that_is_no_text_ends_the_connection(autojump_clock: MockClock) -> None:
    made = service(hello)
    with pytest.raises(RemoteProtocolError) as error:
        WireSession(made, principal="tester").receive(b'{"type":"\xff"}')
    assert error.value.close_code == 1007


async def test_acknowledgements_are_ignored(autojump_clock: MockClock) -> None:
    async with client(hello) as it:
        it.wire.say(b'{"type":"response.processed","response_id":"resp_1"}')
        await wait_all_tasks_blocked()
        assert it.wire.events == []


async def test_a_client_that_floods_and_never_reads_exhausts_the_reserve(autojump_clock: MockClock) -> None:
    made = service(hello, limits=Limits(reply_bytes=10_000))
    session = WireSession(made, principal="tester")
    session.attach(MemoryWire(budget=0))
    with pytest.raises(ReserveExhausted):
        _receive_often(session, b"{}")
    assert session.outbox.statistics().reply_bytes <= 10_000


async def test_a_refused_steer_takes_its_number_among_the_turns_events(autojump_clock: MockClock) -> None:
    gate = Gate()
    async with client(gate) as it:
        it.wire.say(create(stream_id="a"))
        await it.wire.until("response.output_text.delta")
        id_ = it.wire.events[0]["response"]["id"]
        steer = {"type": "response.steer", "previous_response_id": id_, "input": [{"role": "system", "content": "no"}]}
        it.wire.say(encode_json(steer))
        await it.wire.until("response.steer.failed")
        gate.open.set()
        await it.wire.until()
        check(it.wire.events)
        failed = next(event for event in it.wire.events if event["type"] == "response.steer.failed")
        assert failed["stream_id"] == "a"
        assert failed["error"]["code"] == "invalid_input"
        assert failed["steer"] == {"previous_response_id": id_, "input": steer["input"]}


async def test_a_steer_for_what_is_over_or_unknown(autojump_clock: MockClock) -> None:
    async with client(hello) as it:
        id_ = (await it.wire.ask(stream_id="a"))[-1]["response"]["id"]
        for named, code, lane in ((id_, "response_already_completed", "a"), ("resp_x", "response_not_found", None)):
            it.wire.say(encode_json({"type": "response.steer", "previous_response_id": named, "input": "x"}))
            await it.wire.until("response.steer.failed")
            told = it.wire.events[-1]
            assert (told["error"]["code"], told.get("stream_id")) == (code, lane)
        check_lanes(it.wire.events)


async def test_a_large_steer_is_handed_back_whole(autojump_clock: MockClock) -> None:
    async with client(hello, limits=Limits(reply_bytes=1000)) as it:
        it.wire.say(encode_json({"type": "response.steer", "previous_response_id": "resp_x", "input": "x" * 100_000}))
        (told,) = await it.wire.until("response.steer.failed")
        assert told["steer"]["input"] == "x" * 100_000


async def test_a_steer_has_a_bound_of_its_own(autojump_clock: MockClock) -> None:
    async with client(hello, limits=Limits(interrupt_bytes=1000)) as it:
        it.wire.say(encode_json({"type": "response.steer", "previous_response_id": "resp_x", "input": "x" * 999}))
        (told,) = await it.wire.until("error")
        assert (told["error"]["code"], told["error"]["param"]) == ("request_too_complex", "input")
        it.wire.say(encode_json({"type": "response.steer", "previous_response_id": "resp_x", "input": "x" * 900}))
        await it.wire.until("response.steer.failed")


async def test_steers_that_nobody_reads_the_answers_of_are_bounded(autojump_clock: MockClock) -> None:
    gate = Gate()
    made = service(gate, limits=Limits(window_bytes=10_000, reply_bytes=10_000))
    async with trio.open_nursery() as nursery:
        session = WireSession(made, principal="tester")
        await nursery.start(session.run)
        session.attach(MemoryWire(budget=0))
        session.receive(create())
        await wait_all_tasks_blocked()
        (ticket,) = session.turns
        steer = encode_json({"type": "response.steer", "previous_response_id": ticket.response_id, "input": "x" * 50})
        with pytest.raises(ReserveExhausted):
            _receive_often(session, steer)
        assert session.statistics().windows[0].waiting_bytes < 10_000 + 10_000 + 1000
        session.cancel("the test is over")


def _receive_often(session: WireSession, message: bytes) -> None:
    for _ in range(1000):
        session.receive(message)


# Its wire is lost, and another one comes


async def test_a_lost_connection_cancels_everything_with_the_reason(autojump_clock: MockClock) -> None:
    gate = Gate()
    async with no_leaks(), client(gate) as it:
        for lane in ("a", "b"):
            for _ in range(2):
                it.wire.say(create(stream_id=lane))
        await wait_all_tasks_blocked()
        it.wire.vanish(cause="reset by the peer")
        await it.session.finished.wait()
        assert len(gate.reasons) == 2
        assert all("reset by the peer" in reason for reason in gate.reasons)
        assert sorted(gate.ended) == ["a", "b"]  # what waited never began
        assert it.session.ended is not None
        assert it.service.tally.turns == {Outcome.CANCELLED: 2}
        assert it.session.turns == {}
        with trio.fail_after(1):
            await it.session.idle()


async def test_after_its_end_a_session_takes_nothing(autojump_clock: MockClock) -> None:
    async with client(hello) as it:
        it.session.cancel("over")
        it.session.cancel("the first reason counts")
        await it.session.finished.wait()
        it.session.receive(create())
        it.session.receive(b"{}")
        await wait_all_tasks_blocked()
        assert it.wire.events == []
        assert it.session.ended == "over"
        with pytest.raises(ConnectionEnded, match="the session is over: over"):
            it.session.attach(MemoryWire())


@pytest.mark.parametrize("seed", range(8))
def test_a_session_that_could_be_resumed_and_its_connection_end_in_any_order(seed: int) -> None:
    async def stop_the_server() -> None:
        async with client(Gate(), policy=Resume(within=30)) as it, trio.open_nursery() as nursery:
            it.wire.say(create())
            await wait_all_tasks_blocked()
            it.nursery.start_soon(lose, it.session, it.wire)
            it.nursery.cancel_scope.cancel(reason="the server stopped")
            nursery.cancel_scope.cancel()
        assert it.session.ended == "the server stopped"

    async def lose(session: WireSession, wire: MemoryWire) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()
        session.detach(wire, "lost in the same moment")

    run(stop_the_server, seed=seed)


async def test_detached_the_turns_go_on_until_the_time_is_up(autojump_clock: MockClock) -> None:
    gate = Gate()
    async with no_leaks(), client(gate, policy=Resume(within=30)) as it:
        it.wire.say(create())
        await wait_all_tasks_blocked()
        begun = trio.current_time()
        it.wire.vanish(cause="reset by the peer")
        await trio.sleep(29)
        assert gate.running
        await it.session.finished.wait()
        assert trio.current_time() - begun == 30
    assert len(gate.reasons) == 1
    assert "not resumed within 30 s" in gate.reasons[0]
    assert "reset by the peer" in gate.reasons[0]


@pytest.mark.parametrize("policy", [Cancel(), Resume(within=10)], ids=["cancel", "resume"])
async def test_what_was_read_is_kept_only_for_those_who_may_come_back(
    policy: Policy, autojump_clock: MockClock
) -> None:
    async def hang(ask: Ask, out: Out) -> None:
        await out.text("begun")
        await trio.sleep_forever()

    async with client(hang, policy=policy) as it:
        it.wire.say(create())
        await it.wire.until("response.output_text.delta")
        (window,) = it.session.statistics().windows
        assert (window.kept_events > 0) is isinstance(policy, Resume)


async def test_resumed_in_time_nothing_is_cancelled(autojump_clock: MockClock) -> None:
    gate = Gate()
    async with client(gate, policy=Resume(within=30)) as it:
        it.wire.say(create())
        await wait_all_tasks_blocked()
        for _ in range(3):
            it.wire.vanish()
            await trio.sleep(29)
            it.attach(MemoryWire())
            await trio.sleep(29)
        gate.open.set()
        await it.wire.until()
        check(it.wire.events)


async def test_resumed_at_once_the_old_deadline_is_off(autojump_clock: MockClock) -> None:
    """Even before the task that waits for it has begun."""
    gate = Gate()
    async with client(gate, policy=Resume(within=30)) as it:
        it.wire.say(create())
        await wait_all_tasks_blocked()
        it.session.detach(it.wire, "gone")
        it.attach(MemoryWire())
        await trio.sleep(100)
        assert gate.running


async def test_a_second_connection_takes_over_from_one_that_looks_alive(autojump_clock: MockClock) -> None:
    gate = Gate()
    async with client(gate, policy=Resume(within=30)) as it:
        it.wire.say(create())
        await wait_all_tasks_blocked()
        old, new = it.wire, MemoryWire()
        it.attach(new)
        await wait_all_tasks_blocked()
        assert old.aborted == "the session goes on on another connection"
        it.session.detach(old, "gone")  # the old one's end is nobody's business now
        await trio.sleep(100)
        gate.open.set()
        await new.until()
        check(new.events)
        assert old.events == new.events[: len(old.events)]
        assert len(old.events) < len(new.events)


async def test_detached_a_turn_is_held_back_by_its_window(autojump_clock: MockClock) -> None:
    written = 0

    async def endless(ask: Ask, out: Out) -> None:
        nonlocal written
        while True:
            await out.text("x" * 100)
            written += 1

    async with client(endless, policy=Resume(within=30), limits=Limits(window_bytes=5000)) as it:
        it.wire.say(create())
        await it.wire.until("response.output_text.delta")
        it.wire.vanish()
        await trio.sleep(1)
        stopped = written
        await trio.sleep(10)
        assert written == stopped
        assert it.session.statistics().windows[0].waiting_bytes < 5000 + 200
        assert not it.session.outbox.pending  # nobody takes it, so nothing may gather there


async def test_who_reads_beside_a_connection_goes_on_without_it(autojump_clock: MockClock) -> None:
    """It has read what there is, and waits; the client, which read nothing, goes: now the reader makes room."""

    async def big(ask: Ask, out: Out) -> None:
        for _ in range(100):
            await out.text("x" * 100)

    limits = Limits(window_bytes=1000)
    async with client(big, policy=Resume(within=30), budget=0, limits=limits) as it, trio.open_nursery() as nursery:
        it.wire.say(create())
        await wait_all_tasks_blocked()
        (turn,) = it.session.turns.values()
        assert turn.response is not None
        onlooker = it.session.look_on(turn.response.id, -1)
        read: list[bytes] = []

        async def follow() -> None:
            while events := await onlooker.read(1000):
                read.extend(events)

        nursery.start_soon(follow)
        await wait_all_tasks_blocked()
        assert 0 < len(read) < 100
        it.wire.vanish()
        with trio.move_on_after(10):
            await it.session.idle()
        await wait_all_tasks_blocked()
        assert json.loads(read[-1])["type"] == "response.completed"


async def test_what_waits_in_a_lane_starts_without_a_connection(autojump_clock: MockClock) -> None:
    async with client(hello, policy=Resume(within=30), budget=0, limits=Limits(slice_bytes=1)) as it:
        it.wire.say(create("one", stream_id="a"))
        it.wire.say(create("two", stream_id="b"))
        await wait_all_tasks_blocked()
        it.wire.vanish()
        await trio.sleep(10)
        it.attach(MemoryWire())
        await it.session.idle()
        await wait_all_tasks_blocked()
        check_lanes(it.wire.events)
        assert kinds(it.wire.events).count("completed") == 2
