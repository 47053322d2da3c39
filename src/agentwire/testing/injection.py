"""A coroutine function is cancelled at each of its checkpoints, one after the other, and all is checked each time.

A checkpoint is where a task gives way to others. What is shielded goes on, as it would; where that ends, so does the
function.
"""

from __future__ import annotations

import inspect
import os
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

import attrs
import outcome
import trio

from agentwire.client import PATIENT
from agentwire.runtime.contracts import Engine
from agentwire.runtime.policies import Policy
from agentwire.testing.spinning import Spinning
from agentwire.testing.stage import Played, Scene, Test, play, supplied
from agentwire.testing.story import NotSurvived, named, own_steps
from agentwire.testing.tasks import describe_place

__all__ = ["CHECKPOINT", "NotCancelled", "cancel_everywhere"]

CHECKPOINT: Final = "AGENTWIRE_CHECKPOINT"
"""The variable of the environment that names the one checkpoint to cancel at."""

_LONGEST: Final = 3600.0


class NotCancelled(AssertionError):
    """A function was cancelled, and did not end as such a function does: the message says how."""


def cancel_everywhere(
    function: Test,
    *,
    check: Callable[..., object] | None = None,
    engine: Engine | None = None,
    policy: Policy = PATIENT,
    allow: tuple[type[Exception], ...] = (),
    limit: int | None = None,
    latency: float = 0.0,
    within: float = 60.0,
    seed: int = 0,
    **options: Any,
) -> int:
    """Run a coroutine function once to count its checkpoints, and then once for each of them, cancelled there.

    It is given what its arguments name, as under `survives`; that is opened outside of what is cancelled, so that a
    ``wire`` can be used after it, by ``check``. The checkpoints of the tasks that it starts count, too.

    Each time, it must end by its cancellation, within ``within`` seconds of it, or end well where no more checkpoint
    came; nothing else may be raised, nothing be left behind, and all that must hold of any run must hold.

    Args:
        function: what is cancelled.
        check: called after each run, in the same Trio run, async or not, with what its arguments name: ``rig``,
            ``server``, ``wire`` or ``network``. It raises if something is not as it should be.
        engine: what the server asks; see `survives`.
        policy: what a lost connection means to the clients.
        allow: exceptions that the function may turn its cancellation into.
        limit: most checkpoints; more are drawn from, by the seed.
        latency: seconds that a byte takes.
        within: virtual seconds that it may take to end.
        seed: decides ids, the order of tasks, and what the module `random` gives.
        options: for the server; see `survives`.

    Returns:
        At how many checkpoints it was cancelled.

    Raises:
        NotSurvived: it did not end as it should where it was cancelled; the text says at which line that was.
        LookupError: the variable ``AGENTWIRE_CHECKPOINT`` names a checkpoint that there is not.
    """
    __tracebackhide__ = True
    scene = Scene(engine=engine, policy=policy, seed=seed, latency=latency, within=_LONGEST, options=options)
    attempts = _Attempts(function, check, scene, within)
    first = attempts.at(None)
    if first.error is not None:
        raise first.error.with_traceback(own_steps(first.error, function) or first.error.__traceback__)
    numbers = _chosen(first.injector.passed, limit, seed)
    lost: list[_Cancelled] = []
    for number in numbers:
        played = attempts.at(number)
        if not _is_fine(played, allow):
            lost.append(played)
        if isinstance(played.error, Spinning):
            lost, numbers = [played], [number]  # each of the others might take as long
            break
    if lost:
        shortest = min(lost, key=lambda played: played.number or 0)
        error = NotSurvived(function, shortest, lost, tried=len(numbers), environment=CHECKPOINT)
        raise error.with_traceback(own_steps(shortest.error, function))
    return len(numbers)


def _chosen(checkpoints: int, limit: int | None, seed: int) -> list[int]:
    wanted = os.environ.get(CHECKPOINT)
    if wanted:
        if not wanted.isascii() or not wanted.isdigit() or int(wanted) >= checkpoints:
            raise LookupError(f"{CHECKPOINT} is {wanted!r}, and the checkpoints here are 0 to {checkpoints - 1}")
        return [int(wanted)]
    if limit is None or checkpoints <= limit:
        return list(range(checkpoints))
    return sorted(random.Random(seed).sample(range(checkpoints), limit))


@attrs.frozen(eq=False)
class _Cancelled(Played):
    """One run, cancelled at the n-th checkpoint."""

    number: int | None = attrs.field(default=None, kw_only=True)
    injector: Injector = attrs.field(kw_only=True)

    @property
    def what(self) -> str:
        return f"being cancelled at checkpoint {self.number}, {self.injector.place}"

    @property
    def name(self) -> str:
        return str(self.number)

    @property
    def marks(self) -> tuple[str, ...]:
        return (_MARK,)


_MARK: Final = "cancelled at"


def _is_fine(played: Played, allow: tuple[type[Exception], ...]) -> bool:
    return played.error is None or isinstance(played.error, allow)


@attrs.frozen
class _Attempts:
    """Runs of one function, each cancelled elsewhere."""

    function: Test
    check: Callable[..., object] | None
    scene: Scene
    within: float

    def at(self, number: int | None) -> _Cancelled:
        """Cancel it at one checkpoint, or not at all."""
        injector = Injector(number)
        names = supplied(self.check) if self.check is not None else ()
        around = partial(self._run, injector, names)
        played = play(self.function, self.scene, around=around, names=names)
        return _Cancelled(played.plan, played.stage, played.error, number=number, injector=injector)

    async def _run(
        self,
        injector: Injector,
        names: tuple[str, ...],
        there: Mapping[str, Any],
        test: Callable[[], Awaitable[object]],
    ) -> None:
        rig = there.get("rig")
        injector.tell = rig.journal.note if rig is not None else None
        with injector:
            with injector.scope:
                await test()
            self._judge(injector)
        if self.check is not None:
            checked = self.check(**{name: there[name] for name in names})
            if inspect.isawaitable(checked):
                await checked

    def _judge(self, injector: Injector) -> None:
        if injector.time is None:
            return
        took = trio.current_time() - injector.time
        if injector.delivered and not injector.scope.cancelled_caught:
            raise NotCancelled(f"{named(self.function)} has swallowed its cancellation, and went on to its end")
        if took > self.within:
            raise NotCancelled(f"it took {named(self.function)} {took:g} s to end, and it may take {self.within:g}")


class Injector(trio.abc.Instrument):
    """Cancels what runs in a scope when its tasks have passed so many checkpoints; a context, round the scope.

    Args:
        number: the checkpoint, from 0; None for none.

    Attributes:
        scope: what is cancelled; enter it within the context.
        passed: checkpoints so far.
        place: the one where it was cancelled.
        time: when that was; None if it was not.
        delivered: whether the task that entered the scope has been told.
        tell: told of it.
    """

    def __init__(self, number: int | None) -> None:
        self.scope = trio.CancelScope()
        self.passed = 0
        self.place = ""
        self.time: float | None = None
        self.delivered = False
        self.tell: Callable[[Any, Mapping[str, Any]], None] | None = None
        self._number = number
        self._main: trio.lowlevel.Task | None = None
        self._outer: frozenset[trio.Nursery] = frozenset()

    def __enter__(self) -> None:
        self._main = trio.lowlevel.current_task()
        self._outer = frozenset(self._main.child_nurseries)
        trio.lowlevel.add_instrument(self)

    def __exit__(self, *error: object) -> None:
        trio.lowlevel.remove_instrument(self)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task has come to a checkpoint, or to its end."""
        if self.time is not None or inspect.getcoroutinestate(task.coro) == inspect.CORO_CLOSED:
            return
        if self._is_inside(task):
            if self.passed == self._number:
                self._cancel(task)
            self.passed += 1

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task goes on, perhaps to be told that it is cancelled."""
        if self.time is not None and task is self._main and not self.delivered:
            told = getattr(task, "_next_send", None)
            cancelled = isinstance(told, outcome.Error) and isinstance(told.error, trio.Cancelled)
            self.delivered = cancelled and self._is_seen_by(task)

    def _cancel(self, task: trio.lowlevel.Task) -> None:
        self.time = trio.current_time()
        self.place = describe_place(task)
        if self.tell is not None:
            self.tell("local", {"type": f"{_MARK} {self.place}"})
        self.scope.cancel(reason=f"checkpoint {self._number}")

    def _is_inside(self, task: trio.lowlevel.Task) -> bool:
        """Whether the scope holds a task: that which entered it, or one of a nursery that was opened in it."""
        while task is not self._main:
            nursery = task.parent_nursery
            if nursery is None or nursery in self._outer:
                return False
            task = nursery.parent_task
        return True

    def _is_seen_by(self, task: trio.lowlevel.Task) -> bool:
        """Whether nothing between the scope and the task is shielded. Trio tells that nobody; unknown, it is not."""
        status = getattr(task, "_cancel_status", None)
        while status is not None:
            if status._scope is self.scope:
                return True
            if status._scope.shield:
                return False
            status = status._parent
        return False
