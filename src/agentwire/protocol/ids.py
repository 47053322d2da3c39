"""Where ids, wall-clock time and randomness come from.

Nothing in the library asks the system for these by itself: one `Sources` object is handed down, so that a seeded one
replays a whole run. The system's own source draws ids that cannot be guessed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import attrs

__all__ = ["Sources"]

ID_BITS = 96


@attrs.frozen
class Sources:
    """Randomness and wall-clock time, injected.

    Attributes:
        random: every random choice is drawn from here.
        now: the wall clock, in seconds since the epoch (deadlines use Trio's clock, never this one).
    """

    random: random.Random
    now: Callable[[], float]

    @classmethod
    def system(cls) -> Sources:
        """The operating system's randomness and clock."""
        return cls(random.SystemRandom(), time.time)

    @classmethod
    def seeded(cls, seed: int, now: Callable[[], float] | float = 1_795_376_805.0) -> Sources:
        """A replayable source: the same seed gives the same ids in the same order.

        Args:
            seed: any integer.
            now: a clock, or the time at which the clock stands still.
        """
        clock = now if callable(now) else lambda: now
        return cls(random.Random(seed), clock)

    def new_id(self, prefix: str, bits: int = ID_BITS) -> str:
        """A fresh id such as ``resp_`` and 24 hexadecimal digits."""
        return f"{prefix}_{self.random.randbytes(bits // 8).hex()}"

    def timestamp(self) -> int:
        """The wall clock in whole seconds, as the wire has it."""
        return int(self.now())
