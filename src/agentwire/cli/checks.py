"""What the commands that run many checks have in common: they can be interrupted, and report what is known by then.

What goes on is told on stderr. What somebody typed is part of the report, so that a run can be repeated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any, Final

import attrs
from rich.console import Console
from rich.table import Table

from agentwire.cli.interrupts import Interrupts
from agentwire.cli.reports import ReportProgress

__all__ = ["print_checks", "run_checks", "typed_options"]

WIDTH: Final = 160
"""Columns of a list where there is no terminal."""


async def run_checks(total: int, run: Callable[[ReportProgress], Awaitable[None]], tell: Callable[[], int]) -> int:
    """Run checks until they are done or somebody interrupts them, then tell what came of them.

    Args:
        total: how many there are.
        run: runs them, and says what goes on.
        tell: reports what is known; returns the exit code.

    Returns:
        The exit code: that of the interrupt if there was one.
    """
    with ReportProgress(total) as progress:
        interrupts = Interrupts(progress.note)
        with interrupts.listening() as scope:
            await run(progress)
    code = tell()
    return interrupts.code if scope.cancelled_caught else code


def typed_options(options: attrs.AttrsInstance, leave_out: Collection[str]) -> dict[str, str]:
    """The options that were typed, by their names on the command line, but for those that say nothing of the run."""
    plain = type(options)()
    found: dict[str, str] = {}
    for field in attrs.fields(type(options)):
        value: Any = getattr(options, field.name)
        if value != getattr(plain, field.name) and field.name not in leave_out:
            found[field.name.replace("_", "-")] = ", ".join(value) if isinstance(value, tuple) else str(value)
    return found


def print_checks(columns: Sequence[str], rows: Iterable[Sequence[str]], *, fold: str) -> None:
    """Print a list of checks: one line each, of which one column may be folded to fit into a terminal."""
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=name != fold)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    (console if console.is_terminal else Console(highlight=False, width=WIDTH, color_system=None)).print(table)
