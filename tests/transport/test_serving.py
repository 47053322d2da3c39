from __future__ import annotations

import json
import logging

import pytest
import trio
import trio.testing

from agentwire.protocol.errors import ConnectionEnded, RequestError
from agentwire.transport.http11 import HttpConnection
from agentwire.transport.requests import Request
from agentwire.transport.serving import serve_requests
from tests.transport.kit import http_pair, serving

GET = b"GET /path HTTP/1.1\r\nHost: test\r\n\r\n"


async def refused(connection: HttpConnection, request: Request) -> None:
    raise RequestError(404, "not_found", "no such path")


async def refused_in_a_nursery(connection: HttpConnection, request: Request) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refused, connection, request)
        nursery.start_soon(trio.sleep_forever)


@pytest.mark.parametrize("answer", [refused, refused_in_a_nursery])
async def test_a_refusal_is_the_answer(answer: object) -> None:
    async with serving(answer) as peer:  # type: ignore[arg-type]
        for _ in range(2):
            reply = await peer.ask(GET)
            assert reply.status == 404
            assert json.loads(reply.body)["error"]["code"] == "not_found"


async def fails(connection: HttpConnection, request: Request) -> None:
    raise ValueError("a secret")


async def fails_twice(connection: HttpConnection, request: Request) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails, connection, request)
        nursery.start_soon(refused, connection, request)


async def forgets(connection: HttpConnection, request: Request) -> None:
    await trio.lowlevel.checkpoint()


async def loses_its_own_upstream(connection: HttpConnection, request: Request) -> None:
    raise ConnectionEnded(cause="some other connection")


@pytest.mark.parametrize("answer", [fails, fails_twice, forgets, loses_its_own_upstream])
async def test_a_failure_is_a_500_that_tells_nothing_and_the_connection_goes_on(
    answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(answer) as peer:  # type: ignore[arg-type]
        for _ in range(2):
            reply = await peer.ask(GET)
            assert reply.status == 500
            assert json.loads(reply.body)["error"]["code"] == "server_error"
            assert b"secret" not in reply.body
    assert [record.getMessage() for record in caplog.records] == ["GET /path failed"] * 2


async def test_an_answer_that_fails_in_the_middle_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    async def half(connection: HttpConnection, request: Request) -> None:
        await connection.start_stream(200, {}, b"half")
        raise RequestError(400, "x", "too late to say so")

    async with serving(half) as peer:
        await peer.send(GET)
        received = b""
        while data := await peer.stream.receive_some():
            received += data
    assert received.endswith(b"4\r\nhalf\r\n")


async def test_an_answer_that_is_left_in_the_middle_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    async def half(connection: HttpConnection, request: Request) -> None:
        await connection.start_stream(200, {}, b"half")

    async with serving(half) as peer:
        await peer.send(GET)
        while await peer.stream.receive_some():
            pass
    assert "GET /path failed" in caplog.text


async def test_a_peer_that_went_away_is_worth_a_debug_line(caplog: pytest.LogCaptureFixture) -> None:
    peer, connection = http_pair()

    async def answer(connection: HttpConnection, request: Request) -> None:
        await peer.stream.aclose()
        await connection.respond(200)

    caplog.set_level(logging.DEBUG, "agentwire.transport")
    await peer.send(GET)
    await serve_requests(connection, answer)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "GET /path from memory: the peer is gone")
    ]


async def test_a_peer_that_went_away_before_the_error_could_be_told(caplog: pytest.LogCaptureFixture) -> None:
    peer, connection = http_pair()

    async def answer(connection: HttpConnection, request: Request) -> None:
        await peer.stream.aclose()
        raise RequestError(404, "not_found", "no such path")

    await peer.send(GET)
    await serve_requests(connection, answer)
    assert connection.broken == "the peer is gone"


async def test_a_taken_connection_is_left_alone() -> None:
    peer, connection = http_pair()

    async def take(connection: HttpConnection, request: Request) -> None:
        connection.take_over()

    await peer.send(GET)
    await serve_requests(connection, take)
    await peer.send(b"still open")
    with trio.move_on_after(0) as scope:
        await peer.stream.receive_some()
    assert scope.cancelled_caught


async def test_what_is_raised_after_a_take_over_is_raised() -> None:
    peer, connection = http_pair()

    async def take(connection: HttpConnection, request: Request) -> None:
        connection.take_over()
        raise ValueError("whatever")

    await peer.send(GET)
    with pytest.raises(ValueError, match="whatever"):
        await serve_requests(connection, take)


async def test_cancelling_closes_in_the_middle_of_an_answer() -> None:
    async def slow(connection: HttpConnection, request: Request) -> None:
        await connection.start_stream(200)
        await trio.sleep_forever()

    peer, connection = http_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_requests, connection, slow)
        await peer.send(GET)
        await peer.stream.receive_some()
        nursery.cancel_scope.cancel(reason="enough")
    assert await peer.at_end()
