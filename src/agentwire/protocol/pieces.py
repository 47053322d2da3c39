"""Delta events, read straight from JSON: most of what a client receives, and all that it must be fast at.

A piece with no members but its own and ``obfuscation`` is read here; whatever else comes is left to the tolerant
reader of all events.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

import attrs
import msgspec

from agentwire.protocol.checks import EMPTY
from agentwire.protocol.item_events import (
    CustomToolCallInputDelta,
    FunctionCallArgumentsDelta,
    McpCallArgumentsDelta,
    OutputTextDelta,
    ReasoningSummaryTextDelta,
    ReasoningTextDelta,
    RefusalDelta,
)

__all__ = ["Piece", "read_piece"]

Piece = (
    OutputTextDelta
    | ReasoningTextDelta
    | ReasoningSummaryTextDelta
    | RefusalDelta
    | FunctionCallArgumentsDelta
    | CustomToolCallInputDelta
    | McpCallArgumentsDelta
)
"""An event with a piece of something long."""


def _read_as(cls: Any) -> tuple[type[msgspec.Struct], Callable[[Any], Any]]:
    """How JSON is read for an event class, and how that becomes one."""
    hints = typing.get_type_hints(cls)
    own = [field for field in attrs.fields(cls) if field.name != "extra"]
    own.sort(key=lambda field: field.kw_only)
    given = [(field.name, hints[field.name], field.default) for field in own if field.default is not attrs.NOTHING]
    needed = [(field.name, hints[field.name]) for field in own if field.default is attrs.NOTHING]
    struct = msgspec.defstruct(
        cls.__name__,
        [*needed, *given, ("obfuscation", str | msgspec.UnsetType, msgspec.UNSET)],
        tag_field="type",
        tag=cls.type,
        forbid_unknown_fields=True,
        gc=False,
    )
    members = attrgetter(*(field.name for field in own if not field.kw_only))

    def make(read: Any) -> Any:
        extra = EMPTY if read.obfuscation is msgspec.UNSET else {"obfuscation": read.obfuscation}
        return cls(*members(read), sequence_number=read.sequence_number, stream_id=read.stream_id, extra=extra)

    return struct, make


_MAKERS: Final = dict(map(_read_as, typing.get_args(Piece)))
_DECODER: Final = msgspec.json.Decoder(typing.Union[tuple(_MAKERS)])  # noqa: UP007 - made at run time


def read_piece(frame: bytes | str) -> Piece | None:
    """Read a delta event; None if it is none, or has members that need a closer look."""
    try:
        read = _DECODER.decode(frame)
    except (ValueError, RecursionError):  # not one of these; or no JSON, which the next reader will say
        return None
    piece: Piece = _MAKERS[read.__class__](read)
    return piece
