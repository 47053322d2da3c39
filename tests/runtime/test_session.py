from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.codec import encode_json
from agentwire.protocol.desk import Outcome
from agentwire.protocol.errors import ConnectionEnded, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Out
from agentwire.runtime.outbox import ReserveExhausted
from agentwire.runtime.policies import Resume
from agentwire.runtime.turn import Turn
from agentwire.runtime.wire_session import WireSession
from agentwire.testing import no_leaks, run
from tests.runtime.kit import Event, MemoryWire, attach, check, check_lanes, client, create, service


async def hello(ask: Ask, out: Out) -> None:
    await out.text("hello")


class Gate:
    """An engine whose turns wait until the test lets them go on; what runs is known."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.ended: list[str] = []
        self.reasons: list[str] = []
        self.open = trio.Event()

    async def __call__(self, ask: Ask, out: Out) -> None:
        name = str(ask.request.stream_id)
        self.running.append(name)
        try:
            await out.text("begun")
            await self.open.wait()
            await out.text("ended")
        except trio.Cancelled as cancelled:
            self.reasons.append(str(cancelled))
            raise
        finally:
            self.running.remove(name)
            self.ended.append(name)


def kinds(events: list[Event]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


# Beginnings


class Calm(MemoryWire):
    """Has its writer take what it was nudged for a moment later, as a socket does."""

    nursery: trio.Nursery

    def nudge(self) -> None:
        self.nursery.start_soon(self._write)

    async def _write(self) -> None:
        self.kick()


async def test_an_engine_sends_its_request_before_anything_is_said(autojump_clock: MockClock) -> None:
    said: list[int] = []

    async def engine(ask: Ask, out: Out) -> None:
        said.append(len(wire.events))
        await trio.sleep(1)
        said.append(len(wire.events))
        await out.text("hello")

    made, wire = service(engine), Calm()
    async with trio.open_nursery() as nursery:
        session = WireSession(made, principal="tester")
        await nursery.start(session.run)
        wire.nursery = nursery
        attach(nursery, session, wire)
        events = await wire.ask()
        nursery.cancel_scope.cancel(reason="the test is over")
    assert said == [0, 2]
    assert kinds(events)[:3] == ["created", "in_progress", "output_item.added"]


# Requests


async def test_requests_of_one_lane_run_one_after_the_other(autojump_clock: MockClock) -> None:
    async with client(hello) as it:
        for number in range(5):
            it.wire.say(create(str(number)))
        while kinds(it.wire.events).count("completed") < 5:
            await it.wire.until()
    check_lanes(it.wire.events)
    ids = [event["response"]["id"] for event in it.wire.events if event["type"] == "response.created"]
    assert len(set(ids)) == 5


async def test_lanes_run_side_by_side_and_sixteen_at_most(autojump_clock: MockClock) -> None:
    gate = Gate()
    async with client(gate) as it:
        for number in range(20):
            it.wire.say(create(stream_id=f"lane-{number}"))
        await wait_all_tasks_blocked()
        assert set(gate.running) == {f"lane-{number}" for number in range(16)}
        assert it.session.statistics().desk.queued == 4
        gate.open.set()
        await it.session.idle()
        await wait_all_tasks_blocked()
    check_lanes(it.wire.events)
    assert kinds(it.wire.events).count("completed") == 20


async def test_a_continuation_may_be_sent_ahead(autojump_clock: MockClock) -> None:
    """The parent is looked up when the turn starts, and by then it is there."""
    async with client(hello) as it:
        it.wire.say(create("one", stream_id="a"))
        await it.wire.until("response.created")
        id_ = it.wire.events[0]["response"]["id"]
        it.wire.say(create("two", stream_id="a", previous_response_id=id_))
        await wait_all_tasks_blocked()
    assert kinds(it.wire.events).count("completed") == 2


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
        (b'{"a":' * 100_000, "request_too_complex", None),
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


async def test_a_full_queue_is_answered_and_leaves_no_trace(autojump_clock: MockClock) -> None:
    gate = Gate()
    async with client(gate, limits=Limits(queued=2)) as it:
        for number in range(4):
            it.wire.say(create(str(number), stream_id="a"))
        await it.wire.until("error")
        await wait_all_tasks_blocked()
        (error,) = [event for event in it.wire.events if event["type"] == "error"]
        assert (error["status"], error["error"]["code"], error["stream_id"]) == (429, "websocket_queue_full", "a")
        assert error["error"]["type"] == "rate_limit_error"
        assert error["headers"] == error["error"]["headers"] == {"retry-after": "1"}
        gate.open.set()
        await it.session.idle()
        assert kinds(it.wire.events).count("completed") == 3


async def test_the_33rd_lane_is_refused_by_its_name(autojump_clock: MockClock) -> None:
    async with client(hello) as it:
        for number in range(33):
            it.wire.say(create(stream_id=f"lane-{number}"))
        await it.session.idle()
        await wait_all_tasks_blocked()
        (error,) = [event for event in it.wire.events if event["type"] == "error"]
        assert (error["error"]["code"], error["stream_id"]) == ("websocket_stream_limit_reached", "lane-32")
        assert kinds(await it.wire.ask(stream_id="lane-0"))[-1] == "completed"
        assert kinds(await it.wire.ask())[-1] == "completed"


async def test_a_client_that_floods_and_never_reads_exhausts_the_reserve(autojump_clock: MockClock) -> None:
    made = service(hello, limits=Limits(reply_bytes=10_000))
    session = WireSession(made, principal="tester")
    session.attach(MemoryWire(budget=0))
    with pytest.raises(ReserveExhausted):
        _receive_often(session, b"{}")
    assert session.outbox.statistics().reply_bytes <= 10_000


# Steering


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


# Its end


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


async def test_a_request_in_the_same_moment_as_the_end_is_forgotten(autojump_clock: MockClock) -> None:
    gate = Gate()
    async with client(gate) as it:
        it.session.receive(create())
        it.session.cancel("at once")
        await it.session.finished.wait()
        with trio.fail_after(1):
            await it.session.idle()
        assert gate.ended == []


@pytest.mark.parametrize("swallow", ["return", "raise", "nursery"])
async def test_an_engine_that_answers_a_cancellation_badly_ends_alone(
    swallow: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def stubborn(ask: Ask, out: Out) -> Any:
        await out.text("x")
        if swallow == "nursery":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_fail_when_cancelled)
                nursery.start_soon(trio.sleep_forever)
        try:
            await trio.sleep_forever()
        except BaseException:  # noqa: BLE001 - as bad as can be
            if swallow == "raise":
                raise ValueError("while cleaning up") from None

    async with no_leaks(), trio.open_nursery() as nursery:
        made = service(stubborn)
        session = WireSession(made, principal="tester")
        await nursery.start(session.run)
        session.attach(MemoryWire())
        session.receive(create())
        await wait_all_tasks_blocked()
        session.cancel("the peer is gone")
    assert made.tally.turns in ({Outcome.CANCELLED: 1}, {Outcome.FAILED: 1})
    assert ("while cleaning up" in caplog.text) is (swallow != "return")


async def _fail_when_cancelled() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("while cleaning up")


async def test_cancelling_its_task_ends_it(autojump_clock: MockClock) -> None:
    gate = Gate()
    async with no_leaks(), client(gate) as it:
        it.wire.say(create())
        await wait_all_tasks_blocked()
        it.nursery.cancel_scope.cancel(reason="the server stopped")
    assert len(gate.reasons) == 1
    assert "the server stopped" in gate.reasons[0]
    assert it.session.finished.is_set()


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


async def test_idle_waits_for_what_runs_and_what_waits(autojump_clock: MockClock) -> None:
    gate = Gate()
    async with client(gate) as it:
        with trio.fail_after(1):
            await it.session.idle()
        for _ in range(3):
            it.wire.say(create())
        await wait_all_tasks_blocked()
        with trio.move_on_after(5) as scope:
            await it.session.idle()
        assert scope.cancelled_caught
        gate.open.set()
        await it.session.idle()
        assert kinds(it.wire.events).count("completed") == 3


async def test_a_lane_goes_on_when_the_last_one_is_read(autojump_clock: MockClock) -> None:
    async with client(hello, limits=Limits(slice_bytes=1), budget=3) as it:
        it.wire.say(create("one"))
        it.wire.say(create("two"))
        await wait_all_tasks_blocked()
        shown = it.session.statistics()
        assert (shown.desk.running, shown.desk.queued, len(shown.windows)) == (1, 1, 1)
        it.wire.read()
        await it.session.idle()
        check_lanes(it.wire.events)


async def test_a_turn_that_crashes_is_told_and_its_lane_goes_on(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    end = Turn._end
    crashes = iter([True, False])

    async def broken(self: Turn, *args: Any) -> None:
        if next(crashes):
            raise RuntimeError("our own fault")
        await end(self, *args)

    monkeypatch.setattr(Turn, "_end", broken)
    async with client(hello) as it:
        it.wire.say(create("one", stream_id="a"))
        it.wire.say(create("two", stream_id="a"))
        await it.session.idle()
        await wait_all_tasks_blocked()
        check_lanes(it.wire.events)
        assert [kind for kind in kinds(it.wire.events) if kind in ("error", "failed", "completed")] == [
            "error",
            "failed",
            "completed",
        ]
    assert "our own fault" in caplog.text


# Resuming (see test_resume for the cuts)


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
