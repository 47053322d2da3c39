"""A session that is served over a wire: what its client says is taken, what its turns say is sent.

Whichever wire it has at the moment, it is the same session. When that one is lost, its policy decides: everything is
cancelled at once, or goes on until somebody resumes it in time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import trio

from agentwire.protocol import extensions
from agentwire.protocol.codec import decode_envelope, encode_json
from agentwire.protocol.desk import Say, Ticket
from agentwire.protocol.errors import ConnectionEnded, RequestError
from agentwire.protocol.extensions import Granted
from agentwire.protocol.hello import CANCEL, HELLO, PREFIX, REPLY
from agentwire.protocol.request import Envelope
from agentwire.runtime.contracts import Wire
from agentwire.runtime.onlooker import Onlooker
from agentwire.runtime.outbox import Outbox, ReserveExhausted
from agentwire.runtime.policies import Cancel, Policy, Resume
from agentwire.runtime.replay import Reading, Replay, Seen
from agentwire.runtime.replies import Replies
from agentwire.runtime.service import Service
from agentwire.runtime.session import Session, lane_ending
from agentwire.runtime.telling import event_parts
from agentwire.runtime.turn import Turn
from agentwire.runtime.window import Window

__all__ = ["WireSession"]

log = logging.getLogger("agentwire.session")


class WireSession(Session):
    """One client's turns, and the wire that it has now.

    It ends by `cancel`, or by `detach` under its policy.

    Args:
        service: what all sessions share.
        principal: who the client is.
        policy: what a lost wire does.

    Attributes:
        granted: the extensions that its client has.
        token: what resumes it, if its client asked for that; then answers that belong to no response are numbered, and
            kept to be sent again, too.
        received: messages of the client that were taken.
        detached_since: Trio's time since when it has been without a wire; None while it has one.
        on_detached: told when it begins to wait for its client.
        in_background: makes the turn of a request that is to run without its wire; None if there can be none.
    """

    def __init__(self, service: Service, *, principal: str, policy: Policy | None = None) -> None:
        super().__init__(service, principal=principal, transport="websocket")
        self.policy = policy or Cancel()
        self.outbox = Outbox(service.limits)
        self.granted = Granted()
        self.token: str | None = None
        self.received = 0
        self.detached_since: float | None = None
        self.on_detached: Callable[[WireSession], None] | None = None
        self.in_background: Callable[..., Turn] | None = None
        self._wire: Wire | None = None
        self._attached = False
        self._replies = Replies(service.limits)
        self._replay = Replay(service.limits.replay_bytes, self._replies)
        self._expiry: trio.CancelScope | None = None

    # Its wire

    def grant(self, granted: Granted, token: str | None = None) -> None:
        """What its client has from now on; before its first turn, or when it is resumed."""
        self.granted = granted
        self.token = token
        if granted.sessions:
            self.policy = Resume(granted.within)

    @property
    def wire(self) -> Wire | None:
        """The connection it has now."""
        return self._wire

    def attach(
        self,
        wire: Wire,
        seen: Mapping[str | None, Seen] | None = None,
        *,
        reply: int = 0,
        outbox: Outbox | None = None,
    ) -> Outbox:
        """This connection takes what the session has to say; if another one does, that one is cut off.

        Args:
            wire: the new connection.
            seen: how far the client got, by lane; what follows there is sent again. A lane that is left out is sent
                again from the start of what is kept of it.
            reply: the highest number of an answer that belongs to no response that the client has: later ones are sent
                again. A session without a token does not number them, and sends only those again that refused a request
                whose turn had begun.
            outbox: one that the wire's writer reads already; a new one if left out.

        Returns:
            What the wire's writer is to send.

        Raises:
            ValueError: what follows ``seen`` is not kept any more; nothing has changed.
            ConnectionEnded: the session is over.
        """
        if self._attached:
            self._resume(self.missed(seen or {}, reply), outbox or Outbox(self._service.limits))
        elif self.ended is not None:
            raise self._is_over()
        self._attached = True
        self._wire = wire
        self.detached_since = None
        self.outbox.connect(wire)
        return self.outbox

    def missed(self, seen: Mapping[str | None, Seen], reply: int = 0) -> list[Reading]:
        """What a client that got so far is to be sent again; raises what `attach` does."""
        if self.ended is not None:
            raise self._is_over()
        return self._replay.after(seen, reply)

    def _is_over(self) -> ConnectionEnded:
        return ConnectionEnded(cause=f"the session is over: {self.ended}")

    def _resume(self, reading: Sequence[Reading], outbox: Outbox) -> None:
        if self._expiry is not None:
            self._expiry.cancel(reason="the session was resumed")
            self._expiry = None
        elif self._wire is not None and self._nursery is not None:
            self.outbox.disconnect()
            self._nursery.start_soon(self._wire.abort, "the session goes on on another connection")
        self.outbox = outbox
        again: list[Window] = []
        for read in reading:
            window = read.window
            window.rewind(read.number, outbox.ready)
            if window.pending:
                again.append(window)
        outbox.again(window for window in again if window.closed)
        for window in again:
            if not window.closed:
                outbox.ready(window)

    def leave(self, reason: str) -> None:
        """Its connection and its outbox go on with another session; this one, in which nothing runs, ends."""
        self._wire = None
        self.outbox = Outbox(self._service.limits)
        self.cancel(reason)

    def detach(self, wire: Wire, reason: str, *, goodbye: bool = False) -> None:
        """This connection is gone; what happens now is the policy's. Nothing, if another one has taken over.

        Args:
            wire: the connection.
            reason: why.
            goodbye: its client said that it was done; that ends a session that it could have resumed.
        """
        if wire is not self._wire:
            return
        self._wire = None
        self.outbox.disconnect()
        ends = goodbye and self.granted.sessions
        if isinstance(self.policy, Resume) and not ends and self._nursery is not None and self.ended is None:
            log.info("session %s: %s; it may be resumed within %g s", self.id, reason, self.policy.within)
            self._expiry = trio.CancelScope()
            self._nursery.start_soon(self._expire, self._expiry, self.policy.within, reason)
            self.detached_since = trio.current_time()
            for turn in self.turns.values():
                turn.window.stir()
            if self.on_detached is not None:
                self.on_detached(self)
        else:
            self.cancel(reason)

    async def _expire(self, scope: trio.CancelScope, within: float, reason: str) -> None:
        with scope:
            await trio.sleep(within)
            self.cancel(f"not resumed within {within:g} s ({reason})")

    # What the client says

    def receive(self, frame: bytes) -> None:
        """Take one message of the client. Never waits: what cannot be taken is answered.

        Raises:
            RemoteProtocolError: the message is not even text; the connection must be closed with its code.
            ReserveExhausted: the client has asked for more answers than it reads; cut it off.
        """
        if self.ended is not None:
            return
        self.received += 1
        stream_id = None
        try:
            envelope = decode_envelope(frame, self._service.limits)
            stream_id = envelope.stream_id
            if envelope.type.startswith(PREFIX):
                self._extension(envelope)
                return
            answer = self.desk.submit(envelope, frame)
        except RequestError as error:
            lane = None if error.code == "invalid_stream_id" else stream_id
            answer = Say(error.event(sequence_number=0), lane)
        if isinstance(answer, Say):
            self.say(answer)
            if answer.interrupts and answer.ticket is not None:
                self.turns[answer.ticket].make_way()
        elif answer is not None:
            self._start_ready()

    def _extension(self, envelope: Envelope) -> None:
        if envelope.type == HELLO:
            raise extensions.late_hello()
        if envelope.type != CANCEL or not self.granted.cancel:
            raise extensions.unknown_extension(envelope.type)
        ticket = self.desk.running(envelope.response_id)
        turn = self.turns.get(ticket) if ticket is not None else None
        if turn is None or not turn.cancel(extensions.cancelled()):
            raise extensions.not_running(envelope.response_id)

    def say(self, answer: Say) -> None:
        """Say something at once: about a running turn in that turn's own order, anything else beside them all.

        Raises:
            ReserveExhausted: the client has asked for more answers than it reads; cut it off.
        """
        turn = self.turns.get(answer.ticket) if answer.ticket is not None else self._on_its_way(answer.event)
        if turn is None or not turn.makes:
            self._reply(answer)
            return
        waiting, limits = turn.window.statistics().waiting_bytes, self._service.limits
        if waiting > limits.window_bytes + limits.reply_bytes:
            raise ReserveExhausted(f"{waiting} bytes of a turn wait for a peer that asks for more of them")
        members = {name: value for name, value in answer.event.items() if name != "sequence_number"}
        turn.window.put_nowait(*event_parts(members.pop("type"), members))

    def _on_its_way(self, event: Mapping[str, Any]) -> Turn | None:
        """The turn of a response that has ended, while its last events wait to be read: nothing overtakes them."""
        wanted = event.get("steer", {}).get("previous_response_id") or event.get("response_id")
        for turn in self.turns.values():
            if wanted is not None and turn.ticket.response_id == wanted:
                return turn if turn.window.statistics().waiting_bytes or not turn.window.closed else None
        return None

    def _reply(self, answer: Say) -> None:
        if self.token is not None:
            self._replies.say(answer.event, lane_ending(answer.stream_id), self.outbox.ready)
        else:
            self.outbox.reply(encode_json(answer.event)[:-1] + lane_ending(answer.stream_id))

    def notify(self, event: Mapping[str, Any]) -> None:
        """Say something about the connection, which is nobody's business after its end.

        Raises:
            ReserveExhausted: the client reads nothing.
        """
        self.outbox.reply(encode_json(event))

    # Its turns

    def open_turn(self, ticket: Ticket, make: Callable[..., Turn] = Turn) -> Turn:
        """The turn of a request that may run now; it may only tell of one that is made in the background."""
        if ticket.envelope.background and self.granted.sessions and self.in_background is not None:
            make = self.in_background
        if self.token is not None:
            make = partial(make, mark=partial(self._mark, ticket))
        return super().open_turn(ticket, make)

    def _mark(self, ticket: Ticket) -> Mapping[str, int]:
        return {REPLY: self._replay.refuse(ticket)}

    def _open_window(self, ticket: Ticket) -> Window:
        limits, lane = self._service.limits, ticket.lane.name
        keep = limits.replay_bytes if isinstance(self.policy, Resume) else 0
        window = Window(
            limit=limits.window_bytes,
            ready=self.outbox.ready,
            offer=self.outbox.offer,
            ending=lane_ending(lane),
            keep=keep,
        )
        if keep:
            self._replay.add(ticket, window)
        return window

    def _close_window(self, window: Window) -> None:
        super()._close_window(window)
        self.outbox.hurry()

    def _close_turn(self, turn: Turn) -> None:
        super()._close_turn(turn)
        if isinstance(self.policy, Resume):
            self._replay.ended(turn.ticket)

    def look_on(self, response_id: str, after: int) -> Onlooker:
        """Read a response beside its connection, or instead of one; see `Onlooker`.

        Raises:
            ValueError: the response is not kept, or not from there on.
        """
        window = self._replay.find(response_id)
        if window is None:
            raise ValueError(f"response {response_id} is not kept")
        if not window.has(after + 1):
            raise ValueError(f"event {after + 1} of response {response_id} is not kept")
        return Onlooker(window, after + 1, alone=lambda: self._wire is None)
