"""An engine without a server: `ask_for` makes what it is asked, `RecordingOut` takes what it writes.

    out = RecordingOut()
    finish = await engine(ask_for("hello"), out)
    assert out.text_written == "hi"

The recording keeps to the contract of `agentwire.runtime.contracts.Out`: every method is a checkpoint, and what a real
turn refuses is refused here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import attrs
import trio

from agentwire.protocol.codec import decode_create, decode_item, encode_json
from agentwire.protocol.content import OutputText, Part, ReasoningText, Refusal, SummaryText
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import CustomToolCall, FunctionCall, Item, McpCall, Message, Reasoning
from agentwire.protocol.limits import Limits
from agentwire.protocol.order import may_stand_aside
from agentwire.protocol.response import Usage
from agentwire.protocol.tools import Tool
from agentwire.protocol.transcript import History, Memo
from agentwire.runtime.contracts import Ask, Phase
from agentwire.runtime.parts import TEXT, OpenPart
from agentwire.runtime.relaying import OpenItem

__all__ = ["RecordingOut", "ask_for"]

SERVER_LABEL = "recording"


def ask_for(
    request: str | Sequence[Any] | Mapping[str, Any],
    *,
    history: Sequence[Item] = (),
    server_tools: Sequence[Tool] = (),
    step: int = 0,
    memo: Any = None,
    sources: Sources | None = None,
    **fields: Any,
) -> Ask:
    """An `Ask` as a server would make it.

    Args:
        request: the user's message, the items of ``input``, or a whole create request, all as JSON values or items.
        history: the items before this turn.
        server_tools: tools that the server itself runs, offered after the client's.
        step: which engine step of the turn this is.
        memo: the conversation's cell; an empty one if left out.
        sources: ids and clock; seeded if left out.
        fields: further members of the create request, such as ``tools`` or ``tool_choice``.

    Raises:
        RequestError: a server would refuse the request.
    """
    body = {**request} if isinstance(request, Mapping) else {"input": request}
    body = {"type": "response.create", "model": "test", **body, **fields}
    if history and "previous_response_id" not in body:
        body["previous_response_id"] = "resp_history"
    decoded = decode_create(encode_json(body), Limits(), transport="websocket")
    sources = sources or Sources.seeded(0)
    return Ask(
        request=decoded,
        items=tuple(History(None, (*history, *decoded.input))),
        new_items=decoded.input,
        tools=(*decoded.tools, *server_tools),
        response_id=sources.new_id("resp"),
        root_id="resp_root",
        principal="tester",
        step=step,
        memo=Memo() if memo is None else memo,
        sources=sources,
        limits=Limits(),
    )


@attrs.define
class RecordingOut:
    """An `Out` that keeps what an engine writes.

    Attributes:
        server_tools: names that become ``mcp_call`` items, as if the server ran them.
        sources: ids of items and calls; seeded if left out.
        events: what was called, in order: ``("text", "hel")``, ``("call", "grep", '{"q":"x"}')``.
        items: the finished items. The one that is still open is finished by `close`, or by the next one.
        used: what the engine last said that it has used.
    """

    server_tools: Collection[str] = ()
    sources: Sources = attrs.Factory(lambda: Sources.seeded(1))
    events: list[tuple[str, ...]] = attrs.Factory(list)
    items: list[Item] = attrs.Factory(list)
    used: Usage | None = None
    _parts: list[tuple[str, str]] = attrs.Factory(list)
    _open: tuple[str, str, bool, str | None] | None = None
    _phase: Phase | None = None
    _given_id: str | None = None
    _relay: OpenItem | None = None
    _annotations: list[Any] = attrs.Factory(list)
    _written: list[str] = attrs.Factory(list)
    _calls: list[FunctionCall | CustomToolCall | McpCall] = attrs.Factory(list)
    _closed: bool = False

    @property
    def text_written(self) -> str:
        """All text of the assistant's messages."""
        return self._joined("text")

    @property
    def summary_written(self) -> str:
        """All text of reasoning summaries."""
        return self._joined("summary")

    @property
    def calls(self) -> tuple[FunctionCall | CustomToolCall | McpCall, ...]:
        """The calls so far."""
        return tuple(self._calls)

    def together(self) -> AbstractContextManager[None]:
        """Nothing is written anywhere."""
        return nullcontext()

    def use(self, usage: Usage) -> None:
        """What the engine has used so far."""
        self.used = usage

    @property
    def begun(self) -> bool:
        """Whether an item has begun."""
        return bool(self.items or self._parts or self._open is not None or self._relay is not None)

    def close(self) -> list[Item]:
        """Finish what is open, take nothing more, and give all items."""
        self._finish()
        self._closed = True
        return self.items

    async def text(self, piece: str, *, logprobs: Sequence[Mapping[str, Any]] = ()) -> None:
        """A piece of the assistant's message; probabilities are not kept."""
        await self._piece("text", piece)

    async def annotation(self, raw: Mapping[str, Any]) -> None:
        """Something said about the open text."""
        await self._enter()
        if not self._parts or self._parts[-1][0] != "text":
            raise LocalProtocolError("annotation() without open text: call text() first")
        self.events.append(("annotation", str(raw["type"])))
        self._annotations.append(dict(raw))

    async def begin_message(self, *, phase: Phase | None = None, id_: str | None = None) -> None:
        """What follows as text is another message."""
        await self._enter()
        self._finish()
        self._phase, self._given_id = phase, id_

    async def refusal(self, piece: str) -> None:
        """A piece of a refusal."""
        await self._piece("refusal", piece)

    async def reasoning(self, piece: str) -> None:
        """A piece of raw reasoning."""
        await self._piece("reasoning", piece)

    async def summary(self, piece: str) -> None:
        """A piece of a reasoning summary."""
        await self._piece("summary", piece)

    async def seal_reasoning(self, encrypted_content: str) -> None:
        """End the reasoning item, or make one."""
        await self._enter()
        thought = any(kind in ("reasoning", "summary") for kind, _ in self._parts)
        self._finish()
        last = self.items.pop() if thought else Reasoning(id=self.sources.new_id("rs"), status="completed")
        assert isinstance(last, Reasoning)
        self.events.append(("seal", encrypted_content))
        self.items.append(attrs.evolve(last, encrypted_content=encrypted_content))

    async def call(
        self,
        name: str,
        arguments: str | Mapping[str, Any],
        *,
        call_id: str | None = None,
        custom: bool = False,
        namespace: str | None = None,
    ) -> None:
        """One whole call."""
        await self.open_call(name, call_id=call_id, custom=custom, namespace=namespace)
        await self.arguments(arguments if isinstance(arguments, str) else encode_json(arguments).decode())
        await self.close_call()

    async def open_call(
        self, name: str, *, call_id: str | None = None, custom: bool = False, namespace: str | None = None
    ) -> None:
        """Begin a call."""
        await self._enter()
        self._finish()
        self._open = (name, call_id or self.sources.new_id("call"), custom, namespace)
        self._written = []

    async def arguments(self, piece: str) -> None:
        """A piece of the open call's arguments."""
        await self._enter()
        if self._open is None:
            raise LocalProtocolError("arguments() without an open call: call open_call() first")
        self._written.append(piece)

    async def close_call(self) -> None:
        """End the open call."""
        await self._enter()
        if self._open is None:
            raise LocalProtocolError("close_call() without an open call: call open_call() first")
        (name, call_id, custom, namespace), self._open = self._open, None
        arguments = "".join(self._written)
        self.events.append(("call", name, arguments))
        call: FunctionCall | CustomToolCall | McpCall
        if custom:
            id_ = self.sources.new_id("ctc")
            call = CustomToolCall(call_id, name, arguments, id=id_, status="completed", namespace=namespace)
        elif name in self.server_tools and namespace is None:
            call = McpCall(SERVER_LABEL, name, arguments, id=self.sources.new_id("mcp"), status="in_progress")
        else:
            id_ = self.sources.new_id("fc")
            call = FunctionCall(call_id, name, arguments, id=id_, status="completed", namespace=namespace)
        self._calls.append(call)
        self.items.append(call)

    async def item(self, raw: Mapping[str, Any]) -> None:
        """Any other finished item."""
        await self._enter()
        if not isinstance(raw.get("type"), str):
            raise LocalProtocolError("an item needs a type")
        self._finish()
        self.events.append(("item", raw["type"]))
        self.items.append(decode_item({**raw, "id": raw.get("id") or self.sources.new_id("item")}))

    async def open_item(self, raw: Mapping[str, Any]) -> None:
        """Begin an item whose events the engine writes."""
        await self._enter()
        said: list[str] = []
        if self._given_id is not None and self._given_id == raw.get("id"):
            said, self._given_id = [piece for _, piece in self._parts], None
            self._parts.clear()
        self._finish()
        raw = {"id": self.sources.new_id("item"), **raw, "status": "in_progress"}
        self._relay = OpenItem(len(self.items), raw)
        if said:
            part = OpenPart(TEXT, raw["id"], len(self.items), 0)
            part.pieces += said
            for kind, members in part.told():
                self._relay.event(kind, members)

    async def event(self, kind: str, members: Mapping[str, Any]) -> None:
        """An event of that item."""
        await self._enter()
        if self._relay is None:
            raise LocalProtocolError("event() without an open item: call open_item() first")
        self._relay.event(kind, members)
        self.events.append(("event", kind))

    async def delta(self, kind: str, piece: str, *, index: int | None = None) -> None:
        """A piece of that item's text."""
        await self._enter()
        if self._relay is None:
            raise LocalProtocolError("delta() without an open item: call open_item() first")
        self._relay.pieces(kind, index).pieces.append(piece)
        self.events.append(("delta", kind, piece))

    async def aside(self, kind: str, members: Mapping[str, Any]) -> None:
        """An event outside of items."""
        await self._enter()
        if not may_stand_aside(kind):
            raise LocalProtocolError(f"{kind} cannot come anywhere in a stream")
        self.events.append(("aside", kind))

    async def close_item(self, raw: Mapping[str, Any]) -> None:
        """End that item."""
        await self._enter()
        if self._relay is None:
            raise LocalProtocolError("close_item() without an open item: call open_item() first")
        self.items.append(self._relay.end(raw))
        self._relay = None

    async def _piece(self, kind: str, piece: str) -> None:
        await self._enter()
        if not isinstance(piece, str):
            raise TypeError(f"a piece of text must be a str, not {type(piece).__name__}")
        thinks = kind in ("reasoning", "summary")
        if self._open is not None or any(
            (open_kind in ("reasoning", "summary")) is not thinks for open_kind, _ in self._parts
        ):
            self._finish()
        self.events.append((kind, piece))
        self._parts.append((kind, piece))

    async def _enter(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise LocalProtocolError("this step has ended: an engine may not write after it returned")

    def _joined(self, kind: str) -> str:
        return "".join(event[1] for event in self.events if event[0] == kind)

    def _finish(self) -> None:
        if self._open is not None:
            raise LocalProtocolError("a call is still open: call close_call() first")
        if self._relay is not None:
            raise LocalProtocolError("an item is still open: call close_item() first")
        parts, self._parts = self._parts, []
        if not parts:
            return
        whole: dict[str, str] = {}
        for kind, piece in parts:
            whole[kind] = whole.get(kind, "") + piece
        if {"text", "refusal"} & set(whole):
            self.items.append(self._message(whole))
        else:
            self.items.append(_thought(whole, self.sources))

    def _message(self, whole: Mapping[str, str]) -> Message:
        annotations, phase, id_ = tuple(self._annotations), self._phase, self._given_id or self.sources.new_id("msg")
        self._annotations, self._phase, self._given_id = [], None, None
        content: list[Part] = [
            OutputText(text, annotations) if kind == "text" else Refusal(text) for kind, text in whole.items()
        ]
        return Message("assistant", tuple(content), id=id_, status="completed", phase=phase)


def _thought(whole: Mapping[str, str], sources: Sources) -> Reasoning:
    summary = (SummaryText(whole["summary"]),) if "summary" in whole else ()
    content = (ReasoningText(whole["reasoning"]),) if "reasoning" in whole else None
    return Reasoning(summary, content, id=sources.new_id("rs"), status="completed")
