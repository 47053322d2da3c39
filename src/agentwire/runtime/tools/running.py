"""One running call of a function: in its deadline, in this task or in a thread, and with an end that somebody watches.

An async function's end is waited for, however long it takes. A thread is told to end, has a grace, and is then left
alone and counted: nobody knows what it did.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal

import attrs
import trio

from agentwire.protocol.limits import Limits
from agentwire.runtime.groups import Noted, open_flat_nursery
from agentwire.runtime.tools.call import Stop, ToolCancelled
from agentwire.runtime.tools.local import LocalTool, ToolError
from agentwire.runtime.tools.output import ToolResult, render
from agentwire.runtime.tools.threads import Thread

__all__ = ["Reveal", "Running"]

_log = logging.getLogger("agentwire.tools")

Reveal = Literal["message", "type"]
"""What a model is told of an exception: its type and message, or its type alone."""


@attrs.define(eq=False)
class Running:
    """One running call.

    Args:
        tool: what runs.
        call_id: for the log.
        given: the keyword arguments.
        limits: output of one call, and the grace.
        reveal: what is told of an exception.
        stop: what the tool can ask.
        on_abandoned: told when its thread is left alone.
    """

    tool: LocalTool[..., Any]
    call_id: str
    given: Mapping[str, Any]
    limits: Limits
    reveal: Reveal
    stop: Stop
    on_abandoned: Callable[[], None] | None = None
    _result: ToolResult | None = None
    _thread: Thread = attrs.field(factory=Thread)
    _thread_scope: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))
    _done: trio.Event = attrs.field(factory=trio.Event)

    @property
    def _most(self) -> int:
        return self.tool.output_bytes or self.limits.tool_output_bytes

    async def within(self, seconds: float) -> ToolResult:
        """Run it to its end, or for so many seconds."""
        with trio.move_on_after(seconds):
            async with open_flat_nursery() as nursery:
                nursery.start_soon(self._watch, name=f"watch of {self.tool.name}")
                await self._work()
        if self._result is not None:
            return self._result
        late = f"{self.tool.name} did not finish within {seconds:g} s and "
        if self._thread.abandoned:
            return ToolResult.failed(f"{late}cannot be stopped; nobody knows what it has done", unknown=True)
        return ToolResult.failed(f"{late}was cancelled")

    async def _work(self) -> None:
        """Call the function and keep what came of it; raises nothing but `trio.Cancelled`, perhaps in a group."""
        try:
            with Noted(self._fail):  # a tool cannot end its owner
                try:
                    value = await self._call()
                    self._result = ToolResult(render(value, self._most))
                except ToolCancelled:
                    await trio.lowlevel.checkpoint_if_cancelled()
        finally:
            self._done.set()

    async def _call(self) -> Any:
        if self.tool.is_async:
            return await self.tool.function(**self.given)
        value = None
        with self._thread_scope:
            (value,) = await trio.to_thread.run_sync(self._call_plain, abandon_on_cancel=True)
        if self._thread_scope.cancelled_caught:
            await trio.lowlevel.checkpoint_if_cancelled()
        return await value if inspect.isawaitable(value) else value  # a plain function may wrap an async one

    def _call_plain(self) -> tuple[Any]:
        """The value in a tuple, because Trio takes no awaitable from a thread."""
        try:
            return (self.tool.function(**self.given),)
        except KeyboardInterrupt as error:  # the tool's own: those of a user come to the main thread
            raise RuntimeError("it raised KeyboardInterrupt") from error
        finally:
            self._thread.end()

    def _fail(self, error: BaseException) -> None:
        name = self.tool.name
        _log.warning("tool %s (%s) failed", name, self.call_id, exc_info=error)
        if isinstance(error, ToolError):
            result = ToolResult.failed(_text(error))
        else:
            told = "" if self.reveal == "type" else _text(error)
            result = ToolResult.failed(f"{type(error).__name__}: {told}".rstrip(": "), exception=error)
        self._result = result.bounded(self._most)

    async def _watch(self) -> None:
        """Once the call is cancelled, see to it that it ends in good time, and say so if it does not."""
        try:
            await self._done.wait()
        except trio.Cancelled as cancelled:
            self.stop.reason = cancelled.reason or "the call is out of time"
            with trio.move_on_after(self.limits.cleanup, shield=True):
                await self._done.wait()
            if not self._done.is_set():
                self._report()
            raise

    def _report(self) -> None:
        grace = self.limits.cleanup
        stays = "still cleans up" if self.tool.is_async else "runs on in its thread, left alone,"
        _log.warning("tool %s (%s) %s %g s after it was cancelled", self.tool.name, self.call_id, stays, grace)
        if self.tool.is_async:
            return
        self._thread_scope.cancel(reason=f"the thread did not end within {grace:g} s")
        self._thread.abandon()
        if self.on_abandoned is not None:
            self.on_abandoned()


def _text(error: BaseException) -> str:
    """What an exception says; nothing, if it cannot be asked."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a foreign class
        return ""
