"""One engine step of a turn, and the server's own tools that it calls: a nursery that ends when both are done.

What an engine raises ends its turn and nothing else, and so does what its clean-up raises; a response that has grown
too large cancels the engine, and is no fault of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import attrs
import trio

from agentwire.protocol.errors import EngineError, RequestError
from agentwire.protocol.items import McpCall, client_call
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.response import Usage
from agentwire.runtime.call_rules import CallRules
from agentwire.runtime.contracts import Ask, Engine, Finish
from agentwire.runtime.groups import single
from agentwire.runtime.making import Output
from agentwire.runtime.out import TurnOut
from agentwire.runtime.service import Service
from agentwire.runtime.tools.roster import Roster
from agentwire.runtime.window import Window

__all__ = ["Step", "StepEnd", "told_faults"]

log = logging.getLogger("agentwire.turn")


@attrs.frozen(kw_only=True)
class StepEnd:
    """How an engine step ended.

    Attributes:
        finish: what the engine said of it, and what it used even if it did not come to say so.
        error: why it failed, if it did.
        goes_on: the server's tools have answered, and nobody else has to: another step follows.
        made_way: the engine was cancelled between two items, because the client has more to say.
    """

    finish: Finish
    error: RequestError | None = None
    goes_on: bool = False
    made_way: bool = False


def _wants_logprobs(request: CreateRequest) -> bool:
    return bool(request.top_logprobs) or "message.output_text.logprobs" in request.include


def _told(response_id: str, exception: BaseException) -> RequestError:
    """What the client is told of what an engine raised: its own words only where it chose them."""
    if isinstance(exception, EngineError):
        log.info("response %s: the engine failed: %s", response_id, exception)
        return RequestError(
            exception.status, exception.code, exception.message, param=exception.param, headers=exception.headers
        )
    log.error("response %s: the engine failed", response_id, exc_info=exception)
    message = f"The engine failed; the server's log has the reason ({response_id})."
    return RequestError(500, "server_error", message)


@contextmanager
def told_faults(response_id: str) -> Iterator[None]:
    """Whatever an engine raises inside becomes what the client is told; a `RequestError` is not touched.

    Raises:
        RequestError: the engine failed.
    """
    try:
        yield
    except RequestError:
        raise
    except (Exception, SystemExit) as exception:
        fault = single(exception) if isinstance(exception, ExceptionGroup) else exception
        raise _told(response_id, fault) from exception


class Step:
    """One engine step while it runs: what is known of its end, and what can end it.

    Args:
        service: the engine and the server's own tools.
        window: takes the events.
        output: takes the finished items of the response.
        rules: which calls the turn may make.
        roster: the tools on offer.
    """

    def __init__(self, service: Service, window: Window, output: Output, rules: CallRules, roster: Roster) -> None:
        self._service = service
        self._window = window
        self._output = output
        self._rules = rules
        self._roster = roster
        self._scope = trio.CancelScope()
        self._tools: trio.Nursery | None = None
        self._finish = Finish()
        self._error: RequestError | None = None
        self._overflowed = False
        self._engine = None if rules.parallel else trio.CancelScope()
        self._halted = False
        self._out: TurnOut | None = None
        self._interrupted = False
        self._returned = False

    async def run(self, ask: Ask, engine: Engine | None = None) -> StepEnd:
        """Run it to its end. Cancelled, it writes nothing more; raises nothing but `trio.Cancelled`.

        Args:
            ask: what the engine is asked.
            engine: another one than the service's.
        """
        out = self._out = self._open_out(ask)
        try:
            with self._scope:
                # In this very task: one of its own would cost a short turn more than all its events.
                if self._roster.own:
                    async with trio.open_nursery() as self._tools:
                        await self._run_engine(engine or self._service.engine, ask, out)
                else:
                    await self._run_engine(engine or self._service.engine, ask, out)
        except (Exception, SystemExit) as exception:  # noqa: BLE001 - what cleaning up raised is the engine's fault, too
            self._failed(ask, exception)
        self._tools = None
        await trio.lowlevel.checkpoint_if_cancelled()  # an engine may have swallowed it
        if out.fault is not None:
            log.warning("response %s: the engine broke a rule of its request: %s", ask.response_id, out.fault)
            self._error = self._error or _told(ask.response_id, out.fault)
        made_way = self._interrupted and not self._returned and self._error is None and not self._overflowed
        complete = self._error is None and not self._overflowed and self._finish.incomplete is None
        await out.close(complete=complete)
        await out.abandon("The turn ended before this tool did.")
        finish = self._finish
        if finish.usage is not self.used:
            finish = attrs.evolve(finish, usage=self.used)
        if self._overflowed:
            return StepEnd(finish=attrs.evolve(finish, incomplete="max_output_tokens"))
        waits = any(client_call(item) is not None for item in self._output.items())
        goes_on = bool(out.calls) and not waits
        return StepEnd(finish=finish, error=self._error, goes_on=goes_on, made_way=made_way)

    @property
    def used(self) -> Usage | None:
        """What the engine has used so far, as far as it said so."""
        said = self._out.used if self._out is not None else None
        return self._finish.usage or said

    def make_way(self) -> None:
        """Cancel the engine once no item and no tool is torn by it, unless the client then owes an answer."""
        if self._out is not None:
            self._out.make_way(self._interrupt)

    def _interrupt(self) -> None:
        self._interrupted = True
        self._scope.cancel(reason="the client has more to say")

    def stop(self, error: RequestError) -> None:
        """Cancel the engine and the tools: the step ends with this error, unless it has failed already."""
        if self._error is None and not self._overflowed:
            self._error = error
            self._scope.cancel(reason=error.message)

    async def _run_engine(self, engine: Engine, ask: Ask, out: TurnOut) -> None:
        finish: Finish | None = None
        try:
            with self._engine or nullcontext():
                finish = await engine(ask, out)
            if finish is not None and not isinstance(finish, Finish):
                raise TypeError(f"an engine returns a Finish or None, not {type(finish).__name__}")
            self._finish = finish or Finish()
            self._returned = True
            await out.close(complete=self._finish.incomplete is None)
        except (Exception, SystemExit) as exception:  # noqa: BLE001 - it ends its turn, nothing else
            self._failed(ask, exception)
            if self._tools is not None:
                self._tools.cancel_scope.cancel(reason="the engine failed")

    def _failed(self, ask: Ask, exception: BaseException) -> None:
        """The engine raised this; the first counts, and what follows from a cancellation that we asked for does not."""
        if isinstance(exception, ExceptionGroup):
            exception = single(exception)
        if self._error is not None or self._overflowed or self._interrupted or self._halted:
            log.warning("response %s: the engine raised while it ended", ask.response_id, exc_info=exception)
        else:
            self._error = _told(ask.response_id, exception)

    def _open_out(self, ask: Ask) -> TurnOut:
        limits = self._service.limits

        def overflow() -> None:
            self._overflowed = True
            self._scope.cancel(reason=f"the response has its {limits.response_bytes} bytes")

        def halt() -> None:
            assert self._engine is not None
            self._halted = True
            self._engine.cancel(reason="the client takes one call at a time (parallel_tool_calls is false)")

        def start_call(index: int, call: McpCall) -> None:
            if self._tools is not None:  # else the step is over, and the call will be abandoned
                self._tools.start_soon(self._run_tool, out, index, call, name=f"tool {call.name} {call.id}")

        out = TurnOut(
            self._window,
            self._output,
            self._service.sources,
            server_tools=self._roster.own,
            start_call=start_call,
            max_bytes=limits.response_bytes,
            overflow=overflow,
            rules=self._rules,
            halt=halt,
            logprobs=_wants_logprobs(ask.request),
        )
        return out

    async def _run_tool(self, out: TurnOut, index: int, call: McpCall) -> None:
        self._service.tally.tool_calls += 1
        tool = self._roster.find(call.server_label, call.name)
        assert tool is not None
        limits = self._service.limits
        result = await tool.source.call(tool.name, call.arguments, call_id=call.id or "", limits=limits)
        status = "completed" if result.error is None else "failed"
        await out.finish_call(index, attrs.evolve(call, status=status, output=result.text, error=result.error))
