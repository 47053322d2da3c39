"""Conversations over few connections: who sits where, who waits, and when a connection has had its time."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.engines.script import Delay, Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Finish, Out
from agentwire.server.auth import Keys
from tests.engines.wire.kit import Hop, Json, Seen, hopping, hopping_to, texts
from tests.engines.wire.test_hop import ask_http
from tests.link.peer import Peer as Scripted
from tests.link.peer import text_turn
from tests.server.kit import Peer, eventually


async def echo(ask: Ask, out: Out) -> Finish:
    """Says back what it is told last, and how long the conversation is."""
    await trio.sleep(1)
    last = ask.items[-1]
    await out.text(f"{getattr(last, 'text', '')} {len(ask.items)}")
    return Finish()


async def say(peer: Peer, text: str, length: int, before: Json | None = None, **fields: Any) -> Json:
    """One turn; what it says is its own and knows all that came before."""
    more = {} if before is None else {"previous_response_id": before["id"]}
    response: Json = (await peer.ask(text, **more, **fields))[-1]["response"]
    assert response["status"] == "completed", response
    assert texts(response["output"]) == f"{text} {length}"
    return response


async def test_forty_conversations_over_two_connections(autojump_clock: MockClock) -> None:
    rng = random.Random(4)
    async with hopping(echo, connections=2, lanes=True) as hop:

        async def converse(name: int) -> None:
            peer, before = await hop.front.connect(), None
            for turn in range(5):
                before = await say(peer, f"{name}:{turn}", 2 * turn + 1, before)
                await trio.sleep(rng.random())
            await peer.close()

        async with trio.open_nursery() as nursery:
            for name in range(40):
                nursery.start_soon(converse, name)
            await trio.sleep(0.5)
            pool = hop.engine.statistics().pool
            assert (pool.connections, pool.running, pool.waiting) == (2, 32, 8)
        shown = hop.engine.statistics()
        assert (shown.pool.opened, shown.pool.running, shown.pool.waiting) == (2, 0, 0)
        assert shown.full + shown.deltas == 200
        assert shown.deltas >= 80  # one whose connection has as many turns as it may have moves, and goes up whole
        assert shown.lost == shown.again == 0


async def test_a_conversation_whose_lane_was_given_away_goes_up_whole(autojump_clock: MockClock) -> None:
    async with hopping(echo, connections=1, limits=Limits(lanes=2)) as hop:
        peers = [await hop.front.connect() for _ in range(3)]
        firsts = [await say(peer, f"{number}", 1) for number, peer in enumerate(peers)]
        assert hop.engine.statistics().pool.lanes == 2
        await say(peers[1], "b", 3, firsts[1])
        await say(peers[0], "a", 3, firsts[0])
        assert [len(request["input"]) for request in hop.requests()] == [1, 1, 1, 1, 3]
        for peer in peers:
            await peer.close()


async def test_forks_stay_on_the_connection(autojump_clock: MockClock) -> None:
    async with hopping(echo) as hop:
        peer = await hop.front.connect()
        root = await say(peer, "a", 1, stream_id="one")
        for lane in ("one", "two", "three"):
            await peer.create("b", previous_response_id=root["id"], stream_id=lane)
        ends = [(await peer.until())[-1]["response"] for _ in range(3)]
        assert {texts(end["output"]) for end in ends} == {"b 3"}
        requests = hop.requests()[1:]
        assert [len(request["input"]) for request in requests] == [1, 1, 1]
        assert len({request["stream_id"] for request in requests}) == 3
        assert {request["previous_response_id"] for request in requests} == {requests[0]["previous_response_id"]}
        await peer.close()


async def test_principals_never_share_a_memory(autojump_clock: MockClock) -> None:
    """The same words from two keys are two conversations, though they use the same lanes one after the other."""
    engine = Seen(echo)
    keys = {"alice": "alice", "bob": "bob"}
    async with hopping(engine, connections=1, front={"keys": Keys.of(keys)}) as hop:
        history: list[Json] = [{"role": "user", "content": "hi"}]

        async def ask(key: str, given: list[Json]) -> Json:
            body = {"model": "m", "input": given, "store": False}
            return await ask_as(hop, key, body)

        first = await ask("alice", history)
        history += [*first["output"], {"role": "user", "content": "more"}]
        await ask("bob", history)
        await ask("alice", history)
        assert [len(request["input"]) for request in hop.requests()] == [1, 3, 1]
        assert hop.engine.statistics().found == 1


async def ask_as(hop: Hop, key: str, body: Json) -> Json:
    peer = await hop.front.connect(headers=[("Authorization", f"Bearer {key}")])
    response: Json = (await peer.ask(body.pop("input"), **body))[-1]["response"]
    assert response["status"] == "completed", response
    await peer.close()
    return response


@pytest.mark.parametrize("connections", [1, 2])
@pytest.mark.parametrize("name", ["resp_{}", "resp"])
async def test_an_id_that_comes_twice_is_two_responses(name: str, connections: int, autojump_clock: MockClock) -> None:
    """A server that keeps nothing may count its responses on each connection; some give all of them one id."""

    async def remembers(server: Scripted) -> None:
        memory = ""
        for number in range(9):
            request = await server.request()
            said = [item["content"] for item in request["input"] if item.get("role") == "user"]
            memory = "".join([*([memory] if "previous_response_id" in request else []), *said])
            server.say(*text_turn(name.format(number), memory))

    async with hopping_to(remembers, lanes=False, connections=connections) as hop:
        peers = [await hop.front.connect() for _ in range(2)]
        before: list[Json] = [{}, {}]
        for letters in ("ab", "AB", "12"):
            for number, peer in enumerate(peers):
                more = {"previous_response_id": before[number]["id"]} if before[number] else {}
                before[number] = (await peer.ask(letters[number], **more))[-1]["response"]
        assert [texts(response["output"]) for response in before] == ["aA1", "bB2"]
        assert hop.engine.statistics().deltas == (0 if connections == 1 else 4)
        for peer in peers:
            await peer.close()


async def test_settings_that_differ_are_another_conversation(autojump_clock: MockClock) -> None:
    async with hopping(echo) as hop:
        history: list[Json] = [{"role": "user", "content": "hi"}]
        first = await ask_http(hop, history, instructions="a")
        history += [*first["output"], {"role": "user", "content": "more"}]
        await ask_http(hop, history, instructions="b")
        await ask_http(hop, history, instructions="a", metadata={"trace": "1"})
        assert [len(request["input"]) for request in hop.requests()] == [1, 3, 1]


async def test_a_history_that_differs_goes_up_whole(autojump_clock: MockClock) -> None:
    engine = Seen(echo)
    async with hopping(engine) as hop:
        first = await ask_http(hop, "hi")
        said = {"role": "user", "content": "hi"}
        changed = {**first["output"][0], "content": [{"type": "output_text", "text": "hi 2"}]}
        for history in ([said, changed], [*first["output"]], [said, said, *first["output"]]):
            await ask_http(hop, [*history, {"role": "user", "content": "more"}])
        assert hop.engine.statistics().deltas == 0
        assert [len(ask.items) for ask in engine.asks] == [1, 3, 2, 4]


async def test_a_stored_response_is_continued_over_http(autojump_clock: MockClock) -> None:
    async with hopping(echo) as hop:
        first = await ask_http(hop, "a", store=True)
        second = await ask_http(hop, "b", previous_response_id=first["id"])
        await ask_http(hop, "c", previous_response_id=second["id"])
        assert [len(request["input"]) for request in hop.requests()] == [1, 1, 1]


async def test_an_upstream_that_stores_is_continued_on_any_connection(autojump_clock: MockClock) -> None:
    async with hopping(echo, store=True, rotate_after=10) as hop:
        first = await ask_http(hop, "a", store=True)
        await trio.sleep(20)
        await ask_http(hop, "b", previous_response_id=first["id"])
        assert [len(request["input"]) for request in hop.requests()] == [1, 1]
        assert [request["store"] for request in hop.requests()] == [True, True]
        assert hop.engine.statistics().pool.opened == 2


async def test_a_connection_moves_before_its_end(autojump_clock: MockClock) -> None:
    """Four hours of turns, some of which cross the border: none is lost."""
    async with hopping(scripted(lambda ask: Turn(Delay(400), Text("ok")))) as hop:
        peer = await hop.front.connect()
        opened = peer
        before: Json | None = None
        for turn in range(36):
            if turn % 8 == 7:
                await opened.close()
                opened, before = await hop.front.connect(), None
            fields = {} if before is None else {"previous_response_id": before["id"]}
            before = (await opened.ask("go", **fields))[-1]["response"]
            assert before["status"] == "completed"
        shown = hop.engine.statistics()
        assert shown.lost == shown.again == 0
        assert shown.pool.opened == 4
        await opened.close()


async def test_a_server_that_says_it_will_go(autojump_clock: MockClock) -> None:
    limits = Limits(connection_age=600, goaway_notice=100)
    async with hopping(scripted(lambda ask: Turn(Delay(60), Text("ok"))), upstream={"limits": limits}) as hop:
        peer = await hop.front.connect()
        for _ in range(20):
            assert (await peer.ask("go"))[-1]["type"] == "response.completed"
        shown = hop.engine.statistics()
        assert (shown.lost, shown.again) == (0, 0)
        assert shown.pool.opened >= 2
        await peer.close()


async def test_an_idle_connection_that_ends_is_no_fault(autojump_clock: MockClock) -> None:
    async with hopping(echo) as hop:
        peer = await hop.front.connect()
        first = await say(peer, "a", 1)
        assert hop.upstream is not None
        for connection in tuple(hop.upstream.server._sockets.connections):
            await connection.end(1012, "restart", "test")
        await eventually(lambda: hop.engine.statistics().pool.connections == 0)
        assert hop.engine.statistics().chains == 0
        await say(peer, "b", 3, first)
        await peer.close()


async def test_whoever_stops_waiting_holds_nothing(autojump_clock: MockClock) -> None:
    async with hopping(echo, connections=1, limits=Limits(running=1)) as hop:
        peers = [await hop.front.connect() for _ in range(5)]
        for peer in peers:
            await peer.create("x")
        await wait_all_tasks_blocked()
        assert hop.engine.statistics().pool.waiting == 4
        for peer in peers[1:4]:
            await trio.aclose_forcefully(peer.stream)
        await eventually(lambda: hop.engine.statistics().pool.waiting == 1)
        for peer in (peers[0], peers[4]):
            assert (await peer.until())[-1]["type"] == "response.completed"
            await peer.close()
        assert len(hop.requests()) == 2


async def test_more_than_may_wait_are_told(autojump_clock: MockClock) -> None:
    async with hopping(echo, connections=1, limits=Limits(running=1, queued=1)) as hop:
        peers = [await hop.front.connect() for _ in range(3)]
        for peer in peers:
            await peer.create("x")
            await wait_all_tasks_blocked()
        ends = [(await peer.until())[-1]["response"] for peer in peers]
        assert sorted(end["status"] for end in ends) == ["completed", "completed", "failed"]
        (failed,) = [end for end in ends if end["status"] == "failed"]
        assert failed["error"]["code"] == "upstream_busy"
        for peer in peers:
            await peer.close()


@pytest.mark.parametrize("lanes", [None, False])
async def test_one_turn_at_a_time_where_there_are_no_lanes(lanes: bool | None, autojump_clock: MockClock) -> None:
    async with hopping(echo, connections=3, lanes=lanes) as hop:
        peers = [await hop.front.connect() for _ in range(6)]
        async with trio.open_nursery() as nursery:
            for number, peer in enumerate(peers):
                nursery.start_soon(say, peer, str(number), 1)
            await trio.sleep(0.5)
            assert hop.engine.statistics().pool.running == (6 if lanes is None else 3)
        assert hop.engine.statistics().pool.connections == (1 if lanes is None else 3)
        for peer in peers:
            await peer.close()
