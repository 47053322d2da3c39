from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from agentwire.runtime.window import Window

HEAD = b'{"type":"x","sequence_number":'


def plain(events: Sequence[bytes]) -> bytes:
    return b"".join([event + b"\n" for event in events])


class Reader:
    """Reads a window, and counts how often it was told that there is something."""

    def __init__(self, limit: int = 1000, keep: int = 0) -> None:
        self.told = 0
        self.window = Window(limit=limit, ready=self._ready, keep=keep)

    def _ready(self, window: Window) -> None:
        assert window is self.window
        self.told += 1

    def read(self, budget: int = 1 << 30) -> list[int]:
        return [json.loads(event)["sequence_number"] for event in self.window.collect(plain, budget).splitlines()]


def fill(window: Window, events: int, size: int = 100) -> None:
    for _ in range(events):
        window.put_nowait(HEAD, b',"x":"%b"' % (b"." * (size - len(HEAD) - 8)))


async def test_events_are_numbered_and_closed_in_order() -> None:
    window = Window(limit=1000, ready=lambda _: None, ending=b',"stream_id":"a"}')
    await window.put(HEAD, b',"delta":"1"')
    window.put_nowait(HEAD, b"")
    assert [json.loads(event) for event in window.collect(plain, 1 << 20).splitlines()] == [
        {"type": "x", "sequence_number": 0, "delta": "1", "stream_id": "a"},
        {"type": "x", "sequence_number": 1, "stream_id": "a"},
    ]


async def test_the_reader_is_told_once_until_it_has_read_everything() -> None:
    reader = Reader()
    fill(reader.window, 3)
    assert reader.told == 1
    assert reader.read(150) == [0, 1]
    fill(reader.window, 1)
    assert reader.told == 1  # it still had something
    assert reader.read() == [2, 3]
    assert not reader.window.pending
    fill(reader.window, 1)
    assert reader.told == 2


class Work:
    """Gives two events, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.done = 0

    def __call__(self) -> tuple[tuple[bytes, bytes], ...]:
        self.done += 1
        return (HEAD, b',"x":"long"'), (HEAD, b"")


async def test_events_put_off_have_their_places_at_once_and_are_made_when_they_are_read() -> None:
    reader, work = Reader(), Work()
    reader.window.put_later(work, 2, 500)
    assert (reader.told, work.done, reader.window.patient, reader.window.pending) == (1, 0, True, True)
    assert (reader.window.size, reader.window.total_bytes, reader.window.next_number) == (500, 500, 2)
    fill(reader.window, 1)
    assert (reader.told, work.done) == (1, 0), "another event does not need them"
    frames = reader.window.collect(plain, 1 << 20).splitlines()
    assert [json.loads(frame) for frame in frames[:2]] == [
        {"type": "x", "sequence_number": 0, "x": "long"},
        {"type": "x", "sequence_number": 1},
    ]
    assert json.loads(frames[2])["sequence_number"] == 2
    assert (work.done, reader.window.patient, reader.window.size) == (1, False, 0)
    assert reader.window.total_bytes == sum(map(len, frames))
    fill(reader.window, 1)
    assert (reader.told, reader.read(), work.done) == (2, [3], 1)


async def test_events_put_off_count_as_what_they_are_said_to_be_until_they_are_made() -> None:
    reader = Reader(limit=600)
    reader.window.put_later(Work(), 2, 550)
    assert not reader.window.put_if_room(HEAD, b',"x":"%b"' % (b"." * 60))
    assert reader.read(40) == [0]
    assert reader.window.size == len(HEAD) + 2
    assert reader.window.put_if_room(HEAD, b',"x":"%b"' % (b"." * 60))
    assert reader.read() == [1, 2]


async def test_behind_others_nothing_is_put_off() -> None:
    reader, work = Reader(), Work()
    fill(reader.window, 1)
    reader.window.put_later(work, 2, 500)
    assert (work.done, reader.window.patient) == (1, False)
    assert reader.read() == [0, 1, 2]


@pytest.mark.parametrize("look", ["rewind", "peek", "skip"])
async def test_whoever_looks_at_what_is_kept_sees_events_that_were_put_off(look: str) -> None:
    reader = Reader(keep=1000)
    fill(reader.window, 1)
    assert reader.read() == [0]
    reader.window.put_later(Work(), 2, 500)
    if look == "rewind":
        reader.window.rewind(0, reader._ready)
        assert reader.read() == [0, 1, 2]
    elif look == "peek":
        assert [json.loads(event)["sequence_number"] for event in reader.window.peek(1, 1000)] == [1, 2]
        assert reader.read() == [1, 2]
    else:
        reader.window.skip_to(2)
        assert reader.window.size == reader.window.total_bytes
        assert reader.read() == [2]
    assert not reader.window.pending
    assert reader.window.size == reader.window.total_bytes


async def test_events_put_together_are_told_of_together() -> None:
    reader = Reader()
    reader.window.put_together((HEAD, b""), (HEAD, b""))
    assert reader.told == 1
    assert reader.window.statistics().waiting_bytes == sum(len(HEAD) + 2 for _ in range(2))
    reader.window.put_together((HEAD, b""))
    assert reader.told == 1
    assert reader.read() == [0, 1, 2]
    assert reader.window.statistics().waiting_bytes == 0


async def test_whoever_waits_for_room_lets_go_what_was_held_back() -> None:
    reader = Reader(limit=300)

    async def write() -> None:
        with reader.window.together():
            for _ in range(6):
                await reader.window.put(HEAD, b',"x":"%b"' % (b"." * 60))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await wait_all_tasks_blocked()
        assert reader.told == 1
        seen = reader.read()
        assert 0 < len(seen) < 6
        while len(seen) < 6:
            await wait_all_tasks_blocked()
            seen += reader.read()
    assert seen == list(range(6))


async def test_what_is_released_is_not_held_back_again() -> None:
    reader = Reader()
    with reader.window.together():
        fill(reader.window, 1)
        reader.window.release()
        assert (reader.told, reader.read()) == (1, [0])
        fill(reader.window, 1)
        assert (reader.told, reader.read()) == (2, [1])
    assert reader.told == 2


async def test_what_comes_in_together_leaves_in_one_write_and_within_the_bound() -> None:
    reader = Reader(limit=250)
    with reader.window.together():
        assert reader.window.put_if_room(HEAD, b',"x":"%b"' % (b"." * 300))  # one event passes alone, whatever its size
        assert not reader.window.put_if_room(HEAD, b"")
        assert reader.told == 0
    assert reader.told == 1
    assert reader.read() == [0]
    with reader.window.together():
        pass
    assert reader.told == 1


async def test_a_producer_whose_reader_was_faster_does_not_wait_for_it() -> None:
    reader = Reader(limit=250)
    with reader.window.together():
        assert reader.window.put_if_room(HEAD, b',"x":"%b"' % (b"." * 300))
        full = not reader.window.put_if_room(HEAD, b"")
    assert full
    assert reader.read() == [0]
    with trio.fail_after(1):
        await reader.window.wait_for_room()
    assert reader.window.put_if_room(HEAD, b"")


async def test_a_producer_waits_for_room(autojump_clock: trio.testing.MockClock) -> None:
    reader = Reader(limit=250)
    done: list[int] = []

    async def produce() -> None:
        for number in range(4):
            await reader.window.put(HEAD, b',"x":"%b"' % (b"." * 60))
            done.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        await wait_all_tasks_blocked()
        assert done == [0, 1]
        assert reader.window.statistics().tasks_waiting == 1
        assert reader.read(1) == [0]
        await wait_all_tasks_blocked()
        assert done == [0, 1, 2]
        assert reader.read() == [1, 2]
    assert done == [0, 1, 2, 3]


async def test_an_event_larger_than_the_window_passes_alone(autojump_clock: trio.testing.MockClock) -> None:
    reader = Reader(limit=100)
    with trio.fail_after(1):
        await reader.window.put(HEAD, b"." * 5000)
    with trio.move_on_after(1) as scope:
        await reader.window.put(HEAD, b"")
    assert scope.cancelled_caught


async def test_a_cancelled_wait_takes_no_number(autojump_clock: trio.testing.MockClock) -> None:
    reader = Reader(limit=100)
    fill(reader.window, 1)
    with trio.move_on_after(1):
        await reader.window.put(HEAD, b"." * 50)
    assert reader.read() == [0]
    await reader.window.put(HEAD, b"")
    assert reader.read() == [1]


async def test_many_producers_share_the_room(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever waits: numbers have no gap, and never more waits than there is room for."""
    reader = Reader(limit=300)

    async def produce(size: int) -> None:
        for _ in range(20):
            await reader.window.put(HEAD, b'"' + b"." * size)

    async with trio.open_nursery() as nursery:
        for size in (10, 60, 100):
            nursery.start_soon(produce, size)
        read: list[int] = []
        while len(read) < 60:
            await wait_all_tasks_blocked()
            assert reader.window.statistics().waiting_bytes <= 300 + 2 * 30  # the numbers themselves do not count
            events = reader.window.collect(plain, 1).splitlines()
            read += [int(event[len(HEAD) :].partition(b'"')[0]) for event in events]
    assert read == list(range(60))


@pytest.mark.parametrize("at_once", [False, True], ids=["unread", "read by the producer itself"])
async def test_a_producer_that_never_waits_lets_others_run(at_once: bool) -> None:
    others = 0

    def ready(window: Window) -> None:
        if at_once:
            window.collect(plain, 1 << 30)

    window = Window(limit=1 << 30, ready=ready)

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(2000):
            await window.put(HEAD, b"")
        assert others >= 10
        nursery.cancel_scope.cancel(reason="seen")


async def test_a_producer_whose_reader_keeps_up_needs_no_pause() -> None:
    """While the reader reads, others run anyway."""
    reader = Reader(limit=1 << 30)
    with trio.testing.assert_no_checkpoints():
        for _ in range(5):
            for _ in range(100):
                await reader.window.put(HEAD, b"")
            assert len(reader.read()) == 100


async def test_drained_waits_for_the_reader(autojump_clock: trio.testing.MockClock) -> None:
    reader = Reader()
    fill(reader.window, 3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.window.drained)
        await wait_all_tasks_blocked()
        reader.read(150)
        await wait_all_tasks_blocked()
        assert nursery.child_tasks
        reader.read()
    with trio.fail_after(1):
        await reader.window.drained()


async def test_readable_until_closed(autojump_clock: trio.testing.MockClock) -> None:
    reader = Reader()
    answers: list[bool] = []

    async def read() -> None:
        while await reader.window.readable():
            answers.append(True)
            reader.read()
        answers.append(False)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        fill(reader.window, 2)
        await wait_all_tasks_blocked()
        fill(reader.window, 1)
        await wait_all_tasks_blocked()
        reader.window.close()
    assert answers == [True, True, False]
    assert reader.window.closed


async def test_nothing_is_kept_unless_it_shall_be() -> None:
    reader = Reader()
    fill(reader.window, 5)
    reader.read()
    assert reader.window.statistics().kept_events == 0
    for number in (4, 5):
        with pytest.raises(ValueError, match=f"event {number} is not kept"):
            reader.window.rewind(number, lambda _: None)


@pytest.mark.parametrize("number", range(6))
async def test_what_is_kept_is_read_again(number: int) -> None:
    reader = Reader(keep=10_000)
    fill(reader.window, 5)
    reader.read(250)
    reader.window.rewind(number, lambda _: None)
    assert reader.window.pending is (number < 5)
    assert reader.window.statistics().waiting_events == 5 - number
    assert reader.read() == list(range(number, 5))


async def test_after_a_rewind_somebody_else_is_told() -> None:
    reader = Reader(keep=10_000)
    told: list[Window] = []
    fill(reader.window, 1)
    reader.read()
    reader.window.rewind(1, told.append)
    fill(reader.window, 1)
    assert (reader.told, told) == (1, [reader.window])


async def test_a_rewind_over_the_limit_makes_producers_wait(autojump_clock: trio.testing.MockClock) -> None:
    reader = Reader(limit=250, keep=10_000)
    for _ in range(5):
        fill(reader.window, 1)
        reader.read()
    reader.window.rewind(0, lambda _: None)
    with trio.move_on_after(1) as scope:
        await reader.window.put(HEAD, b"")
    assert scope.cancelled_caught
    reader.read()
    await reader.window.put(HEAD, b"")


async def test_a_rewind_to_the_end_ends_the_wait_for_a_drain(autojump_clock: trio.testing.MockClock) -> None:
    """The new reader has everything already."""
    reader = Reader(keep=10_000)
    fill(reader.window, 2)
    reader.read()
    reader.window.rewind(0, lambda _: None)
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.window.drained)
            await wait_all_tasks_blocked()
            assert nursery.child_tasks
            reader.window.rewind(2, lambda _: None)


async def test_what_is_kept_is_bounded() -> None:
    reader = Reader(keep=250)
    fill(reader.window, 5)
    reader.read()
    assert reader.window.size <= 250
    assert [number for number in range(7) if reader.window.has(number)] == [3, 4, 5]
    with pytest.raises(ValueError, match="event 2 is not kept"):
        reader.window.rewind(2, lambda _: None)


async def test_what_waits_is_never_forgotten() -> None:
    reader = Reader(limit=10_000, keep=150)
    fill(reader.window, 10)
    assert reader.read(350) == [0, 1, 2, 3]
    assert reader.window.forget() == 101
    assert reader.window.forget() == 0
    assert reader.read() == [4, 5, 6, 7, 8, 9]


@given(
    st.integers(1, 400),
    st.lists(st.one_of(st.integers(1, 5), st.tuples(st.just("read"), st.integers(1, 500)), st.just("rewind"))),
    st.data(),
)
def test_a_reader_that_comes_back_misses_nothing(
    keep: int, steps: list[int | str | tuple[str, int]], data: st.DataObject
) -> None:
    """Whatever is put, read and read again: from where it was rewound to, the reader sees every number once."""
    reader = Reader(limit=1 << 30, keep=keep)
    put = due = 0
    for step in steps:
        if isinstance(step, int):
            fill(reader.window, step)
            put += step
        elif step == "rewind":
            due = data.draw(st.sampled_from([number for number in range(put + 1) if reader.window.has(number)]))
            reader.window.rewind(due, lambda _: None)
        else:
            assert isinstance(step, tuple)
            numbers = reader.read(step[1])
            assert numbers == list(range(due, due + len(numbers)))
            due += len(numbers)
        shown = reader.window.statistics()
        assert shown.waiting_events == put - due
        assert shown.waiting_bytes == sum(map(len, reader.window._events[reader.window._cursor :]))
    assert reader.read() == list(range(due, put))


async def test_events_that_were_made_elsewhere_wait_for_room_and_end_as_the_others() -> None:
    window = Window(limit=60, ready=lambda _: None, ending=b',"stream_id":"a"}', keep=1000)
    made = [b'{"type":"x","sequence_number":%d}' % number for number in range(3)]

    async def put() -> None:
        for event in made:
            await window.put_made(event)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(put)
        await wait_all_tasks_blocked()
        assert window.next_number == 1
        read = b"".join([window.collect(plain, 1 << 20) for _ in range(3) if await window.readable()])
    assert [json.loads(event) for event in read.splitlines()] == [
        {"type": "x", "sequence_number": number, "stream_id": "a"} for number in range(3)
    ]
    window.rewind(1, lambda _: None)
    assert window.collect(plain, 1 << 20).startswith(b'{"type":"x","sequence_number":1,')


async def test_another_reader_may_come_while_something_is_held_back() -> None:
    """It looks for itself at what is there; what comes afterwards is told of as ever."""
    reader = Reader(keep=1000)
    fill(reader.window, 1)
    assert reader.read() == [0]
    with reader.window.together():
        reader.window.rewind(1, reader._ready)
        fill(reader.window, 1)
        assert reader.read() == [1]
    told = reader.told
    fill(reader.window, 1)
    assert reader.told == told + 1
    assert reader.read() == [2]


async def test_once_a_block_has_let_go_nothing_in_it_is_held_back() -> None:
    reader = Reader(limit=100)
    with reader.window.together():
        fill(reader.window, 1)
        reader.window.release()
        assert reader.read() == [0]
        told = reader.told
        with reader.window.together():
            fill(reader.window, 1)
        assert reader.told == told + 1


async def test_what_is_due_where_a_block_has_let_go_is_told_of_at_once() -> None:
    reader, done = Reader(), list[int]()
    with reader.window.together():
        fill(reader.window, 1)
        reader.window.release()
        assert reader.read() == [0]
        told = reader.told
        assert reader.window.put_due(deque([(HEAD, b"", lambda: done.append(1)), (HEAD, b"", None)]))
        assert (reader.told, done) == (told + 1, [1])
        assert reader.read() == [1, 2]
    assert reader.told == told + 1
