"""The events of one request on their way to whoever reads them: in order, and bounded in bytes.

The reader of the connection puts and goes on. What does not fit ends this inbox and nothing else, unless the connection
has a flow: then everything fits, and the flow says when to read no more.
"""

from __future__ import annotations

from collections import deque

import trio

from agentwire.link.flow import Flow

__all__ = ["Inbox"]

_BURST = 64  # frames between two checkpoints of a reader that never has to wait
_TAKEN = 16384  # bytes after which a burst has enough


class Inbox:
    """Frames of one request.

    Args:
        limit: bytes that may wait, and beside them one frame that is larger than that.
        flow: of a connection that is read no faster than its requests are: then there is no limit.
    """

    def __init__(self, limit: int, flow: Flow | None = None) -> None:
        self.waiting_bytes = 0
        self._limit = limit
        self._flow = flow
        self._slow = False
        self._oversize = 0  # bytes of the frame among those that wait which is larger than the limit
        self._frames: deque[bytes] = deque()
        self._streak = 0
        self._closed = False
        self._error: Exception | None = None
        self._readers = trio.lowlevel.ParkingLot()
        self._writers = trio.lowlevel.ParkingLot()
        if flow is not None:
            flow.change(running=1)

    def put(self, frame: bytes) -> bool:
        """Append a frame; False if there is no room for it."""
        if self._closed:
            return True
        if self._flow is None and not self.has_room(len(frame)):
            return False
        self._frames.append(frame)
        if len(frame) > self._limit:
            self._oversize = len(frame)
        self._count(len(frame))
        self._readers.unpark_all()
        return True

    def has_room(self, size: int) -> bool:
        """Whether so much more may wait."""
        if size > self._limit:
            return not self._oversize
        return self.waiting_bytes - self._oversize + size <= self._limit

    async def room(self, size: int) -> None:
        """Wait until so much more may wait, or nothing more is taken."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not (self._closed or self.has_room(size)):
            await self._writers.park()

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
            self._oversize = 0
            self._count(-self.waiting_bytes)
        if self._flow is not None:
            self._flow.change(running=-1, slow=-self._slow)
            self._slow = False
        self._readers.unpark_all()
        self._writers.unpark_all()

    def _count(self, size: int) -> None:
        self.waiting_bytes += size
        if self._flow is not None:
            slow = not self._closed and self.waiting_bytes >= self._flow.each
            self._flow.change(waiting=size, slow=slow - self._slow)
            self._slow = slow

    async def get(self) -> bytes | None:
        """The next frame; None at the end.

        Cancelled, it takes none. Raises what `close` was given. Lets other tasks run at least once in so many frames.
        """
        frames = await self._get(1)
        return frames[0] if frames else None

    async def get_some(self) -> list[bytes]:
        """The frames that have come, a burst of them at most; empty at the end. Otherwise like `get`."""
        return await self._get(_BURST)

    async def _get(self, most: int) -> list[bytes]:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._streak += most
        if self._streak >= _BURST:
            self._streak = 0
            await trio.lowlevel.checkpoint()
        while not self._frames:
            if self._closed:
                if self._error is not None:
                    raise self._error
                return []
            self._streak = 0
            await self._readers.park()
        taken: list[bytes] = []
        size = 0
        while self._frames and len(taken) < most and size < _TAKEN:
            taken.append(self._frames.popleft())
            size += len(taken[-1])
            if len(taken[-1]) > self._limit:
                self._oversize = 0
        self._count(-size)
        self._writers.unpark_all()
        return taken
