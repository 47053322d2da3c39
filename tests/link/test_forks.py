"""Forks of a response that is not stored: the lane that they fork from goes on when they have begun, and not before."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.link import Link
from tests.link.peer import Peer, created, delta, ended, linked, text_turn
from tests.link.test_steering import ask, rest_of


async def test_a_lane_waits_for_the_forks_from_it(autojump_clock: MockClock) -> None:
    said: list[str | None] = []

    async def script(peer: Peer) -> None:
        await peer.answer(*text_turn("resp_1", "root"))
        forks = [(await peer.request())["stream_id"] for _ in range(2)]
        for number, lane in enumerate(forks):
            await trio.sleep(1)
            said.append(lane)
            peer.say(created(f"resp_f{number}"), lane=lane)
            await trio.sleep(1)
            said.append(lane)
            peer.say(delta("x"), lane=lane)
        said.append((await peer.request()).get("stream_id"))
        peer.say(*text_turn("resp_2", "on"))
        for number, lane in enumerate(forks):
            peer.say(ended(f"resp_f{number}"), lane=lane)

    async def follow(link: Link, lane: str | None) -> None:
        held = await link.lanes.acquire(lane)
        async with link.exchange(ask(previous_response_id="resp_1"), lane=held) as exchange:
            assert (await rest_of(exchange))[-1] == "completed"

    async with linked(script) as link:
        root = await link.lanes.acquire()
        async with link.exchange(ask(), lane=root) as exchange:
            await rest_of(exchange)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, link, "a")
            nursery.start_soon(follow, link, "b")
            await wait_all_tasks_blocked()
            async with link.exchange(ask(previous_response_id="resp_1"), lane=root) as exchange:
                await rest_of(exchange)
    assert sorted(filter(None, said)) == ["a", "a", "b", "b"]
    assert said[-1] is None


async def test_a_fork_that_is_refused_holds_up_nobody(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer(*text_turn("resp_1", "root"))
        await peer.answer({"type": "error", "status": 400, "error": {"code": "odd", "message": "No."}})
        await peer.answer(*text_turn("resp_2", "on"))

    async with linked(script) as link:
        root, other = await link.lanes.acquire(), await link.lanes.acquire("a")
        async with link.exchange(ask(), lane=root) as exchange:
            await rest_of(exchange)
        request = ask(previous_response_id="resp_1")
        async with link.exchange(request, lane=other) as fork, link.exchange(request, lane=root) as exchange:
            assert await rest_of(fork) == ["error"]
            assert (await rest_of(exchange))[-1] == "completed"


async def test_a_fork_that_is_withdrawn_holds_up_nobody(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.answer(*text_turn("resp_1", "root"))
        while (await peer.request()).get("stream_id") is not None:
            pass
        peer.say(*text_turn("resp_2", "on"))

    async with linked(script) as link:
        root, other = await link.lanes.acquire(), await link.lanes.acquire("a")
        async with link.exchange(ask(), lane=root) as exchange:
            await rest_of(exchange)
        request = ask(previous_response_id="resp_1")
        async with link.exchange(request, lane=other):
            pass  # left before the wire has taken it
        async with link.exchange(request, lane=root) as exchange:
            assert (await rest_of(exchange))[-1] == "completed"
