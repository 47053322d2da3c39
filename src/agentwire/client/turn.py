"""A turn as the client sees it: typed events, the text so far, and in the end the response.

What goes wrong is raised where the caller is: a refused request and a failed response as their errors, a lost
connection with what had come before it.
"""

from __future__ import annotations

from typing import Self

import attrs

from agentwire.link import Exchange, Fate, RequestLost, ResponseError
from agentwire.protocol.errors import AgentwireError, RemoteProtocolError
from agentwire.protocol.events import (
    TERMINAL,
    ErrorEvent,
    Event,
    OutputItemDone,
    OutputTextDelta,
    ResponseCreated,
    ResponseFailed,
)
from agentwire.protocol.items import Item
from agentwire.protocol.response import Response

__all__ = ["Turn"]


class Turn:
    """One turn; made by `Client.turn`. Iterate it for its events, from one task.

    Attributes:
        text: what the model has written so far.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.text = ""
        self._exchange = exchange
        self._items: dict[int, Item] = {}
        self._began = False
        self._broke: ErrorEvent | None = None
        self._final: Response | None = None
        self._failure: AgentwireError | None = None
        self._over = False

    @property
    def fate(self) -> Fate:
        """How far the request has come."""
        return self._exchange.fate

    @property
    def response_id(self) -> str | None:
        """The response's id, once it has begun."""
        return self._exchange.response_id

    @property
    def stream_id(self) -> str | None:
        """The lane that it runs on; None is the default lane."""
        return self._exchange.lane.name

    @property
    def items(self) -> tuple[Item, ...]:
        """The output items that are finished, in order."""
        return tuple(item for _, item in sorted(self._items.items(), key=lambda pair: pair[0]))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event.

        The last one is the terminal event; for a failed response, what comes after it is `ResponseError`.

        Raises:
            RequestError: the server refused the request, or the response failed (then it is a `ResponseError`).
            RequestLost: the connection ended first.
            TurnOverflow: the events were not read fast enough.
            RemoteProtocolError: an event cannot be read, or the response ended without saying how.
        """
        if self._over:
            if self._failure is not None:
                raise self._failure
            raise StopAsyncIteration
        try:
            event = await self._exchange.receive()
        except AgentwireError as error:
            raise self._fail(error) from error.__cause__
        if event is None:
            raise self._fail(self._unfinished())
        self._take(event)
        if isinstance(event, ErrorEvent) and not self._began:
            raise self._fail(event.to_error())
        return event

    async def response(self) -> Response:
        """Wait for the end; what was not read by then is skipped.

        Returns:
            The final response: ``completed``, or ``incomplete`` if it stops short.

        Raises:
            What reading an event raises.
        """
        async for _ in self:
            pass
        assert self._final is not None
        return self._final

    def _take(self, event: Event) -> None:
        if isinstance(event, OutputTextDelta):
            self.text += event.delta
        elif isinstance(event, OutputItemDone):
            self._items[event.output_index] = event.item
        elif isinstance(event, ResponseCreated):
            self._began = True
        elif isinstance(event, ErrorEvent):
            self._broke = event
        elif isinstance(event, TERMINAL):
            self._end(event.response)
            if isinstance(event, ResponseFailed):
                self._failure = self._response_error()
        else:
            self._began = True

    def _end(self, response: Response) -> None:
        self._over = True
        if not response.output and self._items:  # some servers list the output in its own events only
            response = attrs.evolve(response, output=self.items)
        self._final = response

    def _response_error(self) -> ResponseError:
        """The failure as an exception: the code is the response's, the status the error event's."""
        assert self._final is not None
        told, broke = self._final.error or {}, self._broke
        return ResponseError(
            broke.status if broke is not None and broke.status is not None else 500,
            str(told.get("code") or (broke and broke.code) or "server_error"),
            str(told.get("message") or (broke and broke.message) or "The response failed."),
            param=broke.param if broke is not None else None,
            headers=broke.headers if broke is not None else None,
            response=self._final,
        )

    def _unfinished(self) -> AgentwireError:
        if self._broke is not None:
            error = self._broke.to_error()
            return ResponseError(error.status, error.code, error.message, param=error.param, headers=error.headers)
        return RemoteProtocolError("the server ended a response without saying how")

    def _fail(self, error: AgentwireError) -> AgentwireError:
        self._over = True
        self._failure = error
        if isinstance(error, RequestLost):
            error.items, error.text = self.items, self.text
        return error
