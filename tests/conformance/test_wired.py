"""The companion over the WebSocket mode: it does to the wire what a message asks, and hears who leaves it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentwire.testing import network, no_leaks
from agentwire.testing.conformance import CASES, Peer, run_case
from agentwire.testing.conformance.companion import Companion, open_companion
from agentwire.testing.conformance.plays import MODELS, Play
from agentwire.testing.conformance.wire import Closed
from agentwire.testing.conformance.wired import open_wired
from tests.conformance.kit import before_companion


@asynccontextmanager
async def opened() -> AsyncGenerator[tuple[Companion, Peer]]:
    """A companion in memory, and its wire as a peer to be asked."""
    net = network(keep=False)
    async with (
        no_leaks(rounds=50),
        open_companion(net=network(keep=False)) as companion,
        open_wired(companion, net=net) as url,
    ):
        yield companion, Peer(url, model="companion", dial=net.connect)


async def test_a_conversation_is_remembered_and_heard_whole(autojump_clock: MockClock) -> None:
    async with opened() as (companion, peer), peer.socket() as socket:
        begun = trio.current_time()
        first = (await socket.ask(Play(words=3, pace=2.0, first=4.0).tagged("a"))).completed()
        assert first.text == "one two three "
        assert trio.current_time() - begun == pytest.approx(10)
        await socket.ask(Play(words=1).tagged("b"), previous_response_id=first.id)
        assert [item["role"] for item in companion.tagged("b")[0].history] == ["user", "assistant", "user"]
        await companion.heard[1].answer.ended.wait()
        assert [heard.answer.how for heard in companion.heard] == ["said", "said"]
        (await socket.ask(stream_id="lane")).completed()
        assert companion.wired


async def test_who_leaves_the_wire_is_seen_to_leave(autojump_clock: MockClock) -> None:
    async with opened() as (companion, peer):
        async with peer.socket() as socket:
            await socket.create(Play(words=1000, pace=1.0).tagged("a"))
            await socket.until("response.output_text.delta")
            (heard,) = companion.tagged("a")
            left_at = trio.current_time()
        await heard.answer.ended.wait()
        assert heard.left
        assert heard.answer.ended_at == left_at


@pytest.mark.parametrize("play", [Play(die=2), Play(cut=2), Play(words=3, die=3), Play(words=3, cut=3)])
async def test_it_dies_on_the_wire_and_on_no_other_one(play: Play, autojump_clock: MockClock) -> None:
    async with opened() as (_, peer), peer.socket() as other, peer.socket() as socket:
        await other.create(str(Play(words=3, pace=1.0)))
        await other.until("response.output_text.delta")
        await socket.create(str(play))
        with pytest.raises(Closed) as closed:
            await socket.finish()
        assert closed.value.code == 1006
        assert closed.value.reason == ("reset" if play.die is not None else "end of the stream")
        (await other.finish()).completed()


async def test_rubbish_errors_and_refusals(autojump_clock: MockClock) -> None:
    async with opened() as (_, peer), peer.socket() as socket:
        await socket.create(str(Play(rubbish=2)))
        with pytest.raises(json.JSONDecodeError):
            await socket.finish()
        assert (await socket.until("response.failed"))[-1]["response"]["error"]
        assert (await socket.ask(str(Play(error=2)))).end["type"] == "response.failed"
        turn = (await socket.ask(str(Play(status=429, retry_after=7)))).refused("rate_limit_exceeded", status=429)
        assert turn.error is not None
        assert turn.error["error"]["headers"]["retry-after"] == "7"
        await socket.usable()


async def test_it_fills_no_silence_and_gives_up_nobody(autojump_clock: MockClock) -> None:
    async with opened() as (companion, peer), peer.socket() as silent, peer.socket() as stuck:
        await silent.create(Play(stall=2).tagged("a"))
        await stuck.create(Play(flood=64 * 1024 * 1024).tagged("b"))
        with trio.move_on_after(3000):
            await silent.finish()
        assert [event["type"] for event in silent.events[-2:]] == ["response.output_text.delta"] * 2
        assert silent.ws.pings == 0
        flood = companion.tagged("b")[0].answer
        assert not flood.ended.is_set()
        assert flood.sent < 2 * 1024 * 1024


async def test_it_is_asked_over_http_as_well(autojump_clock: MockClock) -> None:
    async with opened() as (companion, peer):
        reply = await peer.post(Play(words=2).tagged("a"))
        assert reply.status == 200
        listed = (await peer.http("GET", "/v1/models")).json()["data"]
        assert [model["id"] for model in listed] == list(MODELS)
        async with peer.events("POST", body=peer.body(Play(die=2).tagged("b"), stream=True)) as events:
            with pytest.raises(trio.BrokenResourceError):
                await events.rest()
        assert len(companion.heard) == 2


@pytest.mark.socket
async def test_it_listens_on_a_port_of_its_own() -> None:
    with trio.fail_after(20):
        async with no_leaks(rounds=2000), open_companion() as companion, open_wired(companion) as url:
            assert url != companion.url
            peer = Peer(url, model="companion")
            async with peer.socket() as socket:
                await socket.usable()
                await socket.create(str(Play(die=1)))
                with pytest.raises(Closed):
                    await socket.finish()


@pytest.mark.parametrize("kind", ["chat", "wire"])
@pytest.mark.parametrize("name", ["a_silent_response_gives_signs_of_life", "a_connection_has_its_age"])
async def test_a_model_is_silent_for_a_minute_where_a_case_wants_that(
    name: str, kind: str, autojump_clock: MockClock
) -> None:
    async with before_companion("openai", kind) as peer:
        result = await run_case(attrs.evolve(peer, able=["patience"]), CASES[name], timeout=5000)
        assert result.verdict == "passed", str(result)
