"""A TCP relay on this machine that behaves like a longer link: round-trip time, bandwidth, counts, and a plug to pull.

Real sockets on both sides, bytes unchanged. A connect costs one round trip before its first byte passes; then each
byte takes half of one, at the bandwidth that all connections of a direction share. What is not modelled: TLS, slow
start, loss. Each direction of a connection holds a bounded number of pieces; then its sender waits.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final, Literal
from urllib.parse import urlsplit, urlunsplit

import attrs
import trio

__all__ = ["Cut", "Relay", "RelayStatistics", "open_relay"]

PIECE: Final = 16 * 1024
"""Most bytes that are read at once."""
PIECES: Final = 256
"""Pieces under way in one direction of one connection."""

Cut = Literal["reset", "close", "silence"]
"""How a connection is lost: RST to both sides, FIN to both sides, or nothing at all passes any more."""


@attrs.frozen(kw_only=True)
class RelayStatistics:
    """What has passed since the relay was opened.

    Attributes:
        connections: connections accepted.
        open: connections that are open now.
        bytes_up: bytes that clients have sent.
        bytes_down: bytes that the server has sent.
        exchanges: times that a client spoke after the server, or first: each is a wait of one round trip.
    """

    connections: int
    open: int
    bytes_up: int
    bytes_down: int
    exchanges: int

    @property
    def round_trips(self) -> int:
        """Round trips waited for: one for each connect, one for each exchange."""
        return self.connections + self.exchanges


@attrs.define(eq=False)
class _Direction:
    """What all connections share in one direction: the link's time, and the count."""

    latency: float
    bandwidth: float
    bytes: int = 0
    free_at: float = -math.inf

    def pass_on(self, size: int, ready_at: float) -> float:
        """Take bytes that the link may carry from ``ready_at`` on; returns when the last of them arrives."""
        self.bytes += size
        self.free_at = max(self.free_at, ready_at) + size / self.bandwidth
        return self.free_at + self.latency


@attrs.define(eq=False)
class _Passage:
    """One connection through the relay."""

    client: trio.SocketStream
    server: trio.SocketStream
    opened_at: float
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    client_spoke_last: bool = False
    silent: bool = False

    def cut(self, how: Cut) -> None:
        """Lose the connection, now."""
        if how == "silence":
            self.silent = True
        else:
            for stream in (self.client, self.server):
                _close(stream, reset=how == "reset")
        self.scope.cancel(reason=f"the relay cut the connection ({how})")


@attrs.define(eq=False)
class _Fuse:
    """A cut to come, so many bytes from now."""

    left: int
    how: Cut
    burnt: trio.Event = attrs.field(factory=trio.Event)

    def burn(self, data: bytes) -> bytes:
        """What may still pass of these bytes."""
        passed = data[: self.left]
        self.left -= len(passed)
        return passed


class Relay:
    """A relay that is running; made by `open_relay`."""

    def __init__(self, target: tuple[str, int], listener: trio.SocketListener, *, rtt: float, bandwidth: float) -> None:
        self._target = target
        self._address: tuple[str, int] = listener.socket.getsockname()[:2]
        self._rtt = rtt
        self._up = _Direction(rtt / 2, bandwidth)
        self._down = _Direction(rtt / 2, bandwidth)
        self._passages: set[_Passage] = set()
        self._connections = 0
        self._exchanges = 0
        self._fuse: _Fuse | None = None

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return self._address[1]

    def through(self, url: str) -> str:
        """The same URL, by way of this relay."""
        return urlunsplit(urlsplit(url)._replace(netloc=f"{self._address[0]}:{self.port}"))

    def statistics(self) -> RelayStatistics:
        """Counts at this moment."""
        return RelayStatistics(
            connections=self._connections,
            open=len(self._passages),
            bytes_up=self._up.bytes,
            bytes_down=self._down.bytes,
            exchanges=self._exchanges,
        )

    def cut(self, how: Cut = "reset") -> float:
        """Pull the plug: lose every open connection at once. New ones are taken as before.

        Returns:
            Trio's time at which it happened.
        """
        now = trio.current_time()
        for passage in tuple(self._passages):
            passage.cut(how)
            if not passage.silent:
                self._passages.discard(passage)
        return now

    def cut_after(self, count: int, how: Cut = "reset") -> trio.Event:
        """Pull the plug once so many more bytes have arrived, of all connections and in both directions.

        The last of these bytes still arrives. There is one such cut at a time: the next call takes its place.

        Returns:
            Set when it has happened.

        Raises:
            ValueError: ``count`` is not positive.
        """
        if count < 1:
            raise ValueError(f"a cut comes after 1 or more bytes, not after {count!r}")
        self._fuse = _Fuse(count, how)
        return self._fuse.burnt

    async def _accept(self, client: trio.SocketStream) -> None:
        """Serve one connection until both sides have ended it, or it was cut."""
        opened_at = trio.current_time()
        try:
            server = await trio.open_tcp_stream(*self._target)
        except OSError:
            _close(client, reset=True)
            return
        passage = _Passage(client, server, opened_at)
        self._connections += 1
        self._passages.add(passage)
        try:
            async with client, server:
                with passage.scope:
                    await self._carry_both(passage)
                if passage.silent:
                    await trio.sleep_forever()
        finally:
            self._passages.discard(passage)

    async def _carry_both(self, passage: _Passage) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry, passage, passage.client, passage.server, self._up)
                nursery.start_soon(self._carry, passage, passage.server, passage.client, self._down)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            passage.cut("reset")  # what one side suffered, the other one is told

    async def _carry(
        self, passage: _Passage, source: trio.SocketStream, sink: trio.SocketStream, direction: _Direction
    ) -> None:
        pieces_in, pieces_out = trio.open_memory_channel[tuple[float, bytes]](PIECES)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliver, pieces_out, sink)
            with pieces_in:
                data = b"begun"
                while data:
                    data = bytes(await source.receive_some(PIECE))
                    self._note(passage, data, client_speaks=direction is self._up)
                    ready_at = max(trio.current_time(), passage.opened_at + self._rtt)
                    await pieces_in.send((direction.pass_on(len(data), ready_at), data))

    async def _deliver(self, pieces: trio.MemoryReceiveChannel[tuple[float, bytes]], sink: trio.SocketStream) -> None:
        """Hand on each piece when it is due; an empty one is the end."""
        async for due, data in pieces:
            if due > trio.current_time():
                await trio.sleep_until(due)
            if data:
                await self._hand_on(data, sink)
            else:
                with suppress(trio.BrokenResourceError):
                    await sink.send_eof()

    async def _hand_on(self, data: bytes, sink: trio.SocketStream) -> None:
        fuse = self._fuse
        if fuse is None:
            await sink.send_all(data)
            return
        await sink.send_all(fuse.burn(data))
        if fuse.left == 0 and not fuse.burnt.is_set():
            self._fuse = None
            fuse.burnt.set()
            self.cut(fuse.how)

    def _note(self, passage: _Passage, data: bytes, *, client_speaks: bool) -> None:
        if data:
            self._exchanges += client_speaks and not passage.client_spoke_last
            passage.client_spoke_last = client_speaks


def _close(stream: trio.SocketStream, *, reset: bool) -> None:
    """Close a socket at once; with a reset, what was not yet delivered is lost, as when a cable is cut."""
    with suppress(OSError):
        if reset:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()


@asynccontextmanager
async def open_relay(host: str, port: int, *, rtt: float = 0.0, bandwidth: float = math.inf) -> AsyncGenerator[Relay]:
    """Open a relay on 127.0.0.1 to a server; every connection is cut when the block is left.

    Args:
        host: the server's.
        port: the server's.
        rtt: round-trip time in seconds.
        bandwidth: bytes a second, in each direction.

    Raises:
        ValueError: ``rtt`` is negative, or ``bandwidth`` not positive.
    """
    if not rtt >= 0 or not bandwidth > 0:
        raise ValueError(f"a link needs rtt >= 0 and bandwidth > 0, not {rtt!r} and {bandwidth!r}")
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    relay = Relay((host, port), listener, rtt=rtt, bandwidth=bandwidth)
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, relay._accept, [listener])
        yield relay
        relay.cut()
        nursery.cancel_scope.cancel(reason="the relay was closed")
