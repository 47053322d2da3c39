"""A line: one connection after the other, one attempt for all who wait, and nothing new on what is old."""

from __future__ import annotations

import itertools
from contextlib import suppress

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from agentwire.link import Exchange, Fate, Line, RequestLost, Way, open_line
from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.hello import HEADER
from agentwire.testing import MemoryStream, network, no_leaks
from agentwire.transport.dial import ConnectFailed
from agentwire.transport.websocket import HandshakeRefused, open_server_wire
from tests.link.lines import ask, echo, follows, leaves, lined, refuses, say
from tests.link.peer import LIMITS, URL, Peer, created, delta, error, text_turn


async def breaks(peer: Peer) -> None:
    """Take a request, begin an answer, and be gone."""
    request = await peer.request()
    peer.say(created("resp_x"), delta("half"), lane=request.get("stream_id"))
    await trio.sleep(0.1)
    peer.stream.reset()


async def read_all(exchange: Exchange) -> None:
    async for _ in exchange:
        pass


async def lose(line: Line) -> RequestLost:
    way = await line.way()
    async with way.exchange(ask()) as exchange:
        with pytest.raises(RequestLost) as caught:
            await read_all(exchange)
    return caught.value


# One way after the other


async def test_a_lost_connection_is_replaced_when_somebody_asks(autojump_clock: MockClock) -> None:
    async with no_leaks(), lined(follows(breaks), follows(echo)) as (line, servers):
        lost = await lose(line)
        assert lost.fate is Fate.STARTED
        assert line.lost_since == trio.current_time()
        await trio.sleep(100)
        assert servers.served == 1  # nobody asked
        assert await say(line, "again") == "<again>"
        assert line.current.number == 2
        assert (await line.way()).lost_since is None
        assert not line.ended


async def test_the_same_way_is_used_as_long_as_it_is_open(autojump_clock: MockClock) -> None:
    async with lined() as (line, servers):
        assert [await say(line, text) for text in "ab"] == ["<a>", "<b>"]
        assert await line.way() is line.current
    assert servers.served == 1
    assert line.ended is not None
    assert line.ended.cause == "closed on this side"


async def test_all_who_wait_share_one_attempt(autojump_clock: MockClock) -> None:
    async with lined(follows(breaks), leaves, leaves, follows(echo), resume_within=60) as (line, servers):
        await lose(line)
        ways: list[Way] = []

        async def one() -> None:
            ways.append(await line.way())

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(one)
            await trio.testing.wait_all_tasks_blocked()
            assert line.statistics().waiting == 50
        assert servers.served == 4
        assert set(ways) == {line.current}
        assert (line.statistics().failed, line.statistics().ways) == (2, 2)


async def test_attempts_are_ever_further_apart(autojump_clock: MockClock) -> None:
    times: list[float] = []

    async def refuse(stream: MemoryStream) -> None:
        times.append(trio.current_time())
        await leaves(stream)

    async with lined(follows(breaks), refuse, resume_within=60) as (line, _):
        await lose(line)
        lost = trio.current_time()
        with pytest.raises(ConnectionEnded):
            await line.way()
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert times[0] == lost
    assert 0.05 <= pauses[0] <= 0.1
    assert all(2.5 <= pause <= 5 for pause in pauses[8:])
    assert 54 <= times[-1] - lost <= 60


# Errors


async def test_after_giving_up_a_later_call_tries_again(autojump_clock: MockClock) -> None:
    doomed = [leaves] * 5
    async with lined(follows(breaks), *doomed, follows(echo), resume_within=0.5) as (line, _):
        await lose(line)
        with pytest.raises(ConnectionEnded):
            await line.way()
        assert line.ended is None
        assert await say(line) == "<Hi>"


async def test_a_final_refusal_is_raised_at_once(autojump_clock: MockClock) -> None:
    async with lined(follows(breaks), refuses(401, body="no key"), resume_within=60) as (line, servers):
        await lose(line)
        before = trio.current_time()
        with pytest.raises(HandshakeRefused, match="no key"):
            await line.way()
        assert trio.current_time() == before
        assert servers.served == 2


async def test_the_first_connection_is_tried_once(autojump_clock: MockClock) -> None:
    net = network()
    async with no_leaks(), trio.open_nursery() as nursery:
        await nursery.start(net.serve, leaves)
        with pytest.raises(ConnectionEnded):
            async with open_line(URL, limits=LIMITS, connector=net.connect, resume_within=60, transport="websocket"):
                raise AssertionError("it must not open")
        assert len(net.links) == 1
        nursery.cancel_scope.cancel(reason="the test is over")


async def test_a_connector_that_fails_is_an_attempt_like_any_other(autojump_clock: MockClock) -> None:
    net, failures = network(), 0

    async def connect() -> MemoryStream:
        nonlocal failures
        if net.links and failures < 3:
            failures += 1
            raise ConnectionRefusedError("nobody listens")
        return await net.connect()

    scripts = iter([follows(breaks), follows(echo)])

    async def handle(stream: MemoryStream) -> None:
        await next(scripts)(stream)

    async with no_leaks(), trio.open_nursery() as nursery:
        await nursery.start(net.serve, handle)
        async with open_line(URL, limits=LIMITS, connector=connect, resume_within=60) as line:
            await lose(line)
            assert await say(line) == "<Hi>"
            assert (failures, line.statistics().failed) == (3, 3)
        nursery.cancel_scope.cancel(reason="the test is over")


async def test_the_callers_scope_bounds_the_wait(autojump_clock: MockClock) -> None:
    async with no_leaks(), lined(follows(breaks), leaves) as (line, servers):
        await lose(line)
        before = trio.current_time()
        with trio.move_on_after(3) as scope:
            await line.way()
        assert scope.cancelled_caught
        assert trio.current_time() == before + 3
        served = servers.served
        await trio.sleep(60)
        assert servers.served == served  # with the last one who waited, the attempt ended


async def test_one_who_leaves_does_not_end_the_attempt_of_the_others(autojump_clock: MockClock) -> None:
    async with lined(follows(breaks), leaves, leaves, leaves, follows(echo)) as (line, _):
        await lose(line)

        async def impatient() -> None:
            with trio.move_on_after(0.01):
                await line.way()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(impatient)
            assert await say(line) == "<Hi>"


async def test_a_line_that_does_not_reopen_ends_with_its_connection(autojump_clock: MockClock) -> None:
    async with lined(follows(breaks), follows(echo), reopens=False) as (line, servers):
        await lose(line)
        with pytest.raises(ConnectionEnded):
            await line.way()
        assert await line.wait_ended() is line.ended
        assert servers.served == 1


async def test_a_closed_line_takes_nothing_more(autojump_clock: MockClock) -> None:
    async with lined() as (line, _):
        await line.close()
        with pytest.raises(ConnectionEnded, match="closed on this side"):
            await line.way()
        assert (await line.wait_ended()).cause == "closed on this side"


async def test_closing_ends_an_attempt(autojump_clock: MockClock) -> None:
    async with no_leaks(), lined(follows(breaks), leaves) as (line, _):
        await lose(line)
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(ConnectionEnded, match="closed on this side"):
                    await line.way()

            nursery.start_soon(wait)
            await trio.sleep(1)
            await line.close()


# Rotation


@attrs.define
class Old:
    """A connection that says that it is near its end, while a request runs on it."""

    finished: trio.Event = attrs.field(factory=trio.Event)
    closed: float | None = None

    async def __call__(self, peer: Peer) -> None:
        request = await peer.request()
        peer.say(created("resp_1"), lane=request.get("stream_id"))
        peer.say(error("websocket_connection_limit_reached"))
        await trio.sleep(10)
        peer.say(*text_turn("resp_1", "late")[1:], lane=request.get("stream_id"))
        try:
            await peer.wire.receive()
        except ConnectionEnded:
            self.closed = trio.current_time()


async def test_at_the_limit_new_requests_go_elsewhere_and_old_ones_end(autojump_clock: MockClock) -> None:
    old = Old()
    answers: list[str] = []

    async def first(line: Line) -> None:
        answers.append(await say(line, "first"))

    async with no_leaks(), lined(follows(old), follows(echo)) as (line, servers):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first, line)
            await trio.sleep(1)
            assert line.current.retiring
            answers.append(await say(line, "second"))
            assert line.statistics().draining == 1
        assert answers == ["<second>", "late"]
        await trio.sleep(1)
        assert (old.closed, servers.served) == (10, 2)
        assert line.statistics().draining == 0


async def test_an_old_connection_takes_no_new_request(autojump_clock: MockClock) -> None:
    async with no_leaks(), lined() as (line, servers):
        assert await say(line) == "<Hi>"
        await trio.sleep(LIMITS.rotate_after - 1)
        assert await say(line) == "<Hi>"
        assert servers.served == 1
        await trio.sleep(1)
        assert await say(line, "new") == "<new>"
        assert (servers.served, line.current.number) == (2, 2)
        await trio.sleep(1)
        assert line.statistics().draining == 0


async def test_an_old_connection_is_used_on_where_there_is_no_other(autojump_clock: MockClock) -> None:
    async with no_leaks(), lined(follows(echo), refuses(503), follows(echo)) as (line, servers):
        await trio.sleep(LIMITS.rotate_after)
        assert await say(line) == "<Hi>"
        assert (servers.served, line.current.number) == (2, 1)
        assert await say(line) == "<Hi>"
        assert servers.served == 2  # not at each request
        await trio.sleep(LIMITS.reconnect_longest)
        assert await say(line) == "<Hi>"
        assert (servers.served, line.current.number) == (3, 2)


async def test_a_goaway_moves_the_next_request(autojump_clock: MockClock) -> None:
    async def drains(peer: Peer) -> None:
        peer.say({"type": "agentwire:goaway", "reason": "drain", "seconds": 30})
        await echo(peer)

    async with no_leaks(), lined(follows(drains), follows(echo)) as (line, servers):
        await trio.sleep(1)
        assert await say(line) == "<Hi>"
        assert (servers.served, line.current.number) == (2, 2)


# What a server says when it refuses or ends a connection


async def test_a_server_that_says_when_to_come_back_is_believed(autojump_clock: MockClock) -> None:
    times: list[float] = []

    async def busy(stream: MemoryStream) -> None:
        times.append(trio.current_time())
        await refuses(503, "retry-after: 20")(stream)

    async with no_leaks(), lined(follows(breaks), busy, follows(echo), resume_within=60) as (line, _):
        await lose(line)
        lost = trio.current_time()
        assert await say(line) == "<Hi>"
        assert times == [lost]
        assert trio.current_time() == lost + 20


async def test_the_first_connection_waits_for_a_busy_server(autojump_clock: MockClock) -> None:
    async with no_leaks(), lined(refuses(429, "retry-after: 7"), follows(echo), resume_within=60) as (line, _):
        assert trio.current_time() == 7
        assert await say(line) == "<Hi>"


@pytest.mark.parametrize(("told", "within"), [("retry-after: 31", 60), ("retry-after: 20", 10)])
async def test_a_server_that_asks_for_too_much_is_given_up(autojump_clock: MockClock, told: str, within: float) -> None:
    async with no_leaks(), lined(follows(breaks), refuses(503, told), resume_within=within) as (line, servers):
        await lose(line)
        before = trio.current_time()
        with pytest.raises(HandshakeRefused, match="503"):
            await line.way()
        assert trio.current_time() == before
        assert servers.served == 2


async def test_a_server_that_is_only_there_to_reject_is_not_asked_again_at_once(autojump_clock: MockClock) -> None:
    async def rejects(peer: Peer) -> None:
        await peer.request()
        await peer.wire.close(1008, "no credit")

    async with no_leaks(), lined(follows(rejects), follows(echo), resume_within=60) as (line, servers):
        assert (await lose(line)).rejected
        with pytest.raises(ConnectionEnded, match="1008 no credit"):
            await line.way()
        assert servers.served == 1
        await trio.sleep(LIMITS.reconnect_longest)
        assert await say(line) == "<Hi>"


async def test_connections_that_bring_nothing_are_ever_further_apart(autojump_clock: MockClock) -> None:
    times: list[float] = []

    async def crashes(peer: Peer) -> None:
        times.append(trio.current_time())
        await peer.request()
        peer.stream.reset()

    async with no_leaks(), lined(follows(crashes), resume_within=30) as (line, _):
        with suppress(ConnectionEnded):
            while len(times) < 100:
                await lose(line)
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert sum(pauses) <= 30
    assert 5 < len(times) < 20
    assert max(pauses) > 2


@pytest.mark.parametrize("closes", [True, False])
async def test_connections_that_are_old_at_once_are_ever_further_apart(autojump_clock: MockClock, closes: bool) -> None:
    times: list[float] = []

    async def is_old(peer: Peer) -> None:
        times.append(trio.current_time())
        peer.say(error("websocket_connection_limit_reached"))
        if closes:
            await peer.wire.close(1001)

    with pytest.RaisesGroup(pytest.RaisesExc(ConnectionEnded)):
        async with lined(follows(is_old), resume_within=30) as (line, _):
            while len(times) < 100:
                await line.way()
                await trio.sleep(0.001)
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert sum(pauses) <= 31
    assert 5 < len(times) < 20
    assert max(pauses) > 2


async def test_connections_that_nobody_used_for_long_are_replaced_at_once(autojump_clock: MockClock) -> None:
    async def is_idle(peer: Peer) -> None:
        await trio.sleep(100)
        await peer.wire.close(1001)

    async with no_leaks(), lined(follows(is_idle), resume_within=30) as (line, _):
        for _ in range(10):
            await trio.sleep(200)
            before = trio.current_time()
            await line.way()
            assert trio.current_time() == before


# Telling


async def test_whoever_listens_is_told_of_each_change(autojump_clock: MockClock) -> None:
    told: list[tuple[int, bool]] = []
    async with no_leaks(), lined(follows(breaks), leaves, follows(echo)) as (line, _):
        line.listen(lambda: told.append((line.current.number, line.lost_since is None)))
        await lose(line)
        assert told == [(1, False)]
        assert await say(line) == "<Hi>"
        assert told == [(1, False), (2, True)]


async def test_a_server_that_promises_a_session_and_says_nothing_is_left(autojump_clock: MockClock) -> None:
    async def promises(stream: MemoryStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        async with open_server_wire(stream, head, headers=[(HEADER, "sessions")], limits=LIMITS) as wire:
            with suppress(ConnectionEnded):
                await wire.receive()

    async with no_leaks(), lined(promises, follows(echo), resume_within=60) as (line, _):
        lost = await lose(line)
        assert (lost.fate, lost.cause) == (Fate.NEVER_SENT, "no word of the session within 10 s")
        assert await say(line) == "<Hi>"


@pytest.mark.parametrize("within", [None, 60])
async def test_what_stays_as_it_is_is_told_at_once_later_too(autojump_clock: MockClock, within: float | None) -> None:
    net, tried = network(), list[float]()

    async def connect() -> MemoryStream:
        tried.append(trio.current_time())
        if len(tried) > 1:
            raise ConnectFailed("test:80", "the proxy answered with HTTP 407", final=True, tunnel=407)
        return await net.connect()

    async with no_leaks(), trio.open_nursery() as nursery:
        await nursery.start(net.serve, follows(breaks))
        async with open_line(URL, connector=connect, limits=LIMITS, resume_within=within) as line:
            await lose(line)
            began = trio.current_time()
            with pytest.raises(ConnectFailed, match="HTTP 407"), trio.fail_after(3600):
                await line.way()
            assert trio.current_time() == began
        nursery.cancel_scope.cancel(reason="the test is over")
    assert len(tried) == 2


async def test_who_joins_an_attempt_beside_a_connection_that_is_lost_meanwhile_has_all_patience(
    autojump_clock: MockClock,
) -> None:
    async def is_lost(peer: Peer) -> None:
        await trio.sleep(LIMITS.rotate_after + 1)
        peer.stream.reset()

    async def refuses_late(stream: MemoryStream) -> None:
        await trio.sleep(3)
        await refuses(503)(stream)

    said: list[str] = []

    async def speak() -> None:
        said.append(await say(line))

    async with no_leaks(), lined(follows(is_lost), refuses_late, follows(echo), resume_within=60) as (line, servers):
        await trio.sleep(LIMITS.rotate_after)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak)
            await trio.sleep(2)
            assert line.current.ended is not None
            nursery.start_soon(speak)
        assert said == ["<Hi>"] * 2
        assert servers.served == 3
