"""Peers that send rubbish, too much, too slowly, or go in the middle: each costs one connection and nothing else."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from agentwire.protocol.limits import Limits
from agentwire.transport.http11 import HttpConnection
from agentwire.transport.requests import Request
from tests.transport.kit import Peer, http_pair, serving

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"


async def echo(connection: HttpConnection, request: Request) -> None:
    await connection.respond(200, {}, await connection.read_body())


NO_REQUESTS = {
    "rubbish": b"\x00\x01\x02\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "words": b"hello there\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "other version": b"GET / HTTP/2.0\r\nHost: test\r\n\r\n",
    "target": b"GET /\xe4 HTTP/1.1\r\nHost: test\r\n\r\n",
    "header name": b"GET / HTTP/1.1\r\nHost: test\r\nB\xe4d: 1\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding : chunked\r\n\r\n",
    "nul": b"GET / HTTP/1.1\r\nHost: test\r\nX: a\x00b\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "negative length": b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: -1\r\n\r\n",
    "length as a word": b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: ten\r\n\r\n",
    "endless length": b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "two codings": b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
}


@pytest.mark.parametrize("raw", NO_REQUESTS.values(), ids=NO_REQUESTS.keys())
async def test_what_is_no_request_gets_a_json_answer_and_the_end(
    raw: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    async with serving(echo) as peer:
        reply = await peer.ask(raw)
        assert reply.status in (400, 501, 505)
        assert reply.headers["connection"] == "close"
        error = json.loads(reply.body)["error"]
        assert error["code"] == ("unsupported_version" if reply.status == 505 else "invalid_http")
        assert error["message"]
        assert await peer.at_end()


async def test_no_request_is_smuggled_past_a_length_and_a_coding(autojump_clock: trio.testing.MockClock) -> None:
    smuggled = CHUNKED.replace(b"Transfer", b"Content-Length: 4\r\nTransfer") + b"0\r\n\r\n" + GET
    seen = []

    async def note(connection: HttpConnection, request: Request) -> None:
        seen.append((request.method, await connection.read_body()))
        await connection.respond(200)

    async with serving(note) as peer:
        reply = await peer.ask(smuggled)
        assert reply.headers["connection"] == "close"
        assert await peer.at_end()
    assert seen == [("POST", b"")]  # chunked wins, and nothing follows, as RFC 9112 (sections 6.1 and 6.3) says


async def test_a_head_over_the_limit_is_a_431(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(echo, Limits(head_bytes=1000)) as peer:
        reply = await peer.ask(b"GET / HTTP/1.1\r\nHost: test\r\n", b"X: y\r\n" * 1000)
        assert reply.status == 431
        assert json.loads(reply.body)["error"]["code"] == "request_head_too_large"
        assert await peer.at_end()


async def test_an_endless_request_line_is_a_431(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(echo) as peer:
        assert (await peer.ask(b"GET /" + b"x" * 100_000)).status == 431


async def test_a_head_that_drips_has_one_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(echo) as peer:
        began = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def drip() -> None:
                for byte in GET:
                    await peer.send(bytes([byte]))
                    await trio.sleep(1)

            nursery.start_soon(drip)
            reply = await peer.reply()
            assert trio.current_time() - began == pytest.approx(10)
            assert reply.status == 408
            nursery.cancel_scope.cancel(reason="seen enough")


async def test_a_later_head_that_drips_has_a_deadline_too(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(echo) as peer:
        await peer.ask(GET)
        await trio.sleep(70)
        await peer.send(GET[:5])
        began = trio.current_time()
        assert (await peer.reply()).status == 408
        assert trio.current_time() - began == pytest.approx(10)


async def test_silence_from_the_start_is_closed_without_a_word(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(echo) as peer:
        began = trio.current_time()
        assert await peer.at_end()
        assert trio.current_time() - began == pytest.approx(10)


@pytest.mark.parametrize(
    "chunks",
    [b"zz\r\n", b"5\r\nhello!!\r\n", b"-1\r\n", b"5 \x00\r\n", b"11111111111111111111111\r\n", b"5" + b";x" * 50_000],
    ids=["no size", "too long", "negative", "nul", "endless size", "endless extension"],
)
async def test_chunks_that_are_none_are_a_400(chunks: bytes, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(echo) as peer:
        reply = await peer.ask(CHUNKED, chunks)
        assert reply.status in (400, 431)
        assert reply.headers["connection"] == "close"
        assert await peer.at_end()


@pytest.mark.parametrize(
    "end", [lambda peer: peer.stream.send_eof(), lambda peer: peer.stream.aclose()], ids=["eof", "close"]
)
@pytest.mark.parametrize("raw", [GET[:9], CHUNKED, CHUNKED + b"5\r\nhel", CHUNKED + b"zz\r\n", b"\x00"])
async def test_a_peer_that_goes_in_the_middle_is_gone(
    raw: bytes, end: Callable[[Peer], Awaitable[None]], autojump_clock: trio.testing.MockClock
) -> None:
    async with serving(echo) as peer:
        await peer.send(raw)
        await end(peer)
        await trio.sleep(20)


async def test_a_flood_of_requests_leaves_room_for_others() -> None:
    turns = 0

    async def respond(connection: HttpConnection, request: Request) -> None:
        await connection.respond(200)

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with serving(respond) as peer, trio.open_nursery() as nursery:
        nursery.start_soon(others)
        await peer.send(GET * 1000)
        for _ in range(1000):
            assert (await peer.reply()).status == 200
        nursery.cancel_scope.cancel(reason="all answered")
    assert turns >= 1000


async def test_a_body_in_chunks_of_a_byte_leaves_room_for_others() -> None:
    peer, connection = http_pair()
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        await peer.send(CHUNKED + b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n")
        assert await connection.next_request() is not None
        nursery.start_soon(others)
        assert len(await connection.read_body()) == 10_000
        nursery.cancel_scope.cancel(reason="all read")
    assert turns >= 10_000 // 64


async def test_an_answer_to_a_body_in_chunks_of_a_byte_skips_only_so_much() -> None:
    peer, connection = http_pair()
    await peer.send(CHUNKED + b"1\r\nx\r\n" * 5_000)
    assert await connection.next_request() is not None
    await connection.respond(401)
    assert len(connection.early) > 29_000
    assert (await peer.reply()).headers["connection"] == "close"


async def test_an_answer_that_nobody_fetches_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    peer, connection = http_pair()
    await peer.send(CHUNKED)
    assert await connection.next_request() is not None
    await connection.respond(401)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def send_for_ever() -> None:
            with suppress(trio.BrokenResourceError):
                while True:
                    await peer.send(b"1\r\nx\r\n")
                    await trio.sleep(0.5)

        nursery.start_soon(send_for_ever)
        await connection.aclose()
        assert trio.current_time() - began == pytest.approx(5)


async def test_cancelling_the_close_closes_at_once(autojump_clock: trio.testing.MockClock) -> None:
    peer, connection = http_pair()
    await peer.send(CHUNKED)
    assert await connection.next_request() is not None
    await connection.respond(401)
    with trio.move_on_after(1) as scope:
        await connection.aclose()
    assert scope.cancelled_caught
    with pytest.raises(trio.BrokenResourceError):
        await peer.send(b"anything")


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), max_size=20))
def test_no_bytes_can_raise(raw: bytes, cuts: list[int]) -> None:
    async def main() -> None:
        async with serving(echo) as peer:
            rest = raw
            for cut in cuts:
                await peer.send(rest[:cut])
                rest = rest[cut:]
            await peer.send(rest)
            await peer.stream.send_eof()  # type: ignore[attr-defined]
            while await peer.stream.receive_some():
                pass

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@given(st.binary(max_size=40), st.integers(0, 200))
def test_no_damage_to_a_request_can_raise(damage: bytes, where: int) -> None:
    raw = CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + GET
    damaged = raw[:where] + damage + raw[where + len(damage) :]

    async def main() -> None:
        async with serving(echo) as peer:
            await peer.send(damaged)
            await peer.stream.send_eof()  # type: ignore[attr-defined]
            while await peer.stream.receive_some():
                pass

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
