"""A run: the model's turns and the tools between them, until the model is done.

Only new items go out, each turn continuing the last by its id, all on one lane of one connection. The tools belong to
the run, not to the socket: what a lost connection means for them is the policy's to say.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Self

import attrs
import trio

from agentwire.client.calls import Calls
from agentwire.client.outcomes import CallUnanswerable, RunLost, RunSummary, TurnsExhausted
from agentwire.client.steps import (
    ReasoningDelta,
    ServerToolFinished,
    Step,
    Steps,
    TextDelta,
    TurnFinished,
    TurnStarted,
)
from agentwire.client.turn import Turn
from agentwire.link import Fate, Lane, Link, RequestLost
from agentwire.protocol.errors import ConnectionEnded, LocalProtocolError
from agentwire.protocol.events import (
    Event,
    OutputItemDone,
    OutputTextDelta,
    ReasoningSummaryTextDelta,
    ReasoningTextDelta,
    ResponseCreated,
)
from agentwire.protocol.items import CustomToolCall, FunctionCall, Item, McpCall, OpaqueItem, client_call
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.response import Response, Usage
from agentwire.protocol.tools import AUTO
from agentwire.runtime.groups import open_flat_nursery
from agentwire.runtime.policies import Policy, Resume
from agentwire.runtime.tools import Toolbox, ToolResult

__all__ = ["Plan", "Run", "RunStatistics", "open_run"]


@attrs.frozen
class RunStatistics:
    """A snapshot of one run: turns begun, tools that run and that ended, steps that wait to be read."""

    turns: int
    tools_running: int
    tools_finished: int
    steps_waiting: int


def _at_least_one(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    if value < 1:
        raise LocalProtocolError(f"{attribute.name} must be at least 1, not {value}")


@attrs.frozen(kw_only=True)
class Plan:
    """What a run is to do.

    Attributes:
        request: the first turn's request; the others have the same settings.
        toolbox: the functions that are run here.
        policy: what a lost connection means for them.
        max_turns: most turns of the model.
        concurrency: most functions that run at once.

    Raises:
        LocalProtocolError: a bound is less than 1.
    """

    request: CreateRequest
    toolbox: Toolbox
    policy: Policy
    max_turns: int = attrs.field(validator=_at_least_one)
    concurrency: int = attrs.field(validator=_at_least_one)


class Run:
    """A run; made by `Client.run`. Iterate it for its steps, from one task, or `finish` it.

    Attributes:
        text: what the model has written in its latest turn.
        response: the latest response that ended.
        usage: of all turns so far.
        turns: model turns that have begun.
    """

    def __init__(self, link: Link, lane: Lane, plan: Plan, nursery: trio.Nursery) -> None:
        self.text = ""
        self.response: Response | None = None
        self.usage = Usage()
        self.turns = 0
        self._link = link
        self._lane = lane
        self._plan = plan
        self._steps = Steps(link.limits.run_steps)
        self._calls = Calls(nursery, plan.toolbox, link.limits, plan.concurrency, self._steps.put_nowait)
        self._error: Exception | None = None

    # For whoever started it

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Step:
        """The next step. After the last one, a run that ended badly raises here.

        Raises:
            RequestError: a request was refused, or a response failed (then it is a `ResponseError`).
            RunLost: the connection ended; what was reached is in it.
            TurnsExhausted: the model was not done after ``max_turns`` turns.
            CallUnanswerable: the model asks for what no function can answer.
            TurnOverflow: steps were not read fast enough for too long.
        """
        step = await self._steps.get()
        if step is not None:
            return step
        if self._error is not None:
            raise self._error
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
        if self._error is not None:
            raise self._error
        assert self.response is not None
        return self.response

    @property
    def results(self) -> dict[str, ToolResult]:
        """By call id, what came of the tool calls that have ended by themselves."""
        return self._calls.results

    def summary(self) -> RunSummary:
        """What the run has reached so far."""
        return RunSummary(
            turns=self.turns,
            text=self.text,
            response=self.response,
            usage=self.usage,
            results=self._calls.results,
            unfinished=self._calls.unfinished,
        )

    def statistics(self) -> RunStatistics:
        """Counts at this moment."""
        return RunStatistics(self.turns, self._calls.running, len(self._calls.results), len(self._steps))

    # The run's own task

    async def drive(self) -> None:
        """Run it; `Client.run` starts this. Whatever goes wrong is kept for whoever reads the steps."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._guard, name="run guard")
                await self._drive()
                nursery.cancel_scope.cancel(reason="the run is done")
        finally:
            self._steps.close()

    async def _drive(self) -> None:
        try:
            await self._turns()
        except Exception as error:  # noqa: BLE001 - raised again to the reader of the steps
            self._calls.cancel(f"the run failed: {error}")
            await self._calls.idle()
            self._error = error

    async def _guard(self) -> None:
        """When the connection is lost, do with the tools what the policy says."""
        end = await self._link.wait_ended()
        reason = f"the connection was lost: {end}"
        if isinstance(self._plan.policy, Resume):
            since = self._link.life.lost_since or trio.current_time()
            await trio.sleep_until(since + self._plan.policy.within)
            reason = f"not resumed within {self._plan.policy.within:g} s: {end}"
        self._calls.cancel(reason)

    async def _turns(self) -> None:
        request = self._plan.request
        while True:
            response = await self._turn(request)
            await self._calls.idle()
            if not (calls := _calls_of(response)):
                return
            outputs = [output for call in calls if (output := self._calls.output(call)) is not None]
            if len(outputs) < len(calls):
                raise self._lost(await self._link.wait_ended(), Fate.FINISHED, response.id)
            if self.turns >= self._plan.max_turns:
                raise TurnsExhausted(self._plan.max_turns, self.summary())
            request = _continue(self._plan.request, response.id, outputs)

    async def _turn(self, request: CreateRequest) -> Response:
        """One turn of the model; tools that it calls run on after it."""
        self.turns += 1
        self.text = ""
        lost: RequestLost | None = None
        try:
            async with self._link.exchange(request, lane=self._lane) as exchange:
                turn = Turn(exchange)
                async for event in turn:
                    await self._take(event, turn)
                response = await turn.response()
        except RequestLost as end:
            lost = end
        if lost is not None:
            await self._calls.idle()
            raise self._lost(lost, lost.fate, lost.response_id) from lost
        self._start_calls(response)
        self.response = response
        self.usage += response.usage or Usage()
        await self._steps.put(TurnFinished(response))
        return response

    async def _take(self, event: Event, turn: Turn) -> None:
        match event:
            case ResponseCreated():
                await self._steps.put(TurnStarted(self.turns, event.response.id))
            case OutputTextDelta():
                self.text = turn.text
                await self._steps.put(TextDelta(event.delta))
            case ReasoningTextDelta() | ReasoningSummaryTextDelta():
                await self._steps.put(ReasoningDelta(event.delta))
            case OutputItemDone(item=FunctionCall() | CustomToolCall() as call) if _is_whole(call):
                self._calls.start(call)
            case OutputItemDone(item=McpCall() as call):
                await self._steps.put(ServerToolFinished(call))
            case _:
                pass

    def _start_calls(self, response: Response) -> None:
        """Start the calls that the terminal event alone has told of; refuse what no function can answer."""
        for item in response.output:
            if isinstance(item, FunctionCall | CustomToolCall):
                if _is_whole(item):
                    self._calls.start(item)
            elif isinstance(item, OpaqueItem) and client_call(item) is not None:
                self.response = response
                raise CallUnanswerable(item, self.summary())

    def _lost(self, end: ConnectionEnded, fate: Fate, response_id: str | None) -> RunLost:
        return RunLost(end, fate=fate, response_id=response_id, summary=self.summary())


@asynccontextmanager
async def open_run(link: Link, plan: Plan) -> AsyncGenerator[Run]:
    """Start a run on a lane of its own; `Client.run` says what leaving it means.

    Raises:
        RequestLost: the connection has ended; nothing was sent.
        LocalProtocolError: the request names one lane too many.
    """
    request = plan.request
    try:
        lane = await link.lanes.acquire(request.stream_id, after=request.previous_response_id)
    except ConnectionEnded as end:
        raise RequestLost(end, fate=Fate.NEVER_SENT) from None
    try:
        async with open_flat_nursery() as nursery:
            run = Run(link, lane, plan, nursery)
            nursery.start_soon(run.drive, name="run")
            try:
                yield run
            finally:
                nursery.cancel_scope.cancel(reason="the run was left")
    finally:
        link.lanes.release(lane)


def _is_whole(call: FunctionCall | CustomToolCall) -> bool:
    """A call that was cut off by a limit has no arguments to run with."""
    return call.status != "incomplete"


def _calls_of(response: Response) -> list[FunctionCall | CustomToolCall]:
    """The calls to be answered, each id once; none if the response stops short, for it ends the run."""
    if response.status != "completed":
        return []
    calls = {item.call_id: item for item in response.output if isinstance(item, FunctionCall | CustomToolCall)}
    return list(calls.values())


def _continue(request: CreateRequest, response_id: str, outputs: Sequence[Item]) -> CreateRequest:
    """The next turn's request: what is new, and the same settings, but for a forced choice of tools."""
    choice = AUTO if request.tool_choice.mode == "required" else request.tool_choice
    return attrs.evolve(request, input=tuple(outputs), previous_response_id=response_id, tool_choice=choice)
