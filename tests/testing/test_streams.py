"""Streams in memory keep every rule of Trio's streams, have a capacity, and take the time that they should."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from agentwire.testing.clock import run
from agentwire.testing.network import network
from agentwire.testing.streams import MemoryStream, open_memory_streams

Pair = tuple[MemoryStream, MemoryStream]


@pytest.mark.parametrize("latency", [0.0, 0.05])
@pytest.mark.parametrize("bandwidth", [float("inf"), 1e6])
async def test_trio_accepts_the_streams(autojump_clock: object, latency: float, bandwidth: float) -> None:
    async def pair() -> Pair:
        return network(latency=latency, bandwidth=bandwidth, capacity=16384).pair()

    async def clogged() -> Pair:
        client, server = await pair()
        client.send_nowait(bytes(20000))
        server.send_nowait(bytes(20000))
        return client, server

    await trio.testing.check_half_closeable_stream(pair, clogged)


async def test_a_send_takes_what_there_is_room_for() -> None:
    client, server = network(capacity=10).pair()
    assert client.send_nowait(b"0123456") == 7
    assert client.send_nowait(memoryview(b"789abc")) == 3
    assert client.send_nowait(b"abc") == 0
    assert client.unread == 10
    assert await server.receive_some(4) == b"0123"
    assert client.send_nowait(b"abcdef") == 4
    assert await server.receive_some() == b"456789abcd"


async def test_both_directions_have_room_of_their_own() -> None:
    client, server = network(capacity=1).pair()
    assert client.send_nowait(b"a") == server.send_nowait(b"b") == 1
    assert await client.receive_some() == b"b"
    assert await server.receive_some() == b"a"


async def test_waiting_sends_give_something_once_there_is_room(autojump_clock: object) -> None:
    client, server = network(capacity=4).pair()
    assert await client.wait_send(b"") == 0
    assert await client.wait_send(b"abcdef") == 4
    async with trio.open_nursery() as nursery:
        sent: list[int] = []

        async def send() -> None:
            sent.append(await client.wait_send(b"ghij"))

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert sent == []
        assert await server.receive_some(3) == b"abc"
    assert sent == [3]


async def test_a_cancelled_waiting_send_has_sent_nothing() -> None:
    client, server = network(capacity=4).pair()
    with trio.move_on_after(0):
        await client.wait_send(b"never")
    assert client.unread == 0
    await client.wait_send(b"full")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.wait_send, b"never")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel(reason="test")
    assert await server.receive_some() == b"full"
    assert client.unread == 0


async def test_two_tasks_may_not_send_or_receive_at_once() -> None:
    client, _ = network(capacity=1).pair()
    client.send_nowait(b"x")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.wait_send, b"y")
        nursery.start_soon(client.receive_some)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await client.wait_send(b"z")
        with pytest.raises(trio.BusyResourceError):
            await client.receive_some()
        nursery.cancel_scope.cancel(reason="test")


async def test_bytes_take_their_time(autojump_clock: trio.testing.MockClock) -> None:
    client, server = network(latency=0.25, bandwidth=1000).pair()
    started = trio.current_time()
    await client.send_all(bytes(3000))
    assert trio.current_time() == started
    arrivals: list[tuple[float, int]] = []
    while sum(size for _, size in arrivals) < 3000:
        size = len(await server.receive_some())
        arrivals.append((round(trio.current_time() - started, 3), size))
    assert arrivals == [(1.71, 1460), (3.17, 1460), (3.25, 80)]


async def test_the_end_travels_like_bytes(autojump_clock: trio.testing.MockClock) -> None:
    client, server = network(latency=0.5).pair()
    started = trio.current_time()
    await client.send_all(b"last words")
    await client.aclose()
    assert server.send_nowait(b"not known yet") == 13
    assert await server.receive_some() == b"last words"
    assert await server.receive_some() == b""
    assert trio.current_time() - started == 0.5
    with pytest.raises(trio.BrokenResourceError, match="the peer has closed"):
        server.send_nowait(b"x")


async def test_half_a_close_leaves_the_other_half() -> None:
    client, server = network().pair()
    await client.send_eof()
    await client.send_eof()
    assert await server.receive_some() == b""
    await server.send_all(b"still here")
    assert await client.receive_some() == b"still here"
    with pytest.raises(trio.ClosedResourceError):
        client.send_nowait(b"x")


async def test_a_reset_loses_what_was_not_read() -> None:
    client, server = network().pair()
    client.send_nowait(b"lost")
    client.reset()
    with pytest.raises(trio.BrokenResourceError, match="reset"):
        await server.receive_some()
    with pytest.raises(trio.BrokenResourceError, match="reset"):
        await server.wait_send(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await client.receive_some()


async def test_closing_wakes_those_who_wait() -> None:
    client, server = network(capacity=1).pair()
    client.send_nowait(b"x")
    ended: list[type[Exception]] = []

    async def expect(task: str) -> None:
        try:
            await (client.wait_send(b"y") if task == "send" else client.receive_some())
        except (trio.ClosedResourceError, trio.BrokenResourceError) as error:
            ended.append(type(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect, "send")
        nursery.start_soon(expect, "receive")
        await trio.testing.wait_all_tasks_blocked()
        await client.aclose()
    assert ended == [trio.ClosedResourceError] * 2
    await server.aclose()


async def test_open_streams_are_known() -> None:
    before = open_memory_streams()
    client, server = network().pair()
    assert [stream for stream in open_memory_streams() if stream not in before] == [client, server]
    assert repr(client) == "<MemoryStream client of connection 0>"
    assert server.peer == "memory:client-0"
    await client.aclose()
    server.reset()
    assert open_memory_streams() == before
    assert repr(client) == "<MemoryStream client of connection 0, closed>"


@given(
    st.lists(st.binary(min_size=1, max_size=50), max_size=20),
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from([0.0, 0.1]),
    st.sampled_from([float("inf"), 100.0]),
)
def test_every_byte_arrives_in_order(
    sends: list[bytes], capacity: int, read: int, latency: float, bandwidth: float
) -> None:
    async def main() -> bytes:
        client, server = network(latency=latency, bandwidth=bandwidth, capacity=capacity).pair()
        received = b""

        async def send() -> None:
            for data in sends:
                await client.send_all(data)
            await client.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            while data := await server.receive_some(read):
                assert len(data) <= min(read, capacity)
                received += data
        await server.aclose()
        return received

    assert run(main) == b"".join(sends)
