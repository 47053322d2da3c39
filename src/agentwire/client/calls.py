"""The tool calls of a run: side by side, each call id at most once, and all of them in the run's own nursery.

A call runs once it is written down, and has come to its end once its result is. Calls do not end with the connection by
themselves; whoever decides that cancels them, with the reason that their ``finally`` sees.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import attrs
import trio

from agentwire.client.journal import JournalError, RunJournal, answer
from agentwire.client.steps import Step, ToolFinished, ToolStarted
from agentwire.protocol.errors import AgentwireError
from agentwire.protocol.items import CustomToolCall, CustomToolCallOutput, FunctionCall, FunctionCallOutput
from agentwire.protocol.limits import Limits
from agentwire.runtime.tools import Toolbox, ToolResult

__all__ = ["Call", "Calls", "ToolFailed"]

_log = logging.getLogger("agentwire.client")

Call = FunctionCall | CustomToolCall


class ToolFailed(AgentwireError):
    """A tool raised something that was not meant for the model, under ``tool_errors="raise"``; that is the cause.

    Args:
        call: what it was to do.
        result: what the model would have been told.
    """

    def __init__(self, call: Call, result: ToolResult) -> None:
        super().__init__(f"tool {call.name} ({call.call_id}) failed: {result.error}")
        self.call = call
        self.result = result


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
        journal: where they are written down.
        raises: whether an exception of a tool fails the run.

    Attributes:
        abandoned: plain functions that were left alone in their threads.
        failure: why the run cannot go on, once a call has failed it.
        failed: set then.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        toolbox: Toolbox,
        limits: Limits,
        *,
        concurrency: int,
        tell: Callable[[Step], None],
        journal: RunJournal,
        raises: bool = False,
    ) -> None:
        self.failure: Exception | None = None
        self.failed = trio.Event()
        self._nursery = nursery
        self._toolbox = toolbox
        self._limits = limits
        self._limiter = trio.CapacityLimiter(concurrency)
        self._tell = tell
        self._journal = journal
        self._raises = raises
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

    def restore(self, call: Call, result: ToolResult) -> None:
        """A call that has come to its end before."""
        self._tasks[call.call_id] = _Task(call, started=True, result=result)

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
        return answer(call, result) if result is not None else None

    async def _run(self, task: _Task) -> None:
        try:
            with task.scope:
                async with self._limiter:
                    await self._perform(task)
        except JournalError as error:
            self._fail(error)
        finally:
            self._running -= 1
            self._idle.unpark_all()

    async def _perform(self, task: _Task) -> None:
        call = task.call
        await self._journal.starting(call)
        task.started = True
        began = trio.current_time()
        self._tell(ToolStarted(call))
        result = task.result = await self._answer(call)
        await self._journal.finished(call, result)
        self._tell(ToolFinished(call, result, trio.current_time() - began))
        if self._raises and result.exception is not None:
            failure = ToolFailed(call, result)
            failure.__cause__ = result.exception
            self._fail(failure)

    def _fail(self, error: Exception) -> None:
        """The run cannot go on; the first reason counts."""
        if self.failure is None:
            self.failure = error
            self.cancel(f"the run failed: {error}")
            self.failed.set()

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
