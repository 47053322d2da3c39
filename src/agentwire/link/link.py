"""A client's link to a server: requests go out over it, and each gets its own events back.

However the link ends, every request on it is told how, and how far it had come. `agentwire.link.life` has its
connections.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import trio

from agentwire.link.deadlines import Deadlines
from agentwire.link.dialling import Dialler
from agentwire.link.exchange import Exchange
from agentwire.link.flow import Flow
from agentwire.link.lanes import Lane, Lanes
from agentwire.link.life import Life
from agentwire.link.outcome import Fate, RequestLost
from agentwire.link.outgoing import Outgoing
from agentwire.link.progress import Progress
from agentwire.link.steering import Steer, SteerFate, SteerLost, SteerRefused
from agentwire.link.switch import Switch
from agentwire.link.way import LinkStatistics
from agentwire.protocol.codec import encode_create, encode_json
from agentwire.protocol.errors import ConnectionEnded, LocalProtocolError
from agentwire.protocol.hello import CANCEL_EXTENSION, Goaway, encode_cancel
from agentwire.protocol.request import CreateRequest

__all__ = ["Link"]


class _Note:
    """A message that is nobody's request."""

    def taken(self) -> None:
        """The wire has it."""


class Link:
    """An open connection; made by `agentwire.link.open_link`, which also closes it.

    Attributes:
        address: where it leads.
        limits: the bounds in force.
        lanes: its lanes.
        life: its connections.
        number: counts the links of one line, from 1.
        interrupted: whether requests were lost when it ended.
    """

    remembers: Final = True

    def __init__(
        self,
        dialler: Dialler,
        *,
        relaying: bool = False,
        resume_within: float | None = None,
        number: int = 1,
        reserved: AbstractSet[str] = frozenset(),
    ) -> None:
        self.number = number
        self.interrupted = False
        self.address = dialler.address
        self.limits = limits = dialler.limits
        self.lanes = Lanes(limits.lanes, limits.running, reserved)
        progress = Progress(within=resume_within) if resume_within is not None else None
        self._outgoing = Outgoing(limits.queued_bytes, progress.say if progress is not None else None)
        arrived = self._outgoing.arrived if progress is not None else None
        self._switch = Switch(self.lanes, probing=relaying, progress=progress, arrived=arrived)
        self._switch.on_news = self._heard
        self._flow = Flow(limits.relay_bytes, limits.turn_buffer_bytes) if relaying else None
        self._told: Callable[[], None] = _nothing
        self._changed: Callable[[], None] = _nothing
        self._retired = ""
        self._open: set[Exchange] = set()
        self._empty = trio.lowlevel.ParkingLot()
        self._over = trio.Event()
        self._deadlines = Deadlines(self.lanes, limits)
        self.life = Life(
            dialler,
            self._outgoing,
            self._switch,
            deadlines=None if relaying else self._deadlines,
            flow=self._flow,
            progress=progress,
            on_end=self._end,
            on_change=self._change,
        )

    @property
    def ended(self) -> ConnectionEnded | None:
        """How it ended; None while it is open."""
        return self.life.ended

    # Requests

    @asynccontextmanager
    async def exchange(self, request: CreateRequest, *, lane: Lane | None = None) -> AsyncGenerator[Exchange]:
        """Send a request and have its events, as a context.

        Waits for the request's lane and for room to send. Leaving the context before the last event abandons the
        request: it is cancelled where the server has the extension for that, and goes on elsewhere (the protocol knows
        no cancel event); nobody sees what it still says, and the lane is free for others when it is done. A request
        that has not left yet is withdrawn.

        Args:
            request: what to ask; ``stream_id`` names its lane, None takes one that is free.
            lane: a lane that the caller holds, for several requests in a row.

        Raises:
            RequestLost: the connection has ended, or the server has announced its end: never sent.
            LocalProtocolError: the request is larger than ``limits.message_bytes``, or names one lane too many.
        """
        held = await self._acquire(request) if lane is None else lane
        try:
            request = attrs.evolve(request, stream_id=held.name)
            async with self.relay(encode_create(request), lane=held, after=request.previous_response_id) as exchange:
                yield exchange
        finally:
            if lane is None:
                self.lanes.release(held)

    @asynccontextmanager
    async def relay(self, message: bytes, *, lane: Lane, after: str | None = None) -> AsyncGenerator[Exchange]:
        """Send a request that is made already, and have its events; otherwise like `exchange`.

        Args:
            message: a ``response.create`` that names the lane.
            lane: a lane that the caller holds.
            after: the response that it continues: where that is another lane's latest one, that lane waits for it.

        Raises:
            RequestLost: the connection has ended, or the server has announced its end: never sent.
            LocalProtocolError: the message is larger than ``limits.message_bytes``.
        """
        exchange = Exchange(lane, limit=self.limits.turn_buffer_bytes, flow=self._flow)
        self._open.add(exchange)
        try:
            await self._send(exchange, message, after)
            yield exchange
        finally:
            self._leave(exchange)
            self._close_one(exchange)

    async def _acquire(self, request: CreateRequest) -> Lane:
        try:
            return await self.lanes.acquire(request.stream_id, after=request.previous_response_id)
        except ConnectionEnded as end:
            raise RequestLost(end, fate=Fate.NEVER_SENT) from None

    async def _send(self, exchange: Exchange, data: bytes, after: str | None) -> None:
        await self._room(data)
        try:
            await self.lanes.quiet(exchange.lane)
        except ConnectionEnded as end:
            raise RequestLost(end, fate=Fate.NEVER_SENT) from None
        if (refused := self._refuses()) is not None:
            self.lanes.pass_on(exchange.lane)
            raise RequestLost(refused, fate=Fate.NEVER_SENT)
        if self.ended is not None:
            raise RequestLost(self.ended, fate=Fate.NEVER_SENT)
        exchange.lane.current = exchange
        self.lanes.fork(exchange.lane, after)
        self._outgoing.put(exchange, data)
        self.life.kick()

    async def _room(self, data: bytes) -> None:
        """Wait until a message may be sent."""
        if len(data) > self.limits.message_bytes:
            raise LocalProtocolError(
                f"the request has {len(data)} bytes, and a message may have {self.limits.message_bytes}; "
                "send less, or files by URL"
            )
        await self._outgoing.room(len(data))

    async def steer(self, exchange: Exchange, given: Any, wire: Any) -> Steer:
        """Send input for the response of an exchange, and return at once: `Steer.accepted` waits for the answer.

        Args:
            exchange: whose response has begun.
            given: the input, to be handed back if it is refused.
            wire: the same, as JSON.

        Raises:
            SteerRefused: the response has not begun, or has ended.
            SteerLost: the connection has ended.
            LocalProtocolError: it is larger than ``limits.message_bytes``.
        """
        await self._room(_steer_message(exchange.response_id, wire))
        if exchange.fate is not Fate.STARTED or exchange.response_id is None:
            early = exchange.fate in (Fate.NEVER_SENT, Fate.UNKNOWN)
            code = "response_not_active" if early else "response_already_completed"
            raise SteerRefused(code, f"The response has {'not begun' if early else 'ended'}.", given=given)
        if self.ended is not None:
            raise SteerLost(self.ended, fate=SteerFate.NEVER_SENT, given=given)
        steer = Steer(exchange.response_id, given, wire)
        self._switch.steers.add(steer)
        self._outgoing.put(steer, _steer_message(steer.response_id, wire))
        self.life.kick()
        return steer

    def _refuses(self) -> ConnectionEnded | None:
        """Why it takes no more requests; one in a session goes on elsewhere instead."""
        said = self._switch.retiring
        if said is not None and not self.life.in_session:
            return ConnectionEnded(cause=f"the server takes no more requests on it: {said.message}")
        return ConnectionEnded(cause=self._retired) if self._retired else None

    def _close_one(self, exchange: Exchange) -> None:
        self._open.discard(exchange)
        if not self._open:
            self._empty.unpark_all()

    def _leave(self, exchange: Exchange) -> None:
        exchange.leave()
        if exchange.fate is Fate.NEVER_SENT:
            self._outgoing.withdraw(exchange)
            if exchange.lane.current is exchange:
                self.lanes.settle(exchange.lane)
            return
        exchange.on_begin = self.cancel  # what has not begun yet, the successor of a steered response too
        if exchange.failing_since is None:
            self.cancel(exchange)

    def cancel(self, exchange: Exchange) -> None:
        """Ask the server to cancel a response that has begun; it then ends as failed, unless it has ended by then.

        Nothing if the server has no such extension.
        """
        if not self.can_cancel or self.ended is not None:
            return
        if exchange.response_id is not None and exchange.fate is Fate.STARTED:
            self._outgoing.put(_Note(), encode_cancel(exchange.response_id))
            self.life.kick()

    @property
    def can_cancel(self) -> bool:
        """Whether the server has the extension by which a response is cancelled."""
        return CANCEL_EXTENSION in self._switch.welcome.extensions

    @property
    def has_lanes(self) -> bool | None:
        """Whether the server knows lanes; None as long as nothing has shown it."""
        return self._switch.has_lanes

    @property
    def retiring(self) -> bool:
        """Whether to ask nothing more on it: it is near its end, as the server says, or has forgotten a request.

        A session only moves where a connection has had its life.
        """
        if self._deadlines.missed:
            return True
        goaway = self._switch.goaway
        if self.life.in_session:
            return goaway is not None and goaway.reason != "connection_limit"
        return self._switch.retiring is not None or goaway is not None

    @property
    def lasts(self) -> float:
        """Seconds after which another one should take its place; a session is moved by its server's word."""
        return math.inf if self.life.in_session else self.limits.rotate_after

    @property
    def lost_since(self) -> float | None:
        """Trio's time since when there has been no connection; None while there is one."""
        return self.life.lost_since

    @property
    def slow(self) -> int:
        """Requests whose events are read more slowly than they come; always 0 where those are lost instead."""
        return self._flow.slow if self._flow is not None else 0

    def watch(self, told: Callable[[], None]) -> None:
        """Have something called, plainly, when the connection is lost, is there again, or has ended."""
        self._changed = told

    def _change(self) -> None:
        self._changed()

    def listen(self, told: Callable[[], None]) -> None:
        """Have something called, plainly, whenever the server has said something about the connection."""
        self._told = told

    @property
    def goaway(self) -> Goaway | None:
        """The server's word that the connection will end soon, if it has said so: move before that."""
        return self._switch.goaway

    # Its life

    async def wait_ended(self) -> ConnectionEnded:
        """Wait until the link is over; returns how it ended."""
        await self._over.wait()
        assert self.ended is not None
        return self.ended

    def retire(self, cause: str) -> None:
        """Take no more requests; those that wait for a lane are told that they were never sent.

        Args:
            cause: what they are told.
        """
        self._retired = cause
        self.lanes.close(ConnectionEnded(cause=cause))

    async def drained(self) -> None:
        """Wait until no request is open; those that were abandoned do not count."""
        await trio.lowlevel.checkpoint()
        while self._open:
            await self._empty.park()

    async def close(self) -> None:
        """Say goodbye (1000) and close, within ``limits.close_grace``; requests that still run are told."""
        await self.life.close()

    async def abort(self, cause: str) -> None:
        """Cut the connection off at once; requests that still run are told."""
        await self.life.abort(cause)

    def _heard(self) -> None:
        """The server has said something about the connection."""
        goaway = self._switch.goaway
        if self._switch.retiring is not None or (goaway is not None and goaway.reason == "connection_limit"):
            self.life.grows_old()
        self._told()

    def _end(self, end: ConnectionEnded) -> None:
        self.interrupted = any(exchange.fate is not Fate.FINISHED for exchange in self._open)
        for lane in self.lanes:
            if lane.current is not None:
                lane.current.lose(end)
        self._switch.steers.lose(end)
        self.lanes.close(end)
        self._outgoing.close()
        self._over.set()
        self._changed()

    def statistics(self) -> LinkStatistics:
        """Queues and totals at this moment."""
        running = [lane.current for lane in self.lanes if lane.current is not None]
        (bytes_in, bytes_out), switch = self.life.transferred, self._switch
        unread = sum(exchange.buffered_bytes for exchange in running)
        return LinkStatistics(
            connections=self.life.connections,
            lanes=len(self.lanes),
            running=len(running),
            waiting=self.lanes.waiting,
            buffered_bytes=unread if self._flow is None else self._flow.waiting_bytes,
            unsent_bytes=self._outgoing.waiting_bytes,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            events=switch.events,
            keepalives=switch.keepalives,
            unexpected=switch.unexpected,
        )


def _steer_message(response_id: str | None, wire: Any) -> bytes:
    return encode_json({"type": "response.steer", "previous_response_id": response_id, "input": wire})


def _nothing() -> None:
    """Nobody wants to know."""
