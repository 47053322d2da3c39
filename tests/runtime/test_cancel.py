"""One turn is cancelled, at whatever moment: its end is told, and its lane goes on."""

from __future__ import annotations

import asyncio

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.extensions import cancelled
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Engine, Out
from tests.runtime.kit import check, client, create


@pytest.mark.parametrize("generate", [True, False])
async def test_before_its_engine_has_begun(generate: bool, autojump_clock: MockClock) -> None:
    """A response that shows large settings waits for its reader; it is cancelled there."""
    asked: list[Ask] = []

    async def engine(ask: Ask, out: Out) -> None:
        asked.append(ask)

    async with client(engine, limits=Limits(slice_bytes=1, window_bytes=100), budget=0) as it:
        it.wire.say(create(generate=generate))
        await wait_all_tasks_blocked()
        (turn,) = it.session.turns.values()
        assert turn.cancel(cancelled())
        it.wire.read()
        events = await it.wire.until()
        check(events)
        assert events[-1]["response"]["error"]["code"] == "agentwire:cancelled"
        assert asked == []


async def test_when_it_is_about_to_end_it_ends(autojump_clock: MockClock) -> None:
    async with client(lambda ask, out: out.text("x"), limits=Limits(slice_bytes=1, window_bytes=1500), budget=0) as it:
        it.wire.say(create(instructions="x" * 400))
        await wait_all_tasks_blocked()
        (turn,) = it.session.turns.values()
        while turn.ending is None:
            it.wire.read(1)
            await wait_all_tasks_blocked()
        assert not turn.cancel(cancelled())
        it.wire.read()
        assert (await it.wire.until())[-1]["type"] == "response.completed"


async def test_whoever_cleans_up_slowly_is_waited_for(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        await out.text("begun")
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
            raise RuntimeError("and then it failed")

    async with client(engine) as it:
        it.wire.say(create())
        await wait_all_tasks_blocked()
        (turn,) = it.session.turns.values()
        begun = trio.current_time()
        assert turn.cancel(cancelled())
        assert turn.cancel(cancelled())  # twice is once
        events = await it.wire.until()
        check(events)
        assert trio.current_time() - begun == 3
        assert events[-1]["response"]["error"]["code"] == "agentwire:cancelled"


async def tears() -> None:
    """A tool, or what an engine does, of which a cancellation makes two things: itself, and what is no `Exception`."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tear)
        await trio.sleep_forever()


async def _tear() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise asyncio.CancelledError("torn")


async def works(ask: Ask, out: Out) -> None:
    await tears()


async def calls(ask: Ask, out: Out) -> None:
    await out.call("tears", "{}")


async def works_and_calls(ask: Ask, out: Out) -> None:
    await calls(ask, out)
    await tears()


class Counts:
    """An engine that counts, beside its steps."""

    async def __call__(self, ask: Ask, out: Out) -> None:
        raise AssertionError

    async def count_tokens(self, ask: Ask) -> int:
        await tears()
        return 1


@pytest.mark.parametrize("end", ["the turn's", "the connection's", "the server's"])
@pytest.mark.parametrize("engine", [works, calls, works_and_calls, Counts()])
async def test_whatever_cleaning_up_raises_ends_nobody_else(
    engine: Engine, end: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with client(engine, tears) as it:
        it.wire.say(create(generate=not isinstance(engine, Counts)))
        await wait_all_tasks_blocked()
        (turn,) = it.session.turns.values()
        if end == "the turn's":
            assert turn.cancel(cancelled())
            assert (await it.wire.until())[-1]["response"]["error"]["code"] == "agentwire:cancelled"
        elif end == "the connection's":
            it.wire.vanish()
            await it.session.finished.wait()
    assert "CancelledError: torn" in caplog.text
