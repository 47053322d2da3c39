"""Messages and reasoning while an engine writes them: items of parts, each of them text that comes in pieces.

Nothing here waits or writes. What the wire says of such an item is mostly the same each time, so it is kept as bytes
that lie ready around the text, and the text itself becomes JSON once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from agentwire.protocol.codec import encode_json, encode_plain, encode_wire, to_wire
from agentwire.protocol.content import OutputText, Part, ReasoningText, Refusal, SummaryText
from agentwire.protocol.items import Item, Message, Reasoning
from agentwire.runtime.window import Pieces

__all__ = [
    "LOGGED",
    "REASONING",
    "REFUSAL",
    "SUMMARY",
    "TEXT",
    "OpenPart",
    "OpenText",
    "PartKind",
    "around_delta",
    "event_head",
]

Parts = tuple[bytes, bytes]
"""An event as the two parts that `Window.put` joins with its number."""


def event_head(kind: str) -> bytes:
    """An event up to its number."""
    return b'{"type":"%b","sequence_number":' % kind.encode()


def around_delta(events: str, where: Mapping[str, Any]) -> Parts:
    """Head and middle of a ``delta`` event (see `Pieces`)."""
    return event_head(f"{events}.delta"), b',%b,"delta":' % encode_json(where)[1:-1]


class PartKind:
    """How one kind of streamed text appears on the wire.

    Args:
        item: the type of the item that it is part of.
        part_event: the stem of the events that begin and end a part.
        text_event: the stem of the events that carry its text.
        index_name: the member that counts such parts within their item.
        make: the part, of its text.
        text_member: where the whole text stands in the event that ends it.
        has_logprobs: whether the text's own events have a member for them.

    Attributes:
        part_event: see above.
        text_event: see above.
        added: its four events up to their numbers.
        delta: likewise.
        text_done: likewise.
        done: likewise.
        place: what its events say of where it belongs, but for the item's id, its index and the part's own.
        before_text: what stands before its text in the event that ends the text.
        empty: the part that begins, in its event.
        around_text: what stands around its text in the part.
        logprobs_tail: what follows the text in its own events.
    """

    __slots__ = (
        "added", "around_text", "before_text", "delta", "done", "empty", "index_name", "item", "logprobs_tail", "make",
        "part_event", "place", "text_done", "text_event", "text_member",
    )  # fmt: skip

    def __init__(
        self,
        item: str,
        part_event: str,
        text_event: str,
        index_name: str,
        make: Callable[[str], Part],
        *,
        text_member: str = "text",
        has_logprobs: bool = False,
    ) -> None:
        self.item = item
        self.part_event = part_event
        self.text_event = text_event
        self.index_name = index_name
        self.make = make
        self.text_member = text_member
        self.added, self.done = event_head(f"{part_event}.added"), event_head(f"{part_event}.done")
        self.delta, self.text_done = event_head(f"{text_event}.delta"), event_head(f"{text_event}.done")
        empty = encode_json(make(""))
        self.empty = b',"part":' + empty
        before, _, after = empty.rpartition(b'""')
        self.around_text = before, after
        self.before_text = b',"%b":' % text_member.encode()
        self.place = b',"item_id":%%b,"output_index":%%d,"%b":%%d' % index_name.encode()
        self.logprobs_tail = b',"logprobs":[]' if has_logprobs else b""


def _text_kind() -> PartKind:
    return PartKind(
        "message", "response.content_part", "response.output_text", "content_index", OutputText, has_logprobs=True
    )


TEXT: Final = _text_kind()
LOGGED: Final = _text_kind()
"""Text whose pieces may come with their probabilities; the usual text does not look for any."""
REFUSAL: Final = PartKind(
    "message", "response.content_part", "response.refusal", "content_index", Refusal, text_member="refusal"
)
REASONING: Final = PartKind(
    "reasoning", "response.content_part", "response.reasoning_text", "content_index", ReasoningText
)
SUMMARY: Final = PartKind(
    "reasoning", "response.reasoning_summary_part", "response.reasoning_summary_text", "summary_index", SummaryText
)


class OpenPart(Pieces):
    """One part of a message or of a reasoning item while its text comes in.

    Attributes:
        kind: of what kind it is.
        annotations: what was said of its text.
        logprobs: of its tokens.
        final: it with all that was said, once it has ended.
        shown: the JSON of that.
    """

    __slots__ = ("_at", "_place", "annotations", "final", "kind", "logprobs", "shown")

    def __init__(self, kind: PartKind, item_id: str, output_index: int, index: int) -> None:
        self.kind = kind
        self._at = item_id, output_index, index
        self.annotations: list[Any] = []
        self.logprobs: list[Any] = []
        self.final: Part | None = None
        self.shown = b""
        self._place = kind.place % (encode_wire(item_id), output_index, index)
        super().__init__(kind.delta, self._place + b',"delta":', kind.logprobs_tail)

    @property
    def where(self) -> dict[str, Any]:
        """What each of its events says of where it belongs."""
        item_id, output_index, index = self._at
        return {"item_id": item_id, "output_index": output_index, self.kind.index_name: index}

    @property
    def is_text(self) -> bool:
        """Whether it is what a model says, which may be annotated."""
        return self.kind is TEXT or self.kind is LOGGED

    def begin(self) -> Parts:
        """The event that begins it."""
        return self.kind.added, self._place + self.kind.empty

    def end(self) -> tuple[Parts, Parts]:
        """It has all its text: the events that end that and the part."""
        kind, place, said = self.kind, self._place, "".join(self.pieces)
        self.final, text = kind.make(said), encode_plain(said)
        before, after = kind.around_text
        self.shown, logprobs = before + text + after, kind.logprobs_tail
        if self.annotations or self.logprobs:
            self.final = OutputText(said, tuple(self.annotations), tuple(self.logprobs))
            self.shown, logprobs = encode_json(self.final), b',"logprobs":%b' % encode_json(self.logprobs)
        text_done = b"".join((place, kind.before_text, text, logprobs))
        return (kind.text_done, text_done), (kind.done, b'%b,"part":%b' % (place, self.shown))

    def told(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What was told of it, as few events: what each is, and its members."""
        kind, where, said = self.kind, self.where, "".join(self.pieces)
        yield f"{kind.part_event}.added", {**where, "part": to_wire(kind.make(""))}
        if said:
            yield f"{kind.text_event}.delta", {**where, "delta": said}
        for number, annotation in enumerate(self.annotations):
            more = {"annotation_index": number, "annotation": annotation}
            yield f"{kind.text_event}.annotation.added", {**where, **more}
        if self.final is not None:
            yield f"{kind.text_event}.done", {**where, kind.text_member: said}
            yield f"{kind.part_event}.done", {**where, "part": to_wire(self.final)}


class OpenText:
    """A message or a reasoning item while it is made.

    Args:
        kind: its type.
        id_: its id.
        index: its ``output_index``.
        phase: of a message.

    Attributes:
        parts: those that have ended.
        encrypted_content: of reasoning.
    """

    __slots__ = ("_phase", "encrypted_content", "id", "index", "kind", "parts")

    def __init__(self, kind: str, id_: str, index: int, phase: str | None = None) -> None:
        self.kind = kind
        self.id = id_
        self.index = index
        self.parts: list[OpenPart] = []
        self.encrypted_content: str | None = None
        self._phase = phase

    @property
    def is_bare(self) -> bool:
        """Whether it is a message of which no part has ended, and has to have one."""
        return self.kind == "message" and not self.parts

    def begin(self, kind: PartKind) -> OpenPart:
        """Its next part."""
        index = len([part for part in self.parts if part.kind.index_name == kind.index_name])
        return OpenPart(kind, self.id, self.index, index)

    def item(self, status: str) -> Item:
        """The item as it is now."""
        parts = [part.final for part in self.parts if part.final is not None]
        if self.kind == "message":
            return Message("assistant", tuple(parts), self.id, status, self._phase)
        summary = tuple(part for part in parts if isinstance(part, SummaryText))
        content = tuple(part for part in parts if isinstance(part, ReasoningText))
        return Reasoning(summary, content or None, self.encrypted_content, id=self.id, status=status)

    def shown(self, status: str) -> bytes:
        """The JSON of that."""
        if self.kind != "message":
            return encode_json(self.item(status))
        phase = b"" if self._phase is None else b',"phase":%b' % encode_json(self._phase)
        content = b",".join([part.shown for part in self.parts])
        return _MESSAGE % (content, encode_wire(self.id), status.encode(), phase)

    def begun(self) -> dict[str, Any]:
        """A message as it was when it began."""
        begun: dict[str, Any] = to_wire(Message("assistant", (), self.id, "in_progress", self._phase))
        return begun


_MESSAGE: Final = b'{"type":"message","role":"assistant","content":[%b],"id":%b,"status":"%b"%b}'
