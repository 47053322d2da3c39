"""Watches what servers say: each WebSocket and each event stream of this process, judged by the grammar as it is sent.

It looks at the bytes that leave, below everything that makes them, so that it needs no help from what it judges. It
never interferes: what breaks a rule is noted, and whoever watches decides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import attrs
import msgspec

from agentwire.protocol.checks import shorten
from agentwire.protocol.errors import RemoteProtocolError
from agentwire.protocol.grammar import Checker, GrammarError
from agentwire.server import server as served
from agentwire.testing.telling import Telling
from agentwire.transport.frames import FrameParser
from agentwire.transport.http11 import HttpConnection
from agentwire.transport.http_requests import Headers
from agentwire.transport.sse import SseParser
from agentwire.transport.streams import Data, NetworkStream

if TYPE_CHECKING:
    from agentwire.protocol.limits import Limits
    from agentwire.runtime.contracts import ByteStream

__all__ = ["Broken", "Follower", "Violation", "Watch", "watching"]

Event = dict[str, Any]

_HEAD_END: Final = b"\r\n\r\n"
_LARGEST: Final = 1 << 30
_EVIDENCE: Final = 6
_LONGEST_QUOTE: Final = 400
_KEPT_STREAMS: Final = 64


@attrs.frozen
class Violation:
    """One rule broken on one connection.

    Attributes:
        rule: its name, a key of `agentwire.protocol.order.RULES`; ``frame`` for bytes that are no message at all.
        message: what was wrong.
        where: the connection, in words.
        events: the last events there, the wrong one last.
    """

    rule: str
    message: str
    where: str
    events: tuple[str, ...]

    def __str__(self) -> str:
        told = "".join(f"\n    {event}" for event in self.events)
        return f"{self.rule}: {self.message} ({self.where}){told}"


class Broken(AssertionError):
    """Servers broke rules while they were watched."""

    def __init__(self, violations: Iterable[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("\n".join(("a server sent what is not legal", *map(str, self.violations))))


@attrs.define(eq=False)
class Watch:
    """What was seen so far.

    Args:
        alarm: called with each violation as it happens.

    Attributes:
        violations: what broke a rule, oldest first.
        connections: WebSockets and event streams that were followed.
        events: events that were judged.
    """

    alarm: Callable[[Violation], object] | None = None
    violations: list[Violation] = attrs.field(factory=list)
    connections: int = 0
    events: int = 0
    _sessions: dict[str, Telling] = attrs.field(factory=dict)
    _background: dict[str, list[Event]] = attrs.field(factory=dict)

    def check(self) -> None:
        """Raise `Broken` if there are violations, and forget them."""
        violations, self.violations = self.violations, []
        if violations:
            raise Broken(violations)

    def _told_in_sessions(self, response_id: str) -> list[Event]:
        """The events of a response that a session's connection has told."""
        return next(filter(None, (telling.of(response_id) for telling in self._sessions.values())), [])

    def clear(self) -> None:
        """Forget violations, and what was kept to follow streams that go on elsewhere."""
        self.violations = []
        self._sessions.clear()
        self._background.clear()


@contextmanager
def watching(watch: Watch | None = None) -> Generator[Watch]:
    """Follow every connection that a server of this process takes within the block."""
    watch = watch or Watch()
    server: Any = served  # its name for the class that every connection begins as
    plain = server.HttpConnection
    server.HttpConnection = partial(_WatchedConnection, watch)
    try:
        yield watch
    finally:
        server.HttpConnection = plain


class Follower:
    """Judges the events of one connection, until the first that is wrong."""

    def __init__(self, watch: Watch, where: str) -> None:
        self._watch = watch
        self._where = where
        self._last: deque[bytes] = deque(maxlen=_EVIDENCE)
        self.silent = False
        watch.connections += 1

    def take(self, payload: bytes, judge: Callable[[Event], None]) -> None:
        """One message."""
        if self.silent:
            return
        self._watch.events += 1
        self._last.append(payload)
        try:
            judge(_decode(payload))
        except GrammarError as error:
            self.tell(error.rule, error.message)

    def tell(self, rule: str, message: str) -> None:
        """A rule is broken, and what follows means nothing."""
        self.silent = True
        events = tuple(payload[:_LONGEST_QUOTE].decode(errors="replace") for payload in self._last)
        violation = Violation(rule, message, self._where, events)
        self._watch.violations.append(violation)
        if self._watch.alarm is not None:
            self._watch.alarm(violation)


def _decode(payload: bytes) -> Event:
    try:
        event = msgspec.json.decode(payload)
    except ValueError as error:
        raise GrammarError("shape", f"a message that is not JSON: {error}") from None
    if not isinstance(event, dict):
        raise GrammarError("shape", f"a message that is no object: {shorten(payload)}")
    return event


# WebSockets


class _WatchedStream(NetworkStream):
    """A socket that has been taken over: what is written after the 101 are frames."""

    def __init__(self, stream: NetworkStream, watch: Watch, where: str) -> None:
        self._stream = stream
        self._watch = watch
        self._follower = Follower(watch, where)
        self._head: bytearray | None = bytearray()
        self._parser = FrameParser(masked=False, max_message=_LARGEST)
        self._session = Telling()
        self._first = True
        self.peer = getattr(stream, "peer", "unknown")

    def _hear(self, data: Data) -> None:
        if self._head is not None:
            self._head += data
            end = self._head.find(_HEAD_END)
            if end < 0:
                return
            data, self._head = bytes(self._head[end + len(_HEAD_END) :]), None
        try:
            for found in self._parser.feed(bytes(data)):
                if isinstance(found, bytes):
                    self._follower.take(found, self._judge)
        except RemoteProtocolError as error:
            if not self._follower.silent:
                self._follower.tell("frame", str(error))

    def _judge(self, event: Event) -> None:
        if event.get("type") == "agentwire:welcome":
            self._welcome(event)
        self._session.take(event)

    def _welcome(self, event: Event) -> None:
        """A session that may go on on another connection, or has come from one."""
        token = str((event.get("session") or {}).get("token", ""))
        known = self._watch._sessions.get(token) if event.get("resumed") else None
        if known is not None:
            self._session = known
            known.resume()
        elif token:
            self._watch._sessions[token] = self._session
            self._session.keep()

    def send_nowait(self, data: bytes | memoryview) -> int:
        sent = self._stream.send_nowait(data)
        self._hear(data[:sent])
        return sent

    async def wait_send(self, data: bytes | memoryview) -> int:
        sent = await self._stream.wait_send(data)
        self._hear(data[:sent])
        return sent

    async def send_all(self, data: Data) -> None:
        await self._stream.send_all(data)
        self._hear(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self._stream.aclose()


# HTTP


class _WatchedConnection(HttpConnection):
    """An HTTP connection of a server: its event streams are followed, and what becomes of it when it is upgraded."""

    def __init__(self, watch: Watch, stream: ByteStream, limits: Limits, **more: Any) -> None:
        super().__init__(stream, limits, **more)
        self._watch = watch
        self._events: _EventStream | None = None

    def take_over(self) -> tuple[Any, Any]:
        """See `HttpConnection.take_over`."""
        stream, rest = super().take_over()
        return _WatchedStream(stream, self._watch, f"WebSocket of {self.peer}"), rest  # type: ignore[arg-type]

    async def start_stream(self, status: int, headers: Headers = (), first: bytes = b"") -> None:
        """See `HttpConnection.start_stream`."""
        headers = list(headers.items() if isinstance(headers, Mapping) else headers)
        kind = next((value for name, value in headers if name.lower() == "content-type"), "")
        if kind.startswith("text/event-stream") and self._request is not None:
            self._events = _EventStream(self._watch, self._request.method, self._request.target)
            self._events.feed(first)
        await super().start_stream(status, headers, first)

    async def send_chunk(self, data: bytes) -> None:
        """See `HttpConnection.send_chunk`."""
        if self._events is not None:
            self._events.feed(data)
        await super().send_chunk(data)

    async def end_stream(self, last: bytes = b"") -> None:
        """See `HttpConnection.end_stream`."""
        if self._events is not None:
            self._events.feed(last)
            self._events.finish()
            self._events = None
        await super().end_stream(last)


class _EventStream:
    """One response as server-sent events, perhaps from its middle on."""

    def __init__(self, watch: Watch, method: str, target: str) -> None:
        self._watch = watch
        self._follower = Follower(watch, f"{method} {target}")
        self._parser = SseParser(_LARGEST)
        self._checker = Checker()
        self._told: list[Event] = []
        self._from = _starting_after(target)
        self._id = urlsplit(target).path.rpartition("/")[2]
        self._blind = False

    def feed(self, data: bytes) -> None:
        """More of the body."""
        for payload in self._parser.feed(data):
            if payload != b"[DONE]":
                self._follower.take(payload, self._judge)

    def _judge(self, event: Event) -> None:
        if self._from is not None:
            self._catch_up(self._from)
            self._from = None
        if self._blind:
            return
        self._checker.feed(event)
        self._told.append(event)
        response = event.get("response")
        if isinstance(response, dict) and response.get("background"):
            self._watch._background[str(response.get("id"))] = self._told
            while len(self._watch._background) > _KEPT_STREAMS:
                del self._watch._background[next(iter(self._watch._background))]

    def _catch_up(self, number: int) -> None:
        """The client says what it has: that must have been told before, or there is nothing to judge by."""
        known = self._watch._background.get(self._id) or self._watch._told_in_sessions(self._id)
        told = [event for event in known if event["sequence_number"] <= number]
        self._blind = len(told) <= number
        for event in () if self._blind else told:
            self._checker.feed(event)
            self._told.append(event)

    def finish(self) -> None:
        """The body ends here."""
        if self._follower.silent or self._blind or self._from is not None:
            return
        try:
            self._checker.finish()
        except GrammarError as error:
            self._follower.tell(error.rule, error.message)


def _starting_after(target: str) -> int | None:
    given = parse_qs(urlsplit(target).query).get("starting_after", [""])[0]
    return int(given) if given.isascii() and given.isdigit() else None
