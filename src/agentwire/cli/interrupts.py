"""Ctrl-C: the first one cancels what is under way and lets it clean up, one more leaves the process at once.

The second one is obeyed by the signal handler itself, so that neither a clean-up that hangs nor a tool that blocks the
loop can hold anybody here.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import attrs
import trio

from agentwire.cli.failures import INTERRUPTED

__all__ = ["HINT", "REASON", "Interrupts"]

REASON: Final = "interrupted from the keyboard"
"""What whatever is cancelled is told."""
HINT: Final = "cancelling; once more leaves at once"
"""What the person is told."""

_SHOW_CURSOR: Final = b"\x1b[?25h"


def leave_at_once() -> None:
    """End the process, whatever it does; a cursor that was hidden is shown again."""
    if os.isatty(2):
        os.write(2, _SHOW_CURSOR)
    os._exit(INTERRUPTED)


@attrs.define
class Interrupts:
    """What Ctrl-C does while `listening`.

    Attributes:
        note: told, before anything else, that something is being cancelled.
        leave: what a further one does.
        pressed: whether there was one that is not settled.
    """

    note: Callable[[str], None]
    leave: Callable[[], None] = leave_at_once
    pressed: bool = False
    _scopes: list[trio.CancelScope] = attrs.field(factory=list)

    @contextmanager
    def listening(self) -> Iterator[trio.CancelScope]:
        """Take Ctrl-C for the block's length, inside of Trio; yields the scope that is cancelled where no other is."""
        token = trio.lowlevel.current_trio_token()

        def pressed(*_: object) -> None:
            if self.pressed:
                self.leave()
            self.pressed = True
            token.run_sync_soon(self._cancel)

        before = signal.signal(signal.SIGINT, pressed)
        try:
            with self.cancelling() as scope:
                yield scope
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def cancelling(self) -> Iterator[trio.CancelScope]:
        """Make the block what Ctrl-C cancels."""
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
            self._scopes[-1].cancel(reason=REASON)
