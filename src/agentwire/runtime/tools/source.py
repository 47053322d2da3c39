"""Where the tools come from that a server runs: its own functions, or a session with an MCP server.

A turn knows a `ToolSource` by its label, asks it for its tools and has it run them. A `RemoteSession` is one connection
to an MCP server, made by a `Dial`; tests make theirs of plain functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import attrs

from agentwire.protocol.errors import AgentwireError
from agentwire.protocol.limits import Limits
from agentwire.protocol.mcp import ApprovalRule, McpTool, ToolFilter, is_label
from agentwire.runtime.tools.output import ToolResult

__all__ = ["Dial", "McpServer", "RemoteSession", "SessionGone", "SessionLost", "ToolRunner", "ToolSource"]


class SessionLost(AgentwireError):
    """A session with an MCP server is over, or never came to be; its text says why."""


class SessionGone(SessionLost):
    """The MCP server knows no such session any more, and did nothing of what it was asked in it."""


class ToolRunner(Protocol):
    """Runs tools, under one label."""

    @property
    def label(self) -> str:
        """Under which their calls appear in ``mcp_call`` items."""

    async def call(self, name: str, arguments: str, *, call_id: str, limits: Limits) -> ToolResult:
        """Run one call to its end or its deadline; whatever it does is a result, and only cancellation passes."""


class ToolSource(ToolRunner, Protocol):
    """A `ToolRunner` that must be asked which tools it has."""

    @property
    def known(self) -> tuple[McpTool, ...] | None:
        """The tools that it had when it last said so; None if it never did."""

    async def tools(self) -> tuple[McpTool, ...]:
        """The tools there are; those that it had, if it is away.

        Raises:
            SessionLost: nobody can say, because there never was a session.
        """


class RemoteSession(Protocol):
    """A session with an MCP server; used by many tasks, and left by the one that opened it."""

    async def tools(self) -> tuple[McpTool, ...]:
        """Ask for the tools.

        Raises:
            SessionLost: the session is over.
            ToolError: this listing failed, and nothing else.
        """

    async def call(self, name: str, arguments: Mapping[str, Any], *, progress: Callable[[], None]) -> ToolResult:
        """Have a tool run; cancelled, the server is told, and the session stays of use.

        Args:
            name: which tool.
            arguments: for it.
            progress: called for each sign of life.

        Raises:
            SessionGone: the session is over, and was before the call.
            SessionLost: the session is over; nobody knows what became of the call.
            ToolError: the call failed, and nothing else.
        """

    async def changed(self) -> None:
        """Wait until the tools are to be asked for: they are others now, or a call has left the session in doubt."""

    async def ended(self) -> None:
        """Wait until the session is of no more use."""


def _without_query(url: str | None) -> str:
    return repr(url and url.partition("?")[0])


@attrs.frozen(kw_only=True)
class McpServer:
    """An MCP server whose tools a server offers: a command to run, or a URL.

    What it is sent (``env``, ``headers``) is in no `repr`.

    Attributes:
        label: how requests and items name it; begins with a letter, and has letters, digits, ``-`` and ``_``.
        command: the program and its arguments; it speaks on stdin and stdout.
        env: its environment, besides `agentwire.runtime.processes.INHERITED`.
        cwd: its folder.
        url: of a server that is reached by HTTP.
        headers: for each request to it.
        allowed: the tools that anybody may use.
        approval: which calls wait for the client's approval, where the request says nothing of that; None is what the
            hosted service does: all of them, for a request that asked for the server, and none, where nobody asked.
        always_on: offered in every turn, whether the request asks for it or not.
        timeout: seconds without an answer and without a sign of progress after which a call has failed; the call as a
            whole has `Limits.tool_seconds`.
        output_bytes: most bytes of output that are passed on; None is `Limits.tool_output_bytes`.

    Raises:
        ValueError: the label is none, or there is not exactly one of command and URL.
    """

    label: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    cwd: str | None = None
    url: str | None = attrs.field(default=None, repr=_without_query)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    allowed: ToolFilter = attrs.field(factory=ToolFilter)
    approval: ApprovalRule | None = None
    always_on: bool = False
    timeout: float | None = None
    output_bytes: int | None = None

    def __attrs_post_init__(self) -> None:
        if not is_label(self.label):
            raise ValueError(f"{self.label!r} is no label: it begins with a letter, and has up to 64 of [a-zA-Z0-9_-]")
        if bool(self.command) == bool(self.url):
            raise ValueError(f"MCP server {self.label}: say either a command or a URL")


Dial = Callable[[McpServer, Limits], AbstractAsyncContextManager[RemoteSession]]
"""Opens a session; entered and left by the same task. Raises `SessionLost`, or whatever the network does."""
