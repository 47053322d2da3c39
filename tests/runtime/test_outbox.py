from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from agentwire.protocol.limits import Limits
from agentwire.runtime.outbox import Outbox, ReserveExhausted
from agentwire.runtime.window import Window
from tests.runtime.kit import MemoryWire

HEAD = b'{"type":"x","sequence_number":'
Event = tuple[str, int]


def plain(events: Sequence[bytes]) -> bytes:
    return b"".join([event + b"\n" for event in events])


def take(outbox: Outbox, max_bytes: int = 1 << 30) -> list[Event]:
    """One write: lane and number of each event."""
    events = [json.loads(line) for line in outbox.take(max_bytes, plain).splitlines()]
    return [(event.get("stream_id", ""), event["sequence_number"]) for event in events]


def window(outbox: Outbox, lane: str, keep: int = 0) -> Window:
    return Window(limit=1 << 30, ready=outbox.ready, ending=b',"stream_id":"%b"}' % lane.encode(), keep=keep)


def fill(window: Window, events: int, size: int = 100) -> None:
    for _ in range(events):
        window.put_nowait(HEAD, b',"x":"%b"' % (b"." * (size - len(HEAD) - 8)))


class CountingWire(MemoryWire):
    """Counts kicks and nudges, and takes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.kicks = self.nudges = 0

    def offer(self, event: bytes) -> bool:
        return False

    def kick(self) -> None:
        self.kicks += 1

    def nudge(self) -> None:
        self.nudges += 1


class TakingWire(CountingWire):
    """Takes what it is offered."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[bytes] = []

    def offer(self, event: bytes) -> bool:
        self.taken.append(event)
        return True


def ended(lane: str, events: int) -> Window:
    """A window that was read, and is to be read again."""
    once = Outbox(Limits())
    found = window(once, lane, keep=1 << 20)
    fill(found, events)
    take(once)
    found.rewind(0, once.ready)
    return found


async def test_windows_take_turns_by_slices() -> None:
    outbox = Outbox(Limits(slice_bytes=200))
    fat, small = window(outbox, "fat"), window(outbox, "small")
    fill(fat, 6)
    fill(small, 1)
    assert take(outbox) == [("fat", 0), ("fat", 1), ("small", 0), *(("fat", number) for number in range(2, 6))]
    assert not outbox.pending
    assert take(outbox) == []


async def test_one_write_is_bounded_and_the_next_goes_on() -> None:
    outbox = Outbox(Limits(slice_bytes=200))
    first, second = window(outbox, "a"), window(outbox, "b")
    fill(first, 4)
    fill(second, 4)
    assert take(outbox, 300) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert outbox.pending
    fill(first, 1)
    assert take(outbox, 300) == [("a", 2), ("a", 3), ("b", 2), ("b", 3)]
    assert take(outbox) == [("a", 4)]


async def test_an_event_larger_than_a_slice_goes_alone() -> None:
    outbox = Outbox(Limits(slice_bytes=200))
    fill(window(outbox, "a"), 1, size=5000)
    assert take(outbox, 300) == [("a", 0)]


async def test_replies_go_first() -> None:
    outbox = Outbox(Limits())
    outbox.connect(CountingWire())
    fill(window(outbox, "a"), 1)
    outbox.reply(b'{"type":"error","sequence_number":0,"stream_id":"reply"}')
    assert take(outbox) == [("reply", 0), ("a", 0)]


async def test_the_reserve_for_replies_is_bounded() -> None:
    outbox = Outbox(Limits(reply_bytes=100))
    outbox.connect(CountingWire())
    for _ in range(2):
        for _ in range(2):
            outbox.reply(b'{"sequence_number":0' + b" " * 19 + b"}")
        with pytest.raises(ReserveExhausted, match="80 bytes of replies wait"):
            outbox.reply(b'{"sequence_number":0' + b" " * 19 + b"}")
        assert len(take(outbox)) == 2
    assert outbox.statistics().reply_bytes == 0


async def test_a_large_reply_passes_alone() -> None:
    outbox = Outbox(Limits(reply_bytes=100))
    outbox.connect(CountingWire())
    outbox.reply(b'{"sequence_number":0' + b" " * 5000 + b"}")
    with pytest.raises(ReserveExhausted):
        outbox.reply(b"{}")


async def test_the_wire_is_kicked_when_there_is_something() -> None:
    outbox, wire = Outbox(Limits()), CountingWire()
    early = window(outbox, "a")
    fill(early, 1)
    assert wire.kicks == 0
    outbox.connect(wire)
    assert wire.kicks == 1
    fill(early, 1)
    assert wire.kicks == 1  # it still has something
    take(outbox)
    fill(early, 1)
    assert wire.kicks == 2
    outbox.reply(b"{}")
    assert wire.kicks == 3


async def test_the_wire_is_only_nudged_for_what_has_yet_to_be_made() -> None:
    outbox, wire = Outbox(Limits()), CountingWire()
    outbox.connect(wire)
    patient = window(outbox, "a")
    patient.put_later(lambda: [(HEAD, b"")], 1, 100)
    fill(patient, 1)
    assert (wire.kicks, wire.nudges) == (0, 1)
    assert take(outbox) == [("a", 0), ("a", 1)]
    fill(patient, 1)
    assert (wire.kicks, wire.nudges) == (1, 1)


async def test_nothing_to_say_is_no_kick() -> None:
    outbox, wire = Outbox(Limits()), CountingWire()
    outbox.connect(wire)
    assert wire.kicks == 0
    assert not outbox.pending


async def test_nobody_hears_a_reply_without_a_connection() -> None:
    outbox = Outbox(Limits(reply_bytes=10))
    for _ in range(5):
        outbox.reply(b"{" * 9)
    assert not outbox.pending


async def test_once_disconnected_there_is_nothing_and_will_be_nothing() -> None:
    outbox, wire = Outbox(Limits()), CountingWire()
    outbox.connect(wire)
    one, two = window(outbox, "a"), window(outbox, "b")
    fill(one, 2)
    outbox.reply(b"{}")
    kicks = wire.kicks
    outbox.disconnect()
    fill(one, 1)
    fill(two, 1)
    assert not outbox.pending
    assert take(outbox) == []
    assert wire.kicks == kicks
    assert one.statistics().waiting_events == 3  # it waits for the next connection


async def test_what_is_replayed_comes_in_order_before_anything_new() -> None:
    outbox = Outbox(Limits())
    first, second, running = (window(outbox, lane, keep=1 << 20) for lane in ("a1", "a2", "a3"))
    for ended in (first, second):
        fill(ended, 3)
    take(outbox)
    again = Outbox(Limits(slice_bytes=200), [first, second])
    first.rewind(1, again.ready)
    second.rewind(0, again.ready)
    running.rewind(0, again.ready)
    fill(running, 2)
    assert again.pending
    assert take(again, 150) == [("a1", 1), ("a1", 2)]
    assert take(again) == [*(("a2", number) for number in range(3)), ("a3", 0), ("a3", 1)]
    assert not again.pending


async def test_what_is_replayed_is_taken_by_slices_within_the_bound_of_a_write() -> None:
    outbox = Outbox(Limits(slice_bytes=200), [ended("a", 6)])
    assert take(outbox, 300) == [("a", number) for number in range(4)]
    assert take(outbox, 300) == [("a", 4), ("a", 5)]


async def test_replies_count_in_the_bound_of_a_write() -> None:
    reply = b'{"sequence_number":0,"stream_id":"reply"}'
    for replay in ([], [ended("b", 1)]):
        outbox = Outbox(Limits(), replay)
        outbox.connect(CountingWire())
        fill(window(outbox, "a"), 1)
        outbox.reply(reply)
        assert take(outbox, len(plain([reply]))) == [("reply", 0)]
        assert take(outbox) == [*(("b", 0) for _ in replay), ("a", 0)]


async def test_what_is_to_be_read_again_kicks_the_wire() -> None:
    outbox, wire = Outbox(Limits()), CountingWire()
    outbox.again([])
    outbox.connect(wire)
    outbox.again([])
    assert wire.kicks == 0
    outbox.again([ended("a", 1)])
    assert wire.kicks == 1
    assert take(outbox) == [("a", 0)]


async def test_a_single_event_goes_at_once_only_where_nothing_waits() -> None:
    outbox, wire = Outbox(Limits()), TakingWire()
    assert not outbox.offer(b"nobody is connected")
    outbox.connect(wire)
    assert outbox.offer(b"at once")
    outbox.reply(b'{"sequence_number":0}')
    assert not outbox.offer(b"behind a reply")
    take(outbox)
    fill(window(outbox, "a"), 1)
    assert not outbox.offer(b"behind a window")
    take(outbox)
    outbox.again([ended("b", 1)])
    assert not outbox.offer(b"behind what is replayed")
    take(outbox)
    assert outbox.offer(b"at once, too")
    assert wire.taken == [b"at once", b"at once, too"]


async def test_statistics() -> None:
    outbox = Outbox(Limits())
    outbox.connect(CountingWire())
    fill(window(outbox, "a"), 2)
    outbox.reply(b"{}")
    shown = outbox.statistics()
    assert (shown.windows_ready, shown.replies, shown.reply_bytes) == (1, 1, 2)
