"""The text that an engine writes: messages and reasoning, whose items and parts open and close by themselves.

A piece of plain text is one prebuilt byte template around one JSON string, and that is the path of nearly every event
of a server; everything rarer is built as an object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import trio

from agentwire.protocol.codec import encode_json
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.ids import Sources
from agentwire.runtime.contracts import Phase
from agentwire.runtime.making import Output
from agentwire.runtime.parts import LOGGED, REASONING, REFUSAL, SUMMARY, TEXT, OpenPart, OpenText, PartKind
from agentwire.runtime.relaying import OpenItem
from agentwire.runtime.telling import Teller, plain
from agentwire.runtime.window import Pieces, Window

__all__ = ["TextOut"]


class TextOut(Teller):
    """The part of an `Out` that takes text; see `Teller` for what else it is given.

    Args:
        logprobs: whether the client wants to see them.
    """

    __slots__ = ("_part", "_phase", "_text", "_text_kind")

    def __init__(
        self,
        window: Window,
        output: Output,
        sources: Sources,
        *,
        max_bytes: int,
        overflow: Callable[[], None],
        logprobs: bool = False,
    ) -> None:
        super().__init__(window, output, sources, max_bytes=max_bytes, overflow=overflow)
        self._text_kind = LOGGED if logprobs else TEXT
        self._phase: Phase | None = None
        self._text: OpenText | None = None
        self._part: OpenPart | None = None

    async def text(self, piece: str, *, logprobs: Sequence[Mapping[str, Any]] = ()) -> None:
        """A piece of the assistant's message; see `Out`."""
        part, window = self._part, self._window
        # The usual case, on the path of every event: a plain piece goes straight into the window.
        if part is not None and part.kind is TEXT and not self._due and piece and type(piece) is str:
            try:
                if window.total_bytes < self._max_bytes and window.put_piece_nowait(part, piece):
                    return
            except UnicodeEncodeError:
                pass
        part = await self._begin(self._text_kind)
        if part.kind is LOGGED and logprobs and piece:
            await self._logged(part, piece, logprobs)
        else:
            await self._delta(part, piece)

    async def _logged(self, part: OpenPart, piece: str, logprobs: Sequence[Mapping[str, Any]]) -> None:
        """A piece with its probabilities; a cancelled one was not written."""
        if not isinstance(piece, str):
            raise TypeError(f"a piece must be a str, not {type(piece).__name__}")
        told = encode_json(tuple(logprobs))
        await self._flush()
        if self._window.total_bytes >= self._max_bytes:
            await self._stop()
        text = encode_json(piece)
        await self._window.put(part.head, b'%b%b,"logprobs":%b' % (part.middle, text, told))
        part.pieces.append(msgspec.json.decode(text, type=str))
        part.logprobs += msgspec.json.decode(told)

    async def refusal(self, piece: str) -> None:
        """A piece of a refusal; see `Out`."""
        await self._delta(await self._begin(REFUSAL), piece)

    async def reasoning(self, piece: str) -> None:
        """A piece of raw reasoning; see `Out`."""
        await self._delta(await self._begin(REASONING), piece)

    async def summary(self, piece: str) -> None:
        """A piece of a summary of the reasoning; see `Out`."""
        await self._delta(await self._begin(SUMMARY), piece)

    async def annotation(self, raw: Mapping[str, Any]) -> None:
        """Something said about the open text; see `Out`. Cancelled while it waits, it may have been said."""
        if self._part is None or not self._part.is_text:
            raise LocalProtocolError("annotation() without open text: call text() first")
        annotation = plain(raw, "an annotation")
        await self._room()
        part = self._part
        number = len(part.annotations)
        part.annotations.append(annotation)
        self._say(
            "response.output_text.annotation.added",
            {**part.where, "annotation_index": number, "annotation": annotation},
        )
        await self._flush()

    async def begin_message(self, *, phase: Phase | None = None, id_: str | None = None) -> None:
        """What follows as text is another message; see `Out`. One with an id begins at once."""
        self._check_open()
        if id_ is not None and self._interrupt is not None:
            await self._give_way()
        self._close_item("completed")
        self._phase = phase
        if id_ is not None:
            self._open_text("message", id_)
        if self._due:
            await self._flush()
        self._reach_boundary()

    async def seal_reasoning(self, encrypted_content: str) -> None:
        """End the reasoning item, or make one; see `Out`. Cancelled while it waits, it is written whole later."""
        if not isinstance(encrypted_content, str):
            raise TypeError(f"encrypted_content must be a str, not {type(encrypted_content).__name__}")
        await self._room()
        if self._text is None or self._text.kind != REASONING.item:
            self._close_item("completed")
            self._open_text(REASONING.item)
        assert self._text is not None
        self._text.encrypted_content = encrypted_content
        self._close_item("completed")
        await self._flush()
        self._reach_boundary()

    async def _delta(self, part: Pieces, piece: str) -> None:
        """A piece of whatever is open; a cancelled one was not written."""
        if not isinstance(piece, str):
            raise TypeError(f"a piece must be a str, not {type(piece).__name__}")
        if self._due:
            if self._first(part, piece):
                return
            await self._flush()
        if not piece:
            return
        if self._window.total_bytes >= self._max_bytes:
            await self._stop()
        try:
            await self._window.put_piece(part, piece)
        except UnicodeEncodeError:  # half a surrogate pair
            await self._window.put_piece(part, msgspec.json.decode(encode_json(piece), type=str))

    def _first(self, part: Pieces, piece: str) -> bool:
        """What is due and the piece behind it, in one write; False if the piece is yet to come."""
        with self._window.together():
            if not self._window.put_due(self._due) or not piece or self._window.total_bytes >= self._max_bytes:
                return False
            try:
                return self._window.put_piece_nowait(part, piece)
            except UnicodeEncodeError:
                return False

    async def _begin(self, kind: PartKind) -> OpenPart:
        """The part for a piece, which may begin an item."""
        if self._interrupt is not None and (self._text is None or self._text.kind != kind.item):
            await self._give_way()
        return self._open_part(kind)

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
        return self._begin_part(text, kind)

    def _begin_part(self, text: OpenText, kind: PartKind) -> OpenPart:
        self._part = part = text.begin(kind)
        self._due.append((*part.begin(), None))
        return part

    def _open_text(self, kind: str, id_: str | None = None) -> OpenText:
        phase = None
        if kind == "message":
            phase, self._phase = self._phase, None
        id_ = id_ or self._sources.new_id("msg" if kind == "message" else "rs")
        self._text = text = OpenText(kind, id_, self._output.open(), phase)
        self._add_shown(text.index, text.shown("in_progress"))
        return text

    def _close_part(self) -> None:
        part, self._part = self._part, None
        if part is None:
            return
        assert self._text is not None
        text_done, part_done = part.end()
        self._due += ((*text_done, None), (*part_done, None))
        self._text.parts.append(part)

    def _close_item(self, status: str) -> None:
        """End what is open of a message or of a reasoning item."""
        text = self._text
        if text is None:
            return
        if self._part is None and text.is_bare and status == "completed":
            self._begin_part(text, self._text_kind)
        self._close_part()
        self._text = None
        self._finish(text.index, text.item(status), text.shown(status))

    def _unfold(self, raw: Mapping[str, Any]) -> OpenItem | None:
        """The open message, if this is it, as an item whose events the engine writes from now on."""
        text, part = self._text, self._part
        if text is None or text.id != raw.get("id") or text.kind != raw["type"]:
            return None
        self._text = self._part = None
        item = OpenItem(text.index, text.begun())
        for each in (*text.parts, *([part] if part is not None else [])):
            for kind, members in each.told():
                item.event(kind, members)
        return item

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
        if interrupt is None or self._text is not None or not self._is_between or self._unanswered:
            return
        self._interrupt = None
        if not self._owed:
            interrupt()

    async def _give_way(self) -> None:
        """Another item would begin: what is open ends here, and the engine when the server's tools have answered."""
        if self._owed or not self._is_between:
            return
        self._close_item("completed")
        await self._flush()
        self._window.release()
        self._reach_boundary()
        await trio.sleep_forever()

    async def _room(self) -> None:
        """Before an operation that must happen whole or not at all: what is due goes first, and the size is checked."""
        self._check_open()
        if self._interrupt is not None:
            await self._give_way()
        await self._flush()
        if self._window.total_bytes >= self._max_bytes:
            await self._stop()
