"""Proxies of HTTP: which one the environment names for a place, and a tunnel through it (RFC 9110, section 9.3.6).

The variables are those that curl made usual: ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy``, in small
letters or capitals. No proxy is asked for this machine itself, whatever they say.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, Self

import attrs
import trio

from agentwire.protocol.errors import ConnectionEnded, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.transport.base_url import BaseUrl
from agentwire.transport.heads import HeadReader, RequestHeads
from agentwire.transport.streams import NetworkStream, send_with_progress

__all__ = ["Proxy", "TunnelRefused", "is_this_machine", "open_tunnel"]

_RECEIVE_BYTES = 4096
_PASSING: Final = frozenset((408, 425, 429))


class TunnelRefused(ConnectionEnded):
    """A proxy answered, and made no tunnel.

    Args:
        status: the HTTP status of its answer.
    """

    def __init__(self, status: int) -> None:
        super().__init__(cause=f"the proxy answered with HTTP {status}")
        self.status = status

    @property
    def final(self) -> bool:
        """Whether it is this client, or where it wants to go, that the proxy will not have."""
        return 400 <= self.status < 500 and self.status not in _PASSING


@attrs.frozen
class Proxy:
    """A proxy, and how to introduce oneself to it.

    Attributes:
        host: its name or address.
        port: its port.
        credentials: the value of ``proxy-authorization``; empty for none.
        tls: for a proxy that is itself reached over TLS.
    """

    host: str
    port: int
    credentials: str = attrs.field(default="", repr=False)
    tls: ssl.SSLContext | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """A proxy by its URL, or by ``host:port``.

        Raises:
            ValueError: it is no proxy of HTTP.
        """
        base = BaseUrl.parse(url if "://" in url else f"http://{url}", name="the URL of a proxy")
        tls = ssl.create_default_context() if base.scheme == "https" else None
        return cls(base.host, base.port, base.credentials, tls)

    @classmethod
    def find(cls, asked: str | None, scheme: str, host: str, port: int) -> Self | None:
        """The proxy that somebody asks for, for a place.

        Args:
            asked: its URL, ``environment`` for whatever that says, or None for none.
            scheme: ``http`` or ``https``; a WebSocket counts as one of these, too.
            host: the place's name or address.
            port: its port.

        Raises:
            ValueError: it is no proxy of HTTP.
        """
        if asked == "environment":
            return cls.from_environment(scheme, host, port)
        return None if asked is None else cls.parse(asked)

    @classmethod
    def from_environment(
        cls, scheme: str, host: str, port: int, environment: Mapping[str, str] | None = None
    ) -> Self | None:
        """The proxy for a place; None if it is reached without one.

        Args:
            scheme: ``http`` or ``https``; a WebSocket counts as one of these, too.
            host: the place's name or address.
            port: its port.
            environment: the process's own if left out.

        Raises:
            ValueError: the environment names a proxy that is none of HTTP.
        """
        given = os.environ if environment is None else environment
        found = {name.lower(): given[name] for name in sorted(given)}  # small letters have the last word
        if "REQUEST_METHOD" in given:  # a CGI program, where capitals may be a request's header (httpoxy)
            found["http_proxy"] = given.get("http_proxy", "")
        url = found.get(f"{scheme}_proxy") or found.get("all_proxy")
        if not url or is_this_machine(host) or _excepted(found.get("no_proxy", ""), host, port):
            return None
        return cls.parse(url)


def is_this_machine(host: str) -> bool:
    """Whether a name or address is this machine's own."""
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _excepted(exceptions: str, host: str, port: int) -> bool:
    return any(_matches(one.strip().lower(), host.lower(), port) for one in exceptions.split(",") if one.strip())


def _matches(exception: str, host: str, port: int) -> bool:
    """One of ``*``, a network, an address or a name with all that is below it, perhaps with a port."""
    if exception == "*":
        return True
    name, _, number = exception.rpartition(":")
    if name and number.isdecimal() and (":" not in name or name.endswith("]")):
        if int(number) != port:
            return False
        exception = name
    address = _address(host)
    if address is None:
        name = exception.lstrip("*.")
        return host == name or host.endswith(f".{name}")
    try:
        return address in ip_network(exception.strip("[]"), strict=False)
    except ValueError:
        return False


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


async def open_tunnel(stream: NetworkStream, authority: str, proxy: Proxy, limits: Limits) -> None:
    """Ask a proxy to connect a stream to somewhere else; afterwards it is as if it led there.

    The caller has a deadline, and closes the stream if this fails or is cancelled.

    Args:
        stream: to the proxy.
        authority: the host and port to go to.
        proxy: for its credentials.
        limits: sizes.

    Raises:
        TunnelRefused: the proxy refuses.
        ConnectionEnded: it is gone.
        RemoteProtocolError: its answer is no HTTP.
    """
    headers = {"host": authority}
    if proxy.credentials:
        headers["proxy-authorization"] = proxy.credentials
    await send_with_progress(stream, RequestHeads().head("CONNECT", authority, headers, None), limits)
    reader, head = HeadReader(limits.head_bytes), None
    while head is None:
        try:
            data = await stream.receive_some(_RECEIVE_BYTES)
        except trio.BrokenResourceError as error:
            raise ConnectionEnded(cause="the proxy has reset the connection") from error
        if not data:
            raise ConnectionEnded(cause="the proxy has closed the connection")
        head = reader.feed(bytes(data))
    if not 200 <= head.status < 300:
        raise TunnelRefused(head.status)
    if reader.rest:
        raise RemoteProtocolError("the proxy said more than it was asked")
