"""One turn is cancelled, at whatever moment: its end is told, and its lane goes on."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.extensions import cancelled
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Out
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
