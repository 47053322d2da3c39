"""Server-sent events as bytes: chunks in, whole ``data`` payloads out, no I/O (WHATWG HTML, "Server-sent events").

Only the payloads are kept: on the streams that this library reads, event names, ids and retry times repeat what the
payload says or are not used; where a server says by the name alone what an event is, `SseParser.named` puts it in, and
a field ``error`` with an object, which llama.cpp wrote until late 2025, is an event. All that arrived together comes
out together, so that one wake-up is one batch.
"""

from __future__ import annotations

from io import BytesIO

from agentwire.protocol.errors import RemoteProtocolError

__all__ = ["SseParser"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ENDS = (b"\n", b"\r")
_BLANK = (b"\n", b"\r\n", b"\r")
_ERROR = b"error: {"


class SseParser:
    """Cuts one event stream into payloads; lines may end in LF, CR or CRLF, split anywhere.

    Args:
        max_event: the most bytes of one event's payload, and of one line.

    Attributes:
        named: an event's name becomes the ``type`` of a payload that is an object without any ``type``.
    """

    def __init__(self, max_event: int) -> None:
        self.named = False
        self._max_event = max_event
        self._started = False
        self._partial = bytearray()  # a line whose end has not come
        self._after_cr = False  # the last line ended with CR, so an LF may still belong to it
        self._data: list[bytes] = []
        self._size = 0
        self._name = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take bytes as they come; returns the payloads that became whole, in order.

        Raises:
            RemoteProtocolError: an event is larger than ``max_event``.
        """
        inside = self._partial or self._data or self._name or self._after_cr
        if not inside and (usual := self._usual_events(chunk)):
            self._started = True
            return usual
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        lines = chunk.splitlines(keepends=True)
        if not lines:
            return []
        last = lines[-1]
        if self._partial:
            self._partial += lines[0]
            self._check(len(self._partial))
            if not lines[0].endswith(_ENDS):
                return []
            lines[0] = bytes(self._partial)
            self._partial.clear()
        if not last.endswith(_ENDS):
            self._partial += lines.pop()
            self._check(len(self._partial))
        self._after_cr = last.endswith(b"\r")
        return self._take(lines)

    def _usual_events(self, chunk: bytes) -> list[bytes] | None:
        """The payloads, if these are whole events as nearly all servers write them; None otherwise."""
        if chunk[-2:] != b"\n\n" or chunk.find(b"\r") >= 0 or len(chunk) > self._max_event:
            return None
        payloads: list[bytes] = []
        lines = BytesIO(chunk)
        for line in lines:
            data = line if line[:6] != b"event:" else next(lines, b"")
            if data[:6] != b"data: " or len(data) == len(b"data: \n") or next(lines, b"") != b"\n":
                return None
            if self.named and data[6:13] != b'{"type"' and data.find(b'"type"') < 0:
                return None
            payloads.append(data[6:-1])
        return payloads

    def _take(self, lines: list[bytes]) -> list[bytes]:
        payloads: list[bytes] = []
        if lines and not self._started:
            self._started = True
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        for line in lines:
            if line.startswith(b"data"):
                self._add(line[4:].rstrip(b"\r\n"))
            elif line in _BLANK and self._data:
                if payload := b"\n".join(self._data):
                    payloads.append(payload if not self._name or b'"type"' in payload else self._typed(payload))
                self._data.clear()
                self._size = 0
                self._name = b""
            elif self.named and line.startswith(b"event:"):
                self._name = line[6:].strip()
            elif line.startswith(_ERROR):
                payloads.append(b'{"error":%b}' % line[len(_ERROR) - 1 :].rstrip(b"\r\n"))
            elif line in _BLANK:
                self._name = b""
        return payloads

    def _typed(self, payload: bytes) -> bytes:
        """An object that does not say what it is, with its event's name."""
        members = payload.lstrip()[1:].lstrip()
        if not payload.lstrip().startswith(b"{") or not self._name.replace(b".", b"").replace(b"_", b"").isalnum():
            return payload
        return b'{"type":"%b"%b%b' % (self._name, b"" if members.startswith(b"}") else b",", members)

    def _add(self, rest: bytes) -> None:
        """One line of an event's payload: what follows ``data`` on it."""
        if rest[:1] not in (b":", b""):
            return  # another field whose name begins like this one
        piece = rest[2:] if rest[:2] == b": " else rest[1:]
        self._size += len(piece) + 1
        self._check(self._size - 1)
        self._data.append(piece)

    def _check(self, size: int) -> None:
        if size > self._max_event:
            raise RemoteProtocolError(f"an event of the stream is larger than {self._max_event} bytes")
