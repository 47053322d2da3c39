"""Answers that belong to no response, numbered over their session: a client that comes back has each of them once.

An answer is one event in a window of its own, on its way like any other; after that it is kept for a while.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any

from agentwire.protocol.codec import encode_json
from agentwire.protocol.hello import REPLY
from agentwire.protocol.limits import Limits
from agentwire.runtime.outbox import ReserveExhausted
from agentwire.runtime.window import Window

__all__ = ["Replies"]


class Replies:
    """The numbered answers of one session.

    Args:
        limits: ``reply_bytes`` of answers may be on their way, and as many are kept.
    """

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.reply_bytes
        self._last = 0
        self._gone = 0
        self._kept: deque[tuple[int, Window]] = deque()
        self._kept_bytes = 0
        self._unread: deque[Window] = deque()
        self._unread_bytes = 0

    def draw(self) -> int:
        """The number of the next answer."""
        self._last += 1
        return self._last

    def say(self, event: Mapping[str, Any], ending: bytes, ready: Callable[[Window], None]) -> None:
        """Number an answer, send it, keep it.

        Raises:
            ReserveExhausted: too many are on their way already.
        """
        while self._unread and not self._unread[0].pending:
            self._unread_bytes -= self._unread.popleft().total_bytes
        if self._unread_bytes > self._limit:
            raise ReserveExhausted(f"{self._unread_bytes} bytes of replies wait for a peer that does not read them")
        number = self.draw()
        window = Window(limit=1, ready=ready, keep=1 << 62)
        window.put_bare(encode_json({**event, REPLY: number})[:-1] + ending)
        window.close()
        self._unread.append(window)
        self._unread_bytes += window.total_bytes
        self.keep(number, window)

    def keep(self, number: int, window: Window) -> None:
        """The window's events are the answers from that number on; old ones are forgotten, as far as they were sent."""
        self._kept.append((number, window))
        self._kept_bytes += window.total_bytes
        while self._kept_bytes > self._limit and not self._kept[0][1].pending:
            gone, window = self._kept.popleft()
            self._gone = max(self._gone, gone + window.next_number - 1)
            self._kept_bytes -= window.total_bytes

    def after(self, number: int, refused: Iterable[tuple[int, Window]] = ()) -> list[tuple[Window, int]]:
        """The windows of the answers after this number, in order, each with the event to begin with.

        Args:
            number: the highest one that the client has.
            refused: those in the windows of turns that have not ended.

        Raises:
            ValueError: there never was such a number, or what follows is not kept.
        """
        if number > self._last:
            raise ValueError(f"there was no reply {number}")
        if number < self._gone:
            raise ValueError(f"reply {number + 1} is not kept any more")
        windows = sorted((*self._kept, *refused), key=itemgetter(0))
        return [
            (window, max(0, number + 1 - first)) for first, window in windows if first + window.next_number > number + 1
        ]
