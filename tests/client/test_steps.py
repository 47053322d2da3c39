"""The way from a run to its watcher."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.client.steps import Steps, TextDelta


async def test_steps_wait_for_room_but_those_of_tools(autojump_clock: MockClock) -> None:
    steps = Steps(2)
    done: list[str] = []

    async def put(text: str) -> None:
        await steps.put(TextDelta(text))
        done.append(text)

    async with trio.open_nursery() as nursery:
        for text in "abc":
            nursery.start_soon(put, text)
            await wait_all_tasks_blocked()
        assert done == ["a", "b"]
        steps.put_nowait(TextDelta("tool"))
        assert len(steps) == 3
        seen = [await steps.get() for _ in range(2)]
        await wait_all_tasks_blocked()
        assert done == ["a", "b", "c"]
        steps.close()
        seen += [await steps.get() for _ in range(3)]
    assert seen == [TextDelta("a"), TextDelta("b"), TextDelta("tool"), TextDelta("c"), None]


async def test_nobody_waits_for_a_watcher_who_has_left(autojump_clock: MockClock) -> None:
    steps = Steps(1)
    async with trio.open_nursery() as nursery:
        await steps.put(TextDelta("a"))
        nursery.start_soon(steps.put, TextDelta("b"))
        await wait_all_tasks_blocked()
        steps.unwatch()
        for _ in range(10):
            await steps.put(TextDelta("c"))
        nursery.start_soon(steps.ended)
        await wait_all_tasks_blocked()
        steps.close()
    assert len(steps) == 0


async def test_a_reader_that_is_cancelled_takes_nothing(autojump_clock: MockClock) -> None:
    steps = Steps(1)
    with trio.move_on_after(1):
        await steps.get()
    steps.put_nowait(TextDelta("a"))
    assert await steps.get() == TextDelta("a")
