"""Tools' names as a backend takes them: flat, short, and the same for a tool's definition and for its calls.

The plain name is made of the tool's own name and its namespace alone. Two tools that would share one are told apart by
a digest of what they are, so that a name depends on nothing that changes from turn to turn.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

__all__ = ["LONGEST_NAME", "distinct_name", "plain_name"]

LONGEST_NAME: Final = 64
"""The longest name of a function in the Chat Completions API."""

_DIGEST = 8
_ILLEGAL: Final = re.compile(r"[^a-zA-Z0-9_-]")


def plain_name(name: str, namespace: str | None = None) -> str:
    """``namespace__name``, or the name alone; one that is too long ends in a digest instead, so that no two meet."""
    whole = name if namespace is None else f"{namespace}__{name}"
    legal = _ILLEGAL.sub("_", whole)
    return whole if legal == whole and len(whole) <= LONGEST_NAME else _with_digest(legal, whole)


def distinct_name(name: str, namespace: str | None, call_type: str) -> str:
    """The name of a tool whose plain name another tool has.

    Args:
        name: its own.
        namespace: the one that it is in.
        call_type: of the items that call it, where those are neither of functions nor of free text; else empty.
    """
    whole = plain_name(name, namespace)
    return _with_digest(whole, f"{call_type}\0{namespace}\0{name}")


def _with_digest(legal: str, whole: str) -> str:
    digest = sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{legal[: LONGEST_NAME - _DIGEST - 1]}_{digest}"
