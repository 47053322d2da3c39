"""One request over the wire: on which connection, as a delta or in full, and what is done when that fails.

It goes out again only where it is certain that it did not run, or where running twice costs tokens and nothing else,
and nothing of its answer was handed on. A request that an SDK repeats by itself is asked once: the two must not
multiply.
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import Final, Literal

import attrs
import trio

from agentwire.client.dropin.answer import DONE, EVENTS, Answer, Collected, framed, identified, refused
from agentwire.client.dropin.asked import Asked
from agentwire.client.dropin.wire import GoesOverHttp, TimedOut, Times, Wire
from agentwire.engines.relay.asking import is_forgotten
from agentwire.engines.wire.refusal import Refusal
from agentwire.engines.wire.upstream import Seat
from agentwire.link import Exchange, Fate, RequestLost
from agentwire.link.dialling import pauses
from agentwire.protocol.errors import AgentwireError, ConnectionEnded, LocalProtocolError

__all__ = ["Asking", "Events", "Repeat"]

_log = logging.getLogger("agentwire.client")

Repeat = Literal["safe", "always", "never"]
"""What is repeated after a lost connection, if nothing of the answer was handed on: what runs no tool at the server and
is not stored there, everything, or nothing."""

TOO_LARGE: Final = 1009
"""The close code for a message that is larger than the server takes; over HTTP it may take more."""


class _Again(Exception):
    """The request may go out again.

    Args:
        error: what is raised if it does not.
    """

    def __init__(self, error: AgentwireError) -> None:
        super().__init__(str(error))
        self.error = error


@attrs.define(eq=False)
class Events:
    """An answer that comes piece by piece.

    Attributes:
        asking: the request.
        exchange: its events.
        collected: what has been read of them.
        pieces: what has been read and not handed on.
        kept: what is held for it; closing that gives the request up.
        over: whether the end was handed on.
    """

    asking: Asking
    exchange: Exchange
    collected: Collected
    pieces: list[bytes]
    kept: AsyncExitStack = attrs.field(factory=AsyncExitStack)
    over: bool = False

    status: int = attrs.field(default=200, init=False)
    headers: tuple[tuple[str, str], ...] = attrs.field(default=EVENTS, init=False)

    async def more(self) -> bytes:
        """What has come, as it is on an HTTP stream; empty at the end.

        Raises:
            RequestLost: the connection ended first.
            TimedOut: nothing came for as long as the caller waits.
            RemoteProtocolError: what came cannot be read.
        """
        if self.over:
            return b""
        frames, self.pieces = self.pieces, []
        if not frames:
            frames = await self.asking.receive(self.exchange)
            self.collected.take(frames)
        said = framed(frames)
        if self.collected.ended or not frames:
            self.over = True
            self.asking.end(self.collected)
            if not frames:
                self.collected.answer()  # raises, if the server has not said how it ended
            said += DONE
        return said


@attrs.define(eq=False)
class Asking:
    """One request.

    Attributes:
        wire: where it goes.
        asked: what it is.
        times: how long its caller waits.
        repeat: what is repeated.
    """

    wire: Wire
    asked: Asked
    times: Times
    repeat: Repeat
    _seat: Seat | None = attrs.field(default=None, init=False)

    async def answer(self) -> Answer | Events:
        """Ask; whoever takes `Events` closes what is kept for them.

        Raises:
            GoesOverHttp: it is for HTTP.
            TimedOut: it took longer than the caller waits.
            RequestLost: the connection ended first.
            RemoteProtocolError: what came cannot be read.
        """
        attempts = self.wire.limits.upstream_attempts
        for attempt, pause in enumerate(pauses(self.wire.limits, self.wire.sources), 1):
            await trio.sleep(pause)
            try:
                return await self._once()
            except _Again as again:
                if attempt == attempts:
                    raise again.error from again.__cause__
                self.wire.counts.again += 1
                _log.info("asked again on another connection: %s", again)
        raise AssertionError("there is always one more pause")

    async def _once(self) -> Answer | Events:
        known = self.wire.find(self.asked)
        async with AsyncExitStack() as stack:
            self._seat = seat = await self.wire.seat(stack, self.wire.home(self.asked, known), self.times)
            answered: Answer | Events | None = None
            if known is not None and (response_id := self.wire.id_of(self.asked, known, seat)) is not None:
                answered = await self._exchange(stack, seat, known.count, response_id)
                if answered is None:
                    _log.info("the server has forgotten response %s: the whole conversation is sent", response_id)
                    self.wire.forget(self.asked, known)
            if answered is None:
                answered = await self._exchange(stack, seat)
            assert answered is not None
            headers = identified(answered.headers, seat.upstream.link.life.request_id)
            if isinstance(answered, Events):
                answered.headers, answered.kept = headers, stack.pop_all()
                return answered
            return attrs.evolve(answered, headers=headers)

    async def _exchange(
        self, stack: AsyncExitStack, seat: Seat, after: int = 0, known: str | None = None
    ) -> Answer | Events | None:
        """One exchange, as for `Asked.message`; None if the server does not know what is continued."""
        message = self.asked.message(seat.lane.name, after=after, known=known)
        since = trio.current_time()
        try:
            link = seat.upstream.link
            exchange = await stack.enter_async_context(link.relay(message, lane=seat.lane))
            self.wire.counts.sent(len(message), delta=known is not None)
            frames = await self.receive(exchange)
            refusal = Refusal.of(exchange, frames)
            if refusal is not None:
                return self._refused(seat, refusal, known)
            collected = Collected()
            collected.take(frames)
            if self.asked.stream:
                return Events(self, exchange, collected, frames)
            return await self._whole(exchange, collected, since)
        except RequestLost as lost:
            raise self._lost(lost) from lost
        except LocalProtocolError as error:
            raise GoesOverHttp(str(error)) from error

    async def _whole(self, exchange: Exchange, collected: Collected, since: float) -> Answer:
        while not collected.ended and (frames := await self.receive(exchange, since)):
            collected.take(frames)
        self.end(collected)
        return collected.answer()

    async def receive(self, exchange: Exchange, since: float | None = None) -> list[bytes]:
        """The next events; none after the last one.

        Args:
            exchange: whose.
            since: from when the caller has waited; None is from now on.

        Raises:
            TimedOut: they took longer than the caller waits.
            RequestLost: the connection ended first.
        """
        with trio.move_on_at((trio.current_time() if since is None else since) + self.times.read):
            return await exchange.receive_frames()
        raise TimedOut("read", f"the server said nothing for {self.times.read:g} s")

    def end(self, collected: Collected) -> None:
        """The answer has come to its end."""
        assert self._seat is not None
        if collected.response_id is not None:
            self.wire.remember(self.asked, collected.output, collected.response_id, self._seat)
        if self.asked.stored:
            self._seat.forget()  # any lane can continue it, so this one is free for other conversations

    # What went wrong

    def _refused(self, seat: Seat, refusal: Refusal, known: str | None) -> Answer | None:
        """An error instead of a response; None if what is continued is not known.

        Raises:
            _Again: it has to do with this connection, and not with what was asked.
        """
        if known is not None or self.asked.continues is not None:
            seat.forget()  # the protocol evicts what was continued
        if known is not None and is_forgotten(known, refusal.event):
            return None
        if self.wire.pool.refused(seat, refusal):
            raise _Again(ConnectionEnded(cause=f"the server refused the request: {refusal.event.code}"))
        if refusal.no_lanes and seat.lane.name is not None and not self.wire.pool.lanes:
            self.wire.pool.learn(lanes=False)
            seat.upstream.retire()
            raise _Again(ConnectionEnded(cause="the server has no lanes"))
        return refused(refusal.event.to_error())

    def _lost(self, lost: RequestLost) -> Exception:
        """What follows from a connection that ended before anything was handed on."""
        if lost.fate is Fate.NEVER_SENT:
            return _Again(lost)
        if lost.rejected and lost.fate is Fate.UNKNOWN:  # it was not taken, and will not be
            too_large = lost.received is not None and lost.received.code == TOO_LARGE
            return GoesOverHttp(str(lost)) if too_large else lost
        return _Again(lost) if self.times.first and self._repeats else lost

    @property
    def _repeats(self) -> bool:
        return self.repeat == "always" or (self.repeat == "safe" and self.asked.repeatable)
