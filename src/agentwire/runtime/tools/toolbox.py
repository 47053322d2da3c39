"""Tools by name, and the running of one call.

Whatever a tool does becomes a `ToolResult` for the model: bad arguments, exceptions, a deadline, an output too large.
Only `trio.Cancelled` passes, so that a tool's end is its owner's end; a cleanup that takes too long is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import attrs
import trio

from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.limits import Limits
from agentwire.protocol.tools import CustomTool, FunctionTool
from agentwire.runtime.tools.call import Stop, ToolCall
from agentwire.runtime.tools.local import LocalTool
from agentwire.runtime.tools.output import ToolResult
from agentwire.runtime.tools.running import Reveal, Running
from agentwire.runtime.tools.signature import ArgumentsError

__all__ = ["Toolbox"]


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
        """All of them as function tools, as a server that runs them shows them to its model."""
        return tuple(tool.spec for tool in self.tools.values())

    @property
    def offers(self) -> tuple[FunctionTool | CustomTool, ...]:
        """What a client's request offers to the model."""
        return tuple(tool.offer for tool in self.tools.values())

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
        self,
        name: str,
        arguments: str,
        *,
        call_id: str,
        limits: Limits,
        seconds: float | None = None,
        free_text: bool = False,
        on_abandoned: Callable[[], None] | None = None,
    ) -> ToolResult:
        """Run one call to its end, or to its deadline.

        Cancelled, it cancels the tool, waits for the tool's cleanup however long that takes (reporting it in the log
        after ``limits.cleanup`` seconds; a thread is then abandoned), and raises `trio.Cancelled` as it came.

        Args:
            name: which tool.
            arguments: what the model wrote: JSON, or text.
            call_id: goes into the `ToolCall` and the log.
            limits: time and output of one call, where the tool's own policy says nothing.
            seconds: the time this call may take, instead of the tool's.
            free_text: whether the model wrote text; only a tool that takes it can answer then.
            on_abandoned: told if a thread is left alone.

        Returns:
            The output; a failure is an output too, with ``error`` set.
        """
        stop = Stop()
        read = self._read(ToolCall(call_id, name, arguments, stop), free_text=free_text)
        if isinstance(read, ToolResult):
            await trio.lowlevel.checkpoint()
            return read
        tool, given = read
        running = Running(tool, call_id, given, limits, self.reveal, stop, on_abandoned)
        return await running.within(seconds or tool.timeout or limits.tool_seconds)

    def _read(self, call: ToolCall, *, free_text: bool) -> tuple[LocalTool[..., Any], dict[str, Any]] | ToolResult:
        """The tool and its keyword arguments, or why there can be none."""
        tool = self.tools.get(call.name)
        if tool is None:
            if free_text:
                return ToolResult.failed(f"there is no free-text tool {call.name[:128]!r}")
            known = ", ".join(self.tools) or "none"
            return ToolResult.failed(f"there is no tool {call.name[:128]!r}; the tools are: {known}")
        if free_text and not tool.free_text:
            return ToolResult.failed(f"{call.name} is no free-text tool: call it with arguments that follow its schema")
        signature = tool.signature
        try:
            given = signature.decode_text(call.arguments) if free_text else signature.decode(call.arguments)
        except ArgumentsError as error:
            wanted = "a text that fits" if free_text else "arguments that follow its schema"
            return ToolResult.failed(f"{error}. Call {call.name} again with {wanted}.")
        if signature.call_parameter is not None:
            given[signature.call_parameter] = call
        return tool, given
