"""What stands behind the question mark of a target: a wrong value is a 400 that names it, unknown names are skipped."""

from __future__ import annotations

from agentwire.protocol.errors import RequestError
from agentwire.transport.requests import Fields

__all__ = ["read_choice", "read_flag", "read_number"]

_DIGITS = 18  # more of them are no count of anything


def read_flag(query: Fields, name: str) -> bool:
    """``true`` or ``false``; false if it is left out.

    Raises:
        RequestError: 400, it is something else.
    """
    return read_choice(query, name, "false", "true") == "true"


def read_choice(query: Fields, name: str, default: str, *others: str) -> str:
    """One of these words; the first if it is left out.

    Raises:
        RequestError: 400, it is something else.
    """
    value = query.get(name, default)
    if value not in (default, *others):
        raise RequestError.invalid(f"'{name}' must be one of {', '.join((default, *others))}.", param=name)
    return value


def read_number(query: Fields, name: str, *, least: int, most: int | None = None) -> int | None:
    """A whole number; None if it is left out.

    Raises:
        RequestError: 400, it is something else, or out of bounds.
    """
    text = query.get(name)
    if text is None:
        return None
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else -1
    if value < least or (most is not None and value > most):
        bounds = f"from {least} to {most}" if most is not None else f"{least} or more"
        raise RequestError.invalid(f"'{name}' must be a whole number, {bounds}.", param=name)
    return value
