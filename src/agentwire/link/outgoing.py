"""What a client has to say: whole messages in order, bounded in bytes, for the wire to pull.

Who wants to say something waits for room first; from when the wire takes a message, nobody can say that it was not
sent, and until then it can be withdrawn.
"""

from __future__ import annotations

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
    """

    def __init__(self, limit: int) -> None:
        self.waiting_bytes = 0
        self._limit = limit
        self._closed = False
        self._messages: dict[Sender, bytes] = {}
        self._waiting = trio.lowlevel.ParkingLot()

    @property
    def pending(self) -> bool:
        """True while `take` would give something."""
        return bool(self._messages)

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
        self._forget(self.waiting_bytes)

    def take(self, max_bytes: int, framing: Framing) -> bytes:
        """Whole messages, framed, about ``max_bytes`` of them."""
        frames: list[bytes] = []
        size = 0
        while self._messages and size < max_bytes:
            sender = next(iter(self._messages))
            data = self._messages.pop(sender)
            frames.append(framing((data,)))
            size += len(frames[-1])
            sender.taken()
            self._forget(len(data))
        return b"".join(frames)

    def _forget(self, size: int) -> None:
        self.waiting_bytes -= size
        self._waiting.unpark_all()
