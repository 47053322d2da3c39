"""Where WebSocket frames begin and end in a stream of bytes, for positions and records; it judges nothing.

It looks past the HTTP in front of the frames and reads only frame headers, so it also follows streams that break
every other rule.
"""

from __future__ import annotations

import re
import sys

import attrs

from agentwire.transport.frames import unmask

__all__ = ["Frame", "FrameScanner", "Mark"]

_HEAD_END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] (\d\d\d)")
_ASKED = re.compile(rb"^upgrade:\s*websocket", re.IGNORECASE | re.MULTILINE)
_KEPT_HEAD = 65536


@attrs.frozen
class Frame:
    """One frame that went by.

    Attributes:
        index: 0 for the first after the handshake.
        opcode: 1 for text, 8 for close and so on (RFC 6455, section 5.2).
        final: it ends its message.
        length: bytes of payload.
        payload: the payload, unmasked, as much of it as was kept.
    """

    index: int
    opcode: int
    final: bool
    length: int
    payload: bytes = b""


@attrs.frozen
class Mark:
    """A position in the stream that became known.

    Attributes:
        frame: index of the frame that starts here, or is in its middle here.
        position: bytes before it, from the start of the stream.
        middle: True for the middle of the frame.
        ended: the frame before, if one ended here.
    """

    frame: int
    position: int
    middle: bool = False
    ended: Frame | None = None


class FrameScanner:
    """Follows one direction of a connection.

    Args:
        keep: most bytes of a frame's payload that are kept; True for all of them.

    Attributes:
        frames: how many have gone by whole.
        position: how many bytes have gone by.
        began: the HTTP, if any, is over.
    """

    def __init__(self, *, keep: int | bool = True) -> None:
        self.frames = 0
        self.position = 0
        self.began = False
        self._keep = sys.maxsize if keep is True else int(keep)
        self._http: bytearray | None = None
        self._header = bytearray()
        self._frame: Frame | None = None
        self._left = 0
        self._payload = bytearray()

    def feed(self, data: bytes) -> list[Mark]:
        """Follow ``data``; returns the positions that it made known, in order.

        The middle of a frame is at half its length, but not before its header has gone by.
        """
        marks: list[Mark] = []
        if not self.position and data and not self._begins_http(data):
            self._begin(marks)
        rest = memoryview(data)
        while rest:
            if self._http is not None:
                rest = self._skip_http(rest, marks)
            elif self._frame is None:
                rest = self._read_header(rest, marks)
            else:
                rest = self._read_payload(rest, marks)
        return marks

    def restart(self) -> None:
        """What comes next is HTTP again: no WebSocket was opened."""
        self.began, self._http, self._frame = False, bytearray(), None
        self._header.clear()
        self._payload.clear()

    def _begins_http(self, data: bytes) -> bool:
        """A method or ``HTTP/1.1`` begins with a capital; a frame never does, unless a reserved bit is set."""
        if 0x41 <= data[0] <= 0x5A:
            self._http = bytearray()
            return True
        return False

    def _begin(self, marks: list[Mark]) -> None:
        self.began = True
        marks.append(Mark(0, self.position))

    def _skip_http(self, data: memoryview, marks: list[Mark]) -> memoryview:
        assert self._http is not None
        before = len(self._http)
        self._http += data
        end = self._http.find(_HEAD_END, max(0, before - len(_HEAD_END) + 1))
        if end < 0:
            del self._http[:-_KEPT_HEAD]
            self.position += len(data)
            return data[:0]
        taken = end + len(_HEAD_END) - before
        self.position += taken
        statuses = _STATUS.findall(self._http, 0, end)  # behind what is left of a body
        upgraded = statuses[-1] == b"101" if statuses else bool(_ASKED.search(self._http, 0, end))
        self._http = None if upgraded else bytearray()
        if upgraded:
            self._begin(marks)
        return data[taken:]

    def _read_header(self, data: memoryview, marks: list[Mark]) -> memoryview:
        size = self._header_size()
        part = data[: size - len(self._header)]
        self._header += part
        self.position += len(part)
        if len(self._header) == self._header_size():
            self._begin_frame(marks)
        return data[len(part) :]

    def _header_size(self) -> int:
        if len(self._header) < 2:
            return 2
        length, masked = self._header[1] & 0x7F, self._header[1] & 0x80
        return 2 + {126: 2, 127: 8}.get(length, 0) + (4 if masked else 0)

    def _begin_frame(self, marks: list[Mark]) -> None:
        header = self._header
        length, size = header[1] & 0x7F, len(header)
        if length >= 126:
            length = int.from_bytes(header[2 : 4 if length == 126 else 10], "big")
        self._frame = Frame(self.frames, header[0] & 0x0F, bool(header[0] & 0x80), length)
        self._left = length
        start = self.position - size
        marks.append(Mark(self.frames, max(self.position, start + (size + length) // 2), middle=True))
        if not length:
            self._end_frame(marks)

    def _read_payload(self, data: memoryview, marks: list[Mark]) -> memoryview:
        part = data[: self._left]
        self._left -= len(part)
        self.position += len(part)
        self._payload += part[: max(0, self._keep - len(self._payload))]
        if not self._left:
            self._end_frame(marks)
        return data[len(part) :]

    def _end_frame(self, marks: list[Mark]) -> None:
        assert self._frame is not None
        payload = bytes(self._payload)
        if self._header[1] & 0x80:
            payload = unmask(payload, bytes(self._header[-4:]))
        self.frames += 1
        marks.append(Mark(self.frames, self.position, ended=attrs.evolve(self._frame, payload=payload)))
        self._frame = None
        self._header.clear()
        self._payload.clear()
