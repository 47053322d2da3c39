"""Connecting, listening and serving; and each fault, at a byte, at a frame and at a moment."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from agentwire.testing.faults import KINDS, Fault, Kind, Side
from agentwire.testing.network import network
from agentwire.testing.streams import MemoryStream
from agentwire.transport.frames import client_frame, server_frame


class Listener:
    """Reads one stream to its end and keeps when each piece came."""

    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream
        self.opened = trio.current_time()
        self.pieces: list[tuple[float, bytes]] = []
        self.ended: tuple[float, str] | None = None

    @property
    def heard(self) -> bytes:
        return b"".join(piece for _, piece in self.pieces)

    async def run(self) -> None:
        try:
            while data := await self.stream.receive_some():
                self.pieces.append((self._now(), data))
            self.ended = self._now(), "eof"
        except trio.BrokenResourceError as error:
            self.ended = self._now(), str(error)

    def _now(self) -> float:
        return round(trio.current_time() - self.opened, 6)


async def send(stream: MemoryStream, *parts: bytes) -> str:
    """Send each part, one second apart; what broke, if anything."""
    try:
        for part in parts:
            await stream.send_all(part)
            await trio.sleep(1)
    except trio.BrokenResourceError as error:
        return str(error)
    return ""


async def test_connect_takes_a_round_trip(autojump_clock: object) -> None:
    net = network(latency=0.1)
    started = trio.current_time()
    client = await net.connect()
    assert trio.current_time() - started == pytest.approx(0.2)
    server = await net.accept()
    await client.send_all(b"hello")
    assert await server.receive_some() == b"hello"
    assert net.statistics().connections == 1
    assert net.statistics().client_bytes == 5


async def test_a_connect_that_is_cancelled_is_a_client_that_leaves(autojump_clock: object) -> None:
    net = network(latency=0.1)
    with trio.move_on_after(0.15):
        await net.connect()
    server = await net.accept()
    with pytest.raises(trio.BrokenResourceError):
        await server.receive_some()


async def test_serve_runs_a_handler_for_each_connection_and_closes_its_stream(autojump_clock: object) -> None:
    net = network()

    async def echo(stream: MemoryStream) -> None:
        await stream.send_all(await stream.receive_some())

    async with trio.open_nursery() as nursery:
        await nursery.start(net.serve, echo)
        for word in (b"one", b"two"):
            client = await net.connect()
            await client.send_all(word)
            assert await client.receive_some() == word
            assert await client.receive_some() == b""
            await client.aclose()
        nursery.cancel_scope.cancel(reason="test")


async def test_what_a_handler_raises_is_seen() -> None:
    async def broken(_: MemoryStream) -> None:
        raise LookupError

    net = network()
    with pytest.RaisesGroup(LookupError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await net.connect()
            await net.serve(broken)
            nursery.cancel_scope.cancel(reason="test")
    assert net.statistics().waiting == 0


async def test_a_listener_serves_until_it_is_closed() -> None:
    net = network()
    listener = net.listener()
    client = await net.connect()
    server = await listener.accept()
    async with trio.open_nursery() as nursery:

        async def expect_the_end() -> None:
            with pytest.raises(trio.ClosedResourceError, match="was closed"):
                await listener.accept()

        nursery.start_soon(expect_the_end)
        await trio.testing.wait_all_tasks_blocked()
        await listener.aclose()
    await listener.aclose()
    with pytest.raises(trio.ClosedResourceError, match="is closed"):
        await listener.accept()
    with pytest.raises(ConnectionRefusedError):
        await net.connect()
    await client.send_all(b"old connections go on")
    assert await server.receive_some() == b"old connections go on"


async def test_a_listener_that_never_accepted_can_be_closed() -> None:
    net = network()
    await net.listener().aclose()
    with pytest.raises(ConnectionRefusedError):
        await net.connect()


async def test_trio_can_serve_a_listener() -> None:
    net = network()

    async def greet(stream: trio.abc.Stream) -> None:
        async with stream:
            await stream.send_all(b"hi")

    async with trio.open_nursery() as nursery:
        listener = net.listener()
        nursery.start_soon(trio.serve_listeners, greet, [listener])
        await trio.testing.wait_all_tasks_blocked()
        client = await net.connect()
        assert await client.receive_some() == b"hi"
        nursery.cancel_scope.cancel(reason="test")


FRAMES = [server_frame(b"%d" % number * 10) for number in range(4)]


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize(
    ("kind", "end", "read"), [("cut", "eof", 5), ("reset", "connection reset by the peer", 0)], ids=["cut", "reset"]
)
async def test_the_end_of_both_directions_at_a_byte(
    autojump_clock: object, kind: Kind, end: str, read: int, side: Side
) -> None:
    net = network(latency=0.25, faults=[Fault(kind, side, at_byte=15)])
    client, server = net.pair()
    sender, reader = (client, server) if side == "client" else (server, client)
    heard, back = Listener(reader), Listener(sender)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heard.run)
        nursery.start_soon(back.run)
        error = await send(sender, bytes(10), bytes(10), bytes(10))
    assert error
    assert heard.heard == bytes(10 + read)
    assert heard.pieces[0] == (0.25, bytes(10))
    assert heard.ended == back.ended == (1.25, end)
    with pytest.raises(trio.BrokenResourceError):
        reader.send_nowait(b"x")


async def test_a_reset_loses_what_has_arrived_unread(autojump_clock: object) -> None:
    net = network(faults=[Fault("reset", at_byte=10)])
    client, server = net.pair()
    assert server.send_nowait(bytes(20)) == 20
    heard = Listener(client)
    await heard.run()
    assert heard.ended == (0.0, "connection reset by the peer")
    assert heard.heard == b""


async def test_half_a_close_keeps_the_other_direction(autojump_clock: object) -> None:
    net = network(faults=[Fault("half_close", "client", at_byte=3)])
    client, server = net.pair()
    await client.send_all(b"abcdef")
    heard = Listener(server)
    await heard.run()
    assert (heard.heard, heard.ended) == (b"abc", (0.0, "eof"))
    await client.send_all(bytes(70_000))
    await client.wait_send_all_might_not_block()
    await server.send_all(b"answer")
    assert await client.receive_some() == b"answer"


async def test_a_stall_lets_nothing_arrive_for_a_while(autojump_clock: object) -> None:
    net = network(capacity=30, faults=[Fault("stall", at_byte=10, seconds=5)])
    client, server = net.pair()
    heard = Listener(client)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heard.run)
        await server.send_all(bytes(10))
        await server.send_all(bytes(20))
        await trio.testing.wait_all_tasks_blocked()
        assert server.send_nowait(bytes(20)) == 10, "10 bytes have been read, the others stand before the stall"
        assert server.send_nowait(b"x") == 0
        await server.aclose()
    assert heard.pieces == [(0.0, bytes(10)), (5.0, bytes(30))]
    assert heard.ended == (5.0, "eof")


async def test_a_stall_without_an_end_is_silence(autojump_clock: object) -> None:
    net = network(faults=[Fault("stall", at_time=1.0)])
    client, server = net.pair()
    heard = Listener(client)
    with trio.move_on_after(1000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heard.run)
            await server.send_all(b"before")
            await trio.sleep(2)
            await server.aclose()
    assert heard.pieces == [(0.0, b"before")]
    assert heard.ended is None


async def test_a_link_becomes_slow(autojump_clock: object) -> None:
    net = network(faults=[Fault("slow", at_byte=100, rate=1460)])
    client, server = net.pair()
    heard = Listener(client)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heard.run)
        await server.send_all(bytes(100 + 2 * 1460))
        await server.aclose()
    assert [(time, len(piece)) for time, piece in heard.pieces] == [(0.0, 100), (1.0, 1460), (2.0, 1460)]
    assert heard.ended == (2.0, "eof")


async def test_bytes_are_cut_into_pieces(autojump_clock: object) -> None:
    net = network(faults=[Fault("split", size=2, at_byte=4)])
    client, server = net.pair()
    await server.send_all(b"abcdefghi")
    assert [await client.receive_some() for _ in range(4)] == [b"abcd", b"ef", b"gh", b"i"]
    await server.send_all(b"jkl")
    assert [await client.receive_some(1) for _ in range(3)] == [b"j", b"k", b"l"]


async def test_bytes_are_held_back_until_there_are_enough(autojump_clock: object) -> None:
    net = network(faults=[Fault("merge", size=5, seconds=3)])
    client, server = net.pair()
    heard = Listener(client)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heard.run)
        await send(server, b"ab", b"cd", b"ef", b"gh")
        await trio.sleep(6)
        await server.send_all(b"ij")
        await server.aclose()
    assert heard.pieces == [(2.0, b"abcdef"), (6.0, b"gh"), (10.0, b"ij")]


async def test_what_came_before_is_not_held_back(autojump_clock: object) -> None:
    net = network(faults=[Fault("merge", size=5, at_byte=2)])
    client, server = net.pair()
    await server.send_all(b"ab")
    with trio.fail_after(1):
        assert await client.receive_some() == b"ab"
    await server.send_all(b"cd")
    with trio.move_on_after(100) as scope:
        await client.receive_some()
    assert scope.cancelled_caught
    await server.send_all(b"e")
    with trio.move_on_after(100) as scope:
        await client.receive_some()
    assert scope.cancelled_caught
    await server.send_all(b"fg")
    assert await client.receive_some() == b"cdefg"


HEAD = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"


async def test_a_handshake_may_arrive_twice(autojump_clock: object) -> None:
    net = network(latency=0.5, faults=[Fault("duplicate", connection=None)])
    async with await net.connect() as client:
        await client.send_all(HEAD + client_frame(b"hi", b"abcd"))
        first = Listener(await net.accept())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.run)
            second = await net.accept()
            assert await second.receive_some() == HEAD
            assert first.heard == HEAD + client_frame(b"hi", b"abcd")
            nursery.cancel_scope.cancel(reason="that was it")
        with trio.move_on_after(100) as silence:
            await second.receive_some()
        assert silence.cancelled_caught
        await second.send_all(b"who is there?")
        assert net.statistics().connections == 2
        first.stream.reset()
        second.reset()


@pytest.mark.parametrize("place", [{"side": "client", "at_byte": 4}, {"side": "client", "at_time": 1}])
async def test_so_may_all_that_came_before_a_place_and_it_may_end(
    autojump_clock: object, place: dict[str, Any]
) -> None:
    net = network(faults=[Fault("duplicate", seconds=5, **place)])
    client, server = net.pair()
    await client.send_all(b"once")
    await trio.sleep(1)
    await client.send_all(b" more")
    again = Listener(await net.accept())
    await again.run()
    assert again.heard == b"once"
    assert again.ended == (5.0 if "at_byte" not in place else 4.0, "eof")
    for stream in (client, server, again.stream):
        stream.reset()


async def test_a_slow_reader_holds_the_sender_back(autojump_clock: object) -> None:
    client, server = network(capacity=100, faults=[Fault("slow", "server", rate=10)]).pair()
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Listener(client).run)
        await server.send_all(bytes(300))
        assert trio.current_time() - started >= 15
        await server.aclose()
    await client.aclose()


@pytest.mark.parametrize(("middle", "sent"), [(False, 2), (True, 2.5)])
async def test_a_fault_at_a_frame_of_the_server(autojump_clock: object, middle: bool, sent: float) -> None:
    net = network(faults=[Fault("cut", at_frame=2, middle=middle)])
    client, server = net.pair()
    heard = Listener(client)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heard.run)
        await send(server, *FRAMES)
    whole = b"".join(FRAMES)
    assert heard.heard == whole[: int(sent * len(FRAMES[0]))]
    assert heard.ended == (2.0 if middle else 1.0, "eof"), "in front of a frame is behind the one before"


async def test_a_fault_at_a_frame_after_the_http_of_the_client(autojump_clock: object) -> None:
    head = b"GET / HTTP/1.1\r\nupgrade: websocket\r\n\r\n"
    frame = client_frame(bytes(20), b"abcd")
    net = network(faults=[Fault("cut", "client", at_frame=0)])
    client, server = net.pair()
    heard = Listener(server)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heard.run)
        await send(client, head[:5], head[5:] + frame, frame)
    assert heard.heard == head


async def test_frames_that_come_byte_by_byte_are_counted_too(autojump_clock: object) -> None:
    net = network(faults=[Fault("cut", at_frame=1, middle=True)])
    client, server = net.pair()
    heard = Listener(client)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heard.run)
        await send(server, *(bytes((byte,)) for byte in b"".join(FRAMES)))
    assert heard.heard == FRAMES[0] + FRAMES[1][:6]


async def test_a_fault_at_a_moment_wakes_who_waits(autojump_clock: object) -> None:
    net = network(faults=[Fault("cut", at_time=7.5)])
    client, server = net.pair()
    heard, back = Listener(client), Listener(server)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heard.run)
        nursery.start_soon(back.run)
    assert heard.ended == back.ended == (7.5, "eof")


async def test_things_happen_in_the_order_of_the_clock(autojump_clock: object) -> None:
    net = network(latency=1.0, faults=[Fault("cut", at_time=2.0)])
    client, server = net.pair()
    server.send_nowait(b"in time")
    await trio.sleep(1.5)
    server.send_nowait(b"too late")
    await trio.sleep(5)
    heard = Listener(client)
    await heard.run()
    assert heard.heard == b"in time"


async def test_several_faults_at_one_place_happen_in_their_order(autojump_clock: object) -> None:
    net = network(faults=[Fault("stall", at_byte=2, seconds=3), Fault("cut", at_byte=2), Fault("split", at_byte=0)])
    client, server = net.pair()
    heard = Listener(client)
    await server.send_all(b"abcd")
    await heard.run()
    assert heard.pieces == [(0.0, b"a"), (0.0, b"b")]
    assert heard.ended == (3.0, "eof")


async def test_a_fault_is_for_one_connection_or_for_all(autojump_clock: object) -> None:
    net = network(faults=[Fault("cut", at_byte=1, connection=1), Fault("cut", at_byte=3, connection=None)])
    lengths = []
    for _ in range(3):
        client, server = net.pair()
        await server.send_all(b"abcdef")
        heard = Listener(client)
        await heard.run()
        lengths.append(len(heard.heard))
    assert lengths == [3, 1, 3]


async def test_faults_can_be_armed_later(autojump_clock: object) -> None:
    net = network()
    client, server = net.pair()
    await server.send_all(FRAMES[0] + FRAMES[1])
    net.arm(Fault("cut", at_frame=3))
    await server.send_all(FRAMES[2])
    heard = Listener(client)
    await heard.run()
    assert heard.heard == b"".join(FRAMES[:3])
    net.arm(Fault("cut", connection=1))
    again, _ = net.pair()
    assert await again.receive_some() == b""


@pytest.mark.parametrize(
    "place", [{}, {"at_byte": 1}, {"at_frame": 1}, {"at_frame": 0, "middle": True}, {"at_time": 0}]
)
async def test_a_position_that_has_gone_by_is_now(autojump_clock: object, place: dict[str, int]) -> None:
    net = network()
    client, server = net.pair()
    await server.send_all(FRAMES[0])
    net.arm(Fault("cut", **place))  # type: ignore[arg-type]
    with pytest.raises(trio.BrokenResourceError, match="cut"):
        server.send_nowait(b"x")
    assert await client.receive_some() == FRAMES[0]
    assert await client.receive_some() == b""


@pytest.mark.parametrize("kind", KINDS)
async def test_faults_are_recorded(autojump_clock: object, kind: Kind) -> None:
    net = network(faults=[Fault(kind, at_byte=3), Fault(kind, "client", at_time=1)])
    _, server = net.pair()
    await server.send_all(b"abc")
    await trio.sleep(1)
    net.links[0].pump()
    notes = [str(record.what) for record in net.trace.records]
    assert [note.partition(" ")[0] for note in notes] == [kind, kind]
    assert notes[0].endswith("server at byte 3 (connection 0)")
    assert notes[1].endswith("client at 1 s (connection 0)")


async def test_the_model_of_a_link_makes_sense() -> None:
    with pytest.raises(ValueError, match="latency"):
        network(latency=-1)
    with pytest.raises(ValueError, match="bandwidth"):
        network(bandwidth=0)
    with pytest.raises(ValueError, match="capacity"):
        network(capacity=0)
