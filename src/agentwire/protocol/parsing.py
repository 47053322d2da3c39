"""JSON text to plain values, and what does not fit to what the peer is told.

The errors of the JSON library become ours here, and nowhere else.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from agentwire.protocol.checks import Misfit, kind_of
from agentwire.protocol.cost import check_cost
from agentwire.protocol.errors import RequestError
from agentwire.protocol.limits import Limits
from agentwire.protocol.reading import Reader

__all__ = ["ANY", "STRING", "decode_object", "parse_json", "parse_object", "request_error", "strictly"]

T = TypeVar("T")

ANY: Final = msgspec.json.Decoder[Any]()
"""Reads any JSON value."""

STRING: Final = msgspec.json.Decoder(str)
"""Reads a JSON string."""


def parse_json(decoder: msgspec.json.Decoder[T], text: bytes | str) -> T:
    """Decode a JSON text.

    Raises:
        RequestError: 400 ``invalid_json`` or ``request_too_complex``.
    """
    try:
        return decoder.decode(text)
    except RecursionError:
        raise RequestError(400, "request_too_complex", "The message is nested too deeply.") from None
    except ValueError as error:  # malformed, not the expected type, not UTF-8, a number beyond all bounds
        raise RequestError(400, "invalid_json", f"The message is no JSON object that can be read: {error}.") from None


def decode_object(message: bytes, limits: Limits) -> dict[str, Any]:
    """Read a JSON object of bounded cost.

    Raises:
        RequestError: 400 ``invalid_json`` or ``request_too_complex``.
    """
    check_cost(message, limits)
    return parse_object(message)


def parse_object(message: bytes) -> dict[str, Any]:
    """Read a JSON object whose cost has been checked.

    Raises:
        RequestError: 400 ``invalid_json`` or ``request_too_complex``.
    """
    value = parse_json(ANY, message)
    if not isinstance(value, dict):
        raise RequestError(400, "invalid_json", f"The message must be a JSON object, and is {kind_of(value)}.")
    return value


def strictly(read: Reader, value: object) -> Any:
    """Read a value of a client.

    Raises:
        RequestError: 400 that names the offending member.
    """
    try:
        return read(value)
    except Misfit as misfit:
        raise request_error(misfit) from None


def request_error(misfit: Misfit) -> RequestError:
    """What the peer is told of a misfit: its code, where it is, and what would fit."""
    param = misfit.param
    message = f"{_OPENINGS.get(misfit.code, 'Invalid value for')} '{param}'"
    if misfit.expected:
        message += f": {misfit.expected}"
    return RequestError(400, misfit.code, f"{message}.", param=param)


_OPENINGS: Final = {"invalid_type": "Invalid type for", "missing_required_parameter": "Missing required parameter"}
