"""A turn as the client sees it: typed events, the text so far, and in the end the response.

What goes wrong is raised where the caller is: a refused request and a failed response as their errors, a lost
connection with what had come before it. A caller who has seen nothing of a lost answer need not know of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Self

import trio

from agentwire.client.asking import Input
from agentwire.client.heard import Heard
from agentwire.client.recovery import Asking
from agentwire.client.steering import send_steer
from agentwire.link import Exchange, Fate, RequestLost, Way
from agentwire.link.steering import Steer
from agentwire.protocol.codec import decode_event
from agentwire.protocol.errors import AgentwireError
from agentwire.protocol.events import (
    TERMINAL,
    ErrorEvent,
    Event,
    ResponseCreated,
)
from agentwire.protocol.items import Item
from agentwire.protocol.response import Response

__all__ = ["Turn", "TurnCancelled"]


class TurnCancelled(AgentwireError):
    """A turn was cancelled here, so that it has no response.

    Args:
        turn: which one.

    Attributes:
        items: the output items that were finished, as far as they were read.
        text: the text that had come, as far as it was read.
    """

    def __init__(self, turn: Turn) -> None:
        super().__init__("the turn was cancelled")
        self.items, self.text = turn.items, turn.text


class Turn:
    """One turn; made by `Client.turn`. Iterate it for its events, from one task."""

    def __init__(self, asking: Asking, *, on_end: Callable[[Turn, Response], None]) -> None:
        self._asking = asking
        self._on_end = on_end
        self._heard = Heard()
        self._frames: deque[bytes] = deque()
        self._failure: AgentwireError | None = None
        self._over = False
        self._shown = False
        self._cancelled = False
        self._ended: list[Response] = []

    @property
    def text(self) -> str:
        """What the model has written so far; of a turn that was steered, in the response that runs now."""
        return self._heard.text

    @property
    def fate(self) -> Fate:
        """How far the request has come."""
        return self._asking.fate

    @property
    def response_id(self) -> str | None:
        """The response's id, once it has begun."""
        return self._asking.exchange.response_id

    @property
    def stream_id(self) -> str | None:
        """The lane that it runs on; None is the default lane."""
        return self._asking.exchange.lane.name

    @property
    def items(self) -> tuple[Item, ...]:
        """The output items that are finished, in order."""
        return self._heard.items

    @property
    def responses(self) -> tuple[Response, ...]:
        """The responses that have ended: one, and of a turn that was steered, its successors."""
        return (*self._ended, *((self._heard.final,) if self._heard.final is not None else ()))

    @property
    def steers(self) -> tuple[Steer, ...]:
        """What it was steered with, each with its fate."""
        return tuple(self._asking.steered)

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` has ended it."""
        return self._cancelled

    @property
    def repeated(self) -> int:
        """How often it was asked again, after it had been sent and lost."""
        return self._asking.repeated

    @property
    def exchange(self) -> Exchange:
        """The request and what comes back, as it is on the wire."""
        return self._asking.exchange

    @property
    def way(self) -> Way:
        """The way that it takes to the server."""
        return self._asking.way

    @property
    def server_is_working(self) -> bool:
        """Whether the server has begun to run a tool of its own, and not said what came of it."""
        return self._heard.is_working

    @property
    def ready(self) -> bool:
        """Whether the next event is here already."""
        return bool(self._frames)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event.

        The last one is the terminal event; for a failed response, what comes after it is `ResponseError`. A turn that
        was steered goes on after a terminal event with the response that the server lets follow.

        Raises:
            RequestError: the server refused the request, or the response failed (then it is a `ResponseError`).
            RequestLost: the connection ended first, and the turn could not be asked again; ``items`` and ``text`` are
                what had come.
            TurnOverflow: the events were not read fast enough.
            RemoteProtocolError: an event cannot be read, or the response ended without saying how.
        """
        if not self._frames and not await self._fetch():
            raise StopAsyncIteration
        self._shown = True
        return self._read()

    async def response(self) -> Response:
        """Wait for the end; what was not read by then is skipped.

        If no event of the turn was read before, a lost answer is asked for again where that can do no harm (``repeat``
        of `agentwire.connect`).

        Returns:
            The final response: ``completed``, or ``incomplete`` if it stops short.

        Raises:
            TurnCancelled: it was cancelled here.
            ...: what reading an event raises.
        """
        while True:  # noqa: ASYNC913 - each further round has asked again
            try:
                while self._frames or await self._fetch():
                    self._read()
            except RequestLost as lost:
                if self._shown or self._asking.is_steered or not self.may_ask_again(lost):
                    raise
                await self.ask_again(lost)
            else:
                if self._cancelled:
                    raise TurnCancelled(self)
                assert self._heard.final is not None
                return self._heard.final

    def may_ask_again(self, lost: RequestLost) -> bool:
        """Whether `ask_again` is permitted by the client's ``repeat``, and of use."""
        return self._asking.may_repeat(lost)

    async def ask_again(self, lost: RequestLost) -> None:
        """Ask for the same turn from the start, after it was lost in this way: what had come is void.

        Raises:
            RequestLost: the server cannot be reached.
        """
        self._heard = Heard()
        self._ended.clear()
        self._frames.clear()
        self._over, self._failure = False, None
        try:
            await self._asking.ask_again(lost)
        except RequestLost as error:
            self._fail(error)
            error.items, error.text = lost.items, lost.text
            raise

    async def steer(self, /, input: Input) -> Steer:  # noqa: A002 - the wire's own name
        """Tell the model something while it works, and wait until the server has taken it.

        The response that runs then ends as soon as no item is torn by it (``incomplete``, reason ``steered``), or by
        itself; the server lets a successor follow that has the input, and this turn goes on with the successor's
        events. If the response ends with calls for the client instead, the turn ends with it, and the steer waits for
        the turn that answers them on the same lane. May be called beside whoever iterates. Cancelled, the steer may
        have been sent.

        Args:
            input: a text, or messages of the user.

        Returns:
            The steer, which knows what becomes of it: `Steer.delivered`.

        Raises:
            SteerRefused: the server, or the way to it, does not take it; ``input`` is handed back.
            SteerLost: the connection ended before the server had said a word, or it never said one.
            LocalProtocolError: the input is more than messages of the user.
        """
        return await send_steer(self._asking, input)

    async def cancel(self) -> None:
        """End the turn: no event of it will reach anybody any more, and an iteration of it is over.

        A server that has the extension for that stops (`docs/topics/extensions.md`), and over HTTP the connection is
        closed; this waits for the server's word, ``limits.close_grace`` seconds at most. Any other server may go on,
        unseen: what it still says is swallowed before the lane is used again (Responses WebSocket guide: there is no
        event that cancels a response).
        """
        self._cancelled = True
        self._frames.clear()
        await self._asking.cancel()

    # Events

    def _read(self) -> Event:
        """The next event that has come."""
        try:
            event = decode_event(self._frames.popleft())
        except AgentwireError as error:
            raise self._fail(error) from error.__cause__
        self._take(event)
        if isinstance(event, ErrorEvent) and not self._heard.began:
            raise self._fail(event.to_error())
        return event

    async def _fetch(self) -> bool:
        """Wait for more; False at a good end, and at any other what went wrong is raised."""
        if self._cancelled:
            await trio.lowlevel.checkpoint()
            return False
        if not self._over:
            try:
                frames = await self._asking.receive_frames()
            except AgentwireError as error:
                raise self._fail(error) from error.__cause__
            if frames and not self._cancelled:
                self._frames.extend(frames)
                return True
            self._over = True
            if not self._cancelled:
                self._failure = self._heard.failure()
        if self._failure is not None:
            raise self._failure
        return False

    def _take(self, event: Event) -> None:
        if isinstance(event, ResponseCreated) and self._heard.final is not None:  # it was steered: the successor
            self._ended.append(self._heard.final)
            self._heard = Heard()
        heard = self._heard
        heard.take(event)
        if heard.worked:
            self._asking.server_worked()
        if isinstance(event, TERMINAL) and heard.final is not None:
            self._failure = heard.failure()
            if self._failure is None:
                self._on_end(self, heard.final)

    def _fail(self, error: AgentwireError) -> AgentwireError:
        self._over = True
        self._failure = error
        self._frames.clear()
        if isinstance(error, RequestLost):
            error.items, error.text = self.items, self.text
        return error
