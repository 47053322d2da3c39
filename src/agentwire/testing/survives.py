"""One line over a test, and it is run once for every fault: `survives`.

    @survives(cut="every frame")
    async def test_one_mail(rig: Rig) -> None:
        mail = Mail()
        async with rig.connect() as wire, wire.run("Write to Ada.", tools=[mail.send]) as run:
            await run.finish()
        assert mail.sent == ["Ada"]

The first run has no fault and shows where there could be one. Time is virtual, and whatever is drawn at random is drawn
from a seed, so that each fault gives the same run each time.
"""

from __future__ import annotations

import functools
import inspect
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, overload

import attrs

from agentwire.client import PATIENT
from agentwire.protocol.errors import ConnectionEnded
from agentwire.runtime.contracts import Engine
from agentwire.runtime.policies import Cancel, Policy
from agentwire.testing.cuts import every_byte, every_frame
from agentwire.testing.faults import SIDES, Fault, Kind
from agentwire.testing.network import Network
from agentwire.testing.spinning import Spinning
from agentwire.testing.stage import SUPPLIED, Played, Scene, Test, play, supplied
from agentwire.testing.story import NotSurvived, named, own_steps

__all__ = ["ENVIRONMENT", "Cuts", "Plan", "survives"]

Plan = Fault | Sequence[Fault]
"""What goes wrong in one run: one fault, or several."""
Cuts = Literal["every frame", "every byte"] | Iterable[Plan] | Callable[[Network], Iterable[Plan]]
"""Where faults happen: at every place of a kind, where a list says, or where a function says that is given the network
of the run without any.
"""
Wrapped = Callable[..., None]

ENVIRONMENT: Final = "AGENTWIRE_FAULT"
"""The variable of the environment that names the one fault to run."""


@overload
def survives(test: Test, /) -> Wrapped: ...
@overload
def survives(
    *,
    cut: Cuts = ...,
    kinds: Iterable[Kind | Fault] = ...,
    policy: Policy = ...,
    engine: Engine | None = ...,
    allow: tuple[type[Exception], ...] = ...,
    limit: int | None = ...,
    step: int = ...,
    latency: float = ...,
    within: float = ...,
    seed: int = ...,
    **options: Any,
) -> Callable[[Test], Wrapped]: ...
def survives(
    test: Test | None = None,
    /,
    *,
    cut: Cuts = "every frame",
    kinds: Iterable[Kind | Fault] = ("cut",),
    policy: Policy = PATIENT,
    engine: Engine | None = None,
    allow: tuple[type[Exception], ...] = (),
    limit: int | None = None,
    step: int = 1,
    latency: float = 0.0,
    within: float = 3600.0,
    seed: int = 0,
    **options: Any,
) -> Wrapped | Callable[[Test], Wrapped]:
    """Turn an async test into a plain one that runs it once without faults, and then once for each fault.

    The test is given, anew in each run, what its arguments name: ``rig`` (a `Rig`), ``server`` (its server), ``wire``
    (a `Client` of it) and ``network`` (the `Network` in memory alone, for a server and a client of your own). Its other
    arguments stay arguments, so that pytest gives its fixtures, the same ones in all runs.

    A run is survived if the test passes, is over in time, leaves nothing behind (`no_leaks`), and all that must hold of
    any run holds (`Rig.check`). It may also end with what `Rig.connect` raises if there never was a connection, and
    under `Cancel` with `ConnectionEnded`.

    Args:
        test: the test, where the decorator has no arguments.
        cut: where faults happen: between any two WebSocket frames and in the middle of each (``every frame``), at
            ``every byte``, where a list of faults or of lists of them says, or where a function says that is given the
            network of the first run. All connections that the test makes count.
        kinds: what happens there, one after the other; a `Fault` says more of it, such as
            ``Fault("stall", seconds=90)``.
        policy: what a lost connection means to the clients.
        engine: what the server asks, such as `scripted`; one of a script begins it anew in each run.
        allow: more exceptions with which a run with a fault may end.
        limit: most faults; more are drawn from, by the seed.
        step: bytes from one place to the next, under ``every byte``.
        latency: seconds that a byte takes.
        within: virtual seconds that a run may take.
        seed: decides ids, the order of tasks, and what the module `random` gives.
        options: for the server, as for `agentwire.serve`; and ``limits`` for both sides.

    Raises:
        NotSurvived: there is a fault that the test does not survive: the one with the shortest story is told, with the
            line that runs it alone.
        LookupError: the variable ``AGENTWIRE_FAULT`` names a fault that there is not.
        ValueError: nothing goes by that could be cut.
    """
    scene = Scene(engine=engine, policy=policy, seed=seed, latency=latency, within=within, options={**options})
    if isinstance(policy, Cancel):
        allow = (*allow, ConnectionEnded)
    trials = Trials(scene, cut, tuple(kinds), allow, limit, step)
    return trials.of(test) if test is not None else trials.of


@attrs.frozen
class Trials:
    """How a test is put on trial; see `survives`."""

    scene: Scene
    cut: Cuts
    kinds: tuple[Kind | Fault, ...]
    allow: tuple[type[Exception], ...]
    limit: int | None
    step: int

    def of(self, test: Test) -> Wrapped:
        """The test as a plain function."""
        if not inspect.iscoroutinefunction(test):
            raise TypeError(f"@survives goes over an async function, and {named(test)} is none")
        if not supplied(test):
            raise TypeError(
                f"{named(test)} asks for nothing that could break; give it one of the arguments {', '.join(SUPPLIED)}"
            )

        @functools.wraps(test)
        def tried(*args: Any, **kwargs: Any) -> None:
            __tracebackhide__ = True
            self._try(test, _bound(test, args, kwargs))

        signature = inspect.signature(test)
        rest = [one for one in signature.parameters.values() if one.name not in SUPPLIED]
        tried.__signature__ = signature.replace(parameters=rest, return_annotation=None)  # type: ignore[attr-defined]
        return tried

    def _try(self, test: Test, arguments: Mapping[str, Any]) -> None:
        __tracebackhide__ = True
        first = play(test, self.scene, (), arguments)
        if first.error is not None:
            raise first.error.with_traceback(own_steps(first.error, test) or first.error.__traceback__)
        plans = self._chosen(list(self._plans(test, first.stage.net)))
        lost: list[Played] = []
        happened = 0
        for plan in plans:
            played = play(test, self.scene, plan, arguments)
            happened += played.happened
            if not self._survived(played):
                lost.append(played)
            if isinstance(played.error, Spinning):
                lost, plans = [played], [plan]  # each of the others might take as long
                break
        if plans and not happened:
            raise ValueError(f"{named(test)} has no such place: none of its {len(plans)} faults has happened")
        if lost:
            shortest = self._shrink(test, arguments, min(lost, key=_length))
            error = NotSurvived(test, shortest, lost, tried=len(plans), environment=ENVIRONMENT)
            raise error.with_traceback(own_steps(shortest.error, test))

    # What goes wrong

    def _plans(self, test: Test, net: Network) -> Iterator[tuple[Fault, ...]]:
        if callable(self.cut):
            plans = self.cut(net)
        elif isinstance(self.cut, str):
            plans = [fault for number in range(len(net.links)) for fault in self._everywhere(net, number)]
            if not plans:
                raise ValueError(_nothing(test, net, self.cut))
        else:
            plans = self.cut
        for plan in plans:
            yield (plan,) if isinstance(plan, Fault) else tuple(plan)

    def _everywhere(self, net: Network, connection: int) -> Iterator[Fault]:
        if self.cut == "every byte":
            places = list(every_byte(net.trace, step=self.step, connection=connection))
        elif self.cut == "every frame":
            sent = net.trace.frames("client", connection) + net.trace.frames("server", connection)
            places = list(every_frame(net.trace, connection=connection)) if sent else []
        else:
            raise ValueError(f'cut is "every frame", "every byte", or says where; not {self.cut!r}')
        for kind in self.kinds:
            how = Fault(kind) if isinstance(kind, str) else kind
            for place in places if how.kind != "duplicate" else ():
                where = {name: getattr(place, name) for name in ("side", "at_byte", "at_frame", "middle", "connection")}
                yield attrs.evolve(how, **where)
            if how.kind == "duplicate":  # which is of a handshake, and there is one
                yield attrs.evolve(how, connection=connection)

    def _chosen(self, plans: list[tuple[Fault, ...]]) -> list[tuple[Fault, ...]]:
        wanted = os.environ.get(ENVIRONMENT)
        if wanted:
            chosen = [plan for plan in plans if " and ".join(map(str, plan)) == wanted]
            if not chosen:
                raise LookupError(f"{ENVIRONMENT} is {wanted!r}, and there is no such fault here")
            return chosen
        if self.limit is None or len(plans) <= self.limit:
            return plans
        drawn = sorted(random.Random(self.scene.seed).sample(range(len(plans)), self.limit))
        return [plans[number] for number in drawn]

    # What becomes of it

    def _survived(self, played: Played) -> bool:
        return played.error is None or played.unreached or _is_allowed(played.error, self.allow)

    def _shrink(self, test: Test, arguments: Mapping[str, Any], lost: Played) -> Played:
        """The same with as few faults as do it."""
        for fault in lost.plan if len(lost.plan) > 1 else ():
            fewer = play(test, self.scene, [one for one in lost.plan if one is not fault], arguments)
            if fewer.plan and not self._survived(fewer):
                return self._shrink(test, arguments, fewer)
        return lost


def _bound(test: Test, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of a call by their names, as the ones that are supplied may stand between them."""
    names = [name for name in inspect.signature(test).parameters if name not in SUPPLIED]
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _length(played: Played) -> int:
    return len(played.stage.net.trace.records)


def _nothing(test: Test, net: Network, cut: str) -> str:
    sent = any(net.trace.bytes(side, number) for side in SIDES for number in range(len(net.links)))
    how = 'no WebSocket was used; say cut="every byte"' if sent else "it made no connection over what it was given"
    return f"{named(test)} has nothing to cut at {cut}: {how}"


def _is_allowed(error: BaseException, allowed: tuple[type[Exception], ...]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_allowed(one, allowed) for one in error.exceptions)
    return isinstance(error, allowed)
