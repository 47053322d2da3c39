from __future__ import annotations

import errno
import logging
import resource
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.limits import Limits
from agentwire.transport.http11 import HttpConnection
from agentwire.transport.listen import Handler, Listening, accept_loop, open_listeners
from agentwire.transport.requests import Request
from agentwire.transport.streams import NetworkStream, TlsByteStream
from tests.transport.kit import Peer, loopback

pytestmark = pytest.mark.socket

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


async def hello(connection: HttpConnection, request: Request) -> None:
    await connection.respond(200, {}, b"hello")


async def echo(stream: NetworkStream) -> None:
    while data := await stream.receive_some():
        await stream.send_all(data)


@asynccontextmanager
async def accepting(
    handler: Handler, listening: Listening | None = None, limits: Limits | None = None
) -> AsyncGenerator[Listening]:
    listening = listening or await open_listeners("127.0.0.1")
    with trio.fail_after(20):
        async with listening, trio.open_nursery() as nursery:
            nursery.start_soon(
                lambda: accept_loop(listening, handler, nursery=nursery, limits=limits or Limits()), name="accept loop"
            )
            yield listening
            nursery.cancel_scope.cancel(reason="the test is over")


async def dial(listening: Listening) -> trio.SocketStream:
    return await trio.open_tcp_stream(*listening.addresses[0])


async def dial_tls(listening: Listening, authority: trustme.CA) -> trio.SSLStream[trio.SocketStream]:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return await trio.open_ssl_over_tcp_stream(*listening.addresses[0], ssl_context=trusting, https_compatible=True)


async def until(listening: Listening, **expected: int) -> None:
    """Wait until the counts are these."""
    while any(getattr(listening.statistics(), name) != value for name, value in expected.items()):  # noqa: ASYNC110
        await trio.sleep(0.001)


def reset(stream: trio.SocketStream) -> None:
    """Close with an RST."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stream.socket.close()


# Where it listens


async def test_a_url_is_where_a_client_finds_it() -> None:
    async with await open_listeners("127.0.0.1") as listening:
        assert listening.port
        assert listening.addresses == (("127.0.0.1", listening.port),)
        assert listening.url("ws") == f"ws://127.0.0.1:{listening.port}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    async with await open_listeners("0.0.0.0", tls=context) as listening:
        assert listening.url("http") == f"https://127.0.0.1:{listening.port}"


async def test_a_url_has_ipv6_in_brackets() -> None:
    class Six:
        family = socket.AF_INET6

        def getsockname(self) -> tuple[str, int, int, int]:
            return ("::1", 81, 0, 0)

        def close(self) -> None:
            pass

    listening = Listening((Six(),))  # type: ignore[arg-type]
    assert listening.url("ws") == "ws://[::1]:81"
    await listening.aclose()


async def test_a_unix_socket_is_served_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "wire.sock"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # without a certificate: of no use here, and not used
    listening = await open_listeners(None, unix_path=path, tls=context)
    assert listening.port is None
    assert listening.url("ws") == f"unix:{path}"
    peers = []

    async def handler(stream: NetworkStream) -> None:
        peers.append(stream.peer)
        await echo(stream)

    async with accepting(handler, listening), await trio.open_unix_socket(path) as client:
        await client.send_all(b"hi")
        assert await client.receive_some() == b"hi"
    assert peers == [f"unix:{path}"]
    assert not path.exists()


async def test_a_unix_socket_that_was_replaced_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "wire.sock"
    listening = await open_listeners(None, unix_path=path)
    path.unlink()
    path.write_text("somebody else's")
    await listening.aclose()
    assert path.read_text() == "somebody else's"
    await listening.aclose()


async def test_tcp_and_unix_may_be_served_together(tmp_path: Path) -> None:
    path = tmp_path / "wire.sock"
    async with (
        accepting(echo, await open_listeners("127.0.0.1", unix_path=path)) as listening,
        await dial(listening) as one,
        await trio.open_unix_socket(path) as other,
    ):
        for client in (one, other):
            await client.send_all(b"hi")
            assert await client.receive_some() == b"hi"


async def test_there_must_be_somewhere_to_listen() -> None:
    with pytest.raises(ValueError, match="name a host or a Unix socket"):
        await open_listeners(None)


async def test_a_failure_leaves_nothing_open(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(OSError, match="cannot listen on"):
        await open_listeners("127.0.0.1", port, unix_path=tmp_path / "missing" / "wire.sock")
    async with await open_listeners("127.0.0.1", port) as listening:
        assert listening.port == port


# Accepting


async def test_the_loop_ends_when_the_listeners_are_closed_and_connections_go_on() -> None:
    listening = await open_listeners("127.0.0.1")
    (address,) = listening.addresses
    with trio.fail_after(20):
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as loop:
                loop.start_soon(lambda: accept_loop(listening, echo, nursery=connections, limits=Limits()))
                client = await dial(listening)
                await until(listening, open=1)
                await listening.aclose()
            await client.send_all(b"still here")
            assert await client.receive_some() == b"still here"
            await client.aclose()
    assert listening.statistics().open == 0
    with pytest.raises(OSError, match="failed"):
        await trio.open_tcp_stream(*address)


class Boom(Exception):
    pass


async def nested(stream: NetworkStream) -> None:
    async def fail() -> None:
        raise Boom

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        nursery.start_soon(fail)


async def plain(stream: NetworkStream) -> None:
    raise Boom


async def closed_by_itself(stream: NetworkStream) -> None:
    await stream.aclose()
    raise UnicodeDecodeError("ascii", b"\xe4", 0, 1, "a library's own failure")


@pytest.mark.parametrize("handler", [nested, plain, closed_by_itself])
async def test_a_handler_that_fails_ends_its_connection_alone(
    handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    async def sometimes(stream: NetworkStream) -> None:
        if await stream.receive_some(1) == b"!":
            await handler(stream)
        await stream.send_all(b"well")

    async with accepting(sometimes) as listening:
        async with await dial(listening) as healthy:
            for _ in range(3):
                async with await dial(listening) as client:
                    await client.send_all(b"!")
                    assert await client.receive_some() == b""
            await until(listening, failed=3)
            await healthy.send_all(b"?")
            assert await healthy.receive_some() == b"well"
        await until(listening, open=0)
        assert listening.statistics().accepted == 4
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3


async def test_a_connection_that_ended_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def end(stream: NetworkStream) -> None:
        raise ConnectionEnded(cause="gone")

    caplog.set_level(logging.DEBUG, "agentwire.transport")
    async with accepting(end) as listening:
        async with await dial(listening) as client:
            assert await client.receive_some() == b""
        await until(listening, accepted=1, open=0)
        assert listening.statistics().failed == 0
    assert "connection ended: gone" in caplog.text


async def test_a_failure_while_the_server_is_cancelled_stays_with_its_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def stubborn(stream: NetworkStream) -> None:
        async def fail() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise Boom

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)

    async with accepting(stubborn) as listening, await dial(listening):
        await until(listening, open=1)
    assert listening.statistics().failed == 1
    assert listening.statistics().open == 0


async def test_a_hundred_resets_leave_the_server_well() -> None:
    async with loopback(hello) as listening:
        for turn in range(100):
            client = await dial(listening)
            if turn % 3:
                await client.send_all([GET[:7], GET, GET * 50][turn % 3])
            reset(client)
        async with await dial(listening) as client:
            assert (await Peer(client).ask(GET)).body == b"hello"
        await until(listening, accepted=101, open=0)
        assert listening.statistics().failed == 0


async def test_a_reset_in_the_middle_of_a_body_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    reading = trio.Event()

    async def read(connection: HttpConnection, request: Request) -> None:
        reading.set()
        await connection.read_body()

    async with loopback(read) as listening:
        client = await dial(listening)
        await client.send_all(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nabc")
        await reading.wait()
        reset(client)
        await until(listening, accepted=1, open=0)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_refused_upload_can_read_why_on_a_real_socket() -> None:
    async def refuse(connection: HttpConnection, request: Request) -> None:
        await connection.respond(401, {}, b"no key")

    async with loopback(refuse) as listening:
        for _ in range(5):
            client = await dial(listening)
            async with client, trio.open_nursery() as nursery:

                async def upload(client: trio.SocketStream = client) -> None:
                    await client.send_all(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9000000\r\n\r\n")
                    for _ in range(30):
                        await client.send_all(bytes(100_000))

                nursery.start_soon(upload)
                reply = await Peer(client).reply()
            assert (reply.status, reply.body) == (401, b"no key")


async def test_sse_over_a_real_socket_notices_the_peers_end_while_it_waits() -> None:
    cancelled = trio.Event()

    async def stream(connection: HttpConnection, request: Request) -> None:
        await connection.start_stream(200, {"content-type": "text/event-stream"}, b"data: 1\n\n")

        async def produce() -> None:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                cancelled.set()
                raise

        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce)
            cause = await connection.wait_disconnect()
            await connection.abort(cause)
            nursery.cancel_scope.cancel(reason=cause)

    for leave in (reset, lambda client: client.socket.close()):
        cancelled = trio.Event()
        async with loopback(stream) as listening:
            client = await dial(listening)
            await client.send_all(GET)
            assert b"data: 1" in await client.receive_some()
            with trio.fail_after(5):
                leave(client)
                await cancelled.wait()
            await until(listening, open=0)
            assert listening.statistics().failed == 0


# Shortages


async def test_the_loop_outlives_a_shortage_of_descriptors(caplog: pytest.LogCaptureFixture) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with accepting(echo, limits=Limits(accept_pause=0.01)) as listening, await dial(listening) as client:
        await until(listening, open=1)
        waiting = socket.socket()
        waiting.setblocking(False)
        resource.setrlimit(resource.RLIMIT_NOFILE, (waiting.fileno() + 1, hard))
        try:
            assert waiting.connect_ex(listening.addresses[0]) in (0, errno.EINPROGRESS)
            while listening.statistics().not_accepted < 3:  # noqa: ASYNC110
                await trio.sleep(0.001)
            await client.send_all(b"still here")
            assert await client.receive_some() == b"still here"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await until(listening, accepted=2)
        waiting.close()
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "cannot accept a connection: Too many open files" in caplog.text


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPERM, errno.ENFILE])
async def test_the_loop_outlives_any_error_of_accept(number: int, autojump_clock: trio.testing.MockClock) -> None:
    class Failing:
        family = socket.AF_INET
        calls = 0

        async def accept(self) -> tuple[trio.socket.SocketType, object]:
            await trio.lowlevel.checkpoint()
            self.calls += 1
            if self.calls > 5:
                raise trio.ClosedResourceError
            raise OSError(number, "no")

    failing = Failing()
    listening = Listening((failing,))  # type: ignore[arg-type]
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        await accept_loop(listening, echo, nursery=nursery, limits=Limits(accept_pause=1))
    assert listening.statistics().not_accepted == 5
    assert trio.current_time() - began == (0 if number == errno.ECONNABORTED else 5)


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


async def test_tls_is_agreed_on_before_the_handler(authority: trustme.CA, server_tls: ssl.SSLContext) -> None:
    streams = []

    async def handler(stream: NetworkStream) -> None:
        streams.append(stream)
        await echo(stream)

    listening = await open_listeners("127.0.0.1", tls=server_tls)
    async with accepting(handler, listening), await dial_tls(listening, authority) as client:
        await client.send_all(b"secret")
        assert await client.receive_some() == b"secret"
    assert isinstance(streams[0], TlsByteStream)


async def test_http_over_tls_has_streams_and_large_bodies(authority: trustme.CA, server_tls: ssl.SSLContext) -> None:
    async def double(connection: HttpConnection, request: Request) -> None:
        body = await connection.read_body()
        await connection.start_stream(200)
        for _ in range(2):
            await connection.send_chunk(body)
        await connection.end_stream()

    listening = await open_listeners("127.0.0.1", tls=server_tls)
    async with loopback(double, listening=listening), await dial_tls(listening, authority) as client:
        body = bytes(range(256)) * 2000
        head = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert (await Peer(client).ask(head, body)).body == body * 2


async def test_a_tls_refusal_can_be_read_by_a_client_that_still_uploads(
    authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    async def refuse(connection: HttpConnection, request: Request) -> None:
        await connection.respond(401, {}, b"no key")

    listening = await open_listeners("127.0.0.1", tls=server_tls)
    async with (
        loopback(refuse, listening=listening),
        await dial_tls(listening, authority) as client,
        trio.open_nursery() as nursery,
    ):

        async def upload() -> None:
            await client.send_all(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 900000\r\n\r\n")
            for _ in range(5):
                await client.send_all(bytes(100_000))

        nursery.start_soon(upload)
        assert (await Peer(client).reply()).body == b"no key"


async def test_who_cannot_agree_on_tls_is_turned_away(server_tls: ssl.SSLContext) -> None:
    async with accepting(echo, await open_listeners("127.0.0.1", tls=server_tls)) as listening:
        async with await dial(listening) as plain_client:
            await plain_client.send_all(GET)
            while await plain_client.receive_some():
                pass
        untrusting = trio.SSLStream(
            await dial(listening), ssl.create_default_context(), server_hostname="localhost", https_compatible=True
        )
        with pytest.raises(trio.BrokenResourceError):
            await untrusting.do_handshake()
        await trio.aclose_forcefully(untrusting)
        reset(await dial(listening))
        await until(listening, tls_failed=3, open=0)
        assert listening.statistics().failed == 0


async def test_a_tls_handshake_has_a_deadline(server_tls: ssl.SSLContext) -> None:
    listening = await open_listeners("127.0.0.1", tls=server_tls)
    async with accepting(echo, listening, Limits(handshake=0.05)):
        async with await dial(listening) as client:
            assert await client.receive_some() == b""
        await until(listening, tls_failed=1)
