"""The connections to one place, and what its server knows: every request with the same key goes through here.

A connection that was there once is waited for when it is gone; where none could ever be made, and where the server
says that it takes no WebSocket, requests go over HTTP, and after a while the socket is tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

import attrs
import trio

from agentwire.client.dropin.asked import Asked
from agentwire.client.dropin.place import Place
from agentwire.engines.wire.index import ChainIndex
from agentwire.engines.wire.pool import Pool, Unreachable
from agentwire.engines.wire.upstream import Seat
from agentwire.link.dialling import pauses
from agentwire.protocol.errors import AgentwireError, ConnectionEnded, RemoteProtocolError
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.transport.websocket import HandshakeRefused

__all__ = ["Chains", "Counts", "GoesOverHttp", "Known", "TimedOut", "Times", "Wire"]

_log = logging.getLogger("agentwire.client")

_NO_SOCKETS: Final = frozenset((400, 404, 405, 426, 501))
"""Answers to an upgrade from a server that takes none; whatever is no error, or no HTTP at all, is another."""


class GoesOverHttp(AgentwireError):
    """The request is not for the wire, or cannot go there now; nothing was sent."""


class TimedOut(AgentwireError):
    """The caller's own deadline has passed.

    Args:
        phase: ``connect``, ``pool`` or ``read``.
        message: what was waited for.
    """

    def __init__(self, phase: str, message: str) -> None:
        super().__init__(message)
        self.phase = phase


@attrs.frozen
class Times:
    """How long a caller waits, in seconds.

    Attributes:
        connect: for a connection.
        pool: for a free lane.
        read: for the next events; for an answer that is no stream, for all of it.
        first: whether it asks for the first time.
    """

    connect: float
    pool: float
    read: float
    first: bool = True


@attrs.frozen
class Known:
    """What a server knows of a conversation.

    Attributes:
        mark: the response that ends it: the server's id of one that is stored, else its `Seat.mark`.
        count: items of it.
    """

    mark: str
    count: int


class Chains:
    """The conversations that servers know, whoever has them.

    Args:
        most: how many of each kind are kept.

    Attributes:
        stored: those that any connection can continue.
        unstored: those that only their own connection can.
    """

    def __init__(self, most: int) -> None:
        self.stored = ChainIndex(most)
        self.unstored = ChainIndex(most)

    def of(self, asked: Asked) -> ChainIndex:
        """Those that a request may continue."""
        return self.stored if asked.stored else self.unstored


@attrs.define(eq=False)
class Counts:
    """What went over the wire.

    Attributes:
        full: requests with all that they say.
        deltas: requests with what is new in them.
        forgotten: deltas that the server could not continue, and that went out again in full.
        again: requests that went out again on another connection.
        bytes: of all requests, without their frames.
        over_http: requests that went over HTTP because there was no wire.
    """

    full: int = 0
    deltas: int = 0
    forgotten: int = 0
    again: int = 0
    bytes: int = 0
    over_http: int = 0

    def sent(self, size: int, *, delta: bool) -> None:
        """One request was sent."""
        self.bytes += size
        self.deltas += delta
        self.full += not delta


@attrs.define(eq=False)
class Wire:
    """The wire to one place.

    Attributes:
        place: where it leads.
        pool: its connections.
        chains: what servers know.
        counts: what went over it.
        limits: bounds and deadlines.
        sources: chance.
        within: seconds in which a connection that was lost must be there again.
        running: requests that use it now.
        closed: no connection is opened any more.
    """

    place: Place
    pool: Pool
    chains: Chains
    counts: Counts
    limits: Limits
    sources: Sources
    within: float
    running: int = 0
    closed: bool = False
    _http_until: float = -1.0

    # What the server knows

    def find(self, asked: Asked) -> Known | None:
        """What it knows of the request's conversation: the longest part."""

        def reaches(mark: str) -> bool:
            return asked.stored or self.pool.has(mark)

        hit = self.chains.of(asked).find(self._key(asked), list(asked.before), reaches)
        return None if hit is None else Known(*hit)

    def home(self, asked: Asked, known: Known | None) -> str | None:
        """The mark of what the request continues, by which `seat` finds its connection."""
        if known is not None:
            return known.mark
        return self.pool.mark_of(asked.continues) if asked.continues is not None else None

    def id_of(self, asked: Asked, known: Known, seat: Seat) -> str | None:
        """The server's id of what it knows, if it can continue that on the connection of this lane."""
        return known.mark if asked.stored else seat.upstream.id_of(known.mark)

    def remember(self, asked: Asked, output: Iterable[Mapping[str, Any]], response_id: str, seat: Seat) -> None:
        """It knows one more: this response, the latest on this lane."""
        mark = response_id if asked.stored else seat.mark
        if asked.transcript is not None and mark is not None:
            said = asked.transcript.extend(output)
            self.chains.of(asked).put(self._key(asked), said.mark, mark)

    def forget(self, asked: Asked, known: Known) -> None:
        """It knows one less."""
        self.counts.forgotten += 1
        self.chains.of(asked).drop(known.mark)

    def _key(self, asked: Asked) -> bytes:
        return asked.key(self.place.principal)

    # Its connections

    async def seat(self, stack: AsyncExitStack, after: str | None, times: Times) -> Seat:
        """A lane, held until the stack is closed.

        Raises:
            GoesOverHttp: no connection can be made.
            HandshakeRefused: the server takes WebSockets, and refuses this one.
            TimedOut: it took longer than the caller waits.
            ConnectFailed, ConnectionEnded: the connection was lost, and there is no other one in time.
            EngineError: too many requests wait already.
        """
        if trio.current_time() < self._http_until:
            raise GoesOverHttp("the server takes no WebSocket")
        was_open = self.pool.open
        with trio.move_on_after(times.pool if was_open else times.connect):
            return await self._reach(stack, after)
        if was_open:
            raise TimedOut("pool", f"no lane was free within {times.pool:g} s")
        if not self._ever_open:
            raise self._no_socket("it did not answer in time")
        raise TimedOut("connect", f"no connection within {times.connect:g} s")

    async def _reach(self, stack: AsyncExitStack, after: str | None) -> Seat:
        until = trio.current_time() + self.within
        for pause in pauses(self.limits, self.sources):
            await trio.sleep(pause)
            try:
                return await stack.enter_async_context(self.pool.seat(after))
            except Unreachable as error:
                self._judge(error.cause)
                if trio.current_time() >= until:
                    raise error.cause from None
        raise AssertionError("there is always one more pause")

    def _judge(self, cause: Exception) -> None:
        """What follows from a connection that could not be made: nothing, if it is worth another attempt.

        Raises:
            GoesOverHttp: it is not a matter of time.
            HandshakeRefused: the server takes WebSockets, and refuses this one.
        """
        if isinstance(cause, HandshakeRefused):
            if cause.status in _NO_SOCKETS or cause.status < 400:
                raise self._no_socket(str(cause)) from cause
            raise cause
        if self.closed:
            raise cause
        if not self._ever_open:
            there = isinstance(cause, ConnectionEnded | RemoteProtocolError)  # and has no answer to an upgrade
            raise (self._no_socket(str(cause)) if there else GoesOverHttp(str(cause))) from cause

    @property
    def _ever_open(self) -> bool:
        return self.pool.statistics().opened > 0

    def _no_socket(self, why: str) -> GoesOverHttp:
        """The server takes no WebSocket, for now."""
        _log.info("%s takes no WebSocket, requests go over HTTP: %s", self.place.url, why)
        self._http_until = trio.current_time() + self.limits.websocket_retry
        return GoesOverHttp(why)
