"""What an engine writes becomes events of a legal stream: items and parts open and close by themselves.

A piece of text is one prebuilt byte template around one JSON string; everything rarer is built as an object. What an
operation changes is settled at once and its events queue up behind that, so that an operation that is cancelled while
it waits for room leaves a stream that the next one goes on with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn

import attrs
import msgspec
import trio

from agentwire.protocol.codec import decode_item, encode_json, to_wire
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import CustomToolCall, FunctionCall, Item, McpCall, Message, client_call
from agentwire.runtime.making import (
    CUSTOM,
    FUNCTION,
    MCP,
    REASONING,
    REFUSAL,
    SUMMARY,
    TEXT,
    Call,
    CallKind,
    OpenCall,
    OpenPart,
    OpenText,
    Output,
    PartKind,
)
from agentwire.runtime.window import Window

__all__ = ["TurnOut", "event_parts"]


def event_parts(kind: str, members: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """An event as the two parts that `Window.put` joins with its number."""
    body = encode_json(members)[1:-1]
    return b'{"type":"%b","sequence_number":' % kind.encode(), b"," + body if body else b""


@attrs.frozen
class _Due:
    """An event that is yet to be written, and what follows from it."""

    kind: str
    members: Mapping[str, Any]
    then: Callable[[], None] | None = None


class TurnOut:
    """The `Out` of one engine step.

    Args:
        window: takes the events.
        output: takes the finished items.
        sources: ids for items and calls.
        server_tools: the server's own tools by name, with the label under which they appear.
        start_call: called with the index and the open ``mcp_call`` item when the server is to run it.
        max_bytes: the most that the response's events may have; then `overflow` is called, which cancels the engine.
    """

    __slots__ = (
        "_call", "_calls", "_closed", "_due", "_interrupt", "_max_bytes", "_output", "_overflow", "_owed", "_part",
        "_server_tools", "_sources", "_start_call", "_text", "_unanswered", "_window",
    )  # fmt: skip

    def __init__(
        self,
        window: Window,
        output: Output,
        sources: Sources,
        *,
        server_tools: Mapping[str, str],
        start_call: Callable[[int, McpCall], None],
        max_bytes: int,
        overflow: Callable[[], None],
    ) -> None:
        self._window = window
        self._output = output
        self._sources = sources
        self._server_tools = server_tools
        self._start_call = start_call
        self._max_bytes = max_bytes
        self._overflow = overflow
        self._due: deque[_Due] = deque()
        self._text: OpenText | None = None
        self._part: OpenPart | None = None
        self._call: OpenCall | None = None
        self._calls: list[Call] = []
        self._unanswered: dict[int, McpCall] = {}
        self._owed = False
        self._interrupt: Callable[[], None] | None = None
        self._closed = False

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls of this step so far, as they were when their arguments were complete."""
        return tuple(self._calls)

    # Text of all kinds

    async def text(self, piece: str) -> None:
        """A piece of the assistant's message; see `Out`."""
        part, window = self._part, self._window
        # The usual case, on the path of every event: a plain piece goes straight into the window.
        if part is not None and part.kind is TEXT and not self._due and piece and type(piece) is str:
            try:
                if window.total_bytes < self._max_bytes and window.put_piece_nowait(part, piece):
                    return
            except UnicodeEncodeError:
                pass
        await self._write(TEXT, piece)

    async def refusal(self, piece: str) -> None:
        """A piece of a refusal; see `Out`."""
        await self._write(REFUSAL, piece)

    async def reasoning(self, piece: str) -> None:
        """A piece of raw reasoning; see `Out`."""
        await self._write(REASONING, piece)

    async def summary(self, piece: str) -> None:
        """A piece of a summary of the reasoning; see `Out`."""
        await self._write(SUMMARY, piece)

    async def _write(self, kind: PartKind, piece: str) -> None:
        """A piece of text, which may begin a part or an item."""
        if self._interrupt is not None and (self._text is None or self._text.kind != kind.item):
            await self._give_way()
        await self._delta(self._open_part(kind), piece)

    async def _delta(self, part: OpenPart | OpenCall, piece: str) -> None:
        """A piece of whatever is open; a cancelled one was not written."""
        if not isinstance(piece, str):
            raise TypeError(f"a piece must be a str, not {type(piece).__name__}")
        if self._due:
            await self._flush()
        if not piece:
            return
        if self._window.total_bytes >= self._max_bytes:
            await self._stop()
        try:
            await self._window.put_piece(part, piece)
        except UnicodeEncodeError:  # half a surrogate pair
            await self._window.put_piece(part, msgspec.json.decode(encode_json(piece), type=str))

    def _open_part(self, kind: PartKind) -> OpenPart:
        part = self._part
        if part is not None and part.kind is kind:
            return part
        self._check_open()
        text = self._text
        if text is not None and text.kind == kind.item:
            self._close_part()
        else:
            self._close_item("completed")
            text = self._open_text(kind.item)
        self._part = part = text.begin(kind)
        self._say(f"{kind.part_event}.added", {**part.where, "part": to_wire(kind.make(""))})
        return part

    def _open_text(self, kind: str) -> OpenText:
        id_ = self._sources.new_id("msg" if kind == "message" else "rs")
        self._text = text = OpenText(kind, id_, self._output.open())
        self._add(text.index, text.item("in_progress"))
        return text

    def _close_part(self) -> None:
        part, self._part = self._part, None
        if part is None:
            return
        assert self._text is not None
        kind, whole = part.kind, "".join(part.pieces)
        final = kind.make(whole)
        self._text.add(final)
        self._say(f"{kind.text_event}.done", {**part.where, kind.text_member: whole, **kind.done_more})
        self._say(f"{kind.part_event}.done", {**part.where, "part": to_wire(final)})

    def _close_item(self, status: str) -> None:
        """End what is open of a message or of a reasoning item."""
        self._close_part()
        text, self._text = self._text, None
        if text is not None:
            self._finish(text.index, text.item(status))

    # Calls

    async def call(
        self, name: str, arguments: str | Mapping[str, Any], *, call_id: str | None = None, custom: bool = False
    ) -> None:
        """One whole tool call; see `Out`. Cancelled while it waits, it is written whole by what is written next."""
        text = arguments if isinstance(arguments, str) else encode_json(arguments).decode()
        await self._room()
        call = self._begin_call(name, call_id, custom=custom)
        if text:
            self._say(f"{call.kind.events}.delta", {**call.where, "delta": text})
        self._end_call(call, text)
        await self._flush()
        self._reach_boundary()

    async def open_call(self, name: str, *, call_id: str | None = None, custom: bool = False) -> None:
        """Begin a tool call; see `Out`."""
        await self._room()
        self._call = self._begin_call(name, call_id, custom=custom)
        await self._flush()

    async def arguments(self, piece: str) -> None:
        """A piece of the open call's arguments; see `Out`."""
        if self._call is None:
            raise LocalProtocolError("arguments() without an open call: call open_call() first")
        await self._delta(self._call, piece)

    async def close_call(self) -> None:
        """End the open call; see `Out`."""
        call, self._call = self._call, None
        if call is None:
            raise LocalProtocolError("close_call() without an open call: call open_call() first")
        self._end_call(call, "".join(call.pieces))
        await self._flush()
        self._reach_boundary()

    def _begin_call(self, name: str, call_id: str | None, *, custom: bool) -> OpenCall:
        if not isinstance(name, str):
            raise TypeError(f"the name of a tool must be a str, not {type(name).__name__}")
        self._check_open()
        self._close_item("completed")
        kind = CUSTOM if custom else MCP if name in self._server_tools else FUNCTION
        id_, call_id = self._sources.new_id(kind.id_prefix), call_id or self._sources.new_id("call")
        call: Call
        if kind is MCP:
            call = McpCall(self._server_tools[name], name, "", id=id_)
        else:
            call = (CustomToolCall if custom else FunctionCall)(call_id, name, "", id=id_)
        return self._add_call(kind, call)

    def _add_call(self, kind: CallKind, call: Call) -> OpenCall:
        opened = OpenCall(kind, self._output.open(), call)
        self._add(opened.index, opened.item("", "in_progress"))
        if kind is MCP:
            self._say("response.mcp_call.in_progress", opened.where)
        return opened

    def _end_call(self, call: OpenCall, text: str) -> None:
        done = {**call.where, call.kind.text_member: text}
        item = call.item(text, "completed" if call.kind is not MCP else "in_progress")
        self._calls.append(item)
        if isinstance(item, McpCall):
            self._unanswered[call.index] = item
            self._say(f"{call.kind.events}.done", done, partial(self._start_call, call.index, item))
        else:
            self._say(f"{call.kind.events}.done", done)
            self._finish(call.index, item)

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
            event_parts("response.output_item.done", {"output_index": index, "item": to_wire(item)}),
        )

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
        named = {**raw, "id": raw.get("id") or self._sources.new_id("item")}
        item = decode_item(msgspec.json.decode(encode_json(named)))
        await self._room()
        self._check_open()
        self._close_item("completed")
        if isinstance(item, FunctionCall | CustomToolCall):
            self._tell_call(item)
        else:
            index = self._output.open()
            self._say(
                "response.output_item.added",
                {"output_index": index, "item": {**to_wire(item), "status": "in_progress"}},
            )
            self._finish(index, item)
        await self._flush()
        self._reach_boundary()

    def _tell_call(self, item: FunctionCall | CustomToolCall) -> None:
        """A whole call with more members than `call` knows, such as a namespace."""
        text = item.input if isinstance(item, CustomToolCall) else item.arguments
        call = self._add_call(CUSTOM if isinstance(item, CustomToolCall) else FUNCTION, item)
        if text:
            self._say(f"{call.kind.events}.delta", {**call.where, "delta": text})
        self._end_call(call, text)

    # Making way

    def make_way(self, interrupt: Callable[[], None]) -> None:
        """Call this, which cancels the engine, as soon as no item is open and no tool of the server runs.

        It is not called once there is a call that the client must answer: such a response ends as it would.
        """
        self._interrupt = interrupt
        self._reach_boundary()

    def _reach_boundary(self) -> None:
        """An item is whole: what waits for that may come now."""
        interrupt = self._interrupt
        if interrupt is None or self._text is not None or self._call is not None or self._unanswered:
            return
        self._interrupt = None
        if not self._owed:
            interrupt()

    async def _give_way(self) -> None:
        """Another item would begin: what is open ends here, and the engine when the server's tools have answered."""
        if self._owed or self._call is not None:
            return
        self._close_item("completed")
        await self._flush()
        self._reach_boundary()
        await trio.sleep_forever()

    # The end

    async def close(self, *, complete: bool) -> None:
        """End what is open, and take nothing more; an item that is cut short is ``incomplete``.

        Raises:
            LocalProtocolError: the step is complete, but a call is still open: nobody can run half a call.
        """
        self._closed = True
        call = self._call
        if call is not None and complete:
            raise LocalProtocolError("a call is still open: call close_call() before the step ends")
        if call is not None:
            self._call = None
            self._cut_call(call)
        self._close_item("completed" if complete else "incomplete")
        await self._flush()

    def _cut_call(self, call: OpenCall) -> None:
        text = "".join(call.pieces)
        item = call.item(text, "incomplete")
        self._say(f"{call.kind.events}.done", {**call.where, call.kind.text_member: text})
        if isinstance(item, McpCall):
            item = attrs.evolve(item, status="failed", error="The call was cut off before it was complete.")
            self._say("response.mcp_call.failed", call.where)
        self._finish(call.index, item)

    async def abandon(self, reason: str) -> None:
        """The server's tools that have not answered will not: each of their calls has failed, for this reason."""
        for index, call in tuple(self._unanswered.items()):
            await self.finish_call(index, attrs.evolve(call, status="failed", error=reason))

    # Events

    def _add(self, index: int, item: Item) -> None:
        self._say("response.output_item.added", {"output_index": index, "item": to_wire(item)})

    def _finish(self, index: int, item: Item) -> None:
        self._owed = self._owed or client_call(item) is not None
        self._say(
            "response.output_item.done",
            {"output_index": index, "item": to_wire(item)},
            partial(self._output.fill, index, item),
        )

    def _say(self, kind: str, members: Mapping[str, Any], then: Callable[[], None] | None = None) -> None:
        self._due.append(_Due(kind, members, then))

    async def _flush(self) -> None:
        """Write what is due, as far as there is room; cancelled, the rest stays due."""
        due = self._due
        while due:
            event = due[0]
            await self._window.put(*event_parts(event.kind, event.members))
            due.popleft()
            if event.then is not None:
                event.then()

    async def _room(self) -> None:
        """Before an operation that must happen whole or not at all: what is due goes first, and the size is checked."""
        self._check_open()
        if self._interrupt is not None:
            await self._give_way()
        await self._flush()
        if self._window.total_bytes >= self._max_bytes:
            await self._stop()

    async def _stop(self) -> NoReturn:
        """The response is as large as it may be: the step is cancelled, and ends incomplete."""
        self._overflow()
        await trio.lowlevel.checkpoint()
        raise LocalProtocolError("the response is as large as it may be; nothing more is taken")

    def _check_open(self) -> None:
        if self._closed:
            raise LocalProtocolError("this step has ended: an engine may not write after it returned")
        if self._call is not None:
            raise LocalProtocolError("a call is still open: call close_call() first")
