"""How far a client got in its session, on whatever connections: what it has, and what of its own messages arrived.

Pure: no I/O. A client that counts like this has every event once and has asked everything once, wherever it was cut.
"""

from __future__ import annotations

from typing import Final

import attrs
import msgspec

from agentwire.protocol.errors import LocalProtocolError, RemoteProtocolError
from agentwire.protocol.hello import EXTENSIONS, Hello, Position, Return, Welcome

__all__ = ["Progress"]


class _Response(msgspec.Struct):
    id: str


class _Head(msgspec.Struct):
    type: str
    stream_id: str | None = None
    sequence_number: int | None = None
    response: _Response | None = None
    reply: int | None = msgspec.field(default=None, name="agentwire:reply")


_HEAD: Final = msgspec.json.Decoder(_Head)


@attrs.define(eq=False)
class Progress:
    """One session, as its client knows it.

    Attributes:
        extensions: what is asked for on each connection.
        within: seconds for which the session shall wait; None for as long as the server permits.
        token: of the session, once there is one.
        sent: messages of the client so far, without hellos.
        reply: the highest number of an answer that belongs to no response.
        lanes: how far each lane got.
    """

    extensions: tuple[str, ...] = EXTENSIONS
    within: float | None = None
    token: str | None = None
    sent: int = 0
    reply: int = 0
    lanes: dict[str | None, Position] = attrs.field(factory=dict)

    def hello(self) -> Hello:
        """The first message of the next connection."""
        back = None
        if self.token is not None:
            back = Return(token=self.token, reply=self.reply, lanes=tuple(self.lanes.values()))
        return Hello(extensions=self.extensions, within=self.within, session=back)

    def welcome(self, welcome: Welcome) -> int:
        """The answer to the hello; returns how many of the messages sent so far are to be sent again, the latest ones.

        Raises:
            LocalProtocolError: the session is a new one, and the old one had something in it: that is lost.
            RemoteProtocolError: the server has taken more than was sent.
        """
        lost = self.token is not None and not welcome.resumed and (self.sent or self.lanes)
        self.token = welcome.session.token if welcome.session is not None else None
        if lost:
            raise LocalProtocolError("the session that was there could not be resumed")
        received = welcome.session.received if welcome.session is not None else 0
        if received > self.sent:
            raise RemoteProtocolError(f"the server has taken {received} messages, and {self.sent} were sent")
        missing, self.sent = self.sent - received, received
        return missing

    def say(self) -> None:
        """A message is handed to the connection."""
        self.sent += 1

    def take(self, frame: bytes | str) -> None:
        """An event has arrived.

        Raises:
            RemoteProtocolError: it is none, or not the one that comes next on its lane.
        """
        try:
            head = _HEAD.decode(frame)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise RemoteProtocolError(f"the server sent a message that is no event: {error}") from None
        response_id = head.response.id if head.response is not None else None
        self.note(head.type, head.stream_id, head.sequence_number, response_id=response_id, reply=head.reply)

    def note(
        self,
        kind: str,
        stream_id: str | None,
        number: int | None,
        *,
        response_id: str | None = None,
        reply: int | None = None,
    ) -> None:
        """An event has arrived, of which this is known; raises as `take` does.

        Args:
            kind: its type.
            stream_id: its lane.
            number: its ``sequence_number``.
            response_id: of the response that it shows.
            reply: its number among the answers that belong to no response.
        """
        if reply is not None:
            self._take_reply(reply)
        elif number is not None:
            self._take_event(kind, stream_id, number, response_id)

    def _take_reply(self, number: int) -> None:
        if number != self.reply + 1:
            raise RemoteProtocolError(f"the server sent reply {number} where {self.reply + 1} comes next")
        self.reply = number

    def _take_event(self, kind: str, stream_id: str | None, number: int, begun: str | None) -> None:
        at = self.lanes.get(stream_id)
        if kind == "response.created" and begun is not None:
            response_id, expected = begun, 0
        elif at is not None:
            response_id, expected = at.response_id, at.sequence_number + 1
        else:
            return  # about the connection, not about a response
        if number != expected:
            if kind == "error":
                return
            raise RemoteProtocolError(f"the server sent event {number} of {response_id} where {expected} comes next")
        self.lanes[stream_id] = Position(stream_id=stream_id, response_id=response_id, sequence_number=number)
