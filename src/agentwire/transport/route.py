"""How a client reaches its server: by TCP, TLS, a proxy, a Unix socket, or whatever the caller connects with.

Through a proxy, ``https`` is a tunnel and ``http`` a request that names the whole URL (RFC 9112, section 3.2.2).
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Self

import attrs

from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import ByteStream
from agentwire.transport.base_url import BaseUrl
from agentwire.transport.dial import dial_tcp, dial_unix
from agentwire.transport.proxy import Proxy

__all__ = ["Connector", "Route"]

Connector = Callable[[], Awaitable[ByteStream]]
"""Makes a connection to the server; whoever asked for it closes it."""


@attrs.frozen
class Route:
    """How a server is reached.

    Attributes:
        dial: connects.
        prefix: what stands before the target of every request.
        headers: for every request, on the way.
    """

    dial: Connector
    prefix: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    @classmethod
    def to(
        cls,
        base: BaseUrl,
        *,
        tls: ssl.SSLContext | None,
        unix_path: str | None,
        connector: Connector | None,
        proxy: str | None,
        limits: Limits,
    ) -> Self:
        """The route that the arguments of `open_http_client` describe."""
        if connector is not None:
            return cls(connector)
        if unix_path is not None:
            return cls(partial(dial_unix, unix_path, limits=limits))
        asked = Proxy.find(proxy, base.scheme, base.host, base.port)
        if base.scheme == "https":
            context = tls or ssl.create_default_context()
            return cls(partial(dial_tcp, base.host, base.port, tls=context, proxy=asked, limits=limits))
        if asked is None:
            return cls(partial(dial_tcp, base.host, base.port, limits=limits))
        headers = {"proxy-authorization": asked.credentials} if asked.credentials else {}
        return cls(partial(dial_tcp, asked.host, asked.port, tls=asked.tls, limits=limits), base.origin, headers)
