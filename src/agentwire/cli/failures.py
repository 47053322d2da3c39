"""How a command ends other than well: two exceptions that a person reads, and the exit codes.

Commands turn the errors that a person can mend into one of these, where they know what was asked; anything else that
comes out of a command is a bug, and is reported as one.
"""

from __future__ import annotations

from typing import Final

from agentwire.protocol.errors import AgentwireError

__all__ = ["FAILED", "INTERRUPTED", "OK", "TERMINATED", "USAGE", "CommandFailed", "UserError"]

OK: Final = 0
"""Exit code: done."""
FAILED: Final = 1
"""Exit code: it was tried, and failed."""
USAGE: Final = 2
"""Exit code: it could not be tried: wrong options, nothing to load, no place to listen."""
INTERRUPTED: Final = 130
"""Exit code: stopped from the keyboard."""
TERMINATED: Final = 143
"""Exit code: stopped by SIGTERM."""


class UserError(AgentwireError):
    """The command cannot do what it was asked to; its text says why and what to do (exit code 2)."""


class CommandFailed(AgentwireError):
    """The command was on its way, and something failed; its text says what (exit code 1)."""
