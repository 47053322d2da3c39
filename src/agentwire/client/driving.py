"""How a run gets on: the model's turns and the tools between them, whatever becomes of the connection.

The run's history is its own, so a turn that was lost costs that turn alone: the calls that it had finished saying
stand, and what they are answered with; if there are none, it is asked again. So no tool runs twice for a connection's
sake.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import trio

from agentwire.client.asking import Input
from agentwire.client.calls import Call, Calls
from agentwire.client.context import said_in_full
from agentwire.client.history import History
from agentwire.client.interjections import Interjections
from agentwire.client.journal import RunJournal
from agentwire.client.means import Means
from agentwire.client.outcomes import CallUnanswerable, RunLost, RunSummary, TurnsExhausted
from agentwire.client.plan import Plan
from agentwire.client.reached import Reached
from agentwire.client.restoring import calls_of, is_to_run, restore
from agentwire.client.steps import (
    ReasoningDelta,
    ServerToolFinished,
    Steps,
    TextDelta,
    TurnFinished,
    TurnLost,
    TurnStarted,
)
from agentwire.client.turn import Turn
from agentwire.link import Fate, RequestLost
from agentwire.link.lease import Lease
from agentwire.protocol.errors import ConnectionEnded, RequestError
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
from agentwire.runtime.policies import Cancel

__all__ = ["Driver"]

DIED: Final = "the process that asked for this turn died"


class Driver:
    """Drives one run, in a task of its own.

    Args:
        means: what its client asks with.
        plan: what is to be done.
        calls: its tool calls.
        steps: takes what happens.
        lease: its lane.
        journal: where it is written down.

    Attributes:
        reached: what there is so far.
        error: how it went wrong, once it has.
    """

    def __init__(
        self, means: Means, plan: Plan, calls: Calls, steps: Steps, *, lease: Lease, journal: RunJournal
    ) -> None:
        self.reached = Reached()
        self.error: Exception | None = None
        self._means = means
        self._plan = plan
        self._calls = calls
        self._steps = steps
        self._lease = lease
        self._journal = journal
        self._settings = plan.request
        self._interjections = Interjections()
        self._asked: Turn | None = None
        self._kept = 0
        self._over = False
        self._work = trio.CancelScope()
        self._history = self._begin()

    def _begin(self) -> History:
        """Raises JournalMismatch if the journal's run is another one."""
        parent_id = self._plan.request.previous_response_id
        parent = self._means.memory.find(parent_id)
        history = History(parent, parent_id)
        self._journal.begin(
            self._plan.request.input,
            continues=parent_id,
            context=history.items if parent is not None and parent.root_id is None and not parent.stored else (),
        )
        if parent is None and self._journal.context:
            history = History(None, None)
            history.take_up(self._journal.context)
        if self._journal.response is not None:
            self._interjections.end()
        if self._journal.began:
            history.take_up(self._journal.items)
        else:
            history.items += self._plan.request.input
        return history

    async def steer(self, given: Input) -> None:
        """Say something to the run; `Run.steer` says the rest."""
        await self._interjections.say(given, self._asked)

    async def drive(self) -> None:
        """Drive it to its end. Whatever goes wrong is kept for whoever reads the steps."""
        self.reached.nest.enter()
        try:
            async with trio.open_nursery() as nursery:
                if isinstance(self._means.policy, Cancel):
                    nursery.start_soon(self._guard, name="run guard")
                nursery.start_soon(self._stop_on_failure, name="run watch")
                await self._drive()
                nursery.cancel_scope.cancel(reason="the run is done")
        finally:
            self._steps.close()

    async def _drive(self) -> None:
        try:
            with self._work:
                await self._turns()
            if self._calls.failure is not None:
                raise self._calls.failure
        except Exception as error:  # noqa: BLE001 - raised again to the reader of the steps
            self._calls.cancel(f"the run failed: {error}")
            await self._calls.idle()
            self.error = error
        finally:
            self._interjections.end()

    async def _guard(self) -> None:
        """No connection, no tools."""
        end = await self._means.line.wait_ended()
        self._calls.cancel(f"the connection was lost: {end}")

    async def _stop_on_failure(self) -> None:
        """A call that fails the run ends the turn that still talks."""
        await self._calls.failed.wait()
        self._work.cancel(reason="a call failed the run")

    # Turns

    async def _turns(self) -> None:
        if self._journal.began:
            if await self._restore():
                return
            if len(self._journal.items) > len(self._settings.input):
                self._settings = _without_force(self._settings)
        while True:
            calls = await self._turn()
            if self._over:
                return
            await self._answer(calls)
            self._settings = _without_force(self._settings)

    async def _restore(self) -> bool:
        """Go on with what an earlier process has left; returns whether that was all."""
        journal, reached = self._journal, self.reached
        reached.turns, reached.usage = journal.turns, journal.usage
        calls = await restore(journal, self._plan, self._calls)
        if journal.response is not None:
            reached.response, reached.recorded = journal.response, journal.response.output_text
        elif calls:
            await self._answer(calls)
        elif journal.asked and not self._means.repeats.permits(self._plan.request):
            raise self._lost(RequestLost(ConnectionEnded(cause=DIED), fate=Fate.UNKNOWN))
        return journal.response is not None

    async def _answer(self, calls: Sequence[Call]) -> None:
        """Say what all calls have come to; the next turn asks with it."""
        await self._calls.idle()
        outputs = [output for call in calls if (output := self._calls.output(call)) is not None]
        if len(outputs) < len(calls):
            raise self._lost(await self._means.line.wait_ended())
        await self._say(outputs)
        if self.reached.turns >= self._plan.max_turns:
            raise TurnsExhausted(self._plan.max_turns, self.summary())

    async def _say(self, items: Sequence[Item]) -> None:
        """Something is said, and will not be taken back."""
        await self._history.said(items)
        self._journal.said(items)

    async def _pass_on(self, items: Sequence[Item]) -> None:
        """What the caller has said is on the disk before the model works with it, and whether that may be repeated."""
        await self._say(items)
        if not self._means.repeats.permits(self._settings):
            await self._journal.asking()
        elif items:
            await self._journal.settle()

    async def _turn(self) -> Sequence[Call]:
        """One turn of the model; returns the calls to be answered, which may still run."""
        self.reached.turns += 1
        self.reached.turn = None
        self._kept = 0
        await self._pass_on(self._interjections.rest())
        try:
            async with self._means.ask(self._history.prompt(self._settings), lease=self._lease) as turn:
                self.reached.turn = self._asked = turn
                response = await self._listen(turn)
        except RequestLost as error:
            lost = error
        except RequestError as refusal:
            if not self._goes_without_compaction(refusal):
                raise
            self.reached.turns -= 1
            return await self._turn()
        else:
            return await self._keep(turn, response)
        finally:
            self._asked = None
        self.reached.lost += lost.fate is not Fate.NEVER_SENT
        await self._calls.idle()
        raise self._lost(lost) from lost

    def _goes_without_compaction(self, refusal: RequestError) -> bool:
        """Whether the server has refused to compact the context, and is asked without that from now on."""
        told = f"{refusal.param} {refusal.message}"
        refused = self._settings.context_management is not None and "context_management" in told
        if refused and self._plan.compacts:
            self._settings = attrs.evolve(self._settings, context_management=None)
            return True
        return False

    async def _keep(self, turn: Turn, response: Response | None) -> Sequence[Call]:
        """What came of a turn is said for good; of one that was lost, the items that it had finished."""
        if response is None:
            self.reached.lost += 1
            return await self._keep_parts(turn)
        calls = calls_of(response.output)
        await self._interjections.settle()
        self._over = not (calls and response.status == "completed") and self._interjections.close()
        await self._keep_response(turn, response)
        kept = self._interjections.kept() if not self._over else ()
        if kept:
            await self._say(kept)
            self._history.heard()
        else:
            self._lease.rest()  # and if not, the steers would go astray
        if self._over:
            await self._calls.idle()
        return calls

    async def _keep_response(self, turn: Turn, response: Response) -> None:
        await self._history.answered(response, way=turn.way.number, stored=self._settings.store)
        await self._journal.ended(response, over=self._over)
        self.reached.usage += response.usage or Usage()
        await self._steps.put(TurnFinished(response))

    async def _keep_parts(self, turn: Turn) -> Sequence[Call]:
        """Of a turn that was lost, what stands; nothing of a successor that has not come so far as to call a tool."""
        items = said_in_full(turn.items) if calls_of(turn.items) else ()
        if items:
            self._journal.lost(turn.items)
            await self._history.said(items)
        else:  # it is asked for again
            self.reached.turns -= 1
            self.reached.repeated += 1
        self._lease.rest()
        return calls_of(items)

    async def _succeed(self, turn: Turn, response_id: str) -> None:
        """The turn was steered, and its successor has begun: another turn of the model, without a request."""
        self._kept += 1
        await self._keep_response(turn, turn.responses[-1])
        await self._pass_on(self._interjections.delivered(turn, response_id))
        self.reached.turns += 1

    async def _listen(self, turn: Turn) -> Response | None:
        """Hear a turn to its end, however often it takes; None if it was lost, and not to be asked again so."""
        try:
            while (lost := await self._hear(turn)) is not None:
                if len(turn.responses) > self._kept:  # what is lost is its successor, which has not begun
                    self.reached.response = turn.responses[-1]
                    return turn.responses[-1]
                if self._stands(turn, lost) or self._kept:
                    return None
                await turn.ask_again(lost)
        finally:
            self.reached.lost += turn.repeated
            self.reached.repeated += turn.repeated
        response = await turn.response()
        self._start_calls(response)
        self.reached.response = response
        return response

    async def _hear(self, turn: Turn) -> RequestLost | None:
        """Take a turn's events to the end; returns how it was lost, if it was."""
        try:
            async for event in turn:
                await self._take(event, turn)
        except RequestLost as lost:
            return lost
        return None

    def _stands(self, turn: Turn, lost: RequestLost) -> bool:
        """Whether what a lost turn has said is enough to go on with; if not, it is to be asked again.

        Raises:
            RequestLost: neither: then it is said by whoever asked.
        """
        stands = bool(calls_of(turn.items))  # they have been started
        if not (self._may_go_on(turn) if stands else turn.may_ask_again(lost)):
            raise lost
        self._steps.put_nowait(TurnLost(self.reached.turns, lost.fate, repeated=not stands))
        return stands

    def _may_go_on(self, turn: Turn) -> bool:
        """Whether a turn that was lost can be left as it is: nothing that the server did is unknown."""
        if isinstance(self._means.policy, Cancel) or _unanswerable(turn.items) is not None:
            return False
        return not turn.server_is_working or self._means.repeats.policy == "always"

    # What a turn says

    async def _take(self, event: Event, turn: Turn) -> None:
        match event:
            case OutputTextDelta():
                await self._steps.put(TextDelta(event.delta))
            case ResponseCreated():
                if turn.responses:
                    await self._succeed(turn, event.response.id)
                await self._steps.put(TurnStarted(self.reached.turns, event.response.id))
            case ReasoningTextDelta() | ReasoningSummaryTextDelta():
                await self._steps.put(ReasoningDelta(event.delta))
            case OutputItemDone(item=FunctionCall() | CustomToolCall() as call) if is_to_run(call):
                self._journal.heard(turn.items)
                self._calls.start(call)
            case OutputItemDone(item=McpCall() as call):
                await self._steps.put(ServerToolFinished(call))
            case _:
                pass

    def _start_calls(self, response: Response) -> None:
        """Start the calls that the terminal event alone has told of; refuse what no function can answer."""
        calls = calls_of(response.output)
        if calls:
            self._journal.heard(response.output)
        for call in calls:
            self._calls.start(call)
        if (item := _unanswerable(response.output)) is not None:
            self.reached.response = response
            raise CallUnanswerable(item, self.summary())

    def summary(self) -> RunSummary:
        """What the run has reached so far."""
        return self.reached.summary(self._calls)

    def _lost(self, end: ConnectionEnded) -> RunLost:
        reached = self.reached.response
        response_id = reached.id if reached is not None else None
        lost = RunLost(end, fate=Fate.FINISHED, response_id=response_id, summary=self.summary())
        if isinstance(end, RequestLost):
            lost.fate, lost.response_id, lost.items, lost.text = end.fate, end.response_id, end.items, end.text
        return lost


def _unanswerable(items: Sequence[Item]) -> OpaqueItem | None:
    """What the client must answer, and no function can."""
    for item in items:
        if isinstance(item, OpaqueItem) and client_call(item) is not None:
            return item
    return None


def _without_force(settings: CreateRequest) -> CreateRequest:
    """A forced choice of tools counts for the first turn: otherwise it would never end."""
    return attrs.evolve(settings, tool_choice=AUTO) if settings.tool_choice.mode == "required" else settings
