"""A session and a wire for tests: no network, and a peer that reads exactly when it is told to."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NoReturn

import attrs
import trio

from agentwire.protocol.codec import encode_json
from agentwire.protocol.errors import CloseFrame, ConnectionEnded
from agentwire.protocol.grammar import Checker
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, ByteSource, Engine, Out, Store
from agentwire.runtime.policies import Policy
from agentwire.runtime.replay import Seen
from agentwire.runtime.service import Service
from agentwire.runtime.tools import Toolbox
from agentwire.runtime.tools.registry import Registry
from agentwire.runtime.wire_session import WireSession
from agentwire.stores.memory import MemoryStore

TERMINALS = ("response.completed", "response.incomplete", "response.failed")
Event = dict[str, Any]


def service(
    engine: Engine,
    *tools: Callable[..., Any],
    limits: Limits | None = None,
    store: Store | None = None,
    registry: Registry | None = None,
) -> Service:
    """What turns need, with seeded ids and a clock that stands still."""
    limits = limits or Limits()
    return Service(
        engine=engine,
        toolbox=Toolbox.of(tools),
        store=store or MemoryStore(limits),
        limits=limits,
        sources=Sources.seeded(1),
        registry=registry,
    )


def create(content: Any = "hi", **fields: Any) -> bytes:
    """A ``response.create`` that stores nothing, unless asked to."""
    body = {"type": "response.create", "model": "test", "input": content, "store": False, **fields}
    return encode_json(body)


def output_for(event: Event, output: str = "done") -> list[dict[str, str]]:
    """The input that answers every call of a response."""
    calls = [item for item in event["response"]["output"] if item["type"] == "function_call"]
    return [{"type": "function_call_output", "call_id": call["call_id"], "output": output} for call in calls]


class MemoryWire:
    """A `Wire` whose peer is the test.

    Args:
        budget: messages that the peer takes; then it stops reading until `read` gives it more.

    Attributes:
        events: what the peer has received.
        heard: told of each event; the watch on all tests sets it.
    """

    def __init__(self, budget: float = math.inf) -> None:
        self.events: list[Event] = []
        self.heard: Callable[[bytes], None] = lambda _: None
        self.last_heard = trio.current_time()
        self.pings = 0
        self.closed: CloseFrame | None = None
        self.aborted: str | None = None
        self._budget = budget
        self._source: ByteSource | None = None
        self._inbox, self._messages = trio.open_memory_channel[bytes](math.inf)
        self._over = trio.Event()
        self._news = trio.Event()
        self._end = ConnectionEnded(cause="lost")

    # The peer's side

    def say(self, message: bytes) -> None:
        """The peer sends this."""
        self.last_heard = trio.current_time()
        self._inbox.send_nowait(message)

    def read(self, messages: float = math.inf) -> None:
        """The peer reads so many more messages."""
        self._budget += messages
        self.kick()

    def vanish(self, received: CloseFrame | None = None, cause: str = "the peer is gone") -> None:
        """The peer goes."""
        self._budget = 0
        self._end = ConnectionEnded(received=received, cause="" if received else cause)
        self._inbox.close()
        self._over.set()

    async def until(self, *kinds: str) -> list[Event]:
        """Wait for an event of one of these types, beyond what has been waited for; returns everything so far."""
        kinds = kinds or TERMINALS
        start = len(self.events)
        while not any(event["type"] in kinds for event in self.events[start:]):
            self._news = trio.Event()
            await self._news.wait()
        return self.events

    async def ask(self, content: Any = "hi", **fields: Any) -> list[Event]:
        """One turn on its own: its events, checked."""
        start, lane = len(self.events), fields.get("stream_id")
        self.say(create(content, **fields))
        while True:
            mine = [event for event in self.events[start:] if event.get("stream_id") == lane]
            if mine and (mine[-1]["type"] in TERMINALS or _is_refusal(mine)):
                break
            if self._news.is_set():  # several may wait for it
                self._news = trio.Event()
            await self._news.wait()
        check(mine)
        return mine

    # The server's side: `Wire`

    async def receive(self) -> bytes:
        try:
            return await self._messages.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise self._end from None

    async def receive_each(self, take: Callable[[bytes], None]) -> NoReturn:
        while True:
            take(await self.receive())

    async def send_many(self, source: ByteSource) -> None:
        self._source = source
        self.kick()
        await self._over.wait()
        raise self._end

    def offer(self, event: bytes) -> bool:
        return False

    def kick(self) -> None:
        while self._source is not None and self._budget >= 1 and not self._over.is_set() and self._source.pending:
            before = len(self.events)
            self._source.take(1, self._framing)
            self._budget -= len(self.events) - before
        self._news.set()

    def _framing(self, events: Sequence[bytes]) -> bytes:
        for event in events:
            self.heard(event)
        self.events += [json.loads(event) for event in events]
        return b"".join(events)

    def nudge(self) -> None:
        self.kick()

    def hurry(self) -> None:
        pass

    def ping(self) -> None:
        self.pings += 1

    async def close(self, code: int, reason: str = "", *, patience: float = 0.0) -> None:
        await trio.lowlevel.checkpoint()
        if self.closed is None:
            self.closed = CloseFrame(code, reason)
        self._end = ConnectionEnded(sent=self.closed)
        self._inbox.close()
        self._over.set()

    async def abort(self, cause: str) -> None:
        if self.aborted is None:
            self.aborted = cause
        self._inbox.close()
        self._over.set()
        await trio.lowlevel.checkpoint()


def _is_refusal(events: list[Event]) -> bool:
    return [event["type"] for event in events] == ["error"]


def check(events: Iterable[Event]) -> None:
    """One whole response's events are legal."""
    checker = Checker()
    for event in events:
        checker.feed(event)
    checker.finish()


async def hello(ask: Ask, out: Out) -> None:
    await out.text("hello")


class Gate:
    """An engine whose turns wait until the test lets them go on; what runs is known."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.ended: list[str] = []
        self.reasons: list[str] = []
        self.open = trio.Event()

    async def __call__(self, ask: Ask, out: Out) -> None:
        name = str(ask.request.stream_id)
        self.running.append(name)
        try:
            await out.text("begun")
            await self.open.wait()
            await out.text("ended")
        except trio.Cancelled as cancelled:
            self.reasons.append(str(cancelled))
            raise
        finally:
            self.running.remove(name)
            self.ended.append(name)


def kinds(events: list[Event]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def check_lanes(events: Iterable[Event]) -> None:
    """Everything that one connection said is legal."""
    checker = Checker(lanes=True)
    for event in events:
        checker.feed(event)
    checker.finish()


@attrs.define(eq=False)
class Client:
    """A session with its service, and a connection to it."""

    service: Service
    session: WireSession
    wire: MemoryWire
    nursery: trio.Nursery

    def attach(self, wire: MemoryWire, seen: Mapping[str | None, Seen] | None = None) -> None:
        """Go on with another wire, without a connection around it."""
        self.wire = wire
        attach(self.nursery, self.session, wire, seen)


def attach(
    nursery: trio.Nursery, session: WireSession, wire: MemoryWire, seen: Mapping[str | None, Seen] | None = None
) -> None:
    """What a `Connection` does, but for ends: the session's outbox goes out on the wire, what comes in comes in."""
    outbox = session.attach(wire, seen)

    async def write() -> None:
        with suppress(ConnectionEnded):
            await wire.send_many(outbox)

    async def read() -> None:
        try:
            while True:
                session.receive(await wire.receive())
        except ConnectionEnded as end:
            session.detach(wire, str(end))

    nursery.start_soon(write)
    nursery.start_soon(read)


@asynccontextmanager
async def client(
    engine: Engine,
    *tools: Callable[..., Any],
    limits: Limits | None = None,
    store: Store | None = None,
    policy: Policy | None = None,
    budget: float = math.inf,
    registry: Registry | None = None,
) -> AsyncGenerator[Client]:
    """A client that is connected to a session of its own."""
    made = service(engine, *tools, limits=limits, store=store, registry=registry)
    async with trio.open_nursery() as nursery:
        if registry is not None:
            await nursery.start(registry.run)
        session = WireSession(made, principal="tester", policy=policy)
        await nursery.start(session.run)
        wire = MemoryWire(budget)
        attach(nursery, session, wire)
        yield Client(made, session, wire, nursery)
        nursery.cancel_scope.cancel(reason="the test is over")
