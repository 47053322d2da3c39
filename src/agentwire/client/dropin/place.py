"""Where a request goes on the wire, and as whom: the address, and what of its headers the upgrade says.

A connection is for one place: other headers, such as another key, are another one. What a header says of one request
alone is left out, since a socket has no headers for that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Self

import attrs

from agentwire.link import Address
from agentwire.protocol.errors import LocalProtocolError
from agentwire.transport.proxy import is_this_machine

__all__ = ["Place"]

_OF_THE_REQUEST: Final = frozenset(
    (
        "accept",
        "accept-encoding",
        "baggage",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "idempotency-key",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "sentry-trace",
        "te",
        "trailer",
        "transfer-encoding",
        "traceparent",
        "tracestate",
        "upgrade",
        "x-client-request-id",
        "x-request-id",
    )
)
_PREFIXES: Final = ("sec-websocket-", "x-b3-", "x-datadog-", "x-stainless-")


@attrs.frozen
class Place:
    """Made by `Place.of`.

    Attributes:
        url: see `agentwire.link.Address`.
        headers: for the upgrade.
    """

    url: str
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)

    @classmethod
    def of(cls, url: str | None, posted: str, headers: Iterable[tuple[str, str]], *, key: str | None = None) -> Self:
        """Where a request goes.

        Args:
            url: where the caller wants it; None is where it is posted to.
            posted: the URL that it is posted to.
            headers: of the request.
            key: instead of the one in the headers.

        Raises:
            LocalProtocolError: no such address, or a key would go in the clear to somewhere it was not meant for.
        """
        lines = [(name.lower(), value) for name, value in headers]
        lines = [line for line in lines if not (line[0] in _OF_THE_REQUEST or line[0].startswith(_PREFIXES))]
        if key is not None:
            lines = [line for line in lines if line[0] != "authorization"]
            lines.append(("authorization", f"Bearer {key}"))
        elif url is not None and lines:
            _keep_private(Address.parse(url), posted)
        return cls(url or posted, tuple(sorted(lines)))

    @property
    def principal(self) -> str:
        """Whose requests these are."""
        return "\n".join((self.url, *(f"{name}: {value}" for name, value in self.headers)))

    @property
    def over_http(self) -> str:
        """The same resource for HTTP.

        Raises:
            LocalProtocolError: it is a Unix socket.
        """
        address = Address.parse(self.url)
        if address.path:
            raise LocalProtocolError(f"{address} takes no WebSocket now, and HTTP has no such address")
        return f"{'https' if address.secure else 'http'}://{address.authority}{address.target}"


def _keep_private(address: Address, posted: str) -> None:
    """A key that an SDK would send elsewhere does not leave this machine in the clear.

    Raises:
        LocalProtocolError: it would.
    """
    if address.secure or address.path or is_this_machine(address.host):
        return
    if Address.parse(posted).host != address.host:
        raise LocalProtocolError(
            f"the SDK's key is for {Address.parse(posted).authority}, and {address} is not encrypted; "
            "use wss://, or give that server's key as key=..."
        )
