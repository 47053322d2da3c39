"""The life of a connection and of a server: life signs, age, drain, and the end of it all."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Engine, Out
from agentwire.runtime.policies import Resume
from agentwire.server import Server, serve
from agentwire.testing import network, no_leaks
from tests.runtime.kit import check, check_lanes
from tests.server.kit import Closed, Peer, Refused, cut_now, eventually, on_loopback, serving


async def hello(ask: Ask, out: Out) -> None:
    await out.text("hello")


def after(seconds: float) -> Engine:
    async def slow(ask: Ask, out: Out) -> None:
        await out.text("begun")
        await trio.sleep(seconds)
        await out.text("ended")

    return slow


# Life signs


async def test_a_silent_turn_says_keepalive_and_a_silent_client_is_pinged(autojump_clock: MockClock) -> None:
    async with serving(after(130)) as rig:
        peer = await rig.connect()
        events = await peer.ask(stream_id="a")
        alive = [event for event in events if event["type"] == "keepalive"]
        assert len(alive) == 6
        assert all(event["stream_id"] == "a" for event in alive)
        assert 4 <= peer.pings <= 8
        await peer.close()


async def test_an_idle_client_that_answers_pings_stays(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        peer = await rig.connect()
        with trio.move_on_after(600):
            await peer.read_on()
        assert peer.pings > 20
        await peer.ask()
        await peer.close()


async def test_an_idle_client_that_answers_nothing_is_given_up(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        peer = await rig.connect()
        peer.answers = False
        begun = trio.current_time()
        assert (await peer.read_on()).code == 1006
        assert 60 <= trio.current_time() - begun <= 65
        await rig.gone()


async def test_clients_own_pings_are_answered_in_the_middle_of_a_response(autojump_clock: MockClock) -> None:
    async with serving(after(1)) as rig:
        peer = await rig.connect()
        await peer.create()
        await wait_all_tasks_blocked()
        await peer.ping()
        await peer.until()
        check(peer.events)
        await peer.close()


# Age


async def test_a_connection_has_an_hour(autojump_clock: MockClock) -> None:
    async with serving(after(20)) as rig:
        peer = await rig.connect()
        async with trio.open_nursery() as nursery:
            closed: list[Closed] = []

            async def read() -> None:
                closed.append(await peer.read_on())

            nursery.start_soon(read)
            await trio.sleep(3590)
            await peer.create(stream_id="a")
            await trio.sleep(13)
            assert peer.events[-1]["error"]["code"] == "websocket_connection_limit_reached"
            assert "stream_id" not in peer.events[-1]
            await peer.create(stream_id="b")
        assert (closed[0].code, closed[0].reason) == (1001, "connection limit reached")
        told = [event for event in peer.events if event["type"] == "error"]
        assert [(event["error"]["code"], event.get("stream_id")) for event in told] == [
            ("websocket_connection_limit_reached", None),
            ("websocket_connection_limit_reached", "b"),
        ]
        assert peer.events[-1]["type"] == "response.completed"
        check_lanes(peer.events)
        await rig.gone()
        assert rig.server.statistics().ended == {"retired": 1}


# Drain


async def drained(server: Server, done: list[float]) -> None:
    await server.drain()
    done.append(trio.current_time())


async def test_a_drain_lets_turns_finish_and_closes_with_1012(autojump_clock: MockClock) -> None:
    async with serving(after(10)) as rig:
        busy, idle = await rig.connect(), await rig.connect()
        http = await rig.http()
        await busy.create(stream_id="a")
        await http.send(_post('{"model":"m","input":"hi"}'))
        await trio.sleep(1)
        begun, done = trio.current_time(), list[float]()
        rig.nursery.start_soon(drained, rig.server, done)
        await wait_all_tasks_blocked()
        assert rig.server.statistics().draining
        await busy.create(stream_id="b")
        closed = await busy.read_on()
        assert (closed.code, closed.reason) == (1012, "the server restarts")
        assert [event["type"] for event in busy.events if event["type"] in ("error", "response.completed")] == [
            "error",
            "response.completed",
        ]
        refused = next(event for event in busy.events if event["type"] == "error")
        assert (refused["status"], refused["error"]["code"]) == (503, "server_is_draining")
        check_lanes(busy.events)
        assert (await idle.read_on()).code == 1012
        assert (await http.reply("POST")).status == 200
        await wait_all_tasks_blocked()
        assert len(done) == 1
        assert 9 <= done[0] - begun < 10


async def test_a_drain_ends_when_its_time_is_up(autojump_clock: MockClock) -> None:
    reasons: list[str] = []

    async def hang(ask: Ask, out: Out) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            reasons.append(str(cancelled))
            raise

    async with serving(hang) as rig:
        peer, http = await rig.connect(), await rig.http()
        await peer.create()
        await http.send(_post('{"model":"m","input":"hi"}'))
        await wait_all_tasks_blocked()
        begun, done = trio.current_time(), list[float]()
        rig.nursery.start_soon(drained, rig.server, done)
        assert (await peer.read_on()).code == 1012
        await wait_all_tasks_blocked()
        assert [moment - begun for moment in done] == [30]
        assert len(reasons) == 2
        assert any("closed with 1012" in reason for reason in reasons)
        assert any("drained" in reason for reason in reasons)


async def test_a_drain_of_a_peer_that_answers_no_close_is_bounded(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        await rig.connect()
        begun, done = trio.current_time(), list[float]()
        await drained(rig.server, done)
        assert done[0] - begun == 5


async def fat(ask: Ask, out: Out) -> None:
    for _ in range(10):
        await out.text("x" * 1000)


@pytest.mark.parametrize("capacity", [4096, 65536], ids=["in our hands", "in the network's"])
@pytest.mark.parametrize("away", [0, 12], ids=["slow", "late"])
async def test_a_drain_delivers_what_has_ended_to_a_slow_client(
    capacity: int, away: float, autojump_clock: MockClock
) -> None:
    async with serving(fat, net=network(bandwidth=4000, capacity=capacity)) as rig:
        peer = await rig.connect()
        await peer.create()
        await trio.sleep(1)
        begun, done = trio.current_time(), list[float]()
        rig.nursery.start_soon(drained, rig.server, done)
        await trio.sleep(away)
        assert (await peer.read_on()).code == 1012
        check(peer.events)
        await eventually(lambda: done)
        assert 9 < done[0] - begun < 30


async def test_a_drain_does_not_wait_longer_for_a_client_that_reads_nothing(autojump_clock: MockClock) -> None:
    async with serving(fat, net=network(capacity=4096)) as rig:
        peer = await rig.connect()
        await peer.create()
        begun, done = trio.current_time(), list[float]()
        await drained(rig.server, done)
        assert 30 <= done[0] - begun <= 35


async def test_a_drain_waits_for_no_goodbye_of_a_client_that_has_been_idle(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        peer = await rig.connect()
        await peer.ask()
        await trio.sleep(31)
        begun, done = trio.current_time(), list[float]()
        await drained(rig.server, done)
        assert done[0] - begun == 5


async def test_a_drain_waits_for_sessions_that_have_no_connection(autojump_clock: MockClock) -> None:
    ended: list[float] = []

    async def slow(ask: Ask, out: Out) -> None:
        await trio.sleep(10)
        ended.append(trio.current_time())

    async with serving(slow, on_disconnect=Resume(within=60), limits=Limits(drain=20)) as rig:
        peer = await rig.connect()
        await peer.create(store=True)
        await trio.sleep(1)
        cut_now(rig.net)
        begun = trio.current_time()
        with trio.fail_after(21):
            await rig.server.drain()
        assert [moment - begun for moment in ended] == [9]


async def test_while_draining_readiness_is_503_and_nothing_new_is_taken(autojump_clock: MockClock) -> None:
    async with serving(after(10)) as rig:
        peer = await rig.connect()
        await peer.create()
        await wait_all_tasks_blocked()
        rig.nursery.start_soon(rig.server.drain)
        await wait_all_tasks_blocked()
        http = await rig.http()
        assert (await http.ask(_get("/readyz"))).status == 503
        assert (await http.ask(_get("/healthz"))).status == 200
        post = await http.ask(_post('{"model":"m","input":"hi"}'), method="POST")
        assert (post.status, post.headers["retry-after"]) == (503, "5")
        with pytest.raises(Refused) as refused:
            await rig.connect()
        assert (refused.value.status, refused.value.error["code"]) == (503, "server_is_draining")
        await peer.read_on()


async def come(peer: Peer, ends: list[Closed | Refused]) -> None:
    """Connect, and stay; how it ended."""
    try:
        await peer.shake_hands()
        ends.append(await peer.read_on())
    except (Closed, Refused) as end:
        ends.append(end)


@pytest.mark.parametrize("ticks", range(12))
async def test_a_socket_that_opens_during_the_drain_hears_of_it(ticks: int, autojump_clock: MockClock) -> None:
    """Its upgrade was judged just before."""
    async with serving(hello) as rig:
        ends: list[Closed | Refused] = []
        rig.nursery.start_soon(come, Peer(await rig.dial()), ends)
        for _ in range(ticks):
            await trio.lowlevel.checkpoint()
        await rig.server.drain()
        await eventually(lambda: ends)
        (end,) = ends
        assert end.status == 503 if isinstance(end, Refused) else end.code in (1012, 1006)


async def test_draining_twice_is_draining_once(autojump_clock: MockClock) -> None:
    async with serving(after(10)) as rig:
        peer = await rig.connect()
        await peer.create()
        done: list[float] = []
        for _ in range(3):
            rig.nursery.start_soon(drained, rig.server, done)
        await peer.read_on()
        await eventually(lambda: len(done) == 3)


async def test_serve_returns_after_a_drain(autojump_clock: MockClock) -> None:
    net = network()
    async with no_leaks(), trio.open_nursery() as nursery:
        run = partial(serve, hello, host=None, listeners=[net.listener()])
        server = await nursery.start(run)
        await server.drain()
    with pytest.raises(ConnectionRefusedError):
        await net.connect()


# The end


@pytest.mark.parametrize("stuck", [False, True])
async def test_cancelling_serve_leaves_nothing(stuck: bool, autojump_clock: MockClock) -> None:
    """Not even for as long as a write may take: nobody waits for a peer that reads nothing."""
    cleaned: list[str] = []

    async def engine(ask: Ask, out: Out) -> None:
        try:
            await out.call("hang", {})
            while True:
                await out.text("x" * 1000)
                await trio.sleep(0 if stuck else 1)
        finally:
            cleaned.append("engine")

    async def hang() -> None:
        try:
            await trio.sleep_forever()
        finally:
            cleaned.append("tool")

    async with serving(engine, tools=[hang]) as rig:
        peers = [await rig.connect() for _ in range(3)]
        for peer in peers:
            await peer.create()
        http = await rig.http()
        await http.send(_post('{"model":"m","input":"hi","stream":true}'))
        await wait_all_tasks_blocked()
        cancelled = trio.current_time()
        rig.nursery.cancel_scope.cancel(reason="the server stops")
    assert trio.current_time() == cancelled
    assert sorted(cleaned) == ["engine"] * 4 + ["tool"] * 4


@pytest.mark.socket
async def test_cancelling_serve_leaves_nothing_on_real_sockets() -> None:
    async with on_loopback(after(60)) as rig:
        for _ in range(3):
            await (await rig.connect()).create()
        await (await rig.http()).send(_post('{"model":"m","input":"hi"}'))
        await eventually(lambda: rig.server.statistics().running == 4)


@pytest.mark.socket
async def test_a_drain_on_real_sockets() -> None:
    async with on_loopback(after(0.2)) as rig:
        peer = await rig.connect()
        await peer.create()
        await peer.receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.server.drain)
            assert (await peer.read_on()).code == 1012
            await peer.stream.aclose()
        check(peer.events)


def _post(body: str) -> bytes:
    head = f"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
