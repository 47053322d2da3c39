"""Objects that look different on the wire from their class: usage and errors, read and written.

Other servers leave out parts of both, so they are read with every tolerance and written whole. What is unknown inside
their inner objects is kept in ``extra`` under the inner object's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agentwire.protocol.checks import Misfit
from agentwire.protocol.events import ErrorEvent
from agentwire.protocol.response import Usage

__all__ = ["read_error", "read_usage", "write_error", "write_usage"]

TOTALS: Final = ("input_tokens", "output_tokens", "total_tokens")
INPUT: Final = {"cached_tokens", "cache_write_tokens"}
OUTPUT: Final = {"reasoning_tokens"}
FLAT: Final = {"code", "message", "param"}
NESTED: Final = {*FLAT, "type", "headers"}


class _Inputs(msgspec.Struct, forbid_unknown_fields=True):
    cached_tokens: int = 0
    cache_write_tokens: int = 0


class _Outputs(msgspec.Struct, forbid_unknown_fields=True):
    reasoning_tokens: int = 0


class _Usual(msgspec.Struct, forbid_unknown_fields=True):
    """Usage with nothing in it that a `Usage` has no place for."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: _Inputs
    output_tokens_details: _Outputs


def read_usage(value: Any, _: Any = None) -> Usage:
    """Usage of any server: details may be missing or null, and so may the totals.

    Raises:
        Misfit: it is no object.
    """
    try:
        usual = msgspec.convert(value, _Usual)
    except msgspec.ValidationError:
        return _read_usage(value)
    inputs, outputs = usual.input_tokens_details, usual.output_tokens_details
    return Usage(
        usual.input_tokens,
        usual.output_tokens,
        inputs.cached_tokens,
        outputs.reasoning_tokens,
        inputs.cache_write_tokens,
    )


def _read_usage(value: Any) -> Usage:
    given = _object(value)
    totals = {name: given.pop(name, None) for name in TOTALS}
    inputs, outputs = (_inner(given, f"{side}_tokens_details") for side in ("input", "output"))
    usage = Usage(
        _whole(totals["input_tokens"]),
        _whole(totals["output_tokens"]),
        _whole(inputs.get("cached_tokens")),
        _whole(outputs.get("reasoning_tokens")),
        _whole(inputs.get("cache_write_tokens")),
        extra=given,
    )
    _keep(given, "input_tokens_details", inputs, INPUT)
    _keep(given, "output_tokens_details", outputs, OUTPUT)
    return usage


def write_usage(usage: Usage) -> dict[str, Any]:
    """Usage with all its details."""
    written: dict[str, Any] = {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
    if usage.extra:
        extra = dict(usage.extra)
        for name in ("input_tokens_details", "output_tokens_details"):
            written[name] |= _inner(extra, name)
        written |= extra
    return written


def read_error(value: Any, _: Any = None) -> ErrorEvent:
    """Both shapes of an error: nested under ``error``, or flat; headers may be in either place.

    A text under ``error`` is the message, if there is no other, and a ``code`` that is an HTTP status is the status.

    Raises:
        Misfit: it is no object.
    """
    given = _object(value)
    given.pop("type", None)
    words = given.get("error")
    body = _inner(given, "error") or {name: given.pop(name, None) for name in FLAT}
    if isinstance(words, str) and not body["message"]:
        body["message"] = words
    headers = _headers(given.pop("headers", None)) | _headers(body.get("headers"))
    status = _maybe(int, given.pop("status", None)) or _maybe(int, given.pop("status_code", None))
    if (named := _status(body.get("code"))) is not None:
        body["code"], status = None, status or named
    event = ErrorEvent(
        _maybe(str, body.get("message")) or "the server gave no message",
        code=_maybe(str, body.get("code")),
        status=status,
        param=_maybe(str, body.get("param")),
        error_type=_maybe(str, body.get("type")),
        headers=headers,
        sequence_number=_maybe(int, given.pop("sequence_number", None)),
        stream_id=_maybe(str, given.pop("stream_id", None)),
        extra=given,
    )
    _keep(given, "error", body, NESTED)
    return event


def write_error(event: ErrorEvent) -> dict[str, Any]:
    """The nested shape, whatever shape it came in; headers stand in both places that clients look at."""
    extra = dict(event.extra)
    given = {"sequence_number": event.sequence_number, "stream_id": event.stream_id, "status": event.status}
    body: dict[str, Any] = {
        "type": event.error_type,
        "code": event.code,
        "message": event.message,
        "param": event.param,
        **_inner(extra, "error"),
    }
    out: dict[str, Any] = {"type": event.type, **{name: value for name, value in given.items() if value is not None}}
    out["error"] = body
    if event.headers:
        out["headers"] = body["headers"] = dict(event.headers)
    return {**out, **extra}


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Misfit.kind("an object", value)
    return dict(value)


def _inner(given: dict[str, Any], name: str) -> dict[str, Any]:
    """Take an inner object out; an empty one if there is none."""
    value = given.pop(name, None)
    return dict(value) if isinstance(value, Mapping) else {}


def _keep(given: dict[str, Any], name: str, inner: dict[str, Any], known: set[str]) -> None:
    """Put back what is unknown of an inner object."""
    rest = {key: value for key, value in inner.items() if key not in known}
    if rest:
        given[name] = rest


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _maybe(kind: type, value: Any) -> Any:
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def _status(value: Any) -> int | None:
    """The HTTP status of an error that a code is, if it is one."""
    number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) == 3 else _maybe(int, value)
    return number if number is not None and 400 <= number <= 599 else None


def _headers(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    return {str(name).lower(): str(text) for name, text in value.items()}
