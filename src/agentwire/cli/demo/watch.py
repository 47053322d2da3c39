"""What runs, where, and how it ended: tools and engine steps are watched from outside, as they are.

Nothing is asked of what is watched but that `trio.Cancelled` passes through it; so the reason and the moment that are
shown are those which the code itself saw.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Literal

import attrs
import trio

from agentwire.runtime.contracts import Ask, Engine, Finish, Out

__all__ = ["Doing", "Side", "Watch"]

Side = Literal["client", "server"]


@attrs.define(eq=False)
class Doing:
    """One thing that runs, or ran.

    Attributes:
        where: on which side.
        kind: what it is.
        what: which one, such as ``search(pattern="x")``.
        began: Trio's time.
        ended: Trio's time; None while it runs.
        reason: why it was cancelled; None if it was not.
    """

    where: Side
    kind: Literal["tool", "engine step"]
    what: str
    began: float
    ended: float | None = None
    reason: str | None = None


async def _outer_reason() -> str:
    """Why the task is cancelled, where the exception does not say: a sleep of its own ended in the same moment."""
    try:
        await trio.lowlevel.checkpoint_if_cancelled()
    except trio.Cancelled as cancelled:  # noqa: ASYNC103 - who asks raises the first one
        return cancelled.reason or "no reason was given"  # noqa: ASYNC104 - the same
    return "no reason was given"


@attrs.define
class Watch:
    """Sees tools and engine steps begin and end.

    Attributes:
        seen: everything, in the order in which it began.
    """

    seen: list[Doing] = attrs.field(factory=list)
    _changed: trio.Event = attrs.field(factory=trio.Event)

    @property
    def running(self) -> tuple[Doing, ...]:
        """What runs now."""
        return tuple(doing for doing in self.seen if doing.ended is None)

    @property
    def cancelled(self) -> tuple[Doing, ...]:
        """What was cancelled, in the order in which it ended."""
        return tuple(sorted((one for one in self.seen if one.reason is not None), key=lambda one: one.ended or 0.0))

    @asynccontextmanager
    async def _doing(self, doing: Doing) -> AsyncGenerator[None]:
        self.seen.append(doing)
        self._tell()
        try:
            yield
        except trio.Cancelled as cancelled:
            doing.reason = cancelled.reason or await _outer_reason()  # noqa: ASYNC102 - it waits for nothing
            raise
        finally:
            doing.ended = trio.current_time()
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def changed(self) -> None:
        """Wait until something begins or ends."""
        await self._changed.wait()

    def tools(self, where: Side, functions: Iterable[Callable[..., Any]]) -> tuple[Callable[..., Any], ...]:
        """The same async tools, watched; their schemas stay as they are."""
        return tuple(self._tool(where, function) for function in functions)

    def _tool(self, where: Side, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def watched(**arguments: Any) -> Any:
            told = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
            what = f"{function.__name__}({told})"
            async with self._doing(Doing(where, "tool", what, trio.current_time())):
                return await function(**arguments)

        return watched

    def engine(self, engine: Engine, *, think: float = 0.0) -> Engine:
        """The same engine, watched.

        Args:
            engine: what answers.
            think: seconds that each step takes before it begins, in place of a model's time.
        """

        async def watched(ask: Ask, out: Out) -> Finish | None:
            """One step; whatever ends the engine, and any cancellation, passes."""
            async with self._doing(
                Doing("server", "engine step", f"step {ask.step} of {ask.response_id[:13]}...", trio.current_time())
            ):
                if think:
                    await trio.sleep(think)
                return await engine(ask, out)

        return watched
