"""The WebSocket door: an upgrade is judged as HTTP, then one connection runs on a session of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import trio

from agentwire.protocol.errors import RequestError
from agentwire.protocol.extensions import Permitted
from agentwire.protocol.hello import HEADER, read_header
from agentwire.runtime.background import Background
from agentwire.runtime.connection import Connection
from agentwire.runtime.following_turn import FollowingTurn
from agentwire.runtime.negotiation import Negotiation
from agentwire.runtime.policies import Policy
from agentwire.runtime.pulse import Pulse
from agentwire.runtime.service import Service
from agentwire.runtime.sessions import Sessions
from agentwire.runtime.wire_session import WireSession
from agentwire.server.refusals import overloaded
from agentwire.transport.http11 import HttpConnection
from agentwire.transport.requests import Request
from agentwire.transport.upgrade import judge_upgrade
from agentwire.transport.websocket import open_server_wire

__all__ = ["SocketDoor"]

REVOKED: Final = "access was revoked"

log = logging.getLogger("agentwire.connection")


class SocketDoor:
    """Takes WebSockets.

    Args:
        service: engine, store and bounds.
        pulse: keeps connections alive.
        nursery: owns the sessions: under `Resume` they outlive their connections.
        policy: what a lost connection does.
        permitted: the extensions that clients may ask for.
        background: takes what is to run without its connection.
    """

    def __init__(
        self,
        service: Service,
        pulse: Pulse,
        nursery: trio.Nursery,
        *,
        policy: Policy,
        permitted: Permitted,
        background: Background,
    ) -> None:
        self.connections: set[Connection] = set()
        self.sessions = Sessions(service.limits, service.sources)
        self._open = 0  # those that are still shaking hands included
        self._draining: RequestError | None = None
        self._service = service
        self._pulse = pulse
        self._nursery = nursery
        self._policy = policy
        self._permitted = permitted
        self._background = background

    async def upgrade(self, http: HttpConnection, request: Request, principal: str, request_id: str) -> None:
        """Serve one WebSocket until it ends.

        Raises:
            RequestError: the upgrade is refused; nothing has been said yet.
        """
        limits = self._service.limits
        if self._open >= limits.connections:
            raise overloaded(limits.connections)
        asked = read_header(request.headers.all(HEADER))
        head = judge_upgrade(request, http.early)
        headers = [("x-request-id", request_id)]
        if self._permitted.header:
            headers.append((HEADER, self._permitted.header))
        stream, _ = http.take_over()
        self._open += 1
        try:
            async with open_server_wire(stream, head, headers=headers, limits=limits) as wire:
                negotiation = Negotiation(self._permitted, self.sessions, limits, asked)
                connection = Connection(wire, await self._open_session(principal), negotiation=negotiation)
                with self._listed(connection):
                    log.info("%s: open from %s, session %s", request_id, http.peer, connection.session.id)
                    log.info("%s: over: %s", request_id, await connection.run())
        finally:
            self._open -= 1

    @contextmanager
    def _listed(self, connection: Connection) -> Iterator[None]:
        """The connection counts, its life signs are kept, and it is retired if the server is draining."""
        session = connection.session
        self.connections.add(connection)
        self._pulse.add(session, connection)
        if self._draining is not None:
            self._nursery.start_soon(self._retire, connection, self._draining)
        try:
            yield
        finally:
            self.connections.discard(connection)
            self._pulse.remove(session, connection)
            self._service.tally.ended[connection.kind_of_end] += 1

    async def drain(self, error: RequestError) -> None:
        """Retire every connection, those included that are being opened; wait for turns that have none, too.

        Args:
            error: what new requests are told.
        """
        self._draining = error
        async with trio.open_nursery() as nursery:
            for connection in self.connections:
                nursery.start_soon(self._retire, connection, error)
            with trio.move_on_after(self._service.limits.drain):  # noqa: ASYNC912 - nothing to wait for is fine
                for session in self.sessions:
                    await session.idle()

    async def _retire(self, connection: Connection, error: RequestError) -> None:
        grace = self._service.limits.drain
        connection.announce("drain", trio.current_time() + grace)
        await connection.retire(1012, "the server restarts", error, grace=grace, tell=False)

    async def revoke(self, principal: str) -> None:
        """End all sessions of a principal at once, and close its connections with 1008."""
        for session in self.sessions:
            if session.principal == principal:
                session.cancel(REVOKED)
        async with trio.open_nursery() as nursery:
            for connection in self.connections:
                if connection.session.principal == principal:
                    nursery.start_soon(connection.end, 1008, REVOKED, "revoked")
            await trio.lowlevel.checkpoint()

    async def _open_session(self, principal: str) -> WireSession:
        session = WireSession(self._service, principal=principal, policy=self._policy)
        session.in_background = partial(FollowingTurn, background=self._background)
        self.sessions.add(session)
        await self._nursery.start(self._run_session, session)
        return session

    async def _run_session(self, session: WireSession, *, task_status: trio.TaskStatus[WireSession]) -> None:  # noqa: ASYNC114, ASYNC128 - `Session.run` says started
        try:
            await session.run(task_status=task_status)
        except Exception:  # one session's fault is not the server's
            log.exception("session %s failed", session.id)
            for connection in self.connections:
                if connection.session is session:
                    self._nursery.start_soon(connection.end, 1011, "internal error", "failed")
        finally:
            self.sessions.remove(session)
