"""The stream between socket and library, without the library: what it passes on, when it writes, and how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from agentwire.protocol.errors import CloseFrame, ConnectionEnded, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.testing import Fault, MemoryStream, cut_points, network, no_leaks, run
from agentwire.testing.network import Network
from agentwire.transport.filter import FilterStream
from agentwire.transport.frames import FrameParser, client_frame, server_frame, server_framing
from tests.transport.test_frames import frame
from tests.transport.wires import QUICK, Letters, client_wire, server_wire

A_WHILE = 1.0  # longer than the pause after a write in which a burst is likely


def opened(
    streams: tuple[MemoryStream, MemoryStream] | None = None, limits: Limits = QUICK
) -> tuple[FilterStream, MemoryStream, Letters]:
    """A server's filter whose handshake is over, the peer's end, and a source of messages."""
    client, server = streams or network().pair()
    parser = FrameParser(masked=True, max_message=limits.message_bytes)
    filtered = FilterStream(server, parser=parser, limits=limits, framing=server_framing)
    filtered.expect_frames()
    filtered.queue_sends()
    return filtered, client, Letters()


async def write(filtered: FilterStream, letters: Letters) -> None:
    """The writer's task."""
    with pytest.raises(ConnectionEnded):
        await filtered.send_many(letters)


async def library(filtered: FilterStream) -> None:
    """The library's task: it reads on until the stream is closed."""
    with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
        while await filtered.receive_some():
            pass


def parsed(data: bytes) -> list[bytes]:
    """The messages in a server's bytes."""
    found = FrameParser(masked=False, max_message=1 << 30).feed(data)
    return [one for one in found if isinstance(one, bytes)]


# Coming in


async def test_messages_go_to_the_reader_and_control_frames_to_the_library(autojump_clock: object) -> None:
    filtered, peer, _ = opened()
    ping, pong, close = frame(9, b"ping"), frame(10, b"pong"), frame(8, b"\x03\xe8")
    await peer.send_all(frame(1, b"one") + ping + frame(1, b"tw", final=False) + pong + frame(0, b"o") + close)
    assert await filtered.receive_some() == ping + pong + close
    assert [await filtered.receive() for _ in range(2)] == [b"one", b"two"]
    with pytest.raises(ConnectionEnded) as end:
        await filtered.receive()
    assert end.value.received == CloseFrame(1000)


async def test_the_library_reads_the_preface_first() -> None:
    client, server = network().pair()
    parser = FrameParser(masked=True, max_message=100)
    filtered = FilterStream(
        server, parser=parser, limits=QUICK, framing=server_framing, preface=b"GET / HTTP/1.1\r\n\r\n"
    )
    await client.send_all(b"raw")
    assert await filtered.receive_some() == b"GET / HTTP/1.1\r\n\r\n"
    assert await filtered.receive_some() == b"raw"
    await filtered.send_all(b"answer")
    assert await client.receive_some() == b"answer"


async def test_a_full_inbox_stops_the_reading(autojump_clock: object) -> None:
    filtered, peer, _ = opened()
    await peer.send_all(b"".join(frame(1, b"%d" % number) for number in range(200)) + frame(9))
    async with trio.open_nursery() as nursery:
        through: list[bytes] = []

        async def read() -> None:
            through.append(await filtered.receive_some())

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        assert filtered.statistics().inbox == 64
        assert [int(await filtered.receive()) for _ in range(200)] == list(range(200))
    assert through == [frame(9)]


async def test_whoever_wants_every_message_is_handed_them_where_they_come_to_light(autojump_clock: object) -> None:
    filtered, peer, _ = opened()
    taken: list[bytes] = []
    await peer.send_all(b"".join(frame(1, b"%d" % number) for number in range(70)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(library, filtered)
        await trio.testing.wait_all_tasks_blocked()

        async def each() -> None:
            with pytest.raises(ConnectionEnded):
                await filtered.receive_each(taken.append)

        nursery.start_soon(each)
        await trio.testing.wait_all_tasks_blocked()
        await peer.send_all(frame(1, b"one") + frame(9) + frame(1, b"two"))
        await trio.testing.wait_all_tasks_blocked()
        assert taken == [*(b"%d" % number for number in range(70)), b"one", b"two"]
        assert filtered.statistics().inbox == 0
        filtered.fail("over")
        await filtered.aclose()


async def test_what_the_taker_raises_is_raised_where_it_was_asked_for(autojump_clock: object) -> None:
    filtered, peer, _ = opened()
    taken: list[bytes] = []

    def take(message: bytes) -> None:
        taken.append(message)
        if message == b"bad":
            raise ValueError("not this one")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(library, filtered)

        async def each() -> None:
            with pytest.raises(ValueError, match="not this one"):
                await filtered.receive_each(take)
            assert await filtered.receive() == b"next"
            await filtered.aclose()

        nursery.start_soon(each)
        await trio.testing.wait_all_tasks_blocked()
        await peer.send_all(frame(1, b"good") + frame(1, b"bad") + frame(1, b"next"))
    assert taken == [b"good", b"bad"]


async def test_a_flood_of_messages_lets_others_have_their_turn(autojump_clock: object) -> None:
    filtered, peer, _ = opened()
    taken: list[bytes] = []
    most = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(library, filtered)
        nursery.start_soon(filtered.receive_each, taken.append)
        await trio.testing.wait_all_tasks_blocked()
        await peer.send_all(frame(1, b"x") * 1000)
        while len(taken) < 1000:
            before = len(taken)
            await trio.lowlevel.checkpoint()
            most = max(most, len(taken) - before)
        nursery.cancel_scope.cancel(reason="test")
    assert 0 < most <= 128


async def test_a_violation_comes_after_the_messages_before_it_and_stays(autojump_clock: object) -> None:
    filtered, peer, _ = opened()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(filtered.receive_some)
        await peer.send_all(frame(1, b"one") + frame(3) + frame(1, b"two"))
        assert await filtered.receive() == b"one"
        for _ in range(2):
            with pytest.raises(RemoteProtocolError, match="reserved opcode"):
                await filtered.receive()
        nursery.cancel_scope.cancel(reason="test")


@pytest.mark.parametrize(
    ("fault", "cause"),
    [("half_close", "the peer ended the connection"), ("reset", "connection reset by the peer")],
)
async def test_the_end_of_the_stream_wakes_everybody(autojump_clock: object, fault: str, cause: str) -> None:
    net = network(faults=[Fault(fault, "client", at_time=1)])  # type: ignore[arg-type]
    filtered, _, letters = opened(net.pair())
    ends: list[ConnectionEnded] = []

    async def reader() -> None:
        with pytest.raises(ConnectionEnded) as end:
            await filtered.receive()
        ends.append(end.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        nursery.start_soon(write, filtered, letters)
        if fault == "reset":
            with pytest.raises(trio.BrokenResourceError):
                await filtered.receive_some()
        else:
            assert await filtered.receive_some() == b""
    assert [end.cause for end in ends] == [cause]
    await trio.aclose_forcefully(filtered)


# Going out


async def test_an_idle_wire_writes_at_once_and_a_busy_one_leaves_it_to_the_writer(autojump_clock: object) -> None:
    filtered, peer, letters = opened()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, filtered, letters)
        await trio.testing.wait_all_tasks_blocked()
        letters.waiting.append(b"one")
        filtered.kick()
        assert (letters.taken, filtered.statistics().writes) == (1, 1), "the producer has written"
        letters.waiting.extend([b"two", b"three"])
        filtered.kick()
        assert letters.taken == 1, "a moment after a write the writer joins what comes"
        await trio.testing.wait_all_tasks_blocked()
        assert (letters.taken, filtered.statistics().writes) == (3, 2)
        assert parsed(await peer.receive_some()) == [b"one", b"two", b"three"]
        filtered.fail("test")


async def test_a_nudge_leaves_it_to_the_writer_if_there_is_one(autojump_clock: object) -> None:
    filtered, peer, letters = opened()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, filtered, letters)
        await trio.testing.wait_all_tasks_blocked()
        letters.waiting.append(b"one")
        filtered.nudge()
        assert letters.taken == 0, "the producer goes on"
        letters.waiting.append(b"two")
        filtered.kick()
        filtered.nudge()
        await trio.testing.wait_all_tasks_blocked()
        assert (letters.taken, filtered.statistics().writes) == (2, 1)
        letters.waiting.append(b"three")
        filtered.nudge()
        filtered.hurry()
        assert letters.taken == 3, "nothing more comes: it is written now"
        assert parsed(await peer.receive_some()) == [b"one", b"two", b"three"]
        filtered.fail("test")


async def test_a_hurry_writes_what_the_writer_was_woken_for_and_nothing_else(autojump_clock: object) -> None:
    filtered, peer, letters = opened()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, filtered, letters)
        await trio.testing.wait_all_tasks_blocked()
        letters.waiting.append(b"one")
        filtered.hurry()
        assert letters.taken == 0, "nobody said that there was something"
        filtered.kick()
        letters.waiting.append(b"two")
        filtered.kick()
        assert letters.taken == 1, "the writer was woken"
        letters.waiting.append(b"three")
        filtered.hurry()
        assert (letters.taken, filtered.statistics().writes) == (3, 2)
        letters.waiting.append(b"four")
        filtered.hurry()
        assert letters.taken == 3, "once is enough: the writer is about to run"
        await trio.testing.wait_all_tasks_blocked()
        assert parsed(await peer.receive_some()) == [b"one", b"two", b"three", b"four"]
        filtered.fail("test")
        filtered.hurry()
        assert letters.taken == 4


async def test_an_offer_is_taken_by_an_idle_wire_alone(autojump_clock: object) -> None:
    filtered, peer, _ = opened(network(capacity=10).pair())
    assert filtered.offer(b'{"a":1}')
    assert not filtered.offer(b"x"), "a moment after a write"
    assert parsed(await peer.receive_some()) == [b'{"a":1}']
    await trio.sleep(A_WHILE)
    assert filtered.offer(bytes(20))
    await trio.sleep(A_WHILE)
    assert not filtered.offer(b"x"), "half a frame is still here"
    filtered.fail("test")
    assert not filtered.offer(b"x")


async def test_without_a_writer_a_kick_writes_whatever_the_hour(autojump_clock: object) -> None:
    """A goodbye after the writer was cancelled must not wait for it."""
    filtered, peer, letters = opened()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, filtered, letters)
        await trio.testing.wait_all_tasks_blocked()
        letters.waiting.append(b"one")
        filtered.kick()
        nursery.cancel_scope.cancel(reason="no writer any more")
    for data in (b"two", b"three"):
        letters.waiting.append(data)
        filtered.kick()
    assert parsed(await peer.receive_some()) == [b"one", b"two", b"three"]
    filtered.fail("test")


async def test_what_a_full_socket_does_not_take_goes_first_and_whole(autojump_clock: object) -> None:
    filtered, peer, letters = opened(network(capacity=10).pair())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, filtered, letters)
        await trio.testing.wait_all_tasks_blocked()
        letters.waiting.append(b"a" * 50)
        filtered.kick()
        assert filtered.statistics().unsent_bytes == 42
        letters.waiting.append(b"b" * 50)
        await filtered.send_all(frame(10, b"pong", masked=False))
        data = b""
        while len(data) < 2 * 52 + 6:
            data += await peer.receive_some()
        filtered.fail("test")
    assert data == server_frame(b"a" * 50) + frame(10, b"pong", masked=False) + server_frame(b"b" * 50)


async def test_after_a_close_frame_nothing_follows(autojump_clock: object) -> None:
    filtered, peer, letters = opened()
    letters.waiting.append(b"too late")
    await filtered.send_all(frame(8, b"\x03\xe8", masked=False))
    await trio.sleep(A_WHILE)
    filtered.kick()
    filtered.ping()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, filtered, letters)
        await trio.testing.wait_all_tasks_blocked()
        filtered.fail("test")
    assert await peer.receive_some() == frame(8, b"\x03\xe8", masked=False)
    assert list(letters.waiting) == [b"too late"]


async def test_the_librarys_sends_never_block_and_end_at_the_reserve(autojump_clock: object) -> None:
    filtered, _, _ = opened(network(capacity=1).pair(), attrs.evolve(QUICK, reply_bytes=100))
    await filtered.wait_send_all_might_not_block()
    pong = frame(10, bytes(8), masked=False)
    for _ in range(11):  # one begins to go out, ten wait
        await filtered.send_all(pong)
    with pytest.raises(trio.BrokenResourceError):
        await filtered.send_all(pong)
    assert filtered.ended is not None
    assert filtered.ended.cause == "the peer asks for answers that it does not read"
    assert filtered.statistics().unsent_bytes <= 110
    with pytest.raises(trio.ClosedResourceError):
        await filtered.send_all(b"\x8a\0")


async def test_progress_counts_and_not_completion(autojump_clock: object) -> None:
    filtered, peer, letters = opened(network(capacity=100).pair())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, filtered, letters)
        letters.waiting.append(bytes(1000))
        filtered.kick()
        for _ in range(5):
            await trio.sleep(QUICK.write_progress - 1)
            assert filtered.ended is None
            await peer.receive_some(1)
        start = trio.current_time()
        await trio.sleep_until(start + QUICK.write_progress - 0.1)
        assert filtered.ended is None
        await trio.sleep(0.2)
        assert filtered.story().cause == "the peer took nothing for 30 s"


async def test_a_peer_that_makes_room_is_heard(autojump_clock: object) -> None:
    filtered, peer, letters = opened(network(capacity=100).pair())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, filtered, letters)
        letters.waiting.append(bytes(1000))
        filtered.kick()
        await trio.sleep(20)
        assert filtered.last_heard == trio.current_time()  # nothing that we ask can reach it
        while filtered.statistics().bytes_out < 1004:
            await peer.receive_some(100)
            await trio.testing.wait_all_tasks_blocked()
        heard = trio.current_time()
        await trio.sleep(20)
        assert filtered.last_heard == heard
        filtered.fail("test")
        await trio.aclose_forcefully(filtered)


async def test_a_write_that_need_not_wait_is_no_sign_of_life(autojump_clock: object) -> None:
    filtered, _, letters = opened(network(capacity=100_000).pair())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, filtered, letters)
        start = trio.current_time()
        for _ in range(5):
            await trio.sleep(10)
            letters.waiting.append(bytes(1000))
            filtered.kick()
        assert filtered.last_heard == start
        filtered.fail("test")
        await trio.aclose_forcefully(filtered)


async def test_a_cancelled_writer_finishes_its_write_first(autojump_clock: object) -> None:
    filtered, peer, letters = opened(network(capacity=10).pair())
    letters.waiting.extend([b"x" * 50, b"never"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(filtered.send_many, letters)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel(reason="test")
        with trio.CancelScope(shield=True):
            data = b""
            while len(data) < 52:
                data += await peer.receive_some()
    assert data[:52] == server_frame(b"x" * 50)


async def test_a_flush_waits_for_all_that_is_ready(autojump_clock: object) -> None:
    filtered, peer, letters = opened(network(capacity=10).pair())
    flushed: list[float] = []

    async def flush() -> None:
        await filtered.flush()
        flushed.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, filtered, letters)
        await trio.testing.wait_all_tasks_blocked()
        letters.waiting.extend([b"x" * 50, b"y" * 50])
        nursery.start_soon(flush)
        nursery.start_soon(flush)
        await trio.sleep(A_WHILE)
        assert flushed == []
        data = b""
        while len(data) < 104:
            data += await peer.receive_some()
        await trio.testing.wait_all_tasks_blocked()
        assert flushed == [trio.current_time()] * 2
        await filtered.flush()
        filtered.fail("test")


async def test_a_write_into_a_dead_connection_ends_it(autojump_clock: object) -> None:
    filtered, peer, letters = opened()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, filtered, letters)
        await trio.testing.wait_all_tasks_blocked()
        peer.reset()
        letters.waiting.append(b"x")
        filtered.kick()
        assert filtered.ended is not None
        assert filtered.ended.cause == "connection reset by the peer"
    filtered.kick()
    filtered.ping()
    await filtered.flush()
    await filtered.library_idle()
    await filtered.see_out()
    assert filtered.statistics().writes == 0


async def test_the_first_end_is_the_one_that_counts() -> None:
    filtered, _, _ = opened()
    filtered.fail("first")
    filtered.fail("second")
    assert filtered.story().cause == "first"
    await trio.aclose_forcefully(filtered)


# All of it


@given(
    st.lists(st.binary(max_size=300), max_size=15),
    st.integers(1, 500),
    st.lists(st.integers(1, 400), min_size=1, max_size=8),
    st.booleans(),
)
def test_every_message_passes_whole_and_in_order(
    messages: list[bytes], capacity: int, reads: list[int], kicked: bool
) -> None:
    async def main() -> None:
        filtered, peer, letters = opened(network(capacity=capacity).pair())
        heard = await _pass(filtered, peer, letters, messages, reads, kicked=kicked)
        assert heard == (messages, messages)

    run(main)


async def _pass(
    filtered: FilterStream,
    peer: MemoryStream,
    letters: Letters,
    messages: Sequence[bytes],
    reads: Sequence[int],
    *,
    kicked: bool,
) -> tuple[list[bytes], list[bytes]]:
    """Send the messages both ways; what each side has received."""
    received: list[bytes] = []
    wanted = sum(len(server_frame(message)) for message in messages)
    data = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, filtered, letters)
        nursery.start_soon(library, filtered)
        nursery.start_soon(peer.send_all, b"".join(client_frame(message, b"abcd") for message in messages))
        await trio.testing.wait_all_tasks_blocked()
        for message in messages:
            letters.waiting.append(message)
            if kicked:
                filtered.kick()
        filtered.kick()
        turn = 0
        while len(data) < wanted:
            data += await peer.receive_some(reads[turn % len(reads)])
            turn += 1
        received.extend([await filtered.receive() for _ in messages])
        filtered.fail("test")
        await trio.aclose_forcefully(filtered)
        nursery.cancel_scope.cancel(reason="test")
    await peer.aclose()
    return received, parsed(data)


MESSAGES = [b"%d" % number * 20 for number in range(8)]


async def talk(net: Network) -> tuple[list[bytes], list[bytes]]:
    """Our client and our server send each other the same messages, then the client closes; what each has heard."""
    client, server = net.pair()
    heard: tuple[list[bytes], list[bytes]] = ([], [])

    async def at_server() -> None:
        try:
            async with server_wire(server) as ours:
                try:
                    while True:
                        heard[1].append(await ours.wire.receive())
                        ours.post(heard[1][-1])
                except ConnectionEnded as end:
                    await ours.wire.close(end.received.code if end.received else 1001)
        except (ConnectionEnded, trio.BrokenResourceError):
            await trio.aclose_forcefully(server)

    async def at_client() -> None:
        try:
            async with client_wire(client) as ours:
                for message in MESSAGES:
                    ours.post(message)
                    heard[0].append(await ours.wire.receive())
                await ours.wire.close(1000)
        except* (ConnectionEnded, RemoteProtocolError):
            await trio.aclose_forcefully(client)

    async with no_leaks(), trio.open_nursery() as nursery:
        nursery.start_soon(at_server)
        nursery.start_soon(at_client)
    return heard


async def talk_with(fault: Fault) -> tuple[list[bytes], list[bytes]]:
    with trio.fail_after(QUICK.handshake + 2 * QUICK.close_grace):
        return await talk(network(faults=[fault]))


@pytest.mark.parametrize("kind", ["cut", "reset", "half_close"])
def test_a_connection_may_break_between_any_two_frames_and_within_any(kind: str) -> None:
    faults = list(cut_points(talk, kinds=(kind,)))  # type: ignore[arg-type]
    assert len(faults) > 30
    for fault in faults:
        at_client, at_server = run(talk_with, fault)
        assert at_client == MESSAGES[: len(at_client)], fault
        assert at_server == MESSAGES[: len(at_server)], fault
        assert len(at_client) <= len(at_server) <= len(at_client) + 1, fault


def test_a_connection_may_break_at_any_byte() -> None:
    for fault in cut_points(talk, kinds=("cut",), per_byte=True, step=3):
        at_client, at_server = run(talk_with, fault)
        assert at_client == MESSAGES[: len(at_client)], fault
        assert at_server == MESSAGES[: len(at_server)], fault
