"""What an engine writes becomes events of a legal stream: text, tool calls, and every other item.

What an operation changes is settled at once and its events queue up behind that, so that an operation that is
cancelled while it waits for room leaves a stream that the next one goes on with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final

import attrs
import msgspec
import trio

from agentwire.protocol.checks import EMPTY
from agentwire.protocol.codec import decode_item, encode_json, to_wire
from agentwire.protocol.errors import EngineError, LocalProtocolError
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import Compaction, CustomToolCall, FunctionCall, Item, McpCall, Message, client_call
from agentwire.protocol.mcp_items import Approval
from agentwire.protocol.order import may_stand_aside
from agentwire.protocol.response import Usage
from agentwire.runtime.call_rules import CallRules, is_call, may_be_call
from agentwire.runtime.making import (
    APPROVAL,
    CUSTOM,
    FUNCTION,
    MCP,
    Call,
    CallKind,
    OpenCall,
    Output,
    id_prefix,
)
from agentwire.runtime.relaying import OpenItem, unnumbered
from agentwire.runtime.telling import event_parts, plain
from agentwire.runtime.texts import TextOut
from agentwire.runtime.tools.roster import Offered
from agentwire.runtime.window import Window

__all__ = ["TurnOut"]

REFUSED: Final = "Not run: the user did not approve this call{}"
TOO_MANY: Final = "Not run: max_tool_calls allows {} calls in this response, and they have been made."


class TurnOut(TextOut):
    """The `Out` of one engine step.

    Args:
        window: takes the events.
        output: takes the finished items.
        sources: ids for items and calls.
        server_tools: the server's own tools, by the names under which the model sees them.
        start_call: called with the index and the open ``mcp_call`` item when the server is to run it.
        max_bytes: the most that the response's events may have; then `overflow` is called, which cancels the engine.
        rules: which calls the turn may make.
        halt: called when the step may make no further call, but tries to: cancels the engine.
        logprobs: whether the client wants to see them.

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

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls of this step so far, as they were when their arguments were complete."""
        return tuple(self._calls)

    def use(self, usage: Usage) -> None:
        """What this step has used so far; see `Out`."""
        self.used = usage

    @property
    def begun(self) -> bool:
        """Whether an item of this step has begun, or never will."""
        return self._output.size > self._before or self.fault is not None

    # Calls

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

    def together(self) -> AbstractContextManager[None]:
        """See `Out`."""
        return self._window.together()

    # Everything else

    async def item(self, raw: Mapping[str, Any]) -> None:
        """Any other finished item; see `Out`. Cancelled while it waits, it is written whole by what is written next.

        Raises:
            LocalProtocolError: it has no ``type``, or it is a message.
            RequestError: it is of a known type, and a member of it is wrong.
            TypeError: there is something in it that has no JSON.
        """
        kind = raw.get("type")
        if not isinstance(kind, str) or kind == Message.type:
            raise LocalProtocolError("an item needs a type; messages are written with text() and refusal()")
        named = {**raw, "id": raw.get("id") or self._sources.new_id(id_prefix(kind))}
        item = decode_item(plain(named, "an item"))
        await self._room()
        await self._judge(item)
        self._close_item("completed")
        if isinstance(item, FunctionCall | CustomToolCall):
            self._tell_call(item)
        else:
            self._count(item)
            index = self._output.open()
            self._add(index, {**to_wire(item), "status": "in_progress"})
            if isinstance(item, Compaction):
                self._say("response.compaction.compacting", {"item_id": item.id, "output_index": index})
            self._finish(index, item)
        await self._flush()
        self._reach_boundary()

    def _tell_call(self, item: FunctionCall | CustomToolCall) -> None:
        """A whole call with more members than `call` knows, such as a namespace."""
        text = item.input if isinstance(item, CustomToolCall) else item.arguments
        call = self._add_call(CUSTOM if isinstance(item, CustomToolCall) else FUNCTION, item)
        self._tell_arguments(call, text)
        self._end_call(call, text)

    async def open_item(self, raw: Mapping[str, Any]) -> None:
        """Begin an item whose events the engine writes; see `Out`.

        Raises:
            LocalProtocolError: no item begins like that.
            TypeError: there is something in it that has no JSON.
        """
        raw = plain(raw, "an item")
        unfolded = self._unfold(raw)
        if unfolded is not None:
            self._relay = unfolded
            await self._flush()
            return
        raw = {**raw, "id": raw.get("id") or self._sources.new_id(id_prefix(raw["type"])), "status": "in_progress"}
        await self._room()
        if may_be_call(raw["type"]):
            await self._judge(decode_item(raw))
        item = OpenItem(self._output.size, raw)
        self._close_item("completed")
        item.index = self._output.open()
        self._relay = item
        self._say_plain("response.output_item.added", {"output_index": item.index, "item": raw})
        await self._flush()

    async def event(self, kind: str, members: Mapping[str, Any] = EMPTY) -> None:
        """An event of the open item; see `Out`. Cancelled while it waits, it is written by what is written next.

        Raises:
            LocalProtocolError: there is no open item, or the event cannot come here.
            TypeError: there is something in it that has no JSON.
        """
        if self._relay is None:
            raise LocalProtocolError("event() without an open item: call open_item() first")
        told = plain({**members, "type": kind}, "an event")
        await self._flush()
        if self._window.total_bytes >= self._max_bytes:
            await self._stop()
        self._say_plain(kind, self._relay.event(kind, told))
        await self._flush()

    async def delta(self, kind: str, piece: str, *, index: int | None = None) -> None:
        """The next piece of the open item's text; see `Out`.

        Raises:
            LocalProtocolError: as `event` does.
        """
        if self._relay is None:
            raise LocalProtocolError("delta() without an open item: call open_item() first")
        pieces, window = self._relay.pieces(kind, index), self._window
        if not self._due and piece and type(piece) is str:
            try:
                if window.total_bytes < self._max_bytes and window.put_piece_nowait(pieces, piece):
                    return
            except UnicodeEncodeError:
                pass
        await self._delta(pieces, piece)

    async def aside(self, kind: str, members: Mapping[str, Any]) -> None:
        """An event outside of items; see `Out`. Cancelled while it waits, it is written by what is written next.

        Raises:
            LocalProtocolError: events of this type have their place in the stream.
            TypeError: there is something in it that has no JSON.
        """
        if self._closed:
            raise LocalProtocolError("this step has ended: an engine may not write after it returned")
        if not may_stand_aside(kind):
            raise LocalProtocolError(f"{kind} cannot come anywhere in a stream")
        told = plain({**members, "type": kind}, "an event")
        await self._flush()
        if self._window.total_bytes >= self._max_bytes:
            await self._stop()
        self._say_plain(kind, unnumbered(told))
        await self._flush()

    async def close_item(self, raw: Mapping[str, Any]) -> None:
        """End the open item; see `Out`. Cancelled while it waits, it is written by what is written next.

        Raises:
            LocalProtocolError: there is no open item, or it cannot end here or like that.
            RequestError: it is of a known type, and a member of it is wrong.
            TypeError: there is something in it that has no JSON.
        """
        if self._relay is None:
            raise LocalProtocolError("close_item() without an open item: call open_item() first")
        item = self._relay.end(plain(raw, "an item"))
        if isinstance(item, FunctionCall | CustomToolCall):
            self._calls.append(item)
        self._count(item)
        self._finish(self._relay.index, item)
        self._relay = None
        await self._flush()
        self._reach_boundary()

    def _count(self, item: Item) -> None:
        self._rules.count(item)
        if client_call(item) is not None:
            self._has_called = True

    # The end

    async def close(self, *, complete: bool) -> None:
        """End what is open, and take nothing more; an item that is cut short is ``incomplete``.

        Raises:
            LocalProtocolError: the step is complete, but a call is still open: nobody can run half a call.
        """
        self._closed = True
        call, relay = self._call, self._relay
        if call is not None and complete:
            raise LocalProtocolError("a call is still open: call close_call() before the step ends")
        if relay is not None and complete:
            raise LocalProtocolError("an item is still open: call close_item() before the step ends")
        if relay is not None:
            self._relay = None
            self._finish(relay.index, relay.cut())
        if call is not None:
            self._call = None
            self._cut_call(call)
        self._close_item("completed" if complete else "incomplete")
        await self._flush()

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
