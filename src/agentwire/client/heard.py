"""What has come of one response, event by event: its text, its items, and how it went wrong, if it did.

Servers differ in how much they say: some leave out ``response.created``, some list the output in its own events only,
and some break a response without ending it.
"""

from __future__ import annotations

import attrs

from agentwire.client.context import is_server_work
from agentwire.link import ResponseError
from agentwire.protocol.errors import AgentwireError, RemoteProtocolError
from agentwire.protocol.events import (
    TERMINAL,
    ErrorEvent,
    Event,
    OutputItemAdded,
    OutputItemDone,
    OutputTextDelta,
    ResponseCompleted,
    ResponseFailed,
    ResponseIncomplete,
)
from agentwire.protocol.items import Item
from agentwire.protocol.response import Response

__all__ = ["Heard"]


@attrs.define(eq=False)
class Heard:
    """One response, as far as it has come.

    Attributes:
        began: whether it has begun.
        final: the response as it ended; None before.
        worked: whether the server has begun to run a tool of its own.
    """

    began: bool = False
    final: Response | None = None
    worked: bool = False
    _pieces: list[str] = attrs.field(factory=list)
    _items: dict[int, Item] = attrs.field(factory=dict)
    _working: set[int] = attrs.field(factory=set)
    _broke: ErrorEvent | None = None
    _failed: bool = False

    @property
    def text(self) -> str:
        """What the model has written."""
        return "".join(self._pieces)

    @property
    def items(self) -> tuple[Item, ...]:
        """The output items that are finished, in order."""
        return tuple(item for _, item in sorted(self._items.items(), key=lambda pair: pair[0]))

    @property
    def is_working(self) -> bool:
        """Whether the server has begun to run a tool of its own, and not said what came of it."""
        return bool(self._working)

    def take(self, event: Event) -> None:
        """An event has come."""
        if isinstance(event, OutputTextDelta):
            self._pieces.append(event.delta)
        elif isinstance(event, OutputItemAdded | OutputItemDone):
            self._take_item(event)
        elif isinstance(event, ErrorEvent):
            self._broke = event
            return
        elif isinstance(event, TERMINAL):
            self._end(event)
        self.began = True

    def _take_item(self, event: OutputItemAdded | OutputItemDone) -> None:
        index, done = event.output_index, isinstance(event, OutputItemDone)
        if is_server_work(event.item):
            self.worked = True
            self._working.discard(index) if done else self._working.add(index)
        if done:
            self._items[index] = event.item

    def _end(self, event: ResponseCompleted | ResponseIncomplete | ResponseFailed) -> None:
        response = event.response
        if not response.output and self._items:
            response = attrs.evolve(response, output=self.items)
        self.final = response
        self._failed = isinstance(event, ResponseFailed)

    def failure(self) -> AgentwireError | None:
        """What went wrong, now that nothing more will come; None if it ended well."""
        if self.final is None:
            if self._broke is None:
                return RemoteProtocolError("the server ended a response without saying how")
            error = self._broke.to_error()
            return ResponseError(error.status, error.code, error.message, param=error.param, headers=error.headers)
        return self._response_error(self.final) if self._failed else None

    def _response_error(self, final: Response) -> ResponseError:
        """The failure as an exception: the code is the response's, the status the error event's."""
        told, broke = final.error or {}, self._broke
        return ResponseError(
            broke.status if broke is not None and broke.status is not None else 500,
            str(told.get("code") or (broke and broke.code) or "server_error"),
            str(told.get("message") or (broke and broke.message) or "The response failed."),
            param=broke.param if broke is not None else None,
            headers=broke.headers if broke is not None else None,
            response=final,
        )
