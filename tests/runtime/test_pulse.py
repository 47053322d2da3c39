from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.errors import CloseFrame
from agentwire.protocol.limits import Limits
from agentwire.runtime.connection import Connection
from agentwire.runtime.contracts import Ask, Engine, Out
from agentwire.runtime.pulse import Pulse
from agentwire.runtime.session import Session
from agentwire.runtime.wire_session import WireSession
from tests.runtime.kit import MemoryWire, check, check_lanes, create, service


@asynccontextmanager
async def beating(
    engine: Engine, limits: Limits | None = None, wire: MemoryWire | None = None
) -> AsyncGenerator[tuple[MemoryWire, Connection]]:
    """A connection under a pulse."""
    limits, wire = limits or Limits(), wire or MemoryWire()
    async with trio.open_nursery() as nursery:
        session = WireSession(service(engine, limits=limits), principal="tester")
        connection, pulse = Connection(wire, session), Pulse(limits)
        await nursery.start(session.run)
        pulse.add(session, connection)
        nursery.start_soon(connection.run)
        nursery.start_soon(pulse.run)
        await wait_all_tasks_blocked()
        yield wire, connection
        nursery.cancel_scope.cancel(reason="the test is over")


async def hang(ask: Ask, out: Out) -> None:
    await out.text("begun")
    await trio.sleep_forever()


async def test_a_silent_peer_is_pinged_and_then_given_up(autojump_clock: MockClock) -> None:
    async with beating(hang) as (wire, connection):
        await trio.sleep(19)
        assert wire.pings == 0
        await trio.sleep(4)
        assert wire.pings > 0
        await trio.sleep(36)
        before = wire.aborted
        await trio.sleep(4)
        assert (before, wire.aborted) == (None, "no sign of life for 60 s")
        assert connection.session.ended is not None


async def test_a_peer_that_answers_lives(autojump_clock: MockClock) -> None:
    class Alive(MemoryWire):
        def ping(self) -> None:
            super().ping()
            self.last_heard = trio.current_time()

    async with beating(hang, wire=Alive()) as (wire, _):
        await trio.sleep(1000)
        assert wire.aborted is None
        assert 40 <= wire.pings <= 50


async def test_a_peer_that_says_something_is_not_pinged(autojump_clock: MockClock) -> None:
    async with beating(hang) as (wire, _):
        for _ in range(20):
            await trio.sleep(15)
            wire.say(b"{}")
        assert wire.pings == 0


async def test_a_silent_turn_says_keepalive(autojump_clock: MockClock) -> None:
    async def quiet(ask: Ask, out: Out) -> None:
        await out.text("begun")
        await trio.sleep(70)
        await out.text("ended")

    async with beating(quiet, Limits(ping_timeout=1e9)) as (wire, _):
        wire.say(create(stream_id="a"))
        await wire.until()
        check(wire.events)
        assert [event["stream_id"] for event in wire.events if event["type"] == "keepalive"] == ["a"] * 3


async def test_a_turn_that_speaks_needs_no_keepalive(autojump_clock: MockClock) -> None:
    async def steady(ask: Ask, out: Out) -> None:
        for _ in range(10):
            await out.text("x")
            await trio.sleep(15)

    async with beating(steady, Limits(ping_timeout=1e9)) as (wire, _):
        wire.say(create())
        await wire.until()
        assert not any(event["type"] == "keepalive" for event in wire.events)


async def test_no_keepalive_piles_up_for_a_client_that_does_not_read(autojump_clock: MockClock) -> None:
    async with beating(hang, Limits(ping_timeout=1e9, slice_bytes=1), MemoryWire(budget=2)) as (wire, connection):
        wire.say(create())
        await trio.sleep(500)
        (window,) = connection.session.statistics().windows
        assert window.waiting_events == 3
        wire.read()
        await trio.sleep(25)
        assert wire.events[-1]["type"] == "keepalive"


async def test_no_keepalive_without_a_response(autojump_clock: MockClock) -> None:
    async with beating(hang, Limits(ping_timeout=1e9)) as (wire, _):
        await trio.sleep(500)
        assert wire.events == []


async def test_a_connection_has_its_time(autojump_clock: MockClock) -> None:
    async def slow(ask: Ask, out: Out) -> None:
        await trio.sleep(20)
        await out.text("done")

    async with beating(slow, Limits(connection_age=100, ping_timeout=1e9)) as (wire, connection):
        await trio.sleep(95)
        wire.say(create(stream_id="a"))
        await wire.until("error")
        (told,) = [event for event in wire.events if event["type"] == "error"]
        assert (told["status"], told["error"]["code"]) == (400, "websocket_connection_limit_reached")
        assert "stream_id" not in told
        await wire.until()
        await wait_all_tasks_blocked()
        assert wire.closed == CloseFrame(1001, "connection limit reached")
        assert connection.kind_of_end == "retired"
        check_lanes(wire.events)


async def test_the_pulse_survives_a_peer_that_cannot_be_told(autojump_clock: MockClock) -> None:
    """Its time is up, and it reads nothing: the pulse of all other connections must go on."""
    limits = Limits(connection_age=100, ping_timeout=1e9, reply_bytes=200, drain=1)
    async with beating(hang, limits, MemoryWire(budget=0)) as (wire, _):
        wire.say(b"{}")
        await trio.sleep(150)
        assert wire.closed is not None


async def test_removed_it_is_left_alone(autojump_clock: MockClock) -> None:
    pulse = Pulse(Limits())
    session = WireSession(service(hang), principal="tester")
    wire = MemoryWire()
    connection = Connection(wire, session)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pulse.run)
        pulse.add(session, connection)
        pulse.remove(session, connection)
        pulse.remove(session, connection)
        await trio.sleep(1000)
        assert (wire.pings, wire.aborted) == (0, None)
        nursery.cancel_scope.cancel(reason="the test is over")


class Steps(trio.abc.Instrument):
    """Counts pings between two steps of the scheduler."""

    def __init__(self) -> None:
        self.pings: list[int] = []
        self.now = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.now:
            self.pings.append(self.now)
        self.now = 0


async def test_many_connections_do_not_hold_the_loop(autojump_clock: MockClock) -> None:
    """Between two batches of connections, everybody else has a turn."""
    pulse, made, steps = Pulse(Limits()), service(hang), Steps()

    class Wire(MemoryWire):
        def ping(self) -> None:
            steps.now += 1

    for number in range(1000):
        session = WireSession(made, principal="tester")
        pulse.add(session, Connection(Wire(), session))
        if number < 200:
            pulse.add(Session(made, principal="tester"))
    trio.lowlevel.add_instrument(steps)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pulse.run)
        await trio.sleep(21)
        nursery.cancel_scope.cancel(reason="the test is over")
    trio.lowlevel.remove_instrument(steps)
    assert sum(steps.pings) == 1000
    assert max(steps.pings) <= 128
