"""What a connection agrees on with its client, over a wire in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.errors import RequestError
from agentwire.protocol.extensions import Granted, Permitted
from agentwire.protocol.hello import EXTENSIONS, Hello
from agentwire.protocol.limits import Limits
from agentwire.runtime.connection import Connection
from agentwire.runtime.contracts import Engine
from agentwire.runtime.negotiation import Negotiation
from agentwire.runtime.service import Service
from agentwire.runtime.sessions import Sessions
from agentwire.runtime.wire_session import WireSession
from agentwire.testing import no_leaks
from tests.runtime.kit import MemoryWire, create, service

ALL = Permitted.of(EXTENSIONS, 60)
OLD = RequestError(400, "websocket_connection_limit_reached", "Time is up.")


def hello(**members: Any) -> bytes:
    return json.dumps({"type": "agentwire:hello", "extensions": list(EXTENSIONS), **members}).encode()


@attrs.define
class House:
    """Sessions that connections can be opened to."""

    service: Service
    sessions: Sessions
    nursery: trio.Nursery

    async def connect(self, asked: Hello | None = None, *, budget: float = 1e9) -> Connection:
        session = WireSession(self.service, principal="tester")
        self.sessions.add(session)
        await self.nursery.start(session.run)
        negotiation = Negotiation(ALL, self.sessions, self.service.limits, asked)
        connection = Connection(MemoryWire(budget), session, negotiation=negotiation)
        self.nursery.start_soon(connection.run)
        await wait_all_tasks_blocked()
        return connection


def heard(connection: Connection) -> list[dict[str, Any]]:
    assert isinstance(connection.wire, MemoryWire)
    return connection.wire.events


async def say(connection: Connection, message: bytes) -> None:
    assert isinstance(connection.wire, MemoryWire)
    connection.wire.say(message)
    await wait_all_tasks_blocked()


@asynccontextmanager
async def house(engine: Engine, limits: Limits | None = None) -> AsyncGenerator[House]:
    async with no_leaks(), trio.open_nursery() as nursery:
        made = service(engine, limits=limits)
        yield House(made, Sessions(made.limits, made.sources), nursery)
        nursery.cancel_scope.cancel(reason="the test is over")


async def test_who_asks_after_the_end_was_announced_is_told_at_once(autojump_clock: MockClock) -> None:
    async with house(lambda ask, out: out.text("x")) as it:
        connection = await it.connect()
        connection.announce("drain", trio.current_time() + 20)
        assert heard(connection) == []
        await say(connection, hello())
        assert [event["type"] for event in heard(connection)] == ["agentwire:welcome", "agentwire:goaway"]
        connection.announce("drain", trio.current_time() + 10)
        await say(connection, create())
        assert [event["type"] for event in heard(connection)].count("agentwire:goaway") == 1


async def test_a_session_that_comes_to_a_retiring_connection_takes_no_new_requests(autojump_clock: MockClock) -> None:
    """Its turns have until the grace ends, as if they had begun here."""

    async def slow(ask: Any, out: Any) -> None:
        await trio.sleep(20)

    async with house(slow) as it:
        first = await it.connect(Hello(extensions=EXTENSIONS))
        token = heard(first)[0]["session"]["token"]
        await say(first, create())
        second = await it.connect()
        busy: Any = "busy"  # it must be retiring, and not yet closed, when the client asks
        second.session.turns[busy] = busy
        it.nursery.start_soon(lambda: second.retire(1012, "the server restarts", OLD, grace=30, tell=False))
        await wait_all_tasks_blocked()
        await say(second, hello(session={"token": token}))
        assert heard(second)[0]["resumed"]
        await say(second, create(stream_id="b"))
        assert heard(second)[-1]["error"]["code"] == OLD.code
        await trio.sleep(25)
        assert heard(second)[-1]["type"] == "response.completed"
        assert second.kind_of_end == "retired"


async def test_what_an_old_connection_still_says_is_not_taken(autojump_clock: MockClock) -> None:
    async with house(lambda ask, out: out.text("x")) as it:
        old = await it.connect(Hello(extensions=EXTENSIONS))
        session, token = old.session, heard(old)[0]["session"]["token"]
        new = await it.connect()
        assert isinstance(old.wire, MemoryWire)
        old.wire.say(create())
        assert new._negotiation is not None
        assert new._negotiation.take_first(new, hello(session={"token": token}))
        await wait_all_tasks_blocked()
        assert (session.received, session.turns) == (0, {})
        assert old.kind_of_end == "taken over"
        assert session.ended is None


async def test_a_client_that_reads_nothing_is_cut_off_with_its_hello(autojump_clock: MockClock) -> None:
    async with house(lambda ask, out: out.text("x"), Limits(reply_bytes=200)) as it:
        connection = await it.connect(budget=0)
        connection.notify({"type": "x" * 300})
        await say(connection, hello())
        assert connection.kind_of_end == "never reads"


async def test_a_hello_that_is_too_large_is_no_hello(autojump_clock: MockClock) -> None:
    async with house(lambda ask, out: out.text("x"), Limits(interrupt_bytes=500)) as it:
        connection = await it.connect()
        await say(connection, hello(more="x" * 500))
        assert heard(connection)[0]["error"]["code"] == "agentwire:hello_too_late"


@pytest.mark.parametrize("times", [1, 2])
async def test_the_first_reason_to_close_counts(times: int, autojump_clock: MockClock) -> None:
    async with house(lambda ask, out: out.text("x")) as it:
        connection = await it.connect()
        for code in range(1008, 1008 + times):
            await connection.end(code, "because", "ended")
        await wait_all_tasks_blocked()
        assert isinstance(connection.wire, MemoryWire)
        assert connection.wire.closed is not None
        assert connection.wire.closed.code == 1008
        assert connection.kind_of_end == "ended"
        assert connection.session.ended == "closed with 1008: because"


async def test_tokens_are_removed_with_their_sessions(autojump_clock: MockClock) -> None:
    async with house(lambda ask, out: out.text("x")) as it:
        connection = await it.connect(Hello(extensions=("sessions",)))
        session, token = connection.session, heard(connection)[0]["session"]["token"]
        assert it.sessions.find(token, "tester") is session
        for wrong in ("", "x", "\ud800", token.upper() + "0"):
            with pytest.raises(RequestError):
                it.sessions.find(wrong, "tester")
        session.cancel("over")
        with pytest.raises(RequestError, match="has ended"):
            it.sessions.find(token, "tester")
        it.sessions.remove(session)
        assert (len(it.sessions), it.sessions._by_token) == (0, {})


async def test_tokens_differ(autojump_clock: MockClock) -> None:
    async with house(lambda ask, out: out.text("x")) as it:
        session = WireSession(it.service, principal="tester")
        tokens = set()
        for _ in range(100):
            it.sessions.grant(session, Granted(frozenset(["sessions"]), 1))
            tokens.add(session.token)
        assert len(tokens) == 100
