"""What every part of a lifecycle machine stands on: its world, its clock, and what users may put in its place."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Final

import trio
from hypothesis import strategies as st
from hypothesis.stateful import initialize

from agentwire.client import Client, ToolLike
from agentwire.protocol.errors import AgentwireError
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Engine
from agentwire.testing.lifecycle.world import HOLDERS, TALKERS, World
from agentwire.testing.machine import TrioMachine
from agentwire.testing.network import network
from agentwire.testing.programs import Program, programmed
from agentwire.testing.strategies.programs import programs

__all__ = ["PAUSES", "LifecycleBase", "tasks"]

PAUSES: Final = st.sampled_from([0.0, None, 0.3, 1.0, 6.0])
"""How long to wait after a move: until all is done that can be done now; not at all; or seconds."""


def tasks() -> st.SearchStrategy[str]:
    """What the machine at hand gives its clients to say."""
    return st.runner().flatmap(lambda machine: machine.tasks)


class LifecycleBase(TrioMachine):
    """What a machine is made of; see `LifecycleMachine` for what of it may be overridden."""

    tasks: ClassVar[st.SearchStrategy[str]] = programs(tools=("look at=1", "ours to=2"))
    talkers: ClassVar[tuple[str, ...]] = TALKERS
    holders: ClassVar[tuple[str, ...]] = HOLDERS
    limits: ClassVar[Limits] = Limits()
    latency: ClassVar[float] = 0.0
    errors: ClassVar[tuple[type[BaseException], ...]] = (AgentwireError, OSError)

    def engine(self) -> Engine:
        """What answers."""
        return programmed()

    def tools(self) -> Sequence[ToolLike]:
        """What the agent's runs are offered; they run in the client."""
        return [look]

    def server_tools(self) -> Sequence[Callable[..., Any]]:
        """What the server itself runs."""
        return [ours]

    def server_options(self) -> dict[str, Any]:
        """More for `agentwire.serve`."""
        return {}

    async def agent(self, client: Client, task: str, metadata: dict[str, str]) -> object:
        """Work on a task with a client; cancelled when the machine leaves it.

        Args:
            client: connected, or trying to be.
            task: from `tasks`.
            metadata: for the requests; with it, what the model is shown is held against the task.
        """
        async with client.run(task, tools=self.tools(), metadata=metadata) as run:
            return await run.finish()

    def may_fail(self, task: str) -> bool:
        """Whether a turn or a run with this task may fail although nothing was done to it."""
        return Program.parse(task).fails

    def ends(self, task: str) -> bool:
        """Whether a task comes to an end by itself."""
        return Program.parse(task).ends

    def __init__(self) -> None:
        super().__init__()
        self.world = World(network(), self.limits)
        self._scopes: list[trio.CancelScope] = []

    @initialize(capacity=st.sampled_from([65536, 2000]))
    def open(self, capacity: int) -> None:
        """A network and a server."""
        self.world.net = network(latency=self.latency, capacity=capacity)
        serve = partial(self.world.live, self.engine(), self.server_tools(), self.server_options())
        self._start(serve)
        self._note("a server starts")

    def _start(self, live: Callable[[Callable[[], None]], Awaitable[object]], within: float = math.inf) -> None:
        """Start what goes on in the background, and wait until it is ready, for so long."""
        ready = trio.Event()
        self.spawn(live, ready.set)

        async def wait() -> None:
            with trio.move_on_after(within):
                await ready.wait()

        self.run_async(wait)

    def _note(self, move: str) -> None:
        self.world.note(self.now, move)

    def _after(self, then: float | None) -> None:
        if then is not None:
            self.advance(then) if then else self.settle()
        if self.world.broken:
            raise self.world.broken[0]


async def look(at: int) -> str:
    """Look at something, which takes a while."""
    await trio.sleep(0.5)
    return f"seen {at}"


async def ours(to: int) -> str:
    """Count to something, on the server."""
    await trio.sleep(0.1 * to)
    return str(to)
