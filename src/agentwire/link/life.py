"""A link's life: one connection after the other, as long as its session can be resumed; without one, a single one.

A connection is read, written and listened to for signs of life. When it is lost, or gets old, the next one says hello
with how far the session has come, and everything goes on there; whoever has a request does not notice.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from agentwire.link.codes import ends_session
from agentwire.link.deadlines import Deadlines
from agentwire.link.dialling import Dialler, pauses
from agentwire.link.flow import Flow
from agentwire.link.outgoing import Outgoing
from agentwire.link.progress import Progress
from agentwire.link.reopening import asked_pause
from agentwire.link.switch import Switch
from agentwire.protocol.codec import decode_event
from agentwire.protocol.errors import CloseFrame, ConnectionEnded, LocalProtocolError, RemoteProtocolError
from agentwire.protocol.events import ErrorEvent
from agentwire.protocol.hello import CANCEL_EXTENSION, GOAWAY_EXTENSION, HEADER, SESSIONS, decode_welcome, encode_hello
from agentwire.transport.dial import ConnectFailed
from agentwire.transport.websocket import HandshakeRefused, WebSocketWire

__all__ = ["REQUEST_ID", "Life"]

_log = logging.getLogger("agentwire.link")

REQUEST_ID: Final = "x-request-id"

_ASKED: Final = f"{CANCEL_EXTENSION}, {GOAWAY_EXTENSION}"
_REFUSED: Final = frozenset((401, 403, 404, 405, 410, 426))
"""HTTP statuses of a server that will take no connection of this client, however often it asks."""


class Life:
    """The connections of one link.

    Args:
        dialler: opens them.
        outgoing: what is to be sent.
        switch: takes what comes.
        deadlines: of the requests; None where somebody else looks after them.
        flow: says when to pause reading; None to read on.
        progress: of the session; None to ask for none.
        on_end: told how it ended, once, before anything is closed.
        on_change: told when there is no connection any more, and when there is one again.

    Attributes:
        ended: how it ended; None while it goes on.
        lost_since: Trio's time since when there has been no connection; None while there is one.
        connections: how many there were so far.
        request_id: under which the server's log has the upgrade of the latest one, if it says so.
    """

    def __init__(
        self,
        dialler: Dialler,
        outgoing: Outgoing,
        switch: Switch,
        *,
        deadlines: Deadlines | None,
        flow: Flow | None,
        progress: Progress | None,
        on_end: Callable[[ConnectionEnded], None],
        on_change: Callable[[], None],
    ) -> None:
        self.ended: ConnectionEnded | None = None
        self.lost_since: float | None = None
        self.connections = 0
        self.request_id: str | None = None
        self._dialler = dialler
        self._limits = dialler.limits
        self._outgoing = outgoing
        self._switch = switch
        self._deadlines = deadlines
        self._flow = flow
        self._progress = progress
        self._on_end = on_end
        self._on_change = on_change
        self._within = 0.0
        self._wire: WebSocketWire | None = None
        self._carrying = trio.CancelScope()
        self._patience = trio.CancelScope()
        self._pauses = pauses(dialler.limits, dialler.sources)
        self._began = (0.0, 0)
        self._greeting = False
        self._bytes = (0, 0)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:  # noqa: ASYNC114 - named in `open_link`
        """Live to the end.

        Raises:
            ...: what `Dialler.connection` says, for the first connection.
        """
        async with self._dialler.connection(self._asks) as wire:
            task_status.started()
            if self._progress is not None and wire.header(HEADER) is not None:
                self._greet()
            end = await self._carry(wire)
        while self._comes_back(end):
            end = await self._come_back(end)
        self.end(end)

    @property
    def _asks(self) -> str:
        within = self._progress.within if self._progress is not None else None
        return _ASKED if within is None else f"{_ASKED}, {SESSIONS}; within={within:g}"

    def end(self, end: ConnectionEnded) -> None:
        """It is over, in this way; the first word counts."""
        if self.ended is None:
            self.ended = end
            if self.lost_since is None:
                self.lost_since = trio.current_time()
            _log.debug("link to %s: %s", self._dialler.address, end)
            self._on_end(end)

    async def close(self) -> None:
        """Say goodbye (1000) and close, within ``limits.close_grace``."""
        self.end(ConnectionEnded(cause="closed on this side"))
        if self._wire is not None:
            await self._wire.close(1000)

    async def abort(self, cause: str) -> None:
        """Cut it off at once."""
        self.end(ConnectionEnded(cause=cause))
        if self._wire is not None:
            await self._wire.abort(cause)

    def kick(self) -> None:
        """There is something to send."""
        if self._wire is not None:
            self._wire.kick()

    def grows_old(self) -> None:
        """The connection will end soon: in a session, another one takes over now."""
        if self.in_session:
            self._carrying.cancel(reason="the connection gets old: the link goes on on another one")

    @property
    def transferred(self) -> tuple[int, int]:
        """How many came, and how many went."""
        came, went = self._bytes
        if self._wire is None:
            return came, went
        told = self._wire.statistics()
        return came + told.bytes_in, went + told.bytes_out

    # From one connection to the next

    @property
    def in_session(self) -> bool:
        """Whether the server keeps its end of it for a while when a connection is lost."""
        return self._progress is not None and self._progress.token is not None

    def _comes_back(self, end: ConnectionEnded) -> bool:
        return self.in_session and self.ended is None and not ends_session(end)

    async def _come_back(self, end: ConnectionEnded) -> ConnectionEnded:
        """Open another connection and go on there; returns how that one ended. Ends the link if there is none."""
        assert self._progress is not None
        if self.lost_since is None:
            session = self._switch.welcome.session
            self._within = session.within if session is not None else 0.0
            self.lost_since = trio.current_time()
            if self._brought_something:
                self._pauses = pauses(self._limits, self._dialler.sources)
            _log.info("connection to %s lost, coming back: %s", self._dialler.address, end)
            self._on_change()
        with trio.CancelScope(deadline=self.lost_since + self._within) as self._patience:  # noqa: ASYNC912 - it sleeps
            asked = 0.0
            for pause in self._pauses:
                await trio.sleep(max(pause, asked))
                try:
                    async with self._dialler.connection(None) as wire:
                        self._greet(encode_hello(self._progress.hello()))
                        return await self._carry(wire)
                except (ConnectFailed, ConnectionEnded, RemoteProtocolError) as error:
                    _log.debug("not back yet: %s", error)
                    asked = asked_pause(error, self._limits)
                    if _is_final(error):
                        end = ConnectionEnded(sent=end.sent, received=end.received, cause=f"{end.cause}; then {error}")
                        break
        cause = f"not resumed within {self._within:g} s: {end.cause}"
        self.end(ConnectionEnded(sent=end.sent, received=end.received, cause=cause))
        return end

    @property
    def _brought_something(self) -> bool:
        """Whether the last connection was of any use; after one that was not, the pauses go on growing."""
        began, events = self._began
        return self._switch.events > events or trio.current_time() >= began + self._limits.reconnect_longest

    def _greet(self, hello: bytes | None = None) -> None:
        """Nothing is asked before the server has said what session there is: so nobody need guess what arrived."""
        self._outgoing.greet(hello)
        self._greeting = True

    def _greeted(self, frame: bytes) -> None:
        """What the server says of the session, before anything else.

        Raises:
            ConnectionEnded: the session is lost, and all requests in it.
            RemoteProtocolError: it is no such answer.
        """
        assert self._progress is not None
        event = decode_event(frame)
        if isinstance(event, ErrorEvent):
            raise self._session_lost(event.message)
        welcome = decode_welcome(frame)
        try:
            self._outgoing.go_on(self._progress.welcome(welcome))
        except LocalProtocolError as error:
            raise self._session_lost(str(error)) from error
        except ValueError as error:
            raise RemoteProtocolError(f"the server has lost messages: {error}") from error
        self._greeting = False
        self._began = (trio.current_time(), self._switch.events)
        self.lost_since = None
        self._patience.deadline = math.inf
        self._switch.move()
        self._switch.greet(welcome)
        self._switch.on_news()
        self._on_change()
        self.kick()

    def _session_lost(self, why: str) -> ConnectionEnded:
        end = ConnectionEnded(cause=f"the session is lost: {why}")
        self.end(end)
        return end

    # One connection

    async def _carry(self, wire: WebSocketWire) -> ConnectionEnded:
        """Read, write and listen for life until this connection ends; returns how it did."""
        end = ConnectionEnded(cause="the link goes on on another connection")
        self.connections += 1
        self.request_id = wire.header(REQUEST_ID)
        self._wire = wire
        with trio.CancelScope() as self._carrying:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, wire, name="link writer")
                nursery.start_soon(self._beat, wire, name="link pulse")
                end = await self._read(wire)
                nursery.cancel_scope.cancel(reason="the connection is over")
        self._bytes = self.transferred
        self._wire = None
        return end

    async def _read(self, wire: WebSocketWire) -> ConnectionEnded:
        try:
            while True:
                # where reading may have to pause, no more is taken than can be given away: the peer must see progress
                for frame in await wire.receive_ready() if self._flow is None else (await wire.receive(),):
                    if self._greeting:
                        self._greeted(frame)
                    else:
                        self._switch.receive(frame)
                if self._flow is not None and self._flow.stuck:
                    await self._flow.go_on()
        except ConnectionEnded as ended:
            return ended
        except RemoteProtocolError as error:
            _log.warning("connection to %s given up: %s", self._dialler.address, error)
            goodbye = CloseFrame(error.close_code, str(error)[:100])
            end = ConnectionEnded(sent=goodbye, cause=str(error))
            self.end(end)
            await wire.close(goodbye.code, goodbye.reason)
            return end

    async def _write(self, wire: WebSocketWire) -> None:
        with suppress(ConnectionEnded):  # the reader is told, too
            await wire.send_many(self._outgoing)

    async def _beat(self, wire: WebSocketWire) -> None:
        """Ping a silent server, give up a dead one, and end what broke without an end or is late."""
        limits, began = self._limits, trio.current_time()
        pinged, deadlines = began, self._deadlines
        interval = min(limits.close_grace, limits.handshake, math.inf if deadlines is None else deadlines.interval)
        while True:
            now, heard = trio.current_time(), wire.last_heard
            dead, silent = heard + limits.ping_timeout, max(heard, pinged) + limits.ping_interval
            if self._flow is not None:
                dead = max(dead, self._flow.held + limits.ping_timeout)  # it was us who did not listen
            if now >= dead:
                await wire.abort(f"no sign of life for {limits.ping_timeout:g} s")
                return
            if self._greeting and now >= began + limits.handshake:
                await wire.abort(f"no word of the session within {limits.handshake:g} s")
                return
            if now >= silent:
                wire.ping()
                pinged, silent = now, now + limits.ping_interval
            self._switch.expire(now - limits.close_grace)
            late = math.inf if deadlines is None else deadlines.expire(now, began)
            await trio.sleep_until(min(dead, silent, late, now + interval))


def _is_final(error: Exception) -> bool:
    """Whether the same would happen again, however often one asks."""
    refused = isinstance(error, HandshakeRefused) and error.status in _REFUSED
    return refused or (isinstance(error, ConnectFailed) and error.final)
