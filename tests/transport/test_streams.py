from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
import trustme

from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.limits import Limits
from agentwire.transport.streams import (
    SlicedByteStream,
    SocketByteStream,
    TlsByteStream,
    close_now,
    peer_name,
    send_with_progress,
)


@asynccontextmanager
async def tcp_pair() -> AsyncGenerator[tuple[SocketByteStream, SocketByteStream]]:
    """Two ends of a loopback connection."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(20):
        async with listener:
            client = await trio.open_tcp_stream(*listener.socket.getsockname())
            server = await listener.accept()
        async with client, server:
            yield SocketByteStream(client), SocketByteStream(server)


async def stream_pair() -> tuple[SocketByteStream, SocketByteStream]:
    left, right = trio.socket.socketpair()
    return SocketByteStream(trio.SocketStream(left)), SocketByteStream(trio.SocketStream(right))


async def clogged_stream_pair() -> tuple[SocketByteStream, SocketByteStream]:
    pair = await stream_pair()
    for end in pair:
        while end.send_nowait(b"x" * 65536):
            pass
    return pair


@pytest.mark.socket
async def test_a_socket_stream_keeps_trios_contract() -> None:
    await trio.testing.check_half_closeable_stream(stream_pair, clogged_stream_pair)


async def test_a_sliced_stream_keeps_trios_contract() -> None:
    async def make() -> tuple[SlicedByteStream, SlicedByteStream]:
        left, right = trio.testing.memory_stream_pair()
        return SlicedByteStream(left, slice_bytes=3), SlicedByteStream(right, slice_bytes=3)

    async def make_clogged() -> tuple[SlicedByteStream, SlicedByteStream]:
        left, right = trio.testing.lockstep_stream_pair()
        return SlicedByteStream(left, slice_bytes=3), SlicedByteStream(right, slice_bytes=3)

    await trio.testing.check_half_closeable_stream(make, None)
    await trio.testing.check_two_way_stream(make_clogged, make_clogged)


@pytest.mark.socket
async def test_send_nowait_says_how_much_was_taken_and_0_when_full() -> None:
    async with tcp_pair() as (ours, theirs):
        assert ours.send_nowait(b"hello") == 5
        assert ours.send_nowait(memoryview(b"xyz")[1:]) == 2
        sent = 7
        while taken := ours.send_nowait(bytes(1 << 20)):
            sent += taken
        received = 0
        while received < sent:
            received += len(await theirs.receive_some())
        assert received == sent


@pytest.mark.socket
async def test_wait_send_waits_for_room_and_counts_what_it_wrote() -> None:
    async with tcp_pair() as (ours, theirs):
        counted = 0
        while taken := ours.send_nowait(bytes(1 << 20)):
            counted += taken
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                nonlocal counted
                counted += await ours.wait_send(bytes(1 << 20))
                await ours.send_eof()

            nursery.start_soon(write)
            await trio.testing.wait_all_tasks_blocked()
            received = 0
            while data := await theirs.receive_some():
                received += len(data)
        assert received == counted


@pytest.mark.socket
async def test_a_cancelled_wait_send_has_written_nothing() -> None:
    async with tcp_pair() as (ours, theirs):
        counted = 0
        for turn in range(200):
            with trio.CancelScope() as scope:
                if turn % 3 == 0:
                    scope.cancel(reason="before it begins")
                elif turn % 3 == 1:
                    scope.deadline = trio.current_time() + 0.001
                counted += await ours.wait_send(bytes(100_000)) if turn % 3 < 2 else ours.send_nowait(bytes(10_000))
        await ours.send_eof()
        received = 0
        while data := await theirs.receive_some():
            received += len(data)
        assert received == counted > 0


@pytest.mark.socket
async def test_wait_send_is_one_checkpoint_and_nothing_for_nothing() -> None:
    async with tcp_pair() as (ours, _):
        with trio.testing.assert_checkpoints():
            assert await ours.wait_send(b"a") == 1
        with trio.testing.assert_checkpoints():
            assert await ours.wait_send(b"") == 0


@pytest.mark.socket
async def test_a_reset_is_a_broken_stream() -> None:
    async with tcp_pair() as (ours, theirs):
        theirs._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await theirs.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await ours.receive_some()
        with pytest.raises(trio.BrokenResourceError, match="the peer is gone"):
            ours.send_nowait(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await ours.wait_send(b"x")


@pytest.mark.socket
async def test_a_closed_stream_says_so_also_to_who_waits() -> None:
    async with tcp_pair() as (ours, _):
        while ours.send_nowait(bytes(1 << 20)):
            pass
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                with trio.CancelScope(shield=True), pytest.raises(trio.ClosedResourceError):
                    await ours.wait_send(b"x")

            nursery.start_soon(write)
            await trio.testing.wait_all_tasks_blocked()
            await close_now(ours)
        with pytest.raises(trio.ClosedResourceError):
            ours.send_nowait(b"x")


@pytest.mark.socket
async def test_the_peer_has_a_name() -> None:
    async with tcp_pair() as (ours, theirs):
        port = theirs._socket.getsockname()[1]
        assert ours.peer == f"127.0.0.1:{port}"
        assert not ours.is_unix
    left, right = socket.socketpair()
    with trio.socket.from_stdlib_socket(left) as ends, right:
        assert peer_name(ends) == "unix:"
    with trio.socket.socket() as unconnected:
        assert peer_name(unconnected) == "unknown"
    with contextlib.suppress(OSError):
        (listener,) = await trio.open_tcp_listeners(0, host="::1")
        async with listener, await trio.open_tcp_stream("::1", listener.socket.getsockname()[1]) as six:
            assert peer_name(six.socket).startswith("[::1]:")


async def test_a_sliced_stream_takes_nothing_at_once_and_one_slice_at_a_time() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = SlicedByteStream(ours, slice_bytes=4)
    assert stream.send_nowait(b"abcdef") == 0
    assert await stream.wait_send(b"abcdef") == 4
    assert await theirs.receive_some() == b"abcd"
    await stream.send_eof()
    with pytest.raises(trio.ClosedResourceError):
        await stream.wait_send(b"more")


async def test_a_stream_without_half_close_just_sends_no_more() -> None:
    class Whole(trio.abc.Stream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            raise AssertionError("sent after the end")

        async def wait_send_all_might_not_block(self) -> None:
            await trio.lowlevel.checkpoint()

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            return b""

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    stream = SlicedByteStream(Whole(), slice_bytes=4)
    await stream.wait_send_all_might_not_block()
    with trio.testing.assert_checkpoints():
        await stream.send_eof()
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"more")


@pytest.mark.socket
async def test_tls_sends_whole_slices_and_ends_below() -> None:
    authority = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    async with tcp_pair() as (ours, theirs):
        secure = TlsByteStream(
            trio.SSLStream(ours, server_context, server_side=True, https_compatible=True), slice_bytes=1000
        )
        client = trio.SSLStream(theirs, client_context, server_hostname="localhost", https_compatible=True)
        assert secure.peer == ours.peer
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, b"hi")
            assert await secure.receive_some() == b"hi"
        assert secure.send_nowait(b"x") == 0
        assert await secure.wait_send(bytes(2500)) == 1000
        received = 0
        while received < 1000:
            received += len(await client.receive_some())
        await secure.send_eof()
        assert await client.receive_some() == b""


async def test_a_peer_that_takes_nothing_is_cut_off_at_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    stream = SlicedByteStream(ours, slice_bytes=1000)
    began = trio.current_time()
    with pytest.raises(ConnectionEnded, match="took nothing for 30 s"):
        await send_with_progress(stream, bytes(5000), Limits(write_progress=30))
    assert trio.current_time() - began == pytest.approx(30)
    with pytest.raises(trio.ClosedResourceError):
        await ours.receive_some()
    await theirs.aclose()


async def test_a_peer_that_is_merely_slow_lives(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    stream = SlicedByteStream(ours, slice_bytes=100)
    received = b""
    sent = os.urandom(1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_with_progress, stream, sent, Limits())
        while len(received) < 1000:
            await trio.sleep(29)
            received += await theirs.receive_some(100)
    assert received == sent


async def test_cancelling_takes_effect_between_writes_never_within_one(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    stream = SlicedByteStream(ours, slice_bytes=100)
    received = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_with_progress, stream, bytes(1000), Limits())
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel(reason="enough")
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
            received += await theirs.receive_some(100)
            await trio.testing.wait_all_tasks_blocked()
    assert len(received) == 100


@pytest.mark.parametrize("error", [trio.BrokenResourceError, trio.ClosedResourceError])
async def test_the_end_of_the_stream_is_the_end_of_the_connection(error: type[Exception]) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await (theirs if error is trio.BrokenResourceError else ours).aclose()
    with pytest.raises(ConnectionEnded):
        await send_with_progress(SlicedByteStream(ours, slice_bytes=9), b"x", Limits())
