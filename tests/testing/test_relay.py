"""The relay: delays, bandwidth, counts and cuts, over real sockets on a virtual clock."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from agentwire.testing.relay import Relay, open_relay

pytestmark = pytest.mark.socket

Handler = Callable[[trio.SocketStream], Awaitable[None]]


@pytest.fixture
def patient_clock(mock_clock: MockClock) -> MockClock:
    """Virtual time that waits a little for the sockets before it jumps."""
    mock_clock.autojump_threshold = 0.02
    return mock_clock


async def echo(stream: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):
        async with stream:
            async for data in stream:
                await stream.send_all(data)


@asynccontextmanager
async def relayed(handler: Handler = echo, *, rtt: float = 0.0, bandwidth: float = math.inf) -> AsyncGenerator[Relay]:
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        async with open_relay("127.0.0.1", port, rtt=rtt, bandwidth=bandwidth) as relay:
            yield relay
        nursery.cancel_scope.cancel(reason="the test is over")


async def receive(stream: trio.SocketStream, size: int) -> bytes:
    found = b""
    while len(found) < size and (data := await stream.receive_some()):
        found += data
    return found


async def connect(relay: Relay) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", relay.port)


async def test_a_connect_costs_a_round_trip_and_so_does_an_exchange(patient_clock: MockClock) -> None:
    async with relayed(rtt=0.25) as relay, await connect(relay) as stream:
        start = trio.current_time()
        await stream.send_all(b"one")
        assert await receive(stream, 3) == b"one"
        assert trio.current_time() - start == pytest.approx(0.5)
        await stream.send_all(b"two")
        assert await receive(stream, 3) == b"two"
        assert trio.current_time() - start == pytest.approx(0.75)
        found = relay.statistics()
    assert (found.connections, found.open, found.exchanges, found.round_trips) == (1, 1, 2, 3)
    assert (found.bytes_up, found.bytes_down) == (6, 6)


async def test_a_connection_that_was_idle_at_first_owes_nothing_for_its_connect(patient_clock: MockClock) -> None:
    async with relayed(rtt=0.25) as relay, await connect(relay) as stream:
        await trio.sleep(1)
        start = trio.current_time()
        await stream.send_all(b"one")
        assert await receive(stream, 3) == b"one"
        assert trio.current_time() - start == pytest.approx(0.25)


async def test_bandwidth_is_shared_by_all_connections_of_a_direction(patient_clock: MockClock) -> None:
    async with relayed(bandwidth=1000) as relay, await connect(relay) as one, await connect(relay) as other:
        start = trio.current_time()
        await one.send_all(b"x" * 1000)
        await other.send_all(b"y" * 1000)
        assert await receive(one, 1000) == b"x" * 1000
        assert await receive(other, 1000) == b"y" * 1000
        assert trio.current_time() - start == pytest.approx(3)  # both up, the second one down


async def test_nothing_is_delayed_without_a_model(patient_clock: MockClock) -> None:
    async with relayed() as relay, await connect(relay) as stream:
        start = trio.current_time()
        for _ in range(3):
            await stream.send_all(b"x" * 50_000)
            assert await receive(stream, 50_000) == b"x" * 50_000
        assert trio.current_time() == start


async def test_half_a_close_passes_and_what_is_under_way_comes_before_it(patient_clock: MockClock) -> None:
    async with relayed(rtt=0.5) as relay, await connect(relay) as stream:
        await stream.send_all(b"last words")
        await stream.send_eof()
        assert await receive(stream, 100) == b"last words"
        assert await stream.receive_some() == b""


async def test_a_sender_waits_when_nobody_reads(patient_clock: MockClock) -> None:
    async def deaf(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with relayed(deaf) as relay, await connect(relay) as stream:
        with trio.move_on_after(5) as scope:
            while True:
                await stream.send_all(b"x" * 65536)
        assert scope.cancelled_caught
        assert relay.statistics().bytes_up < 64 * 1024 * 1024


@pytest.mark.parametrize(("how", "error"), [("reset", trio.BrokenResourceError), ("close", None)])
async def test_a_cut_reaches_both_sides_at_once(
    patient_clock: MockClock, how: str, error: type[Exception] | None
) -> None:
    seen: list[object] = []
    heard = trio.Event()

    async def listen(stream: trio.SocketStream) -> None:
        try:
            while data := await stream.receive_some():
                await stream.send_all(data)
            seen.append(None)
        except trio.BrokenResourceError as broken:
            seen.append(type(broken))
        heard.set()

    async with relayed(listen, rtt=10) as relay, await connect(relay) as stream:
        await stream.send_all(b"x")
        await receive(stream, 1)
        start = trio.current_time()
        assert relay.cut(how) == start  # type: ignore[arg-type]
        if error is None:
            assert await stream.receive_some() == b""
        else:
            with pytest.raises(error):
                await stream.receive_some()
        await heard.wait()
        assert trio.current_time() == start
        assert relay.statistics().open == 0
        async with await connect(relay) as again:
            await again.send_all(b"y")
            assert await receive(again, 1) == b"y"
    assert seen[0] == error


async def test_a_cut_at_a_byte(patient_clock: MockClock) -> None:
    async with relayed() as relay, await connect(relay) as stream:
        happened = relay.cut_after(8, "close")
        await stream.send_all(b"hello")  # 5 bytes there, and 3 of those that come back
        await happened.wait()
        assert await receive(stream, 5) == b"hel"
        async with await connect(relay) as another:
            await another.send_all(b"again")
            assert await receive(another, 5) == b"again"
        with pytest.raises(ValueError, match="1 or more"):
            relay.cut_after(0)


async def test_silence_leaves_both_sides_waiting(patient_clock: MockClock) -> None:
    async with relayed() as relay, await connect(relay) as stream:
        await stream.send_all(b"x")
        await receive(stream, 1)
        relay.cut("silence")
        await stream.send_all(b"y")
        with trio.move_on_after(100) as scope:
            await stream.receive_some()
        assert scope.cancelled_caught
        assert relay.statistics().open == 1


async def test_a_reset_is_passed_on(patient_clock: MockClock) -> None:
    async def reset(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        stream.setsockopt(1, 13, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # SO_LINGER, no time: a reset
        await stream.aclose()

    async with relayed(reset) as relay, await connect(relay) as stream:
        await stream.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()


async def test_a_server_that_is_not_there_is_a_reset(patient_clock: MockClock) -> None:
    async with open_relay("127.0.0.1", 1) as relay, await connect(relay) as stream:
        with pytest.raises(trio.BrokenResourceError):
            await receive(stream, 1)
        assert relay.statistics().connections == 0


async def test_urls_by_way_of_the_relay(patient_clock: MockClock) -> None:
    async with open_relay("127.0.0.1", 1) as relay:
        assert relay.through("ws://localhost:8000/v1") == f"ws://127.0.0.1:{relay.port}/v1"


@pytest.mark.parametrize(("rtt", "bandwidth"), [(-1, 1), (0, 0), (math.nan, 1)])
async def test_a_link_that_cannot_be(patient_clock: MockClock, rtt: float, bandwidth: float) -> None:
    with pytest.raises(ValueError, match="a link needs"):
        async with open_relay("127.0.0.1", 1, rtt=rtt, bandwidth=bandwidth):
            pass
