"""The lanes of one wire, with their requests and responses, as its messages tell them.

A response has its lane's events from its ``response.created`` to the next one's; there is no id on most events. A steer
names no lane: it belongs to that of the response that it names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from agentwire.protocol import events
from agentwire.protocol.hello import NOT_RUNNING
from agentwire.testing.entry import Entry

__all__ = ["Lane", "Response", "lanes"]

_STEER: Final = "response.steer"
_TERMINAL: Final = frozenset(event.type for event in events.TERMINAL)


@attrs.define(eq=False)
class Response:
    """What a server told of one response.

    Attributes:
        events: from ``response.created`` on, in order.
        terminals: those of them that end it.
    """

    events: list[Entry] = attrs.field(factory=list)
    terminals: list[Entry] = attrs.field(factory=list)

    def add(self, entry: Entry) -> None:
        """The lane's next event."""
        self.events.append(entry)
        if entry.type in _TERMINAL:
            self.terminals.append(entry)


@attrs.define(eq=False)
class Lane:
    """One lane of a wire.

    Attributes:
        name: its ``stream_id``; None for the default lane.
        requests: what the client asked for.
        responses: what the server told, in order.
        refusals: errors that belong to no response.
        strays: other events that belong to no response.
        order: requests, first events of responses and refusals, as they came.
    """

    name: object
    requests: list[Entry] = attrs.field(factory=list)
    responses: list[Response] = attrs.field(factory=list)
    refusals: list[Entry] = attrs.field(factory=list)
    strays: list[Entry] = attrs.field(factory=list)
    order: list[Entry] = attrs.field(factory=list)
    _last: Entry | None = None

    def hear(self, entry: Entry) -> None:
        """An event of the server."""
        self._sort(entry)
        self._last = entry

    def _sort(self, entry: Entry) -> None:
        response = self.responses[-1] if self.responses else None
        if entry.type == "response.failed" and response is not None:
            self._take_back_error(response)
        if entry.type == "response.created":
            response = Response()
            self.responses.append(response)
            self.order.append(entry)
            response.add(entry)
        elif entry.type == "error" and (response is None or _is_refusal(response, entry)):
            self.refusals.append(entry)
            self.order.append(entry)
        elif response is None:
            self.strays.append(entry)
        else:
            response.add(entry)

    def _take_back_error(self, response: Response) -> None:
        """An error right in front of ``response.failed`` belongs to that response, with a number or without."""
        if self._last is not None and self.refusals and self.refusals[-1] is self._last:
            self.order.remove(self.refusals.pop())
            response.add(self._last)


def _is_refusal(response: Response, error: Entry) -> bool:
    """An error after the end, or with another number than is next, is about another request than the one that runs."""
    numbered = sum(entry.event.get("sequence_number") is not None for entry in response.events)
    return bool(response.terminals) or error.event.get("sequence_number") != numbered


def lanes(happened: Iterable[Entry]) -> list[Lane]:
    """The lanes of one wire, in the order in which they were first used."""
    found: dict[object, Lane] = {}
    places: dict[object, object] = {}
    for entry in happened:
        if entry.who == "local" or _answers_cancel(entry):
            continue
        name = entry.event.get("stream_id")
        if entry.type == _STEER:
            name = places.get(_hashable(entry.event.get("previous_response_id")))
        lane = found.setdefault(name if isinstance(name, str) else None, Lane(name))
        if entry.who == "server":
            if entry.type == "response.created":
                places[_id(entry)] = name
            lane.hear(entry)
        elif entry.type in ("response.create", _STEER):
            lane.requests.append(entry)
            lane.order.append(entry)
    return list(found.values())


def _answers_cancel(entry: Entry) -> bool:
    """The extension's word that there was nothing to cancel: it is about no request of a response."""
    error = entry.event.get("error")
    return entry.type == "error" and isinstance(error, Mapping) and error.get("code") == NOT_RUNNING


def _id(entry: Entry) -> object:
    response = entry.event.get("response")
    return _hashable(response.get("id")) if isinstance(response, Mapping) else None


def _hashable(given: object) -> object:
    """An id; what is none is as good as its text."""
    return given if given is None or isinstance(given, str) else repr(given)
