"""Tasks that never wait are found, named and ended; tasks with much to do are left alone.

The loops here are long and not endless, so that a test ends, and fails, even if they are not found.
"""

# what ruff has against such loops is right
# ruff: noqa: ASYNC115, BLE001, SIM105

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from typing import Any

import hypothesis
import hypothesis.stateful
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

import agentwire
from agentwire.engines.script import Call, Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.runtime.contracts import Ask, Out
from agentwire.testing import NotSurvived, Rig, Spinning, cancel_everywhere, open_rig, run, spinning, survives
from agentwire.testing.forcing import Forced, Forcing
from agentwire.testing.lifecycle import LifecycleMachine
from agentwire.testing.spinning import no_spinning
from tests.testing.test_lifecycle import SEARCH
from tests.testing.test_machine import Plain

LONG = range(400_000)
CALLER = scripted([Turn(Text("Well."), Call("tool", {})), Turn(Text("done"))])

Loop = Callable[[], Awaitable[object]]


@pytest.fixture(autouse=True)
def found_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less is too much than for users, so that the tests take less time."""
    monkeypatch.setattr(spinning, "_CANCELLED", 1_000)
    monkeypatch.setattr(spinning, "_ALONE", 10_000)


@pytest.fixture(autouse=True)
def nothing_is_left(caplog: pytest.LogCaptureFixture) -> Generator[None]:
    before = sys.gettrace(), sys.getprofile()
    yield
    assert not [record for record in caplog.records if record.name == "trio.abc.Instrument"]
    assert (sys.gettrace(), sys.getprofile()) == before


def found(async_fn: Callable[..., Awaitable[object]], *arguments: Any) -> str:
    """What is said of a function that spins."""
    with pytest.raises(Spinning) as caught:
        run(async_fn, *arguments)
    return str(caught.value)


def told(text: str, loop: Callable[..., object], line: int) -> bool:
    """Whether it names a line, counted from that of the function's name."""
    first = loop.__code__.co_firstlineno
    return f"test_spinning.py:{first + line} in {loop.__qualname__}" in text


async def left(loop: Loop) -> None:
    """Start a loop, and leave it a second later."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(loop)
        await trio.sleep(1)
        nursery.cancel_scope.cancel(reason="the test leaves")


# Those that swallow their cancellation


async def goes_on() -> None:
    for _ in LONG:
        try:
            await trio.sleep(3600)
        except trio.Cancelled:
            continue


async def passes_all() -> None:
    for _ in LONG:
        try:
            await trio.sleep(3600)
        except BaseException:
            pass


async def suppresses() -> None:
    for _ in LONG:
        with suppress(BaseException):
            await trio.sleep(3600)


async def logs_all() -> None:
    for _ in LONG:
        try:
            await ask()
        except BaseException:
            logging.getLogger(__name__).debug("once more")


async def ask() -> None:
    await trio.lowlevel.checkpoint()
    await trio.sleep_forever()


async def in_two_steps() -> None:
    for _ in LONG:
        try:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                await trio.sleep(1)
        except BaseException:
            continue


@pytest.mark.parametrize("loop", [goes_on, passes_all, suppresses, logs_all, in_two_steps])
def test_a_swallowed_cancellation_is_told_with_its_line(loop: Loop) -> None:
    text = found(left, loop)
    assert "swallows its cancellation" in text
    assert "at 1 s" in text
    assert any(told(text, loop, line) for line in range(3, 7))


def test_what_the_loop_awaits_is_told_too() -> None:
    assert told(found(left, logs_all), ask, 1)


def test_loops_round_loops_end_too() -> None:
    async def outer() -> None:
        for _ in LONG:
            try:
                await passes_all()
            except BaseException:
                pass

    async def outermost() -> None:
        for _ in LONG:
            try:
                await outer()
            except BaseException:
                continue

    assert told(found(left, outermost), passes_all, 3)


def test_what_is_to_be_done_on_the_way_out_is_done() -> None:
    done: list[float] = []

    async def agent() -> None:
        try:
            await goes_on()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            done.append(trio.current_time())

    assert told(found(left, agent), goes_on, 3)
    assert done == [6]


def test_it_is_told_even_if_the_test_catches_what_ends_the_loop() -> None:
    async def test() -> None:
        with pytest.raises(BaseExceptionGroup) as caught:
            await left(goes_on)
        assert caught.value.subgroup(Forced)

    assert "swallows" in found(test)


def test_tracing_and_profiling_are_as_before() -> None:
    def look(*_: object) -> None:
        pass

    forcing = Forcing(frozenset(), "")
    before = sys.gettrace(), sys.getprofile()
    for trace, profile in ((None, None), (look, None), (look, look)):
        sys.settrace(trace)
        sys.setprofile(profile)
        try:
            forcing.begin()
            forcing.end()
            after = sys.gettrace(), sys.getprofile()
        finally:
            sys.settrace(before[0])
            sys.setprofile(before[1])
        assert after == (trace, profile)


# Those that never wait


async def polls() -> None:
    for _ in LONG:
        await trio.lowlevel.checkpoint()


async def polls_and_catches() -> None:
    for count in LONG:
        try:
            await trio.lowlevel.checkpoint()
            assert count >= 0
        except BaseException:
            pass


@pytest.mark.parametrize("loop", [polls, polls_and_catches])
def test_a_loop_that_never_waits_is_told_with_its_line(loop: Loop) -> None:
    text = found(left, loop)
    assert "never waits: at 0 s" in text
    assert any(told(text, loop, line) for line in (2, 3, 4))


def test_one_whose_patience_is_over_at_once_is_told_as_cancelled() -> None:
    async def looks() -> None:
        for _ in LONG:
            with trio.move_on_after(0):
                await trio.sleep_forever()

    text = found(left, looks)
    assert told(text, looks, 3)
    assert "move_on_after(0)" in text


def test_one_that_is_begun_later_is_found_too() -> None:
    async def later() -> None:
        for _ in range(3000):
            await trio.sleep(1)
        await polls()

    assert "at 3000 s" in found(later)


# Those that do nothing wrong


async def feed(channel: trio.MemorySendChannel[int], count: int) -> None:
    async with channel:
        for number in range(count):
            await channel.send(number)


@pytest.mark.parametrize("capacity", [0, 1])
def test_work_that_goes_from_task_to_task_is_none(capacity: int) -> None:
    async def test() -> int:
        send, receive = trio.open_memory_channel[int](capacity)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed, send, 15_000)
            return sum([1 async for _ in receive])

    assert run(test) == 15_000


def test_a_hundred_thousand_events_at_one_moment_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    async def test() -> int:
        send, receive = trio.open_memory_channel[int](100_000)
        await feed(send, 100_000)
        return sum([1 async for _ in receive])

    assert run(test) == 100_000


def test_to_close_many_things_by_force_is_to_swallow_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    async def test() -> None:
        for _ in range(2_000):
            with trio.CancelScope() as scope:
                scope.cancel(reason="at once")
                await trio.sleep_forever()

    run(test)


def test_to_end_one_nursery_after_the_other_is_to_swallow_nothing() -> None:
    async def test() -> None:
        for _ in range(3_000):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel(reason="the other one was quicker")

    run(test)


def test_who_is_interrupted_hears_of_that(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        try:
            await left(goes_on)
        finally:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(test)


def test_to_try_again_after_an_exception_is_to_swallow_nothing() -> None:
    tried: list[float] = []

    async def agent() -> None:
        while True:
            try:
                await trio.sleep(1)
                tried.append(trio.current_time())
                raise LookupError("not yet")
            except Exception:
                continue

    async def test() -> None:
        with trio.move_on_after(5.5):
            await agent()

    run(test)
    assert tried == [1, 2, 3, 4, 5]


# Where it is looked for


async def tool() -> str:
    """Ask something that takes a minute, whatever happens."""
    for _ in LONG:
        try:
            await trio.sleep(60)
        except trio.Cancelled:
            continue
        return "found out"
    return "gave up"


async def asks(rig: Rig) -> None:
    async with rig.connect() as wire, wire.run("go", tools=[tool]) as answer:
        await answer.finish()


async def leaves(rig: Rig) -> None:
    with trio.move_on_after(4):
        await asks(rig)


def test_under_survives() -> None:
    with pytest.raises(Spinning) as caught:
        survives(engine=CALLER)(leaves)()
    assert told(str(caught.value), tool, 4)
    assert "task tool tool" in str(caught.value)


def test_under_survives_the_fault_that_leads_to_it_is_told_and_no_other_one_is_tried() -> None:
    with pytest.raises(NotSurvived) as caught:
        survives(engine=CALLER, policy=agentwire.Cancel())(asks)()
    assert isinstance(caught.value.error, Spinning)
    assert "runs are not survived" not in str(caught.value)
    assert told(str(caught.value), tool, 4)


def test_under_cancel_everywhere() -> None:
    with pytest.raises(NotSurvived) as caught:
        cancel_everywhere(asks, engine=CALLER)
    assert isinstance(caught.value.error, Spinning)
    assert "runs are not survived" not in str(caught.value)


async def test_in_a_rig_on_a_virtual_clock(autojump_clock: MockClock) -> None:
    with pytest.raises(Spinning):
        async with open_rig(CALLER) as rig:
            await leaves(rig)


async def test_where_the_server_spins(autojump_clock: MockClock) -> None:
    async def engine(_ask: Ask, _out: Out) -> None:
        await passes_all()

    with pytest.raises(Spinning):
        async with open_rig(engine) as rig:
            await leaves(rig)


def test_in_a_machine_and_in_its_background() -> None:
    for start in (lambda one: one.run_async(left, goes_on), in_the_background):
        machine = Plain()
        with pytest.raises(Spinning) as caught:
            start(machine)
        assert told(str(caught.value), goes_on, 3)
        machine.teardown()


def in_the_background(machine: Plain) -> None:
    machine.spawn(left, goes_on)
    machine.advance(3)


def test_in_a_machine_one_that_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plain, "ticks", 20_000)
    machine = Plain()
    with pytest.raises(Spinning) as caught:
        machine.run_async(polls)
    assert "5,000 checkpoints" in str(caught.value)
    machine.teardown()


class Stubborn(LifecycleMachine):
    """A user's own, with a tool that does not let itself be cancelled."""

    talkers = ()
    holders = ("wire",)

    def tools(self) -> Sequence[Callable[..., Any]]:
        return [self.look]

    async def look(self, at: int) -> str:
        """Look at something, whatever happens."""
        await tool()
        return f"seen {at}"


def test_in_a_lifecycle_machine() -> None:
    with pytest.raises(Spinning) as caught:
        hypothesis.stateful.run_state_machine_as_test(hypothesis.seed(1)(Stubborn), settings=SEARCH)
    assert told(str(caught.value), tool, 4)
    assert caught.value.__notes__


def test_a_block_in_a_block_and_one_on_a_real_clock_look_for_nothing() -> None:
    async def test() -> tuple[int, ...]:
        with no_spinning():
            return tuple(len(hooks) for hooks in trio._core._run.GLOBAL_RUN_CONTEXT.runner.instruments.data.values())

    assert run(test) == (1, 1)
    assert trio.run(test) == (0,)
