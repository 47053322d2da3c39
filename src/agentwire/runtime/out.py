"""What an engine writes becomes events of a legal stream: items and parts open and close by themselves.

A piece of text is one prebuilt byte template around one JSON string; everything rarer is built as an object and
encoded. Numbers are given by the window, at the moment an event is appended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import msgspec
import trio

from agentwire.protocol.codec import decode_item, encode_json, to_wire
from agentwire.protocol.content import OutputText, Part, ReasoningText, Refusal, SummaryText
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import CustomToolCall, FunctionCall, Item, McpCall, Message, Reasoning
from agentwire.runtime.window import Window

__all__ = ["Call", "Output", "TurnOut", "event_parts"]

Call = FunctionCall | CustomToolCall | McpCall

_encode_string: Final = msgspec.json.Encoder().encode


def event_parts(kind: str, members: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """An event as the two parts that `Window.put` joins with its number."""
    body = encode_json(members)[1:-1]
    return b'{"type":"%b","sequence_number":' % kind.encode(), b"," + body if body else b""


class Output:
    """The items of one response, by ``output_index``; a slot is empty while its item is still being made."""

    def __init__(self) -> None:
        self._slots: list[Item | None] = []

    def open(self) -> int:
        """The index of the next item."""
        self._slots.append(None)
        return len(self._slots) - 1

    def fill(self, index: int, item: Item) -> None:
        """This item is final."""
        self._slots[index] = item

    def items(self) -> tuple[Item, ...]:
        """The final items so far, in order."""
        return tuple(item for item in self._slots if item is not None)


@attrs.frozen
class _PartKind:
    """How one kind of streamed text appears on the wire."""

    item: str
    part_event: str
    text_event: str
    index_name: str
    make: Callable[[str], Part]
    text_member: str = "text"
    delta_tail: bytes = b""
    done_more: Mapping[str, Any] = attrs.field(factory=dict)


_NO_LOGPROBS: Final = b',"logprobs":[]'

_TEXT = _PartKind(
    "message", "response.content_part", "response.output_text", "content_index", OutputText,
    delta_tail=_NO_LOGPROBS, done_more={"logprobs": []},
)  # fmt: skip
_REFUSAL = _PartKind("message", "response.content_part", "response.refusal", "content_index", Refusal, "refusal")
_REASONING = _PartKind("reasoning", "response.content_part", "response.reasoning_text", "content_index", ReasoningText)
_SUMMARY = _PartKind(
    "reasoning", "response.reasoning_summary_part", "response.reasoning_summary_text", "summary_index", SummaryText
)


class _OpenPart:
    """One part of a message or of a reasoning item while its text comes in."""

    def __init__(self, kind: _PartKind, item_id: str, output_index: int, index: int) -> None:
        self.kind = kind
        self.pieces: list[str] = []
        self.where = {"item_id": item_id, "output_index": output_index, kind.index_name: index}
        self.head = b'{"type":"%b.delta","sequence_number":' % kind.text_event.encode()
        self.middle = b',%b,"delta":' % encode_json(self.where)[1:-1]


@attrs.define
class _OpenText:
    """A message or a reasoning item while it is made."""

    kind: str
    id: str
    index: int
    parts: list[Part] = attrs.field(factory=list)
    summaries: list[SummaryText] = attrs.field(factory=list)

    def item(self, status: str) -> Item:
        if self.kind == "message":
            return Message("assistant", tuple(self.parts), id=self.id, status=status)
        content = tuple(part for part in self.parts if isinstance(part, ReasoningText))
        return Reasoning(tuple(self.summaries), content or None, id=self.id, status=status)


@attrs.frozen
class _CallKind:
    """How one kind of tool call appears on the wire."""

    item: str
    id_prefix: str
    events: str
    text_member: str


_FUNCTION = _CallKind("function_call", "fc", "response.function_call_arguments", "arguments")
_CUSTOM = _CallKind("custom_tool_call", "ctc", "response.custom_tool_call_input", "input")
_MCP = _CallKind("mcp_call", "mcp", "response.mcp_call_arguments", "arguments")


@attrs.define
class _OpenCall:
    """A tool call while its arguments come in."""

    kind: _CallKind
    id: str
    index: int
    name: str
    call_id: str
    head: bytes
    middle: bytes
    pieces: list[str] = attrs.field(factory=list)


class TurnOut:
    """The `Out` of one engine step.

    Args:
        window: takes the events.
        output: takes the finished items.
        sources: ids for items and calls.
        server_label: the server's own tools by name, with the label under which they appear.
        start_call: called with the index and the open ``mcp_call`` item when the server is to run it.
        max_bytes: the most that the response's events may have; then `overflow` is called, which cancels the engine.
    """

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
        self._text: _OpenText | None = None
        self._part: _OpenPart | None = None
        self._call: _OpenCall | None = None
        self._calls: list[Call] = []
        self._closed = False

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls of this step so far, as they were when their arguments were complete."""
        return tuple(self._calls)

    # Text of all kinds

    async def text(self, piece: str) -> None:
        """A piece of the assistant's message; see `Out`."""
        part = self._part
        if part is None or part.kind is not _TEXT:
            part = await self._open_part(_TEXT)
        await self._delta(part, piece)

    async def refusal(self, piece: str) -> None:
        """A piece of a refusal; see `Out`."""
        await self._delta(await self._open_part(_REFUSAL), piece)

    async def reasoning(self, piece: str) -> None:
        """A piece of raw reasoning; see `Out`."""
        await self._delta(await self._open_part(_REASONING), piece)

    async def summary(self, piece: str) -> None:
        """A piece of a summary of the reasoning; see `Out`."""
        await self._delta(await self._open_part(_SUMMARY), piece)

    async def _delta(self, part: _OpenPart, piece: str) -> None:
        if not isinstance(piece, str):
            raise TypeError(f"a piece of text must be a str, not {type(piece).__name__}")
        if not piece:
            return
        part.pieces.append(piece)
        await self._window.put(part.head, part.middle + _encode_string(piece) + part.kind.delta_tail)
        if self._window.total_bytes > self._max_bytes:
            await self._stop()

    async def _stop(self) -> None:
        """The response is as large as it may be: the step is cancelled, and ends incomplete."""
        self._overflow()
        await trio.lowlevel.checkpoint()

    async def _open_part(self, kind: _PartKind) -> _OpenPart:
        if self._part is not None and self._part.kind is kind:
            return self._part
        self._check_open()
        if self._text is not None and self._text.kind == kind.item:
            await self._close_part()
        else:
            await self._close_item("completed")
            await self._open_text(kind.item)
        text = self._text
        assert text is not None
        index = len(text.summaries if kind is _SUMMARY else text.parts)
        self._part = part = _OpenPart(kind, text.id, text.index, index)
        await self._put(f"{kind.part_event}.added", {**part.where, "part": to_wire(kind.make(""))})
        return part

    async def _open_text(self, kind: str) -> None:
        id_ = self._sources.new_id("msg" if kind == "message" else "rs")
        self._text = text = _OpenText(kind, id_, self._output.open())
        await self._put(
            "response.output_item.added", {"output_index": text.index, "item": to_wire(text.item("in_progress"))}
        )

    async def _close_part(self) -> None:
        part, self._part = self._part, None
        if part is None:
            return
        assert self._text is not None
        kind, whole = part.kind, "".join(part.pieces)
        final = kind.make(whole)
        if isinstance(final, SummaryText):
            self._text.summaries.append(final)
        else:
            self._text.parts.append(final)
        await self._put(f"{kind.text_event}.done", {**part.where, kind.text_member: whole, **kind.done_more})
        await self._put(f"{kind.part_event}.done", {**part.where, "part": to_wire(final)})

    async def _close_item(self, status: str) -> None:
        """End whatever is open."""
        if self._call is not None:
            await self.close_call()
        await self._close_part()
        text, self._text = self._text, None
        if text is not None:
            await self._finish(text.index, text.item(status))

    async def _finish(self, index: int, item: Item) -> None:
        self._output.fill(index, item)
        await self._put("response.output_item.done", {"output_index": index, "item": to_wire(item)})

    # Calls

    async def call(
        self, name: str, arguments: str | Mapping[str, Any], *, call_id: str | None = None, custom: bool = False
    ) -> None:
        """One whole tool call; see `Out`."""
        await self.open_call(name, call_id=call_id, custom=custom)
        await self.arguments(arguments if isinstance(arguments, str) else encode_json(arguments).decode())
        await self.close_call()

    async def open_call(self, name: str, *, call_id: str | None = None, custom: bool = False) -> None:
        """Begin a tool call; see `Out`."""
        self._check_open()
        await self._close_item("completed")
        kind = _CUSTOM if custom else _MCP if name in self._server_tools else _FUNCTION
        index, id_ = self._output.open(), self._sources.new_id(kind.id_prefix)
        middle = b',"item_id":"%b","output_index":%d,"delta":' % (id_.encode(), index)
        head = b'{"type":"%b.delta","sequence_number":' % kind.events.encode()
        self._call = call = _OpenCall(kind, id_, index, name, call_id or self._sources.new_id("call"), head, middle)
        await self._put(
            "response.output_item.added", {"output_index": index, "item": self._call_wire(call, "", "in_progress")}
        )
        if kind is _MCP:
            await self._put("response.mcp_call.in_progress", {"item_id": id_, "output_index": index})

    async def arguments(self, piece: str) -> None:
        """A piece of the open call's arguments; see `Out`."""
        call = self._call
        if call is None:
            raise LocalProtocolError("arguments() without an open call: call open_call() first")
        if not isinstance(piece, str):
            raise TypeError(f"a piece of arguments must be a str, not {type(piece).__name__}")
        if not piece:
            return
        call.pieces.append(piece)
        await self._window.put(call.head, call.middle + _encode_string(piece))
        if self._window.total_bytes > self._max_bytes:
            await self._stop()

    async def close_call(self) -> None:
        """End the open call; see `Out`."""
        call, self._call = self._call, None
        if call is None:
            raise LocalProtocolError("close_call() without an open call: call open_call() first")
        whole = "".join(call.pieces)
        where = {"item_id": call.id, "output_index": call.index}
        await self._put(f"{call.kind.events}.done", {**where, call.kind.text_member: whole})
        item = self._call_item(call, whole, "completed" if call.kind is not _MCP else "in_progress")
        self._calls.append(item)
        if isinstance(item, McpCall):
            self._start_call(call.index, item)
        else:
            await self._finish(call.index, item)

    def _call_item(self, call: _OpenCall, text: str, status: str) -> Call:
        if call.kind is _FUNCTION:
            return FunctionCall(call.call_id, call.name, text, id=call.id, status=status)
        if call.kind is _CUSTOM:
            return CustomToolCall(call.call_id, call.name, text, id=call.id, status=status)
        return McpCall(self._server_tools[call.name], call.name, text, id=call.id, status=status)

    def _call_wire(self, call: _OpenCall, text: str, status: str) -> Any:
        return to_wire(self._call_item(call, text, status))

    # Everything else

    async def item(self, raw: Mapping[str, Any]) -> None:
        """Any other finished item; see `Out`.

        Raises:
            LocalProtocolError: it has no ``type``.
        """
        self._check_open()
        if not isinstance(raw.get("type"), str):
            raise LocalProtocolError("an item needs a type")
        await self._close_item("completed")
        item = {**raw, "id": raw.get("id") or self._sources.new_id("item")}
        index = self._output.open()
        await self._put(
            "response.output_item.added", {"output_index": index, "item": {**item, "status": "in_progress"}}
        )
        await self._finish(index, decode_item(item))

    async def finish_call(self, index: int, item: McpCall) -> None:
        """A tool that the server ran has answered (``item.output``) or failed (``item.error``)."""
        event = "response.mcp_call.failed" if item.error is not None else "response.mcp_call.completed"
        await self._put(event, {"item_id": item.id, "output_index": index})
        await self._finish(index, item)

    async def close(self, *, complete: bool) -> None:
        """End what is open, and take nothing more; an item cut short is ``incomplete``."""
        await self._close_item("completed" if complete else "incomplete")
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise LocalProtocolError("this step has ended: an engine may not write after it returned")

    async def _put(self, kind: str, members: Mapping[str, Any]) -> None:
        await self._window.put(*event_parts(kind, members))
