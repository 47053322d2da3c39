from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.errors import CloseFrame, RemoteProtocolError, RequestError
from agentwire.protocol.limits import Limits
from agentwire.runtime.connection import Connection
from agentwire.runtime.contracts import Ask, Engine, Out
from agentwire.runtime.policies import Policy, Resume
from agentwire.runtime.replay import Seen
from agentwire.runtime.wire_session import WireSession
from agentwire.testing import no_leaks
from tests.runtime.kit import MemoryWire, check_lanes, create, service

OLD = RequestError(400, "websocket_connection_limit_reached", "Time is up.")


class Hang:
    """An engine that hangs; how it was cancelled, and what was closed by then."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    async def __call__(self, ask: Ask, out: Out) -> None:
        await out.text("begun")
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            self.reasons.append(str(cancelled))
            raise


@attrs.define
class Running:
    wire: MemoryWire
    session: WireSession
    connection: Connection
    nursery: trio.Nursery
    ended: list[str] = attrs.field(factory=list)


@asynccontextmanager
async def connected(
    engine: Engine, *, limits: Limits | None = None, policy: Policy | None = None, wire: MemoryWire | None = None
) -> AsyncGenerator[Running]:
    async with no_leaks(), trio.open_nursery() as nursery:
        session = WireSession(service(engine, limits=limits), principal="tester", policy=policy)
        await nursery.start(session.run)
        wire = wire or MemoryWire()
        running = Running(wire, session, Connection(wire, session), nursery)

        async def run() -> None:
            running.ended.append(await running.connection.run())

        nursery.start_soon(run)
        await wait_all_tasks_blocked()
        yield running
        nursery.cancel_scope.cancel(reason="the test is over")


async def test_it_serves_requests(autojump_clock: MockClock) -> None:
    async with connected(lambda ask, out: out.text("x")) as it:
        await it.wire.ask()
        await it.wire.ask(stream_id="a")


async def test_a_lost_wire_is_cut_off_before_the_session_ends(autojump_clock: MockClock) -> None:
    order: list[str] = []

    class Wire(MemoryWire):
        async def abort(self, cause: str) -> None:
            order.append("aborted")
            await super().abort(cause)

    async def engine(ask: Ask, out: Out) -> None:
        try:
            await trio.sleep_forever()
        finally:
            order.append("cancelled")

    async with connected(engine, wire=Wire()) as it:
        it.wire.say(create())
        await wait_all_tasks_blocked()
        it.wire.vanish(cause="reset by the peer")
        await wait_all_tasks_blocked()
        assert order == ["aborted", "cancelled"]
        assert it.connection.kind_of_end == "lost"
        assert (
            it.ended == [it.session.ended] == ["connection ended: reset by the peer (no close frame sent or received)"]
        )


async def test_a_goodbye_is_answered_with_its_own_code(autojump_clock: MockClock) -> None:
    engine = Hang()
    async with connected(engine) as it:
        it.wire.say(create())
        await wait_all_tasks_blocked()
        it.wire.vanish(received=CloseFrame(1001, "going away"))
        await wait_all_tasks_blocked()
        assert it.wire.closed is not None
        assert it.wire.closed.code == 1001
        assert it.connection.kind_of_end == "closed by the client"
        assert "received 1001 going away" in engine.reasons[0]


async def test_a_violation_is_told_with_its_code(autojump_clock: MockClock) -> None:
    engine = Hang()
    async with connected(engine) as it:
        it.wire.say(create())
        await wait_all_tasks_blocked()
        it.wire.say(b'{"type":"\xff"}')
        await wait_all_tasks_blocked()
        assert it.wire.closed is not None
        assert (it.wire.closed.code, it.connection.kind_of_end) == (1007, "protocol error")
        assert "not UTF-8" in engine.reasons[0]


async def test_a_violation_of_the_framing_is_told_with_its_code(autojump_clock: MockClock) -> None:
    class Wire(MemoryWire):
        async def receive(self) -> bytes:
            await super().receive()
            raise RemoteProtocolError("message larger than 10 bytes", close_code=1009)

    async with connected(Hang(), wire=Wire()) as it:
        it.wire.say(b"x")
        await wait_all_tasks_blocked()
        assert it.wire.closed == CloseFrame(1009, "message larger than 10 bytes")


async def test_who_floods_and_never_reads_is_cut_off(autojump_clock: MockClock) -> None:
    engine = Hang()
    async with connected(engine, wire=MemoryWire(budget=0), limits=Limits(reply_bytes=5000)) as it:
        it.wire.say(create())
        for _ in range(100):
            it.wire.say(b"{}")
        await wait_all_tasks_blocked()
        assert it.wire.aborted is not None
        assert "does not read" in it.wire.aborted
        assert it.connection.kind_of_end == "never reads"
        assert "does not read" in engine.reasons[0]


async def test_cancelled_it_cuts_the_wire_off(autojump_clock: MockClock) -> None:
    engine = Hang()
    async with connected(engine) as it:
        it.wire.say(create())
        await wait_all_tasks_blocked()
        it.nursery.cancel_scope.cancel(reason="the server stopped")
    assert it.wire.aborted == "the server stopped"
    assert "the server stopped" in engine.reasons[0]
    assert it.connection.kind_of_end == "stopped"


async def test_it_goes_on_where_the_client_was(autojump_clock: MockClock) -> None:
    async with connected(lambda ask, out: out.text("x"), policy=Resume(within=60)) as it:
        events = await it.wire.ask()
        it.wire.vanish()
        await wait_all_tasks_blocked()
        again = MemoryWire()
        seen: dict[str | None, Seen] = {None: Seen(events[0]["response"]["id"], 4)}
        it.nursery.start_soon(Connection(again, it.session, seen).run)
        await wait_all_tasks_blocked()
        assert again.events == events[5:]
        with pytest.raises(ValueError, match="is not kept"):
            await Connection(MemoryWire(), it.session, {None: Seen("resp_x", 0)}).run()


# Retiring


@pytest.mark.parametrize("tell", [True, False])
async def test_retired_it_lets_turns_finish_and_takes_no_new_ones(tell: bool, autojump_clock: MockClock) -> None:
    async def slow(ask: Ask, out: Out) -> None:
        await trio.sleep(10)
        await out.text("done")

    async with connected(slow) as it:
        it.wire.say(create(stream_id="a"))
        await wait_all_tasks_blocked()
        begun = trio.current_time()
        it.nursery.start_soon(lambda: it.connection.retire(1001, "connection limit reached", OLD, grace=30, tell=tell))
        await wait_all_tasks_blocked()
        told = [event for event in it.wire.events if event["type"] == "error"]
        assert len(told) == tell
        assert all("stream_id" not in event for event in told)
        it.wire.say(create(stream_id="b"))
        await wait_all_tasks_blocked()
        refused = it.wire.events[-1]
        assert (refused["error"]["code"], refused["stream_id"]) == (OLD.code, "b")
        await it.wire.until()
        await wait_all_tasks_blocked()
        assert trio.current_time() - begun == 10
        assert it.wire.closed == CloseFrame(1001, "connection limit reached")
        assert it.ended == ["closed with 1001: connection limit reached"]
        assert it.connection.kind_of_end == "retired"
        check_lanes(it.wire.events)


async def test_retired_what_does_not_finish_is_cancelled(autojump_clock: MockClock) -> None:
    engine = Hang()
    async with connected(engine) as it:
        it.wire.say(create())
        await wait_all_tasks_blocked()
        with trio.fail_after(31):
            await it.connection.retire(1012, "the server restarts", OLD, grace=30, tell=False)
        await wait_all_tasks_blocked()
        assert "closed with 1012: the server restarts" in engine.reasons[0]


async def test_retiring_twice_is_retiring_once(autojump_clock: MockClock) -> None:
    async with connected(Hang()) as it:
        await it.connection.retire(1012, "the server restarts", OLD, grace=30, tell=False)
        await it.connection.retire(1001, "connection limit reached", OLD, grace=30, tell=True)
        assert it.wire.closed == CloseFrame(1012, "the server restarts")
        assert it.wire.events == []


async def test_who_reads_nothing_need_not_be_told(autojump_clock: MockClock) -> None:
    async with connected(Hang(), wire=MemoryWire(budget=0), limits=Limits(reply_bytes=200)) as it:
        it.wire.say(b"{}")
        await wait_all_tasks_blocked()
        await it.connection.retire(1001, "connection limit reached", OLD, grace=1, tell=True)
        assert it.wire.closed is not None
