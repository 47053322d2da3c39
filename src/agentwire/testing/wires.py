"""The wires in what happened: each WebSocket by itself, and each HTTP exchange, with how it ended.

A session that goes on on another connection is one wire: what is said again when it is resumed is told once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

import attrs

from agentwire.protocol.hello import HELLO, REPLY, WELCOME
from agentwire.testing.entry import Entry
from agentwire.testing.journal import Happened, entries
from agentwire.testing.lanes import Lane, Response, lanes
from agentwire.testing.trace_entries import CLOSING, CREATE, HTTP_REQUEST, HTTP_RESPONSE, STREAM_ENDED

__all__ = ["Recorded", "Wire", "wires"]

Transport = Literal["websocket", "sse", "json"]

_BODY: Final = "http.response.body"
_BESIDE: Final = (CLOSING, HTTP_REQUEST, HTTP_RESPONSE, STREAM_ENDED, "http.request.body", _BODY)
"""Types of entries of a wire that are no messages."""


@attrs.define(eq=False)
class Wire:
    """One WebSocket, on whichever connections its session was, or one HTTP exchange.

    Attributes:
        connection: the latest connection that it was on.
        exchange: the n-th request there; None for a WebSocket.
        principal: the label of the key that asked; None where there was none.
        transport: how it went by.
        messages: what was said by both sides, in order.
        beside: heads, close frames and the end of the connection, in order.
        left: connections that it had before this one, and lost.
        partial: it begins in the middle of a response.
    """

    connection: int = 0
    exchange: int | None = None
    principal: str | None = None
    transport: Transport = "websocket"
    messages: list[Entry] = attrs.field(factory=list)
    beside: list[Entry] = attrs.field(factory=list)
    left: list[int] = attrs.field(factory=list)
    partial: bool = False
    _again: _Again | None = None
    _lanes: tuple[int, list[Lane]] | None = None

    @property
    def lanes(self) -> list[Lane]:
        """What was said on each lane."""
        if self._lanes is None or self._lanes[0] != len(self.messages):
            self._lanes = (len(self.messages), lanes(self.messages))
        return self._lanes[1]

    @property
    def responses(self) -> list[Response]:
        """The responses on it, lane by lane."""
        return [response for lane in self.lanes for response in lane.responses]

    @property
    def body(self) -> tuple[Entry, int] | None:
        """The JSON that answered an HTTP request, and the status that it came with; None if there was none."""
        answer = next((entry for entry in self.beside if entry.type == _BODY), None)
        status = next((entry.event["status"] for entry in self.beside if entry.type == HTTP_RESPONSE), 0)
        return None if answer is None else (answer, status)

    @property
    def ended(self) -> Entry | None:
        """The first that was heard of its connection's end, if it has ended."""
        return next((entry for entry in self.beside if entry.type == "connection.ended"), None)

    @property
    def closing(self) -> Entry | None:
        """The first close frame."""
        return next((entry for entry in self.beside if entry.type == CLOSING), None)

    @property
    def stopped_by_server(self) -> bool:
        """The server has ended it of its own accord: nobody had left, and nothing had gone wrong on the way."""
        first = self.closing or self.ended
        if first is None or any(entry.type == "fault" for entry in self.beside):
            return False
        return first.who == "server" or first.event.get("by") == "server"

    @property
    def may_stop(self) -> bool:
        """It may end anywhere: the client has left, the connection was lost, or a close code says why."""
        if self.partial or self.transport == "json":
            return True
        if self.closing is None and self.ended is None:
            return False
        closing = self.closing
        if self.transport == "sse":
            return self.ended is not None and not self.stopped_by_server
        return not self.stopped_by_server or (closing is not None and closing.event.get("code") not in (1000, None))

    def hear(self, entry: Entry) -> None:
        """The next entry of its connection."""
        if entry.type in _BESIDE or entry.who == "local":
            self._note(entry)
        elif self._again is None or entry.who != "server" or self._again.is_new(entry.event):
            self.messages.append(entry)

    def _note(self, entry: Entry) -> None:
        self.beside.append(entry)
        if entry.type == HTTP_REQUEST:
            self.principal = entry.event.get("principal")
            self.partial = self.partial or _begins_later(entry.event)

    def go_on(self, other: Wire, received: object) -> None:
        """Another connection goes on with it: its entries come here from now on.

        Args:
            other: what was said on that connection so far.
            received: how many of the client's messages had arrived, as the server says; the others are said again.
        """
        self.left.append(self.connection)
        if isinstance(received, int):
            sent = [entry for entry in self.messages if entry.who == "client" and entry.type != HELLO]
            lost = {id(entry) for entry in sent[received:]}
            self.messages = [entry for entry in self.messages if id(entry) not in lost]
            self._lanes = None
        self.connection, self.beside = other.connection, other.beside
        self._again = _Again(self.messages)
        for entry in other.messages:
            self.hear(entry)


@attrs.define(eq=False)
class _Again:
    """What a session has been told, to find out what is told again: each lane goes on at some place, as it was."""

    _messages: list[Entry]
    _told: dict[object, list[Mapping[str, Any]]] = attrs.field(init=False)
    _place: dict[object, int] = attrs.field(factory=dict)
    _replies: list[Mapping[str, Any]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        said = [entry.event for entry in self._messages if entry.who == "server"]
        self._replies = [event for event in said if REPLY in event]
        self._told = {}
        for event in said:
            if REPLY not in event and "sequence_number" in event:
                self._told.setdefault(event.get("stream_id"), []).append(event)

    def is_new(self, event: Mapping[str, Any]) -> bool:
        if REPLY in event:
            return event not in self._replies
        if "sequence_number" not in event:
            return True
        lane = event.get("stream_id")
        told = self._told.get(lane, [])
        place = self._place.get(lane)
        if place is None:
            place = next((place for place in reversed(range(len(told))) if told[place] == event), len(told))
        self._place[lane] = place + 1
        return place >= len(told) or told[place] != event


def _begins_later(event: Mapping[str, Any]) -> bool:
    return "starting_after" in parse_qs(urlsplit(str(event.get("target"))).query)


class Recorded:
    """What happened, of which the wires are looked for only once.

    Attributes:
        entries: what happened.
        memo: what else was found out about it, by whoever did.
    """

    def __init__(self, happened: Happened) -> None:
        self.entries: tuple[Entry, ...] = entries(happened)
        self.memo: object = None

    @classmethod
    def of(cls, happened: Happened) -> Recorded:
        """What happened, read once, if it is not yet."""
        return happened if isinstance(happened, Recorded) else cls(happened)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    @cached_property
    def wires(self) -> list[Wire]:
        """See the function `wires`."""
        return _find(self.entries)


def wires(happened: Happened) -> list[Wire]:
    """The wires, in the order in which they began; those that have nothing of this protocol are left out."""
    return Recorded.of(happened).wires


def _find(told: tuple[Entry, ...]) -> list[Wire]:
    found: dict[tuple[int, int | None], Wire] = {}
    sessions: dict[str, Wire] = {}
    for entry in told:
        if entry.who == "local":
            _tell_all(found.values(), entry)
            continue
        where = (entry.connection, _exchange(entry))
        wire = found.setdefault(where, Wire(*where))
        wire.hear(entry)
        if entry.exchange is not None and where[1] is not None:
            wire.transport = _transport(wire, entry)
        if entry.type == WELCOME and entry.who == "server":
            found[where] = _welcome(wire, entry, sessions)
    unique = {id(wire): wire for wire in found.values()}
    return [wire for wire in unique.values() if wire.transport == "websocket" or _is_turn(wire)]


def _exchange(entry: Entry) -> int | None:
    """A handshake belongs to the WebSocket that it opens."""
    if entry.event.get("upgrade") or (entry.type == HTTP_RESPONSE and entry.event.get("status") == 101):
        return None
    return entry.exchange


def _tell_all(found: Iterable[Wire], entry: Entry) -> None:
    if entry.type in ("connection.ended", "fault"):
        for wire in found:
            if wire.connection == entry.connection:
                wire.hear(entry)


def _transport(wire: Wire, entry: Entry) -> Transport:
    """It is a stream as soon as it has an event."""
    return "sse" if wire.transport == "sse" or (entry.who == "server" and entry.type not in _BESIDE) else "json"


def _is_turn(wire: Wire) -> bool:
    asked = next((str(entry.event.get("target")) for entry in wire.beside if entry.type == HTTP_REQUEST), "")
    again = wire.transport == "sse" and "/responses/" in asked
    return again or any(entry.type == CREATE for entry in wire.messages)


def _welcome(wire: Wire, entry: Entry, sessions: dict[str, Wire]) -> Wire:
    session = entry.event.get("session")
    session = session if isinstance(session, Mapping) else {}
    token = str(session.get("token", ""))
    known = sessions.get(token) if entry.event.get("resumed") else None
    if known is not None and known is not wire:
        known.go_on(wire, session.get("received"))
        return known
    if token:
        sessions[token] = wire
    return wire
