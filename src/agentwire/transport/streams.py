"""Connected byte streams with one non-blocking send, over sockets, TLS and anything else that Trio can stream.

A send is counted byte by byte, so that a writer always knows how far it came: progress, not completion, is what a slow
peer owes us. Whoever writes holds the right to write; these classes keep no queue and take no lock.
"""

from __future__ import annotations

import abc
import os
import select
import socket
import struct
from typing import TYPE_CHECKING

import trio

from agentwire.protocol.errors import ConnectionEnded

if TYPE_CHECKING:
    from agentwire.protocol.limits import Limits
    from agentwire.runtime.contracts import ByteStream

__all__ = [
    "NetworkStream",
    "SlicedByteStream",
    "SocketByteStream",
    "TlsByteStream",
    "close_now",
    "peer_name",
    "send_with_progress",
]

Data = bytes | bytearray | memoryview

_RECEIVE_BYTES = 65536
_RESET = struct.pack("ii", 1, 0)


class NetworkStream(trio.abc.HalfCloseableStream):
    """A `ByteStream` that Trio's own code (`trio.SSLStream`, trio-websocket) can use as well.

    Attributes:
        peer: the other side, for logs: ``192.0.2.1:4711``, ``[::1]:4711`` or ``unix:/run/agentwire.sock``.
    """

    __slots__ = ()

    peer: str

    @abc.abstractmethod
    def send_nowait(self, data: bytes | memoryview) -> int:
        """Hand over what is taken at once; see `ByteStream.send_nowait`."""

    @abc.abstractmethod
    async def wait_send(self, data: bytes | memoryview) -> int:
        """Wait until at least one byte is taken; see `ByteStream.wait_send`."""

    def has_input(self) -> bool:
        """Whether a read would give something at once, the end included; False where nobody can tell.

        A kept connection from whose other side nothing is due must have none: otherwise it is of no more use.
        """
        return False


class SocketByteStream(NetworkStream):
    """A connected TCP or Unix socket (POSIX).

    Args:
        stream: Trio's stream over the socket; this object closes it.
        peer: its name; asked of the socket if left out.
    """

    __slots__ = ("_descriptor", "_poll", "_socket", "_stream", "peer")

    def __init__(self, stream: trio.SocketStream, *, peer: str | None = None) -> None:
        self._stream = stream
        self._socket = stream.socket
        self._descriptor = stream.socket.fileno()
        self._poll: select.poll | None = None
        self.peer = peer_name(stream.socket) if peer is None else peer

    @property
    def is_unix(self) -> bool:
        """True for a Unix socket."""
        return self._socket.family == socket.AF_UNIX

    def send_nowait(self, data: bytes | memoryview) -> int:
        """One write to the socket: how many bytes it took, 0 if it is full.

        Raises:
            trio.BrokenResourceError: the peer is gone.
            trio.ClosedResourceError: we closed it.
        """
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            if self._descriptor < 0:
                raise trio.ClosedResourceError("this stream is closed") from None
            raise trio.BrokenResourceError(f"the peer is gone: {error.strerror}") from error

    async def wait_send(self, data: bytes | memoryview) -> int:
        """Wait until the socket takes at least one byte (none for no data); returns how many.

        Cancelled, it has written nothing: what is written is always counted.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        sent = self.send_nowait(data) if data else 0
        if sent or not data:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return sent
        while not sent:
            await self._stream.wait_send_all_might_not_block()
            sent = self.send_nowait(data)
        return sent

    async def send_all(self, data: Data) -> None:
        """Send everything; cancelled, nobody knows how much was sent."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the socket would take something."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Say that we send no more; what the peer sends can still be read."""
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes; empty at the end.

        It waits before it reads, since nearly always it is called before anything is there: a read in vain costs as
        much as one that finds something.
        """
        size = _RECEIVE_BYTES if max_bytes is None else max_bytes
        if not isinstance(size, int):
            raise TypeError("max_bytes must be an integer or None")
        if size < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._descriptor < 0:
            await trio.lowlevel.checkpoint()
            raise trio.ClosedResourceError("this stream is closed")
        while True:
            await trio.lowlevel.wait_readable(self._descriptor)
            try:
                return os.read(self._descriptor, size)
            except BlockingIOError:
                continue
            except OSError as error:
                if self._descriptor < 0:
                    raise trio.ClosedResourceError("this stream is closed") from None
                raise trio.BrokenResourceError(f"the peer is gone: {error.strerror}") from error

    def has_input(self) -> bool:
        """Whether a read would give something at once, the end included; see `NetworkStream.has_input`."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLIN)
        return bool(self._poll.poll(0))

    def reset_at_close(self) -> None:
        """Let the next `aclose` be a reset: what the peer has not received is lost, and it learns of it (POSIX)."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    async def aclose(self) -> None:
        """Close the socket; the kernel goes on to send what it has taken."""
        self._descriptor = -1  # before the number can belong to somebody else
        await self._stream.aclose()


class SlicedByteStream(NetworkStream):
    """Any Trio stream as a `ByteStream`: nothing is taken at once, and a waiting send gives one slice.

    Cancelling `wait_send` may cut a slice in two, as with any ``send_all``: callers shield it.

    Args:
        stream: what is written to and read from; this object closes it.
        slice_bytes: the most that one `wait_send` gives (``Limits.slice_bytes``).
        peer: the other side's name.
    """

    def __init__(self, stream: trio.abc.Stream, *, slice_bytes: int, peer: str = "unknown") -> None:
        self._stream = stream
        self._slice_bytes = slice_bytes
        self._at_eof = False
        self.peer = peer

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Always 0: such a stream can only be waited for."""
        return 0

    async def wait_send(self, data: bytes | memoryview) -> int:
        """Send one slice whole; returns its size."""
        part = data[: self._slice_bytes]
        await self.send_all(part)
        return len(part)

    async def send_all(self, data: Data) -> None:
        """Send everything; cancelled, the stream is of no more use."""
        if self._at_eof:
            raise trio.ClosedResourceError("can't send data after sending EOF")
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the stream would take something."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Say that we send no more, where the stream can say so."""
        self._at_eof = True
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()
        else:
            await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes; empty at the end."""
        return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        """Close the stream beneath."""
        await self._stream.aclose()


class TlsByteStream(SlicedByteStream):
    """TLS over a socket: a cancelled send breaks the stream for good, so callers shield `wait_send`.

    Args:
        stream: with ``https_compatible=True``, as HTTP's peers do not say goodbye either.
        slice_bytes: one TLS record's worth (``Limits.slice_bytes``).
    """

    def __init__(
        self, stream: trio.SSLStream[SocketByteStream] | trio.SSLStream[NetworkStream], *, slice_bytes: int
    ) -> None:
        super().__init__(stream, slice_bytes=slice_bytes, peer=stream.transport_stream.peer)
        self._transport: NetworkStream = stream.transport_stream

    def has_input(self) -> bool:
        """Whether anything has come on the connection beneath; see `NetworkStream.has_input`."""
        return self._transport.has_input()

    async def send_eof(self) -> None:
        """End our half of the TCP connection beneath: TLS peers of HTTP take that for the end."""
        self._at_eof = True
        await self._transport.send_eof()


async def send_with_progress(stream: ByteStream, data: Data, limits: Limits) -> None:
    """Send all of ``data``, as long as the peer takes some of it within each ``limits.write_progress`` seconds.

    Single writes are shielded, so cancellation takes effect between them; after it, part of the data may be out.

    Raises:
        ConnectionEnded: the peer is gone, or stuck; a stuck peer's stream has been closed by force.
    """
    rest = memoryview(data)
    while rest:
        try:
            with trio.move_on_after(limits.write_progress, shield=True) as scope:
                sent = await stream.wait_send(rest[: limits.write_bytes])
        except trio.BrokenResourceError:
            raise ConnectionEnded(cause="the peer is gone") from None
        except trio.ClosedResourceError:
            raise ConnectionEnded(cause="closed on this side") from None
        if scope.cancelled_caught:
            await close_now(stream)
            raise ConnectionEnded(cause=f"the peer took nothing for {limits.write_progress:g} s")
        rest = rest[sent:]
        if rest:
            await trio.lowlevel.checkpoint_if_cancelled()


async def close_now(stream: ByteStream) -> None:
    """Close by force: no goodbye, no waiting, whatever else uses the stream (compare `trio.aclose_forcefully`)."""
    with trio.CancelScope(shield=True) as scope:  # a cancellation from outside must not end a row of these
        scope.cancel(reason="closed by force")
        await stream.aclose()


def peer_name(sock: trio.socket.SocketType) -> str:
    """The other side of a connected socket, for logs; ``unknown`` if it has gone already."""
    try:
        address = sock.getpeername()
        if sock.family == socket.AF_UNIX:
            return f"unix:{address or sock.getsockname()}"
    except OSError:
        return "unknown"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
