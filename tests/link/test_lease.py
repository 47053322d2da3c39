"""Leases: one owner's lane over all connections, lent while it rests, and names that nobody else is given."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.link.lanes import Lanes
from agentwire.link.lease import Lease, Reserved, lease_lane
from agentwire.protocol.errors import ConnectionEnded, LocalProtocolError


@attrs.define
class Way:
    lanes: Lanes


class Line:
    """A line whose connections hold so many names."""

    def __init__(self, limit: int = 4, running: int = 4) -> None:
        self.reserved = Reserved()
        self._size = (limit, running)
        self.current = self._open()
        self.over = False

    def _open(self) -> Way:
        return Way(Lanes(*self._size, self.reserved))

    async def way(self) -> Way:
        await trio.lowlevel.checkpoint()
        if self.over:
            raise ConnectionEnded(cause="given up")
        return self.current

    def reopen(self) -> None:
        old, self.current = self.current, self._open()
        old.lanes.close(ConnectionEnded(cause="lost"))


async def test_a_lease_keeps_its_name_on_the_next_connection() -> None:
    line = Line()
    async with lease_lane(line) as one, lease_lane(line, "plan") as two:
        assert (one.name, two.name) == ("auto-1", "plan")
        first = line.current
        assert await one.on(first) is await one.on(first) is first.lanes.find("auto-1")
        line.reopen()
        assert (await line.current.lanes.acquire()).name is None
        assert (await line.current.lanes.acquire()).name == "auto-2"
        assert (await line.current.lanes.acquire(named=True)).name == "auto-3"
        lane = await one.on(line.current)
        assert (lane.name, lane.held) == ("auto-1", True)
        assert line.current.lanes.find("auto-1") is lane
        assert (await two.on(line.current)).name == "plan"
    assert not lane.held
    assert await line.current.lanes.acquire() is lane
    assert not line.reserved


async def test_names_that_are_leased_are_kept_free_for_their_owners() -> None:
    line = Line(limit=3, running=4)
    async with lease_lane(line, "a"), lease_lane(line, "b") as b:
        line.reopen()
        lanes = line.current.lanes
        assert [(await lanes.acquire()).name for _ in range(2)] == [None, "auto-1"]
        with pytest.raises(LocalProtocolError, match="one too many"):
            await lanes.acquire("mine")
        with trio.move_on_after(0):
            await lanes.acquire()
        assert lanes.waiting == 0
        assert (await b.on(line.current)).name == "b"


async def test_one_name_too_many_is_said() -> None:
    line = Line(limit=1)
    async with lease_lane(line, "a"):
        with pytest.raises(LocalProtocolError, match="lane 'b' is one too many: a connection may name 1 lanes"):
            async with lease_lane(line, "b"):
                pass
    assert not line.reserved


async def test_who_leases_waits_for_a_free_lane(autojump_clock: MockClock) -> None:
    line = Line(limit=2)
    names: list[tuple[str | None, float]] = []

    async def use() -> None:
        async with lease_lane(line) as lease:
            names.append((lease.name, trio.current_time()))
            await trio.sleep(1)

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(use)
    assert sorted(name for name, _ in names) == ["auto-1", "auto-1", "auto-2", "auto-2"]  # type: ignore[type-var]
    assert [when - start for _, when in names] == [0, 0, 1, 1]


async def test_two_leases_of_one_name_follow_each_other_over_connections(autojump_clock: MockClock) -> None:
    line = Line()
    seen: list[str] = []

    async def second() -> None:
        async with lease_lane(line, "a"):
            seen.append("second")

    async with trio.open_nursery() as nursery, lease_lane(line, "a"):
        nursery.start_soon(second)
        await trio.sleep(1)
        line.reopen()
        await trio.sleep(1)
        seen.append("first leaves")
    assert seen == ["first leaves", "second"]


async def test_waiting_survives_the_connection_and_not_the_line(autojump_clock: MockClock) -> None:
    line = Line(limit=1)
    await line.current.lanes.acquire("auto-1")
    got: list[str | None] = []

    async def lease() -> None:
        async with lease_lane(line) as mine:
            got.append(mine.name)
            with pytest.raises(ConnectionEnded):
                async with lease_lane(line):
                    pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lease)
        await wait_all_tasks_blocked()
        line.reopen()
        await wait_all_tasks_blocked()
        line.over = True
        line.reopen()
    assert got == ["auto-1"]


async def test_a_lane_that_rests_is_lent_only_when_no_other_is_left(autojump_clock: MockClock) -> None:
    line = Line(limit=1, running=4)
    way, run, other = line.current, Lease(), Lease()
    lane = await run.on(way)
    assert lane.name is None
    run.rest()
    assert (await other.on(way)).name == "auto-1"
    borrower = Lease()
    assert await borrower.on(way) is lane
    back: list[object] = []

    async def go_on() -> None:
        back.append(await run.on(way))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go_on)
        await wait_all_tasks_blocked()
        assert not back
        borrower.release()
    assert back == [lane]
    run.release()
    assert not lane.held


async def test_a_lane_that_was_not_lent_is_there_still() -> None:
    way, run = Line().current, Lease()
    lane = await run.on(way, after="resp_1")
    run.rest()
    run.rest()
    assert await run.on(way) is lane
    run.rest()
    run.release()
    assert lane.free


async def test_who_waits_is_lent_a_lane_when_its_holder_rests(autojump_clock: MockClock) -> None:
    line = Line(limit=1, running=1)
    way, run, other = line.current, Lease(), Lease()
    lane = await run.on(way)
    way.lanes.claim("x")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.on, way)
        await wait_all_tasks_blocked()
        run.rest()
    run.release()
    assert lane.held  # by the other one, whose it is now
    other.release()
    assert lane.free


async def test_a_name_that_is_given_back_serves_who_waits_on_another_connection(autojump_clock: MockClock) -> None:
    line, names = Line(limit=1), list[str | None]()

    async def lease() -> None:
        async with lease_lane(line) as mine:
            names.append(mine.name)

    async with trio.open_nursery() as nursery:
        async with lease_lane(line, "a"):
            line.reopen()
            nursery.start_soon(lease)
            await trio.sleep(1)
            assert not names
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel(reason="the test is over")
    assert names == ["auto-1"]
