"""When the reader of a connection pauses for those who read its events."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.link.flow import Flow
from agentwire.link.inbox import Inbox


def filled(flow: Flow, size: int) -> Inbox:
    inbox = Inbox(1, flow)
    assert inbox.put(b"x" * size)
    return inbox


def stuck(flow: Flow) -> bool:
    return flow.stuck


async def test_a_slow_one_alone_stops_the_reading_and_what_it_takes_may_be_read_again() -> None:
    flow = Flow(100, 1000)
    inbox = filled(flow, 99)
    assert not stuck(flow)
    inbox.put(b"y")
    assert stuck(flow)
    inbox.put(b"z" * 30)  # was read already
    await inbox.get()
    assert (flow.waiting_bytes, flow.stuck) == (31, False)
    inbox.put(b"z" * 110)
    assert stuck(flow)
    assert await inbox.get() == b"y"
    assert not stuck(flow)  # one byte was taken
    inbox.put(b"zz")
    assert stuck(flow)


async def test_beside_another_one_reading_goes_on_until_all_that_may_wait_waits() -> None:
    flow = Flow(100, 1000)
    slow, quick = filled(flow, 500), filled(flow, 10)
    assert not stuck(flow)
    slow.put(b"y" * 490)
    assert stuck(flow)
    await quick.get()
    assert not stuck(flow)
    quick.close()
    assert stuck(flow)  # the slow one is alone now
    slow.close(drop=True)
    assert (flow.waiting_bytes, flow.slow, flow.running, flow.stuck) == (0, 0, 0, False)


async def test_what_has_ended_waits_and_holds_nobody_up() -> None:
    flow = Flow(100, 1000)
    ended = filled(flow, 500)
    ended.close()
    assert (flow.waiting_bytes, flow.slow, flow.running, flow.stuck) == (500, 0, 0, False)
    assert len(await ended.get_some()) == 1
    assert await ended.get_some() == []
    assert flow.waiting_bytes == 0


async def test_the_reader_waits_and_the_time_is_known(autojump_clock: MockClock) -> None:
    flow = Flow(100, 1000)
    inbox, went_on = filled(flow, 200), trio.Event()

    async def read() -> None:
        await flow.go_on()
        went_on.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        await trio.sleep(50)
        assert flow.held == trio.current_time()
        begun = trio.current_time()
        assert not went_on.is_set()
        await inbox.get()
        await went_on.wait()
        await trio.sleep(50)
        assert flow.held == begun
