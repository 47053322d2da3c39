"""What agentwire adds to the protocol, for clients that ask for it: sessions, cancelling a response, an announced end.

The rules, without I/O. A server announces what it permits, a client asks for some of it in a header or with its first
message, and is told what it has; everybody else never sees any of this.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import attrs

from agentwire.protocol.errors import RequestError
from agentwire.protocol.hello import (
    CANCEL_EXTENSION,
    CANCELLED,
    EXTENSIONS,
    GOAWAY,
    GOAWAY_EXTENSION,
    HELLO,
    NOT_RUNNING,
    SESSIONS,
    WELCOME,
    Hello,
    Reason,
)

__all__ = [
    "Granted",
    "Permitted",
    "cancelled",
    "goaway",
    "grant",
    "late_hello",
    "not_running",
    "session_gap",
    "session_not_found",
    "unknown_extension",
    "welcome",
]

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


def welcome(granted: Granted, *, token: str | None = None, received: int = 0, resumed: bool = False) -> dict[str, Any]:
    """The answer to a hello."""
    event: dict[str, Any] = {"type": WELCOME, "extensions": sorted(granted.names)}
    if token is not None:
        event["session"] = {"token": token, "within": granted.within, "received": received}
        event["resumed"] = resumed
    return event


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
    return RequestError(400, NOT_RUNNING, message, param="response_id")


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
