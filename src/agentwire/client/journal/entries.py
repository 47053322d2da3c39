"""What stands in a run's journal: one JSON object an entry, told apart by its ``entry`` member.

An output that is known from its call's end is said by the call's id, so that nothing large is written twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

from agentwire.client.journal.contract import JournalError
from agentwire.protocol.codec import decode_items, decode_response, encode_json
from agentwire.protocol.errors import RemoteProtocolError
from agentwire.protocol.items import Item
from agentwire.protocol.response import Response

__all__ = [
    "Answered",
    "Asked",
    "Began",
    "Ended",
    "Entry",
    "Finished",
    "Instead",
    "Over",
    "Said",
    "Started",
    "Withdrawn",
    "decode",
    "encode",
    "items_of",
    "raw",
    "response_of",
]


class _Entry(msgspec.Struct, tag_field="entry", tag=str.lower):
    pass


class Began(_Entry):
    """The run: what came before it, if only its client knows that; its input, and what it continues."""

    context: msgspec.Raw
    input: msgspec.Raw
    continues: str | None


class Said(_Entry):
    """Items were said, by whomever."""

    items: msgspec.Raw


class Instead(_Entry):
    """The latest items were not said like that in the end, but like this."""

    count: int
    items: msgspec.Raw


class Asked(_Entry):
    """The model is asked for a turn that must not be asked for twice."""


class Answered(_Entry):
    """Calls were answered with what they had come to."""

    calls: list[str]


class Started(_Entry):
    """A call is about to run."""

    call: str


class Withdrawn(_Entry):
    """It did not run after all."""

    call: str


class Finished(_Entry):
    """A call has come to its end: the item that answers it, in a list of one."""

    call: str
    output: msgspec.Raw
    error: str | None
    unknown: bool


class Ended(_Entry):
    """A turn of the model has ended, and its output is said."""

    usage: tuple[int, int, int, int, int]


class Over(_Entry):
    """The run is over, and this came of it."""

    response: msgspec.Raw


Entry: TypeAlias = Began | Said | Instead | Asked | Answered | Started | Withdrawn | Finished | Ended | Over

_DECODER: Final = msgspec.json.Decoder(Entry)
_ENCODER: Final = msgspec.json.Encoder()


def encode(entry: Entry) -> bytes:
    """An entry as bytes."""
    return _ENCODER.encode(entry)


def decode(entry: bytes) -> Entry:
    """An entry of its bytes.

    Raises:
        JournalError: they are none.
    """
    try:
        decoded: Entry = _DECODER.decode(entry)
    except msgspec.MsgspecError as error:
        raise JournalError(f"the journal is damaged: {error}") from error
    return decoded


def raw(value: Iterable[Item] | Response) -> msgspec.Raw:
    """Items, or a response, as they stand in an entry."""
    return msgspec.Raw(encode_json(value if isinstance(value, Response) else tuple(value)))


def items_of(value: msgspec.Raw) -> tuple[Item, ...]:
    """Items, back again.

    Raises:
        JournalError: these are none.
    """
    try:
        return decode_items(bytes(value))
    except RemoteProtocolError as error:
        raise JournalError(f"the journal is damaged: {error}") from error


def response_of(value: msgspec.Raw) -> Response:
    """A response, back again.

    Raises:
        JournalError: this is none.
    """
    try:
        return decode_response(bytes(value))
    except RemoteProtocolError as error:
        raise JournalError(f"the journal is damaged: {error}") from error
