"""How a link opens a connection, the first one and those after it: the stream, the upgrade, and what it asks for.

Between two attempts it waits, longer each time and never quite as long as anybody else.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from agentwire.link.address import Address, find_key
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.hello import HEADER
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import ByteStream
from agentwire.transport.dial import ConnectFailed
from agentwire.transport.proxy import Proxy
from agentwire.transport.websocket import WebSocketWire, client_framing, open_client_wire

__all__ = ["Connector", "Dialler", "Header", "pauses"]

Header = tuple[str, str]

Connector = Callable[[], Awaitable[ByteStream]]
"""Opens the byte stream of a connection, instead of dialling the address."""

LEAST_SHARE: Final = 0.5
"""Of a pause, the part that is not left to chance."""


@attrs.frozen(kw_only=True)
class Dialler:
    """Opens connections to one server; made by `Dialler.of`.

    Attributes:
        address: where it is.
        headers: of the upgrade.
        tls: trust other than the system's.
        limits: deadlines.
        sources: randomness.
        connector: opens the byte stream instead of dialling.
        proxy: what was asked for: a URL, ``environment``, or None.
        tunnel: the proxy that tunnels its WebSockets, if there is one.
    """

    address: Address
    headers: tuple[Header, ...] = attrs.field(repr=False)
    tls: ssl.SSLContext | None
    limits: Limits
    sources: Sources
    connector: Connector | None
    proxy: str | None = attrs.field(repr=False)
    tunnel: Proxy | None

    @classmethod
    def of(
        cls,
        url: str,
        *,
        key: str | None,
        headers: Sequence[Header],
        tls: ssl.SSLContext | None,
        limits: Limits,
        sources: Sources,
        connector: Connector | None,
        proxy: str | None,
    ) -> Dialler:
        """What `agentwire.link.open_link` was given.

        Raises:
            LocalProtocolError: the address, the key, a header or the proxy is not possible.
        """
        address = Address.parse(url)
        lines = _headers(headers, find_key(address, key, os.environ))
        if connector is not None or address.path:
            proxy = None
        return cls(
            address=address,
            headers=lines,
            tls=tls,
            limits=limits,
            sources=sources,
            connector=connector,
            proxy=proxy,
            tunnel=_tunnel(proxy, address),
        )

    @asynccontextmanager
    async def connection(self, asks: str | None) -> AsyncGenerator[WebSocketWire]:
        """One connection, closed when the context is left.

        Args:
            asks: the extensions that the upgrade asks for; None where a hello will.

        Raises:
            ConnectFailed: nobody could be reached.
            HandshakeRefused: the server answered, but not with a WebSocket.
            ConnectionEnded: the server went away instead of answering, or said nothing in time.
        """
        address = self.address
        async with open_client_wire(
            await self._dial(),
            host=address.authority,
            target=address.target,
            headers=self.headers if asks is None else (*self.headers, (HEADER, asks)),
            limits=self.limits,
            framing=client_framing(self.sources.random.randbytes),
        ) as wire:
            yield wire

    async def _dial(self) -> ByteStream:
        if self.connector is None:
            return await self.address.dial(tls=self.tls, proxy=self.tunnel, limits=self.limits)
        try:
            return await self.connector()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectFailed(str(self.address), str(error)) from error


def pauses(limits: Limits, sources: Sources) -> Iterator[float]:
    """Seconds to wait before each attempt to reconnect; the first is at once."""
    yield 0.0
    pause = limits.reconnect_pause
    while True:
        yield pause * (LEAST_SHARE + (1 - LEAST_SHARE) * sources.random.random())
        pause = min(2 * pause, limits.reconnect_longest)


def _tunnel(proxy: str | None, address: Address) -> Proxy | None:
    try:
        return Proxy.find(proxy, address.scheme, address.host, address.port)
    except ValueError as error:
        raise LocalProtocolError(str(error)) from None


def _headers(headers: Sequence[Header], key: str | None) -> tuple[Header, ...]:
    lines = list(headers)
    if key is not None and not any(name.lower() == "authorization" for name, _ in headers):
        lines.append(("Authorization", f"Bearer {key}"))
    for name, value in lines:
        if not (name + value).isascii() or not (name + value).isprintable():
            raise LocalProtocolError(f"the header {name!r} must be printable ASCII")
    return tuple(lines)
