"""The events of one request on their way to whoever reads them: in order, bounded in bytes, and never waited for.

The reader of the connection puts and goes on. What does not fit ends this inbox and nothing else.
"""

from __future__ import annotations

from collections import deque

import trio

__all__ = ["Inbox"]

_BURST = 64  # frames between two checkpoints of a reader that never has to wait


class Inbox:
    """Frames of one request.

    Args:
        limit: bytes that may wait; one frame larger than that passes alone.
    """

    def __init__(self, limit: int) -> None:
        self.waiting_bytes = 0
        self._limit = limit
        self._frames: deque[bytes] = deque()
        self._streak = 0
        self._closed = False
        self._error: Exception | None = None
        self._readers = trio.lowlevel.ParkingLot()

    def put(self, frame: bytes) -> bool:
        """Append a frame; False if there is no room for it."""
        if self._closed:
            return True
        if self.waiting_bytes and self.waiting_bytes + len(frame) > self._limit:
            return False
        self._frames.append(frame)
        self.waiting_bytes += len(frame)
        self._readers.unpark_all()
        return True

    def close(self, error: Exception | None = None, *, drop: bool = False) -> None:
        """Nothing more will come; the first word counts.

        Args:
            error: what a reader is told after the last frame.
            drop: forget what waits.
        """
        if self._closed:
            return
        self._closed = True
        self._error = error
        if drop:
            self._frames.clear()
            self.waiting_bytes = 0
        self._readers.unpark_all()

    async def get(self) -> bytes | None:
        """The next frame; None at the end.

        Cancelled, it takes none. Raises what `close` was given. Lets other tasks run at least once in so many frames.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._streak += 1
        if self._streak >= _BURST:
            self._streak = 0
            await trio.lowlevel.checkpoint()
        while not self._frames:
            if self._closed:
                if self._error is not None:
                    raise self._error
                return None
            self._streak = 0
            await self._readers.park()
        frame = self._frames.popleft()
        self.waiting_bytes -= len(frame)
        return frame
