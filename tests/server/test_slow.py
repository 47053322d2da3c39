"""Clients that read slowly, or not at all: their engines wait, memory is bounded, and only stuck ones are cut off."""

from __future__ import annotations

import gc
import socket
import tracemalloc
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Out
from agentwire.testing import network
from tests.runtime.kit import check_lanes
from tests.server.kit import Closed, Peer, Rig, eventually, on_loopback, serving

KIB = 1024


class Endless:
    """Writes without end; how far it got, and whether it is held back."""

    def __init__(self, piece: int = 1000) -> None:
        self.written = 0
        self.reasons: list[str] = []
        self._piece = "x" * piece

    async def __call__(self, ask: Ask, out: Out) -> None:
        try:
            while True:
                await out.text(self._piece)
                self.written += 1
        except trio.Cancelled as cancelled:
            self.reasons.append(str(cancelled))
            raise


async def test_a_client_that_never_reads_is_cut_off_at_the_deadline(autojump_clock: MockClock) -> None:
    engine = Endless()
    async with serving(engine, limits=Limits(write_progress=30)) as rig:
        peer = await rig.connect()
        begun = trio.current_time()
        await peer.create()
        await wait_all_tasks_blocked()
        blocked_at = engine.written
        await trio.sleep(29)
        assert engine.written == blocked_at
        assert engine.reasons == []
        await rig.gone()
        assert trio.current_time() - begun <= 31
        assert "took nothing for 30 s" in engine.reasons[0]
        assert rig.server.statistics().ended == {"lost": 1}


@pytest.mark.parametrize("lanes", [1, 8])
async def test_memory_for_a_client_that_never_reads_is_bounded(lanes: int, autojump_clock: MockClock) -> None:
    """Its windows, what is being written, and a constant: 256 KiB for the connection, 64 KiB for each turn."""
    limits = Limits(window_bytes=128 * KIB)
    engine = Endless()
    async with serving(engine, limits=limits, net=network(capacity=64 * KIB, keep=False)) as rig:
        warm_up = await rig.connect()
        await warm_up.create(generate=False)
        await warm_up.until()
        peer = await rig.connect()
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for lane in range(lanes):
                await peer.create(stream_id=f"lane-{lane}")
            await wait_all_tasks_blocked()
            await trio.sleep(20)
            gc.collect()
            held, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert engine.written * 1200 >= lanes * limits.window_bytes  # they were filled: a piece, and what is around it
        bound = lanes * (limits.window_bytes + 64 * KIB) + limits.write_bytes + 64 * KIB + 256 * KIB
        assert held - before < bound
        assert peak - before < 2 * bound
        await rig.gone()


async def test_what_a_response_shows_of_its_request_waits_for_its_reader_too(autojump_clock: MockClock) -> None:
    """Its settings come back in the first events: of large ones, no more than one event waits."""
    async with serving(Endless(), limits=Limits(window_bytes=10_000), net=network(capacity=64 * KIB)) as rig:
        peer = await rig.connect()
        await peer.create(instructions="x" * 500_000)
        await wait_all_tasks_blocked()
        (session,) = rig.server._sockets.sessions
        (window,) = session.statistics().windows
        assert window.waiting_events <= 1
        events = await peer.until("response.output_item.added")
        assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
        assert events[1]["response"]["instructions"] == "x" * 500_000


async def test_what_waits_for_its_reader_is_counted(autojump_clock: MockClock) -> None:
    async with serving(Endless(), limits=Limits(window_bytes=10_000)) as rig:
        peer = await rig.connect()
        await peer.create(stream_id="a")
        await peer.create(stream_id="b")
        await wait_all_tasks_blocked()
        await trio.sleep(1)
        assert 10_000 < rig.server.statistics().unsent_bytes <= 20_000
        await rig.gone()
        assert rig.server.statistics().unsent_bytes == 0


async def test_an_engine_waits_for_its_reader(autojump_clock: MockClock) -> None:
    engine = Endless()
    async with serving(engine, limits=Limits(window_bytes=10_000)) as rig:
        peer = await rig.connect()
        await peer.create()
        for _ in range(10):
            await wait_all_tasks_blocked()
            blocked_at = engine.written
            await trio.sleep(1)
            assert engine.written == blocked_at
            for _ in range(100):
                await peer.receive()
            await wait_all_tasks_blocked()
            assert engine.written > blocked_at
        await rig.gone()


@pytest.mark.parametrize("answers", [True, False], ids=["answers pings", "answers nothing"])
async def test_a_client_that_reads_one_kilobyte_a_second_lives(answers: bool, autojump_clock: MockClock) -> None:
    """Its pongs come late or never, for the pings wait behind what it has not read; but it takes what it is sent."""

    async def engine(ask: Ask, out: Out) -> None:
        for number in range(300):
            await out.text(f"{number:03} " * 250)

    async with serving(engine, net=network(bandwidth=1000, capacity=16 * KIB, keep=False)) as rig:
        peer = await rig.connect()
        peer.answers = answers
        begun = trio.current_time()
        events = await peer.ask()
        assert trio.current_time() - begun > 300
        assert sum("delta" in event for event in events) == 300
        if answers:
            await trio.sleep(10)
            await peer.close()
        await rig.gone()


async def test_a_fat_turn_does_not_hold_up_a_small_one(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        if ask.request.stream_id == "fat":
            while True:
                await out.text("x" * 1000)
        await out.text("small")

    async with serving(engine, net=network(bandwidth=125_000, capacity=32 * KIB, keep=False)) as rig:
        peer = await rig.connect()
        await peer.create(stream_id="fat")
        await trio.sleep(10)
        begun = trio.current_time()
        await peer.create(stream_id="small")
        while True:
            event = await peer.receive()
            if event["type"] == "response.completed":
                break
        read = sum(len(str(event)) for event in peer.events)
        assert read  # everything that was on its way had to be read first: link, writer, and no more
        assert trio.current_time() - begun < 2
        await rig.gone()


async def test_a_response_is_bounded_however_fast_its_reader(autojump_clock: MockClock) -> None:
    async with serving(Endless(), limits=Limits(response_bytes=100_000)) as rig:
        peer = await rig.connect()
        events = await peer.ask()
        assert events[-1]["type"] == "response.incomplete"
        assert events[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
        deltas = sum(len(event["delta"]) for event in events if "delta" in event)
        assert 60_000 < deltas < 100_000
        await peer.close()


async def flood(peer: Peer, message: str) -> int:
    """Say this until the server has had enough; returns how often."""
    sent = 0
    with suppress(Closed):
        while sent < 100_000:
            await peer.say(message)
            sent += 1
    return sent


@pytest.mark.parametrize(
    "message",
    ["{}", "hello", '{"type":"response.create","stream_id":"a b"}', '{"type":"response.steer","input":"x"}'],
)
async def test_a_client_that_floods_and_never_reads_is_cut_off(message: str, autojump_clock: MockClock) -> None:
    async with serving(Endless(), net=network(capacity=16 * KIB, keep=False)) as rig:
        peer = await rig.connect()
        healthy = await rig.connect()
        sent = await flood(peer, message)
        await eventually(lambda: rig.server.statistics().connections == 1)
        assert rig.server.statistics().ended == {"never reads": 1}
        assert sent < 5000
        await healthy.create(generate=False)
        await healthy.until()
        await healthy.close()


async def test_a_client_that_floods_and_reads_is_answered(autojump_clock: MockClock) -> None:
    async with serving(Endless()) as rig:
        peer = await rig.connect()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                for _ in range(3000):
                    await peer.say("{}")

            nursery.start_soon(ask)
            for _ in range(3000):
                assert (await peer.receive())["error"]["code"] == "unknown_event_type"
        await peer.close()
        check_lanes(peer.events)


# Real sockets


async def _small(rig: Rig, size: int) -> trio.SocketStream:
    """A client whose kernel keeps little for it."""
    stream = await rig.dial()
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    return stream


@pytest.mark.socket
async def test_a_client_that_never_reads_on_a_real_socket() -> None:
    engine = Endless()
    async with on_loopback(engine, limits=Limits(write_progress=0.3)) as rig:
        peer = Peer(await _small(rig, 4096))
        await peer.shake_hands()
        await peer.create()
        await eventually(lambda: engine.reasons)
        assert "took nothing for 0.3 s" in engine.reasons[0]
        await rig.gone()


@pytest.mark.socket
async def test_a_client_that_reads_slowly_on_a_real_socket_lives() -> None:
    """Slower than the deadlines allow for any one of its pongs, or for a whole write; but never silent for so long."""

    async def engine(ask: Ask, out: Out) -> None:
        for _ in range(25):  # a window so small may make the kernel wait 0.2 s for each step
            await out.text("x" * 8000)

    limits = Limits(write_progress=1, ping_interval=0.2, ping_timeout=0.5)
    async with on_loopback(engine, limits=limits) as rig:
        stream = await _small(rig, 16384)
        peer = Peer(stream)
        peer.answers = False
        await peer.shake_hands()
        await peer.create()
        read = b""
        while b"response.completed" not in read[-20_000:]:
            await trio.sleep(0.004)
            chunk = bytes(await stream.receive_some(4096))
            assert chunk, "it was cut off"
            read += chunk
