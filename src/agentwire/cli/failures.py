"""How a command ends other than well: two exceptions that a person reads, and the exit codes.

Commands turn the errors that a person can mend into one of these, where they know what was asked; anything else that
comes out of a command is a bug, and is reported as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, Final, get_args, get_type_hints

import msgspec

from agentwire.protocol.errors import AgentwireError

__all__ = ["FAILED", "INTERRUPTED", "OK", "TERMINATED", "USAGE", "CommandFailed", "UserError", "misfit", "no_such"]

_EXPECTED: Final = re.compile(r"Expected `([\w |]+)`, got `(\w+)`")
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")
_CHOICE: Final = re.compile(r"Invalid enum value (.+)", re.DOTALL)
_KINDS: Final = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "object": "a table",
    "str": "a text",
}
"""What a person calls the kinds of values that are in a file."""

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


def no_such(what: str, name: str, known: Iterable[str]) -> str:
    """That there is no such name, which one may have been meant, and all that there are.

    Args:
        what: what it would name, such as ``option``; empty where that is plain.
        name: as it was typed.
        known: the names that there are.
    """
    listed = sorted(known)
    meant = "".join(f" (did you mean {close!r}?)" for close in get_close_matches(name, listed, n=1))
    return f"there is no {what}{' ' if what else ''}{name!r}{meant}; there are {', '.join(listed)}"


def misfit(where: str, error: msgspec.ValidationError, kind: type[Any]) -> UserError:
    """A value in a file is of another kind than it must be: where it stands, and what it must be.

    Args:
        where: the place of the table; empty for the file itself.
        error: what was wrong in it; its names have underscores where the file's have dashes.
        kind: the class of objects that the table stands for.
    """
    problem, _, path = str(error).partition(" - at `$.")
    path = path.rstrip("`")
    if (found := _EXPECTED.fullmatch(problem)) is not None:
        kinds = (_KINDS.get(kind, kind) for kind in found[1].split(" | ") if kind != "null")
        problem = f"it must be {' or '.join(kinds)}, not {_KINDS.get(found[2], found[2])}"
    elif (found := _MISSING.fullmatch(problem)) is not None:
        problem = f"there is no {found[1].replace('_', '-')}, and it needs one"
    elif (found := _CHOICE.fullmatch(problem)) is not None and path in (hints := get_type_hints(kind)):
        problem = f"it must be one of {', '.join(_choices(hints[path]))}, not {found[1]}"
    place = ".".join(part for part in (where, path.replace("_", "-")) if part)
    return UserError(f"{place}: {problem}" if place else problem)


def _choices(hint: Any) -> Iterator[str]:
    """The texts that an annotation allows."""
    for each in get_args(hint):
        if isinstance(each, str):
            yield each
        else:
            yield from _choices(each)
