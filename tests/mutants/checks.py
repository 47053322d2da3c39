"""What the test kit says of a program: each check runs a whole server, or its rules, and raises if something is wrong.

These are the kit's own: conformance cases, programs on a rig and on the bare wire, machines, cuts at every frame, and
the invariants on what went by. Each runs under the watch on everything that a server says, and leaves nothing behind.
"""

from __future__ import annotations

import gc
import logging
import sys
import warnings
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any, Final

import attrs

__all__ = ["Check", "all_checks", "judged", "load", "programs", "quiet"]

LONG: Final = 10_000
"""Seconds of the virtual clock that one conformance case may take: it waits for the hour of a connection."""

_LOADED: Final = (
    "hypothesis.stateful",
    "agentwire.testing.lifecycle",
    "tests.client.kit",
    "tests.conformance.kit",
    "tests.protocol.test_desk_machine",
    "tests.server.comeback",
)


@attrs.frozen
class Check:
    """One check.

    Attributes:
        name: its group, and what it is in there.
        run: raises if it finds something.
    """

    name: str
    run: Callable[[], object]

    @property
    def group(self) -> str:
        """What it is one of."""
        return self.name.partition(":")[0]

    def __call__(self) -> None:
        """Run it, watched.

        Raises:
            Exception: what it found, of any type.
        """
        with judged():
            self.run()


@contextmanager
def judged() -> Generator[None]:
    """Whatever a server says meanwhile is legal, nothing is warned of, and no coroutine is forgotten."""
    from agentwire.testing.clock import seeded_order
    from tests.watching import WATCH, watching_everything

    forgotten: list[Any] = []
    hook, sys.unraisablehook = sys.unraisablehook, forgotten.append
    try:
        WATCH.clear()
        with warnings.catch_warnings(), seeded_order(1), watching_everything():
            for kind in (RuntimeWarning, ResourceWarning):
                warnings.simplefilter("error", kind)
            yield
            gc.collect()
        WATCH.check()
        assert not forgotten, f"nobody heard of {forgotten[0].exc_value!r}"
    finally:
        sys.unraisablehook = hook


@contextmanager
def quiet() -> Generator[None]:
    """No log meanwhile."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def all_checks() -> list[Check]:
    """Every check, quick ones first."""
    return [*conformance(), *programs(), *machines(), *cuts()]


def load() -> None:
    """Import what checks need, but for what runs a server while it is imported: that would be one without a mutant."""
    for name in _LOADED:
        import_module(name)


# The cases


def conformance() -> Iterable[Check]:
    """Each conformance case on a server in memory, in one of the dialects that it is about."""
    from agentwire.testing.conformance import CASES, RULES

    for name, case in CASES.items():
        profiles = case.profiles & RULES[case.rules[0]].profiles
        yield Check(f"case:{name}", partial(_case, name, "openai" if "openai" in profiles else "open-responses"))


def _case(name: str, profile: Any) -> None:
    from agentwire.testing import run
    from agentwire.testing.conformance import CASES, run_case
    from tests.conformance.kit import as_process, before_companion, in_memory

    case = CASES[name]
    places: dict[str, Any] = {"companion": before_companion, "process": as_process}
    opened = next((places[need] for need in case.needs if need in places), in_memory)

    async def ask() -> None:
        async with opened(profile) as peer:
            result = await run_case(peer, case, timeout=LONG)
        assert result.verdict == "passed", str(result)

    run(ask, seed=1)


# Programs on a rig


def programs() -> Iterable[Check]:
    """What a user of the kit writes: see `tests.mutants.rigged` and `tests.mutants.extended`."""
    from tests.mutants.remote import EXTENDED
    from tests.mutants.rigged import PROGRAMS

    for group, programs in (("wire", EXTENDED), ("rig", PROGRAMS)):
        for name, program in programs.items():
            yield Check(f"{group}:{name}", program)


# The machines


def machines() -> Iterable[Check]:
    """Random programs against models."""
    yield Check("desk machine", _desk_machine)
    yield Check("lifecycle machine", _lifecycle_machine)


def _machine(machine: Any, examples: int, steps: int) -> None:
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def _desk_machine() -> None:
    from tests.protocol.test_desk_machine import DeskMachine

    _machine(DeskMachine, 150, 30)


def _lifecycle_machine() -> None:
    from agentwire.testing.lifecycle import LifecycleMachine

    _machine(LifecycleMachine, 25, 30)


# Cuts


def cuts() -> Iterable[Check]:
    """A rollout on three lanes is cut at every frame; and one of the client's with twenty tools."""
    yield Check("uncut", _uncut)
    yield Check("cut:cancel", partial(_cut, resume=False))
    yield Check("cut:resume", partial(_cut, resume=True))
    yield Check("client cuts:session", partial(_client_cuts, session=True))
    yield Check("client cuts:none", partial(_client_cuts, session=False))
    yield Check("conversation", _conversation)


def _uncut() -> None:
    from tests.server import test_cut_everywhere as cutting

    cutting.test_the_rollout_as_it_is_without_a_cut()


def _cut(*, resume: bool) -> None:
    from tests.server import test_cut_everywhere as cutting

    for fault in cutting.positions(cutting.UNCUT[resume].net.trace)[::4]:
        if resume:
            cutting.test_cut_anywhere_and_resumed_every_event_comes_exactly_once(fault)
        else:
            cutting.test_cut_anywhere_under_cancel_nothing_is_left_running(fault)


def _client_cuts(*, session: bool) -> None:
    from tests.client import test_cut_everywhere as cutting

    cutting.test_the_rollout_as_it_is_without_a_cut()
    for fault in cutting.BORDERS[cutting.SERVERS[not session]][1::20]:
        if session:
            cutting.test_cut_anywhere_in_a_session(fault)
        else:
            cutting.test_cut_anywhere_where_the_server_forgets(fault)


def _conversation() -> None:
    from tests.client import test_cut_everywhere as cutting

    cutting.test_a_conversation_is_whole_wherever_it_is_cut(())
