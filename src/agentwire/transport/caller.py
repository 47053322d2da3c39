"""One HTTP/1.1 connection of a client: a request goes out, its answer comes in, and then the next one may.

Nothing is buffered but what one read gave. A connection is only fit for another request if the last answer came to its
end, nothing came behind it, and both sides want to go on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import trio

from agentwire.protocol.errors import ConnectionEnded, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import ByteStream
from agentwire.transport.bodies import Body, EndlessBody, SizedBody
from agentwire.transport.heads import HeadReader, ResponseHead
from agentwire.transport.streams import NetworkStream, close_now
from agentwire.transport.watchdog import Watchdog

__all__ = ["Caller", "ServerSilent"]

_RECEIVE_BYTES: Final = 65536
_STUCK: Final = "took nothing for {:g} s"
_SILENT: Final = "silent for too long: no more of its answer within {:g} s"
_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


class ServerSilent(ConnectionEnded):
    """The connection was closed because the server was late, with whatever it was."""


class Caller:
    """The client's end of a connection; whoever opened it closes it.

    One exchange at a time: `send`, `read_head`, then `read` until ``complete``. Cancelling a read loses nothing;
    cancelling `send` leaves a connection that is of no more use.

    Args:
        stream: connected to the server.
        server: its name, for errors.
        watchdog: looks after the deadlines.
        limits: deadlines and sizes.
        closed: is told when it has been closed.

    Attributes:
        deadline: until when what is awaited has to come.
        exchanges: how many requests went out.
        has_input: whether anything has come that nobody asked for, the end included.
    """

    def __init__(
        self, stream: ByteStream, server: str, watchdog: Watchdog, limits: Limits, closed: Callable[[Caller], None]
    ) -> None:
        self.deadline = math.inf
        self.exchanges = 0
        self.has_input: Callable[[], bool] = stream.has_input if isinstance(stream, NetworkStream) else _unseen
        self._stream = stream
        self._server = server
        self._watchdog = watchdog
        self._limits = limits
        self._on_close = closed
        self._late = ("", 0.0)
        self._expired = False
        self._end = ""
        self._fit = True
        self._answered = False
        self._heads = HeadReader(limits.head_bytes)
        self._body: Body = SizedBody(0)
        self._rest = b""
        watchdog.add(self)

    # What it is like

    @property
    def complete(self) -> bool:
        """Whether the whole answer has been read."""
        return self._body.complete

    @property
    def fit(self) -> bool:
        """Whether another request can go out on it, by what has been read so far."""
        whole = self._body.complete and not self._body.excess and not self._rest
        return self._fit and whole and not self._end

    @property
    def given_up(self) -> bool:
        """Whether the server ended it, kept from an earlier request, without a byte of an answer to the last one."""
        return self.exchanges > 1 and not self._answered and not self._end

    # Deadlines

    def expect(self, late: str, seconds: float, *, by: float | None = None) -> None:
        """Something has to happen within so many seconds, until `relax`.

        Args:
            late: says what went wrong if it does not, with ``{:g}`` for the seconds.
            seconds: how long it may take.
            by: Trio's time at which they are over; from now on if left out.
        """
        self.deadline = trio.current_time() + seconds if by is None else by
        self._late = late, seconds
        if self.deadline < self._watchdog.next_look:
            self._watchdog.hurry(self.deadline)

    def relax(self) -> None:
        """Nothing is awaited."""
        self.deadline = math.inf

    async def expire(self) -> None:
        """Something is late: close the connection, which ends whoever waits for it."""
        late, seconds = self._late
        self._expired = True
        await self.aclose(late.format(seconds))

    # An exchange

    async def send(self, head: bytes, body: bytes) -> None:
        """Send a request, as fast as the server takes it.

        A server that stops reading may have answered already: that is no error here, but `read_head` may have one.

        Raises:
            ConnectionEnded: the server took nothing for ``limits.write_progress`` seconds.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self.exchanges += 1
        self._answered = self._fit = False
        self._body = EndlessBody()  # until the head says otherwise
        data = head + body
        try:
            sent = self._stream.send_nowait(data)
            while sent < len(data):
                self.expect(_STUCK, self._limits.write_progress)
                sent += await self._stream.wait_send(memoryview(data)[sent : sent + self._limits.write_bytes])
        except _GONE as error:
            if self._end:
                raise self._ended() from error
            return
        finally:
            self.relax()
        self._fit = True

    async def read_head(self, method: str) -> ResponseHead:
        """Wait for the answer's head; `expect` it before.

        Args:
            method: of the request.

        Raises:
            ConnectionEnded: the connection has ended, or the head was late.
            RemoteProtocolError: it is none.
        """
        head = None
        while head is None:
            data = await self._receive()
            if not data:
                raise self._ended()
            self._answered = True
            try:
                head = self._heads.feed(data)
            except RemoteProtocolError as error:
                raise self._rubbish(error) from error
        self._fit = self._fit and head.reusable
        self._body = head.body(method, self._limits.head_bytes)
        self._rest, self._heads.rest = self._heads.rest, b""
        return head

    async def read(self) -> bytes:
        """The next piece of the answer's body, which may be empty; see ``complete``. `expect` it before.

        Raises:
            ConnectionEnded: the connection has ended before the answer did, or was late.
            RemoteProtocolError: what comes is no body.
        """
        if self._body.fault is not None:
            raise self._rubbish(self._body.fault)
        if self._rest:
            data, self._rest = self._rest, b""
        else:
            data = await self._receive()
            if not data:
                self._fit = False
                if not self._body.end():
                    raise self._ended()
                return b""
        return self._body.feed(data)

    async def read_into(self, body: bytearray, most: int) -> None:
        """Add the rest of the body, until there is more than ``most``; raises as `read` does."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self.complete and len(body) <= most:
            self.expect(_SILENT, self._limits.upstream_silence)
            body += await self.read()
        self.relax()

    async def skip(self) -> None:
        """Read the rest of the body and drop it; raises as `read` does."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self.complete:
            self.expect(_SILENT, self._limits.upstream_silence)
            await self.read()
        self.relax()

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(_RECEIVE_BYTES))
        except _GONE as error:
            raise self._ended("the connection was reset") from error

    # The end

    async def aclose(self, why: str = "closed on this side") -> None:
        """Close it now, which waits for nothing and ends whoever waits for it.

        Args:
            why: what they are told.
        """
        if self._end:
            return
        self._end = why
        self._watchdog.remove(self)
        self._on_close(self)
        await close_now(self._stream)

    def _ended(self, how: str = "ended before the answer did") -> ConnectionEnded:
        kind = ServerSilent if self._expired else ConnectionEnded
        return kind(cause=f"{self._server}: {self._end or how}")

    def _rubbish(self, error: RemoteProtocolError) -> RemoteProtocolError:
        self._fit = False
        return RemoteProtocolError(f"{self._server} does not speak HTTP: {error}")


def _unseen() -> bool:
    """Of a stream that cannot be looked at without reading."""
    return False
