"""The tool calls of a run: side by side, each call id at most once, and all of them in the run's own nursery.

They do not end with the connection by themselves; whoever decides that cancels them, with the reason that their
``finally`` sees.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import attrs
import trio

from agentwire.client.steps import Step, ToolFinished, ToolStarted
from agentwire.protocol.items import CustomToolCall, CustomToolCallOutput, FunctionCall, FunctionCallOutput
from agentwire.protocol.limits import Limits
from agentwire.runtime.tools import Toolbox, ToolResult

__all__ = ["Call", "Calls"]

_log = logging.getLogger("agentwire.client")

Call = FunctionCall | CustomToolCall


@attrs.define(eq=False)
class _Task:
    call: Call
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    started: bool = False
    result: ToolResult | None = None


class Calls:
    """All calls of one run.

    Args:
        nursery: where the tools run.
        toolbox: the tools.
        limits: time and output of one call.
        concurrency: how many run at once.
        tell: takes each step, without waiting.

    Attributes:
        abandoned: plain functions that were left alone in their threads.
    """

    def __init__(
        self, nursery: trio.Nursery, toolbox: Toolbox, limits: Limits, concurrency: int, tell: Callable[[Step], None]
    ) -> None:
        self._nursery = nursery
        self._toolbox = toolbox
        self._limits = limits
        self._limiter = trio.CapacityLimiter(concurrency)
        self._tell = tell
        self._tasks: dict[str, _Task] = {}
        self._running = 0
        self._idle = trio.lowlevel.ParkingLot()
        self._cancelled: str | None = None
        self.abandoned = 0

    @property
    def running(self) -> int:
        """Calls that run, or wait until they may."""
        return self._running

    @property
    def results(self) -> dict[str, ToolResult]:
        """By call id, what came of those that ended by themselves."""
        return {call_id: task.result for call_id, task in self._tasks.items() if task.result is not None}

    @property
    def unfinished(self) -> tuple[Call, ...]:
        """Calls that were started and cancelled, or still run: nobody knows what they did."""
        return tuple(task.call for task in self._tasks.values() if task.started and task.result is None)

    def start(self, call: Call) -> None:
        """Run a call, unless it has run already or all calls are cancelled."""
        known = self._tasks.get(call.call_id)
        if known is not None:
            if not _same(known.call, call):
                _log.warning("call id %s was used for two different calls; only the first one runs", call.call_id)
            return
        task = self._tasks[call.call_id] = _Task(call)
        if self._cancelled is None:
            self._running += 1
            self._nursery.start_soon(self._run, task, name=f"tool {call.name}")

    def cancel(self, reason: str) -> None:
        """Cancel what runs, and start nothing more; the first reason counts."""
        if self._cancelled is None:
            self._cancelled = reason
            for task in self._tasks.values():
                task.scope.cancel(reason=reason)

    async def idle(self) -> None:
        """Wait until nothing runs, cleanups included."""
        while self._running:
            await self._idle.park()

    def output(self, call: Call) -> FunctionCallOutput | CustomToolCallOutput | None:
        """The item that answers a call; None if it was cancelled or never ran."""
        task = self._tasks[call.call_id]
        result = task.result
        if not _same(task.call, call):
            result = ToolResult.failed(f"call id {call.call_id!r} was used before, for another call; it was not run")
        if result is None:
            return None
        kind = FunctionCallOutput if isinstance(call, FunctionCall) else CustomToolCallOutput
        return kind(call.call_id, result.output)

    async def _run(self, task: _Task) -> None:
        try:
            with task.scope:
                async with self._limiter:
                    task.started = True
                    began = trio.current_time()
                    self._tell(ToolStarted(task.call))
                    task.result = await self._answer(task.call)
                    self._tell(ToolFinished(task.call, task.result, trio.current_time() - began))
        finally:
            self._running -= 1
            self._idle.unpark_all()

    async def _answer(self, call: Call) -> ToolResult:
        return await self._toolbox.run(
            call.name,
            _given(call),
            call_id=call.call_id,
            limits=self._limits,
            free_text=isinstance(call, CustomToolCall),
            on_abandoned=self._count_abandoned,
        )

    def _count_abandoned(self) -> None:
        self.abandoned += 1


def _same(one: Call, other: Call) -> bool:
    return (one.type, one.name, _given(one)) == (other.type, other.name, _given(other))


def _given(call: Call) -> str:
    return call.arguments if isinstance(call, FunctionCall) else call.input
