"""The WebSocket door: an upgrade is judged as HTTP, then one connection runs on a session of its own."""

from __future__ import annotations

import logging

import trio

from agentwire.protocol.errors import RequestError
from agentwire.runtime.connection import Connection
from agentwire.runtime.policies import Policy
from agentwire.runtime.pulse import Pulse
from agentwire.runtime.service import Service
from agentwire.runtime.session import Session
from agentwire.transport.http11 import HttpConnection
from agentwire.transport.requests import Request
from agentwire.transport.upgrade import judge_upgrade
from agentwire.transport.websocket import open_server_wire

__all__ = ["SocketDoor"]

log = logging.getLogger("agentwire.connection")


class SocketDoor:
    """Takes WebSockets.

    Args:
        service: engine, store and bounds.
        pulse: keeps connections alive.
        nursery: owns the sessions: under `Resume` they outlive their connections.
        policy: what a lost connection does.
    """

    def __init__(self, service: Service, pulse: Pulse, nursery: trio.Nursery, policy: Policy) -> None:
        self.connections: set[Connection] = set()
        self.sessions: set[Session] = set()
        self._service = service
        self._pulse = pulse
        self._nursery = nursery
        self._policy = policy

    async def upgrade(self, http: HttpConnection, request: Request, principal: str, request_id: str) -> None:
        """Serve one WebSocket until it ends.

        Raises:
            RequestError: the upgrade is refused; nothing has been said yet.
        """
        limits = self._service.limits
        if len(self.connections) >= limits.connections:
            message = f"This server has its {limits.connections} connections; try again, or another one."
            raise RequestError(503, "server_is_overloaded", message, headers={"retry-after": "5"})
        head = judge_upgrade(request, http.early)
        stream, _ = http.take_over()
        async with open_server_wire(stream, head, headers=(("x-request-id", request_id),), limits=limits) as wire:
            session = await self._open_session(principal)
            connection = Connection(wire, session)
            self.connections.add(connection)
            self._pulse.add(session, connection)
            log.info("%s: open from %s, session %s", request_id, http.peer, session.id)
            reason = "the server stopped"
            try:
                reason = await connection.run()
            finally:
                self.connections.discard(connection)
                self._pulse.remove(session, connection)
                self._service.tally.ended[connection.kind_of_end] += 1
                log.info("%s: over: %s", request_id, reason)

    async def _open_session(self, principal: str) -> Session:
        session = Session(self._service, principal=principal, policy=self._policy)
        self.sessions.add(session)
        await self._nursery.start(self._run_session, session)
        return session

    async def _run_session(self, session: Session, *, task_status: trio.TaskStatus[Session]) -> None:
        try:
            await session.run(task_status=task_status)
        finally:
            self.sessions.discard(session)
