"""What has gone wrong in the field with other clients, one test for each that no other test shows."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentwire.client import Client, connect
from agentwire.engines.script import Delay, Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.link import Fate, RequestLost
from agentwire.protocol.errors import AgentwireError
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import Message
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask
from agentwire.runtime.policies import Resume
from agentwire.testing import Fault, Network, network, no_leaks
from tests.client.rollouts import restarted
from tests.link.lines import Serve, Servers, echo, follows, leaves, refuses
from tests.link.peer import LIMITS, URL, Peer, created, delta, ended, error, message, text_turn
from tests.server.kit import serving


@asynccontextmanager
async def connected(
    *scripts: Serve, net: Network | None = None, within: float = 60, limits: Limits = LIMITS
) -> AsyncGenerator[tuple[Client, Servers]]:
    """A client of servers that follow these scripts, one connection after the other."""
    servers = Servers(net or network(), scripts)
    async with trio.open_nursery() as nursery:
        await nursery.start(servers.net.serve, servers.serve)
        async with client(servers.net, within=within, limits=limits) as wire:
            yield wire, servers
        nursery.cancel_scope.cancel(reason="the test is over")


@asynccontextmanager
async def client(net: Network, *, within: float = 60, limits: Limits = LIMITS) -> AsyncGenerator[Client]:
    sources = Sources.seeded(1)
    async with connect(
        URL, limits=limits, sources=sources, connector=net.connect, on_disconnect=Resume(within=within)
    ) as wire:
        yield wire


async def drops(peer: Peer) -> None:
    """Begin an answer, and be gone."""
    request = await peer.request()
    peer.say(created("resp_x"), delta("half"), lane=request.get("stream_id"))
    await trio.sleep(0.1)
    peer.stream.reset()


# What a turn continues


async def test_a_conversation_is_continued_by_its_own_last_response(autojump_clock: MockClock) -> None:
    """By its id, where that lane still has it, and otherwise by saying all of it."""
    contexts: dict[str | None, list[Any]] = {None: []}

    async def serve(peer: Peer) -> None:
        for number in range(4):
            request = await peer.answer(*text_turn(f"resp_{number}", "ok"))
            said = [item["content"] for item in request["input"] if item["role"] == "user"]
            contexts[f"resp_{number}"] = [*contexts[request.get("previous_response_id")], *said]

    async with connected(follows(serve)) as (wire, _):
        one, other = await wire.respond("one"), await wire.respond("other")
        await wire.respond("one goes on", previous_response_id=one.id)
        await wire.respond("other goes on", previous_response_id=other.id)
    assert contexts["resp_2"] == ["one", "one goes on"]
    assert contexts["resp_3"] == ["other", "other goes on"]


def said(ask: Ask) -> list[str]:
    return [item.text for item in ask.items if isinstance(item, Message)]


async def test_a_warm_up_that_is_lost_with_its_connection_is_still_part_of_the_conversation(
    autojump_clock: MockClock,
) -> None:
    engine, net = scripted(Turn(Text("Ready."))), network()
    async with no_leaks(), serving(engine, net=net, extensions=(), limits=LIMITS), client(net) as wire:
        warm = await wire.respond("You know this.", generate=False, instructions="Be brief.")
        net.arm(Fault("reset"))
        first = await wire.respond("Go.", previous_response_id=warm.id)
        net.arm(Fault("cut", connection=1))
        await wire.respond("On.", previous_response_id=first.id)
        assert len(net.links) == 3
    assert [said(ask) for ask in engine.asks] == [
        ["You know this.", "Go."],
        ["You know this.", "Go.", "Ready.", "On."],
    ]


# Dead peers and time


async def test_an_idle_client_answers_pings_though_nobody_reads(autojump_clock: MockClock) -> None:
    net, engine = network(), scripted(Turn(Text("Here.")))
    async with (
        no_leaks(),
        serving(engine, net=net, limits=LIMITS),
        client(net, limits=Limits(ping_interval=5000)) as wire,
    ):
        async with wire.turn("Hi") as turn:
            await trio.sleep(10 * LIMITS.ping_timeout)
            assert (await turn.response()).output_text == "Here."
        assert len(net.links) == 1
    assert engine.cancelled == []


@pytest.mark.parametrize("extensions", [("sessions",), ()])
async def test_a_connection_that_was_forgotten_on_the_way_costs_no_turn(
    extensions: tuple[str, ...], autojump_clock: MockClock
) -> None:
    net = network(faults=[Fault("stall", "client", at_time=30), Fault("stall", "server", at_time=30)])
    engine = scripted(Turn(Text("Here.")))
    async with serving(engine, net=net, limits=LIMITS, extensions=extensions):
        async with client(net) as wire:
            await wire.respond("Hi")
            await trio.sleep(31)  # idle, and not yet noticed
            assert (await wire.respond("Still there?")).output_text == "Here."
            await trio.sleep(1000)
            assert (await wire.respond("And now?")).output_text == "Here."
            assert len(net.links) == 2
        await trio.sleep(LIMITS.ping_timeout + 61)
    assert engine.cancelled == []


async def test_the_notice_of_a_connections_end_disturbs_no_running_turn(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        request = await peer.request()
        lane = request.get("stream_id")
        peer.say(created("resp_1"), delta("one "), lane=lane)
        peer.say(error("websocket_connection_limit_reached"))
        await trio.sleep(5)
        peer.say(delta("two", 2), ended("resp_1", output=[message("one two")]), lane=lane)
        await trio.sleep(1)
        await peer.wire.close(1001)

    async with no_leaks(), connected(follows(serve), follows(echo)) as (wire, servers):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def first() -> None:
                assert (await wire.respond("Hi")).output_text == "one two"

            await trio.sleep(1)
            assert (await wire.respond("Next")).output_text == "<Next>"
        assert servers.served == 2


async def test_a_request_that_meets_the_notice_is_asked_on_the_next_connection(autojump_clock: MockClock) -> None:
    async def worn_out(peer: Peer) -> None:
        await peer.request()
        peer.say(error("websocket_connection_limit_reached"))
        await peer.wire.close(1001)

    async with no_leaks(), connected(follows(worn_out), follows(echo)) as (wire, servers):
        assert (await wire.respond("Hi")).output_text == "<Hi>"
        assert servers.served == 2


# Servers that have forgotten a request

HASTY = attrs.evolve(LIMITS, first_event=30, event_silence=20)


async def test_a_turn_that_gets_no_event_is_asked_elsewhere(autojump_clock: MockClock) -> None:
    """The connection lives, as far as pings show; what is behind it does not."""

    async def deaf(peer: Peer) -> None:
        await peer.request()
        await peer.wire.receive()

    async with no_leaks(), connected(follows(deaf), follows(echo), limits=HASTY) as (wire, servers):
        before = trio.current_time()
        assert (await wire.respond("Hi")).output_text == "<Hi>"
        assert 30 <= trio.current_time() - before < 40
        assert servers.served == 2


async def test_a_turn_that_falls_silent_is_lost_alone_and_keepalives_are_life(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        for number in (1, 2):
            request = await peer.request()
            peer.say(created(f"resp_{number}"), delta("so "), lane=request.get("stream_id"))
        for number in range(10):
            await trio.sleep(15)
            lives = {"type": "keepalive", "sequence_number": 2 + number}
            peer.say(lives, lane=request.get("stream_id"))
        peer.say(ended("resp_2", output=[message("so be it")]), lane=request.get("stream_id"))

    async with no_leaks(), connected(follows(serve), follows(echo), limits=HASTY) as (wire, _):
        answers: list[tuple[str, float]] = []

        async def one(text: str) -> None:
            answers.append(((await wire.respond(text)).output_text, trio.current_time()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, "silent")
            await trio.sleep(0.1)
            nursery.start_soon(one, "thinks")
        (first, then), (second, _) = answers
        assert (first, second) == ("<silent>", "so be it")
        assert 20 <= then < 30


async def test_a_connection_is_left_between_two_turns_before_it_is_too_old(autojump_clock: MockClock) -> None:
    limits = attrs.evolve(LIMITS, rotate_after=100)
    async with no_leaks(), connected(follows(echo), limits=limits) as (wire, servers):
        await wire.respond("one")
        await trio.sleep(50)
        await wire.respond("two")
        assert servers.served == 1
        await trio.sleep(51)
        assert (await wire.respond("three")).output_text == "<three>"
        assert servers.served == 2
        await trio.sleep(1)
        assert wire.line.statistics().draining == 0


# Storms


async def test_a_hundred_turns_that_are_lost_at_once_make_one_attempt_at_a_time(autojump_clock: MockClock) -> None:
    async def begins(peer: Peer) -> None:
        for _ in range(10):
            await peer.request()
        peer.stream.reset()

    async with no_leaks(), connected(follows(begins), leaves, leaves, leaves, follows(echo)) as (wire, servers):
        answers: list[str] = []

        async def one(number: int) -> None:
            answers.append((await wire.respond(str(number))).output_text)

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(one, number)
        assert sorted(answers) == sorted(f"<{number}>" for number in range(100))
        assert servers.served == 5


async def test_a_server_that_drops_every_turn_is_not_asked_for_ever(autojump_clock: MockClock) -> None:
    """Each try costs tokens."""
    async with no_leaks(), connected(follows(drops)) as (wire, servers):
        with trio.fail_after(600), pytest.raises(RequestLost) as caught:
            await wire.respond("Hi")
        assert caught.value.text == "half"
        assert 2 <= servers.served <= 10
        assert trio.current_time() > 0.2


async def test_a_run_whose_every_turn_is_dropped_ends(autojump_clock: MockClock) -> None:
    async with no_leaks(), connected(follows(drops)) as (wire, servers):
        with trio.fail_after(600), pytest.raises(RequestLost):
            async with wire.run("Hi") as run:
                await run.finish()
        assert 2 <= servers.served <= 10


@pytest.mark.parametrize("age", [0.001, 5])
async def test_a_server_whose_connections_are_born_old_is_not_stormed(age: float, autojump_clock: MockClock) -> None:
    """Each new connection is told at once that it will end soon."""
    engine, net = scripted(Turn(Text("one "), Delay(20), Text("two"))), network()
    limits = Limits(connection_age=age, goaway_notice=10)
    async with serving(engine, net=net, limits=limits):
        async with client(net) as wire:
            with trio.fail_after(300), suppress(AgentwireError):
                await wire.respond("Hi")
        assert len(net.links) < 50
        await trio.sleep(200)


# Refusals on the way back


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_is_no_longer_good_is_told_at_once_and_ends_the_tools(
    status: int, autojump_clock: MockClock
) -> None:
    cleaned: list[str] = []

    async def calls(peer: Peer) -> None:
        item = {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "c", "name": "wait"}
        item["arguments"] = "{}"
        done = {"type": "response.output_item.done", "sequence_number": 1, "output_index": 0, "item": item}
        await peer.answer(created("resp_1"), done)
        await trio.sleep(1)
        peer.stream.reset()

    async def wait() -> str:
        try:
            await trio.sleep(5)
        finally:
            cleaned.append("wait")
        return "done"

    async with no_leaks(), connected(follows(calls), refuses(status, body="revoked")) as (wire, servers):
        with trio.fail_after(100), pytest.raises(AgentwireError, match="revoked"):
            async with wire.run("Hi", tools=[wait]) as run:
                await run.finish()
        assert servers.served == 2
    assert cleaned == ["wait"]


async def test_a_busy_server_is_waited_for(autojump_clock: MockClock) -> None:
    busy = refuses(503, "Retry-After: 7")
    async with no_leaks(), connected(follows(drops), busy, follows(echo)) as (wire, servers):
        before = trio.current_time()
        assert (await wire.respond("Hi")).output_text == "<Hi>"
        assert trio.current_time() - before >= 7
        assert servers.served == 3


# Whoever waits may leave


async def test_one_who_leaves_while_the_connection_is_sought_disturbs_nobody(autojump_clock: MockClock) -> None:
    async with no_leaks(), connected(follows(drops), leaves, leaves, leaves, leaves, follows(echo)) as (wire, servers):
        async with trio.open_nursery() as nursery:

            async def impatient() -> None:
                with trio.move_on_after(0.15):
                    await wire.respond("Never mind")
                    raise AssertionError("it cannot be answered by then")

            async def patient() -> None:
                assert (await wire.respond("Hi")).output_text == "<Hi>"

            nursery.start_soon(impatient)
            nursery.start_soon(patient)
        assert servers.served == 6


async def test_leaving_the_client_while_the_connection_is_sought_takes_no_time(autojump_clock: MockClock) -> None:
    async with no_leaks():
        async with connected(follows(drops), leaves, within=math.inf) as (wire, _):
            with trio.move_on_after(20):
                await wire.respond("Hi")
            left = trio.current_time()
        assert trio.current_time() - left < 1


# Bad ends


async def test_an_error_is_told_before_the_goodbye_is_answered(autojump_clock: MockClock) -> None:
    """A server that talks nonsense, and then does not close."""

    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.say_raw(b"nonsense")
        await trio.sleep_forever()

    async with connected(follows(serve), follows(echo)) as (wire, servers):
        before = trio.current_time()
        assert (await wire.respond("Hi")).output_text == "<Hi>"
        assert trio.current_time() < before + 1  # no `close_grace`: a server that talks nonsense is just not hurried
        assert servers.served == 2


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012])
async def test_a_close_without_a_word_is_no_answer(code: int, autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.wire.close(code)

    async with no_leaks(), connected(follows(serve)) as (wire, servers):
        with pytest.raises(RequestLost) as caught:
            await wire.respond("Hi")
        assert caught.value.fate is Fate.UNKNOWN
        assert 2 <= servers.served <= 10


async def test_two_turns_on_one_lane_are_both_answered_in_their_order(autojump_clock: MockClock) -> None:
    async with no_leaks(), connected(follows(drops), follows(echo)) as (wire, _):
        answers: list[str] = []

        async def one(text: str) -> None:
            answers.append((await wire.respond(text, stream_id="x")).output_text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, "first")
            await trio.sleep(0.01)
            nursery.start_soon(one, "second")
    assert sorted(answers) == ["<first>", "<second>"]


async def test_a_server_that_comes_back_without_memory_costs_nothing_but_time(autojump_clock: MockClock) -> None:
    engine, nets = scripted([Turn(Text("one"), Delay(10), Text(" two")), Turn(Text("three"))]), [network(), network()]
    forgetful = scripted([Turn(Text("one"), Delay(10), Text(" two")), Turn(Text("three"))])

    async def dial() -> Any:
        return await nets[any(net.links for net in nets)].connect()

    async with serving(engine, net=nets[0], limits=LIMITS), serving(forgetful, net=nets[1], limits=LIMITS):
        async with (
            connect(
                URL, limits=LIMITS, sources=Sources.seeded(1), connector=dial, on_disconnect=Resume(within=60)
            ) as wire,
            trio.open_nursery() as nursery,
        ):

            @nursery.start_soon
            async def first() -> None:
                response = await wire.respond("Hi")
                assert response.output_text == "one two"
                again = await wire.respond("Go on", previous_response_id=response.id)
                assert again.output_text == "three"

            await trio.sleep(5)
            nets[0].arm(Fault("reset"))
        await trio.sleep(LIMITS.ping_timeout + 61)
    assert said(forgetful.asks[-1]) == ["Hi", "one two", "Go on"]


@pytest.mark.parametrize("extensions", [("sessions", "goaway"), ("sessions",), ("goaway",), ()], ids=str)
async def test_a_rolling_restart_costs_no_turn_and_no_tool(
    extensions: tuple[str, ...], autojump_clock: MockClock
) -> None:
    async with no_leaks():
        played, engines = await restarted(extensions)
    played.check()
    assert all(engine.asks for engine in engines)
    assert all(engine.running == 0 for engine in engines)


async def test_nothing_is_left_of_many_clients_whose_connections_were_lost(autojump_clock: MockClock) -> None:
    net = network(faults=[Fault("reset", "server", at_frame=3, connection=number) for number in range(0, 60, 2)])
    async with no_leaks(), serving(scripted(Turn(Text("Here.", pieces=9))), net=net, limits=LIMITS):
        for _ in range(30):
            async with client(net) as wire:
                assert (await wire.respond("Hi")).output_text == "Here."
        await trio.sleep(LIMITS.ping_timeout + 61)
