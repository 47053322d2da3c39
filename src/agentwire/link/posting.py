"""One request over plain HTTP: its stream of server-sent events, or the error that it was answered with, as events.

Whoever reads them sees what a WebSocket would have said. The stream is read no faster than its events are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec
import trio

from agentwire.link.exchange import Exchange
from agentwire.link.outcome import Fate
from agentwire.protocol.codec import encode_json
from agentwire.protocol.errors import ConnectionEnded, RemoteProtocolError, RequestError
from agentwire.transport.complaints import read_complaint
from agentwire.transport.http_client import HttpStatusError, SseStream

__all__ = ["Heard", "error_event", "hear"]

_TERMINAL: Final = frozenset(("response.completed", "response.incomplete", "response.failed"))
_BROKEN_OFF: Final = "the stream ended before the response did"
_KEPT: Final = frozenset(("retry-after", "retry-after-ms", "x-request-id", "x-should-retry"))
_RATES: Final = "x-ratelimit-"
_CODES: Final[Mapping[int, str]] = {404: "not_found", 429: "rate_limit_exceeded"}


class _Response(msgspec.Struct):
    id: str | None = None


class _Head(msgspec.Struct):
    type: str
    response: _Response | None = None


_HEAD: Final = msgspec.json.Decoder(_Head)


@attrs.define
class Heard:
    """What has come over HTTP in all.

    Attributes:
        events: how many.
        keepalives: those among them that only said that a response still runs.
        bytes: of all events.
    """

    events: int = 0
    keepalives: int = 0
    bytes: int = 0


async def hear(stream: SseStream, exchange: Exchange, heard: Heard, *, grace: float) -> None:
    """Give a stream's events to their request, up to the last one.

    Args:
        stream: where they come.
        exchange: the request.
        heard: counts them.
        grace: seconds within which a response that broke has to end.

    Raises:
        ConnectionEnded: the stream ended first, or was silent for too long.
        RemoteProtocolError: it says what makes no sense.
    """
    stream.name_types()
    with trio.CancelScope() as scope:  # noqa: ASYNC912 - a stream that has not ended is read
        while exchange.fate is not Fate.FINISHED and (batch := await stream.batch()):
            for payload in batch:
                heard.events += 1
                heard.bytes += len(payload)
                if not exchange.has_room(len(payload)):
                    await exchange.room(len(payload))
                heard.keepalives += _take(payload, exchange)
            if exchange.failing_since is not None:
                scope.deadline = exchange.failing_since + grace
    if exchange.fate is Fate.FINISHED:
        stream.done = True
    elif exchange.failing_since is not None:
        exchange.finish()
    else:
        raise ConnectionEnded(cause=_BROKEN_OFF)


def _take(payload: bytes, exchange: Exchange) -> bool:
    """Give one event to its request; True if it was a mere sign of life."""
    if exchange.fate is Fate.FINISHED:
        return False
    try:
        head = _HEAD.decode(payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RemoteProtocolError(f"the server sent a message that is no event: {error}") from None
    if head.type == "keepalive":
        exchange.heard = trio.current_time()
    elif head.type == "error":
        _break(payload, exchange)
    elif head.type in _TERMINAL:
        _begin(head, exchange)
        exchange.finish(payload)
    else:
        if head.type.startswith("response."):
            _begin(head, exchange)
        exchange.deliver(payload)
    return head.type == "keepalive"


def _begin(head: _Head, exchange: Exchange) -> None:
    if exchange.fate is not Fate.STARTED:
        exchange.begin(head.response.id if head.response is not None else None)


def _break(payload: bytes, exchange: Exchange) -> None:
    """An error instead of a response, or in the middle of one: then its end follows."""
    if exchange.fate is Fate.STARTED:
        exchange.fail_soon(payload)
    else:
        exchange.finish(payload)


def error_event(error: HttpStatusError) -> bytes:
    """The ``error`` event that a WebSocket would have had in place of an HTTP error, whatever shape its body has."""
    told = read_complaint(error.body)
    kept = {name: value for name, value in error.headers.items() if name in _KEPT or name.startswith(_RATES)}
    code = told.code or _CODES.get(error.status) or ("server_error" if error.status >= 500 else "invalid_request")
    message = told.message or f"the server answered with HTTP {error.status}"
    family = _family(error.body)
    return encode_json(RequestError(error.status, code, message, param=told.param, type=family, headers=kept).event())


def _family(body: bytes) -> str | None:
    """The ``type`` of an error, nested or flat."""
    try:
        said: Any = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None
    inner = said.get("error", said) if isinstance(said, dict) else None
    family = inner.get("type") if isinstance(inner, dict) else None
    return family if isinstance(family, str) and family != "error" else None
