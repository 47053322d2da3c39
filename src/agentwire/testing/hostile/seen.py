"""What a server saw of its clients: connections, turns, complaints, and the last lines of what went over the wire.

Everything is bounded but the turns and connections themselves, of which a client makes only so many in a test.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import attrs
import trio

__all__ = ["Seen", "SeenConnection", "SeenTurn"]

_LINES = 400
_SHOWN = 600


@attrs.frozen
class SeenTurn:
    """A request for a response that came.

    Attributes:
        number: of it, from 1, over all connections.
        connection: the number of its connection.
        over: which transport.
        lane: its ``stream_id``; None for the default lane.
        body: the request.
        at: Trio's time.
    """

    number: int
    connection: int
    over: Literal["websocket", "http"]
    lane: str | None
    body: Mapping[str, Any] = attrs.field(repr=False)
    at: float

    @property
    def items(self) -> list[Mapping[str, Any]]:
        """The items of its input."""
        given = self.body.get("input") or []
        if isinstance(given, str):
            return [{"role": "user", "content": given}]
        return [item for item in given if isinstance(item, Mapping)] if isinstance(given, list) else []


@attrs.define(eq=False)
class SeenConnection:
    """A connection that was made.

    Attributes:
        number: of it, from 0.
        at: Trio's time at which it came.
        kind: ``tcp`` until its first request is read; ``beside`` for what is not the API's.
        status: how its upgrade was answered; 0 if it was not, or is none.
        ended_at: Trio's time at which it ended; None while it is open.
        how: it ended, in words.
        pings: pings that came.
        pongs: pongs that came.
    """

    number: int
    at: float
    kind: Literal["tcp", "websocket", "http", "beside"] = "tcp"
    status: int = 0
    ended_at: float | None = None
    how: str = ""
    pings: int = 0
    pongs: int = 0
    closed: trio.Event = attrs.Factory(trio.Event)

    def end(self, how: str) -> None:
        """Note its end, the first time."""
        if self.ended_at is None:
            self.ended_at, self.how = trio.current_time(), how
            self.closed.set()


@attrs.define(eq=False)
class Seen:
    """All that a server saw.

    Attributes:
        connections: in order.
        turns: in order; warm-ups are not among them.
        complaints: what clients sent that nobody may send.
        reused: questions on lanes whose last answer had no end.
        running: answers that are being given.
        peak: most of them at once.
        lines: what went over the wire, the latest.
        deeds: names of what was done to them, in order.
        listener: told each of these lines.
    """

    connections: list[SeenConnection] = attrs.field(factory=list)
    turns: list[SeenTurn] = attrs.field(factory=list)
    complaints: list[str] = attrs.field(factory=list)
    reused: list[str] = attrs.field(factory=list)
    running: int = 0
    peak: int = 0
    lines: deque[str] = attrs.field(factory=lambda: deque(maxlen=_LINES))
    deeds: list[str] = attrs.field(factory=list)
    listener: Callable[[str], None] | None = None
    _begun: float | None = None

    def connect(self) -> SeenConnection:
        """One more connection."""
        connection = SeenConnection(len(self.connections), trio.current_time())
        self.connections.append(connection)
        return connection

    @contextmanager
    def answering(self) -> Generator[None]:
        """The block is one answer."""
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            yield
        finally:
            self.running -= 1

    def complain(self, connection: SeenConnection, what: str) -> None:
        """A client sent rubbish."""
        self.complaints.append(what)
        self.note(connection, "!", what)

    def say(self, sign: str, said: object, *, where: str = "") -> None:
        """One line: ``<`` came, ``>`` went, ``*`` happened, ``!`` must not be."""
        text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
        text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
        now = trio.current_time()
        self._begun = now if self._begun is None else self._begun
        line = f"{now - self._begun:8.3f}  {where or 'local'} {sign} {text}"
        self.lines.append(line)
        if self.listener is not None:
            self.listener(line)

    def note(self, connection: SeenConnection, sign: str, said: object) -> None:
        """One line about a connection."""
        self.say(sign, said, where=f"{connection.kind}{connection.number}")
