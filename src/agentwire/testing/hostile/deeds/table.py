"""Every deed by its name, and how a deed and its moment are written in a word: ``reset-idle@2``, ``refuse-500@1+``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

from agentwire.testing.hostile.deeds import doors, ends, errors, frames, order
from agentwire.testing.hostile.deeds.model import Cue, Deed

__all__ = ["DEEDS", "cue"]

_WRITTEN: Final = re.compile(r"(?P<name>[a-z0-9-]+?)(@(?P<first>[0-9]+)(?P<on>\+)?)?")

DEEDS: Final[Mapping[str, Deed]] = {
    deed.name: deed for module in (doors, ends, errors, frames, order) for deed in module.DEEDS
}
"""Every deed, by name."""


def cue(written: str | Deed | Cue, *, first: int | None = None, times: float | None = None) -> Cue:
    """A deed and when it is done.

    Args:
        written: a deed or its name, with ``@N`` for another moment than its own and ``+`` for each time from there on:
            ``reset-idle``, ``reset-idle@3``, ``reset-idle@3+``.
        first: the same as ``@N``.
        times: how often.

    Raises:
        ValueError: there is no such deed, or this is no moment.
    """
    if isinstance(written, Cue):
        return written
    if isinstance(written, str):
        parts = _WRITTEN.fullmatch(written)
        if parts is None or parts["name"] not in DEEDS:
            raise ValueError(f"there is no deed {written!r} (there are {', '.join(DEEDS)})")
        deed = DEEDS[parts["name"]]
        if parts["first"]:
            first = int(parts["first"])
            times = math.inf if parts["on"] else deed.times
    else:
        deed = written
    first = deed.first if first is None else first
    if first < 1:
        raise ValueError(f"{deed.name}: turns, upgrades and connections are counted from 1, not {first}")
    return Cue(deed, first, deed.times if times is None else times)
