"""Plain HTTP as a way to the server, where no WebSocket is to be had: each request is a POST with a stream of events.

Requests, events and errors are the same. The server remembers nothing between two requests but what it stores, and
leaving a request closes its connection, which is how HTTP cancels it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import trio

from agentwire.link.dialling import Dialler
from agentwire.link.exchange import Exchange
from agentwire.link.lanes import Lane, Lanes
from agentwire.link.outcome import Fate, RequestLost
from agentwire.link.posting import Heard, error_event, hear
from agentwire.link.steering import Steer, SteerRefused
from agentwire.link.way import LinkStatistics
from agentwire.protocol.codec import encode_json, to_wire
from agentwire.protocol.errors import ConnectionEnded, LocalProtocolError, RemoteProtocolError, RequestError
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest
from agentwire.runtime.groups import open_flat_nursery
from agentwire.transport.dial import ConnectFailed
from agentwire.transport.http_client import HttpClient, HttpStatusError, Unreachable, open_http_client

__all__ = ["HttpWay", "open_http_way"]

_log = logging.getLogger("agentwire.link")

_RESOURCE: Final = "/responses"
_SOCKET_ONLY: Final = ("type", "stream_id", "generate")
_NO_WARM_UP: Final = RequestError(
    400,
    "unsupported_parameter",
    "a connection over HTTP remembers nothing, so it cannot be warmed up",
    param="generate",
)


class HttpWay:
    """A server over plain HTTP; made by `open_http_way`, which also closes it.

    Attributes:
        number: counts the ways of one line, from 1.
        lanes: its lanes: requests on one go one after the other, like on a WebSocket.
        lasts: seconds after which a WebSocket should be tried again.
        ended: how it ended; None while it is open.
        lost_since: Trio's time since when the server could not be reached; None while it can.
        limits: the bounds in force.
    """

    remembers: Final = False
    can_cancel: Final = False

    def __init__(
        self,
        http: HttpClient,
        limits: Limits,
        nursery: trio.Nursery,
        *,
        number: int,
        lasts: float,
        reserved: AbstractSet[str],
        unreachable: Callable[[], None],
    ) -> None:
        self.number = number
        self.limits = limits
        self.lasts = lasts
        self.lanes = Lanes(limits.lanes, limits.running, reserved)
        self.ended: ConnectionEnded | None = None
        self.lost_since: float | None = None
        self._http = http
        self._nursery = nursery
        self._unreachable = unreachable
        self._retired = ""
        self._open: set[Exchange] = set()
        self._empty = trio.lowlevel.ParkingLot()
        self._over = trio.Event()
        self._changed: Callable[[], None] = _nothing
        self._heard = Heard()
        self._bytes_out = 0

    @property
    def retiring(self) -> bool:
        """Whether to ask nothing more here: the server could not be reached, or another way has taken its place."""
        return bool(self._retired)

    @property
    def interrupted(self) -> bool:
        """Whether a request could not be sent."""
        return self.lost_since is not None

    # Requests

    @asynccontextmanager
    async def exchange(self, request: CreateRequest, *, lane: Lane | None = None) -> AsyncGenerator[Exchange]:
        """Send a request and have its events, as a context. Leaving it early closes the request's connection.

        Args:
            request: what to ask; ``stream_id`` names its lane, None takes one that is free.
            lane: a lane that the caller holds, for several requests in a row.

        Raises:
            RequestLost: this way has ended, or takes no more requests: never sent.
            LocalProtocolError: the request is larger than ``limits.body_bytes``, or names one lane too many.
        """
        held = await self._acquire(request) if lane is None else lane
        try:
            async with self._exchange(request, held) as exchange:
                yield exchange
        finally:
            if lane is None:
                self.lanes.release(held)

    async def _acquire(self, request: CreateRequest) -> Lane:
        try:
            return await self.lanes.acquire(request.stream_id)
        except ConnectionEnded as end:
            raise RequestLost(end, fate=Fate.NEVER_SENT) from None

    @asynccontextmanager
    async def _exchange(self, request: CreateRequest, lane: Lane) -> AsyncGenerator[Exchange]:
        body = self._body(request)
        try:
            await self.lanes.quiet(lane)
        except ConnectionEnded as end:
            raise RequestLost(end, fate=Fate.NEVER_SENT) from None
        exchange = Exchange(lane, limit=self.limits.turn_buffer_bytes)
        scope = trio.CancelScope()
        lane.current = exchange
        self._open.add(exchange)
        self._nursery.start_soon(self._ask, exchange, request, body, scope, name="http request")
        try:
            yield exchange
        finally:
            exchange.leave()
            scope.cancel(reason="the request was left")
            self._open.discard(exchange)
            self._settle(exchange)
            if not self._open:
                self._empty.unpark_all()

    def _body(self, request: CreateRequest) -> bytes:
        wire: dict[str, Any] = to_wire(request)
        body = encode_json({name: wire[name] for name in wire if name not in _SOCKET_ONLY} | {"stream": True})
        if len(body) > self.limits.body_bytes:
            raise LocalProtocolError(
                f"the request has {len(body)} bytes, and it may have {self.limits.body_bytes}; "
                "send less, or files by URL"
            )
        return body

    async def _ask(self, exchange: Exchange, request: CreateRequest, body: bytes, scope: trio.CancelScope) -> None:
        """Send a request and give its events to the exchange; whatever goes wrong is its reader's to hear."""
        with scope:
            if request.generate:
                await self._hear(exchange, body)
            else:
                exchange.finish(encode_json(_NO_WARM_UP.event()))
                await trio.lowlevel.checkpoint()
            self._settle(exchange)

    async def _hear(self, exchange: Exchange, body: bytes) -> None:
        try:
            await self._post(exchange, body)
        except HttpStatusError as error:
            exchange.finish(error_event(error))
        except Unreachable as end:
            self._lose_server(end)
            exchange.lose(end)
        except ConnectionEnded as end:
            exchange.lose(end)
        except RemoteProtocolError as error:
            _log.warning("a request over HTTP given up: %s", error)
            exchange.lose(ConnectionEnded(cause=str(error)))

    async def _post(self, exchange: Exchange, body: bytes) -> None:
        async with self._http.stream_sse(_RESOURCE, json=body, leaving=exchange.taken) as stream:
            self._bytes_out += len(body)
            await hear(stream, exchange, self._heard, grace=self.limits.close_grace)

    def _settle(self, exchange: Exchange) -> None:
        if exchange.lane.current is exchange:
            self.lanes.settle(exchange.lane)

    def _lose_server(self, end: ConnectionEnded) -> None:
        if self.lost_since is None:
            self.lost_since = trio.current_time()
            self._unreachable()
            self.retire(str(end))
            self._changed()

    async def steer(self, exchange: Exchange, given: Any, wire: Any) -> Steer:
        """A request over HTTP cannot be steered.

        Raises:
            SteerRefused: always.
        """
        await trio.lowlevel.checkpoint()
        raise SteerRefused("steering_not_supported", "a response over HTTP cannot be steered", given=given)

    def cancel(self, exchange: Exchange) -> None:
        """Nothing: HTTP cancels a request by leaving it."""

    # Its life

    def watch(self, told: Callable[[], None]) -> None:
        """Have something called, plainly, when the server cannot be reached any more."""
        self._changed = told

    def retire(self, cause: str) -> None:
        """Take no more requests; those that wait for a lane are told that they were never sent.

        Args:
            cause: what they are told.
        """
        self._retired = self._retired or cause
        self.lanes.close(ConnectionEnded(cause=cause))

    async def drained(self) -> None:
        """Wait until no request is open."""
        await trio.lowlevel.checkpoint()
        while self._open:
            await self._empty.park()

    async def wait_ended(self) -> ConnectionEnded:
        """Wait until it is closed; it never ends by itself."""
        await self._over.wait()
        assert self.ended is not None
        return self.ended

    async def close(self) -> None:
        """Close it; requests that still run are told."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.ended is not None:
            return
        self.ended = ConnectionEnded(cause="closed on this side")
        for exchange in self._open:
            exchange.lose(self.ended)
        self.lanes.close(self.ended)
        self._over.set()

    def statistics(self) -> LinkStatistics:
        """Queues and totals at this moment; bytes are those of bodies and events."""
        return LinkStatistics(
            connections=self._http.statistics().opened,
            lanes=len(self.lanes),
            running=sum(lane.current is not None for lane in self.lanes),
            waiting=self.lanes.waiting,
            buffered_bytes=sum(exchange.buffered_bytes for exchange in self._open),
            unsent_bytes=0,
            bytes_in=self._heard.bytes,
            bytes_out=self._bytes_out,
            events=self._heard.events,
            keepalives=self._heard.keepalives,
            unexpected=0,
        )


@asynccontextmanager
async def open_http_way(
    dialler: Dialler,
    *,
    number: int = 1,
    lasts: float,
    reserved: AbstractSet[str] = frozenset(),
    unreachable: Callable[[], None] | None = None,
) -> AsyncGenerator[HttpWay]:
    """Open a way over plain HTTP, its first connection included; they are closed when the context is left.

    Args:
        dialler: knows where the server is, and what it wants to be told.
        number: counts the ways of one line.
        lasts: seconds after which a WebSocket should be tried again.
        reserved: names of lanes that somebody has over all ways.
        unreachable: told when a request finds nobody there any more.

    Raises:
        ConnectFailed: nobody could be reached.
    """
    address, limits = dialler.address, dialler.limits
    async with open_http_client(
        address.base_url,
        headers=dict(dialler.headers),
        limits=_http_limits(limits),
        tls=dialler.tls,
        unix_path=address.path or None,
        connector=dialler.connector,
        proxy=dialler.proxy,
    ) as http:
        try:
            await http.connect()
        except Unreachable as end:
            final = isinstance(end.__cause__, ConnectFailed) and end.__cause__.final
            raise ConnectFailed(str(address), end.cause, final=final) from end
        async with open_flat_nursery() as nursery:
            told = unreachable or _nothing
            way = HttpWay(http, limits, nursery, number=number, lasts=lasts, reserved=reserved, unreachable=told)
            try:
                yield way
            finally:
                await way.close()  # noqa: ASYNC102 - it waits for nothing
                nursery.cancel_scope.cancel(reason="the way over HTTP was left")


def _http_limits(limits: Limits) -> Limits:
    """A client's own deadlines and sizes, as its HTTP client calls them."""
    return attrs.evolve(
        limits,
        upstream_first_event=limits.first_event,
        upstream_silence=limits.event_silence,
        message_bytes=limits.response_bytes,
    )


def _nothing() -> None:
    """Nobody wants to know."""
