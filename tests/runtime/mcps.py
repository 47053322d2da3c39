"""MCP servers for tests: plain functions behind a `Dial`, with a life that the test decides."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from agentwire.protocol.limits import Limits
from agentwire.protocol.mcp import McpTool
from agentwire.runtime.groups import open_flat_nursery
from agentwire.runtime.tools.output import ToolResult
from agentwire.runtime.tools.registry import Registry
from agentwire.runtime.tools.source import McpServer, RemoteSession, SessionLost

Run = Callable[..., Awaitable[str | ToolResult]]
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}


async def echo(x: int = 0) -> str:
    await trio.lowlevel.checkpoint()
    return f"echo {x}"


@attrs.define(eq=False)
class Session:
    """One session with a `Fake`."""

    fake: Fake
    over: trio.Event = attrs.field(factory=trio.Event)
    news: trio.Event = attrs.field(factory=trio.Event)

    async def tools(self) -> tuple[McpTool, ...]:
        await trio.lowlevel.checkpoint()
        self.fake.listings += 1
        if self.fake.unlisted is not None:
            raise self.fake.unlisted
        return tuple(
            McpTool(name, SCHEMA, f"{name}.", {"readOnlyHint": True} if name in self.fake.reading else None)
            for name in [*self.fake.functions] * self.fake.repeats
        )

    async def call(self, name: str, arguments: Mapping[str, Any], *, progress: Callable[[], None]) -> ToolResult:
        self.fake.calls.append((name, dict(arguments)))
        self.fake.progress = progress
        result: list[str | ToolResult] = []
        try:
            async with open_flat_nursery() as nursery:
                nursery.start_soon(self._die_with_it, nursery.cancel_scope)
                result.append(await self.fake.functions[name](**arguments))
                nursery.cancel_scope.cancel(reason="the tool has answered")
        except BaseException:
            self.fake.cancelled.append(name)
            raise
        if not result:
            raise SessionLost("the fake was killed")
        return result[0] if isinstance(result[0], ToolResult) else ToolResult(result[0])

    async def _die_with_it(self, scope: trio.CancelScope) -> None:
        await self.over.wait()
        scope.cancel(reason="the fake was killed")

    async def changed(self) -> None:
        await self.news.wait()
        self.news = trio.Event()

    async def ended(self) -> None:
        await self.over.wait()


@attrs.define(eq=False)
class Fake:
    """An MCP server.

    Attributes:
        functions: its tools.
        reading: the names of those that only read.
        repeats: how often each stands in a listing.
        refuses: why it cannot be reached.
        unlisted: what it raises instead of a listing.
        starting: seconds until it is up.
        cleaning: seconds that it takes to leave.
        sessions: all that were opened.
        configs: what each was opened with.
        left: how many of them were left.
    """

    functions: dict[str, Run] = attrs.field(factory=lambda: {"echo": echo})
    reading: tuple[str, ...] = ()
    repeats: int = 1
    refuses: str = ""
    unlisted: Exception | None = None
    starting: float = 0
    cleaning: float = 0
    sessions: list[Session] = attrs.field(factory=list)
    configs: list[McpServer] = attrs.field(factory=list)
    left: int = 0
    listings: int = 0
    calls: list[tuple[str, dict[str, Any]]] = attrs.field(factory=list)
    cancelled: list[str] = attrs.field(factory=list)
    progress: Callable[[], None] | None = None

    @asynccontextmanager
    async def dial(self, config: McpServer, limits: Limits) -> AsyncGenerator[RemoteSession]:
        self.configs.append(config)
        await trio.sleep(self.starting)
        if self.refuses:
            raise OSError(self.refuses)
        session = Session(self)
        self.sessions.append(session)
        try:
            yield session
        finally:
            with trio.CancelScope(shield=self.cleaning < 100):
                await trio.sleep(self.cleaning)
            self.left += 1

    def kill(self) -> None:
        """The latest session dies."""
        self.sessions[-1].over.set()

    def change(self, **functions: Run) -> None:
        """It has other tools now, and says so."""
        self.functions = dict(functions)
        self.sessions[-1].news.set()


def registry(
    fakes: Mapping[str, Fake], limits: Limits | None = None, *, urls: tuple[str, ...] = (), **config: Any
) -> Registry:
    """Servers by label; a URL is a label for what a client brings."""

    def dial(server: McpServer, bounds: Limits) -> Any:
        return fakes[server.url or server.label].dial(server, bounds)

    servers = [McpServer(label=label, command=("fake",), **config) for label in fakes if "/" not in label]
    return Registry(servers, dial, limits or Limits(), allowed_urls=urls)
