"""Requests over the wire: on which connection, as a delta or in full, and what happens when one fails."""

from __future__ import annotations

import json
import math
from functools import partial
from itertools import count
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.client.dropin.answer import Answer
from agentwire.client.dropin.asking import Events
from agentwire.client.dropin.wire import GoesOverHttp, TimedOut, Times
from agentwire.engines.script import Delay, Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.link import RequestLost
from agentwire.protocol.errors import ConnectionEnded, EngineError
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Finish, Out
from agentwire.testing import Fault, MemoryStream, network
from agentwire.transport.dial import ConnectFailed
from tests.client.dropin.kit import PATIENT, TOOL, asked, place, read, texts, types, wired, wired_to
from tests.link.lines import echo, follows, leaves, refuses
from tests.link.peer import LIMITS, Peer, created, delta, error, peer_of, text_turn

Json = dict[str, Any]


async def slow(ask: Ask, out: Out) -> Finish:
    await out.text("Well, ")
    await trio.sleep(60)
    await out.text("yes.")
    return Finish()


# What is sent


@pytest.mark.parametrize("store", [True, False, None])
async def test_a_whole_history_goes_out_as_what_is_new_in_it(store: bool | None, autojump_clock: MockClock) -> None:
    async with wired() as rig:
        members: Json = {} if store is None else {"store": store}
        history = await rig.converse(**members)
        assert texts({"output": history[-1:]}) == "7 items"
        assert rig.lengths == [1, 1, 1, 1]
        assert ["previous_response_id" in request for request in rig.requests] == [False, True, True, True]
        assert all(request.get("store") is store for request in rig.requests)
        shown = await rig.wires.statistics()
        assert (shown.opened, shown.full, shown.deltas, shown.forgotten) == (1, 1, 3, 0)


async def test_streams_continue_what_was_whole_and_the_other_way_round(autojump_clock: MockClock) -> None:
    async with wired(scripted(Turn(Text("Hello.")))) as rig:
        history: list[Json] = []
        for number in range(4):
            history.append({"role": "user", "content": f"{number}"})
            async with rig.wires.ask(asked(history, stream=number % 2 == 0), place(), PATIENT) as answer:
                if isinstance(answer, Events):
                    said = await read(answer)
                    assert types(said)[-1] == "response.completed"
                    assert said.endswith(b"data: [DONE]\n\n")
            history.append({"role": "assistant", "content": "Hello."})
        assert rig.lengths == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "members",
    [
        {"instructions": "Be brief."},
        {"tools": [{**TOOL, "description": "Another one."}]},
        {"temperature": 0.5},
        {"store": False},
        {"model": "n"},
    ],
)
async def test_other_settings_go_out_in_full(members: Json, autojump_clock: MockClock) -> None:
    async with wired() as rig:
        history = await rig.converse(2)
        await rig.text(asked(history, **{"tools": [TOOL], **members}))
        assert rig.lengths == [1, 1, 5]
        assert "previous_response_id" not in rig.requests[-1]


async def test_another_key_has_a_connection_of_its_own_and_no_memory_of_the_first(autojump_clock: MockClock) -> None:
    async with wired() as rig:
        history = await rig.converse(2)
        await rig.text(asked(history, tools=[TOOL]), place("other"))
        assert rig.lengths == [1, 1, 5]
        shown = await rig.wires.statistics()
        assert (shown.places, shown.connections) == (2, 2)


async def test_a_history_that_was_changed_goes_out_from_there_on(autojump_clock: MockClock) -> None:
    async with wired() as rig:
        history = await rig.converse(3)
        history[2]["output"] = "something else"
        await rig.text(asked(history, tools=[TOOL]))
        history[0]["content"] = "Look thrice."
        await rig.text(asked(history, tools=[TOOL]))
        assert rig.lengths == [1, 1, 1, 5, 7]


async def test_a_fork_goes_out_as_a_delta_of_what_is_common(autojump_clock: MockClock) -> None:
    async with wired() as rig:
        history = await rig.converse(3)
        await rig.text(asked([*history[:3], {"role": "user", "content": "Rather not."}], tools=[TOOL]))
        assert rig.lengths == [1, 1, 1, 2]


async def test_a_response_that_the_caller_names_is_named(autojump_clock: MockClock) -> None:
    async with wired(scripted(Turn(Text("Hello.")))) as rig:
        first = json.loads((await rig.whole(asked())).body)
        await rig.text(asked("On.", previous_response_id=first["id"]))
        assert rig.requests[-1]["previous_response_id"] == first["id"]
        refused = await rig.whole(asked("On.", previous_response_id="resp_unknown"))
        assert refused.status == 400
        assert json.loads(refused.body)["error"]["code"] == "previous_response_not_found"
        assert len(rig.requests) == 3


async def test_what_the_server_has_forgotten_goes_out_again_in_full_once(autojump_clock: MockClock) -> None:
    async def forgets(peer: Peer) -> None:
        await peer.answer(*text_turn("resp_1", "Hello."))
        await peer.answer(error("previous_response_not_found"))
        await peer.answer(*text_turn("resp_2", "Again."))
        await peer.answer(error("previous_response_not_found"))
        await peer.answer(error("previous_response_not_found"))

    async with wired_to(follows(forgets)) as (rig, servers):
        history: list[Json] = [{"role": "user", "content": "Hi."}]
        for answer in ("Hello.", "Again."):
            assert await rig.text(asked(history)) == answer
            history += [{"role": "assistant", "content": answer}, {"role": "user", "content": "On."}]
        assert (await rig.whole(asked(history))).status == 400
        assert rig.lengths == [1, 1, 3, 1, 5]
        assert (await rig.wires.statistics()).forgotten == 2
        assert servers.served == 1


# Several at once


def remembers(name: str, *, lanes: bool) -> Any:
    """A server that says all it was told in a conversation, which it knows by ids that it counts on each connection."""

    async def serve(peer: Peer) -> None:
        memory: dict[Any, str] = {None: ""}
        for number in count(1):
            request = await peer.request()
            said = [item["content"] for item in request["input"] if item.get("role") == "user"]
            told = memory.get(request.get("previous_response_id"), "?") + "".join(said)
            await trio.sleep(1)
            memory[response_id := name.format(number)] = told
            peer.say(*text_turn(response_id, told), **({"lane": request["stream_id"]} if lanes else {}))

    return follows(serve)


@pytest.mark.parametrize(("lanes", "connections"), [(True, 2), (False, 4)])
async def test_an_id_that_each_connection_has_once_is_two_responses(
    lanes: bool, connections: int, autojump_clock: MockClock
) -> None:
    limits = attrs.evolve(LIMITS, running=2)
    async with wired_to(remembers("resp_{}", lanes=lanes), limits=limits) as (rig, servers):
        said = {name: name for name in "ABCD"}
        histories: dict[str, list[Json]] = {name: [{"role": "user", "content": name}] for name in said}

        async def ask(name: str) -> None:
            assert await rig.text(asked(histories[name], store=False)) == said[name]
            histories[name] += [{"role": "assistant", "content": said[name]}, {"role": "user", "content": "+"}]
            said[name] += "+"

        await ask("A")
        for then in ("ABCD", ""):
            async with trio.open_nursery() as nursery:
                for name in "BCD":
                    nursery.start_soon(ask, name)
            for name in then:
                await ask(name)
        shown = await rig.wires.statistics()
        assert (servers.served, shown.deltas, shown.forgotten) == (connections, 7, 0)


async def test_a_response_that_the_caller_names_is_asked_for_where_it_is(autojump_clock: MockClock) -> None:
    servers = [remembers(name, lanes=True) for name in ("one_{}", "two_{}")]
    async with wired_to(*servers, limits=attrs.evolve(LIMITS, running=1)) as (rig, _):
        ids: dict[str, str] = {}

        async def ask(name: str) -> None:
            given = [{"role": "user", "content": name}]
            more = {"previous_response_id": ids[name]} if name in ids else {}
            response = json.loads((await rig.whole(asked(given, store=False, **more))).body)
            assert texts(response) == name * (1 + len(more))
            ids[name] = response["id"]

        await ask("A")
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, "B")
                nursery.start_soon(ask, "C")
        assert {response_id[:3] for response_id in ids.values()} == {"one", "two"}


async def test_what_one_server_forgets_the_other_one_knows(autojump_clock: MockClock) -> None:
    async with wired(scripted(Turn(Text("Hello."))), server={"extensions": ()}) as rig:
        history: list[Json] = [{"role": "user", "content": "Hi."}]
        for key in "ab":
            await rig.text(asked(history, store=False), place(key))
        history += [{"role": "assistant", "content": "Hello."}, {"role": "user", "content": "On."}]
        rig.net.links[0].arm(Fault("cut", connection=None))
        await wait_all_tasks_blocked()
        for key in "ab":
            await rig.text(asked(history, store=False), place(key))
        assert rig.lengths == [1, 1, 3, 1]


@pytest.mark.parametrize(("store", "lanes"), [(True, {"turn-1"}), (False, {f"turn-{n}" for n in range(1, 6)})])
async def test_only_what_is_not_stored_keeps_its_lane(store: bool, lanes: set[str], autojump_clock: MockClock) -> None:
    async with wired(scripted(Turn(Text("Hello.")))) as rig:
        for number in range(5):
            await rig.text(asked(f"{number}", store=store))
        assert {request["stream_id"] for request in rig.requests} == lanes


async def test_sixteen_turns_share_a_connection_and_the_next_one_opens_another(autojump_clock: MockClock) -> None:
    async with wired(slow) as rig, trio.open_nursery() as nursery:
        await rig.text(asked())  # shows that the server has lanes
        for _ in range(16):
            nursery.start_soon(rig.text, asked())
        await wait_all_tasks_blocked()
        assert (await rig.wires.statistics()).connections == 1
        nursery.start_soon(rig.text, asked())
        await wait_all_tasks_blocked()
        shown = await rig.wires.statistics()
        assert (shown.connections, shown.running) == (2, 17)


async def test_where_there_are_no_lanes_a_connection_has_one_turn_at_a_time(autojump_clock: MockClock) -> None:
    async def laneless(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if "stream_id" in request:
                bad = error("unknown_parameter")
                bad["error"]["param"] = "stream_id"
                peer.say(bad)
            else:
                await trio.sleep(1)
                peer.say(*text_turn("resp_1", "Hello."))

    async with wired_to(follows(laneless)) as (rig, _), trio.open_nursery() as nursery:
        said: list[str] = []

        async def ask() -> None:
            said.append(await rig.text(asked()))

        for _ in range(3):
            nursery.start_soon(ask)
        await trio.sleep(1.5)
        assert said == ["Hello."] * 3
        assert (await rig.wires.statistics()).connections == 3


async def test_a_server_with_fewer_lanes_is_found_out(autojump_clock: MockClock) -> None:
    """Nobody's turn fails for that, and no connection is given up."""

    async def one_lane(peer: Peer) -> None:
        only = (await peer.request())["stream_id"]
        peer.say(*text_turn("resp_1", "ok"), lane=only)
        while True:
            lane = (await peer.request())["stream_id"]
            peer.say(*(text_turn("resp_2", "ok") if lane == only else [no_more_lanes]), lane=lane)

    no_more_lanes = error("websocket_stream_limit_reached")
    async with wired_to(follows(one_lane), connections=2) as (rig, servers):
        await rig.text(asked(store=False))
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(rig.text, asked(f"{number}", store=False))
        shown = await rig.wires.statistics()
        assert (servers.served, shown.connections, shown.again) == (2, 2, 3)


# Errors


@pytest.mark.parametrize("told", [{"code": 400, "message": "Hot."}, {"message": "Hot.", "param": 3}, "Hot."])
async def test_a_refusal_of_an_unusual_shape_keeps_its_words(told: Any, autojump_clock: MockClock) -> None:
    async def refuses_oddly(peer: Peer) -> None:
        await peer.answer({"type": "error", "status": 400, "error": told})

    async with wired_to(follows(refuses_oddly)) as (rig, _):
        answer = await rig.whole(asked())
        assert answer.status == 400
        assert json.loads(answer.body)["error"]["message"] == "Hot."


async def test_a_refusal_has_the_status_and_the_headers_that_http_would_have(autojump_clock: MockClock) -> None:
    async def busy(ask: Ask, out: Out) -> Finish:
        raise EngineError("Wait.", code="rate_limit_exceeded", status=429, headers={"retry-after": "7"})

    async with wired(busy) as rig:
        for stream in (False, True):
            async with rig.wires.ask(asked(stream=stream), place(), PATIENT) as answer:
                if isinstance(answer, Events):  # it has begun: told in the stream
                    assert types(await read(answer))[-2:] == ["error", "response.failed"]
                else:
                    assert (answer.status, dict(answer.headers)["retry-after"]) == (429, "7")
        assert (await rig.whole(asked(temperature=9))).status == 400


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_a_refused_upgrade_is_the_answer(status: int, autojump_clock: MockClock) -> None:
    body = '{"error": {"message": "No.", "code": "invalid_api_key"}}'
    headers = {"retry-after": "3", "content-type": "application/json", "x-request-id": "req_1"}
    server = refuses(status, *(f"{name}: {value}" for name, value in headers.items()), "server: any", body=body)
    async with wired_to(server) as (rig, servers):
        answer = await rig.whole(asked())
        assert (answer.status, answer.body) == (status, body.encode())
        assert dict(answer.headers) == headers
        assert servers.served == 1


@pytest.mark.parametrize("server", [refuses(426), refuses(404), refuses(200), refuses(501), leaves])
async def test_where_no_socket_is_taken_requests_go_over_http_for_a_while(
    server: Any, autojump_clock: MockClock
) -> None:
    async with wired_to(server, server, follows(echo)) as (rig, servers):
        for tried in (1, 1, 2):
            with pytest.raises(GoesOverHttp):
                await rig.whole(asked())
            assert servers.served == tried
            if tried == 1:
                await trio.sleep(LIMITS.websocket_retry * 0.6)
        await trio.sleep(LIMITS.websocket_retry)
        assert await rig.text(asked([{"role": "user", "content": "Hi."}])) == "<Hi.>"
        assert (await rig.wires.statistics()).over_http == 3


async def test_where_nobody_ever_was_requests_go_over_http_and_the_next_one_looks_again(
    autojump_clock: MockClock,
) -> None:
    async def nobody() -> MemoryStream:
        raise ConnectFailed("server", "refused")

    async with wired(connector=nobody) as rig:
        for _ in range(2):
            with pytest.raises(GoesOverHttp, match="refused"):
                await rig.whole(asked())


async def test_what_is_too_long_for_a_message_goes_over_http(autojump_clock: MockClock) -> None:
    async with wired(limits=Limits(message_bytes=1000)) as rig:
        with pytest.raises(GoesOverHttp, match="a message may have 1000"):
            await rig.whole(asked("x" * 1000))


@pytest.mark.parametrize(("code", "over_http"), [(1009, True), (1008, False)])
async def test_what_the_server_will_not_have_is_not_asked_again(
    code: int, over_http: bool, autojump_clock: MockClock
) -> None:
    async def rejects(peer: Peer) -> None:
        await peer.request()
        await peer.wire.close(code)

    async with wired_to(follows(rejects)) as (rig, servers):
        with pytest.raises(GoesOverHttp if over_http else RequestLost):
            await rig.text(asked(store=False))
        assert servers.served == 1


# Time


async def test_the_callers_deadlines_hold(autojump_clock: MockClock) -> None:
    async with wired(slow) as rig:
        with pytest.raises(TimedOut) as caught:
            await rig.text(asked(), times=attrs.evolve(PATIENT, read=59))
        assert caught.value.phase == "read"
        assert 58 < trio.current_time() < 60
        async with rig.wires.ask(asked(stream=True), place(), attrs.evolve(PATIENT, read=61)) as answer:
            assert isinstance(answer, Events)
            await read(answer)
        async with rig.wires.ask(asked(stream=True), place(), attrs.evolve(PATIENT, read=30)) as answer:
            assert isinstance(answer, Events)
            with pytest.raises(TimedOut, match="said nothing for 30 s"):
                await read(answer)


async def test_a_connection_that_takes_too_long_is_tried_over_http_first_and_awaited_later(
    autojump_clock: MockClock,
) -> None:
    net = network()
    hanging = False

    async def connect() -> MemoryStream:
        if hanging:
            await trio.sleep_forever()
        return await net.connect()

    times = Times(connect=5, pool=math.inf, read=math.inf)
    async with wired(scripted(Turn(Text("Hello."))), net=net, connector=connect, resume_within=None) as rig:
        hanging = True
        with pytest.raises(GoesOverHttp):
            await rig.whole(asked(), place("a"), times)
        hanging = False
        assert await rig.text(asked(), place("b"), times) == "Hello."
        hanging = True
        for link in net.links:
            link.arm(Fault("cut", connection=None))
        with pytest.raises(TimedOut) as caught:
            await rig.whole(asked(), place("b"), times)
        assert caught.value.phase == "connect"


async def test_a_lane_that_is_not_free_in_time_is_said(autojump_clock: MockClock) -> None:
    async with wired(slow, connections=1, limits=Limits(running=1)) as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.text, asked())
        await trio.sleep(1)
        with pytest.raises(TimedOut) as caught:
            await rig.text(asked(), times=attrs.evolve(PATIENT, pool=10))
        assert caught.value.phase == "pool"


# Cancelling


@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_cancels_the_turn_at_once(stream: bool, autojump_clock: MockClock) -> None:
    cancelled: list[float] = []

    async def patient(ask: Ask, out: Out) -> Finish:
        await out.text("Well, ")
        try:
            await trio.sleep(600)
        finally:
            cancelled.append(trio.current_time())
        return Finish()

    async with wired(patient) as rig:
        with trio.move_on_after(5):
            async with rig.wires.ask(asked(stream=stream), place(), PATIENT) as answer:
                assert isinstance(answer, Events)
                await answer.more()
                await trio.sleep_forever()
        await trio.sleep(1)
        assert cancelled == [pytest.approx(5, abs=0.5)]
        assert (await rig.wires.statistics()).running == 0


async def test_a_slow_reader_loses_nothing(autojump_clock: MockClock) -> None:
    pieces = 3000
    text = Text("word " * pieces, pieces=pieces)
    limits = Limits(relay_bytes=20_000, turn_buffer_bytes=20_000)
    async with wired(scripted(Turn(text)), limits=limits) as rig:
        async with rig.wires.ask(asked(stream=True), place(), PATIENT) as answer:
            assert isinstance(answer, Events)
            said = b""
            while piece := await answer.more():
                said += piece
                await trio.sleep(0.5)
        assert types(said).count("response.output_text.delta") == pieces


async def test_closing_says_goodbye_and_what_waits_is_told(autojump_clock: MockClock) -> None:
    async with wired(slow, connections=1, limits=Limits(running=1)) as rig:
        lost: list[type[BaseException]] = []

        async def ask() -> None:
            with pytest.raises(ConnectionEnded) as caught:
                await rig.text(asked())
            lost.append(type(caught.value))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            nursery.start_soon(ask)
            await trio.sleep(1)
            rig.wires.close()
            await trio.sleep(0.1)
            assert lost == [ConnectionEnded]
        assert lost == [ConnectionEnded, RequestLost]


# The id of a request


def shows(*values: str) -> Any:
    """Servers, one for each connection, whose 101 has this id; each answers one request, and is gone."""

    async def serve(stream: MemoryStream) -> None:
        value = next(left)
        headers = () if value is None else (("X-Request-Id", value),)
        async with peer_of(stream, headers=headers) as peer:
            await peer.answer(*text_turn("resp_1", "Hello."))
            await trio.sleep(1)

    left = iter([*values, None])
    return serve


async def test_an_answer_has_the_id_of_its_connections_upgrade(autojump_clock: MockClock) -> None:
    async with wired_to(shows("req_1", "req_2")) as (rig, _):
        ids: list[str | None] = []
        for stream in (False, True, False):
            async with rig.wires.ask(asked(stream=stream), place(), PATIENT) as answer:
                ids.append(dict(answer.headers).get("x-request-id"))
                if isinstance(answer, Events):
                    await read(answer)
            await trio.sleep(2)
    assert ids == ["req_1", "req_2", None]


async def test_after_a_session_was_resumed_it_is_the_id_of_the_new_connection(autojump_clock: MockClock) -> None:
    async with wired() as rig:
        first, second = await rig.whole(asked()), await rig.whole(asked())
        rig.net.links[0].arm(Fault("cut", connection=None))
        await trio.sleep(1)
        third = await rig.whole(asked())
    ids = [dict(answer.headers)["x-request-id"] for answer in (first, second, third)]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]
    assert len(rig.net.links) == 2


async def test_an_error_has_an_id_its_own_if_it_brings_one(autojump_clock: MockClock) -> None:
    async def busy(ask: Ask, out: Out) -> Finish:
        raise EngineError("Wait.", code="slow_down", status=503, headers={"X-Request-Id": "req_upstream"})

    async with wired(busy) as rig:
        own = (await rig.whole(asked())).headers
        assert [value for name, value in own if name.lower() == "x-request-id"] == ["req_upstream"]
        refused = await rig.whole(asked(temperature=9))
        assert dict(refused.headers)["x-request-id"].startswith("req_")


# Losing the connection


@pytest.mark.parametrize("stream", [False, True])
async def test_a_turn_that_breaks_off_is_resumed(stream: bool, autojump_clock: MockClock) -> None:
    asks: list[Ask] = []

    async def counting(ask: Ask, out: Out) -> Finish:
        asks.append(ask)
        return await slow(ask, out)

    async with wired(counting) as rig, trio.open_nursery() as nursery:

        async def cut() -> None:
            await trio.sleep(30)
            rig.net.links[0].arm(Fault("cut", connection=None))

        nursery.start_soon(cut)
        async with rig.wires.ask(asked(stream=stream), place(), PATIENT) as answer:
            said = await read(answer) if isinstance(answer, Events) else answer.body
        assert b"Well, yes." in said
        assert len(asks) == 1
        assert len(rig.net.links) == 2


async def drops(peer: Peer) -> None:
    """Begin to answer, and be gone."""
    await peer.answer(created("resp_1"), delta("Hel"))
    await trio.sleep(1)
    await trio.aclose_forcefully(peer.stream)


@pytest.mark.parametrize(
    ("members", "repeat", "first", "again"),
    [
        ({"store": False}, "safe", True, True),
        ({"store": False}, "safe", False, False),
        ({"store": False, "tools": [{"type": "web_search"}]}, "safe", True, False),
        ({}, "safe", True, False),
        ({}, "always", True, True),
        ({"store": False}, "never", True, False),
    ],
)
async def test_what_may_run_twice_is_asked_again_unless_the_sdk_does_so_itself(
    members: Json, repeat: Any, first: bool, again: bool, autojump_clock: MockClock
) -> None:
    async with wired_to(follows(drops), follows(echo), repeat=repeat) as (rig, _):
        wanted, times = asked([{"role": "user", "content": "Hi."}], **members), attrs.evolve(PATIENT, first=first)
        if again:
            assert await rig.text(wanted, times=times) == "<Hi.>"
        else:
            with pytest.raises(RequestLost):
                await rig.text(wanted, times=times)
        assert len(rig.requests) == 1 + again


async def test_a_server_that_drops_every_turn_is_not_asked_for_ever(autojump_clock: MockClock) -> None:
    async with wired_to(follows(drops)) as (rig, _):
        with pytest.raises(RequestLost):
            await rig.text(asked(store=False))
        assert len(rig.requests) == LIMITS.upstream_attempts


async def test_a_stream_of_which_something_was_handed_on_is_lost(autojump_clock: MockClock) -> None:
    async with wired_to(follows(drops), follows(echo)) as (rig, _):
        async with rig.wires.ask(asked(store=False, stream=True), place(), PATIENT) as answer:
            assert isinstance(answer, Events)
            with pytest.raises(RequestLost):
                await read(answer)
        assert len(rig.requests) == 1


async def test_after_a_cut_what_is_stored_goes_on_as_a_delta_and_what_is_not_in_full(
    autojump_clock: MockClock,
) -> None:
    for store, length in ((True, 1), (False, 5)):
        async with wired(server={"extensions": ()}) as rig:
            history = await rig.converse(2, store=store)
            rig.net.links[0].arm(Fault("cut", connection=None))
            await wait_all_tasks_blocked()
            await rig.text(asked(history, tools=[TOOL], store=store))
            assert rig.lengths == [1, 1, length]
            assert len(rig.net.links) == 2


async def test_a_server_that_was_there_is_waited_for(autojump_clock: MockClock) -> None:
    net = network()
    gone = False

    async def connect() -> MemoryStream:
        if gone:
            raise ConnectFailed("server", "refused")
        return await net.connect()

    options: Json = {"net": net, "connector": connect, "resume_within": 20, "server": {"extensions": ()}}
    async with wired(scripted(Turn(Text("Hello."))), **options) as rig, trio.open_nursery() as nursery:
        await rig.text(asked())
        gone = True
        net.links[0].arm(Fault("cut", connection=None))

        async def come_back() -> None:
            nonlocal gone
            await trio.sleep(10)
            gone = False

        nursery.start_soon(come_back)
        assert await rig.text(asked()) == "Hello."
        assert trio.current_time() >= 10
        gone = True
        net.links[1].arm(Fault("cut", connection=None))
        since = trio.current_time()
        with pytest.raises(ConnectFailed):
            await rig.text(asked())
        assert 20 <= trio.current_time() - since < 30


async def test_a_connection_that_has_had_its_time_is_replaced(autojump_clock: MockClock) -> None:
    async def worn(peer: Peer) -> None:
        await peer.answer(*text_turn("resp_1", "Hello."))
        await peer.answer(error("websocket_connection_limit_reached"))

    async with wired_to(follows(worn), follows(echo)) as (rig, servers):
        history: list[Json] = [{"role": "user", "content": "Hi."}]
        assert await rig.text(asked(history, store=False)) == "Hello."
        history += [{"role": "assistant", "content": "Hello."}, {"role": "user", "content": "On."}]
        assert await rig.text(asked(history, store=False)) == "<Hi.>"
        assert rig.lengths == [1, 1, 3]
        assert servers.served == 2


async def test_the_place_that_was_idle_longest_makes_room(autojump_clock: MockClock) -> None:
    async with wired(scripted(Turn(Delay(1), Text("Hello."))), limits=Limits(dropin_places=2)) as rig:
        for key in "abca":
            assert await rig.text(asked(), place(key)) == "Hello."
        await trio.sleep(1)
        shown = await rig.wires.statistics()
        assert (shown.places, shown.connections, shown.opened) == (2, 2, 4)
        async with trio.open_nursery() as nursery:
            for key in "xyz":
                nursery.start_soon(partial(rig.text, asked(), place(key)))
        assert (await rig.wires.statistics()).opened == 7


async def test_an_answer_that_is_whole_is_one(autojump_clock: MockClock) -> None:
    async with wired(scripted(Turn(Text("Hello.")))) as rig:
        answer = await rig.whole(asked())
        assert isinstance(answer, Answer)
        assert json.loads(answer.body)["status"] == "completed"
