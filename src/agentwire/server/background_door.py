"""Background responses over HTTP: started at once, then polled, followed as a stream, cancelled.

A client that leaves stops nothing: a stream is a reader of what is in the store, and there may be many of one response.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from agentwire.protocol.codec import encode_json
from agentwire.protocol.errors import RequestError
from agentwire.runtime.background import Background
from agentwire.runtime.contracts import RUNNING, Stored
from agentwire.runtime.follower import Follower
from agentwire.runtime.service import Service
from agentwire.server.presence import while_present
from agentwire.server.query import read_number
from agentwire.server.refusals import no_response
from agentwire.server.routing import Call
from agentwire.server.sse import DONE, JSON, SSE, sse_framing
from agentwire.transport.http11 import HttpConnection

__all__ = ["BackgroundDoor"]


class BackgroundDoor:
    """Answers requests about background responses.

    Args:
        service: store and bounds.
        background: those that run.
    """

    def __init__(self, service: Service, background: Background) -> None:
        self._service = service
        self._background = background
        self._streams = 0
        self._idle = trio.Event()
        self._idle.set()

    async def drain(self) -> None:
        """Wait until every response has ended, or was ended, and what follows them has been told.

        Who reads slowly has ``limits.drain`` seconds from now, and ``limits.close_grace`` from the end in any case.
        """
        limits, begun = self._service.limits, trio.current_time()
        await self._background.drain()
        with trio.move_on_at(max(begun + limits.drain, trio.current_time() + limits.close_grace)):  # noqa: ASYNC912 - nothing to wait for is fine
            while self._streams:
                await self._idle.wait()

    async def create(self, call: Call, body: bytes, *, stream: bool) -> None:
        """``POST /v1/responses`` with ``background``: the response as it was accepted, or its events."""
        job = await self._background.start(call.principal, body)
        assert job.response is not None
        if stream:
            await self._stream(call, job.response.id, after=-1)
        else:
            await call.connection.respond(200, (JSON,), encode_json(job.response))

    async def follow(self, call: Call, stored: Stored) -> None:
        """``GET /v1/responses/{id}?stream=true``: its events after ``starting_after``, to the last."""
        after = read_number(call.request.query, "starting_after", least=0)
        if not stored.background:
            message = "Only a response that was created with 'background' can be streamed again."
            raise RequestError.invalid(message, param="stream")
        await self._stream(call, call.response_id, after=-1 if after is None else after)

    async def _stream(self, call: Call, response_id: str, *, after: int) -> None:
        connection, share = call.connection, self._service.limits.write_bytes
        follower = Follower(self._service, self._background, call.principal, response_id, after)
        await follower.check()
        async with self._watched(connection):
            await connection.start_stream(200, SSE)
            while events := await follower.read(share):
                await connection.send_chunk(sse_framing(events))
            await connection.end_stream(DONE)

    @asynccontextmanager
    async def _watched(self, connection: HttpConnection) -> AsyncGenerator[None]:
        """The reader ends when its client goes, and nothing else does."""
        self._streams += 1
        if self._streams == 1:
            self._idle = trio.Event()
        try:
            async with while_present(connection):
                yield
        finally:
            self._streams -= 1
            if not self._streams:
                self._idle.set()

    async def cancel(self, call: Call) -> None:
        """``POST /v1/responses/{id}/cancel``: the response as it is then; one that has ended stays as it is."""
        await call.connection.read_body()
        stored = await self._find(call)
        if not stored.background:
            message = "Only a response that was created with 'background' can be cancelled."
            raise RequestError.invalid(message, param="id", code="response_not_in_background")
        await self.stop(call, stored)
        await call.connection.respond(200, (JSON,), (await self._find(call)).response)

    async def stop(self, call: Call, stored: Stored) -> None:
        """Cancel the response, if it runs, and wait for its end.

        Raises:
            RequestError: 409, it does not end, or runs in another process.
        """
        if stored.status in RUNNING and self._background.find(call.principal, call.response_id) is None:
            message = f"Response {call.response_id!r} is made by another process; only that one can end it."
            raise RequestError(409, "response_runs_elsewhere", message, param="id")
        if not await self._background.cancel(call.principal, call.response_id):
            message = f"Response {call.response_id!r} is being cancelled, and still cleans up; ask again."
            raise RequestError(409, "response_not_ended", message, param="id", headers={"retry-after": "1"})

    async def _find(self, call: Call) -> Stored:
        stored = await self._service.store.get(call.principal, call.response_id)
        if stored is None:
            raise no_response(call.response_id)
        return stored
