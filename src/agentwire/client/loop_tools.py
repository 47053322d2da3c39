"""Tools that are async functions of an asyncio loop, called from Trio: each call is a task of that loop.

Cancelled in Trio, the task is cancelled, and waited for: its cleanup is awaited as any tool's is.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import attrs
import trio

from agentwire.client.asking import ToolLike
from agentwire.client.sub_agents import SubAgent
from agentwire.runtime.tools import LocalTool, ToolError

__all__ = ["tools_on"]


def tools_on(loop: asyncio.AbstractEventLoop, tools: Iterable[ToolLike]) -> list[ToolLike]:
    """The same tools, with those that are async functions tied to the loop.

    Raises:
        LocalProtocolError: a function is not fit to be a tool.
    """
    return [_tied(loop, tool) for tool in tools]


def _tied(loop: asyncio.AbstractEventLoop, tool: ToolLike) -> ToolLike:
    if not callable(tool) or isinstance(tool, SubAgent):
        return tool  # a sub-agent runs where its client does
    local = LocalTool.of(tool)
    return attrs.evolve(local, function=_on(loop, local.function)) if local.is_async else local


def _on(loop: asyncio.AbstractEventLoop, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        return await _Call(loop, functools.partial(function, *args, **kwargs)).run()

    return call


class _Call:
    """One call, from Trio, as a task of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, function: Callable[[], Any]) -> None:
        self._loop = loop
        self._function = function
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False
        self._done = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    async def run(self) -> Any:
        """Call it and wait for its end.

        Raises:
            ToolError: the loop has been closed, or the task was cancelled by somebody else.
            ...: what the function raises.
        """
        self._tell(self._start)
        try:
            await self._done.wait()
        except trio.Cancelled:
            self._cancelled = True
            self._tell(self._cancel)
            with trio.CancelScope(shield=True):  # the toolbox watches over it, and reports it if it takes too long
                await self._done.wait()
            raise
        if self._task is None:
            raise ToolError("the loop that runs it has been closed")
        if self._task.cancelled():
            raise ToolError("it was cancelled")
        return self._task.result()

    def _tell(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # closed: nothing of it runs any more
            self._done.set()

    # In the loop

    def _start(self) -> None:
        if self._cancelled:
            self._end()
            return
        self._task = self._loop.create_task(_awaiting(self._function))
        self._task.add_done_callback(lambda _: self._end())

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _end(self) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._done.set)


async def _awaiting(function: Callable[[], Any]) -> Any:
    return await function()
