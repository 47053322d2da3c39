"""What an engine writes becomes events of a legal stream: text, tool calls, and every other item.

What an operation changes is settled at once and its events queue up behind that, so that an operation that is
cancelled while it waits for room leaves a stream that the next one goes on with.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from agentwire.protocol.checks import EMPTY
from agentwire.protocol.codec import decode_item, to_wire
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.items import Compaction, CustomToolCall, FunctionCall, Message
from agentwire.protocol.order import may_stand_aside
from agentwire.runtime.call_rules import may_be_call
from agentwire.runtime.calls import CallOut
from agentwire.runtime.making import id_prefix
from agentwire.runtime.relaying import OpenItem, unnumbered
from agentwire.runtime.telling import plain

__all__ = ["TurnOut"]


class TurnOut(CallOut):
    """The `Out` of one engine step; see `CallOut` for what it is given."""

    __slots__ = ()

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
        if self._due:
            await self._flush()
