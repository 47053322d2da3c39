"""How a turn opens: its message is read, what it continues is found, and both are checked; nothing has been said yet.

Whatever is wrong here is the client's mistake, and refuses the request with an error that names the place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import attrs
import trio

from agentwire.protocol.codec import decode_create, decode_create_steps
from agentwire.protocol.copying import changed
from agentwire.protocol.desk import Desk, Ticket
from agentwire.protocol.errors import RequestError
from agentwire.protocol.items import Item, ItemReference, OpaqueItem
from agentwire.protocol.mcp_items import approvals_in
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.tools import TOOL_ITEMS, OpaqueTool, Tool, check_tool_choice
from agentwire.protocol.transcript import History, Node, check_pairing, resolve
from agentwire.runtime.asks import has_trigger
from agentwire.runtime.context import manages_context
from agentwire.runtime.selecting import Selection, select
from agentwire.runtime.service import Service

__all__ = ["Opened", "Transport", "open_request", "resolve_items"]

Transport = Literal["websocket", "http", "background"]
"""How a request came; ``background``: over a WebSocket, to run without it."""


@attrs.define(eq=False)
class Opened:
    """A request that may run.

    Attributes:
        request: what was asked, references resolved.
        parent: what it continues; pinned by the ticket.
        size: bytes of its message.
        selection: what it has to do with tools of the server.
    """

    request: CreateRequest
    parent: Node | None
    size: int
    selection: Selection


async def open_request(
    service: Service, desk: Desk, ticket: Ticket, *, principal: str, transport: Transport, runs: bool = True
) -> Opened:
    """Read a ticket's message and find what it continues.

    Args:
        service: store, tools and bounds.
        desk: knows the responses of this connection.
        ticket: the request.
        principal: who asks.
        transport: how it came.
        runs: whether a model will answer; otherwise calls may go on waiting for their outputs.

    Raises:
        RequestError: it cannot run; no event of it has been written.
    """
    size = len(ticket.frame)
    request = ticket.request
    if request is None and size <= service.limits.slice_bytes:
        request = decode_create(ticket.frame, service.limits, transport=transport)
    elif request is None:
        request = await _decode(service, ticket.frame, transport)
    ticket.frame = b""
    service.engine_for(request)  # refused, if there is none
    parent, wanted = None, request.previous_response_id
    if wanted is not None:
        parent = await _find_parent(service, desk, ticket, principal, wanted)
    whole = await resolve_items(service, principal, parent, request.input)
    steers = desk.take_steers(ticket)
    if steers or whole is not request.input:
        request = changed(request, {"input": (*steers, *whole)})
    if not service.store.retains:
        request = changed(request, {"store": False})
    ticket.request = request
    generates = runs and request.generate and not has_trigger(request)
    ticket.steerable = transport == "websocket" and generates and not manages_context(request)
    check_pairing(parent, request.input, generate=generates)
    if not runs:
        return Opened(request, parent, size, Selection(request.tools))
    approvals = approvals_in(parent, request.input) if service.registry is not None and generates else ()
    selection = select(service, request, principal, approvals)
    _check_choice(service, request, parent)
    return Opened(request, parent, size, selection)


def _check_choice(service: Service, request: CreateRequest, parent: Node | None) -> None:
    """Whether what must be called is on offer; which tools an MCP server has is not known yet.

    Raises:
        RequestError: 400, param ``tool_choice``.
    """
    if request.tool_choice.mode != "required" and not request.tool_choice.names:
        return
    own: list[Tool] = [*service.toolbox.specs]
    labels = [server.label for server in service.registry.always_on] if service.registry is not None else []
    labels += [service.server_label] if own else []
    late = _late_tools(History(parent, request.input))
    servers = (OpaqueTool({"type": "mcp", "server_label": label}) for label in labels)
    check_tool_choice(request.tool_choice, (*request.tools, *late, *own, *servers))


async def _decode(service: Service, frame: bytes, transport: Transport) -> CreateRequest:
    """Read a large message in steps: it must not hold up everybody else."""
    steps = decode_create_steps(frame, service.limits, transport=transport)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            request: CreateRequest = end.value
            return request
        await trio.lowlevel.checkpoint()


async def _find_parent(service: Service, desk: Desk, ticket: Ticket, principal: str, wanted: str) -> Node:
    found = ticket.parent or desk.find_parent(ticket)
    if found is None and (stored := await service.store.get(principal, wanted)) is not None and stored.continuable:
        found = ticket.parent = stored.node
    if found is None:
        message = f"No response {wanted!r} is available on this connection or in the store."
        raise RequestError(400, "previous_response_not_found", message, param="previous_response_id")
    return found


async def resolve_items(
    service: Service, principal: str, parent: Node | None, given: tuple[Item, ...]
) -> tuple[Item, ...]:
    """Put the items in place that are only referred to: any of the principal's stored responses may have them.

    Where there are none, what was given is returned itself.

    Raises:
        RequestError: 400 or 404, an item is part of the conversation already, or nowhere.
    """
    if ItemReference not in map(type, given):
        return given
    wanted = dict.fromkeys(item.id for item in given if isinstance(item, ItemReference))
    found = {item_id: await service.store.find_item(principal, item_id) for item_id in wanted}
    return resolve(parent, given, found.get)


def _late_tools(items: Iterable[Item]) -> Iterator[Tool]:
    """Tools that were offered by an item instead of the request."""
    for item in items:
        if isinstance(item, OpaqueItem) and item.type in TOOL_ITEMS:
            yield OpaqueTool(item.raw)
