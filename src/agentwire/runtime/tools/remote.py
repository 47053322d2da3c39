"""An MCP server as a source of tools: its session is opened, owned and left by one task, and opened again when it dies.

A call runs in the task of its caller, under that task's cancellation; it never outlives the session unnoticed. What
the server's tools are is remembered while it is away.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec
import trio

from agentwire.protocol.limits import Limits
from agentwire.protocol.mcp import McpTool
from agentwire.runtime.groups import single
from agentwire.runtime.tools.local import ToolError
from agentwire.runtime.tools.output import ToolResult
from agentwire.runtime.tools.source import Dial, McpServer, RemoteSession, SessionGone, SessionLost

__all__ = ["RemoteServer", "RemoteStatistics"]

_log: Final = logging.getLogger("agentwire.tools")
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])


@attrs.frozen(kw_only=True)
class RemoteStatistics:
    """A snapshot of one MCP server: whether it can be asked now, and totals since it was first started."""

    label: str
    up: bool
    starts: int
    calls: int
    running: int
    waiting: int


@attrs.define(eq=False)
class _Held:
    """A session while it is held.

    Attributes:
        scope: shields it from a cancellation of its owner, which gets its deadline by that.
        over: it is of no more use.
        leave: its owner wants to leave it.
        session: while it can be used.
        began: it could be used once.
    """

    scope: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))
    over: trio.Event = attrs.field(factory=trio.Event)
    leave: trio.Event = attrs.field(factory=trio.Event)
    session: RemoteSession | None = None
    began: bool = False


class RemoteServer:
    """One MCP server and the session with it; a `ToolSource` while `run` runs.

    Args:
        config: what it is.
        dial: opens a session.
        limits: every bound.

    Attributes:
        known: the tools that it had when it last said so; None if it never did.
        problem: why there is no session; empty while there is one, and before the first attempt has ended.
        last_used: Trio's time of the last use.
    """

    def __init__(self, config: McpServer, dial: Dial, limits: Limits) -> None:
        self.config = config
        self.known: tuple[McpTool, ...] | None = None
        self.problem = ""
        self.last_used = trio.current_time()
        self._dial = dial
        self._limits = limits
        self._held: _Held | None = None
        self._up = trio.Event()
        self._slots = trio.CapacityLimiter(limits.mcp_calls)
        self._starts = 0
        self._calls = 0

    @property
    def label(self) -> str:
        """Under which its tools appear."""
        return self.config.label

    @property
    def busy(self) -> bool:
        """Whether a call runs or waits."""
        statistics = self._slots.statistics()
        return bool(statistics.borrowed_tokens or statistics.tasks_waiting)

    def statistics(self) -> RemoteStatistics:
        """Counts at this moment."""
        slots = self._slots.statistics()
        return RemoteStatistics(
            label=self.label,
            up=self._up.is_set(),
            starts=self._starts,
            calls=self._calls,
            running=slots.borrowed_tokens,
            waiting=slots.tasks_waiting,
        )

    # The session

    async def run(self) -> None:
        """Keep a session until cancelled; then it is left in good order, within ``2 * limits.mcp_exit`` seconds."""
        pause = self._limits.mcp_restart
        while True:
            begun = trio.current_time()
            await self._hold_one()
            if trio.current_time() - begun > self._limits.mcp_restart_most:
                pause = self._limits.mcp_restart
            _log.warning("MCP server %s: %s; it is started again in %g s", self.label, self.problem, pause)
            await trio.sleep(pause)
            pause = min(2 * pause, self._limits.mcp_restart_most)

    async def _hold_one(self) -> None:
        """One session from its beginning to its end."""
        self._held = held = _Held()
        self._starts += 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hold, held, name=f"MCP server {self.label}")
            try:
                await held.over.wait()
            finally:
                grace = 2 * self._limits.mcp_exit if held.began else 0
                held.leave.set()
                held.scope.deadline = min(held.scope.deadline, trio.current_time() + grace)

    async def _hold(self, held: _Held) -> None:
        problem = f"it did not start within {self._limits.mcp_connect:g} s"
        held.scope.deadline = trio.current_time() + self._limits.mcp_connect
        try:
            with held.scope:
                async with self._dial(self.config, self._limits) as session:
                    await self._learn(session)
                    problem = "it ended"
                    await self._keep(session, held)
        except Exception as error:  # noqa: BLE001 - whatever a foreign process or library does ends this session only
            problem = _words(single(error) if isinstance(error, ExceptionGroup) else error)
        finally:
            self._lose(held)
            self.problem = problem

    async def _keep(self, session: RemoteSession, held: _Held) -> None:
        """From when it is of use until it is not, or is to be left."""
        held.scope.deadline = float("inf")
        held.session, held.began, self.problem = session, True, ""
        _log.info("MCP server %s: up, with %d tools", self.label, len(self.known or ()))
        self._up.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow, session)
            nursery.start_soon(self._until_ended, session, held)
            await held.leave.wait()
            nursery.cancel_scope.cancel(reason="the session is left")

    async def _until_ended(self, session: RemoteSession, held: _Held) -> None:
        await session.ended()
        self._lose(held)

    def _lose(self, held: _Held) -> None:
        """It is of no more use, from this moment on."""
        held.session = None
        if self._up.is_set() and self._held is held:
            self._up = trio.Event()
        held.over.set()

    async def _follow(self, session: RemoteSession) -> None:
        """Ask for the tools again whenever the server says that they are others."""
        while True:
            await session.changed()
            try:
                await self._learn(session)
            except ToolError as error:  # no word of the session, in which others wait for their calls
                _log.warning("MCP server %s: its tools are taken to be what they were: %s", self.label, error)
                continue
            _log.info("MCP server %s: has %d tools now", self.label, len(self.known or ()))

    async def _learn(self, session: RemoteSession) -> None:
        told: dict[str, McpTool] = {}
        for tool in await session.tools():
            told.setdefault(tool.name, tool)  # a call has nothing but the name, so of two the first counts
        allowed = [tool for tool in told.values() if self.config.allowed.matches(tool)]
        if len(allowed) > self._limits.mcp_tools:
            _log.warning("MCP server %s: only %d of its tools are offered", self.label, self._limits.mcp_tools)
        self.known = tuple(allowed[: self._limits.mcp_tools])

    async def _session(self) -> tuple[RemoteSession, _Held]:
        """The session, once there is one.

        Raises:
            SessionLost: there is none in good time.
        """
        with trio.move_on_after(self._limits.mcp_connect):  # noqa: ASYNC912 - no wait where it is up
            while self._held is None or self._held.session is None:
                await self._up.wait()
            return self._held.session, self._held
        problem = self.problem or f"it did not start within {self._limits.mcp_connect:g} s"
        raise SessionLost(f"the MCP server {self.label} cannot be reached: {problem}")

    # Its use

    async def tools(self) -> tuple[McpTool, ...]:
        """The tools that it has, or had before it went away; waits for them if it never said.

        Raises:
            SessionLost: it cannot be reached.
        """
        self.last_used = trio.current_time()
        if self.known is None:
            await self._session()
        else:
            await trio.lowlevel.checkpoint()
        return self.known or ()

    async def _call(self, name: str, arguments: Mapping[str, Any], silence: trio.CancelScope) -> ToolResult:
        """One call, made again if the server had forgotten the session; a sign of life moves ``silence``'s deadline."""
        patience = self.config.timeout or float("inf")

        def progress() -> None:
            silence.deadline = trio.current_time() + patience

        again = False
        while True:
            silence.deadline = float("inf")
            try:
                session, held = await self._session()
            except SessionLost as error:
                raise ToolError(str(error)) from error
            progress()
            try:
                return await session.call(name, arguments, progress=progress)
            except SessionLost as error:
                self._lose(held)
                if again or not isinstance(error, SessionGone):
                    raise
                again = True

    async def call(self, name: str, arguments: str, *, call_id: str, limits: Limits) -> ToolResult:
        """See `ToolSource.call`."""
        try:
            given = _OBJECT.decode(arguments.strip() or "{}")
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            await trio.lowlevel.checkpoint()
            return ToolResult.failed(f"the arguments are no JSON object: {error}. Call {name} again with others.")
        seconds, silence = limits.tool_seconds, trio.CancelScope()
        result: ToolResult | None = None
        self.last_used = trio.current_time()
        self._calls += 1
        try:
            with trio.move_on_after(seconds), silence:
                async with self._slots:
                    result = await self._call(name, given, silence)
        except SessionLost as error:
            result = ToolResult.failed(f"{error}. Whether {name} took effect is not known.")
        except ToolError as error:
            result = ToolResult.failed(str(error))
        except Exception as error:  # noqa: BLE001 - a tool cannot end its owner
            _log.warning("tool %s of MCP server %s (%s) failed", name, self.label, call_id, exc_info=error)
            result = ToolResult.failed(_words(error))
        finally:
            self.last_used = trio.current_time()
        if result is None:
            waited = self.config.timeout if silence.cancelled_caught and self.config.timeout else seconds
            return ToolResult.failed(f"{name} did not answer within {waited:g} s and was cancelled")
        return result.bounded(self.config.output_bytes or limits.tool_output_bytes)


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text and not isinstance(error, SessionLost) else text or repr(error)
