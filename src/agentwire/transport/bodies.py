"""Where a response's body ends, without I/O: bytes of the connection in, bytes of the body out (RFC 9112, 6 and 7).

What arrives together comes out together: however many chunks a read holds, its payload is one piece. Whatever is not
exactly the framing that was announced is an error; nothing is repaired, since two parties that repair differently see
two different conversations.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import Final, Protocol

from agentwire.protocol.errors import RemoteProtocolError

__all__ = ["Body", "ChunkedBody", "EndlessBody", "SizedBody"]

_LINE_END: Final = b"\r\n"
_HEX: Final = b"0123456789abcdefABCDEF"
_DIGITS: Final = 16  # of a chunk's size
_USUAL_DIGITS: Final = 8
_MARGIN: Final = 2
_LAST_LINE: Final = b"0\r\n"
"""The first line of the last chunk, which has no data; nearly always there is no trailer, either."""


class Body(Protocol):
    """One response's body, as it comes.

    Attributes:
        complete: True once nothing of it is to come.
        excess: whether anything came after its end, which belongs to nobody.
        fault: what broke the framing behind the bytes that the last `feed` returned.
    """

    complete: bool
    excess: bool
    fault: RemoteProtocolError | None

    def feed(self, data: bytes) -> bytes:
        """Take what was received; returns the part of it that is the body's."""

    def end(self) -> bool:
        """The connection has ended; True if that completes the body."""


class SizedBody:
    """A body whose length was told, or that is none (0).

    Args:
        size: its length in bytes.
    """

    __slots__ = ("_left", "complete", "excess", "fault")

    def __init__(self, size: int) -> None:
        self._left = size
        self.complete = size == 0
        self.excess = False
        self.fault: RemoteProtocolError | None = None

    def feed(self, data: bytes) -> bytes:
        """See `Body`."""
        if len(data) > self._left:
            self.excess = True
            data = data[: self._left]
        self._left -= len(data)
        self.complete = self._left == 0
        return data

    def end(self) -> bool:
        """See `Body`."""
        return self.complete


class EndlessBody:
    """A body that ends where the connection does."""

    __slots__ = ("complete", "excess", "fault")

    def __init__(self) -> None:
        self.complete = self.excess = False
        self.fault: RemoteProtocolError | None = None

    def feed(self, data: bytes) -> bytes:
        """See `Body`."""
        return data

    def end(self) -> bool:
        """See `Body`."""
        self.complete = True
        return True


class ChunkedBody:
    """A body in chunks; their extensions and the trailer are read and dropped.

    Args:
        line_bytes: the most bytes of a chunk's first line, and of the whole trailer.
    """

    __slots__ = ("_left", "_line_bytes", "_partial", "_trailing", "complete", "excess", "fault")

    def __init__(self, line_bytes: int) -> None:
        self._line_bytes = line_bytes
        self._partial = b""  # of a line
        self._left = 0  # of the chunk, and of the line end behind it
        self._trailing = 0  # bytes of the trailer so far, and 1 from the last chunk on
        self.complete = self.excess = False
        self.fault: RemoteProtocolError | None = None

    def feed(self, data: bytes) -> bytes:
        """See `Body`."""
        if self._partial:
            data, self._partial = self._partial + data, b""
        position, pieces = self._whole_chunks(data)
        try:
            while position < len(data) and not self.complete:
                if self._left:
                    piece, position = self._chunk(data, position)
                    pieces.append(piece)
                else:
                    position = self._line(data, position)
        except RemoteProtocolError as fault:
            self.fault = fault
        self.excess = self.complete and position < len(data)
        return b"".join(pieces)

    def _whole_chunks(self, data: bytes) -> tuple[int, list[bytes]]:
        """What is here from its first byte to its last, which most is; the chunks, and where to go on."""
        pieces: list[bytes] = []
        position = 0
        if not (self._left or self._trailing):
            source = BytesIO(data)
            while size := _usual_size(line := source.readline(_USUAL_DIGITS + len(_LINE_END))):
                chunk = source.read(size)
                if source.read(_MARGIN) != _LINE_END:
                    return position, pieces
                pieces.append(chunk)
                position += len(line) + size + _MARGIN
            if line == _LAST_LINE and source.read(_MARGIN) == _LINE_END:
                self._trailing, self.complete = 1, True
                position += len(line) + _MARGIN
        return position, pieces

    def _chunk(self, data: bytes, position: int) -> tuple[bytes, int]:
        """Go on with a chunk; returns what is here of its data, and where to go on."""
        end = position + self._left
        if end <= len(data):
            inside = max(end - _MARGIN, position)
            if data[inside:end] != _LINE_END[-(end - inside) :]:
                raise RemoteProtocolError("a chunk is longer than it said")
            self._left = 0
            return data[position:inside], end
        self._left = end - len(data)
        if self._left > 1:
            return data[position:], len(data)
        if data[-1:] != _LINE_END[:1]:  # the line end is cut in two
            raise RemoteProtocolError("a chunk is longer than it said")
        return data[position:-1], len(data)

    def _line(self, data: bytes, position: int) -> int:
        """Read a chunk's first line, or a line of the trailer; returns where to go on."""
        end = data.find(_LINE_END, position)
        if (len(data) if end < 0 else end) - position + self._trailing > self._line_bytes:
            raise RemoteProtocolError(f"a line between chunks is longer than {self._line_bytes} bytes")
        if end < 0:
            self._partial = data[position:]
            return len(data)
        if self._trailing:
            self._trailing += end - position + _MARGIN
            self.complete = end == position
        elif size := _size(data[position:end]):
            self._left = size + _MARGIN
        else:
            self._trailing = 1
        return end + _MARGIN

    def end(self) -> bool:
        """See `Body`."""
        return self.complete


@lru_cache(1_024)  # the events of a stream are of a few sizes
def _usual_size(line: bytes) -> int:
    """The size that a chunk's first line tells if there is nothing else on it; 0 otherwise."""
    digits = line.removesuffix(_LINE_END)
    return int(digits, 16) if 0 < len(digits) <= _USUAL_DIGITS and not digits.strip(_HEX) else 0


def _size(line: bytes) -> int:
    """The size that a chunk's first line tells."""
    digits = line.partition(b";")[0].rstrip(b" \t")
    if not digits or len(digits) > _DIGITS or digits.strip(_HEX):
        raise RemoteProtocolError(f"{line[:40]!r} is no size of a chunk")
    return int(digits, 16)
