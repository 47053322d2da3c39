"""A link against a server that follows a script: dispatch, fates, isolation, life signs and ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from agentwire.link import Exchange, Fate, Link, RequestLost, TurnOverflow, open_link
from agentwire.protocol.errors import ConnectionEnded, LocalProtocolError, RemoteProtocolError
from agentwire.protocol.events import ErrorEvent, OutputTextDelta, ResponseCompleted, ResponseCreated
from agentwire.protocol.items import Message
from agentwire.protocol.request import CreateRequest
from agentwire.testing import Fault, network, no_leaks
from agentwire.transport.websocket import HandshakeRefused
from tests.link.peer import LIMITS, URL, Peer, created, delta, done, ended, error, linked, message, text_turn


def ask(text: str = "Hi", **fields: Any) -> CreateRequest:
    return CreateRequest(model="m", input=(Message("user", text),), store=False, **fields)


async def texts(exchange: Exchange) -> str:
    return "".join([event.delta async for event in exchange if isinstance(event, OutputTextDelta)])


async def answer_all(peer: Peer) -> None:
    """Echo each request's text, one response after the other."""
    number = 0
    while True:
        number += 1
        request = await peer.request()
        peer.say(*text_turn(f"resp_{number}", "<", request["input"][0]["content"], ">"), lane=request.get("stream_id"))


async def forever(_: object) -> None:
    await trio.sleep_forever()


# The good case


async def test_a_request_gets_its_events_in_order(autojump_clock: MockClock) -> None:
    async with no_leaks(), linked(answer_all) as link:
        async with link.exchange(ask()) as exchange:
            events = [event async for event in exchange]
        assert isinstance(events[0], ResponseCreated)
        assert isinstance(events[-1], ResponseCompleted)
        assert (exchange.fate, exchange.response_id) == (Fate.FINISHED, "resp_1")
        assert events[-1].response.output_text == "<Hi>"


async def test_the_upgrade_carries_key_headers_and_target(autojump_clock: MockClock) -> None:
    heads: list[bytes] = []

    async def serve(peer: Peer) -> None:
        heads.append(peer.head)

    net = network()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_serve_one, net, serve)
        async with open_link(
            "http://h:81/v1?x=1", key="sk-1", headers=[("X-Extra", "yes")], limits=LIMITS, connector=net.connect
        ):
            await trio.testing.wait_all_tasks_blocked()
    lines = heads[0].decode().lower().split("\r\n")
    assert lines[0] == "get /v1/responses?x=1 http/1.1"
    assert {"host: h:81", "authorization: bearer sk-1", "x-extra: yes"} <= set(lines)


async def _serve_one(net: Any, script: Callable[[Peer], Awaitable[object]]) -> None:
    from tests.link.peer import serve_script

    stream = await net.accept()
    await serve_script(stream, script)
    await trio.aclose_forcefully(stream)


async def test_requests_on_one_lane_go_one_after_the_other(autojump_clock: MockClock) -> None:
    order: list[str] = []

    async def serve(peer: Peer) -> None:
        for number in range(3):
            request = await peer.request()
            order.append(request["input"][0]["content"])
            with trio.move_on_after(5):  # nothing else arrives while this one runs
                await peer.request()
                raise AssertionError("the next request came too early")
            peer.say(*text_turn(f"resp_{number}", "ok"), lane="a")

    async def one(link: Link, number: int) -> None:
        async with link.exchange(ask(str(number), stream_id="a")) as exchange:
            await texts(exchange)

    async with linked(serve) as link, trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(one, link, number)
            await trio.testing.wait_all_tasks_blocked()
    assert order == ["0", "1", "2"]


async def test_requests_without_a_lane_run_side_by_side(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        requests = [await peer.request() for _ in range(3)]
        assert {request.get("stream_id") for request in requests} == {None, "auto-1", "auto-2"}
        for number, request in reversed(list(enumerate(requests))):
            said = request["input"][0]["content"]
            peer.say(*text_turn(f"resp_{number}", said, "!"), lane=request.get("stream_id"))

    results: dict[str, str] = {}

    async def one(link: Link, text: str) -> None:
        async with link.exchange(ask(text)) as exchange:
            results[text] = await texts(exchange)

    async with linked(serve) as link:
        async with trio.open_nursery() as nursery:
            for text in "abc":
                nursery.start_soon(one, link, text)
        assert results == {"a": "a!", "b": "b!", "c": "c!"}
        async with link.exchange(ask()) as exchange:  # a free lane is used again
            assert exchange.lane.name is None


async def test_a_continuation_takes_the_lane_of_what_it_continues(autojump_clock: MockClock) -> None:
    async with linked(answer_all) as link:
        async with link.exchange(ask("a")) as first, link.exchange(ask("b")) as second:
            await texts(first)
            await texts(second)
        assert second.response_id is not None
        async with link.exchange(ask("c", previous_response_id=second.response_id)) as third:
            assert third.lane.name == "auto-1"


async def test_keepalives_are_life_and_no_content(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        for number in range(5):
            await trio.sleep(50)
            peer.say({"type": "keepalive", "sequence_number": number + 1})
        peer.say(*text_turn("resp_1", "late")[1:])

    async with linked(serve) as link:
        async with link.exchange(ask()) as exchange:
            events = [event async for event in exchange]
        assert [event.type for event in events if "keepalive" in event.type] == []
        assert link.statistics().keepalives == 5


async def test_events_that_nobody_knows_may_come_before_a_response(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        request = await peer.request()
        for kind in ("response.metadata", "codex.rate_limits", "response.telepathy.delta"):
            peer.say({"type": kind, "sequence_number": 0}, lane=request.get("stream_id"))
        peer.say(*text_turn("resp_1", "well"), lane=request.get("stream_id"))

    async with linked(serve) as link:
        async with link.exchange(ask()) as exchange:
            events = [event async for event in exchange]
        assert exchange.response_id == "resp_1"
        assert events[-1].type == "response.completed"
        assert link.ended is None


# Errors


async def test_an_error_ends_the_request_that_has_not_begun(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(error("model_not_found", number=0))
        await peer.answer(*text_turn("resp_2", "ok"))

    async with linked(serve) as link:
        async with link.exchange(ask()) as first:
            (event,) = [event async for event in first]
        assert isinstance(event, ErrorEvent)
        assert (event.code, first.fate) == ("model_not_found", Fate.FINISHED)
        async with link.exchange(ask()) as second:
            assert await texts(second) == "ok"


async def test_an_error_in_a_response_waits_for_its_end(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(created("resp_1"), error("server_error", status=500, number=1), ended("resp_1", "failed"))
        await peer.answer(*text_turn("resp_2", "ok"))

    async with linked(serve) as link:
        async with link.exchange(ask()) as first:
            assert [event.type async for event in first] == ["response.created", "error", "response.failed"]
        async with link.exchange(ask()) as second:
            assert await texts(second) == "ok"


async def test_an_error_without_an_end_is_one_after_a_while(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(created("resp_1"), error("server_error", status=500))
        await trio.sleep(20)
        peer.say(ended("resp_1", "failed"))  # too late: it must not end the next one
        await peer.answer(*text_turn("resp_2", "ok"))

    async with linked(serve) as link:
        async with link.exchange(ask()) as first:
            assert [event.type async for event in first] == ["response.created", "error"]
        assert trio.current_time() <= 2 * LIMITS.close_grace
        async with link.exchange(ask()) as second:
            assert await texts(second) == "ok"


async def test_the_notice_of_the_end_leaves_running_responses_alone(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"), error("websocket_connection_limit_reached", "60 minutes."))
        await trio.sleep(1)
        peer.say(*text_turn("resp_1", "done")[1:])

    async with linked(serve) as link:
        async with link.exchange(ask()) as first:
            assert await texts(first) == "done"
        with pytest.raises(RequestLost, match=r"takes no more requests on it: 60 minutes\.") as caught:
            async with link.exchange(ask()):
                raise AssertionError("it must not be sent")
        assert caught.value.fate is Fate.NEVER_SENT


async def test_the_notice_as_an_answer_ends_the_request(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(error("websocket_connection_limit_reached"))

    async with linked(serve) as link, link.exchange(ask()) as exchange:
        assert [event.type async for event in exchange] == ["error"]


async def test_an_error_that_answers_nothing_is_dropped(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        peer.say(error("odd"), error("odder", stream_id="nobody"), {"type": "response.steer.failed"})
        await answer_all(peer)

    async with linked(serve) as link:
        async with link.exchange(ask()) as exchange:
            assert await texts(exchange) == "<Hi>"
        assert link.statistics().unexpected == 3


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (b"{", "no event"),
        (b"[]", "no event"),
        (b'{"type":1}', "no event"),
        (b'{"type":"response.created","response":{"id":"resp_9"}}', "a response that nobody asked for"),
    ],
)
async def test_nonsense_ends_the_connection_and_every_request_is_told(
    autojump_clock: MockClock, frame: bytes, words: str
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.request()
        peer.say(created("resp_1"), lane="a")
        peer.say(created("resp_2"), lane="b")
        peer.say_raw(frame)

    fates: list[str] = []

    async def one(link: Link, lane: str) -> None:
        async with link.exchange(ask(stream_id=lane)) as exchange:
            with pytest.raises(RequestLost, match=words) as caught:
                await texts(exchange)
            fates.append(f"{caught.value.fate} {caught.value.response_id}")

    async with no_leaks(), linked(serve) as link, trio.open_nursery() as nursery:
        nursery.start_soon(one, link, "a")
        nursery.start_soon(one, link, "b")
    assert sorted(fates) == ["started resp_1", "started resp_2"]


async def test_side_events_before_a_response_do_not_begin_it(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        steer = {"type": "response.steer.failed", "error": {}, "steer": {}}
        await peer.answer(steer, {"type": "codex.rate_limits", "rate_limits": {}}, *text_turn("resp_1", "ok"))

    async with linked(serve) as link, link.exchange(ask()) as exchange:
        assert await exchange.receive_frame() == b'{"type": "codex.rate_limits", "rate_limits": {}}'
        assert await texts(exchange) == "ok"
        assert await exchange.receive_frame() is None
        assert link.statistics().unexpected == 1


async def test_an_error_without_a_lane_answers_the_only_request_that_waits(autojump_clock: MockClock) -> None:
    """What a server could not read, it cannot tell the lane of."""

    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"), lane="a")
        await peer.request()
        peer.say(error("invalid_json"))

    async with linked(serve) as link, link.exchange(ask(stream_id="a")) as running:
        assert isinstance(await running.receive(), ResponseCreated)
        async with link.exchange(ask(stream_id="b")) as exchange:
            assert [getattr(event, "code", None) async for event in exchange] == ["invalid_json"]
        assert exchange.fate is Fate.FINISHED


async def test_a_numbered_error_without_a_lane_answers_no_request_while_a_response_runs(
    autojump_clock: MockClock,
) -> None:
    """It is that response's own, as far as anybody knows."""

    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"), lane="a")
        await peer.request()
        peer.say(error("server_error", number=1))
        peer.say(*text_turn("resp_2", "ok"), lane="b")
        peer.say(ended("resp_1", "failed"), lane="a")
        await peer.request()
        peer.say(error("odd", number=0))

    async with linked(serve) as link:
        async with link.exchange(ask(stream_id="a")) as running:
            assert isinstance(await running.receive(), ResponseCreated)
            async with link.exchange(ask(stream_id="b")) as exchange:
                assert await texts(exchange) == "ok"
            assert [event.type async for event in running] == ["response.failed"]
        async with link.exchange(ask(stream_id="b")) as exchange:
            assert [getattr(event, "code", None) async for event in exchange] == ["odd"]


@pytest.mark.parametrize("begun", [0, 1], ids=["before the next one", "within the next one"])
async def test_an_end_that_is_told_twice_ends_nothing_else(begun: int, autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        first, second = text_turn("resp_1", "one"), text_turn("resp_2", "two")
        await peer.answer(*first)
        await peer.answer(*second[:begun], first[-1], *second[begun:])

    async with linked(serve) as link:
        for told in ("one", "two"):
            async with link.exchange(ask()) as exchange:
                assert await texts(exchange) == told
        assert link.statistics().unexpected == 1


@pytest.mark.parametrize(
    ("told", "latest"),
    [
        ({"type": "response.done", "response": {"id": "resp_1", "status": "completed"}}, "resp_1"),
        ({"type": "response.done", "response": {"id": "resp_1", "status": "cancelled"}}, None),
        ({"type": "response.done"}, None),
        ({"type": "response.cancelled", "response": {"id": "resp_1"}}, None),
        ({"type": "response.completed", "response": {"id": "resp_1", "status": "failed"}}, None),
    ],
    ids=["done", "done, but cancelled", "done, and no more", "cancelled", "completed, but failed"],
)
async def test_an_end_of_another_name_is_one(told: Any, latest: str | None, autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(created("resp_1"), told)
        await peer.answer(ended("resp_1"), *text_turn("resp_2", "two"))

    async with linked(serve) as link:
        async with link.exchange(ask()) as exchange:
            assert len([frame async for frame in exchange]) == 2
        assert exchange.lane.latest == latest
        async with link.exchange(ask()) as another:
            assert await texts(another) == "two"


async def test_an_empty_name_of_a_lane_is_one_that_is_left_out(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.say(*text_turn("resp_1", "ok"), lane="")
        await peer.request()
        peer.say(error("odd"), lane="")

    async with linked(serve) as link:
        async with link.exchange(ask()) as exchange:
            assert await texts(exchange) == "ok"
        async with link.exchange(ask()) as exchange:
            assert [getattr(event, "code", None) async for event in exchange] == ["odd"]
        assert not link.has_lanes


async def test_the_last_line_of_an_event_stream_is_no_event(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        for _ in range(2):
            await peer.answer(*text_turn("resp_1", "ok"))
            peer.say_raw(b"[DONE]\n")

    async with linked(serve) as link:
        for _ in range(2):
            async with link.exchange(ask()) as exchange:
                assert await texts(exchange) == "ok"


async def test_a_server_without_lanes_is_found_out(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))  # without the lane's name

    async with linked(serve) as link, link.exchange(ask(stream_id="a")) as exchange:
        with pytest.raises(RequestLost, match="it has no lanes"):
            await texts(exchange)


async def test_a_second_response_for_one_request_is_a_fault(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(created("resp_1"), created("resp_2"))

    async with linked(serve) as link, link.exchange(ask()) as exchange:
        with pytest.raises(RequestLost, match="second response for one request"):
            await texts(exchange)


async def test_an_event_that_cannot_be_read_is_its_readers_affair(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(created("resp_1"), {"type": "response.output_text.delta"}, ended("resp_1"))
        await answer_all(peer)

    async with linked(serve) as link:
        async with link.exchange(ask()) as exchange:
            with pytest.raises(RemoteProtocolError, match="does not fit"):
                await texts(exchange)
        async with link.exchange(ask()) as exchange:
            assert await texts(exchange) == "<Hi>"


# Leaving early


async def test_what_comes_for_an_abandoned_request_never_reaches_the_next(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"), delta("stale"), lane="x")
        await trio.sleep(5)
        peer.say(delta("stale"), done(message("stale")), ended("resp_1", output=[message("stale")]), lane="x")
        await peer.answer(*text_turn("resp_2", "fresh"))

    async with linked(serve) as link:
        async with link.exchange(ask("a", stream_id="x")) as first:
            await first.receive()
        assert first.fate is Fate.STARTED
        async with link.exchange(ask("b", stream_id="x")) as second:
            assert trio.current_time() >= 5
            assert await texts(second) == "fresh"


async def test_a_request_without_a_lane_does_not_wait_for_an_abandoned_one(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await peer.answer(*text_turn("resp_2", "fresh"))

    async with linked(serve) as link:
        async with link.exchange(ask()) as first:
            await first.receive()
        async with link.exchange(ask()) as second:
            assert second.lane.name == "auto-1"
            assert await texts(second) == "fresh"


async def test_a_request_that_has_not_left_is_withdrawn(autojump_clock: MockClock) -> None:
    async def send_big(link: Link) -> None:
        async with link.exchange(ask("x" * 100_000, stream_id="big")) as exchange:
            assert len(await texts(exchange)) == 100_002

    seen: list[str] = []

    async def serve(peer: Peer) -> None:
        for number in range(2):
            request = await peer.request()
            seen.append(request["input"][0]["content"][:5])
            peer.say(*text_turn(f"resp_{number}", "<", request["input"][0]["content"], ">"), lane=request["stream_id"])

    async with linked(serve, net=network(bandwidth=10_000, capacity=1000)) as link, trio.open_nursery() as nursery:
        nursery.start_soon(send_big, link)
        await trio.sleep(1)
        async with link.exchange(ask("withdrawn", stream_id="small")) as exchange:
            assert link.statistics().unsent_bytes > 0
        assert (exchange.fate, link.statistics().unsent_bytes) == (Fate.NEVER_SENT, 0)
        async with link.exchange(ask("again", stream_id="small")) as exchange:
            assert await texts(exchange) == "<again>"
    assert seen == ["xxxxx", "again"]


async def test_waiting_for_a_lane_can_be_cancelled(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(created("resp_1"))
        await trio.sleep(5)
        peer.say(*text_turn("resp_1", "a")[1:], lane="x")
        await peer.answer(*text_turn("resp_2", "c"))

    async def one(link: Link) -> str:
        async with link.exchange(ask(stream_id="x")) as exchange:
            return await texts(exchange)

    results: list[str] = []

    async def keep(link: Link) -> None:
        results.append(await one(link))

    async with linked(serve) as link, trio.open_nursery() as nursery:
        nursery.start_soon(keep, link)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await one(link)
        assert link.statistics().waiting == 0
        nursery.start_soon(keep, link)
    assert results == ["a", "c"]


# Bounds


async def test_a_turn_that_is_not_read_fails_alone(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        slow, quick = await peer.request(), await peer.request()
        peer.say(created("resp_1"), *(delta("x" * 100) for _ in range(100)), lane=slow["stream_id"])
        peer.say(*text_turn("resp_2", "quick"), lane=quick["stream_id"])
        await trio.sleep(1)
        peer.say(ended("resp_1"), lane=slow["stream_id"])
        await peer.answer(*text_turn("resp_3", "again"))

    limits = attrs.evolve(LIMITS, turn_buffer_bytes=4000)
    async with linked(serve, limits=limits) as link:
        async with link.exchange(ask(stream_id="slow")) as slow, link.exchange(ask(stream_id="quick")) as quick:
            assert await texts(quick) == "quick"
            with pytest.raises(TurnOverflow, match="more than 4000 bytes") as caught:
                await texts(slow)
            assert caught.value.response_id == "resp_1"
            assert link.statistics().buffered_bytes == 0
        async with link.exchange(ask(stream_id="slow")) as exchange:
            assert await texts(exchange) == "again"


async def test_a_request_too_large_is_not_sent(autojump_clock: MockClock) -> None:
    async with linked(answer_all, limits=attrs.evolve(LIMITS, message_bytes=1000)) as link:
        with pytest.raises(LocalProtocolError, match="a message may have 1000"):
            async with link.exchange(ask("x" * 1000)):
                raise AssertionError("it must not be sent")
        async with link.exchange(ask("y")) as exchange:
            assert await texts(exchange) == "<y>"


async def test_senders_wait_for_room(autojump_clock: MockClock) -> None:
    limits = attrs.evolve(LIMITS, queued_bytes=50_000)
    results: list[str] = []

    async def one(link: Link, number: int) -> None:
        async with link.exchange(ask(str(number) * 20_000, stream_id=f"l{number}")) as exchange:
            assert link.statistics().unsent_bytes <= 50_000
            results.append((await texts(exchange))[1])

    net = network(bandwidth=100_000, capacity=4096)
    async with linked(answer_all, limits=limits, net=net) as link, trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(one, link, number)
    assert sorted(results) == list("01234567")


async def test_a_connection_has_so_many_named_lanes(autojump_clock: MockClock) -> None:
    async with linked(answer_all, limits=attrs.evolve(LIMITS, lanes=2)) as link:
        for name in ("a", "b", "a", None):
            async with link.exchange(ask(stream_id=name)) as exchange:
                await texts(exchange)
        with pytest.raises(LocalProtocolError, match="lane 'c' is one too many"):
            async with link.exchange(ask(stream_id="c")):
                raise AssertionError("it must not be sent")


async def test_when_all_lanes_are_taken_requests_wait(autojump_clock: MockClock) -> None:
    limits = attrs.evolve(LIMITS, lanes=1)
    results: list[str] = []

    async def one(link: Link, text: str) -> None:
        async with link.exchange(ask(text)) as exchange:
            results.append(await texts(exchange))

    async with linked(answer_all, limits=limits) as link:
        async with trio.open_nursery() as nursery:
            for text in "abcde":
                nursery.start_soon(one, link, text)
        assert link.statistics().lanes == 2
    assert sorted(results) == ["<a>", "<b>", "<c>", "<d>", "<e>"]


# Life and death


async def test_a_silent_server_that_answers_pings_lives(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        request = await peer.request()
        await trio.sleep(1000)
        peer.say(*text_turn("resp_1", "late"), lane=request.get("stream_id"))

    async with linked(serve) as link, link.exchange(ask()) as exchange:
        assert await texts(exchange) == "late"


async def test_a_server_that_vanishes_is_noticed(autojump_clock: MockClock) -> None:
    net = network(faults=[Fault("stall", "server", at_time=30.7), Fault("stall", "client", at_time=30.7)])
    async with linked(forever, net=net) as link:
        async with link.exchange(ask()) as exchange:
            with pytest.raises(RequestLost, match="no sign of life for 60 s") as caught:
                await texts(exchange)
        assert caught.value.fate is Fate.UNKNOWN
        assert trio.current_time() <= 31 + LIMITS.ping_timeout
        assert net.trace.frames("client") <= 1 + 4 + 1  # it was pinged, and not all the time


@pytest.mark.parametrize("kind", ["cut", "reset"])
async def test_a_lost_connection_ends_every_request_with_its_fate(autojump_clock: MockClock, kind: Any) -> None:
    net = network()

    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.say(*text_turn("resp_1", "a"), lane="finished")
        await peer.request()
        peer.say(created("resp_2"), delta("b"), lane="started")
        await peer.request()
        await trio.sleep(1)
        net.arm(Fault(kind, connection=0))

    fates: dict[str, str] = {}

    async def one(link: Link, lane: str) -> None:
        async with link.exchange(ask(stream_id=lane)) as exchange:
            await trio.sleep(2)  # read only what has come, after the end of the connection
            try:
                fates[lane] = await texts(exchange)
            except RequestLost as lost:
                fates[lane] = f"{lost.fate} {lost.response_id}"

    async with no_leaks(), linked(serve, net=net) as link:
        async with trio.open_nursery() as nursery:
            for lane in ("finished", "started", "unknown"):
                nursery.start_soon(one, link, lane)
                await trio.testing.wait_all_tasks_blocked()
        assert fates == {
            "finished": "a",
            "started": "started resp_2",
            "unknown": "sent, and its fate is unknown None",
        }
        assert (await link.wait_ended()).cause
        with pytest.raises(RequestLost) as caught:
            async with link.exchange(ask()):
                raise AssertionError("it must not be sent")
        assert caught.value.fate is Fate.NEVER_SENT


async def test_the_close_frame_is_in_the_story(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.wire.close(1012, "going down")

    async with linked(serve) as link, link.exchange(ask()) as exchange:
        with pytest.raises(RequestLost, match="received 1012 going down") as caught:
            await texts(exchange)
        assert caught.value.received is not None
        assert caught.value.received.code == 1012


async def test_leaving_says_goodbye(autojump_clock: MockClock) -> None:
    seen: list[ConnectionEnded] = []

    async def serve(peer: Peer) -> None:
        try:
            await peer.wire.receive()
        except ConnectionEnded as end:
            seen.append(end)
            raise

    async with no_leaks(), linked(serve) as link:
        pass
    assert link.ended is not None
    assert link.ended.cause == "closed on this side"
    assert seen[0].received is not None
    assert seen[0].received.code == 1000


async def test_a_server_that_does_not_answer_the_goodbye_is_left(autojump_clock: MockClock) -> None:
    net = network(faults=[Fault("stall", "server", at_time=1)])
    async with linked(forever, net=net):
        await trio.sleep(2)
    assert trio.current_time() <= 2 + LIMITS.close_grace


async def test_a_cancelled_link_is_cut_off_at_once(autojump_clock: MockClock) -> None:
    net = network(faults=[Fault("stall", "server", at_time=1)])
    began = trio.current_time()
    async with no_leaks():
        with trio.move_on_after(3):
            async with linked(forever, net=net):
                await trio.sleep_forever()
    assert trio.current_time() == began + 3


async def test_what_the_body_raises_comes_out_as_itself(autojump_clock: MockClock) -> None:
    net = network()

    async def body() -> None:
        async with open_link(URL, limits=LIMITS, connector=net.connect):
            raise KeyError("body")

    async with no_leaks(), trio.open_nursery() as nursery:
        nursery.start_soon(_serve_one, net, forever)
        with pytest.raises(KeyError, match="body"):
            await body()
        nursery.cancel_scope.cancel(reason="the test is over")


async def test_a_refused_handshake_says_what_the_server_said(autojump_clock: MockClock) -> None:
    net = network()

    async def refuse() -> None:
        stream = await net.accept()
        await stream.receive_some()
        body = b'{"error":{"message":"Send an API key."}}'
        await stream.send_all(b"HTTP/1.1 401 U\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await stream.aclose()

    async with no_leaks(), trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        with pytest.raises(HandshakeRefused, match=r"HTTP 401: Send an API key\."):
            async with open_link(URL, limits=LIMITS, connector=net.connect):
                raise AssertionError("it must not open")


@pytest.mark.parametrize("header", [("X-Ä", "1"), ("X", "a\r\nb")])
async def test_headers_must_be_plain(autojump_clock: MockClock, header: tuple[str, str]) -> None:
    with pytest.raises(LocalProtocolError, match="must be printable ASCII"):
        async with open_link(URL, headers=[header]):
            raise AssertionError("it must not open")


async def test_all_that_wait_on_a_held_lane_are_told_that_nothing_more_leaves(autojump_clock: MockClock) -> None:
    told: list[RequestLost] = []

    async def near_its_end(peer: Peer) -> None:
        await peer.request()
        await trio.sleep(1)
        peer.say(error("websocket_connection_limit_reached"))
        peer.say(*text_turn("resp_1", "last"), lane="held")

    async with no_leaks(), linked(near_its_end) as link:
        lane = link.lanes.claim("held")

        async def wait() -> None:
            with pytest.raises(RequestLost) as caught:
                async with link.exchange(ask(), lane=lane):
                    raise AssertionError("it must not leave")
            told.append(caught.value)

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery, link.exchange(ask(), lane=lane) as exchange:
                nursery.start_soon(wait)
                nursery.start_soon(wait)
                while await exchange.receive() is not None:
                    pass
        assert [lost.fate for lost in told] == [Fate.NEVER_SENT] * 2
