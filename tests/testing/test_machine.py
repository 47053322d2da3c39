"""The machine runs Trio beside plain functions, in virtual time, and says what went wrong."""

from __future__ import annotations

import itertools

import hypothesis
import pytest
import trio
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from agentwire.testing.machine import Stuck, TrioMachine
from agentwire.testing.network import network
from agentwire.testing.streams import MemoryStream

FEW = hypothesis.settings(max_examples=20, stateful_step_count=10, deadline=None)
MANY = hypothesis.settings(max_examples=200, stateful_step_count=20, deadline=None, database=None)


class Plain(TrioMachine):
    """Hypothesis wants one rule."""

    @rule()
    def nothing(self) -> None:
        pass


@pytest.fixture
def machine() -> Plain:
    """A machine; the test tears it down."""
    return Plain()


async def sleeps_on() -> None:
    await trio.sleep_forever()


async def fails_after(seconds: float) -> None:
    await trio.sleep(seconds)
    raise LookupError(seconds)


def test_a_function_runs_to_its_end_in_virtual_time(machine: Plain) -> None:
    async def add(left: int, right: int) -> int:
        await trio.sleep(3600)
        return left + right

    assert machine.run_async(add, 1, 2) == 3
    assert machine.now == 3600
    with pytest.raises(LookupError):
        machine.run_async(fails_after, 1)
    assert machine.run_async(add, 3, 4) == 7
    machine.teardown()


def test_time_stands_still_between_rules(machine: Plain) -> None:
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            await trio.sleep(1)
            ticks.append(trio.current_time())

    machine.spawn(tick)
    machine.settle()
    assert (ticks, machine.now) == ([], 0)
    machine.advance(2.5)
    assert (ticks, machine.now) == ([1, 2], 2.5)
    machine.settle()
    assert machine.now == 2.5
    machine.advance(0.5)
    assert ticks == [1, 2, 3]
    machine.teardown()


def test_a_background_task_can_be_cancelled(machine: Plain) -> None:
    reasons: list[str | None] = []

    async def waits() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            reasons.append(cancelled.reason)
            raise

    scope = machine.spawn(waits)
    machine.spawn(waits)
    machine.settle()
    scope.cancel(reason="enough")
    machine.settle()
    assert reasons == ["enough"]
    machine.teardown()
    assert reasons == ["enough", "the machine is torn down"]


def test_what_a_background_task_raises_comes_out_of_the_rule(machine: Plain) -> None:
    machine.spawn(fails_after, 1)
    with pytest.raises(LookupError):
        machine.run_async(trio.sleep, 2)
    with pytest.raises(RuntimeError, match="has ended"):
        machine.run_async(trio.sleep, 2)
    machine.teardown()


def test_what_nobody_has_seen_comes_out_at_the_next_rule(machine: Plain) -> None:
    event = trio.Event()

    async def fails() -> None:
        await event.wait()
        raise LookupError

    machine.spawn(fails)
    machine.settle()
    event.set()
    with pytest.raises(LookupError):
        machine.settle()
    machine.teardown()


def test_what_ended_a_rule_that_did_not_notice_comes_out_of_the_next(machine: Plain) -> None:
    event = trio.Event()

    async def fails() -> None:
        await event.wait()
        raise LookupError

    async def notices_nothing() -> str:
        with trio.CancelScope(shield=True):
            event.set()
            for _ in range(5):
                await trio.lowlevel.checkpoint()
        return "fine"

    machine.spawn(fails)
    assert machine.run_async(notices_nothing) == "fine"
    with pytest.raises(LookupError):
        machine.spawn(sleeps_on)
    machine.teardown()


def test_a_rule_that_ends_the_machine_is_told_so(machine: Plain) -> None:
    async def ends_everything() -> None:
        nursery = trio.lowlevel.current_task().parent_nursery
        assert nursery is not None
        nursery.cancel_scope.cancel(reason="test")
        await trio.sleep_forever()

    with pytest.raises(RuntimeError, match="has ended"):
        machine.run_async(ends_everything)
    machine.teardown()


def test_what_a_task_raises_in_the_end_comes_out_of_the_teardown(machine: Plain) -> None:
    async def breaks_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("cleanup")

    machine.spawn(breaks_when_cancelled)
    machine.settle()
    with pytest.raises(KeyError, match="cleanup"):
        machine.teardown()


def test_a_rule_that_waits_for_nothing_is_stuck(machine: Plain) -> None:
    with pytest.raises(Stuck, match=r"nothing more will happen at 0 s; the tasks are:(.|\n)*in sleeps_on"):
        machine.run_async(sleeps_on)
    machine.teardown()


@pytest.mark.parametrize(("name", "value"), [("patience", 50.0), ("ticks", 100)])
def test_a_rule_that_takes_too_long_is_stuck(name: str, value: float) -> None:
    async def for_ever() -> None:
        for _ in itertools.count():
            await trio.sleep(1)

    machine = type("Impatient", (Plain,), {name: value})()
    assert isinstance(machine, Plain)
    with pytest.raises(Stuck, match=r"for_ever: test_machine\.py"):
        machine.run_async(for_ever)
    machine.teardown()


class Counter:
    """A counter that loses counts when two tasks use it at once."""

    def __init__(self, *, safe: bool) -> None:
        self.value = 0
        self._lock: trio.Lock | None = trio.Lock() if safe else None

    async def add(self) -> None:
        if self._lock is None:
            await self._add()
        else:
            async with self._lock:
                await self._add()

    async def _add(self) -> None:
        seen = self.value
        await trio.lowlevel.checkpoint()
        self.value = seen + 1


class Counts(TrioMachine):
    """Adds from tasks of any number."""

    safe = True

    def __init__(self) -> None:
        super().__init__()
        self.counter = Counter(safe=self.safe)
        self.added = 0

    @rule(count=st.integers(1, 3))
    def add(self, count: int) -> None:
        for _ in range(count):
            self.spawn(self.counter.add)
        self.added += count
        self.settle()

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.counter.value == self.added


class LosesCounts(Counts):
    safe = False


def test_a_right_program_passes() -> None:
    run_state_machine_as_test(Counts, settings=FEW)


def test_a_wrong_program_is_found_and_shrunk() -> None:
    with pytest.raises(AssertionError) as failure:
        run_state_machine_as_test(LosesCounts, settings=MANY)
    notes = "\n".join(getattr(failure.value, "__notes__", ()))
    assert notes.count("state.add(") == 1, "one rule is enough to show it"
    assert "state.add(count=2)" in notes


class Echoes(TrioMachine):
    """Clients and an echo server on a network that breaks."""

    clients: Bundle[MemoryStream] = Bundle("clients")

    def __init__(self) -> None:
        super().__init__()
        self.net = network(latency=0.1)
        self.spawn(self.net.serve, self.echo)

    async def echo(self, stream: MemoryStream) -> None:
        try:
            while data := await stream.receive_some():
                await stream.send_all(data)
        except trio.BrokenResourceError:
            pass

    @rule(target=clients)
    def connect(self) -> MemoryStream:
        return self.run_async(self.net.connect)

    @rule(client=clients, word=st.binary(min_size=1, max_size=5))
    def say(self, client: MemoryStream, word: bytes) -> None:
        async def ask() -> bytes:
            try:
                await client.send_all(word)
                return await client.receive_some()
            except trio.ClosedResourceError:
                return word

        assert self.run_async(ask) == word

    @rule(client=clients)
    def leave(self, client: MemoryStream) -> None:
        client.reset()
        self.advance(1)


def test_streams_and_servers_run_in_a_machine() -> None:
    run_state_machine_as_test(Echoes, settings=FEW)


def test_the_base_is_no_test_of_its_own() -> None:
    assert issubclass(TrioMachine, RuleBasedStateMachine)
    with pytest.raises(hypothesis.errors.InvalidDefinition, match="no rules"):
        TrioMachine()
