"""What turns used is recorded, however they ended: in totals and log, and in the terminal event if there is one."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.codec import encode_json
from agentwire.protocol.desk import Outcome
from agentwire.protocol.errors import EngineError
from agentwire.protocol.extensions import cancelled
from agentwire.protocol.limits import Limits
from agentwire.protocol.response import Usage
from agentwire.runtime.accounting import Account, Tally
from agentwire.runtime.background import Background
from agentwire.runtime.contracts import Ask, Engine, Finish, Out, Summarized
from agentwire.runtime.pulse import Pulse
from agentwire.runtime.turn import Turn
from agentwire.stores import MemoryStore
from tests.runtime.kit import Event, client, create, service

READ = Usage(100, 0, 60)
WROTE = Usage(100, 7, 60)


async def reads_and_hangs(ask: Ask, out: Out) -> Finish:
    out.use(READ)
    await out.text("thinking")
    out.use(WROTE)
    await trio.sleep_forever()
    raise AssertionError


def used(event: Event) -> tuple[int, int, int]:
    usage = event["response"]["usage"]
    return usage["input_tokens"], usage["output_tokens"], usage["input_tokens_details"]["cached_tokens"]


async def test_a_client_that_goes_leaves_what_was_used(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "agentwire.turn")
    async with client(reads_and_hangs) as it:
        await trio.sleep(10)  # its time begins with the turn
        it.wire.say(create())
        await it.wire.until("response.in_progress")
        await wait_all_tasks_blocked()
        await trio.sleep(2.5)
        it.wire.vanish()
        await it.session.finished.wait()
        response_id = it.wire.events[0]["response"]["id"]
        assert it.service.tally.used == {Outcome.CANCELLED: WROTE}
        assert it.service.tally.used_by == {"tester": WROTE}
    assert caplog.messages == [
        f"response {response_id}: cancelled after 2.500 s, model 'test', 100 tokens in (60 cached), 7 out, for tester"
    ]


async def test_a_cancelled_turn_says_what_was_used(autojump_clock: MockClock) -> None:
    async with client(reads_and_hangs) as it:
        it.wire.say(create())
        await wait_all_tasks_blocked()
        (turn,) = it.session.turns.values()
        assert turn.cancel(cancelled())
        events = await it.wire.until()
        assert used(events[-1]) == (100, 7, 60)
        await it.session.idle()
        assert it.service.tally.used == {Outcome.CANCELLED: WROTE}


async def test_a_steered_turn_says_what_was_used(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> Finish:
        if "stop" in str(ask.new_items):
            return Finish(Usage(5, 5))
        out.use(WROTE)
        await trio.sleep_forever()
        raise AssertionError

    async with client(engine) as it:
        it.wire.say(create())
        await it.wire.until("response.in_progress")
        id_ = it.wire.events[0]["response"]["id"]
        it.wire.say(encode_json({"type": "response.steer", "previous_response_id": id_, "input": "stop"}))
        await it.session.idle()
        (steered,) = [event for event in it.wire.events if event["type"] == "response.incomplete"]
        assert used(steered) == (100, 7, 60)
        assert it.service.tally.used == {Outcome.INCOMPLETE: WROTE, Outcome.COMPLETED: Usage(5, 5)}


@pytest.mark.parametrize("error", [EngineError("no", code="upstream_disconnected", status=502), KeyError("a bug")])
async def test_a_failed_turn_says_what_was_used(error: Exception, autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        out.use(WROTE)
        raise error

    async with client(engine) as it:
        events = await it.wire.ask()
        assert events[-1]["type"] == "response.failed"
        assert used(events[-1]) == (100, 7, 60)
        assert it.service.tally.used == {Outcome.FAILED: WROTE}


async def look() -> str:
    return "seen"


async def looks(ask: Ask, out: Out) -> Finish:
    await out.call("look", {})
    return Finish(WROTE)


async def says_nothing(ask: Ask, out: Out) -> Finish:
    return Finish(WROTE)


@pytest.mark.parametrize(
    ("engine", "request_", "times"),
    [(looks, {}, 2), (says_nothing, {"tool_choice": "required"}, 1)],
    ids=["too many steps", "no call where one was due"],
)
async def test_a_turn_that_breaks_a_rule_says_what_was_used(
    engine: Engine, request_: dict[str, Any], times: int, autojump_clock: MockClock
) -> None:
    async with client(engine, look, limits=Limits(steps=2)) as it:
        events = await it.wire.ask(**request_)
        assert events[-1]["type"] == "response.failed"
        assert used(events[-1]) == (100 * times, 7 * times, 60 * times)


async def test_a_turn_that_crashes_says_what_was_used(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: Turn, *_: Any) -> None:
        raise RuntimeError("our own fault")

    monkeypatch.setattr(Turn, "_end", broken)
    async with client(says_nothing) as it:
        events = await it.wire.ask()
        assert (events[-1]["type"], used(events[-1])) == ("response.failed", (100, 7, 60))


async def test_a_finish_replaces_what_was_said_before(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> Finish:
        out.use(READ)
        return Finish(Usage(100, 9))

    async def vague(ask: Ask, out: Out) -> Finish:
        out.use(READ)
        out.use(WROTE)
        return Finish()

    async with client(engine) as it:
        assert used((await it.wire.ask())[-1]) == (100, 9, 0)
    async with client(vague) as it:
        assert used((await it.wire.ask())[-1]) == (100, 7, 60)


async def test_the_steps_of_a_turn_add_up_though_the_last_is_cut(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> Finish:
        if ask.step:
            out.use(Usage(20, 1))
            await trio.sleep_forever()
        await out.call("look", {})
        return Finish(Usage(10, 2))

    async with client(engine, look) as it:
        it.wire.say(create())
        await trio.sleep(1)
        it.wire.vanish()
        await it.session.finished.wait()
        assert it.service.tally.used == {Outcome.CANCELLED: Usage(30, 3)}


async def test_a_response_that_is_too_large_counts_what_was_said(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        out.use(WROTE)
        while True:
            await out.text("x" * 100)

    async with client(engine, limits=Limits(response_bytes=5_000)) as it:
        events = await it.wire.ask()
        assert events[-1]["type"] == "response.incomplete"
        assert used(events[-1]) == (100, 7, 60)


class Summarizer:
    """An engine that can read 5000 tokens, and spends 50 on a summary."""

    context_tokens = 5000

    async def __call__(self, ask: Ask, out: Out) -> Finish:
        await out.text("ok")
        return Finish(Usage(10, 1))

    async def compact(self, ask: Ask) -> Summarized:
        await trio.lowlevel.checkpoint()
        return Summarized("They talked.", Usage(40, 10))


async def test_a_summary_counts_with_the_turn_that_needed_it(autojump_clock: MockClock) -> None:
    said: list[Any] = [{"role": "user", "content": f"{number} {'word ' * 200}"} for number in range(8)]
    async with client(Summarizer()) as it:
        context: list[Any] = [{"type": "compaction", "compact_threshold": 1000}]
        events = await it.wire.ask(said, context_management=context)
        assert used(events[-1]) == (50, 11, 0)
        assert it.service.tally.used == {Outcome.COMPLETED: Usage(50, 11)}


async def test_a_compaction_on_demand_counts_what_the_engine_read(autojump_clock: MockClock) -> None:
    said: list[Any] = [{"role": "user", "content": f"{number} {'word ' * 200}"} for number in range(8)]
    async with client(Summarizer()) as it:
        await it.wire.ask([*said, {"type": "compaction_trigger"}])
        assert it.service.tally.used == {Outcome.COMPLETED: Usage(40, 10)}


async def test_a_warm_up_uses_nothing(autojump_clock: MockClock) -> None:
    async with client(reads_and_hangs) as it:
        await it.wire.ask(generate=False)
        assert it.service.tally.used == {}
        assert it.service.tally.turns == {Outcome.COMPLETED: 1}


async def test_a_refused_request_is_logged_without_a_response(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "agentwire.turn")
    async with client(reads_and_hangs) as it:
        await it.wire.ask(temperature="hot")
        await it.wire.ask(previous_response_id="resp_nowhere")
    assert caplog.messages == [
        "a request: refused (invalid_type) after 0.000 s, for tester",
        "a request: refused (previous_response_not_found) after 0.000 s, for tester",
    ]


async def test_a_background_response_that_is_stopped_shows_what_was_used(autojump_clock: MockClock) -> None:
    store, limits = MemoryStore(), Limits()
    made = service(reads_and_hangs, store=store, limits=limits)
    async with trio.open_nursery() as nursery:
        job = await Background(made, Pulse(limits), nursery).start(
            "p", b'{"model": "m", "input": "hi", "background": true}'
        )
        await trio.sleep(1)
        nursery.cancel_scope.cancel(reason="the server stops")
    assert job.response is not None
    stored = await store.get("p", job.response.id)
    assert stored is not None
    assert json.loads(stored.response)["usage"]["output_tokens"] == 7
    assert made.tally.used_by == {"p": WROTE}


def test_what_a_client_named_cannot_forge_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "agentwire.turn")
    forged = "m\n2026 INFO all is well" + "x" * 1000
    account = Account(outcome=Outcome.COMPLETED, response_id="resp_1", model=forged, principal="p", seconds=1)
    tally = Tally()
    tally.enter(account)
    (line,) = caplog.messages
    assert "\n" not in line
    assert len(line) < 250
    assert tally.turns == {Outcome.COMPLETED: 1}


def test_totals_are_kept_by_outcome_and_by_principal() -> None:
    tally = Tally()
    for outcome, who in ((Outcome.COMPLETED, "a"), (Outcome.FAILED, "a"), (Outcome.COMPLETED, "b")):
        tally.enter(
            Account(outcome=outcome, response_id="r", model="m", principal=who, seconds=0, used=Usage(10, 2, 1))
        )
    assert tally.used == {Outcome.COMPLETED: Usage(20, 4, 2), Outcome.FAILED: Usage(10, 2, 1)}
    assert tally.used_by == {"a": Usage(20, 4, 2), "b": Usage(10, 2, 1)}
