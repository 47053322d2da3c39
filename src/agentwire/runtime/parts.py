"""Messages and reasoning while an engine writes them: items of parts, each of them text that comes in pieces.

Nothing here waits or writes. What the wire says of such an item is mostly the same each time, so it is kept as bytes
that lie ready around the text, and the text itself becomes JSON once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from agentwire.protocol.codec import encode_json, encode_plain
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
        added: its four events up to their numbers.
        delta: likewise.
        text_done: likewise.
        done: likewise.
        around_text: what stands around its text in the part.
        logprobs_tail: what follows the text in its own events.
    """

    __slots__ = (
        "added", "around_text", "delta", "done", "index_name", "item", "logprobs_tail", "make", "text_done",
        "text_member",
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
        self.index_name = index_name
        self.make = make
        self.text_member = text_member
        self.added, self.done = event_head(f"{part_event}.added"), event_head(f"{part_event}.done")
        self.delta, self.text_done = event_head(f"{text_event}.delta"), event_head(f"{text_event}.done")
        before, _, after = encode_json(make("")).rpartition(b'""')
        self.around_text = before, after
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
    """One part of a message or of a reasoning item while its text comes in."""

    __slots__ = ("annotations", "kind", "logprobs", "where")

    def __init__(self, kind: PartKind, item_id: str, output_index: int, index: int) -> None:
        self.kind = kind
        self.annotations: list[Any] = []
        self.logprobs: list[Any] = []
        self.where = {"item_id": item_id, "output_index": output_index, kind.index_name: index}
        super().__init__(kind.delta, b',%b,"delta":' % encode_plain(self.where)[1:-1], kind.logprobs_tail)

    @property
    def place(self) -> bytes:
        """What each of its events says of where it belongs."""
        return self.middle.removesuffix(b',"delta":')

    @property
    def is_text(self) -> bool:
        """Whether it is what a model says, which may be annotated."""
        return self.kind is TEXT or self.kind is LOGGED

    def begin(self) -> Parts:
        """The event that begins it."""
        before, after = self.kind.around_text
        return self.kind.added, b'%b,"part":%b""%b' % (self.place, before, after)

    def end(self) -> tuple[Part, bytes, Parts, Parts]:
        """It with all that was said: the part, its JSON, and the events that end its text and itself."""
        kind, place, said = self.kind, self.place, "".join(self.pieces)
        part, text = kind.make(said), encode_plain(said)
        before, after = kind.around_text
        shown, logprobs = before + text + after, kind.logprobs_tail
        if self.annotations or self.logprobs:
            part = OutputText(said, tuple(self.annotations), tuple(self.logprobs))
            shown, logprobs = encode_json(part), b',"logprobs":%b' % encode_json(self.logprobs)
        text_done = kind.text_done, b'%b,"%b":%b%b' % (place, kind.text_member.encode(), text, logprobs)
        return part, shown, text_done, (kind.done, b'%b,"part":%b' % (place, shown))


class OpenText:
    """A message or a reasoning item while it is made.

    Args:
        kind: its type.
        id_: its id.
        index: its ``output_index``.
        phase: of a message.

    Attributes:
        encrypted_content: of reasoning.
    """

    __slots__ = ("_parts", "_phase", "_shown", "_summaries", "encrypted_content", "id", "index", "kind")

    def __init__(self, kind: str, id_: str, index: int, phase: str | None = None) -> None:
        self.kind = kind
        self.id = id_
        self.index = index
        self.encrypted_content: str | None = None
        self._phase = phase
        self._parts: list[Part] = []
        self._summaries: list[SummaryText] = []
        self._shown: list[bytes] = []

    def begin(self, kind: PartKind) -> OpenPart:
        """Its next part."""
        return OpenPart(kind, self.id, self.index, len(self._summaries if kind is SUMMARY else self._parts))

    def add(self, part: Part, shown: bytes) -> None:
        """A part of it is final, and has this JSON."""
        if isinstance(part, SummaryText):
            self._summaries.append(part)
        else:
            self._parts.append(part)
            self._shown.append(shown)

    def item(self, status: str) -> Item:
        """The item as it is now."""
        if self.kind == "message":
            return Message("assistant", tuple(self._parts), self.id, status, self._phase)
        content = tuple(part for part in self._parts if isinstance(part, ReasoningText))
        return Reasoning(tuple(self._summaries), content or None, self.encrypted_content, id=self.id, status=status)

    def shown(self, status: str) -> bytes:
        """Its JSON as it is now."""
        if self.kind != "message":
            return encode_json(self.item(status))
        phase = b"" if self._phase is None else b',"phase":%b' % encode_json(self._phase)
        content, id_ = b",".join(self._shown), encode_json(self.id)
        return _MESSAGE % (content, id_, status.encode(), phase)


_MESSAGE: Final = b'{"type":"message","role":"assistant","content":[%b],"id":%b,"status":"%b"%b}'
