"""One engine step of a turn, and the server's own tools that it calls: a nursery that ends when both are done.

What an engine raises ends its turn and nothing else, and so does what its clean-up raises; a response that has grown
too large cancels the engine, and is no fault of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import attrs
import trio

from agentwire.protocol.errors import EngineError, RequestError
from agentwire.protocol.items import McpCall, client_call
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.response import Usage
from agentwire.runtime.call_rules import CallRules
from agentwire.runtime.contracts import Ask, Engine, Finish
from agentwire.runtime.groups import Noted
from agentwire.runtime.making import Output
from agentwire.runtime.out import TurnOut
from agentwire.runtime.service import Service
from agentwire.runtime.tools.roster import Roster
from agentwire.runtime.window import Window

__all__ = ["Step", "told_faults"]

log = logging.getLogger("agentwire.turn")


_NOTHING: Final = Finish()


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
    told: list[RequestError] = []

    def note(fault: BaseException) -> None:
        told.append(fault if isinstance(fault, RequestError) else _told(response_id, fault))

    with Noted(note):
        yield
    if told:
        raise told.pop()


class Step:
    """One engine step while it runs: what can end it, and then how it ended.

    Args:
        ask: what the engine is asked.
        service: the engine and the server's own tools.
        window: takes the events.
        output: takes the finished items of the response.
        rules: which calls the turn may make.
        roster: the tools on offer.

    Attributes:
        finish: what the engine said of its end.
        error: why it failed, if it did.
        goes_on: the server's tools have answered, and nobody else has to: another step follows.
        made_way: the engine was cancelled between two items, because the client has more to say.
    """

    def __init__(
        self, ask: Ask, service: Service, window: Window, output: Output, *, rules: CallRules, roster: Roster
    ) -> None:
        self.finish = _NOTHING
        self.error: RequestError | None = None
        self.goes_on = False
        self.made_way = False
        self._service = service
        self._output = output
        self._roster = roster
        self._ask = ask
        self._scope = trio.CancelScope()
        self._engine = None if rules.parallel else trio.CancelScope()
        self._tools: trio.Nursery | None = None
        self._overflowed = False
        self._halted = False
        self._interrupted = False
        self._returned = False
        self._closed = False
        self._out = TurnOut(
            window,
            output,
            service.sources,
            server_tools=roster.own,
            start_call=self._start_call,
            max_bytes=service.limits.response_bytes,
            overflow=self._overflow,
            rules=rules,
            halt=self._halt,
            logprobs=_wants_logprobs(ask.request),
        )

    async def run(self, engine: Engine | None = None) -> None:
        """Run it to its end. Cancelled, it writes nothing more; raises nothing but `trio.Cancelled`.

        Args:
            engine: another one than the service's.
        """
        out = self._out
        with Noted(self._failed), self._scope:  # what cleaning up raised is the engine's fault, too
            # In this very task: one of its own would cost a short turn more than all its events.
            if self._roster.own:
                async with trio.open_nursery() as self._tools:
                    await self._run_engine(engine or self._service.engine)
            else:
                await self._run_engine(engine or self._service.engine)
        self._tools = None
        await trio.lowlevel.checkpoint_if_cancelled()  # an engine may have swallowed it
        if out.fault is not None:
            log.warning("response %s: the engine broke a rule of its request: %s", self._ask.response_id, out.fault)
            self.error = self.error or _told(self._ask.response_id, out.fault)
        failed = self.error is not None or self._overflowed
        if not self._closed:
            await out.close(complete=not failed and self.finish.incomplete is None)
        await out.abandon("The turn ended before this tool did.")
        if self._overflowed:
            self.error, self.finish = None, attrs.evolve(self.finish, incomplete="max_output_tokens")
            return
        self.made_way = self._interrupted and not self._returned and not failed
        answered = any(isinstance(call, McpCall) for call in out.calls)
        self.goes_on = answered and not any(client_call(item) is not None for item in self._output.items())

    def let_go(self) -> None:
        """It is over: it and what it has written can be freed at once, however large, without the garbage collector."""
        self._out.let_go()

    @property
    def used(self) -> Usage | None:
        """What the engine has used so far, as far as it said so."""
        return self.finish.usage or self._out.used

    def make_way(self) -> None:
        """Cancel the engine once no item and no tool is torn by it, unless the client then owes an answer."""
        self._out.make_way(self._interrupt)

    def _interrupt(self) -> None:
        self._interrupted = True
        self._scope.cancel(reason="the client has more to say")

    def stop(self, error: RequestError) -> None:
        """Cancel the engine and the tools: the step ends with this error, unless it has failed already."""
        if self.error is None and not self._overflowed:
            self.error = error
            self._scope.cancel(reason=error.message)

    def _overflow(self) -> None:
        self._overflowed = True
        self._scope.cancel(reason=f"the response has its {self._service.limits.response_bytes} bytes")

    def _halt(self) -> None:
        assert self._engine is not None
        self._halted = True
        self._engine.cancel(reason="the client takes one call at a time (parallel_tool_calls is false)")

    async def _run_engine(self, engine: Engine) -> None:
        ask, out, finish = self._ask, self._out, None
        with Noted(self._failed):  # it ends its turn, nothing else
            if self._engine is None:
                finish = await engine(ask, out)
            else:
                with self._engine:
                    finish = await engine(ask, out)
            if finish is not None:
                if not isinstance(finish, Finish):
                    raise TypeError(f"an engine returns a Finish or None, not {type(finish).__name__}")
                self.finish = finish
            self._returned = True
            await out.close(complete=self.finish.incomplete is None)
            self._closed = True

    def _failed(self, exception: BaseException) -> None:
        """The engine raised this; the first counts, and what follows from a cancellation that we asked for does not."""
        if self.error is not None or self._overflowed or self._interrupted or self._halted:
            log.warning("response %s: the engine raised while it ended", self._ask.response_id, exc_info=exception)
        else:
            self.error = _told(self._ask.response_id, exception)
        if self._tools is not None:
            self._tools.cancel_scope.cancel(reason="the engine failed")

    def _start_call(self, index: int, call: McpCall) -> None:
        if self._tools is not None:  # else the step is over, and the call will be abandoned
            self._tools.start_soon(self._run_tool, index, call, name=f"tool {call.name} {call.id}")

    async def _run_tool(self, index: int, call: McpCall) -> None:
        self._service.tally.tool_calls += 1
        tool = self._roster.find(call.server_label, call.name)
        assert tool is not None
        limits = self._service.limits
        result = await tool.source.call(tool.name, call.arguments, call_id=call.id or "", limits=limits)
        status = "completed" if result.error is None else "failed"
        await self._out.finish_call(index, attrs.evolve(call, status=status, output=result.text, error=result.error))
