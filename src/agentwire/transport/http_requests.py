"""The requests of one HTTP/1.1 connection, on h11: heads and bodies, within their deadlines and bounds.

A fault of the peer becomes an error that it can be answered with, or `ConnectionEnded`, and nothing else leaves this
module. The other half, which answers, is `agentwire.transport.http11`.
"""

from __future__ import annotations

import abc
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import h11
import trio

from agentwire.protocol.errors import ConnectionEnded, LocalProtocolError, RequestError
from agentwire.transport.requests import Request

if TYPE_CHECKING:
    from agentwire.protocol.limits import Limits
    from agentwire.runtime.contracts import ByteStream

__all__ = ["Headers", "RequestReader"]

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

_CHUNK = 65536
_FAIR = 64  # events of h11 after which other tasks have their turn


class RequestReader(abc.ABC):
    """The reading half of a connection; see `HttpConnection`.

    Args:
        stream: the socket.
        limits: deadlines and sizes.
        now: wall clock in seconds.

    Attributes:
        standing: headers of whatever answers the request at hand, refusals included.
    """

    def __init__(self, stream: ByteStream, limits: Limits, *, now: Callable[[], float] = time.time) -> None:
        self._stream = stream
        self._limits = limits
        self._now = now
        self.standing: Headers = ()
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
        self._request: Request | None = None
        self._last = False  # no request will be read after this one
        self._lingering = False  # the peer may still be sending what we did not read
        self._broken = ""  # why nothing can be written any more
        self._taken = False
        self._requests = self._bytes_in = self._bytes_out = 0

    @abc.abstractmethod
    async def respond_error(self, error: RequestError) -> None:
        """Answer with an error."""

    @abc.abstractmethod
    async def _write(self, data: bytes) -> None:
        """Send some bytes."""

    @property
    def answered(self) -> bool:
        """True once a response to the request at hand has begun."""
        return self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE)

    async def next_request(self) -> Request | None:
        """Wait for the next request's head.

        The first has ``limits.handshake`` seconds, later ones ``limits.idle`` to begin and then as long as the first.
        A head that is no HTTP, too large or too slow is answered here.

        Returns:
            None if there will be no more: the peer has closed, is idle or broke the rules, or the last response had
            to be the last one. Close the connection then.

        Raises:
            LocalProtocolError: the last request has not been answered in full.
        """
        await trio.lowlevel.checkpoint()
        if not self._begin_cycle():
            return None
        try:
            head = await self._read_head()
        except h11.RemoteProtocolError as error:
            await self._refuse(_bad_request(error))
            return None
        except ConnectionEnded:
            return None
        if head is None:
            return None
        if head.http_version not in (b"1.0", b"1.1"):
            await self._refuse(RequestError(505, "unsupported_version", "this server speaks HTTP/1.1"))
            return None
        self._requests += 1
        self.standing = ()
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in head.headers}:
            self._last = self._lingering = (
                True  # whoever stands between may see another request (RFC 9112, section 6.1)
            )
        headers = [(name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers]
        method, target = head.method.decode("ascii"), head.target.decode("ascii")
        self._request = Request.parse(method, target, headers, http_version=head.http_version.decode("ascii"))
        return self._request

    def _begin_cycle(self) -> bool:
        """Get ready for a request; False if there can be no more of them."""
        if self._taken or self._last or self._broken:
            return False
        if self._request is None:
            return True
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            self._request = None
            return True
        if self._h11.our_state in (h11.MUST_CLOSE, h11.CLOSED, h11.ERROR):
            return False
        raise LocalProtocolError(f"answer {self._request.method} {self._request.target} before the next request")

    async def _read_head(self) -> h11.Request | None:
        first = not self._requests
        begun = first or bool(self._h11.trailing_data[0])
        with trio.move_on_after(self._limits.handshake if begun else self._limits.idle) as scope:  # noqa: ASYNC912 - a whole head may be here
            while (event := self._h11.next_event()) is h11.NEED_DATA:
                await self._receive(self._limits.head_bytes)
                if not begun:
                    begun = True
                    scope.deadline = trio.current_time() + self._limits.handshake
            return event if isinstance(event, h11.Request) else None
        if self._h11.trailing_data[0]:
            await self._refuse(RequestError(408, "request_timeout", "the head of the request did not come in time"))
        return None

    async def _receive(self, max_bytes: int = _CHUNK) -> None:
        """Feed h11 with what comes next, the end included."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self._broken = "reset by the peer"
            raise ConnectionEnded(cause=self._broken) from None
        except trio.ClosedResourceError:
            self._broken = "closed on this side"
            raise ConnectionEnded(cause=self._broken) from None
        self._bytes_in += len(data)
        self._h11.receive_data(bytes(data))

    async def read_body(self, limit: int | None = None) -> bytes:
        """Read the request's body to its end, and tell a client that waits for it to go on (``Expect: 100-continue``).

        Args:
            limit: the most bytes to take; ``limits.body_bytes`` if left out.

        Raises:
            RequestError: 413 if it is larger, 415 if it is compressed, 408 if nothing came of it for ``limits.body``
                seconds, 400 if its framing is wrong. Answer with it.
            ConnectionEnded: the peer went away before the end.
        """
        await trio.lowlevel.checkpoint()
        limit = self._limits.body_bytes if limit is None else limit
        self._judge_body(limit)
        if self._h11.they_are_waiting_for_100_continue:
            await self._write(self._h11.send(h11.InformationalResponse(status_code=100, headers=[])))
        try:
            return await self._collect_body(limit)
        except h11.RemoteProtocolError as error:
            if self._h11.trailing_data[1]:
                self._broken = "the peer closed the connection within a request"
                raise ConnectionEnded(cause=self._broken) from None
            raise _bad_request(error) from None

    def _judge_body(self, limit: int) -> None:
        if self._request is None or self.answered:
            raise LocalProtocolError("read a request's body before answering it")
        headers = self._request.headers
        if any(coding != "identity" for coding in headers.tokens("content-encoding")):
            raise RequestError(415, "unsupported_encoding", "send the body as it is, without Content-Encoding")
        if int(headers.get("content-length", "0")) > limit:
            raise _too_large(limit)

    async def _collect_body(self, limit: int) -> bytes:
        body = bytearray()
        for events in itertools.count(1):
            if self._h11.their_state not in (h11.SEND_BODY, h11.ERROR):
                break
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                with trio.move_on_after(self._limits.body) as scope:
                    await self._receive()
                if scope.cancelled_caught:
                    raise RequestError(408, "request_timeout", "the body of the request stopped coming")
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > limit:
                    raise _too_large(limit)
            if events % _FAIR == 0:  # chunks of a byte each are cheap to send and dear to read
                await trio.lowlevel.checkpoint()
        return bytes(body)

    def _settle_request(self) -> bool:
        """Skip what is already here of the request's body; True if that was all of it."""
        try:
            for _ in range(_FAIR):
                if self._h11.their_state is not h11.SEND_BODY or self._h11.next_event() is h11.NEED_DATA:
                    break
        except h11.RemoteProtocolError:
            return False
        return self._h11.their_state not in (h11.SEND_BODY, h11.ERROR)

    async def _refuse(self, error: RequestError) -> None:
        """Answer what is no request, as far as the peer listens; nothing can follow."""
        self._last = self._lingering = True
        with suppress(ConnectionEnded):
            await self.respond_error(error)


def _bad_request(error: h11.RemoteProtocolError) -> RequestError:
    status = error.error_status_hint
    code = "request_head_too_large" if status == 431 else "invalid_http"
    return RequestError(status, code, f"this is not a valid HTTP/1.1 request: {error}")


def _too_large(limit: int) -> RequestError:
    return RequestError(413, "body_too_large", f"the body of a request may be at most {limit} bytes")
