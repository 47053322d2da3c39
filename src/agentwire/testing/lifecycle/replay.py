"""How a failure of a machine is shown, and played again: a timeline of moves and traffic, and a line for the shell.

The line names the test and, in ``AGENTWIRE_REPLAY``, the choices that lead to the failure; the same choices give the
same run, to the byte.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from hypothesis import reproduce_failure, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from agentwire.testing.lifecycle.world import World

__all__ = ["REPLAY", "ReplayableTestCase", "timeline"]

REPLAY: Final = "AGENTWIRE_REPLAY"
"""The environment variable that holds the choices to be made: the version of Hypothesis, a colon, and its blob."""

_HINT: Final = re.compile(r"You can reproduce .*@reproduce_failure\('([^']+)', b'([^']+)'\).*")
_STEPS: Final = 20
_HEAD, _TAIL = 40, 300


def timeline(world: World) -> str:
    """What was done, what went by, and what was worked on, in order; the middle of a long one is left out."""
    told: list[tuple[float, float, int, str]] = [
        (time, after, 0, f"{time:10.3f}  == {move}") for time, after, move in world.moves
    ]
    told += [(record.time, place, 1, str(record)) for place, record in enumerate(world.net.trace.records)]
    if world.served:
        told += [(one.time, math.inf, 2, str(one)) for one in world.rig.journal.entries if one.who == "local"]
    lines = [line for *_, line in sorted(told, key=lambda one: one[:3])]
    if len(lines) > _HEAD + _TAIL:
        lines[_HEAD:-_TAIL] = [f"{'':10}  ... {len(lines) - _HEAD - _TAIL} more ..."]
    return "\n".join(("What happened:", *lines))


class ReplayableTestCase:
    """What ``Machine.TestCase`` is for a machine whose failures can be played again."""

    def __get__(self, machine: object, kind: type[RuleBasedStateMachine]) -> Any:
        return _test_case(kind)


@cache
def _test_case(machine: type[RuleBasedStateMachine]) -> Any:
    plain: Any = RuleBasedStateMachine.__dict__["TestCase"].__get__(None, machine)

    class TestCase(plain):  # type: ignore[misc]
        settings = settings(plain.settings, stateful_step_count=_STEPS)

        def runTest(self) -> None:  # noqa: N802 - the name that unittest calls
            _run(machine, self.settings)

        runTest.is_hypothesis_test = True  # type: ignore[attr-defined]
        runTest._hypothesis_state_machine_class = machine  # type: ignore[attr-defined]

    TestCase.__name__ = TestCase.__qualname__ = f"{machine.__qualname__}.TestCase"
    TestCase.__module__ = machine.__module__
    return TestCase


def _run(machine: type[RuleBasedStateMachine], how: settings) -> None:
    """Search for a failure, or play the one that the environment names."""
    version, _, blob = os.environ.get(REPLAY, "").partition(":")
    if blob:
        machine = type(machine.__name__, (machine,), {"__module__": machine.__module__})
        machine = reproduce_failure(version, blob.encode())(machine)
    try:
        run_state_machine_as_test(machine, settings=settings(how, print_blob=True))
    except Exception as error:
        for one in _errors(error):
            _say_how(one, machine)
        raise


def _errors(error: BaseException) -> Iterable[BaseException]:
    yield error
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _errors(inner)


def _say_how(error: BaseException, machine: type) -> None:
    """Instead of a decorator to be added, a line for the shell."""
    notes = getattr(error, "__notes__", [])
    for number, note in enumerate(notes):
        notes[number] = _HINT.sub(lambda found: f"Play it again: {_line(machine, found[1], found[2])}", note)


def _line(machine: type, version: str, blob: str) -> str:
    test = os.environ.get("PYTEST_CURRENT_TEST", "").removesuffix(" (call)").removesuffix("::runTest")
    return f"{REPLAY}={shlex.quote(f'{version}:{blob}')} pytest {shlex.quote(test or f'-k {machine.__name__}')}"
