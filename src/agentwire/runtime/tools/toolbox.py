"""Tools by name, and the running of one call.

Whatever a tool does becomes a `ToolResult` for the model: bad arguments, exceptions, a deadline, an output too large.
Only `trio.Cancelled` passes, so that a tool's end is its owner's end; a cleanup that takes too long is reported.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal

import attrs
import trio

from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.limits import Limits
from agentwire.protocol.tools import FunctionTool
from agentwire.runtime.groups import open_flat_nursery, single
from agentwire.runtime.tools.local import LocalTool, ToolCall, ToolError
from agentwire.runtime.tools.output import ToolResult, render
from agentwire.runtime.tools.signature import ArgumentsError

__all__ = ["Toolbox"]

_log = logging.getLogger("agentwire.tools")

Reveal = Literal["message", "type"]


@attrs.frozen
class Toolbox:
    """Functions that models may call, by name; made by `Toolbox.of`.

    Attributes:
        tools: each tool by its name.
        reveal: what the model is told of an exception: its type and ``message``, or its ``type`` alone. A `ToolError`
            is meant for the model and always told in full.
    """

    tools: Mapping[str, LocalTool[..., Any]]
    reveal: Reveal = "message"

    @classmethod
    def of(cls, tools: Iterable[Callable[..., Any]] = (), *, reveal: Reveal = "message") -> Toolbox:
        """Functions, plain or made tools by `agentwire.tool`.

        Raises:
            LocalProtocolError: one is not fit to be a tool, or two have the same name.
        """
        found: dict[str, LocalTool[..., Any]] = {}
        for function in tools:
            local = LocalTool.of(function)
            if local.name in found:
                raise LocalProtocolError(f"two tools are called {local.name!r}; say tool(name=...) for one of them")
            found[local.name] = local
        return cls(MappingProxyType(found), reveal)

    @property
    def specs(self) -> tuple[FunctionTool, ...]:
        """What a request offers to the model."""
        return tuple(tool.spec for tool in self.tools.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order in which the tools were given."""
        return tuple(self.tools)

    def __contains__(self, name: object) -> bool:
        return name in self.tools

    def __len__(self) -> int:
        return len(self.tools)

    def __iter__(self) -> Iterator[LocalTool[..., Any]]:
        return iter(self.tools.values())

    async def run(
        self, name: str, arguments: str, *, call_id: str, limits: Limits, seconds: float | None = None
    ) -> ToolResult:
        """Run one call to its end, or to its deadline.

        Cancelled, it cancels the tool, waits for the tool's cleanup however long that takes (reporting it in the log
        after ``limits.cleanup`` seconds; a thread is then abandoned), and raises `trio.Cancelled` as it came.

        Args:
            name: which tool.
            arguments: JSON, as the model wrote it.
            call_id: goes into the `ToolCall` and the log.
            limits: time and output of one call, where the tool's own policy says nothing.
            seconds: the time this call may take, instead of the tool's.

        Returns:
            The output; a failure is an output too, with ``error`` set.
        """
        tool = self.tools.get(name)
        if tool is None:
            await trio.lowlevel.checkpoint()
            known = ", ".join(self.tools) or "none"
            return ToolResult.failed(f"there is no tool {name[:128]!r}; the tools are: {known}")
        try:
            given = tool.signature.decode(arguments)
        except ArgumentsError as error:
            await trio.lowlevel.checkpoint()
            return ToolResult.failed(f"{error}. Call {name} again with arguments that follow its schema.")
        if tool.signature.call_parameter is not None:
            given[tool.signature.call_parameter] = ToolCall(call_id, name, arguments)
        run = _Run(tool, call_id, given, limits, self.reveal)
        return await run.within(seconds or tool.timeout or limits.tool_seconds)


@attrs.define
class _Run:
    """One running call."""

    tool: LocalTool[..., Any]
    call_id: str
    given: Mapping[str, Any]
    limits: Limits
    reveal: Reveal
    result: ToolResult | None = None
    thread: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))
    done: trio.Event = attrs.field(factory=trio.Event)

    async def within(self, seconds: float) -> ToolResult:
        with trio.move_on_after(seconds):
            async with open_flat_nursery() as nursery:
                nursery.start_soon(self._watch, name=f"watch of {self.tool.name}")
                await self._work()
        if self.result is not None:
            return self.result
        return ToolResult.failed(f"{self.tool.name} did not finish within {seconds:g} s and was cancelled")

    async def _work(self) -> None:
        """Call the function and keep what came of it; raises nothing but `trio.Cancelled`, perhaps in a group."""
        try:
            value = await self._call()
            self.result = ToolResult(render(value, self.tool.output_bytes or self.limits.tool_output_bytes))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a tool cannot end its owner
            self._fail(error)
        except BaseExceptionGroup as group:
            cancelled, rest = group.split(trio.Cancelled)
            if cancelled is None or (rest is not None and not isinstance(rest, Exception)):
                raise
            if rest is not None:
                self._fail(rest)
            raise single(cancelled) from None
        finally:
            self.done.set()

    async def _call(self) -> Any:
        if self.tool.is_async:
            return await self.tool.function(**self.given)
        value = None
        with self.thread:
            (value,) = await trio.to_thread.run_sync(self._call_plain, abandon_on_cancel=True)
        if self.thread.cancelled_caught:
            await trio.lowlevel.checkpoint_if_cancelled()
        return await value if inspect.isawaitable(value) else value  # a plain function may wrap an async one

    def _call_plain(self) -> tuple[Any]:
        """The value in a tuple, because Trio takes no awaitable from a thread."""
        return (self.tool.function(**self.given),)

    def _fail(self, error: BaseException) -> None:
        name = self.tool.name
        _log.warning("tool %s (%s) failed", name, self.call_id, exc_info=error)
        if isinstance(error, ToolError):
            self.result = ToolResult.failed(str(error))
        elif self.reveal == "type":
            self.result = ToolResult.failed(type(error).__name__)
        else:
            self.result = ToolResult.failed(f"{type(error).__name__}: {error}".rstrip(": "))

    async def _watch(self) -> None:
        """Once the call is cancelled, see to it that it ends in good time, and say so if it does not."""
        try:
            await self.done.wait()
        except trio.Cancelled:
            grace = self.limits.cleanup
            with trio.move_on_after(grace, shield=True):
                await self.done.wait()
            if not self.done.is_set():
                stays = "still cleans up" if self.tool.is_async else "runs on in its thread, left alone,"
                _log.warning("tool %s (%s) %s %g s after it was cancelled", self.tool.name, self.call_id, stays, grace)
                self.thread.cancel(reason=f"the thread did not end within {grace:g} s")
            raise
