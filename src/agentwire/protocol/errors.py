"""What can go wrong, as one small tree of exceptions.

An error says what happened, where (``param``) and under which code of the protocol; foreign exceptions become
one of these at the seam where they arise, and nowhere else.

    AgentwireError
    +-- LocalProtocolError       you used the library against the protocol's rules
    +-- RemoteProtocolError      the peer broke them
    +-- RequestError             a request cannot be served: what the peer is told, on every transport
    +-- EngineError              the engine could not answer
    +-- StoreError               a store cannot be opened, read or written
    +-- ConnectionEnded          the connection is over, and why
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

import attrs

__all__ = [
    "AgentwireError",
    "CloseFrame",
    "ConnectionEnded",
    "EngineError",
    "LocalProtocolError",
    "RemoteProtocolError",
    "RequestError",
    "StoreError",
]


class AgentwireError(Exception):
    """Base of everything that this library raises on purpose."""


class LocalProtocolError(AgentwireError):
    """The caller asked for something that the protocol does not allow."""


class RemoteProtocolError(AgentwireError):
    """The peer sent something that the protocol does not allow.

    Args:
        message: what it was.
        close_code: the WebSocket close code that says so.
    """

    def __init__(self, message: str, *, close_code: int = 1002) -> None:
        super().__init__(message)
        self.close_code = close_code


class RequestError(AgentwireError):
    """A request that cannot be served, as the peer is told.

    Args:
        status: HTTP status the failure has, on every transport.
        code: machine-readable code, never empty.
        message: what was wrong and what to do, for a person.
        param: the path of the offending field, such as ``input[2].call_id``.
        type: family of the error; derived from ``status`` if left out.
        headers: such as ``retry-after``; HTTP headers there, ``error.headers`` on the socket.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        type: str | None = None,  # noqa: A002 - the wire's own name
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.type = type or _family(status)
        self.headers = dict(headers or {})

    def __str__(self) -> str:
        where = f" (param {self.param})" if self.param else ""
        return f"{self.status} {self.code}: {self.message}{where}"

    def body(self) -> dict[str, Any]:
        """The object under ``error``, with all four keys present."""
        body: dict[str, Any] = {
            "type": self.type,
            "code": self.code,
            "message": self.message,
            "param": self.param,
        }
        if self.headers:
            body["headers"] = self.headers
        return body

    def event(self, *, sequence_number: int | None = None, stream_id: str | None = None) -> dict[str, Any]:
        """The ``error`` event (nested form, always with ``status``)."""
        event: dict[str, Any] = {"type": "error"}
        if sequence_number is not None:
            event["sequence_number"] = sequence_number
        event |= {"status": self.status, "error": self.body()}
        if self.headers:
            event["headers"] = self.headers
        if stream_id is not None:
            event["stream_id"] = stream_id
        return event

    @classmethod
    def invalid(cls, message: str, *, param: str | None = None, code: str = "invalid_value") -> Self:
        """A 400 for a field that is there but wrong."""
        return cls(400, code, message, param=param)


def _family(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    if status == 401:
        return "authentication_error"
    if status == 403:
        return "permission_error"
    return "server_error" if status >= 500 else "invalid_request_error"


_PASSING_STATUSES: Final = frozenset((408, 425, 429, 500, 502, 503, 504, 529))
_LASTING_CODES: Final = frozenset(
    (
        "insufficient_quota",
        "tool_choice_unsupported",
        "upstream_not_found",
        "upstream_protocol_error",
        "upstream_unauthorized",
        "usage_limit_reached",
    )
)
"""What has such a status, and yet does not pass by itself."""


class EngineError(AgentwireError):
    """An engine could not answer: the turn ends with ``error`` and ``response.failed``.

    Any other exception of an engine ends the turn the same way, but the client is only told ``server_error``:
    its text may hold secrets. Raise this one to say more.

    Args:
        message: what went wrong, for the client.
        code: machine-readable code.
        status: HTTP status the failure has, on every transport.
        param: the request's field that caused it, if one did.
        headers: such as ``retry-after``.
        may_have_run: what was asked may have had an effect that it must not have twice: nobody asks again by himself.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "server_error",
        status: int = 500,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        may_have_run: bool = False,
    ) -> None:
        super().__init__(message)
        self.may_have_run = may_have_run
        self.code = code
        self.status = status
        self.message = message
        self.param = param
        self.headers = dict(headers or {})

    @property
    def retryable(self) -> bool:
        """Whether the same request may well succeed in a moment, if nothing was written of this attempt."""
        passes = self.status in _PASSING_STATUSES and self.code not in _LASTING_CODES
        return passes and not self.may_have_run


class StoreError(AgentwireError):
    """A store cannot be opened, read or written: which one, and why."""


@attrs.frozen
class CloseFrame:
    """The code and reason of one close frame."""

    code: int
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.code} {self.reason}".rstrip()


class ConnectionEnded(AgentwireError):
    """The connection is over: what each side said when it closed, and what it broke on otherwise.

    Args:
        sent: the close frame that we sent, if any.
        received: the close frame that the peer sent, if any.
        cause: in words, where no frame says it ("no pong within 60 s", "reset by peer").
    """

    def __init__(self, *, sent: CloseFrame | None = None, received: CloseFrame | None = None, cause: str = "") -> None:
        self.sent = sent
        self.received = received
        self.cause = cause
        super().__init__(sent, received, cause)

    def __str__(self) -> str:
        told = [f"sent {self.sent}" if self.sent else "", f"received {self.received}" if self.received else ""]
        said = "; ".join(part for part in told if part) or "no close frame sent or received"
        return f"connection ended: {self.cause} ({said})" if self.cause else f"connection ended: {said}"
