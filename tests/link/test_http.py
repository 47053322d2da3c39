"""Plain HTTP as a way: the same requests, events and errors, and nothing left of a request that is left."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from agentwire.link import Exchange, Fate, Line, RequestLost, open_line
from agentwire.link.dialling import Dialler
from agentwire.link.http import HttpWay, open_http_way
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.events import ErrorEvent, Event, OutputTextDelta
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.testing import Flood, Pause, Reply, ScriptedUpstream, no_leaks, scripted_upstream
from agentwire.transport.dial import ConnectFailed
from tests.link.lines import ask, echo, follows, lined, refuses, say
from tests.link.peer import created, delta, ended, error, text_turn

LIMITS = Limits(first_event=30, event_silence=30, handshake=5)
TURN = Reply.stream(*text_turn("resp_1", "ok"))


@asynccontextmanager
async def http_way(
    *replies: Reply, url: str = "http://upstream.test/v1", limits: Limits = LIMITS, headers: Any = (), key: str = ""
) -> AsyncGenerator[tuple[HttpWay, ScriptedUpstream]]:
    async with no_leaks(), scripted_upstream(*replies) as upstream:
        dialler = Dialler.of(
            url,
            key=key,
            headers=headers,
            tls=None,
            limits=limits,
            sources=Sources.seeded(1),
            connector=upstream.connect,
            proxy=None,
        )
        async with open_http_way(dialler, lasts=300) as way:
            yield way, upstream


async def events(exchange: Exchange) -> list[Event]:
    return [event async for event in exchange]


async def said(way: HttpWay, text: str = "Hi", **fields: Any) -> str:
    async with way.exchange(ask(text, **fields)) as exchange:
        return "".join([event.delta for event in await events(exchange) if isinstance(event, OutputTextDelta)])


async def loss(way: HttpWay) -> RequestLost:
    async with way.exchange(ask()) as exchange:
        with pytest.raises(RequestLost) as caught:
            await events(exchange)
    return caught.value


# What goes over the wire


async def test_a_request_gets_its_events(autojump_clock: MockClock) -> None:
    async with http_way(Reply.stream(*text_turn("resp_1", "so ", "be it"))) as (way, upstream):
        async with way.exchange(ask(stream_id="a", previous_response_id="resp_0")) as exchange:
            types = [event.type for event in await events(exchange)]
        assert types[0] == "response.created"
        assert types[-1] == "response.completed"
        assert (exchange.fate, exchange.response_id, exchange.lane.name) == (Fate.FINISHED, "resp_1", "a")
    [request] = upstream.requests
    assert (request.method, request.target) == ("POST", "/v1/responses")
    assert request.json == {
        "model": "m",
        "input": [{"type": "message", "role": "user", "content": "Hi"}],
        "previous_response_id": "resp_0",
        "store": False,
        "stream": True,
    }


@pytest.mark.parametrize(
    ("url", "target", "host"),
    [
        ("https://h/openai/v1?api-version=2", "/openai/v1/responses?api-version=2", "h"),
        ("ws://h:81", "/v1/responses", "h:81"),
        ("wss://h/codex/responses", "/codex/responses", "h"),
    ],
)
async def test_the_same_address_as_for_a_websocket(autojump_clock: MockClock, url: str, target: str, host: str) -> None:
    reply = Reply.stream(*text_turn("resp_1", "ok"))
    async with http_way(reply, url=url, key="sk-1", headers=[("api-key", "k")]) as (way, upstream):
        assert await said(way) == "ok"
    [request] = upstream.requests
    sent = {name: request.headers[name] for name in ("host", "authorization", "api-key")}
    assert request.target == target
    assert sent == {"host": host, "authorization": "Bearer sk-1", "api-key": "k"}


async def test_connections_are_kept_and_requests_run_side_by_side(autojump_clock: MockClock) -> None:
    reply = Reply.stream(created("resp_1"), Pause(10), delta("ok"), ended("resp_1"))
    async with http_way(reply) as (way, upstream):
        async with trio.open_nursery() as nursery:
            for lane in ("a", "b", None):
                nursery.start_soon(partial(said, way, stream_id=lane))
        assert trio.current_time() == 10
        await trio.testing.wait_all_tasks_blocked()
        await said(way)
        assert len(upstream.connections) == 3


async def test_requests_on_one_lane_go_one_after_the_other(autojump_clock: MockClock) -> None:
    reply = Reply.stream(created("resp_1"), Pause(10), ended("resp_1"))
    async with http_way(reply) as (way, upstream):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(partial(said, way, stream_id="a"))
        assert [request.at for request in upstream.requests] == [0, 10, 20]


async def test_requests_on_a_lane_that_one_holds_go_one_after_the_other(autojump_clock: MockClock) -> None:
    reply = Reply.stream(created("resp_1"), Pause(10), ended("resp_1"))
    async with http_way(reply) as (way, upstream):
        lane = await way.lanes.acquire()

        async def one() -> None:
            async with way.exchange(ask(), lane=lane) as exchange:
                assert len(await events(exchange)) == 2

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(one)
        assert [request.at for request in upstream.requests] == [0, 10, 20]


async def test_there_is_nothing_to_warm_up(autojump_clock: MockClock) -> None:
    async with http_way(TURN) as (way, upstream):
        async with way.exchange(ask(generate=False)) as exchange:
            [event] = await events(exchange)
        assert isinstance(event, ErrorEvent)
        assert (event.status, event.param) == (400, "generate")
        assert upstream.requests == []


async def test_a_request_that_is_too_large_is_refused_here(autojump_clock: MockClock) -> None:
    async with http_way(TURN, limits=attrs.evolve(LIMITS, body_bytes=100)) as (way, _):
        with pytest.raises(LocalProtocolError, match="may have 100"):
            async with way.exchange(ask("x" * 100)):
                raise AssertionError("it must not leave")


# Errors


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply.answer(400, {"error": {"type": "t", "code": "c", "message": "No."}}), (400, "c", "No.", "t")),
        (Reply.answer(404, {"type": "t", "code": "c", "message": "No."}), (404, "c", "No.", "t")),
        (Reply.answer(404, "<html>"), (404, "not_found", "the server answered with HTTP 404", "invalid_request_error")),
        (Reply.answer(422, {"detail": [{"msg": "No."}]}), (422, "invalid_request", "No.", "invalid_request_error")),
        (Reply.answer(502, "gone"), (502, "server_error", "gone", "server_error")),
        (Reply.answer(302), (302, "invalid_request", "the server answered with HTTP 302", "invalid_request_error")),
    ],
)
async def test_an_http_error_is_an_error_event(
    autojump_clock: MockClock, reply: Reply, told: tuple[int, str, str, str]
) -> None:
    async with http_way(reply) as (way, _), way.exchange(ask()) as exchange:
        [event] = await events(exchange)
        assert isinstance(event, ErrorEvent)
        assert (event.status, event.code, event.message, event.error_type) == told
        assert exchange.fate is Fate.FINISHED


async def test_headers_that_matter_come_with_the_error(autojump_clock: MockClock) -> None:
    headers = {"retry-after": "7", "x-ratelimit-remaining-tokens": "0", "x-request-id": "r", "server": "s"}
    async with http_way(Reply.answer(429, "", headers)) as (way, _), way.exchange(ask()) as exchange:
        [event] = await events(exchange)
        assert isinstance(event, ErrorEvent)
        assert event.code == "rate_limit_exceeded"
        assert event.headers == {name: headers[name] for name in headers if name != "server"}


@pytest.mark.parametrize("told", [error("c", "No."), {"type": "error", "code": "c", "message": "No."}])
async def test_an_error_in_the_stream_answers_the_request(autojump_clock: MockClock, told: dict[str, Any]) -> None:
    async with http_way(Reply.stream(told)) as (way, _), way.exchange(ask()) as exchange:
        [event] = await events(exchange)
        assert isinstance(event, ErrorEvent)
        assert (event.code, event.message, exchange.fate) == ("c", "No.", Fate.FINISHED)


async def test_an_error_in_the_middle_is_followed_by_the_end(autojump_clock: MockClock) -> None:
    broken = Reply.stream(created("resp_1"), error("c"), ended("resp_1", "failed"))
    without_end = Reply.stream(created("resp_1"), error("c"))
    silent = Reply.stream(created("resp_1"), error("c"), Pause(20))
    async with http_way(broken, without_end, silent) as (way, _):
        for types in (["response.created", "error", "response.failed"], *[["response.created", "error"]] * 2):
            async with way.exchange(ask()) as exchange:
                assert [event.type for event in await events(exchange)] == types
                assert exchange.fate is Fate.FINISHED
        assert trio.current_time() < 20  # a broken response has ended, whether the server says so or not


@pytest.mark.parametrize(
    ("reply", "fate", "cause"),
    [
        (Reply.stream(created("resp_1"), delta("so")), Fate.STARTED, "ended before the response did"),
        (Reply.stream(created("resp_1"), end="close"), Fate.STARTED, "ended before the answer did"),
        (Reply.stream(end="reset"), Fate.UNKNOWN, "reset"),
        (Reply.stream(), Fate.UNKNOWN, "ended before the response did"),
        (Reply.stream(created("resp_1"), "{"), Fate.STARTED, "is no event"),
        (Reply.stream(end="stall"), Fate.UNKNOWN, "no first event within 30 s"),
        (Reply.raw(end="stall"), Fate.UNKNOWN, "no answer within 30 s"),
        (Reply.stream(created("resp_1"), end="stall"), Fate.STARTED, "no further event within 30 s"),
        (Reply.raw(b"SSH-2.0-x\r\n\r\n"), Fate.UNKNOWN, "does not speak HTTP"),
        (Reply.answer(200, {}), Fate.UNKNOWN, "instead of text/event-stream"),
    ],
)
async def test_what_breaks_off_is_lost_with_its_fate(
    autojump_clock: MockClock, reply: Reply, fate: Fate, cause: str
) -> None:
    async with http_way(reply, Reply.stream(*text_turn("resp_2", "again"))) as (way, _):
        lost = await loss(way)
        assert lost.fate is fate
        assert cause in lost.cause
        assert lost.response_id == ("resp_1" if fate is Fate.STARTED else None)
        assert not way.retiring
        assert await said(way) == "again"


async def test_a_server_that_is_gone_got_nothing_and_gets_nothing_more(autojump_clock: MockClock) -> None:
    hang_up = Reply.stream(*text_turn("resp_1", "ok"), end="close")
    async with http_way(hang_up, Reply.refusal()) as (way, _):
        assert await said(way) == "ok"
        lost = await loss(way)
        assert lost.fate is Fate.NEVER_SENT
        assert way.retiring
        assert way.interrupted
        with pytest.raises(RequestLost, match="never sent"):
            await said(way)


async def test_keepalives_are_signs_of_life(autojump_clock: MockClock) -> None:
    still = {"type": "keepalive", "sequence_number": 1}
    parts = [part for _ in range(5) for part in (Pause(20), still)]
    async with http_way(Reply.stream(created("resp_1"), *parts, delta("ok"), ended("resp_1"))) as (way, _):
        assert await said(way) == "ok"
        assert trio.current_time() == 100


# Leaving, and reading slowly


async def test_leaving_a_request_closes_its_connection(autojump_clock: MockClock) -> None:
    async with http_way(Reply.stream(created("resp_1"), end="stall")) as (way, upstream):
        async with way.exchange(ask(stream_id="a")) as exchange:
            assert await exchange.receive() is not None
        await trio.testing.wait_all_tasks_blocked()
        assert upstream.connections[0].how in ("eof", "reset")
        assert way.statistics().running == 0
        with trio.move_on_after(1):
            await said(way, stream_id="a")
        await trio.testing.wait_all_tasks_blocked()
        assert all(connection.closed_at is not None for connection in upstream.connections)


async def test_a_stream_is_read_no_faster_than_its_events_are(autojump_clock: MockClock) -> None:
    event = b"data: %b\n\n" % json.dumps(delta("x" * 1000)).encode()
    flood = Reply.stream(created("resp_1"), Flood(event, 20_000_000))
    async with http_way(flood, limits=attrs.evolve(LIMITS, turn_buffer_bytes=100_000)) as (way, upstream):
        async with way.exchange(ask()) as exchange:
            for number in range(200):
                assert await exchange.receive() is not None
                if number % 50 == 0:
                    await trio.sleep(3)
            assert way.statistics().buffered_bytes <= 100_000
        assert upstream.connections[0].sent < 1_000_000


async def test_closing_tells_the_requests(autojump_clock: MockClock) -> None:
    async with http_way(Reply.stream(created("resp_1"), end="stall")) as (way, _), way.exchange(ask()) as exchange:
        await exchange.receive()
        await way.close()
        with pytest.raises(RequestLost, match="closed on this side"):
            await exchange.receive()
        assert (await way.wait_ended()).cause == "closed on this side"


# A line that goes over HTTP


@asynccontextmanager
async def line_to(*replies: Reply, **arguments: Any) -> AsyncGenerator[tuple[Line, ScriptedUpstream]]:
    arguments = {"limits": LIMITS, "resume_within": 20, **arguments}
    async with (
        no_leaks(),
        scripted_upstream(*replies) as upstream,
        open_line("http://upstream.test/v1", connector=upstream.connect, **arguments) as line,
    ):
        yield line, upstream


async def speak(line: Line) -> str:
    way = await line.way()
    assert isinstance(way, HttpWay)
    return await said(way)


@pytest.mark.parametrize("status", [200, 302, 400, 404, 405, 426, 501])
async def test_where_the_websocket_is_refused_requests_go_over_http(autojump_clock: MockClock, status: int) -> None:
    async with line_to(Reply.answer(status), TURN) as (line, upstream):
        assert await speak(line) == "ok"
        assert await speak(line) == "ok"
        assert not line.current.remembers
    assert [request.method for request in upstream.requests] == ["GET", "POST", "POST"]


async def test_the_websocket_is_tried_again_after_a_while(autojump_clock: MockClock) -> None:
    posts = ScriptedUpstream("", None, (TURN,)).serve
    limits = attrs.evolve(LIMITS, idle=10_000)
    async with no_leaks(), lined(refuses(426), posts, refuses(426), follows(echo), limits=limits) as (line, servers):
        for time, served in ((0, 2), (299, 2), (301, 3), (600, 3), (602, 4)):
            await trio.sleep(time - trio.current_time())
            assert await speak(line) == "ok"
            await trio.testing.wait_all_tasks_blocked()
            assert servers.served == served  # tried beside the request, which does not wait for it
        assert line.current.remembers
        assert await say(line, "ws") == "<ws>"


async def test_a_server_that_hangs_up_on_an_upgrade_is_asked_twice(autojump_clock: MockClock) -> None:
    hang_up = Reply.raw(end="close")
    async with line_to(hang_up, hang_up, TURN) as (line, upstream):
        assert await speak(line) == "ok"
    assert [request.method for request in upstream.requests] == ["GET", "GET", "POST"]


async def test_a_server_that_hangs_up_and_then_is_busy_is_given_time(autojump_clock: MockClock) -> None:
    busy = Reply.answer(503, "", {"retry-after": "5"})
    async with line_to(Reply.raw(end="close"), busy, Reply.answer(426), TURN) as (line, upstream):
        assert trio.current_time() == 5
        assert await speak(line) == "ok"
    assert [request.method for request in upstream.requests] == ["GET", "GET", "GET", "POST"]


async def test_an_upgrade_without_any_answer_is_given_up(autojump_clock: MockClock) -> None:
    async with line_to(Reply.raw(end="stall"), TURN) as (line, upstream):
        assert trio.current_time() == LIMITS.handshake
        assert await speak(line) == "ok"
    assert [request.method for request in upstream.requests] == ["GET", "POST"]


async def test_http_alone_is_never_upgraded(autojump_clock: MockClock) -> None:
    async with line_to(TURN, transport="http") as (line, upstream):
        await trio.sleep(10_000)
        assert await speak(line) == "ok"
    assert [request.method for request in upstream.requests] == ["POST"]


async def test_http_alone_wants_a_server_to_be_there() -> None:
    async def nobody() -> Any:
        raise ConnectFailed("upstream.test:80", "refused")

    with pytest.raises(ConnectFailed, match="refused"):
        async with open_line("http://upstream.test/v1", connector=nobody, transport="http"):
            raise AssertionError("it must not open")


async def test_a_server_that_went_away_is_sought_with_patience(autojump_clock: MockClock) -> None:
    gone = [Reply.refusal()] * 4
    async with line_to(Reply.stream(*text_turn("resp_1", "ok"), end="close"), *gone, TURN, transport="http") as (
        line,
        _,
    ):
        assert await speak(line) == "ok"
        lost = await loss(line.current)  # type: ignore[arg-type]
        assert lost.fate is Fate.NEVER_SENT
        assert await speak(line) == "ok"
        assert line.statistics().failed >= 2
