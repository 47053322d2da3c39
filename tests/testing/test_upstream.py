from __future__ import annotations

import json

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from agentwire.protocol.errors import ConnectionEnded, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.testing import Flood, Pause, Reply, network, no_leaks, scripted_upstream
from agentwire.transport.http_client import HttpClient, HttpStatusError, open_http_client

Clock = trio.testing.MockClock

HELLO = {"hello": "w\xf6rld"}


async def read(client: HttpClient, *, repeat: bool = False) -> list[bytes]:
    async with client.stream_sse("/x", json={"q": 1}, repeat=repeat) as stream:
        return [payload async for payload in stream]


async def test_replies_in_order_and_the_last_for_ever(autojump_clock: Clock) -> None:
    replies = (Reply.answer(429, {"error": "later"}, {"retry-after": "3"}), Reply.stream(HELLO, "raw", b"data: a\n\n"))
    async with (
        no_leaks(),
        scripted_upstream(*replies) as upstream,
        open_http_client(upstream.url, limits=Limits(), connector=upstream.connect) as client,
    ):
        with pytest.raises(HttpStatusError, match="later") as caught:
            await read(client)
        assert caught.value.headers["retry-after"] == "3"
        for _ in range(2):
            first, *others = await read(client)
            assert (json.loads(first), others) == (HELLO, [b"raw", b"a"])
            await wait_all_tasks_blocked()  # the formal end of an answer is waited for in the background
        assert [(seen.method, seen.target, seen.json) for seen in upstream.requests] == [
            ("POST", "/v1/x", {"q": 1})
        ] * 3
        assert len(upstream.connections) == upstream.open_connections == 1


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_an_end_in_the_middle(end: str, autojump_clock: Clock) -> None:
    reply = Reply.stream(HELLO, end=end)  # type: ignore[arg-type]
    async with (
        no_leaks(),
        scripted_upstream(reply, Reply.stream("fine")) as upstream,
        open_http_client(upstream.url, limits=Limits(), connector=upstream.connect) as client,
    ):
        with pytest.raises(ConnectionEnded, match=r"ended before the answer did|reset"):
            await read(client)
        assert upstream.connections[0].how == "script"
        assert await read(client) == [b"fine"]


async def test_it_knows_when_it_was_left(autojump_clock: Clock) -> None:
    async with (
        no_leaks(),
        scripted_upstream(Reply.stream(HELLO, Pause(5), HELLO, end="stall")) as upstream,
        open_http_client(upstream.url, limits=Limits(), connector=upstream.connect) as client,
    ):
        start = trio.current_time()
        for seconds in (3, 10):
            with trio.move_on_after(seconds):
                await read(client)
        first, second = upstream.connections
        assert (first.closed_at, first.how) == (start + 3, "eof")
        assert (second.opened_at, second.closed_at) == (start + 3, start + 13)
        assert upstream.open_connections == 0
        assert second.sent > first.sent


async def test_nobody_is_there_for_one_request(autojump_clock: Clock) -> None:
    async with (
        no_leaks(),
        scripted_upstream(Reply.refusal(), Reply.stream("a"), Reply.refusal(), Reply.stream("b")) as upstream,
        open_http_client(upstream.url, limits=Limits(), connector=upstream.connect) as client,
    ):
        with pytest.raises(ConnectionEnded, match="refused"):
            await read(client)
        assert await read(client) == [b"a"]
        with pytest.raises(ConnectionEnded, match="refused"):
            await read(client, repeat=True)
        assert await read(client) == [b"b"]


async def test_a_flood_waits_for_its_reader(autojump_clock: Clock) -> None:
    flood = Flood(b"data: %b\n\n" % (b"x" * 1000))
    async with (
        no_leaks(),
        scripted_upstream(Reply.stream(flood), net=network(capacity=10_000)) as upstream,
        open_http_client(upstream.url, limits=Limits(), connector=upstream.connect) as client,
        client.stream_sse("/x") as stream,
    ):
        await stream.batch()
        await trio.testing.wait_all_tasks_blocked()
        before = upstream.sent
        assert before < 30_000
        await trio.sleep(1000)
        assert upstream.sent == before
        await stream.batch()
        await trio.testing.wait_all_tasks_blocked()
        assert before < upstream.sent < before + 30_000


async def test_a_flood_may_have_an_end(autojump_clock: Clock) -> None:
    async with (
        no_leaks(),
        scripted_upstream(Reply.stream(Flood(b"data: x\n\n", total=100), "y")) as upstream,
        open_http_client(upstream.url, limits=Limits(), connector=upstream.connect) as client,
    ):
        said = await read(client)
        assert said[-1] == b"y"
        assert 5 <= len(said) - 1 <= 12


@pytest.mark.socket
async def test_on_sockets() -> None:
    rubbish = Reply.raw(b"SSH-2.0-x\r\n\r\n")
    replies = (
        Reply.stream("a", end="reset"),
        Reply.stream("b"),
        rubbish,
        Reply.refusal(),
        Reply.stream("c", end="stall"),
    )
    with trio.fail_after(20):
        async with (
            no_leaks(rounds=2000),
            scripted_upstream(*replies, sockets=True) as upstream,
            open_http_client(upstream.url, limits=Limits()) as client,
        ):
            with pytest.raises(ConnectionEnded):
                await read(client)
            assert await read(client) == [b"b"]
            with pytest.raises(RemoteProtocolError, match="does not speak HTTP"):
                await read(client)
            with pytest.raises(ConnectionEnded):
                await read(client)
            upstream.replies.popleft()
            async with client.stream_sse("/x") as stream:
                assert await stream.batch() == [b"c"]
            await upstream.connections[-1].closed.wait()
            assert upstream.connections[-1].how in ("eof", "reset")
