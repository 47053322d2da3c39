"""``POST /v1/responses/compact``: a conversation in, a shorter one out that a new conversation can begin with.

The user's messages come back as they are, and one compaction item stands for the rest. Nothing is stored, and the id
in the answer is not a response's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentwire.protocol.codec import encode_json, to_wire
from agentwire.protocol.desk import Outcome, Ticket
from agentwire.protocol.errors import RequestError
from agentwire.protocol.listing import Listed
from agentwire.protocol.request import Envelope
from agentwire.protocol.response import Usage
from agentwire.protocol.shortening import is_users_message
from agentwire.runtime.asks import ask_of
from agentwire.runtime.context import compact
from agentwire.runtime.contracts import Ask
from agentwire.runtime.opening import open_request
from agentwire.runtime.service import Service
from agentwire.runtime.session import Session
from agentwire.runtime.step import told_faults
from agentwire.server.http_door import HttpDoor
from agentwire.server.routing import Call
from agentwire.server.sse import JSON

__all__ = ["CompactDoor"]


class CompactDoor:
    """Answers requests for a compaction.

    Args:
        service: engine, store and bounds.
        http: keeps the session of each request, so that it is part of a drain, and ends when the client goes.
    """

    def __init__(self, service: Service, http: HttpDoor) -> None:
        self._service = service
        self._http = http

    async def compact(self, call: Call) -> None:
        """``POST /v1/responses/compact``; what the engine does for it is cancelled when the client goes."""
        body = await call.connection.read_body()
        async with self._http.session(call.principal, call.connection) as session:
            answer = await self._answer(await self._ask(session, body))
            await call.connection.respond(200, (JSON,), encode_json(answer))

    async def _ask(self, session: Session, body: bytes) -> Ask:
        """What an engine would be asked if this were a turn; calls may wait for their outputs.

        Raises:
            RequestError: the request cannot be served.
        """
        service, principal = self._service, session.principal
        ticket = session.desk.submit(Envelope("response.create"), body)
        assert isinstance(ticket, Ticket)
        opened = await open_request(service, session.desk, ticket, principal=principal, transport="http", runs=False)
        new_id = service.sources.new_id("compact")
        return ask_of(service, opened.request, opened.parent, principal=principal, response_id=new_id)

    async def _answer(self, ask: Ask) -> Mapping[str, Any]:
        service, sources = self._service, self._service.sources
        outcome = Outcome.CANCELLED
        used: list[Usage] = []
        try:
            with told_faults(ask.response_id):
                most, item_id = service.limits.compact_threshold, sources.new_id("cmp")
                compacted = await compact(service, ask, item_id, most=most, messages_apart=True, use=used.append)
            outcome = Outcome.COMPLETED
        except RequestError:
            outcome = Outcome.FAILED
            raise
        finally:
            for usage in used:
                service.tally.use(outcome, ask.principal, usage)
        said = [Listed(item.id or sources.new_id("msg"), item).wire() for item in ask.items if is_users_message(item)]
        return {
            "id": ask.response_id,
            "object": "response.compaction",
            "created_at": sources.timestamp(),
            "output": [*said, to_wire(compacted.item)],
            "usage": to_wire(compacted.usage),
        }
