"""Byte streams in memory that behave like sockets: they have a capacity, they take time, and they break.

A `MemoryStream` is a `trio.abc.HalfCloseableStream` with the one non-blocking send that the library's own streams have,
so client and server code run over it unchanged, on a real or a virtual clock.
"""

from __future__ import annotations

import weakref
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import trio

from agentwire.testing.faults import Side
from agentwire.testing.link import Link, other
from agentwire.transport.streams import NetworkStream

__all__ = ["MemoryStream", "open_memory_streams"]

_RECEIVE_BYTES = 65536
_open: weakref.WeakSet[MemoryStream] = weakref.WeakSet()


def open_memory_streams() -> list[MemoryStream]:
    """The streams in this process that nobody has closed yet."""
    return sorted(_open, key=lambda stream: (stream.link.index, stream.side))


class MemoryStream(NetworkStream):
    """One end of a connection in memory; made by `agentwire.testing.network`.

    Attributes:
        side: which end it is.
        link: the connection.
        peer: the other end's name, for logs.
    """

    def __init__(self, link: Link, side: Side) -> None:
        self.link = link
        self.side: Side = side
        self.peer = f"memory:{other(side)}-{link.index}"
        self._out = link.pipes[side]
        self._in = link.pipes[other(side)]
        self._closed = False
        self._at_eof = False
        self._sending = False
        self._receiving = False
        _open.add(self)

    def __repr__(self) -> str:
        return f"<MemoryStream {self.side} of connection {self.link.index}{', closed' if self._closed else ''}>"

    @property
    def unread(self) -> int:
        """Bytes sent and not yet read by the other side."""
        return self._out.unread

    # Sending

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Hand over what there is room for; see `ByteStream.send_nowait`."""
        self._check_sending()
        return self.link.send(self.side, data)

    async def wait_send(self, data: bytes | memoryview) -> int:
        """Wait until at least one byte is taken; see `ByteStream.wait_send`. Cancelled, it has sent nothing."""
        with self._only_sender():
            await trio.lowlevel.checkpoint_if_cancelled()
            sent = self.send_nowait(data)
            if sent or not data:
                await trio.lowlevel.cancel_shielded_checkpoint()
            while data and not sent:
                await self.link.wait(self._out.writers)
                sent = self.send_nowait(data)
            return sent

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything; cancelled, nobody knows how much was sent."""
        with self._only_sender():
            await trio.lowlevel.checkpoint()
            self._check_sending()
            rest = memoryview(data)
            while rest:
                rest = rest[self.send_nowait(rest) :]
                if rest:
                    await self.link.wait(self._out.writers)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room, or until sending fails."""
        with self._only_sender():
            await trio.lowlevel.checkpoint()
            self._check_sending()
            while self._out.room <= 0 and not self.link.send_error(self.side):
                await self.link.wait(self._out.writers)
                self._check_open()

    async def send_eof(self) -> None:
        """Say that we send no more; what the peer sends can still be read."""
        with self._only_sender():
            await trio.lowlevel.checkpoint()
            self._check_open()
            if not self._at_eof:
                self._at_eof = True
                self.link.end(self.side, "eof")

    # Receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes; empty at the end.

        Raises:
            trio.BrokenResourceError: the connection was reset.
            trio.ClosedResourceError: we closed it.
        """
        limit = _receive_limit(max_bytes)
        with self._only_receiver():
            await trio.lowlevel.checkpoint()
            self._check_open()
            self.link.pump()
            while (data := self._take(limit)) is None:
                await self.link.wait(self._in.readers)
            return data

    def _take(self, limit: int) -> bytes | None:
        self._check_open()
        error = self.link.receive_error(self.side)
        if error:
            raise trio.BrokenResourceError(error)
        return self._in.take(limit)

    def has_input(self) -> bool:
        """Whether a read would give something at once, the end included."""
        self.link.pump()
        return self._closed or bool(self.link.receive_error(self.side)) or self._in.has_arrived

    # The end

    async def aclose(self) -> None:
        """Close: what was sent still arrives, what arrives is lost."""
        self._close("close")
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Close without a word, as a process that dies: the peer loses what it has not read."""
        self._close("reset")

    def disown(self) -> None:
        """Nobody will close it, and that is no leak."""
        _open.discard(self)

    def _close(self, end: Literal["close", "reset"]) -> None:
        if not self._closed:
            self._closed = True
            _open.discard(self)
            self.link.end(self.side, end)

    # The rules of Trio's streams

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")

    def _check_sending(self) -> None:
        self._check_open()
        if self._at_eof:
            raise trio.ClosedResourceError("can't send data after sending EOF")
        self.link.pump()
        error = self.link.send_error(self.side)
        if error:
            raise trio.BrokenResourceError(error)

    @contextmanager
    def _only_sender(self) -> Generator[None]:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            yield
        finally:
            self._sending = False

    @contextmanager
    def _only_receiver(self) -> Generator[None]:
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            yield
        finally:
            self._receiving = False


def _receive_limit(max_bytes: int | None) -> int:
    if max_bytes is None:
        return _RECEIVE_BYTES
    if not isinstance(max_bytes, int):
        raise TypeError("max_bytes must be an integer or None")
    if max_bytes < 1:
        raise ValueError("max_bytes must be at least 1")
    return max_bytes
