"""A turn: one request being run. Engine step, the server's own tool calls, next step, until the model is done.

Its one terminal event is made from how the engine ended, after everything else, so that a missing or a double one
cannot be written. A turn knows no socket: its events go into a window.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import attrs
import trio

from agentwire.protocol.codec import decode_create_steps, encode_json, to_wire
from agentwire.protocol.desk import Desk, Outcome, Ticket
from agentwire.protocol.errors import EngineError, RequestError
from agentwire.protocol.items import Item, McpCall, OpaqueItem, client_call
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.response import Response, Usage
from agentwire.protocol.tools import OpaqueTool, Tool, check_tool_choice
from agentwire.protocol.transcript import History, Memo, Node, check_pairing, resolve
from agentwire.runtime.contracts import Ask, Finish, Stored
from agentwire.runtime.groups import single
from agentwire.runtime.making import Output
from agentwire.runtime.out import TurnOut, event_parts
from agentwire.runtime.service import Service
from agentwire.runtime.window import Window

__all__ = ["Ending", "Transport", "Turn"]

log = logging.getLogger("agentwire.turn")

Transport = Literal["websocket", "http"]

_CREATED: Final = b'{"type":"response.created","sequence_number":'
_IN_PROGRESS: Final = b'{"type":"response.in_progress","sequence_number":'


@attrs.frozen(kw_only=True)
class Ending:
    """How a turn ended: the outcome, and what the terminal event says of it."""

    outcome: Outcome
    usage: Usage | None = None
    incomplete: str | None = None
    error: RequestError | None = None


@attrs.define
class _Step:
    """One engine step while it runs: what is known of its end, and what can end it."""

    response_id: str
    size_scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    tools: trio.Nursery | None = None
    finish: Finish = attrs.field(factory=Finish)
    error: RequestError | None = None
    overflowed: bool = False

    def failed(self, exception: BaseException) -> None:
        """The engine raised this; the first counts, and what follows from a cancellation that we asked for does not."""
        if isinstance(exception, ExceptionGroup):
            exception = single(exception)
        if self.error is not None or self.overflowed:
            log.warning("response %s: the engine raised while it ended", self.response_id, exc_info=exception)
        elif isinstance(exception, EngineError):
            log.info("response %s: the engine failed: %s", self.response_id, exception)
            self.error = RequestError(
                exception.status, exception.code, exception.message, param=exception.param, headers=exception.headers
            )
        else:
            log.error("response %s: the engine failed", self.response_id, exc_info=exception)
            message = f"The engine failed; the server's log has the reason ({self.response_id})."
            self.error = RequestError(500, "server_error", message)


class Turn:
    """One request from its message to its terminal event.

    Args:
        service: engine, tools, store and bounds.
        desk: looks up parents, and is told the outcome before the client is.
        ticket: the request.
        window: takes the events; closed by whoever made it.
        principal: who asks.
        transport: how the request came; some fields are legal on one transport only.
    """

    def __init__(
        self, service: Service, desk: Desk, ticket: Ticket, window: Window, *, principal: str, transport: Transport
    ) -> None:
        self.ticket = ticket
        self.window = window
        self.request: CreateRequest | None = None
        self.response: Response | None = None
        self.ending: Ending | None = None
        self._service = service
        self._desk = desk
        self._principal = principal
        self._transport: Transport = transport
        self._size = 0
        self._output = Output()
        self._memo = Memo()

    async def run(self) -> Ending:
        """Run it to its terminal event.

        Cancelled, it writes nothing more: the client is gone, or knows why.
        """
        try:
            request, parent = await self._open()
        except RequestError as error:
            return self._refuse(error)
        self.request = request
        response = await self._begin(request)
        if parent is not None:
            self._memo.value = parent.memo.value
        ending = await self._work(request, parent, response) if request.generate else self._warm_up()
        await self._end(request, parent, response, ending)
        return ending

    # Opening

    async def _open(self) -> tuple[CreateRequest, Node | None]:
        """Read the request and find what it continues; nothing has been said yet."""
        request = await self._decode()
        parent = await self._parent(request.previous_response_id)
        request = attrs.evolve(request, input=resolve(parent, request.input))
        check_pairing(parent, request.input, generate=request.generate)
        if request.tool_choice.mode == "required" or request.tool_choice.names:
            history = History(parent, request.input)
            check_tool_choice(
                request.tool_choice, (*request.tools, *_late_tools(history), *self._service.toolbox.specs)
            )
        return request, parent

    async def _decode(self) -> CreateRequest:
        """Read the message in steps: a large one must not hold up everybody else."""
        steps = decode_create_steps(self.ticket.frame, self._service.limits, transport=self._transport)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                request: CreateRequest = end.value
                break
            await trio.lowlevel.checkpoint()
        self._size, self.ticket.frame = len(self.ticket.frame), b""
        return request

    async def _parent(self, wanted: str | None) -> Node | None:
        if wanted is None:
            return None
        found = self._desk.find_parent(self.ticket)
        if found is None and (stored := await self._service.store.get(self._principal, wanted)) is not None:
            found = self.ticket.parent = stored.node
        if found is None:
            message = f"No response {wanted!r} is available on this connection or in the store."
            raise RequestError(400, "previous_response_not_found", message, param="previous_response_id")
        return found

    def _refuse(self, error: RequestError) -> Ending:
        not_found = error.code == "previous_response_not_found"
        self.ending = ending = Ending(outcome=Outcome.NOT_FOUND if not_found else Outcome.REFUSED, error=error)
        self._desk.settle(self.ticket, ending.outcome)
        self._put_error(error)
        return ending

    async def _begin(self, request: CreateRequest) -> Response:
        """Say that there is a response, in one write; one that shows large settings waits for its reader in between."""
        sources = self._service.sources
        self.ticket.response_id = id_ = sources.new_id("resp")
        self.response = response = Response.begin(request, id=id_, created_at=sources.timestamp())
        shown = b',"response":' + encode_json(to_wire(response))
        created, in_progress = (
            b'{"type":"response.%b","sequence_number":' % kind for kind in (b"created", b"in_progress")
        )
        if len(shown) <= self._service.limits.slice_bytes:
            self.window.put_together((created, shown), (in_progress, shown))
        else:
            await self.window.put(created, shown)
            await self.window.put(in_progress, shown)
        return response

    # Working

    def _warm_up(self) -> Ending:
        """``generate: false``: a response to continue from, and no model run."""
        tokens = self._size // 4
        return Ending(outcome=Outcome.COMPLETED, usage=Usage(tokens, 0, cache_write_tokens=tokens))

    async def _work(self, request: CreateRequest, parent: Node | None, response: Response) -> Ending:
        """Engine steps until the model is done, or the client must act."""
        done: tuple[Item, ...] = ()
        usage: Usage | None = None
        for step in range(self._service.limits.steps):
            ask = self._ask(request, parent, response, History(parent, (*request.input, *done)), step)
            finish, error, goes_on = await self._step(ask)
            if finish.usage is not None:
                usage = finish.usage if usage is None else usage + finish.usage
            if error is not None:
                return Ending(outcome=Outcome.FAILED, usage=usage, error=error)
            if finish.incomplete is not None:
                return Ending(outcome=Outcome.INCOMPLETE, usage=usage, incomplete=finish.incomplete)
            if not goes_on:
                return Ending(outcome=Outcome.COMPLETED, usage=usage)
            done = self._output.items()
        message = (
            f"The model called the server's tools in {self._service.limits.steps} steps and did not come to an end."
        )
        return Ending(outcome=Outcome.FAILED, usage=usage, error=RequestError(500, "server_error", message))

    def _ask(self, request: CreateRequest, parent: Node | None, response: Response, items: History, step: int) -> Ask:
        service = self._service
        return Ask(
            request=request,
            items=items,
            new_items=request.input,
            tools=(*request.tools, *service.toolbox.specs),
            response_id=response.id,
            root_id=parent.root_id if parent is not None else response.id,
            principal=self._principal,
            step=step,
            memo=self._memo,
            sources=service.sources,
            limits=service.limits,
        )

    async def _step(self, ask: Ask) -> tuple[Finish, RequestError | None, bool]:
        """One engine step and the tools that it called: how it finished, an error, and whether another step follows."""
        step = _Step(ask.response_id)
        out = self._open_out(step)
        try:
            with step.size_scope:
                await self._run_step(step, ask, out)
        except (Exception, SystemExit) as exception:  # noqa: BLE001 - what cleaning up raised is the engine's fault, too
            step.failed(exception)
        step.tools = None
        await trio.lowlevel.checkpoint_if_cancelled()  # an engine may have swallowed it
        complete = step.error is None and not step.overflowed and step.finish.incomplete is None
        await out.close(complete=complete)
        await out.abandon("The turn ended before this tool did.")
        if step.overflowed:
            return Finish(step.finish.usage, "max_output_tokens"), None, False
        waits = any(client_call(item) is not None for item in self._output.items())
        return step.finish, step.error, bool(out.calls) and not waits

    async def _run_step(self, step: _Step, ask: Ask, out: TurnOut) -> None:
        async with trio.open_nursery() as step.tools:
            try:
                finish = await self._service.engine(ask, out)
                if finish is not None and not isinstance(finish, Finish):
                    raise TypeError(f"an engine returns a Finish or None, not {type(finish).__name__}")
                step.finish = finish or Finish()
                await out.close(complete=step.finish.incomplete is None)
            except (Exception, SystemExit) as exception:  # noqa: BLE001 - it ends its turn, nothing else
                step.failed(exception)
                step.tools.cancel_scope.cancel(reason="the engine failed")

    def _open_out(self, step: _Step) -> TurnOut:
        limits, toolbox = self._service.limits, self._service.toolbox

        def overflow() -> None:
            step.overflowed = True
            step.size_scope.cancel(reason=f"the response has its {limits.response_bytes} bytes")

        def start_call(index: int, call: McpCall) -> None:
            if step.tools is not None:  # else the step is over, and the call will be abandoned
                step.tools.start_soon(self._run_tool, out, index, call, name=f"tool {call.name} {call.id}")

        out = TurnOut(
            self.window,
            self._output,
            self._service.sources,
            server_tools=dict.fromkeys(toolbox.names, self._service.server_label),
            start_call=start_call,
            max_bytes=limits.response_bytes,
            overflow=overflow,
        )
        return out

    async def _run_tool(self, out: TurnOut, index: int, call: McpCall) -> None:
        service = self._service
        service.tally.tool_calls += 1
        result = await service.toolbox.run(call.name, call.arguments, call_id=call.id or "", limits=service.limits)
        status = "completed" if result.error is None else "failed"
        await out.finish_call(index, attrs.evolve(call, status=status, output=result.text, error=result.error))

    # Ending

    async def _end(self, request: CreateRequest, parent: Node | None, response: Response, ending: Ending) -> None:
        """The desk knows first, then the store, then the client."""
        final = self.response = self._final(response, ending)
        shown = encode_json(to_wire(final))
        node = None
        if ending.outcome is not Outcome.FAILED:
            grow = parent.extend if parent is not None else Node.root
            node = attrs.evolve(grow(final.id, request.input, final.output), memo=self._memo)
            if request.store:
                stored = Stored(node=node, response=shown, size=self._size + len(shown))
                await self._service.store.put(self._principal, stored)
        self.ending = ending
        self._desk.settle(self.ticket, ending.outcome, node)
        if ending.error is not None:
            self._put_error(ending.error)
        await self.window.put(
            b'{"type":"response.%b","sequence_number":' % final.status.encode(), b',"response":' + shown
        )

    def _final(self, response: Response, ending: Ending) -> Response:
        error = ending.error
        return attrs.evolve(
            response,
            status=ending.outcome.value,
            output=self._output.items(),
            usage=ending.usage,
            completed_at=self._service.sources.timestamp() if ending.outcome is Outcome.COMPLETED else None,
            incomplete_details={"reason": ending.incomplete} if ending.incomplete is not None else None,
            error=_failure(error) if error is not None else None,
        )

    def fail(self, error: RequestError) -> None:
        """End it at once: something failed that is not the engine's."""
        self.ending = Ending(outcome=Outcome.FAILED, error=error)
        self._desk.settle(self.ticket, Outcome.FAILED)
        self._put_error(error)
        if self.response is not None:
            final = self.response = self._final(self.response, self.ending)
            self.window.put_nowait(*event_parts("response.failed", {"response": final}))

    def _put_error(self, error: RequestError) -> None:
        event = error.event()
        del event["type"]
        self.window.put_nowait(*event_parts("error", event))


def _late_tools(items: Iterable[Item]) -> Iterator[Tool]:
    """Tools that were offered by an item instead of the request."""
    for item in items:
        if isinstance(item, OpaqueItem) and item.type == "additional_tools":
            yield OpaqueTool({**item.raw, "type": "namespace", "name": "additional_tools"})


def _failure(error: RequestError) -> Mapping[str, Any]:
    failure = {"code": error.code, "message": error.message, "type": error.type}
    return failure if error.param is None else {**failure, "param": error.param}
