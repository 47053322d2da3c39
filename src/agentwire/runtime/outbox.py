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
    """What a session has to say, whichever connection it has at the moment, or none.

    It is the wire's `ByteSource`: `take` gives whole frames.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._ring: deque[Window] = deque()
        self._replies: deque[tuple[bytes, bytes]] = deque()
        self._reply_bytes = 0
        self._wire: Wire | None = None

    def connect(self, wire: Wire | None) -> None:
        """From now on this wire takes what is here; None: nobody does, and windows fill."""
        self._wire = wire
        if wire is not None and (self._ring or self._replies):
            wire.kick()

    def ready(self, window: Window) -> None:
        """This window has something to send, and had nothing before."""
        self._ring.append(window)
        if self._wire is not None:
            self._wire.kick()

    def reply(self, event: bytes, ending: bytes) -> None:
        """Say something that belongs to no turn.

        Raises:
            ReserveExhausted: too much of this waits already.
        """
        if self._reply_bytes + len(event) > self._limits.reply_bytes:
            raise ReserveExhausted(f"{self._reply_bytes} bytes of replies wait for a peer that does not read them")
        self._reply_bytes += len(event)
        self._replies.append((event, ending))
        if self._wire is not None:
            self._wire.kick()

    @property
    def pending(self) -> bool:
        """True while `take` would give something."""
        return bool(self._ring or self._replies)

    def restart(self, windows: Iterable[Window]) -> None:
        """A new connection takes over: nothing is owed of replies, and these windows say again what waits in them."""
        self._replies.clear()
        self._reply_bytes = 0
        self._ring = deque(window for window in windows if window.pending)

    def take(self, max_bytes: int, framing: Framing) -> bytes:
        """Frames for one write: replies, then a slice of each ready window in turn."""
        parts: list[bytes] = []
        size = 0
        while self._replies:
            event, ending = self._replies.popleft()
            size += framing(parts, (event,), ending)
        self._reply_bytes = 0
        ring, share = self._ring, self._limits.slice_bytes
        while ring and size < max_bytes:
            window = ring.popleft()
            if not window.pending:
                continue
            size += window.collect(parts, framing, share)
            if window.pending:
                ring.append(window)
        return b"".join(parts)

    def statistics(self) -> OutboxStatistics:
        """What waits at this moment."""
        return OutboxStatistics(len(self._ring), len(self._replies), self._reply_bytes)
