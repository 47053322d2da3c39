"""A message that comes exactly as it should: there is nothing to heal, and it is told as one of this server's own.

Its events are read into classes that have no room for anything else. What does not fit, comes out of turn or is not
what the pieces said is not for this module: the message goes on as a `HeardItem` then, from where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from agentwire.engines.relay.healing import HeardItem
from agentwire.engines.relay.notes import HeardNotes
from agentwire.runtime.contracts import Out

__all__ = ["Added", "Begun", "Completed", "OfItem", "PlainEvent", "PlainMessage", "TextDelta", "read_plain"]

DELTA: Final = "response.output_text.delta"
_BEGUN: Final[Mapping[str, Any]] = {
    "type": "message",
    "role": "assistant",
    "status": "in_progress",
    "content": [],
    "phase": None,
}
_PHASES: Final = (None, "commentary", "final_answer")


class _Response(msgspec.Struct):
    id: str


class Begun(msgspec.Struct):
    """There is a response; what else is said of it here does not count."""

    response: _Response


class Completed(msgspec.Struct, tag="response.completed"):
    """The response has ended, and nothing is missing."""

    response: dict[str, Any]


class _Created(Begun, tag="response.created"):
    pass


class _InProgress(Begun, tag="response.in_progress"):
    pass


class OfItem(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """An event that has these members, and no others."""

    output_index: int
    sequence_number: int | None = None
    stream_id: str | None = None


class Added(OfItem, tag="response.output_item.added"):
    """An item begins."""

    item: dict[str, Any]


class _Done(OfItem, tag="response.output_item.done"):
    item: dict[str, Any]


class _OfPart(OfItem):
    item_id: str
    content_index: int


class TextDelta(_OfPart, tag="response.output_text.delta"):
    """A piece of text."""

    delta: str
    logprobs: list[Any] | None = None
    obfuscation: str | None = None


class _PartAdded(_OfPart, tag="response.content_part.added"):
    part: dict[str, Any]


class _TextDone(_OfPart, tag="response.output_text.done"):
    text: str
    logprobs: list[Any] | None = None


class _PartDone(_OfPart, tag="response.content_part.done"):
    part: dict[str, Any]


PlainEvent: TypeAlias = (
    _Created | _InProgress | Added | _PartAdded | TextDelta | _TextDone | _PartDone | _Done | Completed
)
_EVENT: Final[msgspec.json.Decoder[PlainEvent]] = msgspec.json.Decoder(PlainEvent)


def read_plain(payload: bytes) -> PlainEvent | None:
    """The event that this is, if it is one of those of a plain message, or of a response that begins or ends well."""
    try:
        return _EVENT.decode(payload)
    except (ValueError, RecursionError):
        return None


def _text(text: str) -> dict[str, Any]:
    """A part that says this, and nothing about it."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class PlainMessage:
    """Such a message while it is told.

    Args:
        added: the event that begins it.

    Attributes:
        id: its id, the upstream's and the client's.
        raw: it as it began.
        pieces: its text so far.
        is_open: whether a piece of it may come.
        whole: it as it ended; None until then.
    """

    __slots__ = ("_begun", "_held", "_part", "id", "index", "is_open", "pieces", "raw", "whole")

    def __init__(self, added: Added) -> None:
        self.raw = added.item
        self.id: str = self.raw["id"]
        self.index = added.output_index
        self.pieces: list[str] = []
        self.is_open = False
        self.whole: dict[str, Any] | None = None
        self._begun: _PartAdded | None = None
        self._part: dict[str, Any] | None = None
        self._held: list[_OfPart] = []

    @property
    def holds(self) -> bool:
        """Whether events have come that are told with what follows them: its first piece, or its end."""
        return bool(self._held) or (self._begun is not None and not self.pieces)

    @property
    def written(self) -> int:
        """How many pieces of text it has."""
        return len(self.pieces)

    @property
    def writes(self) -> bool:
        """Whether its text has not ended."""
        return len(self._held) < 2

    @staticmethod
    def begins(item: Mapping[str, Any]) -> bool:
        """Whether an item that begins like that can be a plain message."""
        id_, phase = item.get("id"), item.get("phase")
        fits = {"phase": None, **item} == {**_BEGUN, "id": id_, "phase": phase}
        return fits and isinstance(id_, str) and id_ != "" and phase in _PHASES

    def take_if_fits(self, event: OfItem) -> bool:
        """Note its next event, its end too; False, and nothing done, if it is not one that may come.

        Nothing is told here: that its text begins is told with its first piece, and what ends it with its end.
        """
        if event.output_index != self.index:
            return False
        if not isinstance(event, _OfPart):
            return isinstance(event, _Done) and self._end(event.item)
        if event.item_id != self.id or event.content_index:
            return False
        if isinstance(event, TextDelta):
            return self.is_open and not event.logprobs
        if isinstance(event, _PartAdded):
            fits = self._begun is None and event.part == _text("")
            if fits:
                self._begun, self.is_open = event, True
            return fits
        if isinstance(event, _TextDone):
            said = "".join(self.pieces)
            fits = self.is_open and event.text == said and not event.logprobs
            self._part = _text(said)
        else:
            fits = len(self._held) == 1 and isinstance(event, _PartDone) and event.part == self._part
        if fits:
            self.is_open = False
            self._held.append(event)
        return fits

    def _end(self, item: dict[str, Any]) -> bool:
        fits = len(self._held) == 2 and item == {**self.raw, "status": "completed", "content": [self._part]}
        self.whole = item if fits else None
        return fits

    async def heal(self, out: Out) -> HeardItem:
        """It is no plain one: the same, as what goes on with whatever comes."""
        item = HeardItem(HeardNotes(), self.raw, id_=self.id)  # what the client knows already
        await item.begin()
        held = [*self._held]
        if self._begun is not None and self.pieces:
            await _replay(item, self._begun)
            place = {"item_id": self.id, "output_index": self.index, "content_index": 0}
            await item.take(DELTA, {**place, "delta": "".join(self.pieces)})
        elif self._begun is not None:
            held.insert(0, self._begun)
        item.out = out
        await out.open_item(self.raw)
        for event in held:
            await _replay(item, event)
        return item


async def _replay(item: HeardItem, event: _OfPart) -> None:
    told: dict[str, Any] = msgspec.to_builtins(event)
    await item.take(told["type"], told)
