"""Which request a response answers, and what became of each request.

What cannot be told for sure, such as which of two waiting requests was refused, is left out rather than guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from agentwire.testing.entry import Entry
from agentwire.testing.lanes import Lane, Response
from agentwire.testing.trace_entries import CREATE
from agentwire.testing.wires import Wire

__all__ = ["Item", "Turn", "answers", "asked_for", "take_steers", "turns"]

Item = Mapping[str, Any]
"""An item, as it is in JSON."""


@attrs.define(eq=False)
class Turn:
    """A request and what became of it.

    Attributes:
        wire: where it went by.
        lane: its ``stream_id``.
        request: the client's; None for the successor of a steered response.
        steers: what it takes up of what was said meanwhile, in front of what was asked.
        response: what was made for it; None if it was refused or has no answer.
        refusal: the error that refused it.
    """

    wire: Wire
    lane: object
    request: Entry | None = None
    steers: Sequence[Entry] = ()
    response: Response | None = None
    refusal: Entry | None = None

    @property
    def id(self) -> str | None:
        """The id of its response."""
        found = self._member("id")
        return found if isinstance(found, str) else None

    @property
    def parent(self) -> str | None:
        """The id of the response that it continues, as asked for or as told."""
        asked = self.request.event.get("previous_response_id") if self.request is not None else None
        found = asked or self._member("previous_response_id")
        return found if isinstance(found, str) else None

    @property
    def end(self) -> Entry | None:
        """Its terminal event."""
        return self.response.terminals[0] if self.response is not None and self.response.terminals else None

    @property
    def output(self) -> list[Item] | None:
        """The items that came of it, if it ended in a way that can be continued."""
        if self.end is None or self.end.type == "response.failed":
            return None
        body = self.end.event.get("response")
        output = body.get("output") if isinstance(body, Mapping) else None
        whole = isinstance(output, list) and all(isinstance(item, Mapping) for item in output)
        return output if whole else None

    def _member(self, name: str) -> Any:
        body = self.response.events[0].event.get("response") if self.response is not None else None
        return body.get(name) if isinstance(body, Mapping) else None


def take_steers(created: Entry, waiting: list[Entry]) -> list[Entry]:
    """The steers that a response takes up, out of all that waits: those of the response that it continues."""
    steers = [request for request in _continuing(created, waiting) if request.type == "response.steer"]
    for steer in steers:
        waiting.remove(steer)
    return steers


def asked_for(created: Entry, waiting: Sequence[Entry]) -> bool:
    """Whether a request that waits continues the same response; else it was begun for the sake of steers."""
    return any(
        request.type == CREATE and answers(created, request, waiting) for request in _continuing(created, waiting)
    )


def _continuing(created: Entry, waiting: Sequence[Entry]) -> list[Entry]:
    response = created.event.get("response")
    parent = response.get("previous_response_id") if isinstance(response, Mapping) else None
    return [request for request in waiting if request.event.get("previous_response_id") == parent]


def answers(created: Entry, request: Entry, waiting: Sequence[Entry] = ()) -> bool:
    """Whether a response may be the one that was asked for, by what it repeats of the request.

    A server may give a model another name; one that somebody else who waits has asked for tells the two apart.
    """
    response = created.event.get("response")
    if request.type != CREATE or not isinstance(response, Mapping):
        return True  # a steer is answered by a response that it did not describe
    members = ["previous_response_id", "instructions", "metadata"]
    if any(other.event.get("model") == response.get("model") for other in waiting):
        members.append("model")
    return all(
        response[key] == request.event[key]
        for key in members
        if request.event.get(key) is not None and response.get(key) is not None
    )


def turns(wire: Wire) -> list[Turn]:
    """The turns of a wire, lane by lane, in the order of their answers; then those without one."""
    if wire.partial:
        return []
    if wire.body is not None:
        return _posted(wire)
    return [turn for lane in wire.lanes for turn in _of_lane(wire, lane)]


def _posted(wire: Wire) -> list[Turn]:
    """A request that was answered with one JSON document."""
    assert wire.body is not None
    (entry, status), request = wire.body, next(iter(wire.messages), None)
    body = entry.event["body"]
    if status >= 400 or ("error" in body and "output" not in body):
        return [Turn(wire, None, request, refusal=entry)]
    kind = f"response.{body.get('status')}"
    told = attrs.evolve(entry, event={"type": kind, "response": body})
    response = Response()
    response.add(told)
    return [Turn(wire, None, request, response=response)]


def _of_lane(wire: Wire, lane: Lane) -> Iterator[Turn]:
    waiting: list[Entry] = []
    begun = iter(lane.responses)
    handed_back = _handed_back(lane)
    for entry in lane.order:
        if entry.who == "client" and (back := _steer(entry.event)) in handed_back:
            handed_back.remove(back)
        elif entry.who == "client":
            waiting.append(entry)
        elif entry.type == "error":
            if len(waiting) == 1:
                yield Turn(wire, lane.name, waiting.pop(), refusal=entry)
            elif waiting and all(request.event == waiting[0].event for request in waiting):
                yield Turn(wire, lane.name, waiting.pop(0), refusal=entry)
        else:
            yield _answered(wire, lane, entry, waiting, next(begun))
    for request in waiting:
        if request.type == CREATE:
            yield Turn(wire, lane.name, request)


def _handed_back(lane: Lane) -> list[object]:
    """The steers that nobody takes up."""
    told = [*lane.strays, *(entry for response in lane.responses for entry in response.events)]
    failed = [entry.event.get("steer") for entry in told if entry.type == "response.steer.failed"]
    return [back for steer in failed if isinstance(steer, Mapping) and (back := _steer(steer)) is not None]


def _steer(event: Mapping[str, Any]) -> object:
    """By whom and what a steer tells; None for any other request."""
    if event.get("type") not in (None, "response.steer"):
        return None
    return [event.get("previous_response_id"), event.get("input")]


def _answered(wire: Wire, lane: Lane, created: Entry, waiting: list[Entry], response: Response) -> Turn:
    steers = take_steers(created, waiting)
    if steers and not asked_for(created, waiting):
        return Turn(wire, lane.name, None, steers, response)
    fitting = [place for place, request in enumerate(waiting) if answers(created, request, waiting)]
    parent = Turn(wire, lane.name, response=response).parent
    best = [place for place in fitting if waiting[place].event.get("previous_response_id") == parent]
    place = next(iter(best or fitting), None)
    request = None if place is None else waiting.pop(place)
    return Turn(wire, lane.name, request, steers, response)
