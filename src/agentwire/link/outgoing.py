"""What a client has to say: whole messages in order, bounded in bytes, for the wire to pull.

Who wants to say something waits for room first; from when the wire takes a message, nobody can say that it was not
sent, and until then it can be withdrawn. In a session, what was sent is kept until it is known to have arrived, and
comes again on the next connection if it has not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio

from agentwire.runtime.window import Framing

__all__ = ["Outgoing", "Sender"]


class Sender(Protocol):
    """Whose message it is."""

    def taken(self) -> None:
        """The wire has it."""


class Outgoing:
    """The `ByteSource` of a client's wire.

    Args:
        limit: bytes that may wait; one message larger than that passes alone.
        said: told of each message that the wire takes. In a session; without it, nothing is kept.
    """

    def __init__(self, limit: int, said: Callable[[], None] | None = None) -> None:
        self.waiting_bytes = 0
        self._limit = limit
        self._said = said
        self._closed = False
        self._greeting: bytes | None = None
        self._held = False
        self._messages: dict[Sender, bytes] = {}
        self._sent: deque[tuple[Sender, bytes]] = deque()
        self._again: deque[tuple[Sender, bytes]] = deque()
        self._waiting = trio.lowlevel.ParkingLot()

    @property
    def pending(self) -> bool:
        """True while `take` would give something."""
        if self._held:
            return self._greeting is not None
        return bool(self._again or self._messages)

    async def room(self, size: int) -> None:
        """Wait until a message of so many bytes may be put, or until nothing is sent any more."""
        await trio.lowlevel.checkpoint()
        while self.waiting_bytes and self.waiting_bytes + size > self._limit and not self._closed:
            await self._waiting.park()

    def put(self, sender: Sender, data: bytes) -> None:
        """Append a message."""
        self._messages[sender] = data
        self.waiting_bytes += len(data)

    def withdraw(self, sender: Sender) -> None:
        """Forget the sender's message, which has not been taken."""
        self._forget(len(self._messages.pop(sender, b"")))

    def close(self) -> None:
        """Nothing is sent any more."""
        self._closed = True
        self._messages.clear()
        self._sent.clear()
        self._again.clear()
        self._forget(self.waiting_bytes)

    # Sessions

    def greet(self, hello: bytes | None = None) -> None:
        """On a new connection, this is said before anything else, and nothing else before `go_on`.

        Args:
            hello: None if the server speaks first.
        """
        self._greeting = hello
        self._held = True

    def go_on(self, missing: int) -> None:
        """The server is back, and has not received so many of the latest messages: they are sent again first.

        Raises:
            ValueError: so many are not kept.
        """
        if missing > len(self._sent):
            raise ValueError(f"{missing} messages are missing, and {len(self._sent)} are kept")
        for _ in range(missing):
            self._again.appendleft(self._sent.pop())
        self._held = False

    def arrived(self, sender: Sender) -> None:
        """The server has answered this message, and so it has received those before it, too."""
        if not any(each is sender for each, _ in self._sent):
            return
        while True:
            each, data = self._sent.popleft()
            self._forget(len(data))
            if each is sender:
                return

    # The wire's side

    def take(self, max_bytes: int, framing: Framing) -> bytes:
        """Whole messages, framed, about ``max_bytes`` of them."""
        if self._held:
            hello, self._greeting = self._greeting, None
            return b"" if hello is None else framing((hello,))
        frames: list[bytes] = []
        size = 0
        while (self._again or self._messages) and size < max_bytes:
            data = self._next()
            frames.append(framing((data,)))
            size += len(frames[-1])
        return b"".join(frames)

    def _next(self) -> bytes:
        if self._again:
            sender, data = self._again.popleft()
        else:
            sender = next(iter(self._messages))
            data = self._messages.pop(sender)
            sender.taken()
        if self._said is None:
            self._forget(len(data))
        else:
            self._said()
            self._sent.append((sender, data))
        return data

    def _forget(self, size: int) -> None:
        self.waiting_bytes -= size
        self._waiting.unpark_all()
