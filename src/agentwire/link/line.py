"""A client's line to a server: where requests go, for hours; one way after the other, opened when it is needed.

Whoever has a request asks for the way and sends it there. Many who ask at once share one attempt, so that a server that
comes back is not met by a storm; an old way takes nothing new, and is closed when its last request has ended.
"""

from __future__ import annotations

import logging
import math
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import attrs
import trio

from agentwire.link.choosing import Chooser, Transport
from agentwire.link.codes import rejects
from agentwire.link.dialling import Connector, Dialler
from agentwire.link.lease import Reserved
from agentwire.link.reopening import Attempt, Search, is_fit, is_fruitless, reopen
from agentwire.link.way import LinkStatistics, Way
from agentwire.protocol.errors import AgentwireError, ConnectionEnded
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.groups import open_flat_nursery

__all__ = ["Line", "LineStatistics", "open_line"]

_log = logging.getLogger("agentwire.link")


@attrs.frozen
class LineStatistics:
    """A snapshot of a line.

    Attributes:
        ways: how many there have been.
        draining: old ones whose requests still run.
        failed: attempts to open one that failed.
        waiting: tasks that wait for a way.
        current: of the latest way.
    """

    ways: int
    draining: int
    failed: int
    waiting: int
    current: LinkStatistics


class Line:
    """A line to a server; made by `open_line`, which also closes it. Safe to use from many tasks.

    Attributes:
        limits: the bounds in force.
        reserved: names of lanes that are leased, over all ways.
    """

    def __init__(
        self,
        dialler: Dialler,
        nursery: trio.Nursery,
        *,
        transport: Transport,
        resume_within: float | None,
        reopens: bool,
    ) -> None:
        self.limits = dialler.limits
        self.reserved = Reserved()
        self._chooser = Chooser(dialler, transport=transport, resume_within=resume_within, reserved=self.reserved)
        self._nursery = nursery
        self._sources = dialler.sources
        self._search = Search(math.inf if resume_within is None else resume_within)
        self._reopens = reopens
        self._current: Way | None = None
        self._kept: dict[Way, trio.CancelScope] = {}
        self._attempt: Attempt | None = None
        self._not_before = 0.0
        self._opened_at = 0.0
        self._ways = 0
        self._failed = 0
        self._listeners: list[Callable[[], None]] = []
        self._end: ConnectionEnded | None = None
        self._over = trio.Event()

    @property
    def current(self) -> Way:
        """The latest way, which may have ended by now."""
        assert self._current is not None
        return self._current

    @property
    def lost_since(self) -> float | None:
        """Trio's time since when there has been no connection; None while there is one."""
        return self.current.lost_since

    @property
    def ended(self) -> ConnectionEnded | None:
        """How it ended: closed on this side, or lost and not to be reopened; None while requests may come."""
        if self._end is None and not self._reopens and self._current is not None:
            return self._current.ended
        return self._end

    def listen(self, told: Callable[[], None]) -> None:
        """Have something called, plainly, whenever the connection is lost and whenever there is one again.

        What has happened stands in ``lost_since`` and ``current``. It must not raise.
        """
        self._listeners.append(told)

    def _changed(self) -> None:
        for told in self._listeners:
            told()

    async def way(self) -> Way:
        """The way for the next request: the one that is open, or else a new one.

        Waits for a connection as long as the line has patience, from when requests were lost or somebody asked; what
        can never succeed is raised at once. Cancelled, nothing is left; the last one that waits ends the attempt. A
        later call tries again.

        Raises:
            ConnectionEnded: the line has ended, or the server went away during the handshake.
            ConnectFailed: nobody could be reached.
            HandshakeRefused: the server wants no connection of this client.
        """
        await trio.lowlevel.checkpoint()
        while True:  # noqa: ASYNC913 - each further round has waited for an attempt
            if self.ended is not None:
                raise self.ended
            way = self._current
            if way is None or not is_fit(way):
                if way is not None and not self._reopens:
                    return way
                self._check_rejection(way)
                await self._renew()
            elif self._reopens and self._is_due(way):
                return await self._replace(way)
            else:
                return way

    def _is_due(self, way: Way) -> bool:
        """Whether another way should take the place of one that works."""
        return trio.current_time() >= max(self._opened_at + way.lasts, self._not_before)

    async def _replace(self, way: Way) -> Way:
        """Another way instead of one that works; that one, if there is none yet."""
        if not way.remembers:
            self._attempt = self._attempt or self._begin()  # requests go on over HTTP meanwhile
            return way
        with suppress(AgentwireError):
            await self._renew()
        return self.current if is_fit(self.current) else await self.way()

    def _check_rejection(self, way: Way | None) -> None:
        """Do not ask again at once where the server has taken a connection only to reject what was said on it.

        Raises:
            ConnectionEnded: how it ended.
        """
        if way is None or way.ended is None or not (is_fruitless(way) and rejects(way.ended)):
            return
        if trio.current_time() < (way.lost_since or 0.0) + self.limits.reconnect_longest:
            raise way.ended

    async def _renew(self) -> None:
        """Wait for the attempt that is being made, or make one.

        Where the way was lost that an attempt was made beside, its failure means nothing yet: there is patience now.
        """
        lost = self._current is not None and not is_fit(self._current)
        attempt = self._attempt = self._attempt or self._begin()
        try:
            await attempt.wait()
        except AgentwireError:
            if not (attempt.beside and lost):
                raise
        finally:
            if attempt.forsaken and self._attempt is attempt:
                self._attempt = None

    def _begin(self) -> Attempt:
        attempt = Attempt(beside=self._current is not None and is_fit(self._current))
        self._nursery.start_soon(self._open, attempt, name="line attempt")
        return attempt

    async def _open(self, attempt: Attempt) -> None:
        attempt.error = ConnectionEnded(cause="closed on this side")
        try:
            with attempt.scope:
                brief = trio.current_time() < self._opened_at + self.limits.reconnect_longest
                patience = self._search.patience(self._current, brief=brief)
                attempt.error = await reopen(self._open_once, patience, limits=self.limits, sources=self._sources)
        finally:
            if attempt.error is not None:
                self._search.give_up(self._current)
                again = self.limits.reconnect_longest if self._remembers else self.limits.websocket_retry
                self._not_before = trio.current_time() + again
            if self._attempt is attempt:
                self._attempt = None
            attempt.done.set()

    @property
    def _remembers(self) -> bool:
        return self._current is None or self._current.remembers

    async def _open_once(self) -> None:
        """Open the next way, and let the last one end."""
        content = self._current is None or not is_fit(self._current)
        try:
            way: Way = await self._nursery.start(partial(self._keep, self._ways + 1, content=content), name="line way")
        except Exception:
            self._failed += 1
            raise
        self._ways, self._opened_at, self._not_before = way.number, trio.current_time(), 0.0
        old, self._current = self._current, way
        way.watch(self._changed)
        self._changed()
        if old is not None and old.ended is None:
            old.watch(_nothing)
            old.retire("the line goes on on another connection")
            self._nursery.start_soon(self._drain, old, name="line drain")

    async def _keep(self, number: int, *, content: bool, task_status: trio.TaskStatus[Way]) -> None:  # noqa: ASYNC114 - called by `_open_once` alone
        """Hold a way open until it ends or is not needed any more."""
        async with self._chooser.open(number, content=content) as way:
            self._kept[way] = stay = trio.CancelScope()
            try:
                task_status.started(way)
                with stay:
                    end = await way.wait_ended()
                    _log.info("way %d has ended: %s", number, end)
            finally:
                del self._kept[way]
        if not self._reopens:
            self._over.set()

    async def _drain(self, way: Way) -> None:
        await way.drained()
        if way in self._kept:
            self._kept[way].cancel(reason="its last request has ended")

    async def wait_ended(self) -> ConnectionEnded:
        """Wait until the line has ended; returns how."""
        await self._over.wait()
        assert self.ended is not None
        return self.ended

    async def close(self) -> None:
        """Close all connections, each with a goodbye (1000) and within ``limits.close_grace``; requests are told."""
        if self._end is None:
            self._end = ConnectionEnded(cause="closed on this side")
            self._over.set()
        if self._attempt is not None:
            self._attempt.scope.cancel(reason="the line is closed")
        async with trio.open_nursery() as nursery:
            for way in self._kept:
                nursery.start_soon(way.close)

    def statistics(self) -> LineStatistics:
        """Counts at this moment."""
        return LineStatistics(
            ways=self._ways,
            draining=len(self._kept) - (self.current in self._kept),
            failed=self._failed,
            waiting=self._attempt.waiting if self._attempt is not None else 0,
            current=self.current.statistics(),
        )


@asynccontextmanager
async def open_line(
    url: str,
    *,
    key: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    tls: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    sources: Sources | None = None,
    connector: Connector | None = None,
    proxy: str | None = "environment",
    transport: Transport = "auto",
    resume_within: float | None = None,
    reopens: bool = True,
) -> AsyncGenerator[Line]:
    """Open a line to a server, its first connection included; everything is closed when the context is left.

    Args:
        url: see `Address.parse`.
        key: API key; see `find_key` for what is taken from the environment instead.
        headers: more headers for the upgrade request; an ``Authorization`` among them takes the place of the key.
        tls: trust other than the system's, for ``wss://`` and ``https://``.
        limits: bounds and deadlines.
        sources: randomness.
        connector: opens the byte stream instead of dialling; for tests.
        proxy: the URL of a proxy of HTTP, or None; the environment's settings if left out (``HTTPS_PROXY``,
            ``NO_PROXY`` and so on), which never count for this machine itself.
        transport: ``auto`` goes over plain HTTP where the server takes no WebSocket, and tries that again every
            ``limits.websocket_retry`` seconds; ``websocket`` and ``http`` are content with nothing else.
        resume_within: for so many seconds a lost connection is replaced; a session that outlives its connection is
            asked for, too, and granted by a server that has the extension. None tries for ever, without a session.
        reopens: False has a single connection, and the line ends with it.

    Raises:
        ConnectFailed: nobody could be reached.
        HandshakeRefused: the server answered, but not with a WebSocket; the text says what it said.
        ConnectionEnded: the server went away instead of answering, or said nothing within ``limits.handshake``.
        LocalProtocolError: the address, the key, a header or the proxy is not possible.
    """
    dialler = Dialler.of(
        url,
        key=key,
        headers=headers,
        tls=tls,
        limits=limits or Limits(),
        sources=sources or Sources.system(),
        connector=connector,
        proxy=proxy,
    )
    async with open_flat_nursery() as nursery:
        line = Line(dialler, nursery, transport=transport, resume_within=resume_within, reopens=reopens)
        try:
            await line.way()
            yield line
        finally:
            await line.close()  # noqa: ASYNC102 - bounded; a cancellation cuts it short, and the sockets off
            nursery.cancel_scope.cancel(reason="the line was left")


def _nothing() -> None:
    """An old way's fate is of no interest."""
