"""What a connection and its client agree on beyond the protocol, once, before anything else is asked.

The client asks with a header of its upgrade or with its first message; it is answered with a welcome. Coming back to a
session is part of this: the connection leaves its new session for the old one, or is told why not and keeps the new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentwire.protocol.codec import decode_envelope
from agentwire.protocol.errors import RequestError
from agentwire.protocol.extensions import Granted, Permitted, grant, session_gap, welcome
from agentwire.protocol.hello import HELLO, Hello, Return, decode_hello
from agentwire.protocol.limits import Limits
from agentwire.runtime.replay import Seen
from agentwire.runtime.sessions import Sessions

if TYPE_CHECKING:
    from agentwire.runtime.connection import Connection

__all__ = ["Negotiation"]


class Negotiation:
    """The extensions of one connection.

    Args:
        permitted: what the server permits.
        sessions: where tokens lead.
        limits: bounds of a hello.
        asked: what the upgrade asked for.
    """

    def __init__(self, permitted: Permitted, sessions: Sessions, limits: Limits, asked: Hello | None = None) -> None:
        self._permitted = permitted
        self._sessions = sessions
        self._limits = limits
        self._asked = asked

    def begin(self, connection: Connection) -> None:
        """The connection is open; what the upgrade asked for is granted."""
        if self._asked is not None:
            self._start(connection, grant(self._permitted, self._asked))

    def take_first(self, connection: Connection, frame: bytes) -> bool:
        """The client's first message; False if it is not for us.

        Raises:
            ReserveExhausted: the client reads nothing.
        """
        if self._asked is not None or not _is_hello(frame, self._limits):
            return False
        try:
            hello = decode_hello(frame, self._limits)
        except RequestError as error:
            connection.notify(error.event())
            return True
        granted = grant(self._permitted, hello)
        if hello.session is None or not granted.sessions:
            self._start(connection, granted)
            return True
        try:
            self._resume(connection, granted, hello.session)
        except RequestError as error:
            connection.notify(error.event())
            self._start(connection, granted)
        return True

    def _start(self, connection: Connection, granted: Granted) -> None:
        self._sessions.grant(connection.session, granted)
        connection.notify(welcome(granted, token=connection.session.token))

    def _resume(self, connection: Connection, granted: Granted, back: Return) -> None:
        session = self._sessions.find(back.token, connection.session.principal)
        seen = {lane.stream_id: Seen(lane.response_id, lane.sequence_number) for lane in back.lanes}
        try:
            session.missed(seen, back.reply)
        except ValueError as error:
            raise session_gap(str(error)) from None
        session.grant(granted, back.token)
        connection.notify(welcome(granted, token=back.token, received=session.received, resumed=True))
        connection.move(session, seen, back.reply)


def _is_hello(frame: bytes, limits: Limits) -> bool:
    """Whether this is a hello; what cannot be read is answered like any other message."""
    if len(frame) > limits.interrupt_bytes or HELLO.encode() not in frame:
        return False
    try:
        return decode_envelope(frame, limits).type == HELLO
    except RequestError:
        return False
