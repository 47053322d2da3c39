"""Whose turn it is in a session, and how its turns end."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.desk import Outcome
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Out
from agentwire.runtime.turn import Turn
from agentwire.runtime.wire_session import WireSession
from agentwire.testing import no_leaks
from tests.runtime.kit import Gate, MemoryWire, attach, check_lanes, client, create, hello, kinds, service

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


# Its end


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
