"""Opening a link, and closing it again."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager

from agentwire.link.dialling import Connector, Dialler
from agentwire.link.link import Link
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.groups import open_flat_nursery

__all__ = ["link_to", "open_link"]


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
    proxy: str | None = "environment",
    relaying: bool = False,
    resume_within: float | None = None,
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
        connector: opens the byte stream instead of dialling; for tests.
        proxy: the URL of a proxy of HTTP that tunnels the connection, or None; the environment's settings if left out
            (``HTTPS_PROXY``, ``NO_PROXY`` and so on), which never count for this machine itself.
        relaying: events are read no faster than they are taken, instead of losing a turn that is read too slowly; and
            a server without lanes is found out by its first answer. For gateways.
        resume_within: ask for a session that outlives its connection for so many seconds. A server that has the
            extension grants it: then a lost connection, or one that gets old, is replaced, and no request notices.

    Raises:
        ConnectFailed: nobody could be reached.
        HandshakeRefused: the server answered, but not with a WebSocket; the text says what it said.
        ConnectionEnded: the server went away instead of answering, or said nothing within ``limits.handshake``.
        LocalProtocolError: the address, the key, a header or the proxy is not possible.
    """
    limits = limits or Limits()
    dialler = Dialler.of(
        url,
        key=key,
        headers=headers,
        tls=tls,
        limits=limits,
        sources=sources or Sources.system(),
        connector=connector,
        proxy=proxy,
    )
    async with link_to(dialler, relaying=relaying, resume_within=resume_within) as link:
        yield link


@asynccontextmanager
async def link_to(
    dialler: Dialler,
    *,
    relaying: bool = False,
    resume_within: float | None = None,
    number: int = 1,
    reserved: AbstractSet[str] = frozenset(),
) -> AsyncGenerator[Link]:
    """The same as `open_link`, for whoever opens one after the other.

    Args:
        dialler: opens its connections.
        relaying: see `open_link`.
        resume_within: see `open_link`.
        number: counts the links of one line.
        reserved: names of lanes that somebody has over all of them.
    """
    link = Link(dialler, relaying=relaying, resume_within=resume_within, number=number, reserved=reserved)
    async with open_flat_nursery() as nursery:
        await nursery.start(link.life.run)
        try:
            yield link
        finally:
            await link.close()  # noqa: ASYNC102 - bounded; a cancellation cuts it short, and the socket off
        nursery.cancel_scope.cancel(reason="the link was left")
