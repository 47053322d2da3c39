"""The MCP servers of a server: those that it was told of, and those that clients bring, where that is allowed.

The first live as long as the server. The others are one session for each principal, URL and set of headers; they are
bounded in number, closed when nobody uses them, and what a client sent for them is kept in memory and nowhere else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

import attrs
import trio

from agentwire.protocol.errors import RequestError
from agentwire.protocol.limits import Limits
from agentwire.protocol.mcp import McpEntry, McpTool
from agentwire.runtime.tools.output import ToolResult
from agentwire.runtime.tools.remote import RemoteServer, RemoteStatistics
from agentwire.runtime.tools.source import Dial, McpServer, ToolSource

__all__ = ["Registry", "allows_url", "check_allowed"]

_log: Final = logging.getLogger("agentwire.tools")

_Key = tuple[str, str, str, frozenset[tuple[str, str]]]


@attrs.define(eq=False)
class _Guest:
    """A server that a client brought, while there is a session with it."""

    server: RemoteServer
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


def check_allowed(url: str) -> None:
    """See whether clients can have MCP servers at this URL, or below it.

    Raises:
        ValueError: it is none.
    """
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise ValueError(f"clients cannot be allowed MCP servers at {url!r}: it is no http or https URL")


class Registry:
    """All MCP servers; of use while `run` runs.

    Args:
        servers: those that the server was told of.
        dial: opens a session.
        limits: every bound.
        allowed_urls: where clients may have servers of their own, as URLs that theirs must be, or be below.

    Raises:
        ValueError: two have the same label, or an allowed URL is none.
    """

    def __init__(
        self, servers: Sequence[McpServer], dial: Dial, limits: Limits, *, allowed_urls: Iterable[str] = ()
    ) -> None:
        self._dial = dial
        self._limits = limits
        self._allowed = tuple(allowed_urls)
        self._servers = {config.label: RemoteServer(config, dial, limits) for config in servers}
        if len(self._servers) < len(servers):
            raise ValueError("two MCP servers have the same label")
        for url in self._allowed:
            check_allowed(url)
        self._guests: dict[_Key, _Guest] = {}
        self._nursery: trio.Nursery | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the servers that clients may ask for."""
        return tuple(self._servers)

    @property
    def always_on(self) -> Iterator[RemoteServer]:
        """The servers whose tools are offered in every turn."""
        return (server for server in self._servers.values() if server.config.always_on)

    def statistics(self) -> tuple[RemoteStatistics, ...]:
        """Of each server, those that clients brought among them."""
        guests = [guest.server for guest in self._guests.values()]
        return tuple(server.statistics() for server in (*self._servers.values(), *guests))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:  # noqa: ASYNC114 - named in its docstring
        """Keep all sessions until cancelled, and then leave them in good order; of use once it is started."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            for server in self._servers.values():
                self._nursery.start_soon(server.run, name=f"MCP server {server.label}")
            while True:
                await trio.sleep(self._limits.mcp_idle / 4)
                self._close_idle()

    def find(self, label: str) -> RemoteServer | None:
        """A server that we were told of."""
        return self._servers.get(label)

    def source(self, principal: str, entry: McpEntry) -> ToolSource:
        """The server that an entry of a request means; a session with a client's own begins now.

        Raises:
            RequestError: it means none, or none that it may have; the text says why.
        """
        server = self.find(entry.label)
        if entry.url is None or (server is not None and server.config.url == entry.url):
            if server is not None:
                return server
            known = ", ".join(self.labels) or "none"
            message = f"There is no MCP server {entry.label!r} here. The servers are: {known}."
            raise RequestError(404, "mcp_server_not_found", message, param=entry.param)
        if not any(allows_url(allowed, entry.url) for allowed in self._allowed):
            message = (
                f"'{entry.param}.server_url' is not among the MCP servers to which the operator of this server lets it "
                f"connect. Name one of its own by 'server_label' alone; it has: {', '.join(self.labels) or 'none'}."
            )
            raise RequestError(400, "mcp_server_url_not_allowed", message, param=entry.param)
        source = _GuestSource(self, principal, entry)
        source.server()
        return source

    def guest(self, principal: str, entry: McpEntry) -> RemoteServer:
        """The session with a client's own server, which may begin now.

        Raises:
            RequestError: 429, there are too many, and all are in use.
        """
        assert entry.url is not None
        key = (principal, entry.label, entry.url, frozenset(entry.headers.items()))
        guest = self._guests.get(key)
        if guest is None:
            self._make_room(principal)
            config = McpServer(label=entry.label, url=entry.url, headers=entry.headers)
            guest = self._guests[key] = _Guest(RemoteServer(config, self._dial, self._limits))
            assert self._nursery is not None
            self._nursery.start_soon(self._run_guest, key, guest, name=f"MCP server {entry.label} of a client")
        return guest.server

    async def _run_guest(self, key: _Key, guest: _Guest) -> None:
        try:
            with guest.scope:
                await guest.server.run()
        finally:
            if self._guests.get(key) is guest:
                del self._guests[key]

    def _make_room(self, principal: str) -> None:
        own = [key for key in self._guests if key[0] == principal]
        for keys, most in ((own, self._limits.mcp_sessions_each), (list(self._guests), self._limits.mcp_sessions)):
            if len(keys) < most:
                continue
            idle = [key for key in keys if not self._guests[key].server.busy]
            if not idle:
                message = f"{most} MCP sessions are in use; wait until a call has ended."
                raise RequestError(429, "mcp_session_limit_reached", message, param="tools")
            self._close(min(idle, key=lambda key: self._guests[key].server.last_used), "it makes room for another")
            return

    def _close_idle(self) -> None:
        oldest = trio.current_time() - self._limits.mcp_idle
        for key, guest in tuple(self._guests.items()):
            if not guest.server.busy and guest.server.last_used <= oldest:
                self._close(key, "nobody uses it")

    def _close(self, key: _Key, why: str) -> None:
        guest = self._guests.pop(key)
        _log.info("MCP server %s of a client: left, because %s", guest.server.label, why)
        guest.scope.cancel(reason=why)


@attrs.frozen
class _GuestSource:
    """A client's own server, whose session may be another one at each use."""

    registry: Registry
    principal: str
    entry: McpEntry

    @property
    def label(self) -> str:
        return self.entry.label

    @property
    def known(self) -> tuple[McpTool, ...] | None:
        return self.server().known

    def server(self) -> RemoteServer:
        return self.registry.guest(self.principal, self.entry)

    async def tools(self) -> tuple[McpTool, ...]:
        return await self.server().tools()

    async def call(self, name: str, arguments: str, *, call_id: str, limits: Limits) -> ToolResult:
        try:
            server = self.server()
        except RequestError as error:
            await trio.lowlevel.checkpoint()
            return ToolResult.failed(error.message)
        return await server.call(name, arguments, call_id=call_id, limits=limits)


def allows_url(allowed: str, url: str) -> bool:
    """Whether a URL is the allowed one, or below it: same scheme, host and port, and its path continues that path."""
    ours, theirs = urlsplit(allowed), urlsplit(url)
    if (ours.scheme, ours.hostname, _port(allowed)) != (theirs.scheme, theirs.hostname, _port(url)):
        return False
    if "@" in theirs.netloc or "%" in theirs.path or ".." in theirs.path.split("/"):
        return False
    stem = ours.path.rstrip("/")
    return theirs.path.rstrip("/") == stem or theirs.path.startswith(f"{stem}/")


def _port(url: str) -> int | None:
    parts = urlsplit(url)
    return parts.port or {"http": 80, "https": 443}.get(parts.scheme)
