"""One connection of a client: requests go out over it, and each gets its own events back.

One task reads and never waits for anybody, one writes, one listens for life. However the connection ends, every request
on it is told how, and how far it had come.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import attrs
import trio

from agentwire.link.address import Address, find_key
from agentwire.link.exchange import Exchange
from agentwire.link.flow import Flow
from agentwire.link.lanes import Lane, Lanes
from agentwire.link.outcome import Fate, RequestLost
from agentwire.link.outgoing import Outgoing
from agentwire.link.switch import Switch
from agentwire.protocol.codec import encode_create
from agentwire.protocol.errors import ConnectionEnded, LocalProtocolError, RemoteProtocolError
from agentwire.protocol.hello import CANCEL_EXTENSION, GOAWAY_EXTENSION, HEADER, Goaway, encode_cancel
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest
from agentwire.runtime.contracts import ByteStream
from agentwire.runtime.groups import open_flat_nursery
from agentwire.transport.websocket import WebSocketWire, client_framing, open_client_wire

__all__ = ["Connector", "Link", "LinkStatistics", "open_link"]

_log = logging.getLogger("agentwire.link")

_ASKED: Final = f"{CANCEL_EXTENSION}, {GOAWAY_EXTENSION}"

Connector = Callable[[], Awaitable[ByteStream]]
"""Opens the byte stream of a connection, instead of dialling the address."""


@attrs.frozen
class LinkStatistics:
    """A snapshot of one connection.

    Attributes:
        lanes: lanes used so far, the default lane among them.
        running: requests whose events may still come, abandoned ones among them.
        waiting: requests that wait for a lane.
        buffered_bytes: events that wait to be read.
        unsent_bytes: requests that wait to be written.
        bytes_in: bytes that came from the server.
        bytes_out: bytes that went there.
        events: events that came.
        keepalives: those among them that only said that a response still runs.
        unexpected: those among them that fitted no request.
    """

    lanes: int
    running: int
    waiting: int
    buffered_bytes: int
    unsent_bytes: int
    bytes_in: int
    bytes_out: int
    events: int
    keepalives: int
    unexpected: int


class _Note:
    """A message that is nobody's request."""

    def taken(self) -> None:
        """The wire has it."""


class Link:
    """An open connection; made by `open_link`, which also closes it.

    Attributes:
        address: where it leads.
        limits: the bounds in force.
        ended: how it ended; None while it is open.
    """

    def __init__(self, wire: WebSocketWire, address: Address, limits: Limits, *, relaying: bool = False) -> None:
        self.address = address
        self.limits = limits
        self.ended: ConnectionEnded | None = None
        self.lanes = Lanes(limits.lanes, limits.running)
        self._wire = wire
        self._outgoing = Outgoing(limits.queued_bytes)
        self._switch = Switch(self.lanes, probing=relaying)
        self._flow = Flow(limits.relay_bytes, limits.turn_buffer_bytes) if relaying else None
        self._over = trio.Event()

    # Requests

    @asynccontextmanager
    async def exchange(self, request: CreateRequest, *, lane: Lane | None = None) -> AsyncGenerator[Exchange]:
        """Send a request and have its events, as a context.

        Waits for the request's lane and for room to send. Leaving the context before the last event abandons the
        request: it is cancelled where the server has the extension for that, and goes on elsewhere (the protocol knows
        no cancel event); nobody sees what it still says, and the lane is free for others when it is done. A request
        that has not left yet is withdrawn.

        Args:
            request: what to ask; ``stream_id`` names its lane, None takes one that is free.
            lane: a lane that the caller holds, for several requests in a row.

        Raises:
            RequestLost: the connection has ended, or the server has announced its end: never sent.
            LocalProtocolError: the request is larger than ``limits.message_bytes``, or names one lane too many.
        """
        held = await self._acquire(request) if lane is None else lane
        try:
            request = attrs.evolve(request, stream_id=held.name)
            async with self.relay(encode_create(request), lane=held) as exchange:
                yield exchange
        finally:
            if lane is None:
                self.lanes.release(held)

    @asynccontextmanager
    async def relay(self, message: bytes, *, lane: Lane) -> AsyncGenerator[Exchange]:
        """Send a request that is made already, and have its events; otherwise like `exchange`.

        Args:
            message: a ``response.create`` that names the lane.
            lane: a lane that the caller holds.

        Raises:
            RequestLost: the connection has ended, or the server has announced its end: never sent.
            LocalProtocolError: the message is larger than ``limits.message_bytes``.
        """
        exchange = Exchange(lane, limit=self.limits.turn_buffer_bytes, flow=self._flow)
        try:
            await self._send(exchange, message)
            yield exchange
        finally:
            self._leave(exchange)

    async def _acquire(self, request: CreateRequest) -> Lane:
        try:
            return await self.lanes.acquire(request.stream_id, after=request.previous_response_id)
        except ConnectionEnded as end:
            raise RequestLost(end, fate=Fate.NEVER_SENT) from None

    async def _send(self, exchange: Exchange, data: bytes) -> None:
        if len(data) > self.limits.message_bytes:
            raise LocalProtocolError(
                f"the request has {len(data)} bytes, and a message may have {self.limits.message_bytes}; "
                "send less, or files by URL"
            )
        await self._outgoing.room(len(data))
        if self._switch.retiring is not None:
            end = ConnectionEnded(cause=f"the server takes no more requests on it: {self._switch.retiring.message}")
            raise RequestLost(end, fate=Fate.NEVER_SENT)
        if self.ended is not None:
            raise RequestLost(self.ended, fate=Fate.NEVER_SENT)
        exchange.lane.current = exchange
        self._outgoing.put(exchange, data)
        self._wire.kick()

    def _leave(self, exchange: Exchange) -> None:
        exchange.leave()
        if exchange.fate is Fate.NEVER_SENT:
            self._outgoing.withdraw(exchange)
            if exchange.lane.current is exchange:
                self.lanes.settle(exchange.lane)
        elif exchange.fate is Fate.STARTED and exchange.failing_since is None:
            self.cancel(exchange)
        elif exchange.fate is Fate.UNKNOWN:
            exchange.on_begin = self.cancel

    def cancel(self, exchange: Exchange) -> None:
        """Ask the server to cancel a response that has begun; it then ends as failed, unless it has ended by then.

        Nothing if the server has no such extension.
        """
        if not self.can_cancel or self.ended is not None:
            return
        if exchange.response_id is not None and exchange.fate is Fate.STARTED:
            self._outgoing.put(_Note(), encode_cancel(exchange.response_id))
            self._wire.kick()

    @property
    def can_cancel(self) -> bool:
        """Whether the server has the extension by which a response is cancelled."""
        return CANCEL_EXTENSION in self._switch.welcome.extensions

    @property
    def has_lanes(self) -> bool | None:
        """Whether the server knows lanes; None as long as nothing has shown it."""
        return self._switch.has_lanes

    @property
    def retiring(self) -> bool:
        """Whether the server has said that this connection is near its end: ask nothing more on it."""
        return self._switch.retiring is not None or self._switch.goaway is not None

    @property
    def slow(self) -> int:
        """Requests whose events are read more slowly than they come; always 0 where those are lost instead."""
        return self._flow.slow if self._flow is not None else 0

    def listen(self, told: Callable[[], None]) -> None:
        """Have something called, plainly, whenever the server has said something about the connection."""
        self._switch.on_news = told

    @property
    def goaway(self) -> Goaway | None:
        """The server's word that the connection will end soon, if it has said so: move before that."""
        return self._switch.goaway

    # Its life

    async def wait_ended(self) -> ConnectionEnded:
        """Wait until the connection is over; returns how it ended."""
        await self._over.wait()
        assert self.ended is not None
        return self.ended

    async def run(self) -> None:
        """Read, write and listen for life until the connection ends; `open_link` starts this."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, name="link writer")
            nursery.start_soon(self._beat, name="link pulse")
            await self._read()
            nursery.cancel_scope.cancel(reason="the connection is over")

    async def close(self) -> None:
        """Say goodbye (1000) and close, within ``limits.close_grace``; requests that still run are told."""
        self._end(ConnectionEnded(cause="closed on this side"))
        await self._wire.close(1000)

    async def abort(self, cause: str) -> None:
        """Cut the connection off at once; requests that still run are told."""
        self._end(ConnectionEnded(cause=cause))
        await self._wire.abort(cause)

    async def _read(self) -> None:
        flow = self._flow
        try:
            while True:
                self._switch.receive(await self._wire.receive())
                if flow is not None and flow.stuck:
                    await flow.go_on()
        except ConnectionEnded as end:
            self._end(end)
        except RemoteProtocolError as error:
            _log.warning("connection to %s given up: %s", self.address, error)
            self._end(ConnectionEnded(cause=str(error)))
            await self._wire.close(error.close_code, str(error)[:100])

    async def _write(self) -> None:
        with suppress(ConnectionEnded):  # the reader is told, too
            await self._wire.send_many(self._outgoing)

    async def _beat(self) -> None:
        """Ping a silent server, give up a dead one, and end responses that broke without an end."""
        limits, pinged = self.limits, trio.current_time()
        while True:
            now, heard = trio.current_time(), self._wire.last_heard
            dead, silent = heard + limits.ping_timeout, max(heard, pinged) + limits.ping_interval
            if self._flow is not None:
                dead = max(dead, self._flow.held + limits.ping_timeout)  # it was us who did not listen
            if now >= dead:
                await self._wire.abort(f"no sign of life for {limits.ping_timeout:g} s")
                return
            if now >= silent:
                self._wire.ping()
                pinged, silent = now, now + limits.ping_interval
            self._switch.expire(now - limits.close_grace)
            await trio.sleep_until(min(dead, silent, now + limits.close_grace))

    def _end(self, end: ConnectionEnded) -> None:
        if self.ended is not None:
            return
        self.ended = end
        _log.debug("connection to %s: %s", self.address, end)
        for lane in self.lanes:
            if lane.current is not None:
                lane.current.lose(end)
        self.lanes.close(end)
        self._outgoing.close()
        self._over.set()

    def statistics(self) -> LinkStatistics:
        """Queues and totals at this moment."""
        running = [lane.current for lane in self.lanes if lane.current is not None]
        wire, switch = self._wire.statistics(), self._switch
        unread = sum(exchange.buffered_bytes for exchange in running)
        return LinkStatistics(
            lanes=len(self.lanes),
            running=len(running),
            waiting=self.lanes.waiting,
            buffered_bytes=unread if self._flow is None else self._flow.waiting_bytes,
            unsent_bytes=self._outgoing.waiting_bytes,
            bytes_in=wire.bytes_in,
            bytes_out=wire.bytes_out,
            events=switch.events,
            keepalives=switch.keepalives,
            unexpected=switch.unexpected,
        )


@asynccontextmanager
async def open_link(
    url: str,
    *,
    key: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    tls: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    sources: Sources | None = None,
    connector: Connector | None = None,
    relaying: bool = False,
) -> AsyncGenerator[Link]:
    """Connect to a server's Responses WebSocket; the connection is closed when the context is left.

    The server is told (close code 1000) and has ``limits.close_grace`` seconds to answer; a cancellation cuts the
    connection off at once. Losing the connection raises nothing here: the requests
    on it are told, and `Link.wait_ended`.

    Args:
        url: see `Address.parse`.
        key: API key; see `find_key` for what is taken from the environment instead.
        headers: more headers for the upgrade request; an ``Authorization`` among them takes the place of the key.
        tls: trust other than the system's, for ``wss://`` and ``https://``.
        limits: bounds and deadlines.
        sources: randomness for masking frames.
        connector: opens the byte stream instead of dialling; for tests and proxies.
        relaying: events are read no faster than they are taken, instead of losing a turn that is read too slowly; and
            a server without lanes is found out by its first answer. For gateways.

    Raises:
        ConnectFailed: nobody could be reached.
        HandshakeRefused: the server answered, but not with a WebSocket; the text says what it said.
        ConnectionEnded: the server went away instead of answering, or said nothing within ``limits.handshake``.
        LocalProtocolError: the address or the key is not possible.
    """
    limits = limits or Limits()
    sources = sources or Sources.system()
    address = Address.parse(url)
    lines = _headers((*headers, (HEADER, _ASKED)), find_key(address, key, os.environ))
    stream = await (connector() if connector is not None else address.dial(tls=tls, limits=limits))
    framing = client_framing(sources.random.randbytes)
    async with open_client_wire(
        stream, host=address.authority, target=address.target, headers=lines, limits=limits, framing=framing
    ) as wire:
        link = Link(wire, address, limits, relaying=relaying)
        async with open_flat_nursery() as nursery:
            nursery.start_soon(link.run, name="link")
            try:
                yield link
            finally:
                await link.close()  # noqa: ASYNC102 - bounded; a cancellation cuts it short, and the socket off
            nursery.cancel_scope.cancel(reason="the link was left")


def _headers(headers: Sequence[tuple[str, str]], key: str | None) -> list[tuple[str, str]]:
    lines = list(headers)
    if key is not None and not any(name.lower() == "authorization" for name, _ in headers):
        lines.append(("Authorization", f"Bearer {key}"))
    for name, value in lines:
        if not (name + value).isascii() or not (name + value).isprintable():
            raise LocalProtocolError(f"the header {name!r} must be printable ASCII")
    return lines
