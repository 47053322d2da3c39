"""The server's tools in one turn: which there are, told to the client where it asked for an MCP server.

An ``mcp_list_tools`` item stands once in a conversation, and again when the list is another one. While the item is
there, a turn needs nothing of the server before it calls a tool.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from agentwire.protocol.codec import decode_item
from agentwire.protocol.errors import RequestError
from agentwire.protocol.items import Item
from agentwire.protocol.mcp import McpTool
from agentwire.protocol.mcp_items import LISTING, Approval, find_listing, listed, tools_of
from agentwire.runtime.contracts import Ask, Finish, Out
from agentwire.runtime.making import Output
from agentwire.runtime.out import TurnOut
from agentwire.runtime.selecting import Selected, Selection
from agentwire.runtime.service import Service
from agentwire.runtime.telling import event_parts
from agentwire.runtime.tools.roster import Offered, Roster
from agentwire.runtime.tools.source import SessionLost
from agentwire.runtime.window import Window

__all__ = ["Equipment"]

_log: Final = logging.getLogger("agentwire.turn")


@attrs.define
class _Listing:
    """A listing that has been begun; ``asks`` between its first event of its own and its last."""

    index: int
    item: Mapping[str, Any]
    asks: bool = False

    @property
    def where(self) -> dict[str, Any]:
        return {"item_id": self.item["id"], "output_index": self.index}


class Equipment:
    """The tools of one turn.

    Args:
        service: what all turns share.
        window: takes the events.
        output: takes the listings.
        selection: what the request has selected.

    Attributes:
        roster: the tools; those of MCP servers only once `open` has found them.
    """

    def __init__(self, service: Service, window: Window, output: Output, selection: Selection) -> None:
        self.roster: Roster = selection.roster(service)
        self._service = service
        self._window = window
        self._output = output
        self._selection = selection
        self._begun: _Listing | None = None

    @property
    def approvals(self) -> tuple[Approval, ...]:
        """The client's decisions, which come before anything else."""
        return self._selection.approvals

    @property
    def is_remote(self) -> bool:
        """Whether there is anything to find out."""
        return bool(self._selection.servers)

    async def open(self, ask: Ask) -> None:
        """Find out which tools the MCP servers have. If it raises or is cancelled, `close` is to follow.

        Args:
            ask: with the context, where listings are.

        Raises:
            RequestError: 424, a server that the client asked for cannot say which tools it has; or 400, the tool that
                ``tool_choice`` names is not among them.
        """
        offered: list[Offered] = []
        for selected in self._selection.servers:
            offered += selected.offered(await self._tools(selected, ask.items))
        self.roster = self._selection.roster(self._service, offered)
        self.roster.check(ask.request.tool_choice)

    async def _tools(self, selected: Selected, items: Sequence[Item]) -> tuple[McpTool, ...]:
        source = selected.source
        if not selected.param:
            return await self._unasked(selected)
        told = find_listing(items, source.label)
        if told is not None:
            tools = tools_of(told)
            if source.known is None or tools == selected.wanted(source.known):
                return tools
        return await self._list(selected)

    async def _unasked(self, selected: Selected) -> tuple[McpTool, ...]:
        """Of a server that is on for everybody: where it is away, its tools are too."""
        try:
            return selected.wanted(await selected.source.tools())
        except SessionLost as error:
            _log.warning("a turn goes on without tools: %s", error)
            return ()

    async def _list(self, selected: Selected) -> tuple[McpTool, ...]:
        """Ask, and tell of it."""
        label, item_id = selected.source.label, self._service.sources.new_id("mcpl")
        begun = _Listing(self._output.open(), listed(item_id, label, ()))
        await self._say("response.output_item.added", {"output_index": begun.index, "item": begun.item})
        self._begun = begun
        await self._say(f"response.{LISTING}.in_progress", begun.where)
        begun.asks = True
        tools: tuple[McpTool, ...] = ()
        lost: SessionLost | None = None
        try:
            tools = selected.wanted(await selected.source.tools())
        except SessionLost as error:
            lost = error
        if lost is not None:
            await self._finish(begun, "failed", listed(item_id, label, (), str(lost)))
            message = f"The tools of MCP server {label!r} cannot be listed: {lost}."
            raise RequestError(424, "mcp_list_tools_failed", message, param=selected.param) from lost
        await self._finish(begun, "completed", listed(item_id, label, tools))
        return tools

    async def _finish(self, begun: _Listing, how: str, item: Mapping[str, Any]) -> None:
        await self._say(f"response.{LISTING}.{how}", begun.where)
        begun.asks, begun.item = False, item
        await self._say("response.output_item.done", {"output_index": begun.index, "item": item})
        self._begun = None
        self._output.fill(begun.index, decode_item(item))

    def close(self) -> None:
        """The response fails: a listing that was begun will not be finished."""
        begun, self._begun = self._begun, None
        if begun is None:
            return
        if begun.asks:
            self._window.put_nowait(*event_parts(f"response.{LISTING}.failed", begun.where))
        item = {**begun.item, "error": begun.item.get("error") or "It was cut off."}
        self._window.put_nowait(*event_parts("response.output_item.done", {"output_index": begun.index, "item": item}))
        self._output.fill(begun.index, decode_item(item))

    async def _say(self, kind: str, members: Mapping[str, Any]) -> None:
        await self._window.put(*event_parts(kind, members))

    # Approvals

    async def run_approved(self, _ask: Ask, out: Out) -> Finish:
        """In the place of an engine: the calls that waited for the client, as it has decided."""
        assert isinstance(out, TurnOut)
        for approval in self.approvals:
            await out.settle(approval, self.roster.find(approval.label, approval.name))
        return Finish()
