"""The HTTP door: the same sessions, turns and windows as the socket's, one session for each request.

``POST /v1/responses`` answers with the whole response or, with ``"stream": true``, with the events as they come. A
client that goes away cancels its turn.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import trio

from agentwire.protocol.codec import encode_json
from agentwire.protocol.cost import cost_steps
from agentwire.protocol.desk import Ticket
from agentwire.protocol.envelope import Delivery, peek_delivery
from agentwire.protocol.errors import RequestError
from agentwire.protocol.request import Envelope
from agentwire.runtime.pulse import Pulse
from agentwire.runtime.service import Service
from agentwire.runtime.session import Session
from agentwire.runtime.turn import Turn
from agentwire.server.background_door import BackgroundDoor
from agentwire.server.presence import while_present
from agentwire.server.routing import Call
from agentwire.server.sse import DONE, JSON, SSE, sse_framing
from agentwire.transport.http11 import HttpConnection

__all__ = ["HttpDoor"]


class HttpDoor:
    """Answers the HTTP requests about responses.

    Args:
        service: engine, store and bounds.
        pulse: keeps the sessions alive.
        background: takes the requests that run without a client.
    """

    def __init__(self, service: Service, pulse: Pulse, background: BackgroundDoor) -> None:
        self._service = service
        self._background = background
        self._pulse = pulse
        self.sessions: set[Session] = set()
        self._idle = trio.Event()
        self._idle.set()

    async def drain(self) -> None:
        """Wait until every request has been answered, for at most ``limits.drain`` seconds."""
        with trio.move_on_after(self._service.limits.drain):  # noqa: ASYNC912 - nothing to wait for is fine
            while self.sessions:
                await self._idle.wait()

    def revoke(self, principal: str, error: RequestError) -> None:
        """End what runs for a principal: its responses fail with this error."""
        for session in self.sessions:
            if session.principal == principal:
                for turn in session.turns.values():
                    turn.cancel(error)

    async def create(self, call: Call) -> None:
        """``POST /v1/responses``; unless it is in the background, the turn is cancelled when the client goes."""
        connection = call.connection
        body = await connection.read_body()
        wanted = await self._delivery(body)
        if wanted.background:
            await self._background.create(call, body, stream=wanted.stream)
            return
        async with self.session(call.principal, connection) as session:
            ticket = session.desk.submit(Envelope("response.create"), body)
            assert isinstance(ticket, Ticket)
            turn = session.start_only(ticket)
            if await self._streams(turn):
                await self._stream(connection, turn)
            else:
                await self._whole(connection, turn)

    async def _delivery(self, body: bytes) -> Delivery:
        """How the answer is wanted; a body that costs too much is refused, in steps, before anything looks into it."""
        for _ in cost_steps(body, self._service.limits):
            await trio.lowlevel.checkpoint()
        return peek_delivery(body)

    @asynccontextmanager
    async def session(self, principal: str, connection: HttpConnection) -> AsyncGenerator[Session]:
        """A session that lives as long as the request does, and ends at once when the client goes."""
        session = Session(self._service, principal=principal)
        self.sessions.add(session)
        self._idle = trio.Event()
        self._pulse.add(session)
        failure: Exception | None = None
        try:
            async with while_present(connection, session.cancel) as nursery:
                await nursery.start(session.run)
                try:
                    yield session
                except Exception as error:  # noqa: BLE001 - raised below
                    failure = error  # a nursery would keep it in a circle, with the turn and all that it was asked
                session.cancel("the request has been answered" if failure is None else f"{failure}")
            if failure is not None:
                raise failure
        finally:
            failure = None
            self._pulse.remove(session)
            self.sessions.discard(session)
            if not self.sessions:
                self._idle.set()

    async def _streams(self, turn: Turn) -> bool:
        """True if there is a response, and the client wants it as a stream; a refusal is never one."""
        await turn.window.readable()
        return turn.response is not None and turn.request is not None and turn.request.stream

    async def _stream(self, connection: HttpConnection, turn: Turn) -> None:
        window, share = turn.window, self._service.limits.slice_bytes
        await connection.start_stream(200, SSE)
        while await window.readable():
            await connection.send_chunk(window.collect(sse_framing, share))
        await connection.end_stream(DONE)

    async def _whole(self, connection: HttpConnection, turn: Turn) -> None:
        window, share = turn.window, self._service.limits.slice_bytes
        while await window.readable():
            window.collect(_nowhere, share)
        if turn.ending is not None and turn.ending.error is not None:
            await connection.respond_error(turn.ending.error)
            return
        await connection.respond(200, (JSON,), encode_json(turn.response))


def _nowhere(_: Sequence[bytes]) -> bytes:
    """A framing for events that nobody reads."""
    return b""
