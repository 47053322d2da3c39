"""Heads of HTTP/1.1 messages from the client's side, on h11: a request's written, a response's read.

What is legal is h11's to say. A request's head is checked once and remembered without its length, since a client sends
the same few over and over; a response's head also says how its body ends, and whether its connection can be used again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import attrs
import h11

from agentwire.protocol.checks import EMPTY
from agentwire.protocol.errors import LocalProtocolError, RemoteProtocolError
from agentwire.transport.bodies import Body, ChunkedBody, EndlessBody, SizedBody

__all__ = ["HeadReader", "RequestHeads", "ResponseHead"]

_REMEMBERED: Final = 64
_REMEMBERED_BYTES: Final = 2_048
_HEAD_END: Final = b"\r\n\r\n"
_OWN: Final = ("content-length", "transfer-encoding")
_BODILESS: Final = (204, 304)
_INFORMATION: Final = 32  # responses of the kind 1xx before the real one
_ASKED: Final = h11.Request(method="GET", target="/", headers=[("host", "any")])  # h11 takes no answer without one


@attrs.frozen
class ResponseHead:
    """What came before a response's body.

    Attributes:
        status: 200 or more; 1xx are skipped.
        headers: names in lower case; values of repeated ones are joined by commas.
        reusable: whether its connection may carry another request afterwards.
        media_type: what the body is, in lower case and without parameters; None if it does not say.
    """

    status: int
    headers: Mapping[str, str]
    reusable: bool
    media_type: str | None = attrs.field(init=False)

    @media_type.default
    def _find_media_type(self) -> str | None:
        told = self.headers.get("content-type")
        return told.partition(";")[0].strip().lower() if told is not None else None

    def body(self, method: str, line_bytes: int) -> Body:
        """What reads its body (RFC 9112, section 6.3).

        Args:
            method: of the request.
            line_bytes: the most bytes of a line between two chunks.
        """
        if method == "HEAD" or self.status in _BODILESS:
            return SizedBody(0)
        if "transfer-encoding" in self.headers:
            return ChunkedBody(line_bytes)
        size = self.headers.get("content-length")
        return EndlessBody() if size is None else SizedBody(int(size))


class RequestHeads:
    """Writes the heads of requests.

    Args:
        standing: headers of every request, names in lower case.
        target: makes the target of a path; the path is it, if this is left out.
    """

    def __init__(self, standing: Mapping[str, str] = EMPTY, target: Callable[[str], str] = str) -> None:
        self._standing = dict(standing)
        self._target = target
        self._known: dict[tuple[str, str, tuple[tuple[str, str], ...]], bytes] = {}

    def head(self, method: str, path: str, headers: Mapping[str, str], length: int | None) -> bytes:
        """A request's head, with the empty line behind it.

        Args:
            method: such as ``POST``.
            path: what makes the target that stands behind it.
            headers: besides the standing ones, which they replace.
            length: of the body; None if there is none.

        Raises:
            LocalProtocolError: it cannot be sent.
        """
        key = (method, path, tuple(headers.items()))
        start = self._known.get(key)
        if start is None:
            sent = self._standing | {name.lower(): value for name, value in headers.items()}
            start = _checked(method, self._target(path), sent)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = start
        return start + (b"\r\n" if length is None else b"content-length: %d\r\n\r\n" % length)


def _checked(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    if any(name in headers for name in _OWN):
        raise LocalProtocolError("this request cannot be sent: its length is not for a header to say")
    try:
        encoded = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
        request = h11.Request(method=method, target=target, headers=encoded)
        head = h11.Connection(h11.CLIENT).send(request)
    except (h11.LocalProtocolError, UnicodeError) as error:
        raise LocalProtocolError(f"this request cannot be sent: {error}") from error
    assert head is not None
    return head.removesuffix(b"\r\n")


class HeadReader:
    """Reads the heads of a connection's responses; one that is byte for byte like an earlier one is not read again.

    Args:
        max_bytes: the largest size of a head.

    Attributes:
        rest: what came behind the last head.
    """

    def __init__(self, max_bytes: int) -> None:
        self.rest = b""
        self._max_bytes = max_bytes
        self._h11: h11.Connection | None = None  # has the beginning of a head
        self._left = _INFORMATION

    def feed(self, data: bytes) -> ResponseHead | None:
        """Take what was received; returns the head if it is whole.

        Raises:
            RemoteProtocolError: it is none.
        """
        if self._h11 is not None:
            return self._read(self._h11, data)
        whole, _, rest = data.partition(_HEAD_END)
        if (known := _KNOWN.get(whole)) is not None and len(whole) <= self._max_bytes:
            self.rest = rest
            return known
        self._left = _INFORMATION
        self._h11 = connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=self._max_bytes)
        connection.send(_ASKED)
        head = self._read(connection, data)
        if head is not None and self._left == _INFORMATION:
            _remember(whole, rest, head, self.rest)
        return head

    def _read(self, connection: h11.Connection, data: bytes) -> ResponseHead | None:
        connection.receive_data(data)
        try:
            while isinstance(event := connection.next_event(), h11.InformationalResponse):
                self._left -= 1
                if not self._left:
                    raise RemoteProtocolError("it announces an answer over and over")
        except h11.RemoteProtocolError as error:
            raise RemoteProtocolError(str(error)) from error
        self.rest = connection.trailing_data[0]
        if not isinstance(event, h11.Response):
            return None
        self._h11 = None
        return _head_of(event)


_KNOWN: Final[dict[bytes, ResponseHead]] = {}
"""Heads that were read before: nearly all of a server's are the same, at least within a second."""


def _remember(whole: bytes, rest: bytes, head: ResponseHead, left: bytes) -> None:
    """Keep a head that came in one piece and ends where h11, too, says that it ends."""
    if rest != left or len(whole) > _REMEMBERED_BYTES:
        return
    if len(_KNOWN) >= _REMEMBERED:
        _KNOWN.clear()
    _KNOWN[whole] = head


def _head_of(event: h11.Response) -> ResponseHead:
    headers: dict[str, str] = {}
    for raw_name, raw_value in event.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    ambiguous = all(name in headers for name in _OWN)  # RFC 9112, section 6.3: somebody may see another end
    closing = "close" in [token.strip() for token in headers.get("connection", "").lower().split(",")]
    return ResponseHead(event.status_code, headers, event.http_version == b"1.1" and not closing and not ambiguous)
