"""A client's connections, over a network in memory and a virtual clock: what is kept, and what is never left."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from agentwire.protocol.errors import ConnectionEnded, LocalProtocolError, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.testing import Fault, Network, network, no_leaks
from agentwire.testing.streams import MemoryStream
from agentwire.transport.http_client import HttpClient, HttpStatusError, open_http_client

Handler = Callable[[MemoryStream], Awaitable[object]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def request_head(stream: MemoryStream) -> bytes:
    """One request without a body; empty at the end."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = await stream.receive_some()
        if not data:
            return b""
        head += data
    return head


def says(*answers: bytes, then: bytes | None = None) -> Handler:
    """Answers each request with the next of these, the last one for ever; ``then`` is said at once behind the first."""

    async def handle(stream: MemoryStream) -> None:
        number = 0
        while await request_head(stream):
            await stream.send_all(answers[min(number, len(answers) - 1)])
            if then is not None and not number:
                await stream.send_all(then)
            number += 1

    return handle


@attrs.frozen
class Rig:
    client: HttpClient
    net: Network

    @property
    def books(self) -> tuple[int, int, int]:
        shown = self.client.statistics()
        return shown.dialling, shown.busy, shown.idle


@asynccontextmanager
async def rig(handler: Handler, net: Network | None = None, **limits: Any) -> AsyncGenerator[Rig]:
    net = net or network()

    async def handle(stream: MemoryStream) -> None:
        with suppress(trio.BrokenResourceError):
            await handler(stream)

    async with no_leaks(), trio.open_nursery() as nursery:
        await nursery.start(net.serve, handle)
        url = "http://upstream.example"
        async with open_http_client(url, limits=Limits(**limits), connector=net.connect) as client:
            yield Rig(client, net)
        nursery.cancel_scope.cancel(reason="the test is over")


async def read_all(client: HttpClient) -> list[bytes]:
    async with client.stream_sse("/") as stream:
        return [payload async for payload in stream]


async def test_connections_are_kept_and_the_last_one_is_used_first(autojump_clock: trio.testing.MockClock) -> None:
    async with rig(says(OK)) as found:
        for _ in range(3):
            assert (await found.client.request("GET", "/")).body == b"{}"
        assert found.books == (0, 0, 1)
        shown = found.client.statistics()
        assert (shown.opened, shown.requests) == (1, 3)


async def test_as_many_as_there_are_requests_at_once_but_only_so_many_are_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def slow(stream: MemoryStream) -> None:
        while await request_head(stream):
            await trio.sleep(1)
            await stream.send_all(OK)

    async with rig(slow, upstream_kept=2) as found:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(found.client.request, "GET", "/")
            await trio.sleep(0.5)
            assert found.books == (0, 5, 0)
        assert found.books == (0, 0, 2)


async def test_what_is_not_needed_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    async with rig(says(OK), idle=75) as found:
        await found.client.request("GET", "/")
        await trio.sleep(74)
        assert found.books == (0, 0, 1)
        await trio.sleep(2)
        assert found.books == (0, 0, 0)
        assert not found.net.open_streams()
        await found.client.request("GET", "/")
        assert found.client.statistics().opened == 2


@pytest.mark.parametrize(
    ("answer", "then"),
    [
        (OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", None),
        (OK, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        (STREAM + chunk(b"data: 1\n\n") + b"0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", None),
        (b"HTTP/1.1 204 None\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n", None),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", None),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", None),
    ],
)
async def test_an_answer_that_nobody_asked_for_is_never_the_next_ones(
    answer: bytes, then: bytes | None, autojump_clock: trio.testing.MockClock
) -> None:
    async with rig(says(answer, then=then)) as found:
        for _ in range(2):
            assert (await found.client.request("GET", "/")).body != b"evil"
            await trio.testing.wait_all_tasks_blocked()
        assert found.client.statistics().opened == 2


async def test_a_kept_connection_that_the_server_has_closed_is_not_used(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def once(stream: MemoryStream) -> None:
        await request_head(stream)
        await stream.send_all(OK)

    async with rig(once) as found:
        for _ in range(3):
            await found.client.request("GET", "/")
            await trio.sleep(1)
        assert found.client.statistics().opened == 3


async def test_a_cancelled_request_leaves_nothing_wherever_it_is(autojump_clock: trio.testing.MockClock) -> None:
    """At each tenth of a second of an exchange that takes time everywhere."""
    ended = 0

    async def slow(stream: MemoryStream) -> None:
        nonlocal ended
        with suppress(trio.BrokenResourceError):
            await request_head(stream)
            for piece in (STREAM[:30], STREAM[30:], *(chunk(b"data: %d\n\n" % number) for number in range(5))):
                await stream.send_all(piece)
                await trio.sleep(0.3)
            await stream.receive_some()
        ended += 1

    net = network(latency=0.2)
    async with rig(slow, net) as found:
        seen = 0
        for step in range(30):
            with trio.move_on_after(0.05 + step / 10) as scope:
                async with found.client.stream_sse("/") as stream:
                    async for _ in stream:
                        seen += 1
            assert scope.cancelled_caught
            assert found.books == (0, 0, 0)
            await trio.sleep(1)
        assert seen > 20
        assert not found.net.open_streams()
        assert ended == len(net.links)


async def test_the_formal_end_of_an_answer_is_waited_for_elsewhere(autojump_clock: trio.testing.MockClock) -> None:
    """A connection is kept if its answer ends soon after the last word, and given up if it does not."""
    patience = iter((2, 100))

    async def late(stream: MemoryStream) -> None:
        while await request_head(stream):
            await stream.send_all(STREAM + chunk(b"data: 1\n\ndata: [DONE]\n\n"))
            await trio.sleep(next(patience))
            await stream.send_all(b"0\r\n\r\n")

    async with rig(late, close_grace=5) as found:
        start = trio.current_time()
        assert await read_all(found.client) == [b"1"]
        assert trio.current_time() == start
        assert (found.client.statistics().settling, found.books) == (1, (0, 0, 0))
        await trio.sleep(3)
        assert (found.client.statistics().settling, found.books) == (0, (0, 0, 1))
        assert await read_all(found.client) == [b"1"]
        assert found.client.statistics().opened == 1
        await trio.sleep(6)
        assert (found.client.statistics().settling, found.books) == (0, (0, 0, 0))


async def test_who_is_cancelled_while_the_formal_end_is_read_leaves_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def late(stream: MemoryStream) -> None:
        while await request_head(stream):
            await stream.send_all(STREAM + chunk(b"data: 1\n\n"))
            await trio.sleep(1)
            await stream.send_all(b"0\r\n\r\n")

    async with rig(late) as found:
        with trio.CancelScope() as scope:
            async with found.client.stream_sse("/") as stream:
                assert await stream.batch() == [b"1"]
                stream.done = True
                await trio.sleep(2)
                scope.cancel(reason="the test says so")
        assert scope.cancelled_caught
        assert found.books == (0, 0, 0)
        assert not [stream for stream in found.net.open_streams() if stream.side == "client"]


async def test_two_deadlines_of_a_stream(autojump_clock: trio.testing.MockClock) -> None:
    """Comments hold up neither; what a slow reader of ours has not taken is no silence of the server."""
    comments = chunk(b": wait\n\n")

    async def dull(stream: MemoryStream) -> None:
        await request_head(stream)
        await stream.send_all(STREAM)
        for _ in range(29):
            await trio.sleep(1)
            await stream.send_all(comments)
        await stream.send_all(chunk(b"data: 1\n\n"))
        while True:
            await trio.sleep(1)
            await stream.send_all(comments)

    async with rig(dull, upstream_first_event=30, upstream_silence=10) as found:
        start = trio.current_time()
        async with found.client.stream_sse("/") as stream:
            assert await stream.batch() == [b"1"]
            await trio.sleep(100)
            again = trio.current_time()
            with pytest.raises(ConnectionEnded, match="no further event within 10 s"):
                await stream.batch()
            assert trio.current_time() == again + 10
        assert found.books == (0, 0, 0)
    async with rig(dull, upstream_first_event=20) as found:
        start = trio.current_time()
        with pytest.raises(ConnectionEnded, match="no first event within 20 s"):
            await read_all(found.client)
        assert trio.current_time() == start + 20
        assert found.books == (0, 0, 0)


async def test_a_server_that_takes_nothing_more_of_a_request(autojump_clock: trio.testing.MockClock) -> None:
    async def deaf(stream: MemoryStream) -> None:
        await trio.sleep_forever()

    async with rig(deaf, write_progress=30) as found:
        start = trio.current_time()
        with pytest.raises(ConnectionEnded, match="took nothing for 30 s"):
            await found.client.request("POST", "/", json=bytes(1_000_000))
        assert trio.current_time() == start + 30
        assert found.books == (0, 0, 0)


async def test_a_server_that_takes_a_request_slowly_has_all_the_time(autojump_clock: trio.testing.MockClock) -> None:
    async def slow(stream: MemoryStream) -> None:
        left = 1_000_000
        while left > 0:
            await trio.sleep(20)
            left -= len(await stream.receive_some(65536))
        await stream.send_all(OK)

    async with rig(slow, write_progress=30) as found:
        assert (await found.client.request("POST", "/", json=bytes(1_000_000))).status == 200


async def test_a_server_that_answers_before_it_has_read_everything(autojump_clock: trio.testing.MockClock) -> None:
    async def hasty(stream: MemoryStream) -> None:
        await stream.receive_some(1000)
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")

    async with rig(hasty) as found:
        with pytest.raises(HttpStatusError, match="HTTP 413: big"):
            await found.client.request("POST", "/", json=bytes(1_000_000))
        assert found.books == (0, 0, 0)


async def test_nobody_connects(autojump_clock: trio.testing.MockClock) -> None:
    net = network()
    await net.listener().aclose()
    async with open_http_client("http://x", limits=Limits(), connector=net.connect) as client:
        with pytest.raises(ConnectionEnded, match=r"http://x: .*nobody listens"):
            await client.request("GET", "/")
        assert client.statistics().dialling == 0


async def test_a_client_that_is_closed_ends_what_is_under_way(autojump_clock: trio.testing.MockClock) -> None:
    async def silent(stream: MemoryStream) -> None:
        await trio.sleep_forever()

    net = network()
    async with trio.open_nursery() as nursery:
        await nursery.start(net.serve, silent)
        async with open_http_client("http://x", limits=Limits(), connector=net.connect) as client:
            waiting = trio.Event()

            async def ask() -> None:
                waiting.set()
                with pytest.raises(ConnectionEnded, match="closed on this side"):
                    await client.request("GET", "/")

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert client.statistics().busy == 1
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(LocalProtocolError, match="closed"):
            await client.request("GET", "/")
        nursery.cancel_scope.cancel(reason="the test is over")
    assert not net.open_streams()


async def test_a_body_that_ends_with_the_connection(autojump_clock: trio.testing.MockClock) -> None:
    async def old(stream: MemoryStream) -> None:
        await request_head(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\nda")
        await trio.sleep(1)
        await stream.send_all(b"ta: 2\n\n")

    async with rig(old) as found:
        async with found.client.stream_sse("/") as stream:
            assert [payload async for payload in stream] == [b"1", b"2"]
        assert (await found.client.request("GET", "/")).body == b"data: 1\n\ndata: 2\n\n"
        assert found.books == (0, 0, 0)


async def test_events_before_rubbish_are_read_before_the_error(autojump_clock: trio.testing.MockClock) -> None:
    async with rig(says(STREAM + chunk(b"data: 1\n\n") + b"rubbish\r\n")) as found:
        async with found.client.stream_sse("/") as stream:
            assert await stream.batch() == [b"1"]
            with pytest.raises(RemoteProtocolError, match="does not speak HTTP: b'rubbish' is no size"):
                await stream.batch()
        assert found.books == (0, 0, 0)


async def test_cancelling_a_read_of_a_stream_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async def slow(stream: MemoryStream) -> None:
        await request_head(stream)
        await stream.send_all(STREAM)
        for number in range(5):
            await trio.sleep(1)
            await stream.send_all(chunk(b"data: %d\n\n" % number))
        await stream.send_all(b"0\r\n\r\n")

    async with rig(slow, upstream_silence=5) as found, found.client.stream_sse("/") as stream:
        seen: list[bytes] = []
        while len(seen) < 5:
            with trio.move_on_after(0.3):
                seen += await stream.batch()
        assert seen == [b"%d" % number for number in range(5)]
        assert await stream.batch() == []


@pytest.mark.parametrize("kind", ["cut", "reset", "half_close"])
@pytest.mark.parametrize("at", [1, 20, len(STREAM), len(STREAM) + 5, len(STREAM) + 12])
async def test_a_fault_of_the_connection_is_its_end(kind: Any, at: int, autojump_clock: trio.testing.MockClock) -> None:
    net = network(faults=[Fault(kind, "server", at_byte=at)])
    async with rig(says(STREAM + chunk(b"data: 1\n\n") + chunk(b"data: 2\n\n")), net) as found:
        with pytest.raises(ConnectionEnded, match=r"ended before the answer did|reset"):
            await read_all(found.client)
        assert found.books == (0, 0, 0)
