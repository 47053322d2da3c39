"""Finds tasks that never wait: in virtual time their loop holds the clock, and nothing else would ever end the test.

Such a loop catches its cancellation, or comes to nothing but checkpoints. It is told with its line, and ended there.
Tasks that wake each other work, however much there is to do at one moment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import attrs
import trio
import trio.testing

from agentwire.testing.forcing import Forcing
from agentwire.testing.tasks import describe_frame, describe_place, is_trio

__all__ = ["Patrol", "Spinning", "no_spinning"]

_ROUNDS: Final = 1_000  # of Trio's loop, while time stands still, after which each step is counted
_CANCELLED: Final = 5_000  # steps of one task at one moment, under a cancellation
_ALONE: Final = 300_000  # steps of one task at one moment, in which it wakes no other, and no other wakes it
_FOLLOWED: Final = 100  # the last of them, in which it is seen which of its frames stay

_patrolled: Final[trio.lowlevel.RunVar[bool]] = trio.lowlevel.RunVar("agentwire: spinning", default=False)


class Spinning(AssertionError):
    """A task never waits, so that time stands still; the message says where its loop is, and what to do about it."""


@contextmanager
def no_spinning(*, alone: int | None = None) -> Generator[Patrol]:
    """Within the block, a task of this Trio run that spins is ended, and the block raises `Spinning`.

    On a virtual clock alone: under a real one time goes on by itself. Blocks that begin while this one lasts do
    nothing.

    Args:
        alone: how many checkpoints a task may pass at one moment while no other has anything to do with it; else as
            many as would take some seconds, because a task may well have that much to do.
    """
    patrol = Patrol(_ALONE if alone is None else alone)
    if _patrolled.get() or not isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock):
        yield patrol
        return
    token = _patrolled.set(True)
    trio.lowlevel.add_instrument(patrol)
    try:
        yield patrol
    except BaseException as error:
        if not _ends_the_program(error):
            patrol.told = False  # whatever it was, it has come of that
            patrol.check()
        raise
    finally:
        patrol.stop()
        _patrolled.reset(token)
    patrol.check()


def _ends_the_program(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(map(_ends_the_program, error.exceptions))
    return isinstance(error, KeyboardInterrupt | SystemExit)


class Patrol(trio.abc.Instrument):
    """Sees whether time goes on; as long as it does not, whoever makes a step is counted.

    Args:
        alone: see `no_spinning`.

    Attributes:
        told: whether what was found has been raised.
    """

    def __init__(self, alone: int = _ALONE) -> None:
        self._alone = alone
        self.told = False
        self._found: Spinning | None = None
        self._rounds = 0
        self._then = -math.inf
        self._steps: _Steps | None = None

    def check(self) -> None:
        """Raise `Spinning`, once, if a task was found to spin."""
        if self._found is not None and not self.told:
            self.told = True
            raise self._found from None

    def stop(self) -> None:
        """Leave the run alone."""
        self._count(counted=False)
        trio.lowlevel.remove_instrument(self)

    def before_io_wait(self, timeout: float) -> None:
        """Trio's loop goes round."""
        self._rounds += 1
        if self._rounds == _ROUNDS:  # to ask for the time in each round would be felt
            self._rounds, then, self._then = 0, self._then, trio.current_time()
            self._count(counted=self._then == then)

    def _count(self, *, counted: bool) -> None:
        if counted and self._steps is None:
            self._steps = _Steps(self._find, self._alone)
            trio.lowlevel.add_instrument(self._steps)
        elif not counted and self._steps is not None:
            self._steps.leave()  # the step that ends the block may be one of the loop's
            trio.lowlevel.remove_instrument(self._steps)
            self._steps = None

    def _find(self, what: str) -> None:
        self._found = self._found or Spinning(what)


@attrs.define(eq=False)
class _Tally:
    """What one task has done at this moment.

    Attributes:
        cancelled: how many steps under a cancellation it may still make, one after the other.
        alone: how many steps in which no other task wakes it, or is woken by it.
        stays: which of its frames have been there all the time, lately.
        accused: its frames, when its loop was told last; who of them is still there has caught what ended the loop.
        forcing: what ends its loop.
    """

    cancelled: int
    alone: int
    stays: list[FrameType] | None = None
    accused: list[FrameType] = attrs.field(factory=list)
    forcing: Forcing | None = None

    @property
    def left(self) -> int:
        """How many more it may make."""
        return min(self.cancelled, self.alone)

    def follow(self, task: trio.lowlevel.Task) -> None:
        """See what of it stays."""
        frames = [frame for frame, _ in task.iter_await_frames()]
        stays = frames if self.stays is None else self.stays
        self.stays = [before for before, now in zip(stays, frames, strict=False) if before is now]

    def spare(self) -> None:
        """It has been told to end; whether it does is seen a little later."""
        self.cancelled = max(self.cancelled, _FOLLOWED)
        self.alone = max(self.alone, _FOLLOWED)
        self.stays = None


class _Steps(trio.abc.Instrument):
    """Counts the steps of each task at one moment, and ends those that make too many.

    Args:
        tell: told who that is.
        alone: see `no_spinning`.
    """

    def __init__(self, tell: Callable[[str], None], alone: int) -> None:
        self._tell = tell
        self._alone = alone
        self._tallies: dict[trio.lowlevel.Task, _Tally] = {}
        self._forcing: Forcing | None = None

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        """A task will run; if another one brought that about, both of them get on."""
        try:
            waker = trio.lowlevel.current_task()
        except RuntimeError:  # a deadline did, and they do not pass while time stands still
            return
        if waker is not task:
            for one in (waker, task):
                if (tally := self._tallies.get(one)) is not None:
                    tally.alone = self._alone

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task goes on."""
        if task.parent_nursery is None:  # Trio's first
            return
        tally = self._tallies.get(task)
        if tally is None:
            tally = self._tallies[task] = _Tally(_CANCELLED, self._alone)
        tally.alone -= 1
        if trio.current_effective_deadline() == -math.inf:
            tally.cancelled -= 1
        else:
            tally.cancelled = _CANCELLED  # it has left the scope that was cancelled, as it should
        if tally.left > _FOLLOWED:
            tally.stays = None
            return
        tally.follow(task)
        if tally.left <= 0:
            self._force(task, tally)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It has come to the next checkpoint."""
        forcing = self.leave()
        if forcing is not None and forcing.raised and task in self._tallies:
            self._tallies[task].spare()

    def leave(self) -> Forcing | None:
        """Do nothing more in this step; returns what was done."""
        forcing, self._forcing = self._forcing, None
        if forcing is not None:
            forcing.end()
        return forcing

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """It has come to its end."""
        self._tallies.pop(task, None)

    def _force(self, task: trio.lowlevel.Task, tally: _Tally) -> None:
        stays = [frame for frame in tally.stays or () if not is_trio(frame)]
        if not stays:
            return
        if tally.forcing is None or stays[-1] not in tally.forcing.frames:  # not the loop that was told before
            what = _accusation(task, stays[-1], None if tally.cancelled <= 0 else self._alone)
            self._tell(what)
            caught = [frame for frame in stays if frame in tally.accused][-1:]
            tally.forcing = Forcing(frozenset((stays[-1], *caught)), what)
            tally.accused = stays
        self._forcing = tally.forcing
        self._forcing.begin()


def _accusation(task: trio.lowlevel.Task, loop: FrameType, alone: int | None) -> str:
    where, place = describe_frame(loop, loop.f_lineno), describe_place(task)
    waits = "" if place == where else f", which awaits {place}"
    who = f"The loop at {where}{waits} (task {task.name})"
    if alone is None:
        return (
            f"{who} swallows its cancellation: at {trio.current_time():g} s it has gone on {_CANCELLED:,} times "
            "although it was cancelled, so that time stands still. Let `Cancelled` pass: catch `Exception`, which it "
            "is not, or raise it again; what must be done on the way out belongs in a `finally`, under a shield if "
            "it awaits. If the loop's own scopes are over at once, like `move_on_after(0)`, let it wait for something."
        )
    return (
        f"{who} never waits: at {trio.current_time():g} s it has passed {alone:,} checkpoints, and no other task had "
        "anything to do with it, so that time stands still. Let it wait for what it looks for, such as a `trio.Event`, "
        "or sleep for longer than no time."
    )
