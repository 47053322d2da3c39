"""One turn being asked, over as many ways to the server as it takes.

What was never sent is sent again, and what the server has forgotten is said in full. What may have been begun is asked
again only where that can do no harm and nobody has seen any of it; otherwise the caller is told how far it had come.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Self

import attrs
import trio

from agentwire.client.context import said_in_full
from agentwire.client.memory import Parent
from agentwire.client.repeating import Repeats
from agentwire.link import Exchange, Fate, Lane, Line, RequestLost, Way
from agentwire.link.lease import Lease
from agentwire.link.steering import Steer, SteerFate
from agentwire.protocol.codec import decode_event
from agentwire.protocol.errors import AgentwireError, ConnectionEnded
from agentwire.protocol.events import ErrorEvent
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest

__all__ = ["Asking", "Prompt"]

_NOT_FOUND: Final = "previous_response_not_found"
_LIMIT_REACHED: Final = "websocket_connection_limit_reached"
_NOT_WHOLE: Final = 408  # the request did not arrive whole, so nothing was done about it (RFC 9110, section 15.5.9)
_FATES: Final = list(Fate)


@attrs.frozen(kw_only=True)
class Prompt:
    """What is asked, in two forms: what is new, for a server that has the rest, and everything.

    Attributes:
        request: its input are the new items; ``previous_response_id`` is the response that they continue.
        parent: that response, as the client knows it; None if there is none, or it is not known here.
        brought: how many of the new items the parent's server has already: it was steered with them.
    """

    request: CreateRequest
    parent: Parent | None = None
    brought: int = 0

    def over(self, way: Way) -> CreateRequest:
        """The request as the server at the other end of this way can answer it."""
        parent = self.parent
        if parent is None:
            return self.request
        if way.remembers and parent.way == way.number and way.lanes.remember(parent.response_id):
            return attrs.evolve(self.request, input=self.request.input[self.brought :])
        return self.request if parent.stored else self.in_full()

    def in_full(self) -> CreateRequest:
        """The request with the whole conversation in it; the same one if that is not known."""
        if self.parent is None:
            return self.request
        items = (*said_in_full(self.parent.recall()), *self.request.input)
        return attrs.evolve(self.request, input=items, previous_response_id=self.parent.root_id)


class Asking:
    """A turn on its way; made by `Asking.open`. Its events are read from one task.

    Attributes:
        attempts: how often it was asked.
        repeated: how often it was asked again after it had been sent and lost.
        steered: what was added to its response while that ran; it cannot be asked again from the start.
        way: the way that it took last.
        exchange: what came back over it.
    """

    way: Way
    exchange: Exchange

    def __init__(self, line: Line, prompt: Prompt, repeats: Repeats, lease: Lease | None) -> None:
        self.attempts = 0
        self.repeated = 0
        self.steered: list[Steer] = []
        self._cancelled = False
        self._reaching = trio.CancelScope()
        self._line = line
        self._prompt = prompt
        self._repeats = repeats
        self._lease = lease
        self._open = AsyncExitStack()
        self._lost: RequestLost | None = None
        self._request = prompt.request
        self._asked = self._again = False
        self._full = False
        self._seen = False
        self._worked = False

    @classmethod
    @asynccontextmanager
    async def open(
        cls, line: Line, prompt: Prompt, *, repeats: Repeats, lease: Lease | None = None
    ) -> AsyncGenerator[Self]:
        """Ask; leaving the context abandons what is still on its way, as `Way.exchange` says.

        Args:
            line: to the server.
            prompt: what to ask.
            repeats: what may be asked again.
            lease: a lane that the caller holds; None takes one for this turn.

        Raises:
            RequestLost: the server cannot be reached; never sent.
            LocalProtocolError: the request is too large, or names one lane too many.
        """
        asking = cls(line, prompt, repeats, lease)
        try:
            await asking._ask()
            yield asking
        finally:
            await asking._open.aclose()  # noqa: ASYNC102 - leaving an exchange waits for nothing

    @property
    def fate(self) -> Fate:
        """How far the request has come, over the way that it took last."""
        return self.exchange.fate

    async def receive_frames(self) -> list[bytes]:
        """The events that have come, as the server wrote them; none after the last one.

        Raises:
            RequestLost: the connection was lost, and the request may not be asked again, or could not be.
            TurnOverflow: this task read too slowly.
        """
        while not self._cancelled:
            if not self._asked:
                await self._ask()
                continue
            try:
                frames = await self.exchange.receive_frames()
            except RequestLost as lost:
                if self._seen or self.is_steered or not self.may_repeat(lost):
                    raise self._told(lost) from None
                await self.ask_again(lost)
                continue
            if not self._seen and frames and await self._counts_for_nothing(frames[0]):
                continue
            self._seen = True
            return frames
        await trio.lowlevel.checkpoint()
        return []

    @property
    def is_steered(self) -> bool:
        """Whether the server may have been told more than the request says."""
        return any(steer.fate not in (SteerFate.NEVER_SENT, SteerFate.REFUSED) for steer in self.steered)

    def server_worked(self) -> None:
        """The server has begun to run a tool of its own."""
        self._worked = True
        self._repeats.saw_work(self._request)

    def may_repeat(self, lost: RequestLost) -> bool:
        """Whether the request may be asked once more after it was lost in this way."""
        if self.attempts >= self._repeats.limits.request_attempts or self._line.ended is not None:
            return False
        if lost.rejected and lost.fate is Fate.UNKNOWN:
            return False  # a message too large, or the like: it would end the next connection, too
        return lost.fate is Fate.NEVER_SENT or self._repeats.permits(self._request, worked=self._worked)

    async def ask_again(self, lost: RequestLost) -> None:
        """Ask once more, after it was lost; what had come is void.

        Raises:
            RequestLost: the server cannot be reached.
        """
        await self._forget()
        await self._note(lost)
        await self._ask()

    async def cancel(self) -> None:
        """Abandon what is on its way; where the server can cancel it, wait for its end, ``limits.close_grace`` at most.

        Whoever waits for events is told that there are no more.
        """
        self._cancelled = True
        self._reaching.cancel(reason="the turn was cancelled")
        await self._open.aclose()
        if self.way.can_cancel:
            with trio.move_on_after(self.limits.close_grace):
                await self.exchange.ended()

    @property
    def limits(self) -> Limits:
        """The bounds in force."""
        return self._repeats.limits

    # The answer is a refusal

    async def _counts_for_nothing(self, frame: bytes) -> bool:
        """Whether the first thing that came is a refusal after which the request is to be asked again."""
        exchange = self.exchange
        if exchange.response_id is not None or exchange.fate is not Fate.FINISHED:
            return False
        event = decode_event(frame)
        if not isinstance(event, ErrorEvent) or self.attempts >= self._repeats.limits.request_attempts:
            return False
        if _is_not_found(event):
            return await self._say_everything()
        if event.code == _LIMIT_REACHED:
            await self._forget()
            return True
        broke = event.status is not None and event.status >= 500 and self._repeats.permits(self._request)
        return (broke or event.status == _NOT_WHOLE) and await self._try_later(event)

    async def _say_everything(self) -> bool:
        """The server has forgotten the conversation: say it in full, once."""
        if self._full or self._prompt.parent is None or self._request.previous_response_id is None:
            return False
        self._full = True
        await self._forget()
        return True

    async def _try_later(self, event: ErrorEvent) -> bool:
        """The server could not begin: ask again in a moment, in full, for it forgets what a failed request named."""
        pause = self._repeats.pause(self.attempts, event.to_error())
        if pause is None or self._line.ended is not None:
            return False
        self._full = self._prompt.parent is not None and not self._prompt.parent.stored
        await self._forget()
        await self._pause(pause)
        return True

    # Over one way after the other

    async def _forget(self) -> None:
        """Nothing of the last attempt counts: the next thing to do is to ask again."""
        self._asked = self._seen = self._worked = False
        await self._open.aclose()

    async def _note(self, lost: RequestLost) -> None:
        """It was lost, and will be asked again."""
        if lost.fate is not Fate.NEVER_SENT:
            self._lost = lost
            self._again = True
        await self._pause(self._repeats.pause(self.attempts, None) or 0.0)

    async def _pause(self, seconds: float) -> None:
        """Wait, unless it is cancelled meanwhile."""
        with trio.CancelScope() as self._reaching:
            await trio.sleep(seconds)

    async def _ask(self) -> None:
        """Send the request over a way that takes it; nothing if it is cancelled meanwhile."""
        while not (self._cancelled or self._asked):
            with trio.CancelScope() as self._reaching:
                await self._try()
        if self._cancelled:
            await self._open.aclose()

    async def _try(self) -> None:
        """Send it once."""
        way = await self._find_way()
        self._request = self._prompt.in_full() if self._full else self._prompt.over(way)
        try:
            await self._send(way)
        except RequestLost as lost:
            self.attempts += 1
            if not self.may_repeat(lost):
                raise self._told(lost) from lost.__cause__
            await self._note(lost)
        else:
            self._asked = True
            self.attempts += 1
            self.repeated += self._again
            self._again = False

    async def _send(self, way: Way) -> None:
        lane: Lane | None = None
        if self._lease is not None:
            try:
                lane = await self._lease.on(way, after=self._request.previous_response_id)
            except ConnectionEnded as end:
                raise RequestLost(end, fate=Fate.NEVER_SENT) from None
        self.exchange = await self._open.enter_async_context(way.exchange(self._request, lane=lane))
        self.way = way

    async def _find_way(self) -> Way:
        try:
            return await self._line.way()
        except AgentwireError as error:
            end = error if isinstance(error, ConnectionEnded) else ConnectionEnded(cause=str(error))
            raise self._told(RequestLost(end, fate=Fate.NEVER_SENT)) from error

    def _told(self, lost: RequestLost) -> RequestLost:
        """What the caller is told: an earlier attempt may have come further."""
        before = self._lost
        if before is None or _FATES.index(lost.fate) >= _FATES.index(before.fate):
            return lost
        return RequestLost(lost, fate=before.fate, response_id=before.response_id)


def _is_not_found(event: ErrorEvent) -> bool:
    """Whether the server does not know the response that was named; some in between give that other codes."""
    return event.code == _NOT_FOUND or (event.param == "previous_response_id" and event.status in (400, 404))
