"""Tools' names as a chat server takes them: flat, short, and the same for a tool's definition and for its calls.

A name is made from the tool's own name and its namespace alone, so that a history can be rendered without its tools.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

__all__ = ["LONGEST_NAME", "chat_name"]

LONGEST_NAME: Final = 64
"""The longest name of a function in the Chat Completions API."""

_DIGEST = 8
_ILLEGAL: Final = re.compile(r"[^a-zA-Z0-9_-]")


def chat_name(name: str, namespace: str | None = None) -> str:
    """``namespace__name``, or the name alone; one that is too long ends in a digest instead, so that no two meet."""
    whole = name if namespace is None else f"{namespace}__{name}"
    legal = _ILLEGAL.sub("_", whole)
    if legal == whole and len(whole) <= LONGEST_NAME:
        return whole
    digest = sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{legal[: LONGEST_NAME - _DIGEST - 1]}_{digest}"
