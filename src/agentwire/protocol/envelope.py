"""The envelope of a client's frame: what it is and where it belongs, without a look at the body.

A wrong member costs nothing and spoils none of the others, so that an error can still be told on its lane.
"""

from __future__ import annotations

from typing import Final

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


_ABSENT: Final = msgspec.Raw()


class _Head(msgspec.Struct):
    """The members of an envelope, still as text: a wrong one must cost nothing and spoil none of the others."""

    type: msgspec.Raw = _ABSENT
    stream_id: msgspec.Raw = _ABSENT
    previous_response_id: msgspec.Raw = _ABSENT
    response_id: msgspec.Raw = _ABSENT
    generate: msgspec.Raw = _ABSENT
    background: msgspec.Raw = _ABSENT
    input: msgspec.Raw = _ABSENT


_HEAD: Final = msgspec.json.Decoder(_Head)
_CARRIES_INPUT: Final = frozenset(("response.steer", "response.inject"))


def decode_envelope(frame: bytes, limits: Limits) -> Envelope:
    """Read what a client's frame is and where it belongs; the body is skipped, not decoded.

    Raises:
        InvalidUtf8: the frame is no text.
        RequestError: 400 ``invalid_json``, ``unknown_event_type`` (no usable ``type``), ``invalid_stream_id`` or
            ``request_too_complex``.
    """
    _check_utf8(frame)
    head = parse_json(_HEAD, frame)
    kind = _string(head.type)
    if kind is None or not 0 < len(kind) <= LONGEST_TYPE:
        raise RequestError(400, "unknown_event_type", "An event needs a string 'type'.", param="type")
    generate = _bytes(head.generate) != b"false"
    given = None
    if kind in _CARRIES_INPUT:
        _check_size(head.input, limits)
        check_cost(_bytes(head.input), limits)
        given = parse_json(ANY, _bytes(head.input) or b"null")
    return Envelope(
        type=kind,
        stream_id=_lane(head.stream_id),
        previous_response_id=_id(head.previous_response_id),
        response_id=_id(head.response_id),
        generate=generate,
        background=_bytes(head.background) == b"true",
        input=given,
    )


def _check_size(given: msgspec.Raw, limits: Limits) -> None:
    """What interrupts is read at once, and perhaps handed back: it has a bound of its own."""
    if memoryview(given).nbytes > limits.interrupt_bytes:
        message = f"The input of a steer or an inject may have at most {limits.interrupt_bytes} bytes."
        raise RequestError(400, "request_too_complex", message, param="input")


def _check_utf8(frame: bytes) -> None:
    if frame.isascii():
        return
    try:
        frame.decode()
    except UnicodeDecodeError as error:
        raise InvalidUtf8(f"a text frame is not UTF-8 at byte {error.start}", close_code=1007) from None


def _bytes(raw: msgspec.Raw) -> bytes:
    return b"" if raw is _ABSENT else bytes(memoryview(raw))


def _string(raw: msgspec.Raw) -> str | None:
    if raw is _ABSENT:
        return None
    text = _bytes(raw)
    return parse_json(STRING, text) if text[:1] == b'"' else None


def _id(raw: msgspec.Raw) -> str | None:
    value = _string(raw)
    return value if value is not None and 0 < len(value) <= LONGEST_ID else None


def _lane(raw: msgspec.Raw) -> str | None:
    if raw is _ABSENT or _bytes(raw) == b"null":
        return None
    value = _string(raw)
    try:
        if value is None:
            raise Misfit("invalid_stream_id", "it must be a string")
        check_stream_id(value)
    except Misfit as misfit:
        raise request_error(misfit.under("stream_id")) from None
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
