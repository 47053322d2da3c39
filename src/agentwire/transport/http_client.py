"""HTTP from the client's side, on httpx2: the only module that imports it.

A request gives its whole response, a stream of server-sent events its payloads in batches, as they arrive. Whatever
goes wrong is one of three errors: the server answered with a status, it broke the rules, or the connection ended.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from ipaddress import ip_address
from typing import Any, NamedTuple, Self

import httpx2
import msgspec
import trio

from agentwire._version import __version__
from agentwire.protocol.errors import AgentwireError, ConnectionEnded, LocalProtocolError, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.transport.sse import SseParser

__all__ = ["HttpClient", "HttpReply", "HttpStatusError", "SseStream", "open_http_client"]

_DONE = b"[DONE]"
_EVENT_STREAM = "text/event-stream"


class HttpReply(NamedTuple):
    """A whole response; header names are in lower case, of repeated headers only the values joined by commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpStatusError(AgentwireError):
    """The server answered, but not with success.

    Args:
        status: the HTTP status, 300 or more.
        body: the response's body, cut at ``limits.reply_bytes``.
        headers: names in lower case.
    """

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        super().__init__(status, body, headers)
        self.status = status
        self.body = body
        self.headers = dict(headers)

    def __str__(self) -> str:
        said = self.body[:500].decode(errors="replace").strip()
        return f"the server answered with HTTP {self.status}{': ' if said else ''}{said}"


class SseStream:
    """The payloads of one event stream, one by one or in batches; ends at ``[DONE]``, or where the body does.

    Cancelling a read ends it: what was cut off cannot be read any more.

    Attributes:
        status: the HTTP status, below 300.
        headers: names in lower case.
        done: True once ``[DONE]`` was read: the server has said everything.
    """

    def __init__(self, response: httpx2.Response, chunks: AsyncIterator[bytes], parser: SseParser, server: str) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = dict(response.headers)
        self.done = False
        self._chunks = chunks
        self._parser = parser
        self._server = server
        self._ready: deque[bytes] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next payload; waits only if none is here, so a loop over what arrived together has no checkpoint."""
        if not self._ready:
            self._ready.extend(await self._read_batch())
        if not self._ready:
            raise StopAsyncIteration
        return self._ready.popleft()

    async def batch(self) -> list[bytes]:
        """Everything that has arrived, at least one payload; empty at the end.

        Raises:
            ConnectionEnded: the connection broke, or nothing came for ``limits.upstream_silence`` seconds.
            RemoteProtocolError: an event is larger than ``limits.message_bytes``.
        """
        if self._ready:
            batch = list(self._ready)
            self._ready.clear()
            return batch
        return await self._read_batch()

    async def _read_batch(self) -> list[bytes]:
        while not self.done:
            with _errors_of(self._server):
                chunk = await anext(self._chunks, None)
            if chunk is None:
                return []
            if payloads := self._parser.feed(chunk):
                if _DONE in payloads:
                    self.done = True
                    del payloads[payloads.index(_DONE) :]
                if payloads:
                    return payloads
        await trio.lowlevel.checkpoint()
        return []

    async def drain(self) -> None:
        """Read the body's end, so that its connection can be used again; whatever comes is dropped."""
        with _errors_of(self._server):
            async for _ in self._chunks:
                pass


class HttpClient:
    """Requests to one server, over connections that are kept; made by `open_http_client`."""

    def __init__(self, client: httpx2.AsyncClient, limits: Limits) -> None:
        self._client = client
        self._limits = limits
        self._server = f"{client.base_url.scheme}://{client.base_url.netloc.decode('ascii')}"

    async def request(
        self, method: str, path: str, *, json: Any = None, headers: Mapping[str, str] | None = None
    ) -> HttpReply:
        """Send a request and read the whole answer. Cancelling it closes its connection.

        Args:
            path: below the base URL.
            json: the body, unless it is None; bytes are sent as they are.

        Raises:
            HttpStatusError: the answer's status is 300 or more.
            ConnectionEnded: there is no connection, or it ended before the answer did.
            RemoteProtocolError: the answer is no HTTP, or larger than ``limits.body_bytes``.
        """
        body = bytearray()
        async with self._exchange(method, path, json, headers) as response:
            await self._read(response, body, self._limits.body_bytes)
        if len(body) > self._limits.body_bytes:
            raise RemoteProtocolError(f"{self._server} answered with more than {self._limits.body_bytes} bytes")
        return HttpReply(response.status_code, dict(response.headers), bytes(body))

    @asynccontextmanager
    async def stream_sse(
        self,
        path: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
        repeat: bool = False,
    ) -> AsyncGenerator[SseStream]:
        """Send a request whose answer is an event stream. Leaving the block before its end closes the connection.

        Args:
            path: below the base URL.
            json: as for `request`.
            headers: besides those of every request.
            method: the HTTP method.
            repeat: the request may reach the server twice: send it again if a connection that was kept from an earlier
                request ends without a byte of an answer. Some servers give kept connections up at any moment.

        Raises:
            HttpStatusError: as `request` does.
            ConnectionEnded: as `request` does, here and while reading.
            RemoteProtocolError: as `request` does, and if the answer is no event stream.
        """
        accepted = {"accept": _EVENT_STREAM, **(headers or {})}
        async with self._exchange(method, path, json, accepted, repeat=repeat) as response:
            kind = response.headers.get("content-type", _EVENT_STREAM)
            if kind.partition(";")[0].strip().lower() != _EVENT_STREAM:
                raise RemoteProtocolError(f"{self._server} answered with {kind} instead of {_EVENT_STREAM}")
            async with _closing(response.aiter_raw()) as chunks:
                stream = SseStream(response, chunks, SseParser(self._limits.message_bytes), self._server)
                yield stream
                if stream.done:
                    with trio.move_on_after(self._limits.close_grace), suppress(AgentwireError):
                        await stream.drain()

    @asynccontextmanager
    async def _exchange(
        self, method: str, path: str, json: Any, headers: Mapping[str, str] | None, *, repeat: bool = False
    ) -> AsyncGenerator[httpx2.Response]:
        """A response whose head says success, and whose body is still to be read."""
        sent = dict(headers or {})
        body: bytes | None = None
        if json is not None:
            body = json if isinstance(json, bytes) else msgspec.json.encode(json)
            sent |= {"content-type": "application/json", "content-length": str(len(body))}
        with _errors_of(self._server):
            response = await self._send(method, path, body, sent, repeat=repeat)
        try:
            if response.status_code >= 300:
                raise await self._failure(response)
            if (coding := response.headers.get("content-encoding", "identity")) != "identity":
                raise RemoteProtocolError(f"{self._server} answered in {coding}, although asked for no compression")
            yield response
        finally:
            await response.aclose()  # noqa: ASYNC102 - httpx2 shields it and waits for nothing

    async def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], *, repeat: bool
    ) -> httpx2.Response:
        """Send a request as often as it takes; every kept connection that fails it is one less."""
        while True:  # noqa: ASYNC913 - each round sends
            content: bytes | AsyncGenerator[bytes] | None = body
            if body is not None and len(body) > self._limits.write_bytes:
                content = _pieces(body, self._limits.write_bytes)
            dialled = _Dialled()
            extensions = {"trace": dialled} if repeat else {}
            request = self._client.build_request(method, path, content=content, headers=headers, extensions=extensions)
            try:
                return await self._client.send(request, stream=True)
            except (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError) as error:
                given_up = not isinstance(error, httpx2.RemoteProtocolError) or _is_end(error)
                if not (repeat and given_up) or dialled.yes:
                    raise

    async def _failure(self, response: httpx2.Response) -> HttpStatusError:
        """The error that an answer is, with as much of its body as comes."""
        body = bytearray()
        with suppress(AgentwireError):
            await self._read(response, body, self._limits.reply_bytes)
        return HttpStatusError(response.status_code, bytes(body[: self._limits.reply_bytes]), dict(response.headers))

    async def _read(self, response: httpx2.Response, body: bytearray, limit: int) -> None:
        """Add the rest of an answer to ``body``, until it is larger than ``limit``."""
        with _errors_of(self._server):
            async with _closing(response.aiter_raw()) as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) > limit:
                        break


@asynccontextmanager
async def open_http_client(
    base_url: str,
    *,
    headers: Mapping[str, str] | None = None,
    limits: Limits,
    tls: ssl.SSLContext | None = None,
    unix_path: str | None = None,
) -> AsyncGenerator[HttpClient]:
    """Open a client for one server; its connections are closed when the block is left.

    The environment's proxy settings are obeyed, but never for this machine itself.

    Args:
        base_url: ``http://`` or ``https://``; the paths of requests are added to it.
        headers: for every request, such as ``authorization``.
        limits: deadlines and sizes.
        tls: for ``https``; the system's trust store if left out.
        unix_path: a Unix socket to connect to, whatever the host in ``base_url`` is.

    Raises:
        ValueError: ``base_url`` is no HTTP URL.
    """
    url = httpx2.URL(base_url)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"base_url must begin with http:// or https:// and a host, not {base_url!r}")
    verify = tls if tls is not None else url.scheme == "https"
    pool = httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=limits.idle)
    transport = httpx2.AsyncHTTPTransport(verify=verify, uds=unix_path, limits=pool) if unix_path else None
    async with httpx2.AsyncClient(
        base_url=url,
        headers={"user-agent": f"agentwire/{__version__}", "accept-encoding": "identity", **(headers or {})},
        verify=verify,
        limits=pool,
        timeout=httpx2.Timeout(
            connect=limits.handshake, read=limits.upstream_silence, write=limits.write_progress, pool=None
        ),
        transport=transport,
        trust_env=not _is_here(url.host),
    ) as client:
        yield HttpClient(client, limits)


async def _pieces(body: bytes, size: int) -> AsyncGenerator[bytes]:  # noqa: ASYNC124, ASYNC900, ASYNC911
    """A body in pieces, so that the deadline on a write is one on progress; httpx2 takes no other iterator."""
    for start in range(0, len(body), size):
        yield body[start : start + size]  # noqa: ASYNC911 - it waits for nothing


@asynccontextmanager
async def _closing(chunks: AsyncGenerator[bytes]) -> AsyncGenerator[AsyncGenerator[bytes]]:
    """Iterate over a body, and end every generator beneath it.

    Closing the outermost one would leave the one of the connection pool to the garbage collector, and Trio would
    complain; a cancelled read goes through them all.
    """
    try:
        yield chunks
    finally:
        with trio.CancelScope() as scope, suppress(httpx2.HTTPError):  # noqa: ASYNC100 - it may wait for the network
            scope.cancel(reason="the rest of the answer is not wanted")
            async for _ in chunks:  # noqa: ASYNC102 - cancelled, it waits for nothing
                pass


@contextmanager
def _errors_of(server: str) -> Iterator[None]:
    """Turn errors of httpx2 into ours."""
    try:
        yield
    except httpx2.TimeoutException as error:
        raise ConnectionEnded(cause=f"{server}: {_LATE.get(type(error), 'too slow')}") from error
    except httpx2.RemoteProtocolError as error:
        if _is_end(error):
            raise ConnectionEnded(cause=f"{server}: ended before the answer did") from error
        raise RemoteProtocolError(f"{server} does not speak HTTP: {error}") from error
    except httpx2.LocalProtocolError as error:
        raise LocalProtocolError(f"this request cannot be sent: {error}") from error
    except httpx2.TransportError as error:
        raise ConnectionEnded(cause=f"{server}: {_reason(error)}") from error


def _is_end(error: httpx2.RemoteProtocolError) -> bool:
    """Whether a connection ended within a response, which is told apart by its message alone."""
    return str(error).startswith(("Server disconnected", "peer closed connection", "peer unexpectedly closed"))


class _Dialled:
    """Notes whether a request opened a connection of its own."""

    def __init__(self) -> None:
        self.yes = False

    async def __call__(self, event: str, _: Mapping[str, Any]) -> None:
        self.yes = self.yes or ".connect_" in event


_LATE = {
    httpx2.ConnectTimeout: "could not connect in time",
    httpx2.ReadTimeout: "silent for too long",
    httpx2.WriteTimeout: "took nothing for too long",
}


def _reason(error: BaseException) -> str:
    """What went wrong, from the first of an error's causes that says it."""
    cause: BaseException | None = error
    while cause is not None:
        if said := str(cause):
            return said
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
