"""The envelope of a client's frame: what it is and where it belongs, without a look at the body.

A wrong member costs nothing and spoils none of the others, so that an error can still be told on its lane.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from agentwire.protocol.checks import Misfit
from agentwire.protocol.cost import check_cost
from agentwire.protocol.errors import RemoteProtocolError, RequestError
from agentwire.protocol.limits import Limits
from agentwire.protocol.parsing import ANY, STRING, parse_json, request_error
from agentwire.protocol.request import Envelope
from agentwire.protocol.settings import check_stream_id

__all__ = ["Delivery", "InvalidUtf8", "decode_envelope", "peek_delivery"]

LONGEST_ID: Final = 512
LONGEST_TYPE: Final = 256


class InvalidUtf8(RemoteProtocolError):
    """A text frame that is not UTF-8: the connection must be closed with 1007 (RFC 6455, section 8.1)."""


_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ID)]


class _Head(msgspec.Struct):
    """The members of an envelope as they ought to be; ``input`` is read for some events only, and still text."""

    type: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_TYPE)]
    stream_id: str | None = None
    previous_response_id: _Id | None = None
    response_id: _Id | None = None
    generate: bool = True
    background: bool = False
    input: msgspec.Raw = msgspec.Raw()


class _RawHead(msgspec.Struct):
    """The same, each still as text."""

    type: msgspec.Raw = msgspec.Raw()
    stream_id: msgspec.Raw = msgspec.Raw()
    previous_response_id: msgspec.Raw = msgspec.Raw()
    response_id: msgspec.Raw = msgspec.Raw()
    generate: msgspec.Raw = msgspec.Raw()
    background: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()


_HEAD: Final = msgspec.json.Decoder(_Head)
_RAW_HEAD: Final = msgspec.json.Decoder(_RawHead)
_CARRIES_INPUT: Final = frozenset(("response.steer", "response.inject"))


def decode_envelope(frame: bytes, limits: Limits) -> Envelope:
    """Read what a client's frame is and where it belongs; the body is skipped, not decoded.

    Raises:
        InvalidUtf8: the frame is no text.
        RequestError: 400 ``invalid_json``, ``unknown_event_type`` (no usable ``type``), ``invalid_stream_id`` or
            ``request_too_complex``.
    """
    _check_utf8(frame)
    try:
        head = _HEAD.decode(frame)
    except (ValueError, RecursionError):  # something is not as it ought to be: see how much of it
        head = _read_apart(parse_json(_RAW_HEAD, frame))
    given = _read_input(head.input, limits) if head.type in _CARRIES_INPUT else None
    if head.stream_id is not None:
        _check_lane(head.stream_id)
    return Envelope(
        head.type,
        head.stream_id,
        head.previous_response_id,
        head.response_id,
        head.generate,
        given,
        head.background,
    )


def _read_apart(raw: _RawHead) -> _Head:
    """Member by member: a wrong one costs nothing and spoils none of the others."""
    kind = _string(raw.type)
    if kind is None or not 0 < len(kind) <= LONGEST_TYPE:
        raise RequestError(400, "unknown_event_type", "An event needs a string 'type'.", param="type")
    return _Head(
        type=kind,
        stream_id=_lane(raw.stream_id),
        previous_response_id=_id(raw.previous_response_id),
        response_id=_id(raw.response_id),
        generate=_bytes(raw.generate) != b"false",
        background=_bytes(raw.background) == b"true",
        input=raw.input,
    )


def _read_input(raw: msgspec.Raw, limits: Limits) -> Any:
    """What interrupts is read at once, and perhaps handed back: it has a bound of its own."""
    text = _bytes(raw)
    if len(text) > limits.interrupt_bytes:
        message = f"The input of a steer or an inject may have at most {limits.interrupt_bytes} bytes."
        raise RequestError(400, "request_too_complex", message, param="input")
    check_cost(text, limits)
    return parse_json(ANY, text or b"null")


def _check_utf8(frame: bytes) -> None:
    if frame.isascii():
        return
    try:
        frame.decode()
    except UnicodeDecodeError as error:
        raise InvalidUtf8(f"a text frame is not UTF-8 at byte {error.start}", close_code=1007) from None


def _check_lane(value: str | None) -> None:
    try:
        if value is None:
            raise Misfit("invalid_stream_id", "it must be a string")
        check_stream_id(value)
    except Misfit as misfit:
        raise request_error(misfit.under("stream_id")) from None


def _bytes(raw: msgspec.Raw) -> bytes:
    return bytes(memoryview(raw))


def _string(raw: msgspec.Raw) -> str | None:
    text = _bytes(raw)
    return parse_json(STRING, text) if text[:1] == b'"' else None


def _id(raw: msgspec.Raw) -> str | None:
    value = _string(raw)
    return value if value is not None and 0 < len(value) <= LONGEST_ID else None


def _lane(raw: msgspec.Raw) -> str | None:
    if _bytes(raw) in (b"", b"null"):
        return None
    value = _string(raw)
    _check_lane(value)
    return value


class Delivery(msgspec.Struct, frozen=True):
    """How a client of ``POST /v1/responses`` wants its answer, as far as that can be told before the body is read.

    Attributes:
        background: True, and nothing else: run it without a client.
        stream: True, and nothing else: tell it in events.
    """

    background: bool = False
    stream: bool = False


class _Wanted(msgspec.Struct):
    background: msgspec.Raw = msgspec.Raw()
    stream: msgspec.Raw = msgspec.Raw()


_WANTED: Final = msgspec.json.Decoder(_Wanted)


def peek_delivery(body: bytes) -> Delivery:
    """What a body says of its delivery; a body that is no request, or says it wrongly, will be refused later on."""
    try:
        wanted = _WANTED.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Delivery()
    return Delivery(_bytes(wanted.background) == b"true", _bytes(wanted.stream) == b"true")
