"""What agentwire adds to the protocol, for clients that ask for it: sessions, cancelling a response, an announced end.

Rules and shapes without I/O. A server announces what it permits, a client asks for some of it in a header or with its
first message, and is told what it has; everybody else never sees any of this.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar, Final, Literal

import attrs

from agentwire.protocol.checks import EMPTY, Misfit, between, checked, length
from agentwire.protocol.codec import decode_object
from agentwire.protocol.errors import RemoteProtocolError, RequestError
from agentwire.protocol.limits import Limits
from agentwire.protocol.parsing import ANY, parse_json, strictly
from agentwire.protocol.reading import request_reader, served_reader
from agentwire.protocol.settings import check_stream_id
from agentwire.protocol.writing import encode_json

__all__ = [
    "CANCEL",
    "CANCELLED",
    "EXTENSIONS",
    "GOAWAY",
    "HEADER",
    "HELLO",
    "REPLY",
    "SESSION_HEADER",
    "WELCOME",
    "Granted",
    "Hello",
    "Permitted",
    "Position",
    "Reason",
    "Return",
    "SessionGrant",
    "Welcome",
    "cancelled",
    "decode_hello",
    "decode_welcome",
    "encode_cancel",
    "encode_hello",
    "goaway",
    "grant",
    "late_hello",
    "not_running",
    "read_header",
    "session_gap",
    "session_not_found",
    "unknown_extension",
    "welcome",
]

GOAWAY_EXTENSION: Final = "goaway"
CANCEL_EXTENSION: Final = "response.cancel"
SESSIONS: Final = "sessions"
EXTENSIONS: Final = (GOAWAY_EXTENSION, CANCEL_EXTENSION, SESSIONS)
"""The names of all extensions."""

HEADER: Final = "agentwire-extensions"
"""The header, of request and answer, that names extensions."""
SESSION_HEADER: Final = "agentwire-session"
"""The header of an HTTP request that holds the token of a session."""

PREFIX: Final = "agentwire:"
HELLO: Final = "agentwire:hello"
WELCOME: Final = "agentwire:welcome"
CANCEL: Final = "agentwire:response.cancel"
GOAWAY: Final = "agentwire:goaway"
CANCELLED: Final = "agentwire:cancelled"
"""The code of a response that its client has cancelled."""
REPLY: Final = "agentwire:reply"
"""The member that numbers, within a session, the answers that belong to no response."""

MOST_NAMES: Final = 64
LONGEST_TOKEN: Final = 256

Reason = Literal["connection_limit", "drain"]


def _positive(value: float) -> None:
    if not value > 0:
        raise Misfit("invalid_value", f"it must be greater than 0, and is {value:g}")


# What a client says


@attrs.frozen(kw_only=True)
class Position:
    """How far a client got in one lane.

    Attributes:
        stream_id: the lane; None is the default lane.
        response_id: the latest response of which it has an event.
        sequence_number: of the last event that it has of it.
    """

    stream_id: str | None = attrs.field(default=None, metadata=checked(check_stream_id))
    response_id: str = attrs.field(metadata=checked(length(1, 512)))
    sequence_number: int = attrs.field(metadata=checked(between(0)))
    extra: Mapping[str, Any] = EMPTY


@attrs.frozen(kw_only=True)
class Return:
    """The session that a client comes back to.

    Attributes:
        token: of the session.
        reply: the highest ``agentwire:reply`` that it has received; 0 for none.
        lanes: how far it got in each lane; a lane that is left out is one of which it has nothing.
    """

    token: str = attrs.field(metadata=checked(length(1, LONGEST_TOKEN)))
    reply: int = attrs.field(default=0, metadata=checked(between(0)))
    lanes: tuple[Position, ...] = ()
    extra: Mapping[str, Any] = EMPTY


@attrs.frozen(kw_only=True)
class Hello:
    """What a client asks of a connection.

    Attributes:
        extensions: by name; those that the server does not have are passed over.
        within: seconds for which a session shall wait to be resumed; None for as long as the server permits.
        session: the session to come back to; None for a new one.
    """

    type: ClassVar[str] = HELLO
    extensions: tuple[str, ...] = attrs.field(metadata=checked(length(0, MOST_NAMES)))
    within: float | None = attrs.field(default=None, metadata=checked(_positive))
    session: Return | None = None
    extra: Mapping[str, Any] = EMPTY


_HELLO: Final = request_reader(Hello)


def decode_hello(frame: bytes, limits: Limits) -> Hello:
    """Read an ``agentwire:hello``.

    Raises:
        RequestError: 400 that names the offending ``param``.
    """
    if len(frame) > limits.interrupt_bytes:
        raise RequestError(400, "request_too_complex", f"A hello may have at most {limits.interrupt_bytes} bytes.")
    hello: Hello = strictly(_HELLO, decode_object(frame, limits))
    if hello.session is None:
        return hello
    if SESSIONS not in hello.extensions:
        raise RequestError.invalid(f"'session' is of the extension '{SESSIONS}': ask for it.", param="extensions")
    lanes = hello.session.lanes
    if len(lanes) > limits.lanes + 1:
        raise RequestError.invalid(f"There are at most {limits.lanes + 1} lanes.", param="session.lanes")
    named: set[str | None] = set()
    for index, position in enumerate(lanes):
        if position.stream_id in named:
            raise RequestError.invalid("This lane was named before.", param=f"session.lanes[{index}].stream_id")
        named.add(position.stream_id)
    return hello


def encode_hello(hello: Hello) -> bytes:
    """The message."""
    message: dict[str, Any] = {"type": HELLO, "extensions": list(hello.extensions)}
    if hello.within is not None:
        message["within"] = hello.within
    if hello.session is not None:
        lanes = [_sparse(position) for position in hello.session.lanes]
        message["session"] = {"token": hello.session.token, "reply": hello.session.reply, "lanes": lanes}
    return encode_json(message)


def _sparse(position: Position) -> dict[str, Any]:
    members = {"response_id": position.response_id, "sequence_number": position.sequence_number}
    return members if position.stream_id is None else {"stream_id": position.stream_id, **members}


def encode_cancel(response_id: str) -> bytes:
    """The message that cancels a response."""
    return encode_json({"type": CANCEL, "response_id": response_id})


def read_header(values: Collection[str]) -> Hello | None:
    """What the header of a request asks for, such as ``response.cancel, sessions; within=30``; None if nothing.

    Raises:
        RequestError: 400, it cannot be read.
    """
    names: list[str] = []
    within = None
    for element in filter(None, (part.strip() for value in values for part in value.split(","))):
        name, *parameters = (part.strip() for part in element.split(";"))
        names.append(name)
        for key, equals, text in (parameter.partition("=") for parameter in parameters):
            if name == SESSIONS and key.strip() == "within":
                within = _seconds(text.strip() if equals else "")
    if len(names) > MOST_NAMES:
        raise RequestError.invalid(f"There are at most {MOST_NAMES} extensions.", param=HEADER)
    return Hello(extensions=tuple(names), within=within) if names else None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise RequestError.invalid("'within' must be a number of seconds greater than 0.", param=HEADER)
    return seconds


# What a server permits, and grants


@attrs.frozen
class Permitted:
    """What a server permits.

    Attributes:
        names: of the extensions.
        within: most seconds for which a session waits to be resumed.
    """

    names: frozenset[str] = frozenset()
    within: float = 0

    @classmethod
    def of(cls, names: Iterable[str], within: float) -> Permitted:
        """From a server's settings; a ``within`` of 0 switches sessions off.

        Raises:
            ValueError: there is no such extension, or ``within`` is no time.
        """
        chosen = frozenset(names)
        unknown = chosen.difference(EXTENSIONS)
        if unknown:
            raise ValueError(f"there is no extension {min(unknown)!r}; there are {', '.join(EXTENSIONS)}")
        if not 0 <= within < math.inf:
            raise ValueError(f"the time for resuming a session must be 0 or more seconds, not {within!r}")
        if not within:
            chosen -= {SESSIONS}
        return cls(chosen, within if SESSIONS in chosen else 0)

    @property
    def header(self) -> str:
        """What the answer to an upgrade announces; empty if there is nothing."""
        return ", ".join(f"{name}; within={self.within:g}" if name == SESSIONS else name for name in sorted(self.names))


@attrs.frozen
class Granted:
    """What one connection has.

    Attributes:
        names: of the extensions.
        within: seconds for which its session waits to be resumed; 0 without sessions.
    """

    names: frozenset[str] = frozenset()
    within: float = 0

    @property
    def cancel(self) -> bool:
        """Whether responses may be cancelled."""
        return CANCEL_EXTENSION in self.names

    @property
    def goaway(self) -> bool:
        """Whether the end of the connection is announced."""
        return GOAWAY_EXTENSION in self.names

    @property
    def sessions(self) -> bool:
        """Whether the session can be resumed."""
        return SESSIONS in self.names


def grant(permitted: Permitted, hello: Hello) -> Granted:
    """What a client gets of what it asks for."""
    names = permitted.names.intersection(hello.extensions)
    if SESSIONS not in names:
        return Granted(names)
    return Granted(names, permitted.within if hello.within is None else min(hello.within, permitted.within))


# What a server says


@attrs.frozen(kw_only=True)
class SessionGrant:
    """The session of a connection, as its client is told.

    Attributes:
        token: what resumes it.
        within: seconds from the loss of the connection within which it can be resumed.
        received: messages of the client that the session has taken so far, without hellos: what was sent after these
            did not arrive.
    """

    token: str
    within: float
    received: int = 0
    extra: Mapping[str, Any] = EMPTY


@attrs.frozen(kw_only=True)
class Welcome:
    """What a client has on this connection.

    Attributes:
        extensions: those that it asked for and may use.
        session: the session, if it asked for one.
        resumed: whether that is the one that it came back to; what it missed follows.
    """

    type: ClassVar[str] = WELCOME
    extensions: tuple[str, ...] = ()
    session: SessionGrant | None = None
    resumed: bool = False
    extra: Mapping[str, Any] = EMPTY


_WELCOME: Final = served_reader(Welcome)


def welcome(granted: Granted, *, token: str | None = None, received: int = 0, resumed: bool = False) -> dict[str, Any]:
    """The answer to a hello."""
    event: dict[str, Any] = {"type": WELCOME, "extensions": sorted(granted.names)}
    if token is not None:
        event["session"] = {"token": token, "within": granted.within, "received": received}
        event["resumed"] = resumed
    return event


def decode_welcome(frame: bytes | str) -> Welcome:
    """Read an ``agentwire:welcome``, tolerantly.

    Raises:
        RemoteProtocolError: it is none.
    """
    try:
        value = parse_json(ANY, frame)
        if not isinstance(value, dict) or value.get("type") != WELCOME:
            raise RemoteProtocolError(f"the server sent something else than {WELCOME}")
        decoded: Welcome = _WELCOME(value)
    except (RequestError, Misfit) as error:
        raise RemoteProtocolError(f"the server's welcome cannot be read: {error}") from None
    return decoded


def goaway(reason: Reason, seconds: float) -> dict[str, Any]:
    """The event that announces the connection's end, with the time that is left."""
    return {"type": GOAWAY, "reason": reason, "seconds": max(0, round(seconds, 1))}


# Errors


def cancelled() -> RequestError:
    """How a response ends that its client has cancelled."""
    return RequestError(400, CANCELLED, "The client has cancelled this response.", type="cancelled")


def not_running(response_id: str | None) -> RequestError:
    """A response cannot be cancelled."""
    if response_id is None:
        message = "Name the response to cancel in 'response_id'."
        return RequestError(400, "missing_required_parameter", message, param="response_id")
    message = f"No response {response_id!r} is running here."
    return RequestError(400, "agentwire:response_not_running", message, param="response_id")


def late_hello() -> RequestError:
    """A hello that is not the first thing that a client asks."""
    message = "A hello must be the first message of its connection, and the only one that asks for extensions."
    return RequestError(400, "agentwire:hello_too_late", message, param="type")


def unknown_extension(kind: str) -> RequestError:
    """An event of an extension that this connection does not have."""
    message = f"Unknown event type {kind!r}; extensions are for connections that ask for them with {HELLO}."
    return RequestError(400, "unknown_event_type", message, param="type")


def session_not_found() -> RequestError:
    """There is no such session for whoever asks."""
    message = "No session has this token here: it has ended, was not resumed in time, or is somebody else's."
    return RequestError(400, "agentwire:session_not_found", message, param="session.token")


def session_gap(missing: str) -> RequestError:
    """A session that is there cannot go on from where its client is."""
    message = f"This session cannot be resumed from there: {missing}."
    return RequestError(400, "agentwire:session_gap", message, param="session.lanes")
