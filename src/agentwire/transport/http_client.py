"""HTTP from the client's side: a request gives its whole answer, a stream of server-sent events its payloads.

Whatever goes wrong is one of three errors: the server answered with a status, it broke the rules, or the connection
ended. Nothing stands between the bytes of a read and its payloads but the framing of the body and of the events, since
on a server's way from a model to its clients this is run for every token.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
import trio

from agentwire._version import __version__
from agentwire.protocol.checks import EMPTY
from agentwire.protocol.errors import AgentwireError, ConnectionEnded, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.runtime.groups import open_flat_nursery
from agentwire.transport.base_url import BaseUrl
from agentwire.transport.caller import Caller, ServerSilent
from agentwire.transport.event_stream import SseStream
from agentwire.transport.heads import RequestHeads, ResponseHead
from agentwire.transport.pool import Pool, PoolStatistics, Unreachable
from agentwire.transport.route import Connector, Route

__all__ = ["HttpClient", "HttpReply", "HttpStatusError", "ServerSilent", "SseStream", "Unreachable", "open_http_client"]

_EVENT_STREAM: Final = "text/event-stream"
_PAGE: Final = "text/html"
_NO_ANSWER: Final = "silent for too long: no answer within {:g} s"
_WITH_BODY: Final = ("POST", "PUT", "PATCH")
_OF_JSON: Final = {"content-type": "application/json"}


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


class HttpClient:
    """Requests to one server, over connections that are kept; made by `open_http_client`."""

    def __init__(self, base: BaseUrl, prefix: str, headers: Mapping[str, str], pool: Pool, limits: Limits) -> None:
        self._heads = RequestHeads(headers, lambda path: prefix + base.target(path))
        self._pool = pool
        self._limits = limits
        self._server = base.origin

    def statistics(self) -> PoolStatistics:
        """The connections at this moment."""
        return self._pool.statistics()

    async def connect(self) -> None:
        """Make a connection ahead of the first request, and keep it.

        Raises:
            Unreachable: there is none to be had.
        """
        await self._pool.warm()

    async def request(
        self, method: str, path: str, *, json: Any = None, headers: Mapping[str, str] | None = None
    ) -> HttpReply:
        """Send a request and read the whole answer. Cancelling it closes its connection.

        Args:
            method: such as ``GET``.
            path: below the base URL.
            json: the body, unless it is None; bytes are sent as they are.
            headers: besides those of every request.

        Raises:
            HttpStatusError: the answer's status is 300 or more.
            ConnectionEnded: there is no connection, or it ended before the answer did, or the answer was late.
            RemoteProtocolError: the answer is no HTTP, or larger than ``limits.body_bytes``.
        """
        caller, head = await self._exchange(method, *self._request(method, path, json, headers or EMPTY))
        try:
            body = bytearray()
            await caller.read_into(body, self._limits.body_bytes)
            if len(body) > self._limits.body_bytes:
                raise RemoteProtocolError(f"{self._server} answered with more than {self._limits.body_bytes} bytes")
            return HttpReply(head.status, head.headers, bytes(body))
        finally:
            await self._pool.give_back(caller)  # noqa: ASYNC102 - it waits for nothing

    def stream_sse(
        self,
        path: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
        repeat: bool = False,
        leaving: Callable[[], None] | None = None,
        or_json: bool = False,
    ) -> AbstractAsyncContextManager[SseStream]:
        """Send a request whose answer is an event stream. Leaving the block before its end closes the connection.

        Args:
            path: below the base URL.
            json: as for `request`.
            headers: besides those of every request.
            method: the HTTP method.
            repeat: the request may reach the server twice: send it again if a connection that was kept from an earlier
                request ends without a byte of an answer. Some servers give kept connections up at any moment.
            leaving: told when a connection is there, just before the first byte leaves.
            or_json: an answer that is JSON instead of a stream is one payload, and no error; and what begins like a
                stream is one, whatever type its server gives it, unless that is a page's.

        Raises:
            HttpStatusError: as `request` does.
            ConnectionEnded: as `request` does, here and while reading.
            RemoteProtocolError: as `request` does, and if the answer is no event stream.
        """
        accepted = {"accept": _EVENT_STREAM, **(headers or EMPTY)}
        request, body = self._request(method, path, json, accepted)
        exchange = partial(self._exchange, method, request, body, repeat=repeat, leaving=leaving)
        return _Streaming(exchange, self._pool, self._server, self._limits, or_json=or_json)

    async def _exchange(
        self,
        method: str,
        request: bytes,
        body: bytes,
        *,
        repeat: bool = False,
        leaving: Callable[[], None] | None = None,
    ) -> tuple[Caller, ResponseHead]:
        """A response whose head says success, and whose body is still to be read; give its connection back.

        The request is sent as often as it takes; every kept connection that fails it is one less.
        """
        while True:  # noqa: ASYNC913 - each round sends
            caller = await self._pool.take()
            if leaving is not None:
                leaving()
            try:
                await caller.send(request, body)
                caller.expect(_NO_ANSWER, self._limits.upstream_first_event)
                head = await caller.read_head(method)
                caller.relax()
                if head.status >= 300:
                    raise await self._failure(caller, head)
                if (coding := head.headers.get("content-encoding", "identity")) != "identity":
                    raise RemoteProtocolError(f"{self._server} answered in {coding}, although asked for no compression")
            except ConnectionEnded:
                again = repeat and caller.given_up
                await self._pool.give_back(caller)  # noqa: ASYNC120 - it waits for nothing
                if not again:
                    raise
            except BaseException:
                await self._pool.give_back(caller)  # noqa: ASYNC102, ASYNC120 - it waits for nothing
                raise
            else:
                return caller, head

    def _request(self, method: str, path: str, json: Any, headers: Mapping[str, str]) -> tuple[bytes, bytes]:
        """A request's head and body."""
        if json is None:
            return self._heads.head(method, path, headers, 0 if method in _WITH_BODY else None), b""
        body = json if isinstance(json, bytes) else msgspec.json.encode(json)
        return self._heads.head(method, path, {**headers, **_OF_JSON}, len(body)), body

    async def _failure(self, caller: Caller, head: ResponseHead) -> HttpStatusError:
        """The error that an answer is, with as much of its body as comes in time."""
        body = bytearray()
        with suppress(AgentwireError), trio.move_on_after(self._limits.upstream_silence):
            await caller.read_into(body, self._limits.reply_bytes)
        return HttpStatusError(head.status, bytes(body[: self._limits.reply_bytes]), head.headers)


class _Streaming(AbstractAsyncContextManager[SseStream]):
    """The block of `HttpClient.stream_sse`; a class, as a server's every turn has one."""

    __slots__ = ("_caller", "_exchange", "_limits", "_or_json", "_pool", "_server", "_stream")

    def __init__(
        self,
        exchange: Callable[[], Awaitable[tuple[Caller, ResponseHead]]],
        pool: Pool,
        server: str,
        limits: Limits,
        *,
        or_json: bool,
    ) -> None:
        self._exchange = exchange
        self._pool = pool
        self._server = server
        self._limits = limits
        self._or_json = or_json

    async def __aenter__(self) -> SseStream:
        first_by = trio.current_time() + self._limits.upstream_first_event
        caller, head = await self._exchange()
        if head.media_type not in (_EVENT_STREAM, None) and (head.media_type == _PAGE or not self._or_json):
            await self._pool.give_back(caller)
            raise RemoteProtocolError(f"{self._server} answered with {head.media_type} instead of {_EVENT_STREAM}")
        self._caller = caller
        self._stream = SseStream(caller, head, self._limits, first_by, or_json=self._or_json)
        return self._stream

    async def __aexit__(self, *_: object) -> None:
        await self._pool.give_back(self._caller, settle=self._stream.done)  # noqa: ASYNC102 - it waits for nothing


@asynccontextmanager
async def open_http_client(
    base_url: str,
    *,
    headers: Mapping[str, str] | None = None,
    limits: Limits,
    tls: ssl.SSLContext | None = None,
    unix_path: str | None = None,
    connector: Connector | None = None,
    proxy: str | None = "environment",
) -> AsyncGenerator[HttpClient]:
    """Open a client for one server; its connections are closed when the block is left.

    Args:
        base_url: ``http://`` or ``https://``; the paths of requests are added to its path, and a query that it has to
            theirs. A name and password in it are sent as ``authorization``.
        headers: for every request, such as ``authorization``.
        limits: deadlines and sizes.
        tls: for ``https``; the system's trust store if left out.
        unix_path: a Unix socket to connect to, without TLS, whatever the host in ``base_url`` is.
        connector: makes the connections instead, TLS included; the client closes them.
        proxy: the URL of a proxy, or None; the environment's settings if left out, which never count for this machine
            itself. With a Unix socket or a connector there is none.

    Raises:
        ValueError: ``base_url`` or the proxy's URL is none of HTTP.
        LocalProtocolError: the headers cannot be sent.
    """
    base = BaseUrl.parse(base_url)
    route = Route.to(base, tls=tls, unix_path=unix_path, connector=connector, proxy=proxy, limits=limits)
    standing = {"host": base.authority, "user-agent": f"agentwire/{__version__}", "accept-encoding": "identity"}
    if base.credentials:
        standing["authorization"] = base.credentials
    standing |= {**route.headers, **{name.lower(): value for name, value in (headers or {}).items()}}
    async with open_flat_nursery() as nursery:
        pool = Pool(route.dial, base.origin, limits, nursery)
        try:
            yield HttpClient(base, route.prefix, standing, pool, limits)
        finally:
            await pool.aclose()  # noqa: ASYNC102 - it waits for nothing
            nursery.cancel_scope.cancel(reason="the client is closed")
