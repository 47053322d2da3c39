"""Leased lanes: agents side by side on one connection, none of which another one can hold up."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from agentwire.client import Client, Lane
from agentwire.engines import Delay, Text, Turn, scripted
from agentwire.link import TurnOverflow
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.items import Message
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Out
from agentwire.testing import network
from tests.client.kit import connected
from tests.client.served import served
from tests.link.peer import Peer, text_turn


def echo(ask: Ask) -> Turn:
    """Say everything that the user has said."""
    said = [item.text for item in ask.items if isinstance(item, Message) and item.role == "user"]
    return Turn(Delay(1), Text(" ".join(said)))


async def test_lanes_run_side_by_side(autojump_clock: MockClock) -> None:
    async with served(scripted(echo)) as wire:
        start = trio.current_time()

        async def work(name: str) -> None:
            async with wire.lane(name) as lane:
                first = await lane.respond(name)
                async with lane.turn("again", previous_response_id=first.id) as turn:
                    assert (await turn.response()).output_text == f"{name} again"
                    assert turn.stream_id == lane.name == name

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(work, f"agent-{number}")
        assert trio.current_time() - start == pytest.approx(2)


async def test_on_one_lane_one_turn_follows_the_other(autojump_clock: MockClock) -> None:
    async with served(scripted(echo)) as wire, wire.lane() as lane:
        start = trio.current_time()
        ended: list[float] = []

        async def ask(text: str) -> None:
            assert (await lane.respond(text)).output_text == text
            ended.append(trio.current_time() - start)

        async with trio.open_nursery() as nursery:
            for text in ("a", "b", "c"):
                nursery.start_soon(ask, text)
        assert ended == pytest.approx([1, 2, 3])


async def test_a_run_on_a_lane(autojump_clock: MockClock) -> None:
    async with served(scripted(echo)) as wire, wire.lane() as lane:
        async with lane.run("go") as run:
            assert (await run.finish()).output_text == "go"
        assert wire.line.current.lanes.find(lane.name).latest == run.response.id  # type: ignore[union-attr]


async def test_a_lane_is_leased_again_when_it_is_given_back(autojump_clock: MockClock) -> None:
    async with served(scripted(echo)) as wire:
        names = []
        for _ in range(100):
            async with wire.lane() as lane:
                names.append(lane.name)
        assert set(names) == {"auto-1"}


async def test_who_leases_waits_for_one_that_is_free(autojump_clock: MockClock) -> None:
    async with served(scripted(echo), limits=Limits(lanes=2)) as wire:
        start = trio.current_time()
        ended: list[float] = []

        async def work() -> None:
            async with wire.lane() as lane:
                await lane.respond("hi")
                ended.append(trio.current_time() - start)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(work)
        assert ended == pytest.approx([1, 1, 2, 2])


async def test_a_name_that_is_one_too_many(autojump_clock: MockClock) -> None:
    async with served(scripted(echo), limits=Limits(lanes=2)) as wire, wire.lane("a"), wire.lane("b"):
        with pytest.raises(LocalProtocolError, match="lane 'c' is one too many: a connection may name 2 lanes"):
            async with wire.lane("c"):
                pass


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 257])
async def test_a_name_that_is_not_possible(autojump_clock: MockClock, name: str) -> None:
    async with served(scripted(echo)) as wire:
        with pytest.raises(LocalProtocolError, match="a lane's name must have"):
            async with wire.lane(name):
                pass


async def test_a_lane_that_was_given_back_takes_nothing_more(autojump_clock: MockClock) -> None:
    async with served(scripted(echo)) as wire:
        async with wire.lane("plan") as lane:
            await lane.respond("hi")
        with pytest.raises(LocalProtocolError, match="the lane 'plan' was given back"):
            await lane.respond("hi")
        async with wire.lane("plan") as lane:  # nobody holds it
            await lane.respond("hi")


async def test_what_is_asked_on_a_lane_names_no_other(autojump_clock: MockClock) -> None:
    async with served(scripted(echo)) as wire, wire.lane() as lane:
        with pytest.raises(LocalProtocolError, match="it takes no stream_id"):
            await lane.respond("hi", stream_id="other")


async def test_a_lane_that_is_not_read_fails_alone(autojump_clock: MockClock) -> None:
    async def chatter(ask: Ask, out: Out) -> None:
        loud = len(ask.items) == 1
        for _ in range(60 if loud else 6):
            await out.text("x" * (20_000 if loud else 5_000))
            await trio.sleep(0.1)

    limits = Limits(turn_buffer_bytes=200_000, close_grace=5)
    async with served(chatter, limits=limits) as wire, wire.lane("deaf") as deaf, wire.lane("quick") as quick:
        async with deaf.turn("loud") as ignored:
            start = trio.current_time()
            for _ in range(5):
                answer = await quick.respond([_say("not"), _say("loud")])
                assert len(answer.output_text) == 30_000
            assert trio.current_time() - start == pytest.approx(3, abs=0.01)  # nobody held it up
            await trio.sleep(10)
            with pytest.raises(TurnOverflow, match="more than 200000 bytes of events waited to be read"):
                await ignored.response()
        assert len((await deaf.respond([_say("now"), _say("quiet")])).output_text) == 30_000
        assert wire.ended is None
        assert wire.statistics().connections == 1


def _say(text: str) -> Message:
    return Message("user", text)


async def test_the_lease_goes_on_on_the_next_connection(autojump_clock: MockClock) -> None:
    net = network()
    async with served(scripted(echo), net=net, extensions=()) as wire, wire.lane() as one, wire.lane("plan") as two:
        first, second = await one.respond("a"), await two.respond("b")
        await wire.line.current.abort("cut")  # type: ignore[attr-defined]
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(wire.respond, "others")
            answer = await one.respond("c", previous_response_id=first.id)
            assert answer.output_text == "a c"
        async with two.turn("d", previous_response_id=second.id) as turn:
            assert (await turn.response()).output_text == "b d"
            assert turn.stream_id == "plan"
        assert wire.line.current.number == 2
        assert wire.line.current.lanes.find(one.name).latest == answer.id  # type: ignore[union-attr]


async def test_forks_from_one_response_side_by_side(autojump_clock: MockClock) -> None:
    async with served(scripted(echo)) as wire, wire.lane("source") as source:
        root = await source.respond("root")
        texts: list[str] = []

        async def fork(lane: Lane | Client, text: str) -> None:
            texts.append((await lane.respond(text, previous_response_id=root.id)).output_text)

        async def elsewhere(text: str) -> None:
            async with wire.lane() as lane:
                await fork(lane, text)

        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(20):  # more than run at once, so that some begin when the source would have gone on
                nursery.start_soon(elsewhere, str(number))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(fork, source, "on")
        assert sorted(texts) == sorted(f"root {text}" for text in ("on", *map(str, range(20))))
        assert trio.current_time() - start == pytest.approx(2)
        assert wire.statistics().unexpected == 0


async def test_a_warm_up_is_continued_also_on_the_next_connection(autojump_clock: MockClock) -> None:
    asks: list[Ask] = []

    async def engine(ask: Ask, out: Out) -> None:
        asks.append(ask)
        await out.text("ok")

    async with served(engine, extensions=()) as wire:
        ready = await wire.warm_up("Context.", instructions="Be brief.")
        assert (ready.output, ready.output_text, asks) == ((), "", [])
        assert (await wire.respond(previous_response_id=ready.id)).output_text == "ok"
        await wire.line.current.abort("cut")  # type: ignore[attr-defined]
        async with wire.run("Go.", previous_response_id=ready.id) as run:
            assert (await run.finish()).output_text == "ok"
    said = [[item.text for item in ask.items if isinstance(item, Message)] for ask in asks]
    assert said == [["Context."], ["Context.", "Go."]]
    assert [ask.request.instructions for ask in asks] == ["Be brief.", "Be brief."]


async def test_lanes_over_a_script(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.answer(*text_turn("resp_1", "one"))
        assert request["stream_id"] == "auto-1"

    async with connected(script) as wire, wire.lane() as lane:
        assert (await lane.respond("hi")).output_text == "one"
