"""What a continuation costs does not grow with the conversation: items looked at and blocks allocated are counted."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.codec import encode_json
from agentwire.protocol.errors import EngineError
from agentwire.protocol.extensions import cancelled
from agentwire.protocol.items import Message
from agentwire.protocol.transcript import Node
from agentwire.runtime.contracts import Ask, Out
from agentwire.runtime.making import Output
from agentwire.runtime.step import Step
from agentwire.runtime.turn import Turn
from tests.runtime.kit import Client, client, create

EARLY, LATE = 2, 1_000


async def terse(ask: Ask, out: Out) -> None:
    """An engine that does not look at the conversation."""
    await out.text("ok")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Every access to an attribute of any message is counted, whoever looks."""
    plain, counted = Message.__getattribute__, Counter[str]()

    def look(self: Message, name: str) -> Any:
        counted["looks"] += 1
        return plain(self, name)

    monkeypatch.setattr(Message, "__getattribute__", look)
    return counted


async def converse(it: Client, turns: int, previous: str | None = None) -> str:
    """Hold so many more turns; gives the last response's id."""
    for _ in range(turns):
        fields = {} if previous is None else {"previous_response_id": previous}
        previous = (await it.wire.ask("hi", **fields))[-1]["response"]["id"]
        it.wire.events.clear()
    assert previous is not None
    return previous


async def test_a_late_turn_looks_at_no_more_items_than_an_early_one(
    looks: Counter[str], autojump_clock: MockClock
) -> None:
    async with client(terse) as it:
        counts = []
        previous = await converse(it, EARLY - 1)
        for turns in (0, LATE - EARLY - 1):
            previous = await converse(it, turns, previous) if turns else previous
            looks.clear()
            previous = await converse(it, 1, previous)
            counts.append(looks["looks"])
    early, late = counts
    assert early == late > 0


async def test_a_late_turn_allocates_no_more_than_an_early_one(autojump_clock: MockClock) -> None:
    """The most that a turn holds at once: a copy of the history, of whatever kind, would show in it."""
    async with client(terse) as it:
        previous, early = await measured(it, await converse(it, EARLY - 1))
        _, late = await measured(it, await converse(it, LATE - EARLY - 3, previous))
    a_pointer_for_each_item = 8 * 2 * LATE
    assert late < early + a_pointer_for_each_item // 2


async def measured(it: Client, previous: str) -> tuple[str, int]:
    """The peak of the leanest of three turns, in bytes: whatever else goes on in the process only adds to it."""
    peaks = []
    for _ in range(3):
        gc.collect()
        tracemalloc.start()
        try:
            previous = await converse(it, 1, previous)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return previous, min(peaks)


async def test_ten_thousand_forks_share_their_parent(autojump_clock: MockClock) -> None:
    """A fork is a pointer: it costs its own items, however long the conversation is."""
    parent = Node.root("resp_0", (Message("user", "x" * 1_000),), ())
    for number in range(1, LATE):
        parent = parent.extend(f"resp_{number}", (Message("user", "x" * 1_000),), (Message("assistant", "ok"),))
    question = (Message("user", "go"),)
    gc.collect()
    tracemalloc.start()
    try:
        forks = [parent.extend("resp_f", question, ()) for _ in range(10_000)]
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert all(fork.parent is parent for fork in forks)
    assert used < 10_000 * 600


async def test_a_fork_runs_on_its_parent_and_copies_nothing(autojump_clock: MockClock) -> None:
    """Forks on many lanes, through a session: the parents of what they become are one object."""
    async with client(terse) as it:
        parent = await converse(it, 5)
        for number in range(16):
            await it.wire.ask("go", previous_response_id=parent, stream_id=f"fork-{number}")
        await wait_all_tasks_blocked()
        nodes = [node for lane in it.session.desk._lanes.values() for node in lane.kept]
    (source,) = [node for node in nodes if node.response_id == parent]
    forks = [node for node in nodes if node is not source]
    assert len(forks) == 16
    assert all(fork.parent is source for fork in forks)


@pytest.mark.parametrize(
    "more",
    [
        {"user": "u" * 50_000},
        {"prompt_cache_key": "k" * 50_000},
        {"instructions": "i" * 50_000},
        {"tools": [{"type": "mcp", "server_label": "s", "server_url": "https://s", "headers": {"a": "h" * 50_000}}]},
    ],
)
async def test_a_lane_keeps_no_large_settings_of_its_last_turn(autojump_clock: MockClock, more: dict[str, Any]) -> None:
    async with client(terse) as it:
        await it.wire.ask("hi", **more)
        (lane,) = it.session.desk._lanes.values()
    assert lane.memo.value is None


async def fails(ask: Ask, out: Out) -> None:
    await out.text("I thi")
    raise EngineError("Later.")


async def hangs(ask: Ask, out: Out) -> None:
    await out.text("I thi")
    await trio.sleep_forever()


async def thinks(ask: Ask, out: Out) -> None:
    await trio.sleep_forever()


async def ends(it: Client) -> None:
    await it.wire.ask("hi")


async def is_refused(it: Client) -> None:
    await it.wire.ask("hi", temperature="warm")


async def finds_nothing(it: Client) -> None:
    await it.wire.ask("hi", previous_response_id="resp_gone")


async def is_cancelled(it: Client) -> None:
    it.wire.say(create())
    await it.wire.until("response.output_text.delta")
    await wait_all_tasks_blocked()
    (turn,) = it.session.turns.values()
    turn.cancel(cancelled())
    del turn
    await it.wire.until()


async def is_steered(it: Client) -> None:
    it.wire.say(create())
    await it.wire.until("response.in_progress")
    id_ = it.wire.events[0]["response"]["id"]
    it.wire.say(encode_json({"type": "response.steer", "previous_response_id": id_, "input": "stop"}))
    await it.wire.until()
    await wait_all_tasks_blocked()
    await is_gone(it)


async def is_gone(it: Client) -> None:
    await wait_all_tasks_blocked()
    it.wire.vanish()
    await it.session.finished.wait()


async def goes(it: Client) -> None:
    it.wire.say(create())
    await it.wire.until("response.output_text.delta")
    await is_gone(it)


@pytest.mark.parametrize(
    ("engine", "way"),
    [
        (terse, ends),
        (fails, ends),
        (terse, is_refused),
        (terse, finds_nothing),
        (hangs, is_cancelled),
        (thinks, is_steered),
        (hangs, goes),
    ],
    ids=["ends", "fails", "refused", "not found", "cancelled", "steered", "gone"],
)
async def test_a_turn_that_is_over_is_freed_at_once(
    engine: Any, way: Callable[[Client], Awaitable[None]], autojump_clock: MockClock
) -> None:
    """Not when the garbage collector comes: a server has it come rarely, and a turn may have been asked megabytes."""
    async with client(engine) as it:
        gc.collect()
        gc.disable()
        try:
            before = {id(each) for each in gc.get_objects()}  # other tests may have left some
            await way(it)
            await wait_all_tasks_blocked()
            made = (each for each in gc.get_objects() if id(each) not in before)
            left = Counter(type(each).__name__ for each in made if isinstance(each, Turn | Step | Output))
        finally:
            gc.enable()
    assert not left
