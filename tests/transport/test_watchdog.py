from __future__ import annotations

import math

import attrs
import trio
import trio.testing

from agentwire.transport.watchdog import Watchdog


@attrs.define(eq=False)
class Member:
    deadline: float = math.inf
    expired: list[float] = attrs.Factory(list)

    async def expire(self) -> None:
        self.expired.append(trio.current_time())
        self.deadline = math.inf


async def test_the_late_are_told_in_time_and_the_others_never(autojump_clock: trio.testing.MockClock) -> None:
    dog, start = Watchdog(), trio.current_time()
    early, late, met, left = (Member(start + seconds) for seconds in (5, 50, 5, 5))
    for member in (early, late, met, left):
        dog.add(member)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dog.run)
        await trio.sleep(4)
        met.deadline = start + 40
        dog.remove(left)
        await trio.sleep(4)
        met.deadline = math.inf
        assert early.expired == [start + 5]
        await trio.sleep(100)
        assert late.expired == [start + 50]
        assert not met.expired
        assert not left.expired
        nursery.cancel_scope.cancel(reason="the test is over")


async def test_an_earlier_deadline_is_not_overslept(autojump_clock: trio.testing.MockClock) -> None:
    dog, start = Watchdog(), trio.current_time()
    far, near = Member(start + 100), Member()
    dog.hurry(start + 100)  # nothing naps yet
    async with trio.open_nursery() as nursery:
        dog.add(far)
        dog.add(near)
        nursery.start_soon(dog.run)
        await trio.sleep(1)
        near.deadline = start + 3
        assert near.deadline < dog.next_look
        dog.hurry(near.deadline)
        await trio.sleep(10)
        assert near.expired == [start + 3]
        nursery.cancel_scope.cancel(reason="the test is over")
