"""What a client and a server say to each other beyond the protocol: the messages of the extensions, and their names.

Read with bounds, strictly where a client speaks and tolerantly where a server does, like everything else.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Final, Literal

import attrs

from agentwire.protocol.checks import EMPTY, Misfit, between, checked, length
from agentwire.protocol.codec import decode_object
from agentwire.protocol.errors import RemoteProtocolError, RequestError
from agentwire.protocol.limits import Limits
from agentwire.protocol.parsing import ANY, parse_json, strictly
from agentwire.protocol.reading import Reader, request_reader, served_reader
from agentwire.protocol.settings import check_stream_id
from agentwire.protocol.writing import encode_json

__all__ = [
    "CANCEL",
    "CANCELLED",
    "CANCEL_EXTENSION",
    "EXTENSIONS",
    "GOAWAY",
    "GOAWAY_EXTENSION",
    "HEADER",
    "HELLO",
    "NOT_RUNNING",
    "PREFIX",
    "REPLY",
    "SESSIONS",
    "SESSION_HEADER",
    "WELCOME",
    "Goaway",
    "Hello",
    "Position",
    "Reason",
    "Return",
    "SessionGrant",
    "Welcome",
    "decode_goaway",
    "decode_hello",
    "decode_welcome",
    "encode_cancel",
    "encode_hello",
    "read_header",
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
NOT_RUNNING: Final = "agentwire:response_not_running"
"""The code of an error: the response that was to be cancelled is not running."""
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


@attrs.frozen(kw_only=True)
class Goaway:
    """The connection will end soon: finish, then move.

    Attributes:
        reason: ``connection_limit``, ``drain``, or what a later server may say.
        seconds: time that is left.
    """

    type: ClassVar[str] = GOAWAY
    reason: str = ""
    seconds: float = 0
    extra: Mapping[str, Any] = EMPTY


_WELCOME: Final = served_reader(Welcome)
_GOAWAY: Final = served_reader(Goaway)


def decode_welcome(frame: bytes | str) -> Welcome:
    """Read an ``agentwire:welcome``, tolerantly.

    Raises:
        RemoteProtocolError: it is none.
    """
    decoded: Welcome = _served(_WELCOME, frame, WELCOME)
    return decoded


def decode_goaway(frame: bytes | str) -> Goaway:
    """Read an ``agentwire:goaway``, tolerantly.

    Raises:
        RemoteProtocolError: it is none.
    """
    decoded: Goaway = _served(_GOAWAY, frame, GOAWAY)
    return decoded


def _served(read: Reader, frame: bytes | str, kind: str) -> Any:
    try:
        value = parse_json(ANY, frame)
        if not isinstance(value, dict) or value.get("type") != kind:
            raise RemoteProtocolError(f"the server sent something else than {kind}")
        return read(value)
    except (RequestError, Misfit) as error:
        raise RemoteProtocolError(f"the server's {kind} cannot be read: {error}") from None
