"""A turn: one request being run. Engine step, the server's own tool calls, next step, until the model is done.

Its one terminal event is made from how the engine ended, after everything else, so that a missing or a double one
cannot be written. A turn knows no socket: its events go into a window.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import attrs
import trio

from agentwire.protocol.checks import EMPTY
from agentwire.protocol.codec import encode_json
from agentwire.protocol.copying import changed
from agentwire.protocol.desk import Desk, Outcome, Ticket
from agentwire.protocol.errors import EngineError, RequestError
from agentwire.protocol.items import Item
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.response import Response, Usage
from agentwire.protocol.transcript import History, Memo, Node
from agentwire.runtime.accounting import Account
from agentwire.runtime.asks import ask_of, has_trigger
from agentwire.runtime.call_rules import CallRules, has_format
from agentwire.runtime.context import Context, manages_context
from agentwire.runtime.contracts import Ask, Engine, Stored
from agentwire.runtime.counting import count_tokens, items_tokens
from agentwire.runtime.equipment import Equipment
from agentwire.runtime.making import Output
from agentwire.runtime.opening import Transport, open_request
from agentwire.runtime.parts import event_head
from agentwire.runtime.service import Service
from agentwire.runtime.showing import Shown
from agentwire.runtime.step import Step, told_faults
from agentwire.runtime.telling import event_parts
from agentwire.runtime.window import Window

__all__ = ["Ending", "Turn"]

log = logging.getLogger("agentwire.turn")

T = TypeVar("T")

STEERED: Final = "steered"
_CREATED: Final = event_head("response.created")
_IN_PROGRESS: Final = event_head("response.in_progress")
_AROUND_SETTINGS: Final = 1024  # bytes of an event that shows a response, besides what its request set


@attrs.define(eq=False, kw_only=True)
class Ending:
    """How a turn ended: the outcome, and what the terminal event says of it."""

    outcome: Outcome
    usage: Usage | None = None
    incomplete: str | None = None
    error: RequestError | None = None


class Turn:
    """One request from its message to its terminal event.

    Args:
        service: engine, tools, store and bounds.
        desk: looks up parents, and is told the outcome before the client is.
        ticket: the request.
        window: takes the events; closed by whoever made it.
        principal: who asks.
        transport: how the request came; some fields are legal on one transport only.
        mark: more members for each event of a request that is refused, if it comes to that.

    Attributes:
        makes: False if it only tells of a response that is made elsewhere: then nothing else takes a number among its
            events, and it is not counted.
        used: what its engine has used so far, as far as it said so; the turn may not come to tell its client.
    """

    makes = True

    def __init__(
        self,
        service: Service,
        desk: Desk,
        ticket: Ticket,
        window: Window,
        *,
        principal: str,
        transport: Transport,
        mark: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self.ticket = ticket
        self.window = window
        self.request: CreateRequest | None = None
        self.ending: Ending | None = None
        self._service = service
        self._desk = desk
        self._principal = principal
        self._transport: Transport = transport
        self._mark = mark
        self._size = 0
        self._output = Output()
        self._memo = Memo()
        self._parent: Node | None = None
        self._context = Context(service, window, self._output)
        self._equipment: Equipment  # once its request has been read
        self._response: Response | None = None
        self._changes: Mapping[str, Any] = EMPTY  # of it since it began
        self._begins: Callable[[], Shown] | None = None  # makes what follows
        self._shown: Shown | None = None
        self._input = b""  # what was given as JSON, if that has been made
        self._used = 0
        self._step: Step | None = None
        self._aside: trio.CancelScope | None = None
        self.used: Usage | None = None
        self._members: dict[str, Any] = {}
        self._stopped: RequestError | None = None
        self._ends = False
        self._since = trio.current_time()

    async def run(self) -> Ending:
        """Run it to its terminal event.

        Cancelled, it writes nothing more: the client is gone, or knows why.
        """
        try:
            opened = await open_request(
                self._service, self._desk, self.ticket, principal=self._principal, transport=self._transport
            )
        except RequestError as error:
            return self._refuse(error)
        self.request, self._parent, self._size = opened.request, opened.parent, opened.size
        self._equipment = Equipment(self._service, self.window, self._output, opened.selection)
        return await self._run(self._ask(opened.request, self._service.sources.new_id("resp")))

    async def _run(self, ask: Ask) -> Ending:
        """From the first thing that an engine is asked; a context that is too long refuses the request here."""
        request, parent = ask.request, self._parent
        if parent is not None and isinstance(ask.items, History) and ask.items.node is parent:
            self._memo.value = parent.memo.value
        runs = request.generate and not has_trigger(request)
        if runs and not manages_context(request):
            try:
                ask = await self._prepare(ask)
            except RequestError as error:
                return self._refuse(error)
        await self._begin(request, ask.response_id)
        try:
            if runs:
                ending = await self._work(ask)
            else:
                ending = await (self._compact(ask) if has_trigger(request) else self._warm_up(ask))
        except RequestError as error:
            self._context.close()
            self._equipment.close()
            outcome = Outcome.FAILED if self._stopped is None else Outcome.CANCELLED
            ending = Ending(outcome=outcome, usage=self.used, error=_bare(error))
        await self._end(request, parent, ending)
        return ending

    @property
    def response(self) -> Response | None:
        """The response as it is now; None if there is none. Made when it is first looked at."""
        if self._response is None and (shown := self._showing()) is not None:
            self._response = shown.response(self._changes)
        return self._response

    def _showing(self) -> Shown | None:
        if self._begins is not None:
            begin, self._begins = self._begins, None
            self._shown = begin()
        return self._shown

    # Opening

    def _refuse(self, error: RequestError) -> Ending:
        not_found = error.code == "previous_response_not_found"
        outcome = Outcome.NOT_FOUND if not_found else Outcome.REFUSED
        self.ending = ending = Ending(outcome=outcome, error=_bare(error))
        self._desk.settle(self.ticket, ending.outcome)
        if not self.ticket.automatic:  # nobody asked for it: only whose input it was is told
            self._put_error(error)
        self._conclude(error)
        return ending

    async def _begin(self, request: CreateRequest, id_: str) -> None:
        """Say that there is a response, in one write; one that shows large settings waits for its reader in between.

        What is said of a small request is made when it is read, the response too: the engine's work comes first.
        """
        self.ticket.response_id = id_
        now = self._service.sources.timestamp()
        self._begins = partial(Shown, request, self.ticket.lane.memo, id=id_, created_at=now)
        about, most = self._size + _AROUND_SETTINGS, self._service.limits.slice_bytes
        if self._size and about <= most:
            self.window.put_later(partial(self._opening, request.input if request.store else ()), 2, 2 * about)
            return
        created, in_progress = self._opening()
        if len(created[1]) <= most:
            self.window.put_together(created, in_progress)
        else:
            await self.window.put(*created)
            await self.window.put(*in_progress)

    def _opening(self, given: tuple[Item, ...] = ()) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
        """The first events; what the store will need of what was given is made with them, ahead of time."""
        showing = self._showing()
        assert showing is not None
        shown = b',"response":' + showing.begun()  # it may have ended, if its client reads slowly
        if given:
            self._input = encode_json(given)
        return (_CREATED, shown), (_IN_PROGRESS, shown)

    # Working

    async def _warm_up(self, ask: Ask) -> Ending:
        """``generate: false``: a response to continue from, and no model run."""
        tokens = await self._beside(ask, partial(count_tokens, self._service.engine_for(ask.request), ask))
        known = items_tokens(ask.items) - items_tokens(ask.new_items) if self._parent is not None else 0
        cached = max(0, min(known, tokens))
        return Ending(outcome=Outcome.COMPLETED, usage=Usage(tokens, 0, cached, cache_write_tokens=tokens - cached))

    async def _compact(self, ask: Ask) -> Ending:
        """``compaction_trigger``: a compaction to continue from, and nothing else; what was asked stays open."""
        try:
            compacted = await self._beside(ask, partial(self._context.compact, ask))
        finally:
            self._use(self._context.take_usage())
        return Ending(outcome=Outcome.COMPLETED, usage=compacted.usage)

    async def _work(self, ask: Ask) -> Ending:
        """Engine steps until the model is done, or the client must act.

        Raises:
            RequestError: the context is too long for it, or the response was stopped.
        """
        rules, tools, first = CallRules.of(ask.request), self._equipment, 0
        if tools.is_remote:
            await self._beside(ask, partial(tools.open, ask))
        if tools.approvals:
            ending, first = await self._take_step(ask, rules, tools.run_approved), 1
            if ending is not None:
                return ending
        for step in range(first, self._service.limits.steps):
            if step or tools.is_remote or manages_context(ask.request):
                again = self._ask(ask.request, ask.response_id, step)
                ask = await self._prepare(changed(again, {"used_tokens": self._used}))
            ending = await self._take_step(ask, rules)
            if ending is not None:
                return ending
        message = (
            f"The model called the server's tools in {self._service.limits.steps} steps and did not come to an end."
        )
        return Ending(outcome=Outcome.FAILED, usage=self.used, error=RequestError(500, "server_error", message))

    async def _take_step(self, ask: Ask, rules: CallRules, engine: Engine | None = None) -> Ending | None:
        """One step; None if another one follows.

        Raises:
            RequestError: the response was stopped.
        """
        self._check_stopped()
        if self.ticket.steers:
            return Ending(outcome=Outcome.INCOMPLETE, usage=self.used, incomplete=STEERED)
        if ask.max_output_tokens == 0:
            return Ending(outcome=Outcome.INCOMPLETE, usage=self.used, incomplete="max_output_tokens")
        roster = self._equipment.roster
        step = self._step = Step(ask, self._service, self.window, self._output, rules=rules, roster=roster)
        try:
            await step.run(engine)
        finally:
            self._use(step.used)
            step.let_go()
        self._members |= step.finish.members
        self._used += step.used.output_tokens if step.used is not None else 0
        self._check_stopped()
        if step.error is not None:
            return Ending(outcome=Outcome.FAILED, usage=self.used, error=step.error)
        if step.made_way:
            return Ending(outcome=Outcome.INCOMPLETE, usage=self.used, incomplete=STEERED)
        if step.finish.incomplete is not None:
            return Ending(outcome=Outcome.INCOMPLETE, usage=self.used, incomplete=step.finish.incomplete)
        return None if step.goes_on else self._done(ask, rules)

    def _done(self, ask: Ask, rules: CallRules) -> Ending:
        """The model is done; whether it did what it had to."""
        try:
            rules.check_end()
        except EngineError as fault:
            log.warning("response %s: the engine broke a rule of its request: %s", ask.response_id, fault)
            error = RequestError(fault.status, fault.code, fault.message)
            return Ending(outcome=Outcome.FAILED, usage=self.used, error=error)
        if not has_format(self._output.items(), ask.text_format):
            log.warning("response %s: the engine's text is not the JSON that text.format asks for", ask.response_id)
        return Ending(outcome=Outcome.COMPLETED, usage=self.used)

    def _use(self, usage: Usage | None) -> None:
        if usage is not None:
            self.used = usage if self.used is None else self.used + usage

    async def _prepare(self, ask: Ask) -> Ask:
        if not self._context.matters(ask.request):
            return ask
        try:
            return await self._beside(ask, partial(self._context.prepare, ask))
        finally:
            self._use(self._context.take_usage())

    async def _beside(self, ask: Ask, work: Callable[[], Awaitable[T]]) -> T:
        """Something of the engine's, beside its steps.

        Raises:
            RequestError: it failed, or the response was stopped.
        """
        self._check_stopped()
        with trio.CancelScope() as self._aside, told_faults(ask.response_id):
            return await work()
        assert self._stopped is not None
        raise self._stopped

    def _check_stopped(self) -> None:
        if self._stopped is not None:
            raise self._stopped

    def _ask(self, request: CreateRequest, response_id: str, step: int = 0) -> Ask:
        return ask_of(
            self._service,
            request,
            self._parent,
            principal=self._principal,
            response_id=response_id,
            made=self._output.items(),
            step=step,
            memo=self._memo,
            roster=self._equipment.roster,
        )

    def cancel(self, error: RequestError) -> bool:
        """Stop the engine and the tools; the response fails with this error, and no ``error`` event comes before that.

        What the lane remembers stays as it was. False if the response has ended, or is about to.
        """
        if self._ends or self.response is None:
            return False
        if self._stopped is None:
            self._stopped = error
            if self._step is not None:
                self._step.stop(error)
            if self._aside is not None:
                self._aside.cancel(reason=error.message)
        return True

    def make_way(self) -> None:
        """The client has more to say: end as soon as no item and no tool of the server is torn by it."""
        if self._step is not None:
            self._step.make_way()

    # Ending

    async def _end(self, request: CreateRequest, parent: Node | None, ending: Ending) -> None:
        """The desk knows first, then the store, then the client."""
        self._ends = True
        showing = self._showing()
        assert showing is not None
        assert self.ticket.response_id is not None
        changes, output = self._final(showing.told(self._members), ending), self._output.shown()
        shown = showing.ended(changes, output)
        self._changes, self._response = changes, None
        node = None
        if ending.outcome in (Outcome.COMPLETED, Outcome.INCOMPLETE):
            grow = parent.extend if parent is not None else Node.root
            node = grow(self.ticket.response_id, request.input, changes["output"], self._memo)
        if request.store:
            await self._keep(node, shown, output)
        self.ending = ending
        self._desk.settle(self.ticket, ending.outcome, node)
        if ending.outcome is Outcome.FAILED and ending.error is not None:
            self._put_error(ending.error)
        kind = "failed" if ending.error is not None else changes["status"]
        await self.window.put(event_head(f"response.{kind}"), b',"response":' + shown)
        self._conclude(ending.error)

    async def _keep(self, node: Node | None, shown: bytes, output: bytes) -> None:
        """Store what has ended and may be continued; ``output`` is a part of what is shown."""
        if node is not None:
            size = self._size + len(shown)
            stored = Stored(node=node, response=shown, size=size, input=self._input, output=output)
            await self._service.store.put(self._principal, stored)

    def _conclude(self, error: RequestError | None) -> None:
        """Say what becomes of steers, after everything else."""
        for event in self._desk.conclude(self.ticket, error):
            members = dict(event)
            if self.response is None:
                members |= self._mark()
            self.window.put_nowait(*event_parts(members.pop("type"), members))

    def _final(self, told: Mapping[str, Any], ending: Ending) -> dict[str, Any]:
        """What has changed since it began, with what the engine has told of it."""
        error = ending.error
        return {
            **told,
            "status": "failed" if error is not None else ending.outcome.value,
            "output": self._output.items(),
            "usage": ending.usage,
            "completed_at": self._service.sources.timestamp() if ending.outcome is Outcome.COMPLETED else None,
            "incomplete_details": {"reason": ending.incomplete} if ending.incomplete is not None else None,
            "error": _failure(error) if error is not None else None,
        }

    def fail(self, error: RequestError) -> None:
        """End it at once: something failed that is not the engine's, or what the engine has told has no JSON."""
        self._members = {}
        self.ending = Ending(outcome=Outcome.FAILED, usage=self.used, error=error)
        self._desk.settle(self.ticket, Outcome.FAILED)
        self._put_error(error)
        if self.response is not None:
            final = self._final(self.response.told(self._members), self.ending)
            self._response = changed(self.response, final)
            self.window.put_nowait(*event_parts("response.failed", {"response": self._response}))
        self._conclude(error)

    def account(self) -> Account:
        """What it came to; one without an ending was cancelled."""
        ending = self.ending or Ending(outcome=Outcome.CANCELLED)
        return Account(
            outcome=ending.outcome,
            response_id=self.ticket.response_id,
            model=self.request.model if self.request is not None else None,
            principal=self._principal,
            seconds=trio.current_time() - self._since,
            used=self.used,
            code=ending.error.code if ending.error is not None else ending.incomplete,
        )

    def _put_error(self, error: RequestError) -> None:
        event = error.event()
        del event["type"]
        if self.response is None:
            event |= self._mark()
        self.window.put_nowait(*event_parts("error", event))


def _bare(error: RequestError) -> RequestError:
    """Without the way that it came: frames on it have the turn, which could not be freed before it is searched for."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _failure(error: RequestError) -> Mapping[str, Any]:
    failure = {"code": error.code, "message": error.message, "type": error.type}
    return failure if error.param is None else {**failure, "param": error.param}
