"""A model's reasoning on its way back to it: the text, or the details that some servers want whole.

A blob in ``encrypted_content`` holds nothing but what the client was shown or what its own conversation needs, so it is
no secret: plain JSON under a prefix. A blob of another make is not understood, and left out.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from agentwire.engines.chat.dialect import ReasoningField, ReasoningIn
from agentwire.protocol.checks import EMPTY
from agentwire.protocol.codec import encode_json
from agentwire.protocol.content import text_of
from agentwire.protocol.items import Reasoning

__all__ = ["DETAILS", "NOWHERE", "PARTS", "Style", "Thought", "merge_details", "seal", "thought_of"]

DETAILS: Final = "reasoning_details"
USUAL: Final = "reasoning_content"
PARTS: Final = "thinking"
NOWHERE: Final = "none"

_PREFIX: Final = "agentwire-reasoning1."
_JOINED: Final = ("text", "summary", "data", "thinking")


@attrs.frozen
class Thought:
    """What was thought between two inputs.

    Attributes:
        text: in words.
        details: as some servers want it back, whole.
        extra: what a server wants back within the call that follows.
    """

    text: str = ""
    details: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, Any] = EMPTY

    def __add__(self, other: Thought) -> Thought:
        text = "\n\n".join(filter(None, (self.text, other.text)))
        return Thought(text, (*self.details, *other.details))

    def __bool__(self) -> bool:
        return bool(self.text or self.details or self.extra)


@attrs.frozen
class Style:
    """How reasoning goes back.

    Attributes:
        field: the member of the message, or the type of a part of its content; None for not at all.
        where: in which messages of the assistant.
    """

    field: str | None = None
    where: ReasoningIn = "calls"

    @classmethod
    def of(cls, wanted: ReasoningField, seen: str | None, *, where: ReasoningIn) -> Style:
        """As the operator wants it; ``seen`` is where the server writes it itself, once it has."""
        field = (seen or USUAL) if wanted == "same" else wanted
        return cls() if field == NOWHERE else cls(field, where)

    def members(self, thought: Thought | None, *, calls: bool, said: str = "") -> Mapping[str, Any]:
        """What a message has of it, beside what was ``said`` in it."""
        if self.field is None or not (calls or self.where != "calls"):
            return EMPTY
        if thought is not None and self.field == DETAILS:
            told: Any = thought.details or [{"type": "reasoning.text", "text": thought.text}]
            return {DETAILS: told}
        if thought is None or not thought.text:
            return {self.field: ""} if self.where == "every" and self.field not in (DETAILS, PARTS) else EMPTY
        if self.field == PARTS:
            text = [{"type": "text", "text": said}] if said else []
            return {"content": [{"type": PARTS, PARTS: [{"type": "text", "text": thought.text}]}, *text]}
        return {self.field: thought.text}


def seal(thought: Thought) -> str:
    """The blob of a thought."""
    told = {"text": thought.text, "details": thought.details, **({"extra": thought.extra} if thought.extra else EMPTY)}
    return _PREFIX + urlsafe_b64encode(encode_json(told)).decode()


def thought_of(item: Reasoning) -> Thought | None:
    """What a reasoning item says: in its blob, as its text, or at least as a summary; None if nothing."""
    blob = item.encrypted_content or ""
    sealed = _unseal(blob) if blob.startswith(_PREFIX) else Thought()
    text = sealed.text or "\n".join(text_of((part,)) for part in item.content or item.summary)
    return Thought(text, sealed.details, sealed.extra) or None


def merge_details(pieces: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Details that came in pieces, made whole: pieces in a row of one index and type are one."""
    whole: list[tuple[dict[str, Any], dict[str, list[str]]]] = []
    for piece in pieces:
        if not whole or _place(whole[-1][0]) != _place(piece):
            whole.append((dict(piece), {}))
            continue
        last, texts = whole[-1]
        for name, value in piece.items():
            if name in _JOINED and isinstance(value, str) and isinstance(last.get(name), str):
                texts.setdefault(name, [last[name]]).append(value)
            elif value is not None:
                last[name] = value
                texts.pop(name, None)
    return tuple({**members, **{name: "".join(text) for name, text in texts.items()}} for members, texts in whole)


def _place(piece: Mapping[str, Any]) -> tuple[Any, Any]:
    return piece.get("index"), piece.get("type")


def _unseal(blob: str) -> Thought:
    """Whoever can write the prefix can put anything behind it."""
    try:
        told = msgspec.json.decode(urlsafe_b64decode(blob[len(_PREFIX) :]), type=_Sealed)
    except (ValueError, RecursionError):
        return Thought()
    return Thought(told.text, tuple(told.details), told.extra)


class _Sealed(msgspec.Struct):
    text: str = ""
    details: Sequence[dict[str, Any]] = ()
    extra: dict[str, Any] = {}
