"""The pulse: one task that keeps every connection's life signs, instead of a sleeping task in each.

At each beat a silent peer is pinged and a dead one cut off; a running response that has said nothing for a while says
``keepalive``; a connection that has had its time is retired.
"""

from __future__ import annotations

import logging

import attrs
import trio

from agentwire.protocol.errors import RequestError
from agentwire.protocol.limits import Limits
from agentwire.runtime.connection import Connection
from agentwire.runtime.session import Session
from agentwire.runtime.turn import Turn
from agentwire.runtime.window import Window

__all__ = ["Pulse"]

log = logging.getLogger("agentwire.pulse")

_BEATS = 8  # beats in the shortest of the intervals: how late a life sign may be
_BATCH = 128  # connections between two checkpoints

_KEEPALIVE = b'{"type":"keepalive","sequence_number":'


@attrs.define
class _Silence:
    """Since when a window has had this number of events."""

    number: int
    since: float


class Pulse:
    """Beats for all connections and sessions that are added to it.

    Args:
        limits: the intervals.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._connections: dict[Connection, dict[Window, _Silence]] = {}
        self._sessions: dict[Session, dict[Window, _Silence]] = {}

    def add(self, session: Session, connection: Connection | None = None) -> None:
        """From the next beat on; with a connection, it is always the session that this one has."""
        if connection is not None:
            self._connections[connection] = {}
        else:
            self._sessions[session] = {}

    def remove(self, session: Session, connection: Connection | None = None) -> None:
        """No more beats."""
        self._sessions.pop(session, None)
        if connection is not None:
            self._connections.pop(connection, None)

    async def run(self) -> None:
        """Beat until cancelled."""
        limits = self._limits
        signs = (limits.ping_interval, limits.ping_timeout, limits.keepalive_interval)
        interval = min(*signs, limits.goaway_notice, limits.connection_idle) / _BEATS
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(interval)
                for index, (connection, silences) in enumerate(tuple(self._connections.items()), 1):
                    self._beat_connection(connection, nursery)
                    self._beat_session(connection.session, silences)
                    if index % _BATCH == 0:
                        await trio.lowlevel.checkpoint()
                for index, (session, silences) in enumerate(tuple(self._sessions.items()), 1):
                    self._beat_session(session, silences)
                    if index % _BATCH == 0:
                        await trio.lowlevel.checkpoint()

    def _beat_connection(self, connection: Connection, nursery: trio.Nursery) -> None:
        now, limits, wire = trio.current_time(), self._limits, connection.wire
        silence = now - wire.last_heard
        if silence >= limits.ping_timeout:
            nursery.start_soon(wire.abort, f"no sign of life for {limits.ping_timeout:g} s")
        elif silence >= limits.ping_interval:
            wire.ping()
        end = connection.opened + limits.connection_age
        if now >= end:
            nursery.start_soon(self._retire, connection)
        elif now >= end - limits.goaway_notice:
            connection.announce("connection_limit", end)
        if now - self._last_use(connection) >= limits.connection_idle:
            nursery.start_soon(connection.end, 1001, f"idle for {limits.connection_idle:g} s", "idle")

    def _last_use(self, connection: Connection) -> float:
        session = connection.session
        return trio.current_time() if session.turns else max(connection.heard, session.idle_since)

    async def _retire(self, connection: Connection) -> None:
        minutes = self._limits.connection_age / 60
        message = f"This connection has reached its limit of {minutes:g} minutes; open another one."
        error = RequestError(400, "websocket_connection_limit_reached", message)
        await connection.retire(1001, "connection limit reached", error, grace=self._limits.drain, tell=True)

    def _beat_session(self, session: Session, silences: dict[Window, _Silence]) -> None:
        now, windows = trio.current_time(), {turn.window for turn in session.turns.values() if _says(turn)}
        for gone in silences.keys() - windows:
            del silences[gone]
        for window in windows:
            silence = silences.setdefault(window, _Silence(window.next_number, now))
            if silence.number != window.next_number or window.pending:
                silence.number, silence.since = window.next_number, now
            elif now - silence.since >= self._limits.keepalive_interval:
                window.put_nowait(_KEEPALIVE, b"")
                silence.number, silence.since = window.next_number, now


def _says(turn: Turn) -> bool:
    """True between ``response.created`` and the terminal event."""
    return turn.response is not None and turn.ending is None
