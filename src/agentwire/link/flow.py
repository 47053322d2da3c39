"""When the reader of a connection pauses because what it read is not taken: back pressure for whoever relays.

One slow request among others is read on with, so that it holds up nobody, until all together have as much as may wait;
when every request that runs is slow, no more is read than is taken, which keeps the peer's own writing alive.
"""

from __future__ import annotations

import math

import trio

__all__ = ["Flow"]


class Flow:
    """The events that wait on one connection.

    Args:
        each: bytes from which a request counts as slow.
        most: bytes of all requests at which reading stops in any case.

    Attributes:
        waiting_bytes: of all requests.
        slow: requests that have as much waiting as counts as slow.
        running: requests whose events may still come.
    """

    def __init__(self, each: int, most: int) -> None:
        self.each = each
        self.waiting_bytes = 0
        self.slow = 0
        self.running = 0
        self._most = most
        self._credit = 0
        self._held = -math.inf
        self._parked = trio.lowlevel.ParkingLot()

    @property
    def stuck(self) -> bool:
        """Whether nothing more should be read now."""
        return self.waiting_bytes >= self._most or (self._all_slow and self._credit <= 0)

    @property
    def _all_slow(self) -> bool:
        return 0 < self.slow >= self.running

    @property
    def held(self) -> float:
        """Trio's time until which the peer could not be heard because nothing was read."""
        return trio.current_time() if self._parked else self._held

    def change(self, *, waiting: int = 0, slow: int = 0, running: int = 0) -> None:
        """Something came, was taken, began or ended."""
        if waiting >= 0 or self._all_slow:
            self._credit = max(0, self._credit - waiting)
        self.waiting_bytes += waiting
        self.slow += slow
        self.running += running
        if self._parked and not self.stuck:
            self._parked.unpark_all()

    async def go_on(self) -> None:
        """Wait until more may be read."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.stuck:
            await self._parked.park()
        self._held = trio.current_time()
