"""A message that comes exactly as it should: there is nothing to heal, and it is told as one of this server's own.

Its events are read into classes that have no room for anything else. What does not fit, comes out of turn or is not
what the pieces said is not for this module: the message goes on as a `HeardItem` then, from where it stands.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, Literal, TypeAlias

import msgspec

from agentwire.engines.relay.events import PlainDelta
from agentwire.engines.relay.healing import HeardItem
from agentwire.engines.relay.notes import HeardNotes
from agentwire.runtime.contracts import Out

__all__ = ["Added", "Begun", "Completed", "PartAdded", "PlainEvent", "PlainMessage", "read_plain"]

DELTA: Final = "response.output_text.delta"


class _Plain(msgspec.Struct, forbid_unknown_fields=True):
    """Something that has these members, and no others."""


class _Text(_Plain):
    text: str
    annotations: list[Any]
    logprobs: list[Any]
    type: Literal["output_text"]

    def says(self, text: str) -> bool:
        return self.text == text and not self.annotations and not self.logprobs


class _Message(_Plain):
    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    status: Literal["in_progress", "completed"]
    content: list[_Text]
    phase: Literal["commentary", "final_answer"] | msgspec.UnsetType | None = msgspec.UNSET


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


class Added(_Plain, tag="response.output_item.added"):
    """A message begins."""

    output_index: int
    item: _Message
    sequence_number: int | None = None


class _OfPart(_Plain):
    item_id: str
    output_index: int
    content_index: int
    sequence_number: int | None = None


class PartAdded(_OfPart, tag="response.content_part.added", kw_only=True):
    """Its text begins."""

    part: _Text


class _TextDone(_OfPart, tag="response.output_text.done", kw_only=True):
    text: str
    logprobs: list[Any] | None = None


class _PartDone(_OfPart, tag="response.content_part.done", kw_only=True):
    part: _Text


class _Done(_Plain, tag="response.output_item.done"):
    output_index: int
    item: _Message
    sequence_number: int | None = None


_OfMessage = PartAdded | _TextDone | _PartDone | _Done
PlainEvent: TypeAlias = _Created | _InProgress | Added | _OfMessage | Completed
_EVENT: Final[msgspec.json.Decoder[PlainEvent]] = msgspec.json.Decoder(PlainEvent)


def read_plain(payload: bytes) -> PlainEvent | None:
    """The event that this is, if it is one of those of a plain message, or of a response that begins or ends well."""
    try:
        return _EVENT.decode(payload)
    except (ValueError, RecursionError):
        return None


class PlainMessage:
    """Such a message while it is told.

    Args:
        out: where it goes.
        added: the event that begins it.

    Attributes:
        id: its id, the upstream's and the client's.
        raw: it as it began.
        pieces: its text so far.
        is_open: whether a piece of it may come.
        whole: it as it ended; None until then.
    """

    __slots__ = ("_has_part", "_held", "_out", "id", "index", "is_open", "pieces", "raw", "whole")

    def __init__(self, out: Out, added: Added) -> None:
        self.id = added.item.id
        self.index = added.output_index
        self.raw: dict[str, Any] = msgspec.to_builtins(added.item)
        self.pieces: list[str] = []
        self.is_open = False
        self.whole: dict[str, Any] | None = None
        self._out = out
        self._has_part = False
        self._held: list[_TextDone | _PartDone] = []

    @property
    def holds(self) -> bool:
        """Whether events of its end have come that are told with it."""
        return bool(self._held)

    async def begin(self) -> None:
        """Tell the client that it begins."""
        await self._out.begin_message(phase=self.raw.get("phase"), id_=self.id)

    @staticmethod
    def begins(added: Added) -> bool:
        """Whether a message that begins like that can be a plain one."""
        return bool(added.item.id) and added.item.status == "in_progress" and not added.item.content

    def takes(self, delta: PlainDelta) -> bool:
        """Whether this is a piece of its text."""
        mine = delta.item_id == self.id and delta.output_index == self.index
        return self.is_open and mine and delta.type == DELTA and delta.content_index == 0

    def hear(self, event: _OfMessage) -> bool:
        """Note its next event, its end too; False, and nothing done, if it is not the one that has to come.

        Nothing is told here: what ends its text is told with the end of the message.
        """
        if event.output_index != self.index:
            return False
        if isinstance(event, _Done):
            return self._end(event.item)
        if event.item_id != self.id or event.content_index:
            return False
        if isinstance(event, PartAdded):
            if self._has_part or not event.part.says(""):
                return False
            self._has_part = self.is_open = True
            return True
        said = "".join(self.pieces)
        if isinstance(event, _TextDone):
            fits = self.is_open and event.text == said and not event.logprobs
        else:
            fits = len(self._held) == 1 and event.part.says(said)
        if fits:
            self.is_open = False
            self._held.append(event)
        return fits

    def _end(self, item: _Message) -> bool:
        told = len(self._held) == 2 and item.id == self.id and item.status == "completed"
        if not told or len(item.content) != 1 or not item.content[0].says("".join(self.pieces)):
            return False
        whole: dict[str, Any] = msgspec.to_builtins(item)
        if whole.get("phase") != self.raw.get("phase"):
            return False
        self.whole = whole
        return True

    async def heal(self, hidden: Collection[str]) -> HeardItem:
        """It is no plain one: the same, as what goes on with whatever comes."""
        place = {"item_id": self.id, "output_index": self.index, "content_index": 0}
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        item = HeardItem(HeardNotes(), self.raw, id_=self.id, hidden=hidden)  # the client knows all this
        await item.begin()
        if self._has_part:
            await item.take("response.content_part.added", {**place, "part": part})
        if self.pieces:
            await item.take(DELTA, {**place, "delta": "".join(self.pieces)})
        item.out = self._out
        await self._out.open_item(self.raw)
        for event in self._held:
            held: dict[str, Any] = msgspec.to_builtins(event)
            await item.take(held["type"], held)
        return item
