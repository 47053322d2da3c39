"""A run, as whoever started it sees it: its steps, what it has reached, and its end.

The model works in turns, and its tools between them and beside them, in the run's own nursery: they belong to the run
and not to the socket, and leaving the run ends them. `agentwire.client.driving` drives it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Self

import attrs

from agentwire.client.asking import Input
from agentwire.client.calls import Calls
from agentwire.client.driving import Driver
from agentwire.client.journal import open_run_journal
from agentwire.client.means import Means
from agentwire.client.nesting import Nest
from agentwire.client.outcomes import RunSummary
from agentwire.client.plan import Plan
from agentwire.client.steps import Step, Steps
from agentwire.link import Fate, RequestLost
from agentwire.link.lease import Lease
from agentwire.protocol.ids import Sources
from agentwire.protocol.response import Response, Usage
from agentwire.runtime.groups import open_flat_nursery
from agentwire.runtime.tools import ToolResult

__all__ = ["Run", "RunStatistics", "open_run"]


@attrs.frozen
class RunStatistics:
    """A snapshot of one run.

    Attributes:
        turns: model turns that have begun.
        turns_lost: those whose answer was lost with its connection, each as often as it was.
        turns_repeated: how often such a turn was asked again.
        tools_running: calls that run, or wait until they may.
        tools_finished: calls that have ended by themselves.
        tools_abandoned: plain functions that were left alone in their threads, as they did not end when they should.
        steps_waiting: steps that wait to be read.
    """

    turns: int
    turns_lost: int
    turns_repeated: int
    tools_running: int
    tools_finished: int
    tools_abandoned: int
    steps_waiting: int


class Run:
    """A run; made by `Client.run`. Iterate it for its steps, from one task, or `finish` it."""

    def __init__(self, driver: Driver, calls: Calls, steps: Steps) -> None:
        self._driver = driver
        self._reached = driver.reached
        self._calls = calls
        self._steps = steps

    @property
    def ready(self) -> bool:
        """Whether the next step is here already."""
        return len(self._steps) > 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Step:
        """The next step. After the last one, a run that ended badly raises here.

        Raises:
            RequestError: a request was refused, or a response failed (then it is a `ResponseError`).
            RunLost: a turn was lost and cannot be had again; what was reached is in it.
            TurnsExhausted: the model was not done after ``max_turns`` turns.
            CallUnanswerable: the model asks for what no function can answer.
            CallUnknown: nobody knows what a call did that ran when an earlier process died.
            ToolFailed: a tool raised something, and that is not to be told to the model.
            JournalError: the journal cannot be written; no tool runs without it.
            TurnOverflow: steps were not read fast enough for too long.
            LocalProtocolError: a request is too large, or names one lane too many.
        """
        step = await self._steps.get()
        if step is not None:
            return step
        if self._driver.error is not None:
            raise self._driver.error
        raise StopAsyncIteration

    async def finish(self) -> Response:
        """Run to the end without looking at the steps.

        Returns:
            The last response: ``completed``, or ``incomplete`` if it stops short.

        Raises:
            What iterating raises.
        """
        self._steps.unwatch()
        await self._steps.ended()
        if self._driver.error is not None:
            raise self._driver.error
        assert self.response is not None
        return self.response

    async def steer(self, /, input: Input) -> None:  # noqa: A002 - the wire's own name
        """Tell the model something while the run goes on; it is part of the run from now on.

        Where a response runs and the server takes it, it ends as soon as nothing is torn by that and is followed by
        one that has the input; then this returns when the server has taken it. Otherwise, between two turns or with a
        server that knows no steering, it is said with the next request. A run that would have ended makes one more
        turn for it.

        Args:
            input: a text, or messages of the user.

        Raises:
            SteerRefused: the run has ended; ``input`` is handed back.
            LocalProtocolError: the input is more than messages of the user.
        """
        await self._driver.steer(input)

    @property
    def text(self) -> str:
        """What the model has written in its latest turn."""
        return self._reached.text

    @property
    def response(self) -> Response | None:
        """The latest response that ended."""
        return self._reached.response

    @property
    def usage(self) -> Usage:
        """Of all turns so far; the runs in its tools are counted in ``summary().sub_usage``."""
        return self._reached.usage

    @property
    def turns(self) -> int:
        """Model turns that have begun."""
        return self._reached.turns

    @property
    def results(self) -> dict[str, ToolResult]:
        """By call id, what came of the tool calls that have ended by themselves."""
        return self._calls.results

    def summary(self) -> RunSummary:
        """What the run has reached so far."""
        return self._driver.summary()

    def statistics(self) -> RunStatistics:
        """Counts at this moment."""
        return RunStatistics(
            turns=self.turns,
            turns_lost=self._reached.lost,
            turns_repeated=self._reached.repeated,
            tools_running=self._calls.running,
            tools_finished=len(self._calls.results),
            tools_abandoned=self._calls.abandoned,
            steps_waiting=len(self._steps),
        )


@asynccontextmanager
async def open_run(means: Means, plan: Plan, *, lease: Lease | None = None) -> AsyncGenerator[Run]:
    """Start a run; `Client.run` says what leaving it means.

    Args:
        means: what its client asks with.
        plan: what it is to do.
        lease: a lane that the caller holds; None takes one for the run, and gives it back.

    Raises:
        RequestLost: the client's line has ended; nothing was sent.
        LocalProtocolError: runs are nested too deep.
        JournalError: the journal cannot be opened, the key is somebody else's, or was used with another input.
    """
    if means.line.ended is not None:
        raise RequestLost(means.line.ended, fate=Fate.NEVER_SENT)
    own, nest = Lease(plan.request.stream_id), Nest.here(means.limits.nested_runs)
    try:
        async with (
            open_run_journal(plan.journal, plan.key, limits=means.limits, sources=Sources.system()) as journal,
            open_flat_nursery() as nursery,
        ):
            steps = Steps(means.limits.run_steps)
            calls = Calls(
                nursery,
                plan.toolbox,
                means.limits,
                concurrency=plan.concurrency,
                tell=steps.put_nowait,
                journal=journal,
                raises=plan.tool_errors == "raise",
            )
            driver = Driver(means, plan, calls, steps, lease=lease if lease is not None else own, journal=journal)
            driver.reached.nest = nest
            await journal.settle()
            nursery.start_soon(driver.drive, name="run")
            try:
                yield Run(driver, calls, steps)
            finally:
                nursery.cancel_scope.cancel(reason="the run was left")
                nest.leave(driver.reached.usage)
    finally:
        own.release()
