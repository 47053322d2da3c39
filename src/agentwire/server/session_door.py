"""Responses of a session over HTTP: whoever has its token reads one from where it is, and follows it to its end.

The reader comes and goes as it likes: that ends nothing, and the session's own connection loses nothing by it.
"""

from __future__ import annotations

from agentwire.protocol.errors import RequestError
from agentwire.protocol.hello import SESSION_HEADER
from agentwire.runtime.onlooker import Onlooker
from agentwire.runtime.service import Service
from agentwire.runtime.sessions import Sessions
from agentwire.server.presence import while_present
from agentwire.server.query import read_flag, read_number
from agentwire.server.routing import Call
from agentwire.server.sse import DONE, SSE, sse_framing
from agentwire.transport.http11 import HttpConnection

__all__ = ["SessionDoor"]

TERMINAL = (b'{"type":"response.completed"', b'{"type":"response.incomplete"', b'{"type":"response.failed"')


class SessionDoor:
    """Answers requests that present a session's token.

    Args:
        service: bounds.
        sessions: where tokens lead.
    """

    def __init__(self, service: Service, sessions: Sessions) -> None:
        self._service = service
        self._sessions = sessions

    async def follow(self, call: Call) -> None:
        """``GET /v1/responses/{id}?stream=true`` with the token of a session: its events after ``starting_after``."""
        query = call.request.query
        if not read_flag(query, "stream"):
            raise RequestError.invalid("A response of a session can only be streamed.", param="stream")
        after = read_number(query, "starting_after", least=0)
        onlooker = self._find(call, -1 if after is None else after)
        connection = call.connection
        async with while_present(connection):
            await connection.start_stream(200, SSE)
            if await self._send(connection, onlooker):
                await connection.end_stream(DONE)
            else:
                await connection.abort("the response was cut off")

    def _find(self, call: Call, after: int) -> Onlooker:
        try:
            session = self._sessions.find(call.request.headers[SESSION_HEADER], call.principal)
            return session.look_on(call.response_id, after)
        except RequestError as error:
            raise RequestError(404, error.code, error.message, param=SESSION_HEADER) from None
        except ValueError as error:
            message = f"This session has no such events: {error}."
            raise RequestError(404, "agentwire:session_gap", message, param="starting_after") from None

    async def _send(self, connection: HttpConnection, onlooker: Onlooker) -> bool:
        """Send what there is and what comes; False if it stops without the response's end."""
        last = onlooker.latest()  # a client may have it all, and ask whether there is more
        try:
            while events := await onlooker.read(self._service.limits.slice_bytes):
                await connection.send_chunk(sse_framing(events))
                last = events[-1]
        except ValueError:
            return False
        return last.startswith(TERMINAL)
