"""What concerns responses that are stored, or that nobody runs: reading, listing and deleting them, counting tokens.

Every answer is one JSON object. A principal sees its own responses only.
"""

from __future__ import annotations

from typing import Final

import attrs
import trio

from agentwire.protocol.codec import decode_create_steps, encode_json
from agentwire.protocol.errors import RequestError
from agentwire.protocol.listing import list_page
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.transcript import Node
from agentwire.runtime.contracts import Stored
from agentwire.runtime.counting import count_input
from agentwire.runtime.opening import resolve_items
from agentwire.runtime.service import Service
from agentwire.server.background_door import BackgroundDoor
from agentwire.server.query import read_choice, read_flag, read_number
from agentwire.server.refusals import no_response
from agentwire.server.routing import Call
from agentwire.server.sse import JSON

__all__ = ["StoredDoor"]

PAGE: Final = 20
LARGEST_PAGE: Final = 100


class StoredDoor:
    """Answers requests about stored responses.

    Args:
        service: store and bounds.
        background: streams responses again, and stops them.
    """

    def __init__(self, service: Service, background: BackgroundDoor) -> None:
        self._service = service
        self._background = background

    async def retrieve(self, call: Call) -> None:
        """``GET /v1/responses/{id}``: the response as it is now, or the events that make it."""
        stream = read_flag(call.request.query, "stream")
        stored = await self._find(call)
        if stream:
            await self._background.follow(call, stored)
            return
        await call.connection.respond(200, (JSON,), stored.response)

    async def delete(self, call: Call) -> None:
        """``DELETE /v1/responses/{id}``, cancelled if it runs; responses that continue it keep their history."""
        await self._background.stop(call, await self._find(call))
        if not await self._service.store.delete(call.principal, call.response_id):
            raise no_response(call.response_id)
        gone = {"id": call.response_id, "object": "response", "deleted": True}
        await call.connection.respond(200, (JSON,), encode_json(gone))

    async def list_input(self, call: Call) -> None:
        """``GET /v1/responses/{id}/input_items``: everything that its model saw, page by page."""
        query = call.request.query
        newest_first = read_choice(query, "order", "desc", "asc") == "desc"
        limit = read_number(query, "limit", least=1, most=LARGEST_PAGE) or PAGE
        stored = await self._find(call)
        page = list_page(
            stored.node, newest_first=newest_first, limit=limit, after=query.get("after"), before=query.get("before")
        )
        await call.connection.respond(200, (JSON,), encode_json(page))

    async def count_tokens(self, call: Call) -> None:
        """``POST /v1/responses/input_tokens``: what a request like this would put in front of the model."""
        request = await self._decode(await call.connection.read_body())
        parent = await self._parent(call.principal, request.previous_response_id)
        whole = await resolve_items(self._service, call.principal, parent, request.input)
        request = attrs.evolve(request, input=whole)
        tokens = await count_input(self._service, request, parent, principal=call.principal)
        answer = {"object": "response.input_tokens", "input_tokens": tokens}
        await call.connection.respond(200, (JSON,), encode_json(answer))

    async def _decode(self, body: bytes) -> CreateRequest:
        steps = decode_create_steps(body, self._service.limits, transport="http", partial=True)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                request: CreateRequest = end.value
                return request
            await trio.lowlevel.checkpoint()

    async def _parent(self, principal: str, wanted: str | None) -> Node | None:
        if wanted is None:
            return None
        stored = await self._service.store.get(principal, wanted)
        if stored is None or not stored.continuable:
            message = f"No response {wanted!r} is stored that could be continued."
            raise RequestError(400, "previous_response_not_found", message, param="previous_response_id")
        return stored.node

    async def _find(self, call: Call) -> Stored:
        stored = await self._service.store.get(call.principal, call.response_id)
        if stored is None:
            raise no_response(call.response_id)
        return stored
