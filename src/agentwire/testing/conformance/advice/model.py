"""What is said of a case beyond what it does: why it matters, and what to do about a failure."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Advice"]


class Advice(NamedTuple):
    """Two short texts for whoever builds the server."""

    why: str
    mend: str
