"""Requests that the server has forgotten: lost one by one, while everything else on the connection goes on."""

from __future__ import annotations

from contextlib import nullcontext

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentwire.link import Fate, Line, RequestLost
from agentwire.link.exchange import Exchange
from agentwire.link.lease import Lease, lease_lane
from agentwire.testing import no_leaks
from tests.link.lines import ask, echo, follows, lined, say
from tests.link.peer import LIMITS, Peer, created, delta, text_turn

SHORT = attrs.evolve(LIMITS, first_event=30, event_silence=60)


async def read_all(exchange: Exchange) -> None:
    async for _ in exchange:
        pass


async def lost(line: Line, lane: str) -> RequestLost:
    way = await line.way()
    async with way.exchange(ask(stream_id=lane)) as exchange:
        with pytest.raises(RequestLost) as caught:
            await read_all(exchange)
    return caught.value


async def half(peer: Peer) -> None:
    """One lane gets nothing, one gets a beginning, one gets everything in its own time."""
    while True:
        request = await peer.request()
        lane = request["stream_id"]
        if lane == "begun":
            peer.say(created("resp_1"), delta("so"), lane=lane)
        if lane == "slow":
            peer.say(created("resp_2"), lane=lane)
            for number in range(1, 10):
                await trio.sleep(25)
                peer.say({"type": "keepalive", "sequence_number": number}, lane=lane)
            peer.say(*text_turn("resp_2", "at last")[1:], lane=lane)


@pytest.mark.parametrize(
    ("lane", "seconds", "fate", "cause"),
    [
        ("nothing", 30, Fate.UNKNOWN, "no first event of this request within 30 s"),
        ("begun", 60, Fate.STARTED, "no further event of this request within 60 s"),
    ],
)
async def test_a_request_that_misses_its_deadline_is_lost(
    autojump_clock: MockClock, lane: str, seconds: float, fate: Fate, cause: str
) -> None:
    async with no_leaks(), lined(follows(half), limits=SHORT) as (line, _):
        before = trio.current_time()
        told = await lost(line, lane)
        assert (told.fate, told.cause) == (fate, cause)
        assert seconds <= trio.current_time() - before < seconds + 8
        assert line.current.ended is None


async def test_the_others_go_on_and_keepalives_are_signs_of_life(autojump_clock: MockClock) -> None:
    answers: list[str] = []

    async def slow(line: Line) -> None:
        way = await line.way()
        async with way.exchange(ask(stream_id="slow")) as exchange:
            events = [event async for event in exchange]
        answers.append(events[-1].type)

    async with no_leaks(), lined(follows(half), follows(echo), limits=SHORT) as (line, servers):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lost, line, "nothing")
            await trio.sleep(1)
            nursery.start_soon(slow, line)
            await trio.sleep(40)
            assert line.current.retiring  # nothing new where a request is still open
            assert await say(line, "next") == "<next>"
            assert line.statistics().draining == 1
            assert not answers
        assert answers == ["response.completed"]
        assert servers.served == 2


async def test_a_response_that_ends_late_after_all_leaves_the_connection_in_use(autojump_clock: MockClock) -> None:
    async def late(peer: Peer) -> None:
        request = await peer.request()
        await trio.sleep(50)
        peer.say(*text_turn("resp_1", "late"), lane=request["stream_id"])
        await echo(peer)

    async with no_leaks(), lined(follows(late), limits=SHORT) as (line, servers):
        await lost(line, "a")
        way = line.current
        assert way.retiring
        await trio.sleep(30)
        assert await line.way() is way
        assert await say(line, "again") == "<again>"
        assert servers.served == 1


@pytest.mark.parametrize("leased", [False, True])
async def test_who_waits_behind_a_forgotten_request_goes_elsewhere(autojump_clock: MockClock, leased: bool) -> None:
    async with no_leaks(), lined(follows(half), follows(echo), limits=SHORT) as (line, servers):
        async with lease_lane(line, "begun") if leased else nullcontext(Lease("begun")) as lease:
            way = await line.way()
            async with way.exchange(ask(stream_id="begun"), lane=await lease.on(way)) as exchange:
                await exchange.receive()
            if not leased:
                lease.release()
            for _ in range(2):  # one that waits, and one that comes later
                with trio.fail_after(100), pytest.raises(RequestLost, match="before it has not ended") as caught:
                    async with way.exchange(ask(stream_id="begun"), lane=await lease.on(way) if leased else None):
                        raise AssertionError("there is no lane for it")
                assert caught.value.fate is Fate.NEVER_SENT
            other = await line.way()
            assert other is not way
            async with other.exchange(ask(stream_id="begun"), lane=await lease.on(other)) as exchange:
                await read_all(exchange)
        assert servers.served == 2


async def test_a_fork_that_is_forgotten_frees_the_lane_that_it_forked_from(autojump_clock: MockClock) -> None:
    async def forget(peer: Peer) -> None:
        await peer.answer(*text_turn("resp_1", "root"))
        await peer.request()
        await peer.answer(*text_turn("resp_3", "on"))

    async with no_leaks(), lined(follows(forget), limits=SHORT) as (line, _):
        way = await line.way()
        async with way.exchange(ask(stream_id="a")) as exchange:
            await read_all(exchange)
        async with way.exchange(ask(stream_id="b", previous_response_id="resp_1")) as fork:
            with trio.fail_after(100):
                async with way.exchange(ask(stream_id="a", previous_response_id="resp_1")) as exchange:
                    await read_all(exchange)
            with pytest.raises(RequestLost):
                await read_all(fork)
