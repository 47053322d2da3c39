"""WebSocket or plain HTTP: which of them a line gets when it opens a way.

A server that takes no WebSocket is asked over HTTP, and the WebSocket is tried again after a while. A refusal that says
so is enough; a handshake that nobody answers is tried again first, as the server may only be starting.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Literal

import trio

from agentwire.link.dialling import Dialler
from agentwire.link.http import open_http_way
from agentwire.link.link import Link
from agentwire.link.opening import link_to
from agentwire.link.way import Way
from agentwire.protocol.errors import ConnectionEnded, RemoteProtocolError
from agentwire.transport.dial import ConnectFailed
from agentwire.transport.websocket import HandshakeRefused, HandshakeUnanswered

__all__ = ["Chooser", "Transport"]

_log = logging.getLogger("agentwire.link")

Transport = Literal["auto", "websocket", "http"]
"""What a line may use: a WebSocket or else HTTP, or only one of them."""

_NO_WEBSOCKET: Final = frozenset((400, 404, 405, 426, 501))
"""HTTP statuses of servers that know no WebSocket at this place (RFC 9110, section 15.5.22: 426)."""
_WHO_ASKS: Final = 407
"""HTTP status of a proxy that wants to know who asks (RFC 9110, section 15.5.8)."""
_SILENCES: Final = 2
"""Handshakes in a row without an answer that are as good as a refusal; one that timed out counts twice at first."""


class Chooser:
    """Opens the ways of one line.

    Args:
        dialler: knows where the server is.
        transport: what may be used.
        resume_within: of the session that a WebSocket asks for, if any.
        reserved: names of lanes that somebody has over all ways.
    """

    def __init__(
        self, dialler: Dialler, *, transport: Transport, resume_within: float | None, reserved: AbstractSet[str]
    ) -> None:
        self._dialler = dialler
        self._transport = transport
        self._resume_within = resume_within
        self._reserved = reserved
        self._http_until = -math.inf
        self._silences = 0
        self._known = False

    @asynccontextmanager
    async def open(self, number: int, *, content: bool = True) -> AsyncGenerator[Way]:
        """Open a way; it is closed when the context is left.

        Args:
            number: of the way.
            content: whether HTTP will do where there is no WebSocket; not where there is a way still.

        Raises:
            ConnectFailed: nobody could be reached.
            HandshakeRefused: the server wants no connection of this client.
            RemoteProtocolError: it said 101, and was no WebSocket; where HTTP will not do.
            ConnectionEnded: the server went away instead of answering, or said nothing in time; likewise.
        """
        async with AsyncExitStack() as stack:
            way = await self._open_websocket(stack, number, content=content)
            yield way if way is not None else await self._open_http(stack, number)

    async def _open_websocket(self, stack: AsyncExitStack, number: int, *, content: bool) -> Link | None:
        """A WebSocket; None if it is HTTP's turn."""
        if self._transport == "http" or (content and trio.current_time() < self._http_until):
            return None
        while True:  # noqa: ASYNC913 - each round is a handshake
            link = link_to(self._dialler, resume_within=self._resume_within, number=number, reserved=self._reserved)
            try:
                opened = await stack.enter_async_context(link)
            except (RemoteProtocolError, ConnectionEnded, ConnectFailed) as error:
                if not self._is_none(error):
                    if self._transport == "auto" and isinstance(error, ConnectionEnded) and not self._known:
                        continue
                    raise
                self._http_until = trio.current_time() + self._dialler.limits.websocket_retry
                if not content:
                    raise
                _log.info("no WebSocket at %s, so requests go over HTTP: %s", self._dialler.address, error)
                return None
            self._silences, self._known, self._http_until = 0, True, -math.inf
            return opened

    async def _open_http(self, stack: AsyncExitStack, number: int) -> Way:
        return await stack.enter_async_context(
            open_http_way(
                self._dialler,
                number=number,
                lasts=math.inf if self._transport == "http" else self._dialler.limits.websocket_retry,
                reserved=self._reserved,
                unreachable=self._forget,
            )
        )

    def _is_none(self, error: RemoteProtocolError | ConnectionEnded | ConnectFailed) -> bool:
        """Whether a failed handshake means that there is no WebSocket to be had.

        A server that has had one and goes away in a handshake is one that restarts. A proxy may tunnel nothing that is
        no TLS, and pass plain HTTP on.
        """
        if self._transport != "auto":
            return False
        if isinstance(error, ConnectFailed):
            blocked = error.final and error.tunnel not in (None, _WHO_ASKS)
            return blocked and not self._dialler.address.secure
        if isinstance(error, HandshakeRefused):
            self._silences = 0
            return error.status < 400 or error.status in _NO_WEBSOCKET
        if isinstance(error, RemoteProtocolError):
            return True
        late = isinstance(error, HandshakeUnanswered)
        self._silences += late if self._known else 1 + late
        return self._silences >= _SILENCES

    def _forget(self) -> None:
        """The server went away: who comes back may know WebSockets."""
        self._http_until = -math.inf
