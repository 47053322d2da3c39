"""One HTTP/1.1 connection of a server, on h11: the responses, and how it ends.

What is legal, where a body ends and whether the connection can be used again is h11's to say. Added here and in
`agentwire.transport.http_requests` are the deadlines, the bounds, and what to do when the peer goes: a fault of the
peer becomes an answer with a JSON body, or `ConnectionEnded`, and nothing else leaves these modules.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from email.utils import formatdate
from typing import TYPE_CHECKING

import attrs
import h11
import trio

from agentwire.protocol.errors import ConnectionEnded, LocalProtocolError, RequestError
from agentwire.transport.http_requests import Headers, RequestReader
from agentwire.transport.requests import Request, error_body
from agentwire.transport.streams import close_now, send_with_progress

if TYPE_CHECKING:
    from agentwire.runtime.contracts import ByteStream

__all__ = ["HttpConnection", "HttpStatistics", "upgrade_wanted"]

_CHUNK = 65536
_BODILESS = frozenset((204, 304))
_CUT_OFF = "a response was cut off"  # for as long as a write goes on, and for good if it does not end


@attrs.frozen
class HttpStatistics:
    """A snapshot of one connection.

    Attributes:
        requests: heads that were read since it opened.
        bytes_in: bytes received, before any hand-over.
        bytes_out: bytes of responses handed to the socket.
        early_bytes: bytes that came before their turn and are kept.
    """

    requests: int
    bytes_in: int
    bytes_out: int
    early_bytes: int


def upgrade_wanted(request: Request) -> bool:
    """True if the request asks to go on as a WebSocket; other upgrades (h2c) may be ignored (RFC 9110, section 7.8)."""
    return "websocket" in request.headers.tokens("upgrade")


class HttpConnection(RequestReader):
    """Reads requests and writes responses, one after the other, until one side has had enough.

    For each request: `next_request`, perhaps `read_body`, then either `respond` or `start_stream`, `send_chunk`...,
    `end_stream`; or `take_over`. One task reads and one writes at a time. Whoever opened it closes it with `aclose`.

    Cancelling a read loses nothing. Cancelling a write that had begun makes the connection useless: it is closed after.

    Args:
        stream: the socket; closed by `aclose` unless it has been taken over.
        limits: deadlines and sizes.
        now: wall clock in seconds, for the ``Date`` header.

    Attributes:
        standing: headers of whatever answers the request at hand, refusals included.
    """

    # What the connection is like

    @property
    def peer(self) -> str:
        """The other side, for logs."""
        return getattr(self._stream, "peer", "unknown")

    @property
    def taken(self) -> bool:
        """True once the socket has been handed over."""
        return self._taken

    @property
    def finished(self) -> bool:
        """True once the response to the request at hand is complete."""
        return self._h11.our_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)

    @property
    def broken(self) -> str:
        """Why nothing more can be written, in words; empty while it can."""
        return self._broken

    def statistics(self) -> HttpStatistics:
        """Totals, and what is kept of later requests."""
        return HttpStatistics(self._requests, self._bytes_in, self._bytes_out, len(self.early))

    # Responses

    async def respond(self, status: int, headers: Headers = (), body: bytes = b"") -> None:
        """Answer with a whole response; ``Content-Length`` and ``Date`` are added.

        If the request's body has not been read, the response is the connection's last.

        Raises:
            ConnectionEnded: the peer is gone, or took nothing for ``limits.write_progress`` seconds.
            LocalProtocolError: there is nothing to answer, or a header cannot be sent.
        """
        sized = [*_pairs(headers)] if status in _BODILESS else [*_pairs(headers), ("content-length", str(len(body)))]
        out = self._start(status, sized)
        if body and status not in _BODILESS and not self._is_head():
            out += self._h11.send(h11.Data(data=body))
        out += self._h11.send(h11.EndOfMessage())
        await self._write(out)

    async def respond_error(self, error: RequestError) -> None:
        """Answer with an error: its status, its headers, and the JSON body that every transport has for it."""
        headers = {"content-type": "application/json", **error.headers}
        if "upgrade" in error.headers:
            headers["connection"] = "upgrade"
        await self.respond(error.status, headers, error_body(error))

    async def start_stream(self, status: int, headers: Headers = (), first: bytes = b"") -> None:
        """Begin a response whose length is not known; see `respond` for what it raises.

        Args:
            first: the first chunk, if there is one already: it goes out with the head.
        """
        await self._write(self._start(status, _pairs(headers)) + self._chunk(first))

    async def send_chunk(self, data: bytes) -> None:
        """Send some of the response's body, waiting while the peer is slow; raises as `respond` does."""
        if chunk := self._chunk(data):
            await self._write(chunk)

    async def end_stream(self, last: bytes = b"") -> None:
        """End the response, with one more chunk if there is one; raises as `respond` does."""
        chunk = self._chunk(last)
        await self._write(chunk + self._h11.send(h11.EndOfMessage()))

    def _start(self, status: int, headers: Iterable[tuple[str, str]]) -> bytes:
        """The head of a response."""
        if self.answered or self._taken:
            raise LocalProtocolError("this request has been answered already")
        whole = self._settle_request()
        self._last = self._last or not whole
        self._lingering = self._lingering or not whole
        added = [("date", formatdate(self._now(), usegmt=True)), *([("connection", "close")] if self._last else [])]
        added += _pairs(self.standing)
        with _our_fault():
            encoded = [(name.encode("ascii"), value.encode("latin-1")) for name, value in (*headers, *added)]
            response = h11.Response(status_code=status, headers=encoded)
            return self._h11.send(response)

    def _chunk(self, data: bytes) -> bytes:
        if self._h11.our_state is not h11.SEND_BODY:
            raise LocalProtocolError("no response is open: call start_stream first")
        return self._h11.send(h11.Data(data=data)) if data and not self._is_head() else b""

    def _is_head(self) -> bool:
        return self._request is not None and self._request.method == "HEAD"

    async def _write(self, data: bytes) -> None:
        if self._broken:
            raise ConnectionEnded(cause=self._broken)
        self._broken = _CUT_OFF
        try:
            await send_with_progress(self._stream, data, self._limits)
        except ConnectionEnded as ended:
            self._broken = ended.cause
            raise
        if self._broken is _CUT_OFF:  # otherwise somebody has aborted it meanwhile
            self._broken = ""
        self._bytes_out += len(data)

    # The end, of one kind or another

    async def wait_disconnect(self) -> str:
        """Wait until the peer goes away, and say how; for a task beside the one that answers.

        The request must have been read. What comes of the next one is kept for it, up to ``limits.head_bytes``; beyond
        that it is dropped, and the response at hand is the last. The end of what the peer sends counts as its end: call
        `abort` before cancelling whatever still writes, so that no write holds that up. Cancelling this loses nothing.

        Raises:
            LocalProtocolError: the request has not been read to its end.
        """
        if not self._settle_request():
            raise LocalProtocolError("read the request's body before waiting for the peer to go")
        while True:  # noqa: ASYNC913 - it receives, whatever comes
            try:
                data = await self._stream.receive_some(_CHUNK)
            except trio.BrokenResourceError:
                self._last = True
                return "reset by the peer"
            except trio.ClosedResourceError:
                self._last = True
                return "closed on this side"
            if not data:
                self._last = True
                return "closed by the peer"
            self._keep(bytes(data))

    def _keep(self, data: bytes) -> None:
        self._bytes_in += len(data)
        if not self._last and len(self.early) + len(data) <= self._limits.head_bytes:
            self._h11.receive_data(data)
        else:
            self._last = self._lingering = True

    @property
    def early(self) -> bytes:
        """What the peer has sent after the request at hand."""
        return self._h11.trailing_data[0] if self._request is not None else b""

    def take_over(self) -> tuple[ByteStream, bytes]:
        """Hand the socket over, with what came after the request; this object is done with it, and will not close it.

        Raises:
            LocalProtocolError: the request has been answered, or its body not been read.
        """
        if self._request is None or self.answered or not self._settle_request():
            raise LocalProtocolError("only an unanswered request that is read to its end can be taken over")
        self._taken = self._last = True
        return self._stream, self.early

    async def abort(self, cause: str) -> None:
        """Cut the connection off now; a write that waits ends with `ConnectionEnded`."""
        self._last = True
        if self._broken in ("", _CUT_OFF):
            self._broken = cause
        await close_now(self._stream)

    async def aclose(self) -> None:
        """Close the connection.

        If the peer may still be sending what we refused to read, it gets ``limits.close_grace`` seconds to see our
        answer, which closing at once would destroy (RFC 9112, section 9.6). Cancelling it cuts that short.
        """
        if self._taken:
            return
        self._last = True
        try:
            if self._lingering and not self._broken:
                await self._linger()
        finally:
            await close_now(self._stream)  # noqa: ASYNC102 - it waits for nothing

    async def _linger(self) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            with trio.move_on_after(self._limits.close_grace):
                if isinstance(self._stream, trio.abc.HalfCloseableStream):
                    await self._stream.send_eof()
                while await self._stream.receive_some(_CHUNK):
                    pass


def _pairs(headers: Headers) -> Iterable[tuple[str, str]]:
    return headers.items() if isinstance(headers, Mapping) else headers


@contextmanager
def _our_fault() -> Generator[None]:
    """Errors of h11 about what we send are errors of whoever calls us."""
    try:
        yield
    except (h11.LocalProtocolError, UnicodeError) as error:
        raise LocalProtocolError(f"this response cannot be sent: {error}") from error
