"""Our wire, as a server and as a client, against wsproto: messages, violations, and every way to part."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

import attrs
import pytest
import trio
import trio.testing
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Request, TextMessage

from agentwire.protocol.errors import CloseFrame, ConnectionEnded, RemoteProtocolError
from agentwire.testing import Fault, network, no_leaks, run
from agentwire.transport.frames import client_frame, server_frame
from agentwire.transport.http11 import HttpConnection
from agentwire.transport.upgrade import judge_upgrade
from agentwire.transport.websocket import open_server_wire
from tests.transport.test_frames import frame
from tests.transport.wires import QUICK, Ours, Peer, client_wire, joined, read_head, server_wire

both_roles = pytest.mark.parametrize("server", [True, False], ids=["server", "client"])


# Messages


@both_roles
async def test_messages_of_every_size_go_both_ways(autojump_clock: object, server: bool) -> None:
    async with no_leaks(), joined(network().pair(), server=server) as (ours, peer):
        for size in (0, 1, 125, 126, 65535, 65536):
            await peer.say_text("x" * size)
            assert await ours.wire.receive() == b"x" * size
            ours.post(b"y" * size)
            assert await peer.hear_text() == "y" * size


@both_roles
async def test_huge_messages_pass_through_a_small_link(autojump_clock: object, server: bool) -> None:
    net = network(capacity=8192, latency=0.01)
    heard: list[str] = []
    async with joined(net.pair(), server=server) as (ours, peer), trio.open_nursery() as nursery:

        async def hear() -> None:
            heard.append(await peer.hear_text())

        nursery.start_soon(peer.say_text, "x" * 3_000_000)
        nursery.start_soon(hear)
        ours.post(b"y" * 3_000_000)
        assert await ours.wire.receive() == b"x" * 3_000_000
    assert heard == ["y" * 3_000_000]


@both_roles
async def test_fragments_with_pings_between_arrive_byte_by_byte(autojump_clock: object, server: bool) -> None:
    net = network(faults=[Fault("split", size=1), Fault("split", "client", size=1)])
    async with joined(net.pair(), server=server) as (ours, peer):
        await peer.say(TextMessage(data="one ", message_finished=False), Ping(payload=b"first"))
        await peer.say(TextMessage(data="", message_finished=False), Ping(payload=b"second"))
        await peer.say(TextMessage(data="two", message_finished=True), BytesMessage(data=b"three"))
        assert [await ours.wire.receive() for _ in range(2)] == [b"one two", b"three"]
        ours.post(b"done")
        assert await peer.hear_text() == "done"
        assert peer.pongs == [b"first", b"second"]


async def test_many_messages_wait_for_their_reader(autojump_clock: object) -> None:
    async with joined(network().pair()) as (ours, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.raw, b"".join(client_frame(b"%d" % number, b"abcd") for number in range(1000)))
        await trio.testing.wait_all_tasks_blocked()
        assert ours.wire.statistics().inbox < 1000, "the peer feels that nobody reads"
        assert [int(await ours.wire.receive()) for _ in range(1000)] == list(range(1000))


async def test_a_burst_goes_out_in_few_writes_and_in_order(autojump_clock: object) -> None:
    async with joined(network().pair()) as (ours, peer):
        before = ours.wire.statistics().writes
        for number in range(500):
            ours.post(b"%d" % number)
        assert [int(await peer.hear_text()) for _ in range(500)] == list(range(500))
        assert ours.wire.statistics().writes - before <= 3


async def test_frames_that_come_with_the_101_are_not_lost(autojump_clock: object) -> None:
    client, server = network().pair()
    peer = Peer(server, client=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            peer.accept, server_frame(b"early") + frame(9, b"ping", masked=False) + server_frame(b"bird")
        )
        async with client_wire(client) as ours:
            assert [await ours.wire.receive() for _ in range(2)] == [b"early", b"bird"]
            ours.post(b"hello")
            assert await peer.hear_text() == "hello"
            assert peer.pongs == [b"ping"]


async def test_a_close_that_comes_with_the_101_is_the_end(autojump_clock: object) -> None:
    client, server = network().pair()
    peer = Peer(server, client=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.accept, server_frame(b"early") + frame(8, b"\x03\xe9bye", masked=False))
        async with client_wire(client) as ours:
            assert await ours.wire.receive() == b"early"
            assert (await ours.end()).received == CloseFrame(1001, "bye")
    await server.aclose()


async def test_life_signs_are_noticed(autojump_clock: object) -> None:
    async with joined(network(latency=0.5).pair()) as (ours, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.hear)
        start = trio.current_time()
        await trio.sleep(10)
        assert ours.wire.last_heard <= start
        ours.wire.ping()
        await trio.sleep(2)
        assert ours.wire.last_heard == start + 11
        nursery.cancel_scope.cancel(reason="test")


# Violations


def violations(*, masked: bool) -> dict[str, tuple[int, bytes]]:
    def bad(opcode: int, payload: bytes = b"", **how: object) -> bytes:
        return frame(opcode, payload, **{"masked": masked, **how})  # type: ignore[arg-type]

    return {
        "reserved bit": (1002, bad(1, b"x", reserved=4)),
        "reserved opcode": (1002, bad(3)),
        "reserved control opcode": (1002, bad(11)),
        "wrong masking": (1002, bad(1, b"x", masked=not masked)),
        "oversize ping": (1002, bad(9, bytes(126))),
        "fragmented ping": (1002, bad(9, b"x", final=False)),
        "continuation of nothing": (1002, bad(0, b"x")),
        "new message within another": (1002, bad(1, b"x", final=False) + bad(1, b"y")),
        "close with half a code": (1002, bad(8, b"\x03")),
        "close code that is never sent": (1002, bad(8, struct.pack("!H", 1005))),
        "close reason that is no text": (1007, bad(8, b"\x03\xe8\xff")),
        "message too large": (1009, bad(1, bytes(1001))),
        "fragments too large": (1009, bad(1, bytes(600), final=False) + bad(0, bytes(401), final=False)),
        "announced too large": (1009, bad(1, bytes(100_000))[:20]),
    }


@both_roles
@pytest.mark.parametrize("name", list(violations(masked=True)))
async def test_the_peer_is_told_of_its_violation(autojump_clock: object, server: bool, name: str) -> None:
    code, data = violations(masked=server)[name]
    limits = attrs.evolve(QUICK, message_bytes=1000, response_bytes=1000)
    async with no_leaks(), joined(network().pair(), server=server, limits=limits) as (ours, peer):
        start = trio.current_time()
        await peer.say_text("before")
        await peer.raw(data, frame(1, b"never seen", masked=server))
        assert await ours.wire.receive() == b"before"
        with pytest.raises(RemoteProtocolError) as violation:
            await ours.wire.receive()
        assert violation.value.close_code == code
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.wire.close, code, "no")
            assert await peer.goodbye() == (code, "no")
        assert trio.current_time() == start, "a peer that leaves is not waited for"
        assert ours.wire.ended is not None
        assert ours.wire.ended.sent == CloseFrame(code, "no")


async def test_after_a_violation_a_peer_that_stays_is_waited_for_no_longer_than_the_grace(
    autojump_clock: object,
) -> None:
    async with joined(network().pair()) as (ours, peer):
        await peer.raw(frame(3))
        with pytest.raises(RemoteProtocolError):
            await ours.wire.receive()
        start = trio.current_time()
        await ours.wire.close(1002)
        assert trio.current_time() - start == QUICK.close_grace


# Closing


@both_roles
async def test_we_close(autojump_clock: object, server: bool) -> None:
    async with no_leaks(), joined(network(latency=0.1).pair(), server=server) as (ours, peer):
        ours.post(b"last words")
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.wire.close, 1012, "the server restarts")
            assert await peer.hear_text() == "last words"
            assert await peer.goodbye() == (1012, "the server restarts")
        assert trio.current_time() - start < 1
        end = await ours.end()
        assert (end.sent, end.received) == (CloseFrame(1012, "the server restarts"),) * 2
        assert str(end) == "connection ended: sent 1012 the server restarts; received 1012 the server restarts"


@both_roles
@pytest.mark.parametrize("code", [None, 1000, 1014, 3000])
async def test_the_peer_closes(autojump_clock: object, server: bool, code: int | None) -> None:
    async with no_leaks(), joined(network(latency=0.1).pair(), server=server) as (ours, peer):
        await peer.say_text("last words")
        await peer.raw(frame(8, struct.pack("!H", code) + b"bye" if code else b"", masked=server))
        assert await ours.wire.receive() == b"last words"
        end = await ours.end()
        assert end.received == CloseFrame(code or 1005, "bye" if code else "")
        assert end.sent is None
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.wire.close, code or 1000, "")
            answer = await peer.hear_close()
            await peer.stream.aclose()
        assert answer.code == (1005 if code in (None, 1014) else code)
        assert trio.current_time() - start < 1


@both_roles
async def test_what_follows_a_close_frame_does_not_count(autojump_clock: object, server: bool) -> None:
    async with no_leaks(), joined(network().pair(), server=server) as (ours, peer):
        said = ((8, b"\x03\xe8"), (8, b"\x03\xe9"), (9, b"ping"), (1, b"text"), (3, b""))
        await peer.raw(b"".join(frame(opcode, payload, masked=server) for opcode, payload in said))
        assert (await ours.end()).received == CloseFrame(1000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.wire.close, 1000)
            assert (await peer.hear_close()).code == 1000
            await peer.stream.aclose()
        assert peer.pongs == []


@both_roles
def test_the_answer_to_a_close_is_never_lost(server: bool) -> None:
    async def main() -> None:
        async with joined(network().pair(), server=server) as (ours, peer):
            await peer.say(CloseConnection(code=1000))
            await ours.end()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ours.wire.close, 1000)
                assert (await peer.hear_close()).code == 1000
                await peer.stream.aclose()

    for seed in range(40):
        run(main, seed=seed)


@both_roles
def test_both_close_at_once(server: bool) -> None:
    async def main(latency: float) -> None:
        async with no_leaks(), joined(network(latency=latency).pair(), server=server) as (ours, peer):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ours.wire.close, 1001, "ours")
                nursery.start_soon(peer.say, CloseConnection(code=1000, reason="theirs"))
                nursery.start_soon(peer.hear_close)
            await peer.stream.aclose()
            assert (await ours.end()).received == CloseFrame(1000, "theirs")

    for seed in range(20):
        run(main, 0.0, seed=seed)
        run(main, 0.1, seed=seed)


@both_roles
def test_pings_while_we_close_do_no_harm(server: bool) -> None:
    async def main() -> None:
        async with no_leaks(), joined(network(latency=0.1).pair(), server=server) as (ours, peer):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.say, *(Ping(payload=b"%d" % number) for number in range(20)))
                await trio.sleep(0.1)
                for _ in range(3):
                    nursery.start_soon(peer.raw, frame(9, b"late", masked=server))
                    await trio.lowlevel.checkpoint()
                nursery.start_soon(ours.wire.close, 1001, "bye")
                await trio.sleep(0.05)
                await peer.raw(frame(9, b"later", masked=server))
                assert await peer.goodbye() == (1001, "bye")
            assert ours.wire.ended is not None
            assert ours.wire.ended.received == CloseFrame(1001, "bye")

    for seed in range(40):
        run(main, seed=seed)


@both_roles
async def test_a_peer_that_never_answers_a_close_is_waited_for_just_so_long(
    autojump_clock: object, server: bool
) -> None:
    async with no_leaks(), joined(network().pair(), server=server) as (ours, _):
        start = trio.current_time()
        await ours.wire.close(1001)
        assert trio.current_time() - start == QUICK.close_grace
        assert ours.wire.ended is not None
        assert (ours.wire.ended.sent, ours.wire.ended.received) == (CloseFrame(1001), None)


async def test_a_close_does_not_wait_for_a_peer_that_reads_nothing(autojump_clock: object) -> None:
    async with no_leaks(), joined(network(capacity=1000).pair()) as (ours, _):
        ours.post(bytes(10_000))
        start = trio.current_time()
        await ours.wire.close(1001)
        assert trio.current_time() - start == QUICK.close_grace


async def test_a_close_gets_through_although_there_is_always_more_to_say(autojump_clock: object) -> None:
    async with joined(network(latency=0.01).pair()) as (ours, peer), trio.open_nursery() as nursery:

        async def never_silent() -> None:
            while True:
                ours.post(b"more")
                await trio.sleep(0.001)

        nursery.start_soon(never_silent)
        nursery.start_soon(ours.wire.close, 1012, "enough")
        assert await peer.goodbye() == (1012, "enough")
        nursery.cancel_scope.cancel(reason="test")


async def test_what_is_being_written_comes_before_the_answer_to_a_close(autojump_clock: object) -> None:
    async with joined(network(capacity=1000).pair()) as (ours, peer):
        ours.post(b"x" * 100_000, b"not begun yet")
        await trio.testing.wait_all_tasks_blocked()
        await peer.say(CloseConnection(code=1000))
        await ours.end()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.wire.close, 1000)
            assert len(await peer.hear_text()) == 100_000
            assert (await peer.hear_close()).code == 1000


async def test_cancelling_a_close_closes_at_once(autojump_clock: object) -> None:
    async with joined(network().pair()) as (ours, peer):
        with trio.move_on_after(1):
            await ours.wire.close(1001)
        assert (await peer.hear_close()).code == 1001
        with pytest.raises(EOFError):
            await peer.hear()


async def test_closing_twice_is_harmless(autojump_clock: object) -> None:
    async with joined(network().pair()) as (ours, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.wire.close, 1001)
            nursery.start_soon(ours.wire.close, 1012)
            assert (await peer.goodbye())[0] in (1001, 1012)
        await ours.wire.close(1000)
        await ours.wire.abort("again")


def test_closing_twice_after_a_violation_is_harmless() -> None:
    async def main() -> None:
        async with joined(network().pair()) as (ours, peer):
            await peer.raw(frame(3))
            with pytest.raises(RemoteProtocolError):
                await ours.wire.receive()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ours.wire.close, 1002)
                nursery.start_soon(ours.wire.close, 1000)
                assert (await peer.goodbye())[0] in (1000, 1002)

    for seed in range(20):
        run(main, seed=seed)


@both_roles
async def test_an_abort_says_nothing(autojump_clock: object, server: bool) -> None:
    async with no_leaks(), joined(network().pair(), server=server) as (ours, peer):
        await ours.wire.abort("enough of this")
        with pytest.raises(EOFError):
            await peer.hear()
        assert str(await ours.end()) == "connection ended: enough of this (no close frame sent or received)"
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(ours.written, ConnectionEnded)


# Peers that vanish


@both_roles
@pytest.mark.parametrize(
    ("kind", "cause"), [("cut", "the peer ended the connection"), ("reset", "connection reset by the peer")]
)
async def test_a_peer_that_vanishes_is_noticed_at_once(
    autojump_clock: object, server: bool, kind: str, cause: str
) -> None:
    net = network(faults=[Fault(kind, at_time=7)])  # type: ignore[arg-type]
    async with no_leaks(), joined(net.pair(), server=server) as (ours, _):
        opened = trio.current_time()
        end = await ours.end()
        assert trio.current_time() - opened == 7
        assert (end.cause, end.sent, end.received) == (cause, None, None)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() - opened == 7
        assert isinstance(ours.written, ConnectionEnded)


Leave = Callable[[Peer], Awaitable[None]]


async def _fin(peer: Peer) -> None:
    await peer.stream.send_eof()


async def _rst(peer: Peer) -> None:
    peer.stream.reset()
    await trio.lowlevel.checkpoint()


async def _close_frame(peer: Peer) -> None:
    await peer.say(CloseConnection(code=1000))


@both_roles
@pytest.mark.parametrize("pings", [0, 1, 5])
@pytest.mark.parametrize("leave", [_fin, _rst, _close_frame])
async def test_a_peer_that_is_stuck_then_pings_then_goes_is_noticed_at_once(
    autojump_clock: object, server: bool, pings: int, leave: Leave
) -> None:
    async with no_leaks(), joined(network(capacity=4096).pair(), server=server) as (ours, peer):
        ours.post(*[bytes(5000)] * 20)
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        for number in range(pings):
            await peer.raw(frame(9, b"%d" % number, masked=server))
        await leave(peer)
        await ours.end()
        assert trio.current_time() == start
        await ours.wire.abort("the peer is gone")
        assert trio.current_time() == start


async def test_a_reset_while_we_write(autojump_clock: object) -> None:
    net = network(capacity=4096, faults=[Fault("reset", at_frame=3, middle=True)])
    async with no_leaks(), joined(net.pair()) as (ours, peer):
        ours.post(*[b"x" * 5000] * 20)
        for _ in range(3):
            assert len(await peer.hear_text()) == 5000
        with pytest.raises(trio.BrokenResourceError):
            await peer.hear_text()
        assert (await ours.end()).cause == "connection reset by the peer"


# Peers that read little


async def test_a_peer_that_takes_nothing_is_given_up(autojump_clock: object) -> None:
    async with no_leaks(), joined(network(capacity=1000).pair()) as (ours, _):
        start = trio.current_time()
        ours.post(bytes(5000))
        end = await ours.end()
        assert trio.current_time() - start == QUICK.write_progress
        assert end.cause == "the peer took nothing for 30 s"


async def test_a_peer_that_reads_slowly_lives(autojump_clock: object) -> None:
    async with no_leaks(), joined(network(capacity=1000).pair()) as (ours, peer):
        ours.post(b"x" * 20_000)
        await trio.testing.wait_all_tasks_blocked()
        start, received = trio.current_time(), b""
        while len(received) < 20_000:
            await trio.sleep(25)
            received += await peer.stream.receive_some(1000)
        assert trio.current_time() - start > 400
        assert ours.wire.ended is None


async def test_a_flood_of_pings_from_a_peer_that_reads_nothing_ends_it(autojump_clock: object) -> None:
    limits = attrs.evolve(QUICK, reply_bytes=10_000)
    async with no_leaks(), joined(network(capacity=4096).pair(), limits=limits) as (ours, peer):
        start = trio.current_time()

        async def flood() -> None:
            with suppress(trio.BrokenResourceError):
                while True:
                    await peer.raw(frame(9, bytes(125)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            assert (await ours.end()).cause == "the peer asks for answers that it does not read"
            await ours.wire.abort("never reads")
        assert trio.current_time() == start
        assert ours.wire.statistics().unsent_bytes <= limits.reply_bytes


async def test_a_cancelled_writer_leaves_no_half_frame_before_another(autojump_clock: object) -> None:
    async with joined(network(capacity=1000).pair()) as (ours, peer):
        async with trio.open_nursery() as nursery:
            other = Ours(ours.wire)
            nursery.start_soon(other.write)
            other.post(b"x" * 5000)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel(reason="test")
            with trio.CancelScope(shield=True):
                assert await peer.hear_text() == "x" * 5000, "what was begun is finished"
        with trio.move_on_after(1):
            await peer.hear()
        assert peer.connection.state is ConnectionState.OPEN


# Handshakes


async def test_a_handshake_that_only_its_clean_head_makes_digestible(autojump_clock: object) -> None:
    client, server = network().pair()
    peer = Peer(client, client=True)
    request = peer.connection.send(Request(host="test", target="/v1/responses"))
    request = request.replace(b"Host: test", "Host: müller\r\nSec-WebSocket-Extensions: dämon".encode("latin-1"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.raw, request)
        http = HttpConnection(server, QUICK)
        asked = await http.next_request()
        assert asked is not None
        head = judge_upgrade(asked, http.early)
        stream, _ = http.take_over()
        async with open_server_wire(stream, head, headers=(("x-request-id", "req_1"),), limits=QUICK) as wire:
            accepted = await peer.hear()
            assert isinstance(accepted, AcceptConnection)
            assert (b"x-request-id", b"req_1") in accepted.extra_headers
            await peer.say_text("hello")
            assert await wire.receive() == b"hello"
    await client.aclose()


async def test_a_client_that_goes_in_the_handshake(autojump_clock: object) -> None:
    client, server = network(capacity=10).pair()
    await client.send_all(b"GET / HT")
    client.reset()
    with pytest.raises((trio.BrokenResourceError, ConnectionEnded)):
        await read_head(server)
    await server.aclose()


async def test_a_client_that_takes_no_answer_to_its_handshake_is_given_up(autojump_clock: object) -> None:
    client, server = network(capacity=20).pair()
    request = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    start = trio.current_time()
    async with no_leaks(), trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, request + b"Sec-WebSocket-Key: " + b"A" * 22 + b"==\r\n\r\n")
        with pytest.raises(ConnectionEnded, match="handshake took more than 10 s"):
            async with server_wire(server):
                raise AssertionError("it must not open")
    assert trio.current_time() - start == 10
    await client.aclose()


async def test_statistics_count_both_ways(autojump_clock: object) -> None:
    async with joined(network(capacity=1000).pair()) as (ours, peer):
        before = ours.wire.statistics()
        await peer.say_text("one")
        await peer.say_text("two")
        ours.post(bytes(3000))
        await trio.testing.wait_all_tasks_blocked()
        after = ours.wire.statistics()
        assert after.messages_in - before.messages_in == after.inbox == 2
        assert after.bytes_in - before.bytes_in == 2 * (3 + 6)
        assert after.bytes_out - before.bytes_out == 1000
        assert await ours.wire.receive() == b"one"
        assert ours.wire.statistics().inbox == 1
