"""One step over the wire: a request on a lane, its events relayed, and what is done when that fails.

A request goes out again only where it is certain that it did not run: it never left, or the upstream refused it before
a response began, for a reason that is this connection's. Everything else is the client's to decide, and told to it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import attrs
import trio

from agentwire.engines.faults import broken_off, refused_upgrade, rubbish, unreachable
from agentwire.engines.relay.asking import is_forgotten, runs_tools
from agentwire.engines.relay.hearing import Relay
from agentwire.engines.wire.conversation import Conversation
from agentwire.engines.wire.pool import Pool, Unreachable
from agentwire.engines.wire.refusal import Refusal
from agentwire.engines.wire.upstream import Seat
from agentwire.link import Exchange, Fate, RequestLost
from agentwire.protocol.errors import ConnectionEnded, EngineError, LocalProtocolError, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Finish
from agentwire.transport.http_client import HttpStatusError, ServerSilent
from agentwire.transport.websocket import HandshakeRefused

__all__ = ["Attempts", "Step"]

_log = logging.getLogger("agentwire.engine")

TOO_LARGE: Final = 1009
"""Close code (RFC 6455, section 7.4.1) of a server that was sent a message larger than it reads."""


class _NotRun(Exception):
    """The request did not run, and may go out again.

    Args:
        error: what the client is told if it may not.
    """

    def __init__(self, error: EngineError) -> None:
        super().__init__(str(error))
        self.error = error


@attrs.define(eq=False)
class Attempts:
    """What was sent, for an engine's statistics.

    Attributes:
        full: requests with the whole conversation.
        deltas: requests with what is new in it.
        found: those among the deltas whose history was recognized by what it says.
        forgotten: deltas that the upstream could not continue, and that went out again in full.
        again: requests that went out again on another connection.
        lost: turns that ended with their connection.
    """

    full: int = 0
    deltas: int = 0
    found: int = 0
    forgotten: int = 0
    again: int = 0
    lost: int = 0


class Step:
    """One step.

    Args:
        pool: the connections.
        conversation: what is asked.
        relay: makes the relay that takes the answer.
        server: the upstream's name in errors.
        limits: deadlines, and how often a request that did not run goes out.
        store: whether the upstream keeps its responses, and can continue them anywhere.
        repeats: whether a request of which nothing was heard may go out again.
        attempts: counts.
        forget: told of a response, by its mark, that the upstream has forgotten.
    """

    def __init__(
        self,
        pool: Pool,
        conversation: Conversation,
        relay: Callable[[], Relay],
        *,
        server: str,
        limits: Limits,
        store: bool,
        repeats: bool,
        attempts: Attempts,
        forget: Callable[[str], None],
    ) -> None:
        self._pool = pool
        self._conversation = conversation
        self._make_relay = relay
        self._server = server
        self._limits = limits
        self._store = store
        self._repeats = repeats
        self._attempts = attempts
        self._forget = forget

    async def run(self) -> tuple[Finish, str | None]:
        """Ask, and relay the answer to its end; gives its end, and the mark under which it can be continued.

        Raises:
            EngineError: it failed.
        """
        for attempt in range(self._limits.upstream_attempts):
            last = attempt + 1 == self._limits.upstream_attempts
            try:
                async with self._pool.seat(self._conversation.asking.previous_response_id) as seat:
                    finish = await self._ask(seat)
                    # What has not ended on its lane has no mark there yet, but the response before it may have.
                    return finish, seat.mark if seat.lane.current is None else None
            except _NotRun as not_run:
                if last:
                    raise not_run.error from not_run.__cause__
                self._attempts.again += 1
                _log.info("asked again on another connection: %s", not_run)
            except Unreachable as error:
                raise self._unreachable(error.cause) from error.cause
        raise AssertionError("there is at least one attempt")

    async def _ask(self, seat: Seat) -> Finish:
        """One request on a lane; and once more in full, if the upstream has forgotten what it continues."""
        asking = self._conversation.asking
        mark = asking.previous_response_id
        known = seat.upstream.id_of(mark) if mark is not None else None
        if mark is not None and known is not None:
            self._attempts.deltas += 1
            self._attempts.found += self._conversation.found
            delta = attrs.evolve(asking, previous_response_id=known)
            answered = await self._exchange(seat, delta.delta_body, continues=known)
            if answered is not None:
                return answered
            self._attempts.forgotten += 1
            self._forget(mark)
            _log.info("%s has forgotten response %s: the whole conversation is sent", self._server, known)
            self._conversation.asking = asking.in_full()
        self._attempts.full += 1
        answered = await self._exchange(seat, asking.full_body)
        assert answered is not None
        return answered

    async def _exchange(self, seat: Seat, body: Callable[..., bytes], *, continues: str | None = None) -> Finish | None:
        """One exchange; None if the upstream does not know what is continued."""
        relay, name = self._make_relay(), seat.lane.name
        lane = {"stream_id": name} if name is not None else {}
        message = body(type="response.create", **lane, store=self._store)
        seat.size = len(message)
        try:
            with relay:
                async with seat.upstream.link.relay(message, lane=seat.lane) as exchange:
                    return await self._hear(seat, exchange, relay, continues)
        except RequestLost as lost:
            raise self._lost(lost, seat) from lost
        except LocalProtocolError as error:
            raise EngineError(str(error), code="request_too_large", status=400, param="input") from error

    async def _hear(self, seat: Seat, exchange: Exchange, relay: Relay, continues: str | None) -> Finish | None:
        """What comes of a request that is on its way; None if the upstream does not know what is continued."""
        try:
            frames = await self._receive(exchange, self._limits.upstream_first_event)
            refusal = Refusal.of(exchange, frames)
            if refusal is not None and self._refused(seat, refusal, continues):
                return None
            while frames:
                await relay.take_all(frames)
                if relay.ended:
                    break
                frames = await self._receive(exchange, self._limits.upstream_silence)
            return relay.finish()
        except EngineError as error:
            error.may_have_run = _may_have_run(exchange)
            raise
        except (RemoteProtocolError, RecursionError) as error:
            fault = rubbish(self._server, error)
            fault.may_have_run = _may_have_run(exchange)
            raise fault from error
        finally:
            if exchange.fate is not Fate.NEVER_SENT:
                relay.leave()

    async def _receive(self, exchange: Exchange, most: float) -> list[bytes]:
        """The next events; a ``keepalive`` counts as a sign of life.

        Raises:
            EngineError: there was none for so long.
        """
        since = trio.current_time()
        while True:
            with trio.CancelScope(deadline=max(since, exchange.heard) + most):
                return await exchange.receive_frames()
            if exchange.heard + most <= trio.current_time():
                raise broken_off(self._server, ServerSilent(cause=f"said nothing for {most:g} s"))

    # What went wrong

    def _refused(self, seat: Seat, refusal: Refusal, continues: str | None) -> bool:
        """An error instead of a response; True if what is continued is not known.

        Raises:
            _NotRun: it has to do with this connection, and not with what was asked.
        """
        if continues is not None:
            seat.forget()  # the protocol evicts what was continued
            if is_forgotten(continues, refusal.event):
                return True
        if self._pool.refused(seat, refusal):
            raise _NotRun(broken_off(self._server, ConnectionEnded(cause=f"refused the request: {refusal.event.code}")))
        if refusal.no_lanes and seat.lane.name is not None and not self._pool.lanes:
            self._pool.learn(lanes=False)
            seat.upstream.retire()
            raise _NotRun(rubbish(self._server, "it has no lanes"))
        return False

    def _lost(self, lost: RequestLost, seat: Seat) -> Exception:
        """What follows from a connection that ended first."""
        closed = lost.received.code if lost.received is not None else None
        if closed == TOO_LARGE and lost.fate is Fate.UNKNOWN and seat.upstream.is_largest(seat):
            self._attempts.lost += 1
            message = (
                f"The request has {seat.size} bytes on its way up, and {self._server} takes no message that large."
            )
            return EngineError(message, code="request_too_large", status=400, param="input")
        fault = rubbish(self._server, lost.cause) if lost.not_understood else broken_off(self._server, lost)
        if lost.fate is Fate.NEVER_SENT or (lost.fate is Fate.UNKNOWN and self._repeats and not self._runs_tools):
            return _NotRun(fault)
        self._attempts.lost += 1
        fault.may_have_run = True
        return fault

    @property
    def _runs_tools(self) -> bool:
        """Whether the upstream itself may run tools for this request."""
        tools: Any = self._conversation.asking.settings.get("tools", ())
        return runs_tools(tools)

    def _unreachable(self, cause: Exception) -> EngineError:
        if isinstance(cause, HandshakeRefused) and cause.status:
            return refused_upgrade(self._server, HttpStatusError(cause.status, cause.body, dict(cause.headers)))
        if isinstance(cause, RemoteProtocolError):
            return rubbish(self._server, str(cause))
        if isinstance(cause, ConnectionEnded):
            return unreachable(self._server, cause)
        return unreachable(self._server, ConnectionEnded(cause=str(cause)))


def _may_have_run(exchange: Exchange) -> bool:
    """Whether the upstream may have acted on a request; what it answered with an error alone, it refused."""
    return exchange.fate is not Fate.FINISHED or exchange.response_id is not None
