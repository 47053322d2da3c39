"""How a test that did not survive is told: the fault, the error, what went by round it, and the line that repeats it.

It is read in a terminal, by somebody who wants to know what to do next, so that it is short.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any, Final

from agentwire.testing.entry import Entry
from agentwire.testing.scan import Frame
from agentwire.testing.stage import Played, Test
from agentwire.testing.trace import Record, says

__all__ = ["NotSurvived", "named", "own_steps", "story"]

_BEFORE: Final = 14
_AFTER: Final = 26
_OTHERS: Final = 5
_ERROR_LINES: Final = 12
_WIDTH: Final = 130
_NAME: Final = 16


class NotSurvived(AssertionError):
    """A test does not survive a fault; its text tells the story.

    Args:
        test: the test.
        shortest: the run that is told.
        lost: all runs that did not end well.
        tried: how many faults there were.
        environment: the variable that names the one fault to run.

    Attributes:
        plan: the fault, or the faults, that are told.
        error: what the test raised then.
        plans: those of all runs that did not end well.
    """

    def __init__(self, test: Test, shortest: Played, lost: Sequence[Played], *, tried: int, environment: str) -> None:
        self.plan = shortest.plan
        self.error = shortest.error
        self.plans = tuple(played.plan for played in lost)
        super().__init__(_report(test, shortest, lost, tried, environment))


def named(test: Test) -> str:
    """A test's name."""
    return getattr(test, "__qualname__", repr(test)).rpartition("<locals>.")[2]


def _report(test: Test, shortest: Played, lost: Sequence[Played], tried: int, environment: str) -> str:
    many = (
        f"{len(lost)} of {tried} runs are not survived; this is the one with the shortest story." if tried > 1 else ""
    )
    others = [played for played in lost if played.what != shortest.what]
    lines = [
        f"{named(test)} does not survive {shortest.what}.",
        *([many] if many else []),
        "",
        *(f"    {line}" for line in _error(shortest.error)),
        *(f"    at {place}" for place in _place(shortest.error, test)),
        "",
        *story(shortest),
        "",
        *_others(others),
        f"This one alone: {environment}='{shortest.name}' {_command(test)}",
    ]
    return "\n".join(lines)


def _error(error: BaseException | None) -> list[str]:
    lines = f"{type(error).__name__}: {error}".splitlines()
    return (
        lines if len(lines) <= _ERROR_LINES else [*lines[:_ERROR_LINES], f"... {len(lines) - _ERROR_LINES} more lines"]
    )


def _place(error: BaseException | None, test: Test) -> list[str]:
    """Where in the test's own function it was."""
    code = getattr(test, "__code__", None)
    places = [step.tb_lineno for step in _steps(error) if step.tb_frame.f_code is code]
    return [f"{Path(code.co_filename).name}:{places[-1]} in {named(test)}"] if code is not None and places else []


def _others(others: Sequence[Played]) -> list[str]:
    if not others:
        return []
    shown = [f"    {played.what}: {_error(played.error)[0]}"[:_WIDTH] for played in others[:_OTHERS]]
    more = [f"    and {len(others) - _OTHERS} more"] if len(others) > _OTHERS else []
    return ["Nor these:", *shown, *more, ""]


def _command(test: Test) -> str:
    """What runs this test in a shell."""
    node, _, _ = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")
    if node:
        return f"pytest '{node}'"
    code = getattr(test, "__code__", None)
    file = Path(code.co_filename).name if isinstance(code, CodeType) else "FILE"
    return f"pytest '{file}::{named(test)}'"


# What went by


def story(played: Played) -> list[str]:
    """What went by in a run, and the work that was done meanwhile, round its faults; the rest is left out."""
    lines = list(_lines(played))
    places = [number for number, line in enumerate(lines) if any(mark in line for mark in played.marks)]
    first, last = (places[0], places[-1]) if places else (0, 0)
    start, end = max(0, first - _BEFORE), last + _AFTER
    before = [f"    ... {start} lines before that"] if start else []
    after = [f"    ... {len(lines) - end} lines after that"] if len(lines) > end else []
    return ["What went by:", *before, *(f"    {line}" for line in lines[start:end]), *after]


def _lines(played: Played) -> Iterator[str]:
    rig = played.stage.rig
    happened = rig.journal.merged() if rig is not None else iter(played.stage.net.trace.records)
    names: dict[str, str] = {}
    for _, alike in groupby(filter(_is_told, happened), key=_kind):
        group = list(alike)
        last = group[-1]
        yield (_line(last, names) if len(group) == 1 else _frames(group))[:_WIDTH]


def _is_told(one: Record | Entry) -> bool:
    """What is noted for the rules alone says nothing to a reader."""
    return isinstance(one, Record) or one.type not in ("model.saw", "resources")


def _kind(one: Record | Entry) -> Any:
    """Messages of one moment are told as one; all else by itself."""
    if isinstance(one, Record) and isinstance(one.what, Frame) and says(one.what.payload):
        return one.connection, one.side, one.time
    return id(one)


def _frames(group: Sequence[Any]) -> str:
    """Messages of one side, one right after the other."""
    first, last = group[0], group[-1]
    types = [says(record.what.payload).partition(" ")[0] for record in (first, last)]
    frames = f"frames {first.what.index} to {last.what.index}"
    return str(first).partition("frame ")[0] + f"{frames}  {' ... '.join(dict.fromkeys(types))}"


def _line(one: Record | Entry, names: dict[str, str]) -> str:
    if isinstance(one, Record):
        return str(one)
    if not one.type.startswith("work."):
        return f"{one.time:10.3f}     {one.who:<6}     {' '.join(map(str, one.event.values()))}"
    kind, name, how = (str(one.event.get(part, "")) for part in ("kind", "name", "how"))
    what = names.setdefault(name, str(one.event.get("what", "")) or name[:_NAME])
    return f"{one.time:10.3f}     {kind:<6}     {what} {how or 'begins'}"


# Where it was raised


def _steps(error: BaseException | None) -> Iterator[TracebackType]:
    step = error.__traceback__ if error is not None else None
    while step is not None:
        yield step
        step = step.tb_next


def own_steps(error: BaseException | None, test: Test) -> TracebackType | None:
    """The error's traceback from the test on; None if it was raised elsewhere."""
    code = getattr(test, "__code__", None)
    return next((step for step in _steps(error) if step.tb_frame.f_code is code), None)
