"""The tool calls that an engine makes: they begin, get their arguments, and run or wait for the client.

Which calls a turn may make is judged before they begin, and which of them are the server's own decides how they appear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import attrs
import msgspec
import trio

from agentwire.protocol.codec import encode_json
from agentwire.protocol.errors import EngineError, LocalProtocolError
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import CustomToolCall, FunctionCall, Item, McpCall, client_call
from agentwire.protocol.mcp_items import Approval
from agentwire.protocol.response import Usage
from agentwire.runtime.call_rules import CallRules, is_call
from agentwire.runtime.making import APPROVAL, CUSTOM, FUNCTION, MCP, Call, CallKind, OpenCall, Output
from agentwire.runtime.telling import event_parts
from agentwire.runtime.texts import TextOut
from agentwire.runtime.tools.roster import Offered
from agentwire.runtime.window import Window

__all__ = ["CallOut"]

REFUSED: Final = "Not run: the user did not approve this call{}"
TOO_MANY: Final = "Not run: max_tool_calls allows {} calls in this response, and they have been made."


class CallOut(TextOut):
    """The part of an `Out` that takes calls, and knows what its step has come to; see `TextOut` for the rest.

    Args:
        server_tools: the server's own tools, by the names under which the model sees them.
        start_call: called with the index and the open ``mcp_call`` item when the server is to run it.
        rules: which calls the turn may make.
        halt: called when the step may make no further call, but tries to: cancels the engine.

    Attributes:
        fault: how the engine broke the rules; raised at once, but an engine may swallow that.
        used: what the engine said that it has used so far.
    """

    __slots__ = (
        "_before", "_calls", "_halt", "_has_called", "_quiet", "_rules", "_server_tools", "_start_call", "fault",
        "used",
    )  # fmt: skip

    def __init__(
        self,
        window: Window,
        output: Output,
        sources: Sources,
        *,
        server_tools: Mapping[str, Offered],
        start_call: Callable[[int, McpCall], None],
        max_bytes: int,
        overflow: Callable[[], None],
        rules: CallRules,
        halt: Callable[[], None],
        logprobs: bool = False,
    ) -> None:
        super().__init__(window, output, sources, max_bytes=max_bytes, overflow=overflow, logprobs=logprobs)
        self.fault: EngineError | None = None
        self.used: Usage | None = None
        self._before = output.size
        self._server_tools = server_tools
        self._start_call = start_call
        self._rules = rules
        self._halt = halt
        self._calls: list[Call] = []
        self._has_called = False
        self._quiet = 0

    def let_go(self) -> None:
        """The step is over: nobody is told of anything any more."""
        self._start_call = self._halt = self._overflow = _nobody
        self._interrupt = None

    def use(self, usage: Usage) -> None:
        """What this step has used so far; see `Out`."""
        self.used = usage

    @property
    def begun(self) -> bool:
        """Whether an item of this step has begun, or never will."""
        return self._output.size > self._before or self.fault is not None

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls of this step so far, as they were when their arguments were complete."""
        return tuple(self._calls)

    async def call(
        self,
        name: str,
        arguments: str | Mapping[str, Any],
        *,
        call_id: str | None = None,
        custom: bool = False,
        namespace: str | None = None,
    ) -> None:
        """One whole tool call; see `Out`. Cancelled while it waits, it is written whole by what is written next."""
        text = arguments if isinstance(arguments, str) else encode_json(arguments).decode()
        await self._room()
        call = await self._begin_call(name, call_id, custom=custom, namespace=namespace)
        self._tell_arguments(call, text)
        self._end_call(call, text)
        await self._flush()
        self._reach_boundary()

    async def open_call(
        self, name: str, *, call_id: str | None = None, custom: bool = False, namespace: str | None = None
    ) -> None:
        """Begin a tool call; see `Out`."""
        await self._room()
        self._call = await self._begin_call(name, call_id, custom=custom, namespace=namespace)
        await self._flush()

    async def arguments(self, piece: str) -> None:
        """A piece of the open call's arguments; see `Out`."""
        if self._call is None:
            raise LocalProtocolError("arguments() without an open call: call open_call() first")
        if self._call.kind is APPROVAL:
            await self._keep_quiet(self._call, piece)
        else:
            await self._delta(self._call, piece)

    async def _keep_quiet(self, call: OpenCall, piece: str) -> None:
        """A piece that no event tells of."""
        if not isinstance(piece, str):
            raise TypeError(f"a piece must be a str, not {type(piece).__name__}")
        self._quiet += len(piece)
        if self._window.total_bytes + self._quiet >= self._max_bytes:
            await self._stop()
        call.pieces.append(msgspec.json.decode(encode_json(piece), type=str))
        await self._flush()
        await trio.lowlevel.checkpoint()

    async def close_call(self) -> None:
        """End the open call; see `Out`."""
        call, self._call = self._call, None
        if call is None:
            raise LocalProtocolError("close_call() without an open call: call open_call() first")
        self._end_call(call, "".join(call.pieces))
        await self._flush()
        self._reach_boundary()

    async def _begin_call(self, name: str, call_id: str | None, *, custom: bool, namespace: str | None) -> OpenCall:
        if not isinstance(name, str):
            raise TypeError(f"the name of a tool must be a str, not {type(name).__name__}")
        ours = self._server_tools.get(name) if namespace is None and not custom else None
        own_kind = APPROVAL if ours is not None and ours.asks_first else MCP
        kind = CUSTOM if custom else FUNCTION if ours is None else own_kind
        id_, call_id = self._sources.new_id(kind.id_prefix), call_id or self._sources.new_id("call")
        call: Call
        if ours is not None:
            call = McpCall(ours.label, ours.name, "", id=id_)
        else:
            call = (CustomToolCall if custom else FunctionCall)(call_id, name, "", id=id_, namespace=namespace)
        await self._judge(call)
        self._close_item("completed")
        return self._add_call(kind, call)

    async def _judge(self, item: Item) -> None:
        """Before an item begins: if it is a call, then one that the turn may make.

        Raises:
            EngineError: ``tool_choice`` does not allow it.
        """
        try:
            self._rules.check(item)
        except EngineError as fault:
            self.fault = fault
            raise
        if self._has_called and not self._rules.parallel and is_call(item):
            self._halt()
            await trio.lowlevel.checkpoint()
            raise LocalProtocolError("the client takes one call at a time, and this step has made one")

    def _add_call(self, kind: CallKind, call: Call) -> OpenCall:
        opened = OpenCall(kind, self._output.open(), call)
        self._add(opened.index, opened.shown(opened.item("", "in_progress")))
        if kind is MCP:
            self._say("response.mcp_call.in_progress", opened.where)
        return opened

    def _tell_arguments(self, call: OpenCall, text: str) -> None:
        if text and call.kind is not APPROVAL:
            self._say(f"{call.kind.events}.delta", {**call.where, "delta": text})

    def _end_call(self, call: OpenCall, text: str, why_not: str | None = None) -> None:
        """The call is whole; one of the server's own begins to run, unless something says why not."""
        item = call.item(text, "completed" if call.kind is not MCP else "in_progress")
        shown = call.shown(item)
        self._calls.append(item)
        self._has_called = True
        if not self._rules.count(shown):
            why_not = why_not or TOO_MANY.format(self._rules.most)
        if call.kind is APPROVAL:
            self._finish(call.index, shown)
            return
        done = {**call.where, call.kind.text_member: text}
        if not isinstance(item, McpCall):
            self._say(f"{call.kind.events}.done", done)
            self._finish(call.index, item)
        elif why_not is not None:
            self._say(f"{call.kind.events}.done", done)
            self._say("response.mcp_call.failed", call.where)
            self._finish(call.index, attrs.evolve(item, status="failed", error=why_not))
        else:
            self._unanswered[call.index] = item
            self._say(f"{call.kind.events}.done", done, partial(self._start_call, call.index, item))

    async def settle(self, approval: Approval, tool: Offered | None) -> None:
        """A call that waited for the client begins, or has failed, as the client decided; nothing more is asked.

        Cancelled while it waits, it is written whole by what is written next.

        Args:
            approval: the decision.
            tool: what is to run; None if there is no such tool any more.
        """
        await self._room()
        id_ = self._sources.new_id(MCP.id_prefix)
        call = self._add_call(MCP, McpCall(approval.label, approval.name, "", id=id_, approval_request_id=approval.id))
        why_not = None
        if not approval.approved:
            why_not = REFUSED.format(f": {approval.reason}" if approval.reason else ".")
        elif tool is None:
            why_not = f"Not run: {approval.label} has no tool {approval.name} on offer."
        self._tell_arguments(call, approval.arguments)
        self._end_call(call, approval.arguments, why_not)
        await self._flush()
        self._reach_boundary()

    async def finish_call(self, index: int, item: McpCall) -> None:
        """A tool that the server ran has answered (``item.output``) or failed (``item.error``).

        Cancelled while it waits for room, it has said nothing, and `abandon` will.
        """
        first, last = self._outcome(index, item)
        await self._window.put(*first)
        self._window.put_nowait(*last)
        self._output.fill(index, item)
        del self._unanswered[index]
        self._reach_boundary()

    def _outcome(self, index: int, item: McpCall) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
        event = "response.mcp_call.failed" if item.error is not None else "response.mcp_call.completed"
        return (
            event_parts(event, {"item_id": item.id, "output_index": index}),
            event_parts("response.output_item.done", {"output_index": index, "item": item}),
        )

    def _tell_call(self, item: FunctionCall | CustomToolCall) -> None:
        """A whole call with more members than `call` knows, such as a namespace."""
        text = item.input if isinstance(item, CustomToolCall) else item.arguments
        call = self._add_call(CUSTOM if isinstance(item, CustomToolCall) else FUNCTION, item)
        self._tell_arguments(call, text)
        self._end_call(call, text)

    def _count(self, item: Item) -> None:
        self._rules.count(item)
        if client_call(item) is not None:
            self._has_called = True

    def _cut_call(self, call: OpenCall) -> None:
        text = "".join(call.pieces)
        item = call.item(text, "incomplete")
        if call.kind is APPROVAL:
            self._finish(call.index, call.shown(item))
            return
        self._say(f"{call.kind.events}.done", {**call.where, call.kind.text_member: text})
        if isinstance(item, McpCall):
            item = attrs.evolve(item, status="failed", error="The call was cut off before it was complete.")
            self._say("response.mcp_call.failed", call.where)
        self._finish(call.index, item)

    async def abandon(self, reason: str) -> None:
        """The server's tools that have not answered will not: each of their calls has failed, for this reason."""
        for index, call in tuple(self._unanswered.items()):
            await self.finish_call(index, attrs.evolve(call, status="failed", error=reason))


def _nobody(*_: object) -> None:
    """Nobody is to be told."""
