"""Which of the server's tools a request selects: its entries of type ``mcp``, beside what is on for everybody.

Nothing is asked of an MCP server here: what is wrong is the request's own fault, and refuses it before it begins.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from agentwire.protocol.errors import RequestError
from agentwire.protocol.mcp import ApprovalRule, McpEntry, McpTool, ToolFilter, read_entry
from agentwire.protocol.mcp_items import Approval
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.tools import OpaqueTool, Tool
from agentwire.runtime.service import Service
from agentwire.runtime.tools.roster import Offered, Roster
from agentwire.runtime.tools.source import ToolSource

__all__ = ["Selected", "Selection", "select"]


@attrs.frozen
class Selected:
    """An MCP server whose tools a turn has.

    Attributes:
        source: the server.
        allowed: those of its tools that are wanted.
        approval: which calls wait for the client.
        param: the entry that asked for it; empty if none did.
    """

    source: ToolSource
    allowed: ToolFilter
    approval: ApprovalRule
    param: str = ""

    def wanted(self, tools: Iterable[McpTool]) -> tuple[McpTool, ...]:
        """The tools among these that are wanted."""
        return tuple(tool for tool in tools if self.allowed.matches(tool))

    def offered(self, tools: Iterable[McpTool]) -> tuple[Offered, ...]:
        """These tools as they are offered."""
        return tuple(Offered.of(self.source, tool, asks_first=self.approval.applies(tool)) for tool in tools)


@attrs.define(eq=False)
class Selection:
    """What a request has to do with tools of the server.

    Attributes:
        clients: the tools that the client offers; entries that this server serves are not among them.
        servers: the MCP servers whose tools it has.
        approvals: the decisions that it brings about calls that waited for them.
    """

    clients: tuple[Tool, ...] = ()
    servers: tuple[Selected, ...] = ()
    approvals: tuple[Approval, ...] = ()

    def roster(self, service: Service, servers: Iterable[Offered] = ()) -> Roster:
        """The turn's tools, once it is known what the MCP servers have."""
        return Roster.of(self.clients, (*service.own, *servers))


def select(service: Service, request: CreateRequest, principal: str, approvals: tuple[Approval, ...] = ()) -> Selection:
    """Find the servers that a request means.

    A server without any MCP set up carries the entries on, as it does every tool that it does not know; so does one
    whose engine says that tools are hosted behind it (an attribute ``hosts_tools``), with the entries of others.

    Raises:
        RequestError: 400 or 404, with the entry as param; or 400, an approval is for a server that it has not got.
    """
    registry = service.registry
    if registry is None:
        return Selection(request.tools)
    hosted = bool(getattr(service.engine_for(request), "hosts_tools", False))
    clients: list[Tool] = []
    chosen: dict[str, Selected] = {}
    for index, tool in enumerate(request.tools):
        if not isinstance(tool, OpaqueTool) or tool.type != "mcp":
            clients.append(tool)
            continue
        try:
            entry = read_entry(tool.raw, f"tools[{index}]")
            source = registry.source(principal, entry)
        except RequestError:
            if not hosted:
                raise
            clients.append(tool)
            continue
        if entry.label in chosen:
            message = f"Two entries of 'tools' have the server_label {entry.label!r}."
            raise RequestError.invalid(message, param=f"{entry.param}.server_label")
        chosen[entry.label] = Selected(source, entry.allowed, _rule(service, entry), entry.param)
    for server in registry.always_on:
        rule = server.config.approval or ApprovalRule(usual=False)
        chosen.setdefault(server.label, Selected(server, ToolFilter(), rule))
    ours = tuple(approval for approval in approvals if approval.label in chosen or not hosted)
    for approval in ours:
        if approval.approved and approval.label not in chosen:
            message = f"What '{approval.param}' approves is a call of {approval.label!r}, which is not in 'tools'."
            raise RequestError.invalid(message, param=approval.param)
    return Selection(tuple(clients), tuple(chosen.values()), ours)


def _rule(service: Service, entry: McpEntry) -> ApprovalRule:
    """The request's own rule, then the operator's, then the hosted service's: every call waits."""
    if entry.approval is not None:
        return entry.approval
    server = service.registry.find(entry.label) if service.registry is not None and entry.url is None else None
    return (server.config.approval if server is not None else None) or ApprovalRule()
