"""What becomes of a turn whose upstream fails: nothing that may have run is ever asked twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from agentwire.protocol.errors import EngineError
from agentwire.protocol.limits import Limits
from agentwire.testing import network
from agentwire.testing.recording import RecordingOut, ask_for
from tests.engines.chat.kit import step
from tests.engines.wire.kit import Hop, Json, hopping_to, texts
from tests.link.peer import Peer, created, delta, done, ended, error, message, response, text_turn, usage
from tests.server.kit import Peer as Client
from tests.server.kit import eventually

WORN_OUT = "websocket_connection_limit_reached"


async def talk(peer: Peer, *turns: Callable[[Peer], Awaitable[Any]]) -> None:
    for turn in turns:
        await turn(peer)


def says(text: str, response_id: str = "resp_up") -> Callable[[Peer], Awaitable[Any]]:
    async def turn(peer: Peer) -> None:
        await peer.answer(*text_turn(response_id, text))

    return turn


def answers(*events: Json) -> Callable[[Peer], Awaitable[Any]]:
    async def turn(peer: Peer) -> None:
        await peer.answer(*events)

    return turn


async def goes(peer: Peer) -> None:
    """Reads the request, and is gone."""
    await peer.request()
    peer.stream.reset()


def failed(events: list[Json], code: str) -> None:
    """Exactly one error and one failed response."""
    assert [event["type"] for event in events].count("error") == 1
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-1]["response"]["error"]["code"] == code


async def works(peer: Client, text: str = "ok", **fields: Any) -> Json:
    response: Json = (await peer.ask("again", **fields))[-1]["response"]
    assert texts(response["output"]) == text
    return response


async def side_by_side(*peers: Client) -> None:
    async with trio.open_nursery() as nursery:
        for peer in peers:
            nursery.start_soon(works, peer)


async def test_a_turn_that_was_read_and_got_no_answer_is_not_repeated(autojump_clock: MockClock) -> None:
    async with hopping_to(goes, says("ok")) as hop:
        peer = await hop.front.connect()
        failed(await peer.ask("hi"), "upstream_disconnected")
        await works(peer)
        assert len(hop.requests()) == 2
        assert hop.engine.statistics().lost == 1
        await peer.close()


async def goes_on_at(peer: Peer) -> None:
    """Begins, and is gone."""
    await peer.answer(created("resp_up"))
    await trio.sleep(1)
    peer.stream.reset()


NO_ITEM: Json = {"type": "response.output_item.done", "item": 5}


@pytest.mark.parametrize(
    ("script", "may_have_run"),
    [(goes, True), (goes_on_at, True), (answers(created("resp_up"), error("server_error", status=500)), True),
     (answers(created("resp_up"), NO_ITEM), True), (answers(error("server_error", status=500)), False)],
    ids=["unanswered", "begun", "failed after its beginning", "rubbish", "refused"],
)  # fmt: skip
async def test_who_stands_around_the_engine_is_told_whether_it_may_have_run(
    script: Callable[[Peer], Awaitable[Any]], may_have_run: bool, autojump_clock: MockClock
) -> None:
    async with hopping_to(script) as hop:
        with pytest.raises(EngineError) as told:
            await step(hop.engine)
    assert told.value.may_have_run is may_have_run
    assert told.value.retryable is not may_have_run


async def test_unless_that_is_asked_for(autojump_clock: MockClock) -> None:
    async with hopping_to(goes, says("ok"), repeat_unanswered=True) as hop:
        peer = await hop.front.connect()
        await works(peer)
        assert len(hop.requests()) == 2
        assert hop.engine.statistics().again == 1
        await peer.close()


async def test_and_the_upstream_runs_no_tools(autojump_clock: MockClock) -> None:
    async with hopping_to(goes, says("ok"), repeat_unanswered=True) as hop:
        peer = await hop.front.connect()
        failed(await peer.ask("hi", tools=[{"type": "web_search"}]), "upstream_disconnected")
        assert len(hop.requests()) == 1
        await peer.close()


async def test_a_turn_that_had_begun_is_never_repeated(autojump_clock: MockClock) -> None:
    async def begins(peer: Peer) -> None:
        await peer.answer(created("resp_up"), delta("Hal"))
        await trio.sleep(1)
        peer.stream.reset()

    async with hopping_to(begins, says("ok"), repeat_unanswered=True) as hop:
        peer = await hop.front.connect()
        events = await peer.ask("hi")
        failed(events, "upstream_disconnected")
        assert "Hal" in str(events)
        await works(peer)
        assert len(hop.requests()) == 2
        await peer.close()


async def test_what_a_lost_turn_used_is_estimated_and_a_refused_one_used_nothing(autojump_clock: MockClock) -> None:
    async def begins(peer: Peer) -> None:
        await peer.answer(error("invalid_prompt"))
        await peer.answer(created("resp_up"), delta("Hal"), delta("lo"))
        await trio.sleep(1)
        peer.stream.reset()

    async with hopping_to(begins) as hop:
        peer = await hop.front.connect()
        assert (await peer.ask("hi"))[-1]["response"]["usage"] is None
        usage = (await peer.ask("hi"))[-1]["response"]["usage"]
        assert usage["input_tokens"] > 0
        assert (usage["output_tokens"], usage["estimated"]) == (2, True)
        await peer.close()


async def test_a_turn_that_is_cancelled_has_used_what_it_was_told(autojump_clock: MockClock) -> None:
    async def silent(peer: Peer) -> None:
        await peer.request()

    async with hopping_to(silent) as hop:
        out = RecordingOut()
        with trio.move_on_after(1):
            await hop.engine(ask_for("hi"), out)
    assert out.used is not None
    assert out.used.input_tokens > 0


@pytest.mark.parametrize("code", [WORN_OUT, "websocket_stream_limit_reached"])
async def test_a_connection_that_is_worn_out_is_left(code: str, autojump_clock: MockClock) -> None:
    async with hopping_to(answers(error(code)), says("ok")) as hop:
        peer = await hop.front.connect()
        await works(peer)
        await eventually(lambda: hop.engine.statistics().pool.connections == 1)
        assert hop.engine.statistics().again == 1
        await peer.close()


async def test_a_notice_lets_the_running_turn_end_and_moves_the_next_one(autojump_clock: MockClock) -> None:
    async def first(peer: Peer) -> None:
        request = await peer.request()
        lane = request["stream_id"]
        peer.say(created("resp_up"), lane=lane)
        peer.say(error(WORN_OUT))
        await trio.sleep(1)
        whole = message("ok")
        peer.say(ended("resp_up", output=[whole]), lane=lane)

    async with hopping_to(first, says("ok")) as hop:
        peer = await hop.front.connect()
        response = await works(peer)
        await works(peer, previous_response_id=response["id"])
        assert [len(request["input"]) for request in hop.requests()] == [1, 3]
        assert (hop.engine.statistics().pool.opened, hop.engine.statistics().again) == (2, 0)
        await peer.close()


async def test_what_every_connection_refuses_is_told_in_the_end(autojump_clock: MockClock) -> None:
    async with hopping_to(answers(error(WORN_OUT)), limits=Limits(upstream_attempts=3)) as hop:
        peer = await hop.front.connect()
        failed(await peer.ask("hi"), "upstream_disconnected")
        assert len(hop.requests()) == 3
        await peer.close()


FORGOTTEN: dict[str, Json] = {
    "by its code": error("previous_response_not_found"),
    "by the member": {"type": "error", "status": 400, "error": {"message": "No.", "param": "previous_response_id"}},
    "by its id": {"type": "error", "error": {"message": "Response with id 'resp_up' not found.", "code": 404}},
}


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("name", FORGOTTEN)
async def test_a_response_that_is_forgotten_costs_one_request_in_full(
    name: str, store: bool, autojump_clock: MockClock
) -> None:
    """And is not continued again."""

    async def forgets(peer: Peer) -> None:
        await talk(peer, says("ok"), answers(FORGOTTEN[name]), says("ok", "resp_2"), says("ok", "resp_3"))

    async with hopping_to(forgets, store=store) as hop:
        peer = await hop.front.connect()
        asked = [{"type": "message", "role": "user", "content": "again"}]
        history = [*asked, *(await works(peer))["output"], *asked]
        for _ in range(2):
            assert texts((await peer.ask(history))[-1]["response"]["output"]) == "ok"
        continued = [request.get("previous_response_id") for request in hop.requests()]
        assert continued == [None, "resp_up", None, None]
        assert [len(request["input"]) for request in hop.requests()] == [1, 1, 3, 3]
        assert hop.engine.statistics().forgotten == 1
        assert hop.engine.statistics().pool.opened == 1
        await peer.close()


async def test_a_thought_that_is_sealed_at_the_end_is_one(autojump_clock: MockClock) -> None:
    thought: Json = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}
    whole = [{**thought, "encrypted_content": "seal"}, message("ok")]
    sealed = answers(created("resp_1"), done(thought), done(whole[1], 1), ended("resp_1", output=whole))

    async def seals(peer: Peer) -> None:
        await talk(peer, sealed, says("ok", "resp_2"))

    async with hopping_to(seals) as hop:
        peer = await hop.front.connect()
        asked = [{"type": "message", "role": "user", "content": "again"}]
        history = [*asked, *(await works(peer))["output"], *asked]
        assert texts((await peer.ask(history))[-1]["response"]["output"]) == "ok"
        assert [len(request["input"]) for request in hop.requests()] == [1, 1]
        await peer.close()


async def test_an_error_instead_of_a_response_is_the_client_s(autojump_clock: MockClock) -> None:
    """And what it continued is evicted, so that the next turn goes up whole."""
    refusal = error("rate_limit_exceeded", "Slow down.", status=429)

    async def refuses(peer: Peer) -> None:
        await talk(peer, says("ok"), answers(refusal), says("ok", "resp_2"))

    async with hopping_to(refuses, front={"generous": True}) as hop:
        peer = await hop.front.connect()
        response = await works(peer)
        events = await peer.ask("more", previous_response_id=response["id"])
        failed(events, "rate_limit_exceeded")
        assert events[-1]["response"]["error"]["message"] == "Slow down."
        await works(peer, previous_response_id=response["id"])
        assert [len(request["input"]) for request in hop.requests()] == [1, 1, 3]
        await peer.close()


@pytest.mark.parametrize(
    "told",
    [
        {"error": {"code": 400, "message": "Too hot."}},
        {"error": {"code": None, "message": "Too hot.", "param": 3}},
        {"code": 400, "message": "Too hot."},
        {"error": "Too hot."},
    ],
    ids=["a number as code", "a number as param", "flat", "a text"],
)
async def test_an_error_of_an_unusual_shape_keeps_its_words(told: Json, autojump_clock: MockClock) -> None:
    async with hopping_to(answers({"type": "error", "status": 400, **told})) as hop:
        peer = await hop.front.connect()
        events = await peer.ask("hi")
        failed(events, "invalid_request")
        assert events[-2]["status"] == 400
        assert events[-2]["error"]["message"] == "Too hot."
        await peer.close()


async def test_an_upstream_that_says_nothing(autojump_clock: MockClock) -> None:
    async def silent(peer: Peer) -> None:
        await peer.request()

    async def stalls(peer: Peer) -> None:
        await peer.answer(created("resp_up"), delta("Hal"))

    limits = Limits(upstream_first_event=50, upstream_silence=20)
    async with hopping_to(silent, stalls, says("ok"), limits=limits) as hop:
        peer = await hop.front.connect()
        for seconds in (50, 20):
            begun = trio.current_time()
            events = await peer.ask("hi")
            assert trio.current_time() - begun == pytest.approx(seconds)
            failed(events, "upstream_timeout")
            assert events[-2]["status"] == 504
            assert f"said nothing for {seconds} s" in events[-1]["response"]["error"]["message"]
        await works(peer)
        assert len(hop.requests()) == 3
        await hop.idle()
        assert hop.engine.statistics().pool.connections == 1
        await peer.close()


async def test_a_keepalive_is_a_sign_of_life(autojump_clock: MockClock) -> None:
    async def slow(peer: Peer) -> None:
        request = await peer.request()
        lane = request["stream_id"]
        peer.say(created("resp_up"), lane=lane)
        for number in range(1, 10):
            await trio.sleep(15)
            peer.say({"type": "keepalive", "sequence_number": number}, lane=lane)
        peer.say(ended("resp_up", output=[message("ok")]), lane=lane)

    async with hopping_to(slow, limits=Limits(upstream_silence=20)) as hop:
        peer = await hop.front.connect()
        await works(peer)
        await peer.close()


async def test_a_close_frame_in_the_middle_is_told_with_its_words(autojump_clock: MockClock) -> None:
    async def leaves(peer: Peer) -> None:
        await peer.answer(created("resp_up"), delta("Hal"))
        await trio.sleep(1)
        await peer.wire.close(1011, "out of memory")

    async with hopping_to(leaves, says("ok")) as hop:
        peer = await hop.front.connect()
        events = await peer.ask("hi")
        failed(events, "upstream_disconnected")
        assert "1011 out of memory" in events[-1]["response"]["error"]["message"]
        await works(peer)
        await peer.close()


@pytest.mark.parametrize(
    ("rubbish", "code", "connections"),
    [
        ([created("resp_up"), ended("resp_up"), {"type": "response.failed"}], None, 1),
        ([created("resp_up"), created("resp_2")], "upstream_protocol_error", 0),
        ([b"no event"], "upstream_protocol_error", 0),
        ([created("resp_up"), {"type": "response.output_item.done", "item": 5}], "upstream_protocol_error", 1),
    ],
    ids=["two ends", "two responses", "no event", "no item"],
)
async def test_rubbish_ends_the_turn_and_no_other(
    rubbish: list[Any], code: str | None, connections: int, autojump_clock: MockClock
) -> None:
    async def speaks(peer: Peer) -> None:
        request = await peer.request()
        for each in rubbish:
            peer.say(each, lane=request["stream_id"]) if isinstance(each, dict) else peer.say_raw(each)
        await says("ok")(peer)

    async with hopping_to(speaks, says("ok"), on_cancel="isolate") as hop:
        peer = await hop.front.connect()
        events = await peer.ask("hi")
        if code is not None:
            failed(events, code)
        await trio.sleep(1)
        assert hop.engine.statistics().pool.connections == connections
        await works(peer)
        await peer.close()


def http(status: str, body: str = "", *headers: str) -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}", "", body)).encode()


NO_ACCEPT = b"HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (b"SSH-2.0-x\r\n\r\n", "upstream_protocol_error", "without speaking HTTP"),
        (NO_ACCEPT, "upstream_protocol_error", "the server's 101 is not a valid answer to the WebSocket handshake"),
        (http("200 OK", '{"status": "ok"}'), "upstream_not_found", "takes no WebSocket at this address (HTTP 200)"),
        (http("301 X", "", "location: http://u:secret@h/"), "upstream_not_found", "(HTTP 301); is its base URL right"),
        (http("426 X"), "upstream_not_found", "(HTTP 426)"),
        (http("400 X", '{"error": {"message": "No."}}'), "upstream_unreachable", "the connection (HTTP 400): No."),
        (http("401 X", "sk-secret"), "upstream_unauthorized", "refused this server's own key (HTTP 401)"),
        (http("429 X", "", "retry-after: 7"), "rate_limit_exceeded", "Try again in 7 s"),
        (http("503 X", "", "retry-after: 7"), "upstream_error", "(HTTP 503). Try again in 7 s"),
    ],
    ids=["no HTTP", "101 that is none", "200", "301", "426", "400", "401", "429", "503"],
)
async def test_an_upgrade_that_is_answered_otherwise(
    answer: bytes, code: str, said: str, autojump_clock: MockClock
) -> None:
    """Whatever it is, it is no fault of the request, which was never sent; and the next turn looks again."""
    net, other, there = network(), network(), list[Any]()

    async def connect() -> Any:
        if there:
            return await net.connect()
        stream = await other.connect()
        there.append(await other.accept())
        await there[0].send_all(answer)
        return stream

    async with hopping_to(says("ok"), net=net, connector=connect) as hop:
        peer = await hop.front.connect()
        events = await peer.ask("hi")
        failed(events, code)
        message = events[-1]["response"]["error"]["message"]
        assert said in message
        assert "secret" not in message
        await works(peer)
        await there[0].aclose()
        await peer.close()


async def test_a_request_that_is_too_large_for_the_upstream(autojump_clock: MockClock) -> None:
    """It ends the connection there, and is told as what it is; whoever was beside it has lost a connection."""
    both = trio.Event()

    async def closes(peer: Peer) -> None:
        await peer.request()
        both.set()
        await peer.request()
        await peer.wire.close(1009, "larger than it reads")

    async with hopping_to(closes, says("ok"), lanes=True) as hop:
        small, large = [await hop.front.connect() for _ in range(2)]
        await small.create("hi")
        await both.wait()
        failed(await large.ask("x" * 1000), "request_too_large")
        failed(await small.until(), "upstream_disconnected")
        assert hop.engine.statistics().lost == 2
        await works(large)
        await small.close()
        await large.close()


async def test_a_server_with_fewer_lanes_is_found_out(autojump_clock: MockClock) -> None:
    """Nobody's turn fails for that, and no connection is given up."""

    async def three(peer: Peer) -> None:
        names = set[str]()
        while True:
            request = await peer.request()
            name = request["stream_id"]
            fits = name in names or len(names) < 3
            if fits:
                names.add(name)
            peer.say(*(text_turn(name, "ok") if fits else [error("websocket_stream_limit_reached")]), lane=name)

    async with hopping_to(three, lanes=True, connections=2) as hop:
        peers = [await hop.front.connect() for _ in range(8)]
        for _ in range(2):
            await side_by_side(*peers)
        assert hop.engine.pool.most_lanes == 3
        shown = hop.engine.statistics().pool
        assert (shown.connections, shown.retired, shown.opened, shown.lanes) == (2, 0, 2, 6)
        for peer in peers:
            await peer.close()


async def test_a_refused_lane_is_nobody_s_and_the_next_connection_may_have_it(autojump_clock: MockClock) -> None:
    async def at_first_two(peer: Peer) -> None:
        await talk(peer, says("ok", "resp_1"), says("ok", "resp_2"))
        third = await peer.request()
        await peer.answer(error("websocket_stream_limit_reached"))
        peer.say(*text_turn("resp_3", "ok"), lane=third["stream_id"])
        await peer.answer(*text_turn("resp_4", "ok"))
        fifth = await peer.request()
        await trio.sleep(20)
        peer.say(*text_turn("resp_5", "ok"), lane=fifth["stream_id"])

    async def two(peer: Peer) -> None:
        names = [(await peer.request())["stream_id"] for _ in range(2)]
        for name in names:
            peer.say(*text_turn(name, "ok"), lane=name)

    options: Json = {"lanes": True, "connections": 1, "limits": Limits(lanes=2), "rotate_after": 10}
    async with hopping_to(at_first_two, two, **options) as hop:
        peers = [await hop.front.connect() for _ in range(3)]
        rested = [await works(peer) for peer in peers[1:]][1]
        await side_by_side(*peers[:2])
        await works(peers[2], previous_response_id=rested["id"])
        await side_by_side(*peers[:2])
        assert hop.engine.statistics().pool.opened == 2
        for peer in peers:
            await peer.close()


@pytest.mark.parametrize("store", [True, False])
async def test_what_ended_by_another_name_is_what_is_continued(store: bool, autojump_clock: MockClock) -> None:
    """And not what the lane had before, which is somebody else's."""

    async def another(peer: Peer) -> None:
        whole = response("resp_2", "completed", [message("ok")], usage=usage(3, 2))
        await talk(peer, says("ok", "resp_1"), answers(created("resp_2"), {"type": "response.done", "response": whole}))
        await talk(peer, says("ok", "resp_3"))

    async with hopping_to(another, store=store, lanes=False, connections=1) as hop:
        first, peer = [await hop.front.connect() for _ in range(2)]
        await works(first)
        before = await works(peer)
        await works(peer, previous_response_id=before["id"])
        assert [request.get("previous_response_id") for request in hop.requests()] == [None, None, "resp_2"]
        assert hop.engine.statistics().pool.opened == 1
        await first.close()
        await peer.close()


async def test_who_can_have_no_more_connections_shares_those_that_there_are(autojump_clock: MockClock) -> None:
    """A lane that only rests is given away, instead of waiting for a connection that is refused again and again."""
    net, dialled = network(), 0

    async def one() -> Any:
        nonlocal dialled
        dialled += 1
        if dialled > 1:
            raise ConnectionRefusedError("one is enough")
        return await net.connect()

    async def plain(peer: Peer) -> None:
        for number in range(5):
            await peer.request()
            peer.say(*text_turn(f"resp_{number}", "ok"))

    async with hopping_to(plain, net=net, connector=one) as hop:
        peers = [await hop.front.connect() for _ in range(2)]
        for peer in (*peers, *peers):
            await works(peer)
        assert dialled == 2
        assert trio.current_time() < 1
        await trio.sleep(hop.engine.limits.reconnect_longest)
        await works(peers[0])
        assert dialled == 3
        for peer in peers:
            await peer.close()


async def test_who_waits_for_a_turn_to_end_tries_no_other_connection_for_a_while(autojump_clock: MockClock) -> None:
    net, dialled = network(), 0

    async def but_for_a_while() -> Any:
        nonlocal dialled
        dialled += 1
        if dialled in (2, 3):
            raise ConnectionRefusedError("not now")
        return await net.connect()

    async def plain(peer: Peer) -> None:
        for number in range(6):
            await peer.request()
            await trio.sleep(0.1 if number < 5 else 60)
            peer.say(*text_turn(f"resp_{number}", "ok"))

    async with hopping_to(plain, net=net, connector=but_for_a_while, lanes=False) as hop:
        peers = [await hop.front.connect() for _ in range(2)]
        for asking in (peers[:1], peers, peers):
            await side_by_side(*asking)
        assert dialled == 3
        async with trio.open_nursery() as nursery:
            nursery.start_soon(works, peers[0])
            await trio.sleep(0.1)
            await works(peers[1])
            assert dialled == 4
            assert trio.current_time() < 10
        for peer in peers:
            await peer.close()


async def test_a_connection_that_is_being_made_is_waited_for_whatever_another_one_came_to(
    autojump_clock: MockClock,
) -> None:
    net, dialled = network(), 0

    async def the_first_later() -> Any:
        nonlocal dialled
        dialled += 1
        if dialled > 1:
            raise ConnectionRefusedError("one is enough")
        await trio.sleep(1)
        return await net.connect()

    async def plain(peer: Peer) -> None:
        await talk(peer, says("ok", "resp_1"), says("ok", "resp_2"))

    async with hopping_to(plain, net=net, connector=the_first_later, lanes=False) as hop:
        peers = [await hop.front.connect() for _ in range(2)]
        await side_by_side(*peers)
        for peer in peers:
            await peer.close()


async def test_nobody_there(autojump_clock: MockClock) -> None:
    async def refuse() -> Any:
        raise ConnectionRefusedError("nobody listens")

    async with hopping_to(says("ok"), connector=refuse) as hop:
        peer = await hop.front.connect()
        for lane in ("a", "b", "c"):
            await peer.create("hi", stream_id=lane)
        for _ in range(3):
            failed(await peer.until(), "upstream_unreachable")
        assert hop.requests() == []
        shown = hop.engine.statistics().pool
        assert (shown.connections, shown.opening, shown.waiting) == (0, 0, 0)
        await peer.close()


async def abandon(hop: Hop) -> Client:
    """A client that goes when its turn has begun."""
    peer = await hop.front.connect()
    await peer.create("hi")
    await peer.until("response.in_progress")
    await eventually(hop.requests)
    await trio.sleep(1)
    await trio.aclose_forcefully(peer.stream)
    return peer


async def hangs(peer: Peer) -> None:
    await peer.answer(created("resp_up"), delta("Hal"))


async def test_a_turn_alone_takes_its_connection_with_it(autojump_clock: MockClock) -> None:
    gone: list[float] = []

    async def hang(peer: Peer) -> None:
        await hangs(peer)
        try:
            await peer.wire.receive()
        finally:
            gone.append(trio.current_time())

    async with hopping_to(hang, says("ok")) as hop:
        await abandon(hop)
        left = trio.current_time()
        await eventually(lambda: gone)
        assert gone[0] - left < 0.1
        peer = await hop.front.connect()
        await works(peer)
        assert hop.engine.statistics().pool.opened == 2
        await peer.close()


async def test_unless_it_is_to_run_on_unheard(autojump_clock: MockClock) -> None:
    async def hang(peer: Peer) -> None:
        request = await peer.request()
        peer.say(created("resp_up"), delta("Hal"), lane=request["stream_id"])
        await says("ok", "resp_2")(peer)
        peer.say(ended("resp_up"), lane=request["stream_id"])
        await says("ok", "resp_3")(peer)

    async with hopping_to(hang, on_cancel="isolate") as hop:
        await abandon(hop)
        peer = await hop.front.connect()
        await works(peer)
        await eventually(lambda: hop.engine.statistics().pool.abandoned == 0)
        await works(peer)
        assert hop.engine.statistics().pool.opened == 1
        assert len({request["stream_id"] for request in hop.requests()}) == 2
        await peer.close()


async def test_an_abandoned_turn_beside_others_waits_for_them(autojump_clock: MockClock) -> None:
    """Its connection takes no more turns, and is closed with the last of the others."""

    async def both(peer: Peer) -> None:
        await hangs(peer)
        request = await peer.request()
        peer.say(created("resp_2"), lane=request["stream_id"])
        await trio.sleep(30)
        peer.say(ended("resp_2", output=[message("ok")]), lane=request["stream_id"])

    async with hopping_to(both, says("ok")) as hop, trio.open_nursery() as nursery:
        first = await hop.front.connect()
        await first.create("hi")
        await first.until("response.output_text.delta")
        second = await hop.front.connect()
        nursery.start_soon(works, second)
        await trio.sleep(1)
        await trio.aclose_forcefully(first.stream)
        await trio.sleep(1)
        shown = hop.engine.statistics().pool
        assert (shown.connections, shown.retired, shown.running, shown.abandoned) == (1, 1, 2, 1)
        third = await hop.front.connect()
        await works(third)
        assert hop.engine.statistics().pool.connections == 2
        await trio.sleep(30)
        shown = hop.engine.statistics().pool
        assert (shown.connections, shown.retired, shown.running) == (1, 0, 0)
        await second.close()
        await third.close()


async def test_a_server_without_lanes_is_found_out_and_served(autojump_clock: MockClock) -> None:
    async def plain(peer: Peer) -> None:
        for number in range(9):
            await peer.request()
            peer.say(*text_turn(f"resp_{id(peer)}_{number}", "ok"))

    async with hopping_to(plain, connections=3) as hop:
        peers = [await hop.front.connect() for _ in range(5)]
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(works, peer)
        assert hop.engine.pool.lanes is False
        assert hop.engine.statistics().pool.connections <= 3
        assert [request.get("stream_id") for request in hop.requests()].count(None) >= 2
        for peer in peers:
            await peer.close()


@pytest.mark.parametrize("lanes", [True, False])
async def test_what_names_no_lane_in_any_case_shows_nothing(lanes: bool, autojump_clock: MockClock) -> None:
    """Such as a word on the account before the first response, or a refusal."""

    async def serves(peer: Peer) -> None:
        for _ in range(2):
            request = await peer.request()
            peer.say({"type": "codex.rate_limits", "rate_limits": {}}, error("odd"))
            assert request["stream_id"] == "turn-1"
        request = await peer.request()
        peer.say({"type": "codex.rate_limits"})
        peer.say(*text_turn("resp_up", "ok"), lane=request["stream_id"] if lanes else None)

    async with hopping_to(serves) as hop:
        peer = await hop.front.connect()
        for _ in range(2):
            failed(await peer.ask("hi"), "odd")
            assert hop.engine.pool.lanes is None
        await works(peer)
        assert hop.engine.pool.lanes is lanes
        await peer.close()


async def test_who_waits_for_what_the_first_answer_shows_waits_no_longer_than_for_a_connection(
    autojump_clock: MockClock,
) -> None:
    async def silent(peer: Peer) -> None:
        await peer.request()

    async with hopping_to(silent, says("ok")) as hop:
        first, second = [await hop.front.connect() for _ in range(2)]
        await first.create("hi")
        await trio.sleep(1)
        await works(second)
        assert trio.current_time() == pytest.approx(1 + hop.engine.limits.handshake, abs=1)
        await first.close()
        await second.close()


async def test_a_server_that_refuses_to_hear_of_lanes(autojump_clock: MockClock) -> None:
    async def strict(peer: Peer) -> None:
        request = await peer.request()
        if "stream_id" in request:
            refusal = error("unknown_parameter")
            refusal["error"]["param"] = "stream_id"
            peer.say(refusal)
            return
        peer.say(*text_turn("resp_up", "ok"))

    async with hopping_to(strict) as hop:
        peer = await hop.front.connect()
        await works(peer)
        assert [request.get("stream_id") for request in hop.requests()] == ["turn-1", None]
        await peer.close()


@pytest.mark.parametrize(
    "refusal",
    [
        error("unsupported_value", "Encrypted content is not supported with this model."),
        error("unknown_parameter", "Unknown parameter: 'include'.", status=422),
    ],
    ids=["encrypted", "included"],
)
async def test_a_model_that_encrypts_nothing_is_asked_without(refusal: Json, autojump_clock: MockClock) -> None:
    """Unless it had begun to answer: then it may have run."""

    async def plain(peer: Peer) -> None:
        await talk(peer, answers(created("resp_1"), refusal), answers(refusal), says("ok"), says("ok", "resp_2"))

    async with hopping_to(plain) as hop:
        peer = await hop.front.connect()
        failed(await peer.ask("hi"), refusal["error"]["code"])
        await trio.sleep(hop.engine.limits.close_grace)
        await works(peer)
        await works(peer)
        asked = [request.get("include") for request in hop.requests()]
        assert asked == [["reasoning.encrypted_content"], ["reasoning.encrypted_content"], None, None]
        await peer.close()


async def test_the_model_writes_the_summary(autojump_clock: MockClock) -> None:
    async def sums_up(peer: Peer) -> None:
        await talk(peer, says("ok"), says("They said hi."))

    async with hopping_to(sums_up) as hop:
        peer = await hop.front.connect()
        response = await works(peer)
        trigger = [{"type": "compaction_trigger"}]
        events = await peer.ask(trigger, previous_response_id=response["id"])
        assert [item["type"] for item in events[-1]["response"]["output"]] == ["compaction"]
        _, second = hop.requests()
        assert "previous_response_id" not in second
        assert len(second["input"]) == 3  # the whole conversation, and what is asked of it
        await peer.close()


@pytest.mark.parametrize("key", [None, "sk-upstream"])
async def test_no_key_of_the_environment_goes_up(
    key: str | None, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be what this server asks of its own clients."""
    monkeypatch.setenv("AGENTWIRE_API_KEY", "sk-ours")
    heads: list[bytes] = []

    async def note(peer: Peer) -> None:
        heads.append(peer.head.lower())
        await says("ok")(peer)

    async with hopping_to(note, key=key) as hop:
        peer = await hop.front.connect()
        await works(peer)
        await peer.close()
    assert b"sk-ours" not in heads[0]
    assert (b"authorization: bearer sk-upstream" in heads[0]) is (key is not None)


async def test_the_engine_closes_what_it_opened(autojump_clock: MockClock) -> None:
    net = network()
    async with hopping_to(says("ok"), net=net) as hop:
        peer = await hop.front.connect()
        await works(peer)
        await peer.close()
        assert hop.engine.statistics().pool.connections == 1
