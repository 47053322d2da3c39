"""The outbox of a session: which of its windows goes next onto the socket.

Windows with something to send stand in a ring, each at most once; replies that belong to no turn go first, from a
small reserve of their own. A writer pulls, so that what goes next is decided at the last moment, and a fat turn takes
its slice and goes to the back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import attrs

from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Wire
from agentwire.runtime.window import Framing, Window

__all__ = ["Outbox", "OutboxStatistics", "ReserveExhausted"]


class ReserveExhausted(Exception):
    """The peer asks for more replies than it reads: it is to be cut off."""


@attrs.frozen
class OutboxStatistics:
    """A snapshot: windows that wait to be written, and the replies before them."""

    windows_ready: int
    replies: int
    reply_bytes: int


class Outbox:
    """What a session has to say to one connection.

    It is the wire's `ByteSource`: `take` gives whole frames.

    Args:
        limits: the reserve for replies, and one window's share of a write.
        replay: windows of turns that have ended, which this connection reads again: in order, before anything new.
    """

    __slots__ = ("_limits", "_replay", "_replies", "_reply_bytes", "_ring", "_wire")

    def __init__(self, limits: Limits, replay: Iterable[Window] = ()) -> None:
        self._limits = limits
        self._replay = deque(replay)
        self._ring: deque[Window] = deque()
        self._replies: list[bytes] = []
        self._reply_bytes = 0
        self._wire: Wire | None = None

    def again(self, replay: Iterable[Window]) -> None:
        """Windows that are to be read again, before anything new."""
        self._replay.extend(replay)
        if self._wire is not None and self._replay:
            self._wire.kick()

    def connect(self, wire: Wire) -> None:
        """From now on this wire takes what is here; until then, windows fill."""
        self._wire = wire
        if self.pending:
            wire.kick()

    def disconnect(self) -> None:
        """Nobody takes anything any more: there is nothing here, and nothing will be."""
        self._wire = None
        self._ring = deque(maxlen=0)
        self._replay.clear()
        self._replies.clear()

    def offer(self, event: bytes) -> bool:
        """Send the only event there is at once, if the wire is idle; False, and nothing done, if it has to wait."""
        if self._ring or self._replies or self._replay or self._wire is None:
            return False
        return self._wire.offer(event)

    def ready(self, window: Window) -> None:
        """This window has something to send, and had nothing before."""
        self._ring.append(window)
        if self._wire is None:
            return
        if window.patient:
            self._wire.nudge()
        else:
            self._wire.kick()

    def hurry(self) -> None:
        """A turn is over, and what it has said last need not wait for more to come."""
        if self._wire is not None and self._ring:
            self._wire.hurry()

    def reply(self, event: bytes) -> None:
        """Say something that belongs to no turn; unheard if nobody is connected. A large reply passes alone.

        Raises:
            ReserveExhausted: too much of this waits already.
        """
        if self._wire is None:
            return
        if self._reply_bytes and self._reply_bytes + len(event) > self._limits.reply_bytes:
            raise ReserveExhausted(f"{self._reply_bytes} bytes of replies wait for a peer that does not read them")
        self._reply_bytes += len(event)
        self._replies.append(event)
        self._wire.kick()

    @property
    def pending(self) -> bool:
        """True while `take` would give something."""
        return bool(self._ring or self._replies or self._replay)

    def take(self, max_bytes: int, framing: Framing) -> bytes:
        """Frames for one write: replies, then what is replayed, then a slice of each ready window in turn."""
        frames: list[bytes] = []
        size = 0
        if self._replies:
            frames.append(framing(self._replies))
            size = len(frames[0])
            self._replies, self._reply_bytes = [], 0
        ring, share = self._ring, self._limits.slice_bytes
        while self._replay and size < max_bytes:
            frames.append(self._replay[0].collect(framing, share))
            size += len(frames[-1])
            if not self._replay[0].pending:
                self._replay.popleft()
        while ring and size < max_bytes:
            window = ring.popleft()
            if not window.pending:
                continue
            frames.append(window.collect(framing, share))
            size += len(frames[-1])
            if window.pending:
                ring.append(window)
        return b"".join(frames)

    def statistics(self) -> OutboxStatistics:
        """What waits at this moment."""
        return OutboxStatistics(len(self._ring), len(self._replies), self._reply_bytes)
