"""The two queues of a link: what goes out, and what came in for one request."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.link.inbox import Inbox
from agentwire.link.outgoing import Outgoing


class Sender:
    def __init__(self) -> None:
        self.is_taken = False

    def taken(self) -> None:
        self.is_taken = True


async def test_outgoing_gives_whole_messages_in_order() -> None:
    outgoing, senders = Outgoing(100), [Sender() for _ in range(3)]
    for sender, data in zip(senders, (b"one", b"two", b"three"), strict=True):
        outgoing.put(sender, data)
    assert outgoing.take(4, b"".join) == b"onetwo"
    assert [sender.is_taken for sender in senders] == [True, True, False]
    assert (outgoing.pending, outgoing.waiting_bytes) == (True, 5)
    outgoing.withdraw(senders[2])
    assert (outgoing.pending, outgoing.waiting_bytes) == (False, 0)
    assert outgoing.take(4, b"".join) == b""
    outgoing.withdraw(senders[0])  # too late, and harmless
    assert outgoing.waiting_bytes == 0


async def test_outgoing_has_room_once_something_is_taken(autojump_clock: MockClock) -> None:
    outgoing = Outgoing(10)
    outgoing.put(Sender(), b"x" * 8)
    order: list[str] = []

    async def put(size: int) -> None:
        await outgoing.room(size)
        order.append(f"room for {size}")
        outgoing.put(Sender(), b"y" * size)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(put, 5)
        await wait_all_tasks_blocked()
        assert not order
        with trio.move_on_after(1):
            await put(50)  # gives up
        outgoing.take(100, b"".join)
        await wait_all_tasks_blocked()
        outgoing.take(100, b"".join)
        nursery.start_soon(put, 50)  # larger than the bound: passes alone
    assert order == ["room for 5", "room for 50"]
    outgoing.close()
    await outgoing.room(50)
    assert not outgoing.pending


async def test_an_inbox_gives_frames_then_its_end() -> None:
    inbox = Inbox(10)
    assert inbox.put(b"a")
    assert inbox.put(b"b")
    inbox.close()
    inbox.close(ValueError("the first word counts"))
    assert inbox.put(b"late")
    assert [await inbox.get(), await inbox.get(), await inbox.get(), await inbox.get()] == [b"a", b"b", None, None]


async def test_an_inbox_tells_its_error_after_the_last_frame() -> None:
    inbox = Inbox(10)
    inbox.put(b"a")
    inbox.close(ValueError("over"))
    assert await inbox.get() == b"a"
    for _ in range(2):
        with pytest.raises(ValueError, match="over"):
            await inbox.get()


async def test_an_inbox_is_bounded_in_bytes() -> None:
    inbox = Inbox(10)
    assert inbox.put(b"x" * 50)  # larger than the bound: takes no room from the others, which come with it
    assert inbox.put(b"y" * 10)
    assert not inbox.put(b"z")
    assert not inbox.put(b"z" * 50), "one such frame at a time"
    assert await inbox.get() == b"x" * 50
    assert not inbox.put(b"z")
    assert inbox.put(b"z" * 50)
    assert await inbox.get() == b"y" * 10
    assert inbox.put(b"y")
    inbox.close(drop=True)
    assert inbox.waiting_bytes == 0
    assert await inbox.get() is None


async def test_a_reader_that_is_cancelled_takes_nothing(autojump_clock: MockClock) -> None:
    inbox = Inbox(10)
    with trio.move_on_after(1) as scope:
        await inbox.get()
    assert scope.cancelled_caught
    inbox.put(b"a")
    with trio.move_on_after(0) as scope:
        await inbox.get()
    assert scope.cancelled_caught
    assert await inbox.get() == b"a"


async def test_a_reader_of_a_full_inbox_lets_others_run(autojump_clock: MockClock) -> None:
    inbox = Inbox(1000)
    for _ in range(1000):
        inbox.put(b"x")
    ran = 0

    async def count() -> None:
        nonlocal ran
        while inbox.waiting_bytes:
            ran += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        for _ in range(1000):
            await inbox.get()
    assert ran >= 10
