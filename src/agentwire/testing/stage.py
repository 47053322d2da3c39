"""What a test asks for by the names of its arguments, and one run of it on that, in virtual time.

``rig``, ``server``, ``wire`` and ``network`` are made anew for each run; all other arguments are the caller's.
"""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import attrs
import trio

from agentwire.client import PATIENT
from agentwire.engines.scripted import ScriptedEngine
from agentwire.runtime.contracts import Engine
from agentwire.runtime.groups import open_flat_nursery, single
from agentwire.runtime.policies import Policy
from agentwire.testing.clock import run
from agentwire.testing.faults import Fault
from agentwire.testing.invariants import check_all
from agentwire.testing.leaks import no_leaks
from agentwire.testing.network import Network, network
from agentwire.testing.rig import Rig, open_rig
from agentwire.testing.tasks import describe_tasks

__all__ = ["SUPPLIED", "Around", "Hung", "Played", "Scene", "Stage", "Test", "play", "supplied"]

Test = Callable[..., Awaitable[object]]
Around = Callable[[Mapping[str, Any], Callable[[], Awaitable[object]]], Awaitable[object]]
"""Runs a test, given all that is supplied, and the test with what it asked for."""

SUPPLIED: Final = ("rig", "server", "wire", "network")
"""The arguments that are given to a test."""


_KNOWS: Final = "which does not wait for threads, sockets and files"


class Hung(AssertionError):
    """It was not over in time; the message says which tasks there were, and where they waited."""


@attrs.frozen(kw_only=True)
class Scene:
    """What each run of a test begins with.

    Attributes:
        engine: what the server asks; one of a script begins it anew in each run.
        policy: what a lost connection means to the clients.
        seed: decides ids, the order of tasks, and what `random` gives.
        latency: seconds that a byte takes.
        within: virtual seconds after which a run that is not over hangs.
        options: for `open_rig`.
    """

    engine: Engine | None = None
    policy: Policy = PATIENT
    seed: int = 0
    latency: float = 0.0
    within: float = 3600.0
    options: Mapping[str, Any] = attrs.field(factory=dict)

    def make_engine(self) -> Engine | None:
        """The engine of one run."""
        return attrs.evolve(self.engine) if isinstance(self.engine, ScriptedEngine) else self.engine


@attrs.define(eq=False)
class Stage:
    """What there is in one run.

    Attributes:
        net: the network.
        rig: the server and its clients, if the test asked for one of them.
    """

    net: Network
    rig: Rig | None = None


@attrs.frozen(eq=False)
class Played:
    """One run of a test.

    Attributes:
        plan: the faults of its network.
        stage: what there was.
        error: what it raised; None if it ended well.
    """

    plan: tuple[Fault, ...]
    stage: Stage
    error: BaseException | None = None

    @property
    def what(self) -> str:
        """What went wrong in it."""
        return " and ".join(map(str, self.plan)) or "no fault"

    @property
    def name(self) -> str:
        """What names it in the environment, to be run alone."""
        return self.what

    @property
    def marks(self) -> tuple[str, ...]:
        """What its faults read like where they are told."""
        return tuple(map(str, self.plan))

    @property
    def happened(self) -> bool:
        """Whether one of its faults has happened, or there was none to happen."""
        faults = {str(fault) for fault in self.plan}
        return not faults or any(record.what in faults for record in self.stage.net.trace.records)

    @property
    def unreached(self) -> bool:
        """Whether it ended as it did because its client never had a connection."""
        rig = self.stage.rig
        return rig is not None and rig.unreached is not None and rig.unreached is self.error


def supplied(function: Callable[..., object]) -> tuple[str, ...]:
    """The arguments of a test that are given to it."""
    return tuple(name for name in inspect.signature(function).parameters if name in SUPPLIED)


def play(
    function: Test,
    scene: Scene,
    plan: Sequence[Fault] = (),
    arguments: Mapping[str, Any] | None = None,
    *,
    around: Around | None = None,
    names: Iterable[str] = (),
) -> Played:
    """Run a test once.

    Args:
        function: the test.
        scene: what it begins with.
        plan: what goes wrong.
        arguments: those that are not given to it by us.
        around: runs it, in place of just that.
        names: what ``around`` wants to be supplied with besides what the test asks for.

    Returns:
        How it was; `Exception` and the like are in it, an interrupt is raised.
    """
    stage = Stage(network(latency=scene.latency, faults=plan))
    state = random.getstate()
    random.seed(scene.seed)
    error: BaseException | None = None
    try:
        run(
            partial(_perform, function, scene, stage, arguments=arguments or {}, around=around, more=names),
            seed=scene.seed,
        )
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseExceptionGroup as group:
        error = single(group)
    except BaseException as raised:  # noqa: ASYNC103 - Trio is over by then, and a test may raise anything
        if _is_skipped(raised):
            raise
        error = raised
    finally:
        random.setstate(state)
    return Played(tuple(plan), stage, error)


def _is_skipped(error: BaseException) -> bool:
    """Whether pytest was told to leave the test out; its exceptions are none of the usual kind."""
    return type(error).__name__ in ("Skipped", "Exit")


async def _perform(
    function: Test,
    scene: Scene,
    stage: Stage,
    *,
    arguments: Mapping[str, Any],
    around: Around | None,
    more: Iterable[str],
) -> None:
    names = supplied(function)
    async with no_leaks(), _in_time(scene.within), _open(stage, scene, {*names, *more}) as there:
        given = {name: there[name] for name in names}
        test = partial(function, **given, **arguments)
        await (test() if around is None else around(there, test))


@asynccontextmanager
async def _open(stage: Stage, scene: Scene, names: AbstractSet[str]) -> AsyncGenerator[dict[str, Any]]:
    given: dict[str, Any] = {"network": stage.net}
    if not names & {"rig", "server", "wire"}:
        yield given
        if any(
            side == "client" and event.get("type") == "response.create" for side, _, event in stage.net.trace.events()
        ):
            check_all(stage.net.trace)
        return
    rig_of = partial(open_rig, scene.make_engine(), net=stage.net, policy=scene.policy, seed=scene.seed)
    async with rig_of(**scene.options) as stage.rig:
        given |= {"rig": stage.rig, "server": stage.rig.server}
        if "wire" not in names:
            yield given
            return
        async with stage.rig.connect() as wire:
            yield given | {"wire": wire}


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncGenerator[None]:
    """Cancel the block after so long, and tell what it waited for."""
    waiting = ""
    async with open_flat_nursery() as nursery:

        async def watch() -> None:
            nonlocal waiting
            await trio.sleep(seconds)
            waiting = describe_tasks()
            nursery.cancel_scope.cancel(reason="it takes too long")

        if not math.isinf(seconds):
            nursery.start_soon(watch, name="watch of the time")
        yield
        nursery.cancel_scope.cancel(reason="it is over")
    if waiting:
        raise Hung(f"not over after {seconds:g} s of virtual time, {_KNOWS}; the tasks were:\n{waiting}")
