"""Where an event belongs: by its lane to the request that runs there, without ever waiting.

Pure: no I/O. What fits no request is counted and dropped where it can do no harm; a response that nobody asked for is
the server's fault and ends the connection, because everything after it would be guesswork. The successor of a steered
response is asked for by the steer, and belongs to the same request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec
import trio

from agentwire.link.exchange import Exchange
from agentwire.link.lanes import Lane, Lanes
from agentwire.link.outcome import Fate
from agentwire.link.outgoing import Sender
from agentwire.link.progress import Progress
from agentwire.link.steering import Steers
from agentwire.protocol.codec import decode_event
from agentwire.protocol.errors import RemoteProtocolError, RequestError
from agentwire.protocol.events import TERMINAL, ErrorEvent
from agentwire.protocol.hello import (
    GOAWAY,
    NOT_RUNNING,
    PREFIX,
    REPLY,
    WELCOME,
    Goaway,
    Welcome,
    decode_goaway,
    decode_welcome,
)
from agentwire.protocol.items import client_call, is_torn

__all__ = ["Switch"]

_log = logging.getLogger("agentwire.link")

_LIMIT_REACHED: Final = "websocket_connection_limit_reached"
_MAY_END_WELL: Final = frozenset(("response.completed", "response.incomplete", "response.done"))
_TERMINAL: Final = _MAY_END_WELL | {"response.failed", "response.cancelled"}
"""``response.done`` and ``response.cancelled`` are no words of the protocol; some say them, and nothing more."""
_ENDED_BADLY: Final = ("failed", "cancelled")
_OF_RESPONSES: Final = "response."
_STEER: Final = "response.steer."
_DONE: Final = b"[DONE]"
"""The last line of an event stream over HTTP, as some gateways hand it on."""


class _Response(msgspec.Struct):
    id: str | None = None
    previous_response_id: str | None = None
    status: Any = None


class _Head(msgspec.Struct):
    """What is read of an event when it arrives; its reader decodes the rest."""

    type: str
    stream_id: str | None = None
    sequence_number: int | float | None = None
    response: _Response | None = None
    error: Any = None
    code: Any = None
    reply: int | None = msgspec.field(default=None, name=REPLY)

    @property
    def error_code(self) -> str | None:
        """The code of an ``error`` event, of either shape."""
        code = self.error.get("code") if isinstance(self.error, dict) else self.code
        return code if isinstance(code, str) else None

    @property
    def refuses_type(self) -> bool:
        """Whether an ``error`` event says that the server does not know a message's type."""
        told = self.error if isinstance(self.error, dict) else {}
        about = told.get("param") == "type" or "response.steer" in str(told.get("message"))
        return about or self.error_code == "unknown_event_type"


_HEAD: Final = msgspec.json.Decoder(_Head)
_ANY: Final = msgspec.json.Decoder(dict[str, Any])


def _nothing() -> None:
    """Nobody wants to know."""


class Switch:
    """Gives each event to its request.

    Args:
        lanes: the connection's lanes; told when a request ends.
        probing: the first request over a lane is alone, so that its answer tells whether the server has any.
        progress: counts what comes in a session; None without one.
        arrived: told when a request, or a steer, is known to have arrived.

    Attributes:
        steers: those of which something may still be heard.
        retiring: the server's word that this connection is near its end, once it was given.
        welcome: what the server grants beyond the protocol, once it has said so.
        goaway: its word that the connection will end soon, the latest one.
        events: events that came in.
        keepalives: those among them that only said that a response still runs.
        unexpected: those that fitted no request.
        has_lanes: whether the server knows lanes; None as long as nothing has shown it.
        on_news: told when the server has said something about the connection.
    """

    def __init__(
        self,
        lanes: Lanes,
        *,
        probing: bool = False,
        progress: Progress | None = None,
        arrived: Callable[[Sender], None] | None = None,
    ) -> None:
        self.steers = Steers()
        self.retiring: RequestError | None = None
        self.welcome = Welcome()
        self.goaway: Goaway | None = None
        self.events = 0
        self.keepalives = 0
        self.unexpected = 0
        self.has_lanes: bool | None = None
        self.on_news: Callable[[], None] = _nothing
        self._lanes = lanes
        self._probing = probing
        self._progress = progress
        self._arrived = arrived

    def receive(self, frame: bytes) -> None:
        """Take one message of the server.

        Raises:
            RemoteProtocolError: it is no event, or an event that makes no sense; the connection is of no more use.
        """
        try:
            head = _HEAD.decode(frame)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            if frame.strip() == _DONE:
                return
            raise RemoteProtocolError(f"the server sent a message that is no event: {error}") from None
        self.events += 1
        if self._progress is not None and self._progress.token is not None:
            self._note(self._progress, head)
        if head.type == "keepalive":
            self.keepalives += 1
            self._keep_alive(head)
            return
        if head.type.startswith(PREFIX):
            self._extension(head.type, frame)
            return
        lane = self._lane(head)
        current = lane.current if lane is not None else None
        if head.type == "error":
            self._error(head, frame, current)
        elif head.type.startswith(_STEER):
            self._steer(head, frame, lane, current)
        elif lane is None or current is None or current.fate is Fate.NEVER_SENT:
            self._unexpected(head, lane)
        else:
            self._event(head, frame, lane, current)

    def _note(self, progress: Progress, head: _Head) -> None:
        number, shown = head.sequence_number, head.response
        whole = int(number) if number is not None else None
        progress.note(
            head.type, head.stream_id, whole, response_id=shown.id if shown is not None else None, reply=head.reply
        )

    def move(self) -> None:
        """The session goes on on another connection: what was said of the old one counts no more."""
        self.retiring = self.goaway = None

    def _lane(self, head: _Head) -> Lane | None:
        """The lane that an event names; of a server that names none, the lane of the only request."""
        if head.stream_id:
            if not self.has_lanes:
                self.has_lanes = True
                self.on_news()
        elif self._probing and not self.has_lanes and (only := self._only()) is not None:
            if self.has_lanes is None and head.type.startswith(_OF_RESPONSES):  # others name no lane in any case
                self.has_lanes = False
                self.on_news()
            return only
        return self._lanes.find(head.stream_id or None)  # an empty name is one left out

    def _only(self) -> Lane | None:
        running = [lane for lane in self._lanes if lane.current is not None]
        return running[0] if len(running) == 1 and running[0].name is not None else None

    def _keep_alive(self, head: _Head) -> None:
        lane = self._lane(head)
        if lane is not None and lane.current is not None:
            lane.current.heard = trio.current_time()

    def _extension(self, kind: str, frame: bytes) -> None:
        if kind == WELCOME:
            self.greet(decode_welcome(frame))
        elif kind == GOAWAY:
            self.goaway = decode_goaway(frame)
        self.on_news()

    def greet(self, welcome: Welcome) -> None:
        """What the client has on this connection."""
        self.welcome = welcome
        self.has_lanes = True

    def _event(self, head: _Head, frame: bytes, lane: Lane, current: Exchange) -> None:
        shown = head.response or _Response()
        if head.type in _TERMINAL:
            self._terminal(head.type, shown, frame, lane, current)
            return
        created, unnamed = head.type == "response.created", current.response_id is None
        if created and current.fate is Fate.STARTED and not unnamed:
            self._succeed(shown, current)
        elif head.type.startswith(_OF_RESPONSES) and (current.fate is not Fate.STARTED or (created and unnamed)):
            self._begin(current, shown)  # a second time where something came before its first event
        elif lane.source is not None and head.type != "response.created":
            self._lanes.begun(lane)
        current.deliver(frame)

    def _terminal(self, kind: str, shown: _Response, frame: bytes, lane: Lane, current: Exchange) -> None:
        begun = current.fate is Fate.STARTED
        another = not begun or current.response_id not in (None, shown.id)
        again = another or current.between_since is not None
        if again and shown.id is not None and shown.id == lane.ended:
            self.unexpected += 1  # the response before says once more that it has ended
            return
        if not begun:
            self._begin(current, shown)
        ended_well = kind in _MAY_END_WELL and shown.status not in _ENDED_BADLY
        lane.ended, lane.latest = shown.id or current.response_id, shown.id if ended_well else None
        lane.turns += 1
        if ended_well and self.steers.follow(current.response_id) and not _owes(frame):
            current.wait_for_successor(frame)
        else:
            self._finish(current, frame)

    def _begin(self, current: Exchange, shown: _Response) -> None:
        current.begin(shown.id)
        self.steers.begin(shown.previous_response_id, shown.id)
        if self._arrived is not None:
            self._arrived(current)

    def _succeed(self, shown: _Response, current: Exchange) -> None:
        """A response that nobody sent a request for: what was steered has a successor."""
        parent, named = current.response_id, shown.previous_response_id
        if current.between_since is None or (named is not None and named != parent):
            raise RemoteProtocolError("the server began a second response for one request")
        self.steers.begin(parent, shown.id)
        current.succeed(shown.id)

    def _steer(self, head: _Head, frame: bytes, lane: Lane | None, current: Exchange | None) -> None:
        """Something about a steer: for whoever sent it, and among the events of the response that it was sent to."""
        event = _ANY.decode(frame)
        steer = self.steers.tell(head.type, event)
        if steer is not None and self._arrived is not None:
            self._arrived(steer)
        about = event.get("steer")
        parent = about.get("previous_response_id") if isinstance(about, dict) else None
        if current is None or current.fate is not Fate.STARTED or parent not in (None, "", current.response_id):
            if steer is None:
                self._unexpected(head, lane)
            return
        current.deliver(frame)
        if current.between_since is not None and not self.steers.follow(current.response_id):
            self._finish(current)

    def _error(self, head: _Head, frame: bytes, current: Exchange | None) -> None:
        """An error answers a request that has not begun, or breaks a response that has.

        The notice that the connection is near its end names no lane and concerns no running response.
        """
        if head.error_code == NOT_RUNNING:
            return  # it had ended before it could be cancelled
        notice = head.error_code == _LIMIT_REACHED and not head.stream_id
        if self.steers and not notice and self._refuses_steer(head, current):
            return
        if notice:
            event = decode_event(frame)
            assert isinstance(event, ErrorEvent)
            self.retiring = event.to_error()
            self.on_news()
        if current is None and not head.stream_id and not notice:
            current = self._unanswered(head)  # what a server cannot read, it answers without knowing the lane
        if current is not None and current.fate is Fate.UNKNOWN:
            if self._arrived is not None:
                self._arrived(current)
            self._finish(current, frame)
        elif current is not None and current.fate is Fate.STARTED and not notice:
            current.fail_soon(frame)
        elif not notice:
            self.unexpected += 1
            _log.warning("the server sent an error that answers no request: %.500s", frame.decode(errors="replace"))

    def _unanswered(self, head: _Head) -> Exchange | None:
        """The only request that has left and of which nothing was heard; None if there are none, or several.

        What has a number may be part of a response that runs, and answers nobody else then.
        """
        running = [lane.current for lane in self._lanes if lane.current and lane.current.fate is not Fate.NEVER_SENT]
        waiting = [exchange for exchange in running if exchange.fate is Fate.UNKNOWN]
        others = head.sequence_number is not None and len(running) > len(waiting)
        return waiting[0] if len(waiting) == 1 and not others else None

    def _refuses_steer(self, head: _Head, current: Exchange | None) -> bool:
        """Whether an error is the answer to a steer, of a server that knows none, and refuse it then.

        An error without a lane and a number that no request waits for is no part of a response.
        """
        waited_for = current is not None and current.fate is Fate.UNKNOWN
        loose = not head.stream_id and head.sequence_number is None and not waited_for
        if not (loose or head.refuses_type):
            return False
        told = head.error if isinstance(head.error, dict) else {}
        return self.steers.refuse(str(told.get("message") or head.error_code or ""))

    def _unexpected(self, head: _Head, lane: Lane | None) -> None:
        self.unexpected += 1
        if head.type != "response.created":
            _log.debug("an event of type %s fits no request", head.type)
            return
        if not self.has_lanes and any(other.current for other in self._lanes if other.name is not None):
            raise RemoteProtocolError(
                "the server answers without the name of the lane: it has no lanes, so send it one request at a time"
            )
        raise RemoteProtocolError("the server began a response that nobody asked for")

    def expire(self, before: float) -> None:
        """Give up what said before this time (Trio's) that it broke or ended, and then nothing more."""
        for lane in self._lanes:
            current = lane.current
            if current is None:
                continue
            if current.failing_since is not None and current.failing_since <= before:
                lane.ended = current.response_id
                lane.latest = None
                self._finish(current)
            elif current.between_since is not None and current.between_since <= before:
                self._pass_over(current)

    def _pass_over(self, current: Exchange) -> None:
        """The server has not said a word of the steer: it will have no successor."""
        if not self.steers.promised(current.response_id):
            self._finish(current)

    def _finish(self, exchange: Exchange, frame: bytes | None = None) -> None:
        exchange.finish(frame)
        self._lanes.settle(exchange.lane)


def _owes(frame: bytes) -> bool:
    """Whether a response ends with calls that the client must answer before anything follows it.

    Not those that a limit has torn, for nobody can.
    """
    try:
        event = decode_event(frame)
    except RemoteProtocolError:
        return False  # its reader says so
    output = event.response.output if isinstance(event, TERMINAL) else ()
    return any(client_call(item) is not None and not is_torn(item) for item in output)
