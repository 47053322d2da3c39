"""The events of a response as HTTP says them: server-sent events, the whole response, or a status with an error.

A status is sent before anything else, so a failure that comes after the first event of a stream is told in the stream,
just as a server tells it over HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from agentwire.link.life import REQUEST_ID
from agentwire.protocol.codec import decode_event, encode_json
from agentwire.protocol.errors import RemoteProtocolError, RequestError
from agentwire.protocol.events import ErrorEvent

__all__ = ["DONE", "EVENTS", "Answer", "Collected", "framed", "identified", "refused"]

EVENTS: Final = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"))
JSON: Final = (("content-type", "application/json"),)
DONE: Final = b"data: [DONE]\n\n"
"""The end of a stream."""

_FINAL: Final = frozenset(("response.completed", "response.incomplete", "response.failed"))
_ENDED_WELL: Final = frozenset(("response.completed", "response.incomplete"))
_STATUSES: Final[Mapping[str, int]] = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "context_length_exceeded": 400,
    "invalid_prompt": 400,
    "server_is_overloaded": 503,
    "slow_down": 503,
}
"""Of a response that failed without an error that has one."""

NOTHING: Final = msgspec.Raw()

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Head(msgspec.Struct):
    type: str
    item: msgspec.Raw = NOTHING
    output_index: int = 0
    response: msgspec.Raw = NOTHING


class _Response(msgspec.Struct):
    id: str
    output: list[msgspec.Raw] | None = None
    error: Any = None


_HEAD: Final = msgspec.json.Decoder(_Head).decode
_RESPONSE: Final = msgspec.json.Decoder(_Response).decode


@attrs.frozen
class Answer:
    """An answer that is whole.

    Attributes:
        status: of HTTP.
        headers: of HTTP.
        body: all of it.
    """

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


class Collected:
    """What a response's events add up to, read as they pass.

    Attributes:
        response_id: of a response that ended well; it can be continued.
        ended: whether the last event has come.
    """

    def __init__(self) -> None:
        self.response_id: str | None = None
        self.ended = False
        self._items: dict[int, msgspec.Raw] = {}
        self._response = NOTHING
        self._broke: ErrorEvent | None = None
        self._failed = False

    def take(self, frames: Iterable[bytes]) -> None:
        """These events have come.

        Raises:
            RemoteProtocolError: one of them is no event.
        """
        for frame in frames:
            try:
                self._take(frame, _HEAD(frame))
            except ValueError as error:
                raise RemoteProtocolError(f"the server's event cannot be read: {error}") from None

    def _take(self, frame: bytes, head: _Head) -> None:
        if head.type == "response.output_item.done" and head.item:
            self._items[head.output_index] = head.item.copy()
        elif head.type in _FINAL and head.response:
            self.ended, self._response = True, head.response
            self._failed = head.type not in _ENDED_WELL
            self.response_id = None if self._failed else _RESPONSE(head.response).id
        elif head.type == "error":
            event = decode_event(frame)
            self._broke = event if isinstance(event, ErrorEvent) else None

    @property
    def output(self) -> list[Mapping[str, Any]]:
        """The items of a response that ended well."""
        return [msgspec.json.decode(item) for item in _RESPONSE(self._response).output or self._done]

    @property
    def _done(self) -> list[msgspec.Raw]:
        return [item for _, item in sorted(self._items.items(), key=lambda pair: pair[0])]

    def answer(self) -> Answer:
        """The whole response, or the error that it ended with.

        Raises:
            RemoteProtocolError: the server ended it without saying how.
        """
        if self._failed or (self._broke is not None and not self._response):
            return refused(self._failure())
        if not self._response:
            raise RemoteProtocolError("the server ended a response without saying how")
        response = bytes(self._response)
        if self._items and not _RESPONSE(response).output:  # some servers list the output in its own events only
            response = msgspec.json.encode({**_MEMBERS(response), "output": self._done})
        return Answer(200, JSON, response)

    def _failure(self) -> RequestError:
        """The code is the response's, the status the error event's."""
        said = _RESPONSE(self._response).error if self._response else None
        told: Mapping[str, Any] = said if isinstance(said, Mapping) else {"message": said}
        broke = self._broke.to_error() if self._broke is not None else None
        code = _text(told.get("code")) or (broke.code if broke is not None else "server_error")
        return RequestError(
            broke.status if broke is not None else _STATUSES.get(code, 500),
            code,
            _text(told.get("message")) or (broke.message if broke is not None else "The response failed."),
            param=broke.param if broke is not None else None,
            headers=broke.headers if broke is not None else None,
        )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def refused(error: RequestError) -> Answer:
    """An error as HTTP says it."""
    body = error.body()
    body.pop("headers", None)
    headers = [(name, value) for name, value in error.headers.items() if _passes(name.lower(), value)]
    return Answer(error.status, (*JSON, *headers), encode_json({"error": body}))


def identified(headers: Sequence[tuple[str, str]], request_id: str | None) -> tuple[tuple[str, str], ...]:
    """The same with the id under which the server's log has the connection, where they have no id of their own."""
    named = any(name.lower() == REQUEST_ID for name, _ in headers)
    if named or request_id is None or not _passes(REQUEST_ID, request_id):
        return tuple(headers)
    return (*headers, (REQUEST_ID, request_id))


def _passes(name: str, value: Any) -> bool:
    """Whether a header of an error can be one of HTTP: it is text, and says nothing of how the answer is sent."""
    sent = name.startswith("content-") or name in ("connection", "transfer-encoding")
    return not sent and isinstance(value, str) and (name + value).isascii() and (name + value).isprintable()


def framed(frames: Iterable[bytes]) -> bytes:
    """Events as they are on an HTTP stream; lanes exist on the socket only."""
    parts: list[bytes] = []
    for frame in frames:
        data = frame
        if b'"stream_id"' in frame:
            members = _MEMBERS(frame)
            members.pop("stream_id", None)
            data = msgspec.json.encode(members)
        if b"\n" in data or b"\r" in data:
            data = msgspec.json.format(data, indent=-1)
        parts += (b"event: ", _HEAD(data).type.encode(), b"\ndata: ", data, b"\n\n")
    return b"".join(parts)
