"""A base for Hypothesis' stateful tests of Trio programs: rules are plain functions, the program runs beside them.

Trio runs as a guest of the test, on a virtual clock, and only while a rule asks it to: between two rules everything
stands still. Whatever a background task raises comes out of the rule that was running, and a rule that can never
finish ends with a report of who waits where.
"""

from __future__ import annotations

import math
import queue
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, TypeVarTuple

import attrs
import trio
import trio.testing
from hypothesis.stateful import RuleBasedStateMachine

from agentwire.runtime.groups import open_flat_nursery
from agentwire.testing.clock import virtual_clock
from agentwire.testing.spinning import Patrol, no_spinning
from agentwire.testing.tasks import describe_tasks

if TYPE_CHECKING:
    from outcome import Outcome

__all__ = ["Stuck", "TrioMachine"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_HOST_TIMEOUT: Final = 60.0  # real seconds without a sign of Trio, after which its thread must have died
_IDLE_ROUNDS: Final = (
    10  # rounds of Trio's loop that `wait_all_tasks_blocked` and the like may need to see that it idles
)

_TICKS_ALONE: Final = 4  # the part of a rule's ticks that one task may take for itself

_LOOKS: Final = 8  # rounds between two looks whether it idles, as long as it does not


class Stuck(AssertionError):
    """What a rule waits for will never happen; the message says which tasks there are, and where they wait."""


@attrs.define(eq=False)
class _Job:
    """A function that a rule gave to Trio, and what came of it."""

    async_fn: Callable[..., Awaitable[Any]]
    args: tuple[Any, ...]
    done: bool = False
    value: Any = None
    error: BaseException | None = None

    async def run(self) -> None:
        try:
            self.value = await self.async_fn(*self.args)
        except trio.Cancelled:
            raise  # something else has failed, and that is what the rule raises
        except BaseException as error:  # noqa: BLE001 - for the rule, which is outside of Trio
            self.error = error
        self.done = True


def _is_idle() -> bool:
    """No task can run, and no deadline will let one run."""
    if not trio.lowlevel.in_trio_run():
        return False
    statistics = trio.lowlevel.current_statistics()
    return not statistics.tasks_runnable and math.isinf(statistics.seconds_to_next_deadline)


class TrioMachine(RuleBasedStateMachine):
    """Subclass it, add rules and invariants, and let ``TestIt = Machine.TestCase`` run it.

    A subclass with an ``__init__`` calls ``super().__init__()`` first; one with a ``teardown`` calls
    ``super().teardown()`` last.

    Attributes:
        patience: how many virtual seconds one rule may take.
        ticks: how many times Trio's loop may go round for one rule.
    """

    patience: ClassVar[float] = 1e6
    ticks: ClassVar[int] = 200_000

    def __init__(self) -> None:
        super().__init__()
        self._guest_host: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._guest_over: Callable[[], object] | None = None
        self._guest_nursery: trio.Nursery | None = None
        self._guest_patrol = Patrol()
        trio.lowlevel.start_guest_run(
            self._guest_main,
            run_sync_soon_threadsafe=self._guest_host.put,
            done_callback=self._guest_done,
            clock=virtual_clock(),
        )
        self._guest_pump(lambda: self._guest_nursery is not None)

    # What rules use

    def run_async(self, async_fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Run a function in a task of its own until it is done; returns or raises what it does.

        Virtual time passes if nothing else can happen.

        Raises:
            Stuck: it waits for something that never comes, or for too long.
            Spinning: a task never waits, so that time stands still.
        """
        job = _Job(async_fn, args)
        self._guest_tasks().start_soon(job.run, name=getattr(async_fn, "__qualname__", repr(async_fn)))
        self._guest_pump(lambda: job.done)
        if job.error is not None:
            self._guest_patrol.check()  # which has ended it, then
            raise job.error
        value: T = job.value
        return value

    def spawn(self, async_fn: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> trio.CancelScope:
        """Run a function in the background until the machine is torn down; what it raises ends the machine.

        Returns:
            A scope to cancel it with.
        """
        scope = trio.CancelScope()

        async def task() -> None:
            with scope:
                await async_fn(*args)

        self._guest_tasks().start_soon(task, name=getattr(async_fn, "__qualname__", repr(async_fn)))
        return scope

    def settle(self) -> None:
        """Let everything happen that can happen now, without letting time pass."""
        self.run_async(trio.testing.wait_all_tasks_blocked)

    def advance(self, seconds: float) -> None:
        """Let this much virtual time pass, and everything happen that is due until then."""
        self.run_async(trio.sleep, seconds)
        self.settle()

    @property
    def now(self) -> float:
        """Trio's clock."""
        return trio.current_time()

    # How it works

    async def _guest_main(self) -> None:
        with no_spinning(alone=self.ticks // _TICKS_ALONE) as self._guest_patrol:
            async with open_flat_nursery() as nursery:
                self._guest_nursery = nursery
                await trio.sleep_forever()

    def _guest_done(self, how: Outcome[None]) -> None:
        self._guest_over = how.unwrap

    def _guest_tasks(self) -> trio.Nursery:
        """The nursery of all tasks, if it still takes some."""
        assert self._guest_nursery is not None
        if self._guest_over is not None:
            raise RuntimeError("this machine's Trio has ended")
        if (
            self._guest_nursery.cancel_scope.cancel_called
        ):  # a task has failed, and the rule before this one did not wait
            self._guest_pump(lambda: False)
        return self._guest_nursery

    def _guest_pump(self, reached: Callable[[], bool]) -> None:
        """Let Trio run until a condition holds; raise what ended Trio before that."""
        deadline = trio.current_time() + self.patience
        idle = 0
        for tick in range(self.ticks):
            if reached():
                return
            if self._guest_over is not None:
                self._guest_raise()
                raise RuntimeError("this machine's Trio has ended")
            if idle > _IDLE_ROUNDS or trio.current_time() > deadline:
                break
            self._guest_host.get(timeout=_HOST_TIMEOUT)()
            if idle or not tick % _LOOKS:  # a look costs as much as a round
                idle = idle + 1 if _is_idle() else 0
        raise Stuck(f"nothing more will happen at {trio.current_time():g} s; the tasks are:\n{describe_tasks()}")

    def _guest_raise(self) -> None:
        """Raise what ended Trio, once."""
        assert self._guest_over is not None
        ended, self._guest_over = self._guest_over, lambda: None
        ended()

    def teardown(self) -> None:
        """Cancel everything and run Trio to its end; raises what the tasks raised, unless a rule has raised it."""
        if self._guest_over is None:
            assert self._guest_nursery is not None
            self._guest_nursery.cancel_scope.cancel(reason="the machine is torn down")
            self._guest_pump(lambda: self._guest_over is not None)
        self._guest_raise()
        super().teardown()
