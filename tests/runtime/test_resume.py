"""A session that is resumed: whatever the cut, the client has every event once, in order.

The client here counts what it has received, as any client can: the latest response of each lane, and the number of its
last event.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.engines.script import Call, Delay, Summary, Text, Turn
from agentwire.engines.scripted import ScriptedEngine, scripted
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Out
from agentwire.runtime.policies import Resume
from agentwire.runtime.replay import Replay, Seen
from agentwire.runtime.replies import Replies
from agentwire.runtime.window import Window
from agentwire.testing import no_leaks
from tests.runtime.kit import TERMINALS, Client, Event, MemoryWire, check_lanes, client, create, output_for

ONE_BY_ONE = Limits(slice_bytes=1)  # a write is one event, so that a cut can come after any of them


def seen_in(events: Iterable[Event]) -> dict[str | None, Seen]:
    """How far a client got."""
    seen: dict[str | None, Seen] = {}
    for event in events:
        lane = event.get("stream_id")
        if "response" in event:
            seen[lane] = Seen(event["response"]["id"], event["sequence_number"])
        elif lane in seen:
            seen[lane] = Seen(seen[lane].response_id, event["sequence_number"])
    return seen


def rollout() -> ScriptedEngine:
    """Two turns with a pause, a call of the server's tool and one of the client's."""
    return scripted(
        [
            Turn(Summary("Look."), Text("Let me see.", pieces=2), Call("ours", {"x": 1}), Delay(1)),
            Turn(Call("theirs", {"y": 2}), Delay(1)),
            Turn(Delay(1), Text("Done with it.", pieces=3)),
        ]
    )


async def ours(x: int) -> str:
    await trio.sleep(2)
    return str(x)


class Rollout:
    """A client that carries the rollout on over any number of connections."""

    def __init__(self, it: Client, events: list[Event]) -> None:
        self.it = it
        self.events = events

    async def run(self, budgets: Sequence[int]) -> None:
        """Each connection lasts for so many messages; the last one for ever."""
        asked = answered = False
        for number, budget in enumerate([*budgets, 1 << 30]):
            wire = MemoryWire(budget)
            if number:
                await trio.sleep(1)
                self.it.attach(wire, seen_in(self.events))
            else:
                self.it.wire.read(budget)
                wire = self.it.wire
            if not asked:
                wire.say(create("go", stream_id="a"))
                asked = True
            taken = 0
            while True:
                await wait_all_tasks_blocked()
                self.events += wire.events[taken:]
                taken = len(wire.events)
                if taken >= budget:
                    break
                ends = [event for event in self.events if event["type"] in TERMINALS]
                if len(ends) == 2:
                    return
                if ends and not answered:
                    wire.say(create(output_for(ends[0]), stream_id="a", previous_response_id=ends[0]["response"]["id"]))
                    answered = True
                await trio.sleep(0.3)
            wire.vanish()


async def carry_on(budgets: Sequence[int]) -> list[Event]:
    events: list[Event] = []
    async with no_leaks(), client(rollout(), ours, policy=Resume(within=60), limits=ONE_BY_ONE, budget=0) as it:
        await Rollout(it, events).run(budgets)
        assert it.service.tally.tool_calls == 1
    return events


def in_short(events: Iterable[Event]) -> list[tuple[str, int]]:
    return [(event["type"], event["sequence_number"]) for event in events]


UNCUT: list[Event] = trio.run(carry_on, [], clock=MockClock(autojump_threshold=0))


def test_the_rollout_as_it_is_without_a_cut() -> None:
    check_lanes(UNCUT)
    assert len(UNCUT) > 30


@pytest.mark.parametrize("cut", range(len(UNCUT)))
async def test_cut_after_any_event_none_is_lost_and_none_comes_twice(cut: int, autojump_clock: MockClock) -> None:
    events = await carry_on([cut])
    assert in_short(events) == in_short(UNCUT)
    check_lanes(events)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 12), max_size=8))
def test_cut_again_and_again(budgets: list[int]) -> None:
    events = trio.run(carry_on, budgets, clock=MockClock(autojump_threshold=0))
    assert in_short(events) == in_short(UNCUT)
    check_lanes(events)


async def test_what_was_under_way_is_sent_again(autojump_clock: MockClock) -> None:
    """The server wrote it, and the client never got it: nobody but the client knows."""
    async with client(scripted(Turn(Text("x", pieces=1))), policy=Resume(within=60)) as it:
        it.wire.say(create("one", stream_id="a"))
        it.wire.say(create("two", stream_id="a"))
        await it.session.idle()
        await wait_all_tasks_blocked()
        everything = it.wire.events
        it.wire.vanish()
        await wait_all_tasks_blocked()
        for received in range(len(everything) + 1):
            wire = MemoryWire()
            it.attach(wire, seen_in(everything[:received]))
            await wait_all_tasks_blocked()
            assert everything[:received] + wire.events == everything
            wire.vanish()
            await wait_all_tasks_blocked()


async def test_lanes_are_resumed_one_by_one(autojump_clock: MockClock) -> None:
    engine = scripted(lambda ask: Turn(Text("abcdefgh", pieces=8, every=1)))
    async with client(engine, policy=Resume(within=60), limits=ONE_BY_ONE) as it:
        for lane in ("a", "b"):
            it.wire.say(create(stream_id=lane))
        await trio.sleep(3.5)
        got = list(it.wire.events)
        it.wire.vanish()
        await trio.sleep(2)
        lost_b = [event for event in got if event["stream_id"] == "a"]  # of b, nothing arrived
        it.attach(MemoryWire(), seen_in(lost_b))
        await it.session.idle()
        await wait_all_tasks_blocked()
        check_lanes([*lost_b, *it.wire.events])
        for lane in ("a", "b"):
            whole = [event for event in [*lost_b, *it.wire.events] if event["stream_id"] == lane]
            assert [event["sequence_number"] for event in whole] == list(range(len(whole)))
            assert whole[-1]["type"] == "response.completed"


@pytest.mark.parametrize(
    "seen",
    [
        {"b": Seen("resp_1", 3)},
        {"a": Seen("resp_1", 3)},
        {"a": Seen("the real one", 500)},
    ],
)
async def test_what_was_never_said_cannot_be_resumed(seen: dict[str | None, Seen], autojump_clock: MockClock) -> None:
    async with client(scripted(Turn(Text("x"))), policy=Resume(within=60)) as it:
        real = (await it.wire.ask(stream_id="a"))[-1]["response"]["id"]
        it.wire.vanish()
        await wait_all_tasks_blocked()
        wrong = {
            lane: Seen(real if at.response_id == "REAL" else at.response_id, at.number) for lane, at in seen.items()
        }
        with pytest.raises(ValueError, match=r"is not kept|nothing is known"):
            it.session.attach(MemoryWire(), wrong)
        await trio.sleep(30)
        it.attach(MemoryWire())  # nothing has changed
        await wait_all_tasks_blocked()
        assert len(it.wire.events) == 9


async def test_what_is_kept_is_bounded_and_the_latest_stays(autojump_clock: MockClock) -> None:
    limits = Limits(replay_bytes=20_000)
    async with client(scripted(Turn(Text("x" * 2000, pieces=20))), policy=Resume(within=60), limits=limits) as it:
        events: list[Event] = []
        for _ in range(10):
            await it.wire.ask(stream_id="a")
        events = list(it.wire.events)
        assert sum(answer.window.size for answer in it.session._replay._answers) <= 20_000
        assert len(it.session._replay._answers) < 6
        ends = [number for number, event in enumerate(events, 1) if event["type"] == "response.completed"]
        for received in (len(events), ends[-2], ends[-2] + 5):
            it.wire.vanish()
            await wait_all_tasks_blocked()
            it.attach(MemoryWire(), seen_in(events[:received]))
            await wait_all_tasks_blocked()
            assert in_short(events[:received] + it.wire.events) == in_short(events)
        it.wire.vanish()
        await wait_all_tasks_blocked()
        for received in (0, ends[0], ends[2]):
            with pytest.raises(ValueError, match="is not kept any more"):
                it.session.attach(MemoryWire(), seen_in(events[:received]))


async def test_a_turn_larger_than_what_is_kept_goes_on_for_a_client_that_has_enough_of_it(
    autojump_clock: MockClock,
) -> None:
    gate = trio.Event()

    async def engine(ask: Ask, out: Out) -> None:
        for _ in range(200):
            await out.text("x" * 100)
        await gate.wait()
        await out.text("end")

    async with client(engine, policy=Resume(within=60), limits=Limits(replay_bytes=5000)) as it:
        it.wire.say(create())
        await wait_all_tasks_blocked()
        events = list(it.wire.events)
        it.wire.vanish()
        await wait_all_tasks_blocked()
        with pytest.raises(ValueError, match="is not kept any more"):
            it.session.attach(MemoryWire(), seen_in(events[:50]))
        it.attach(MemoryWire(), seen_in(events[:-5]))
        gate.set()
        await it.wire.until()
        check_lanes([*events[:-5], *it.wire.events])


async def test_the_latest_empty_window_of_a_lane_says_how_far_it_got() -> None:
    """A client that has all of what was forgotten goes on with what came after."""

    class Lane:
        def __init__(self, name: str) -> None:
            self.name = name

    class Ticket:
        def __init__(self, lane: str, response_id: str) -> None:
            self.lane, self.response_id = Lane(lane), response_id

    replay = Replay(100, Replies(Limits()))
    windows = []
    for number in range(5):
        window = Window(limit=1000, ready=lambda _: None, keep=1000)
        ticket = Ticket("a", f"resp_{number}")
        replay.add(ticket, window)  # type: ignore[arg-type]
        window.put_nowait(b"x" * 60, b"")
        window.collect(b"".join, 1000)
        window.close()
        replay.ended(ticket)  # type: ignore[arg-type]
        windows.append(window)
    reading = replay.after({"a": Seen("resp_3", 0)})
    assert [(windows.index(read.window), read.number) for read in reading] == [(3, 1), (4, 0)]
    with pytest.raises(ValueError, match="response resp_2 is not kept"):
        replay.after({"a": Seen("resp_2", 0)})
