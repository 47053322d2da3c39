"""Lanes: one holder at a time, first come first served, and nothing lost by cancellation."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from agentwire.link.exchange import Exchange
from agentwire.link.lanes import Lanes
from agentwire.protocol.errors import ConnectionEnded
from agentwire.testing import run

# A task: the lane it wants, when it comes, how long it holds the lane, and after how long it gives up waiting.
NAMES = st.sampled_from([None, "a", "b"])
TASKS = st.lists(st.tuples(NAMES, st.integers(0, 5), st.integers(0, 3), st.integers(0, 6)), max_size=20)


@given(tasks=TASKS, running=st.integers(1, 4))
def test_a_lane_has_one_holder_and_serves_in_order(tasks: list[tuple[str | None, int, int, int]], running: int) -> None:
    holders: dict[str | None, int] = {}
    asked: dict[str, list[int]] = {}
    served: dict[str, list[int]] = {}

    async def use(lanes: Lanes, number: int, task: tuple[str | None, int, int, int]) -> None:
        name, come, hold, patience = task
        await trio.sleep(come + number * 1e-6)  # who comes first is known
        if name is not None:
            asked.setdefault(name, []).append(number)
        with trio.move_on_after(patience + 0.5):
            lane = await lanes.acquire(name)
            assert name is None or lane.name == name
            if name is not None:
                served.setdefault(name, []).append(number)
            assert holders.get(lane.name, 0) == 0
            holders[lane.name] = 1
            with trio.CancelScope(shield=True):
                await trio.sleep(hold)
            holders[lane.name] = 0
            lanes.release(lane)

    async def main() -> Lanes:
        lanes = Lanes(5, running)
        async with trio.open_nursery() as nursery:
            for number, task in enumerate(tasks):
                nursery.start_soon(use, lanes, number, task)
        return lanes

    lanes = run(main)
    assert lanes.waiting == 0
    assert all(lane.free for lane in lanes)
    assert len(lanes) <= running + 2
    for name, order in served.items():
        assert order == [number for number in asked[name] if number in order]


async def test_the_end_of_the_connection_wakes_everybody() -> None:
    lanes = Lanes(1, 1)
    end = ConnectionEnded(cause="over")
    told: list[str] = []

    async def wait(name: str | None) -> None:
        with pytest.raises(ConnectionEnded) as caught:
            await lanes.acquire(name)
        told.append(caught.value.cause)

    await lanes.acquire("a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "a")
        nursery.start_soon(wait, "a")
        await trio.testing.wait_all_tasks_blocked()
        lanes.close(end)
    await wait("b")
    assert told == ["over"] * 3


async def test_a_free_lane_of_the_caller_is_not_given_to_others() -> None:
    lanes = Lanes(8, 8)
    lanes.release(await lanes.acquire("auto-1"))
    first, second = await lanes.acquire(), await lanes.acquire()
    assert (first.name, second.name) == (None, "auto-2")


async def test_the_lane_that_is_forked_from_does_not_go_on_before_the_fork_has_begun() -> None:
    lanes = Lanes(4, 4)
    source, fork = await lanes.acquire("a"), await lanes.acquire("b")
    source.latest = "resp_1"
    assert lanes.remember("resp_1")
    lanes.fork(fork, "resp_1")
    gone: list[str] = []

    async def go_on() -> None:
        await lanes.quiet(source)
        gone.append("on")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go_on)
        await trio.testing.wait_all_tasks_blocked()
        assert not gone
        lanes.begun(fork)
    assert gone == ["on"]
    lanes.fork(source, "resp_1")  # a lane that goes on is no fork
    await lanes.quiet(source)


async def test_a_lane_that_is_forked_from_is_not_given_to_another_request() -> None:
    lanes = Lanes(4, 4)
    source, fork = await lanes.acquire(), await lanes.acquire("b")
    source.latest = "resp_1"
    lanes.release(source)
    lanes.fork(fork, "resp_1")
    other = await lanes.acquire(after="resp_1")
    assert other not in (source, fork)
    lanes.settle(fork)
    assert await lanes.acquire(after="resp_1") is source


async def test_a_holder_waits_for_what_it_abandoned() -> None:
    lanes = Lanes(4, 4)
    lane = await lanes.acquire("a")
    lane.current = Exchange(lane, limit=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lanes.quiet, lane)
        await trio.testing.wait_all_tasks_blocked()
        lanes.settle(lane)


async def test_a_holder_who_waits_is_told_of_the_end() -> None:
    lanes = Lanes(4, 4)
    lane = await lanes.acquire("a")
    lane.current = Exchange(lane, limit=1)

    async def go_on() -> None:
        with pytest.raises(ConnectionEnded):
            await lanes.quiet(lane)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go_on)
        await trio.testing.wait_all_tasks_blocked()
        lanes.close(ConnectionEnded(cause="over"))


async def test_runs_may_have_as_many_lanes_as_there_are_names() -> None:
    lanes = Lanes(6, 3)
    passing = [(await lanes.acquire()).name for _ in range(3)]
    lasting = [(await lanes.acquire(lasting=True)).name for _ in range(4)]
    assert passing == [None, "auto-1", "auto-2"]
    assert lasting == ["auto-3", "auto-4", "auto-5", "auto-6"]
