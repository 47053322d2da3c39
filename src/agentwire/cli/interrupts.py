"""Ctrl-C and SIGTERM: the first one cancels what is under way and lets it clean up, one more leaves at once.

The last one (of a server the third, as its first one drains) is obeyed by the signal handler itself, so that neither a
clean-up that hangs nor a tool that blocks the loop can hold anybody here.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import attrs
import trio

from agentwire.cli.failures import INTERRUPTED, TERMINATED

__all__ = ["HINT", "REASON", "REASON_TERMINATED", "Interrupts", "leaving_at_the_third"]

REASON: Final = "interrupted from the keyboard"
"""What whatever is cancelled by Ctrl-C is told."""
REASON_TERMINATED: Final = "the process was told to end"
"""What it is told after SIGTERM."""
HINT: Final = "cancelling; once more leaves at once"
"""What the person is told."""

_SHOW_CURSOR: Final = b"\x1b[?25h"


def leave_at_once(code: int) -> None:
    """End the process, whatever it does; a cursor that was hidden is shown again."""
    if os.isatty(2):
        os.write(2, _SHOW_CURSOR)
    os._exit(code)


@contextmanager
def leaving_at_the_third(leave: Callable[[int], None] = leave_at_once) -> Iterator[None]:
    """Have a third signal end the process, whatever holds it; the first two are for who took them before.

    Args:
        leave: what the third does, with the exit code.
    """
    taken: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    count = itertools.count(1)

    def pressed(number: int, frame: object) -> None:
        if next(count) > 2:
            leave(INTERRUPTED if number == signal.SIGINT else TERMINATED)
        else:
            taken[number](number, frame)

    for number in taken:
        signal.signal(number, pressed)
    try:
        yield
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)


@attrs.define
class Interrupts:
    """What Ctrl-C and SIGTERM do while `listening`.

    Attributes:
        note: told, before anything else, that something is being cancelled.
        leave: what a further one does, with the exit code.
        pressed: whether there was one that is not settled.
        code: the exit code of what one of them has ended; `TERMINATED` means that nothing more is to be begun.
    """

    note: Callable[[str], None]
    leave: Callable[[int], None] = leave_at_once
    pressed: bool = False
    code: int = INTERRUPTED
    _scopes: list[trio.CancelScope] = attrs.field(factory=list)

    @contextmanager
    def listening(self) -> Iterator[trio.CancelScope]:
        """Take both for the block's length, inside of Trio; yields the scope that is cancelled where no other is."""
        token = trio.lowlevel.current_trio_token()

        def pressed(number: int, _: object) -> None:
            if number == signal.SIGTERM:
                self.code = TERMINATED
            if self.pressed:
                self.leave(self.code)
            self.pressed = True
            token.run_sync_soon(self._cancel)

        before = {number: signal.signal(number, pressed) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with self.cancelling() as scope:
                yield scope
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def cancelling(self) -> Iterator[trio.CancelScope]:
        """Make the block what is cancelled."""
        with trio.CancelScope() as scope:
            self._scopes.append(scope)
            try:
                yield scope
            finally:
                self._scopes.remove(scope)

    def settle(self) -> None:
        """What was cancelled is over: the next Ctrl-C is a first one again."""
        self.pressed = False

    def _cancel(self) -> None:
        if len(self._scopes) > 1:  # otherwise there is nothing that would have to clean up
            self.note(HINT)
        if self._scopes:
            self._scopes[-1].cancel(reason=REASON if self.code == INTERRUPTED else REASON_TERMINATED)
