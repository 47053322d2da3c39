"""WebSocket data frames as bytes: headers out, whole messages in, no I/O (RFC 6455, section 5).

Data frames are made and taken here, a hundred times faster than by a general library; control frames are cut out
whole and handed on untouched, to the library that knows their rules.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple, NoReturn

from agentwire.protocol.errors import RemoteProtocolError

__all__ = ["Control", "FrameParser", "client_frame", "server_frame", "server_framing", "server_header"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_DATA = frozenset((CONTINUATION, TEXT, BINARY))
_CONTROL = frozenset((CLOSE, PING, PONG))
_FIN, _MASKED, _RESERVED = 0x80, 0x80, 0x70
_LONGEST_CONTROL = 125
_NEVER_SENT = frozenset((1004, 1005, 1006))

_HEADERS = [bytes((_FIN | TEXT, length)) for length in range(126)]
_HEADERS += [struct.pack("!BBH", _FIN | TEXT, 126, length) for length in range(126, 1024)]
_KNOWN = len(_HEADERS)  # from here on headers are made: of nearly no event but a response's last one
_XOR = [bytes(byte ^ key for byte in range(256)) for key in range(256)]
_number = int.from_bytes
_SHORT = 512  # up to here one big integer is faster than four translations (measured)


class Control(NamedTuple):
    """One whole control frame: its raw bytes, and what it says."""

    raw: bytes
    opcode: int
    payload: bytes


def server_header(length: int) -> bytes:
    """The header of an unmasked, unfragmented text frame of ``length`` bytes."""
    if length < _KNOWN:
        return _HEADERS[length]
    if length < 65536:
        return struct.pack("!BBH", _FIN | TEXT, 126, length)
    return struct.pack("!BBQ", _FIN | TEXT, 127, length)


def server_frame(payload: bytes) -> bytes:
    """A text frame as a server sends it."""
    return server_header(len(payload)) + payload


def server_framing(events: Sequence[bytes]) -> bytes:
    """Text frames of several payloads as a server sends them, joined for one write."""
    return b"".join(
        [(_HEADERS[size] if (size := len(event)) < _KNOWN else server_header(size)) + event for event in events]
    )


def client_frame(payload: bytes, key: bytes) -> bytes:
    """A text frame as a client sends it, masked with the four bytes of ``key``."""
    first, *rest = server_header(len(payload))
    return bytes((first, rest[0] | _MASKED, *rest[1:])) + key + unmask(payload, key)


def unmask(payload: bytes, key: bytes) -> bytes:
    """Apply a mask, or take it off: the same thing."""
    length = len(payload)
    if length <= _SHORT:
        keys = (key * (length // 4 + 1))[:length]
        return (_number(payload, "little") ^ _number(keys, "little")).to_bytes(length, "little")
    masked = bytearray(payload)
    for offset in range(4):
        masked[offset::4] = masked[offset::4].translate(_XOR[key[offset]])
    return bytes(masked)


class FrameParser:
    """Bytes in, whole messages (their payload, fragments joined and unmasked) and control frames out.

    Memory is bounded by ``max_message`` plus what one `feed` brings: a longer message is refused by its header,
    before its body is kept. After a fault of the framing itself nothing more can be read; after one of the size
    the rest is skipped, so that the peer's close frame is still found.

    Args:
        masked: True on a server (clients mask), False on a client.
        max_message: the longest message taken, in bytes, over all its fragments.

    Attributes:
        lost: True after a fault of the framing: nothing more can be read.
    """

    def __init__(self, *, masked: bool, max_message: int) -> None:
        self._masked = masked
        self._max_message = max_message
        self._buffer = b""
        self._at = 0  # what is before it has been read
        self.lost = False
        self._discarding = False
        # The message that is being read, when it did not come whole in one frame.
        self._partial = bytearray()
        self._size = 0
        self._fragmented = False
        # The frame of it that is being read.
        self._left = 0
        self._key = b""
        self._final = False

    def feed(self, data: bytes) -> Iterator[bytes | Control]:
        """Take bytes as they come.

        Yields:
            What became whole, in order.

        Raises:
            RemoteProtocolError: the peer broke a rule; feed on to find its close frame.
        """
        if self.lost:
            return
        self._buffer = self._buffer[self._at :] + data
        self._at = 0
        while self._at < len(self._buffer):
            before = self._at
            found = self._continue_frame() if self._left else self._next_frame()
            if found is not None and not (self._discarding and type(found) is bytes):
                yield found
            elif self._at == before:
                return
        self._buffer, self._at = b"", 0

    def discard(self) -> None:
        """From now on keep no message: we are closing, and only the peer's close frame is of interest."""
        self._discarding = True
        self._partial.clear()

    def _next_frame(self) -> bytes | Control | None:
        """What the buffer completes next; None if nothing, or if its header is not all here yet."""
        buffer, start = self._buffer, self._at + 2
        if len(buffer) < start:
            return None
        first, second = buffer[start - 2], buffer[start - 1]
        opcode, length = first & 0x0F, second & 0x7F
        self._judge_header(first, second, opcode)
        if length > _LONGEST_CONTROL:
            start += 2 if length == 126 else 8
            if len(buffer) < start:
                return None
            length = self._long_length(buffer[self._at + 2 : start])
        if self._masked:
            start += 4
            if len(buffer) < start:
                return None
        if opcode in _CONTROL:
            return self._control(opcode, start, length)
        return self._data(bool(first & _FIN), start, length)

    def _long_length(self, told: bytes) -> int:
        """A length that does not fit into its seven bits."""
        length = int.from_bytes(told, "big")
        if length < (126 if len(told) == 2 else 65536):
            self._fail("a payload length must be written in its shortest form")
        if length >> 63:
            self._fail("a payload length has 63 bits")
        return length

    def _judge_header(self, first: int, second: int, opcode: int) -> None:
        if first & _RESERVED:
            self._fail("reserved bits set without an extension that defines them")
        if bool(second & _MASKED) is not self._masked:
            self._fail("client frames must be masked" if self._masked else "server frames must not be masked")
        if opcode in _CONTROL:
            if not first & _FIN or second & 0x7F > _LONGEST_CONTROL:
                self._fail("control frames must be whole and at most 125 bytes")
        elif opcode not in _DATA:
            self._fail(f"reserved opcode {opcode:#x}")
        elif (opcode == CONTINUATION) is not self._fragmented:
            self._fail("fragments out of order")

    def _fail(self, reason: str, close_code: int = 1002) -> NoReturn:
        self.lost = True
        self._buffer, self._at = b"", 0
        self._partial.clear()
        raise RemoteProtocolError(reason, close_code=close_code)

    def _control(self, opcode: int, start: int, length: int) -> Control | None:
        end = start + length
        if len(self._buffer) < end:
            return None
        raw, payload = self._buffer[self._at : end], self._buffer[start:end]
        self._at = end
        if self._masked:
            payload = unmask(payload, self._buffer[start - 4 : start])
        if opcode == CLOSE and payload:
            self._judge_close(payload)
        return Control(raw, opcode, payload)

    def _judge_close(self, payload: bytes) -> None:
        if len(payload) == 1:
            self._fail("a close frame has no payload, or a code in two bytes and a reason")
        code = int.from_bytes(payload[:2], "big")
        if not (1000 <= code <= 1014 or 3000 <= code <= 4999) or code in _NEVER_SENT:
            self._fail(f"close code {code} must not be sent")
        try:
            payload[2:].decode()
        except UnicodeDecodeError:
            self._fail("the reason of a close frame must be UTF-8", 1007)

    def _data(self, final: bool, start: int, length: int) -> bytes | None:
        buffer, end = self._buffer, start + length
        key = buffer[start - 4 : start]
        if final and not self._fragmented and len(buffer) >= end and length <= self._max_message:
            self._at = end
            return unmask(buffer[start:end], key) if self._masked else buffer[start:end]
        self._at = start
        self._final, self._fragmented, self._left, self._key = final, not final, length, key
        self._size += length
        if self._size > self._max_message and not self._discarding:
            self.discard()
            raise RemoteProtocolError(f"message larger than {self._max_message} bytes", close_code=1009)
        return self._finish() if final and not length else None

    def _continue_frame(self) -> bytes | None:
        """Take what is here of a frame that comes in parts; unmasking as it comes keeps each step short."""
        chunk = self._buffer[self._at : self._at + self._left]
        self._at += len(chunk)
        self._left -= len(chunk)
        if not self._discarding:
            self._partial += unmask(chunk, self._key) if self._masked else chunk
            turn = len(chunk) % 4
            self._key = self._key[turn:] + self._key[:turn]
        return self._finish() if self._final and not self._left else None

    def _finish(self) -> bytes:
        message = bytes(self._partial)
        self._partial.clear()
        self._size = 0
        return message
