"""Connecting, over real sockets on this machine."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
import trustme

from agentwire.protocol.limits import Limits
from agentwire.testing import no_leaks
from agentwire.transport.dial import ConnectFailed, dial_tcp, dial_unix

pytestmark = pytest.mark.socket

LIMITS = Limits(handshake=10)


async def _echo(stream: trio.abc.Stream) -> None:
    async with stream:
        async for data in stream:
            await stream.send_all(data)


async def _say_nothing(_: trio.abc.Stream) -> None:
    await trio.sleep_forever()


async def _port(nursery: trio.Nursery, handler: object = _echo) -> int:
    listeners = await nursery.start(trio.serve_tcp, handler, 0)
    port: int = listeners[0].socket.getsockname()[1]
    return port


async def test_tcp_by_name() -> None:
    with trio.fail_after(30):
        async with no_leaks(), trio.open_nursery() as nursery:
            port = await _port(nursery)
            stream = await dial_tcp("localhost", port, limits=LIMITS)
            async with stream:
                await stream.wait_send(b"hello")
                assert await stream.receive_some() == b"hello"
                assert stream.peer.endswith(f":{port}")
            nursery.cancel_scope.cancel(reason="the test is over")


@pytest.mark.parametrize("trusted", [True, False])
async def test_tls_asks_for_a_trusted_name(trusted: bool) -> None:
    authority = trustme.CA()
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_side)
    client_side = ssl.create_default_context()
    if trusted:
        authority.configure_trust(client_side)

    async def serve(stream: trio.SocketStream) -> None:
        secure = trio.SSLStream(stream, server_side, server_side=True, https_compatible=True)
        try:
            await _echo(secure)
        except trio.BrokenResourceError:
            assert not trusted

    with trio.fail_after(30):
        async with no_leaks(), trio.open_nursery() as nursery:
            port = await _port(nursery, serve)
            if trusted:
                async with await dial_tcp("localhost", port, tls=client_side, limits=LIMITS) as stream:
                    await stream.wait_send(b"hello")
                    assert await stream.receive_some() == b"hello"
            else:
                with pytest.raises(ConnectFailed, match=r"no TLS: .*certificate verify failed"):
                    await dial_tcp("localhost", port, tls=client_side, limits=LIMITS)
            nursery.cancel_scope.cancel(reason="the test is over")


async def test_a_peer_that_never_shakes_hands_is_given_up() -> None:
    with trio.fail_after(30):
        async with no_leaks(), trio.open_nursery() as nursery:
            port = await _port(nursery, _say_nothing)
            with pytest.raises(ConnectFailed, match=r"cannot connect to localhost:\d+: no success within 0.05 s"):
                await dial_tcp("localhost", port, tls=ssl.create_default_context(), limits=Limits(handshake=0.05))
            nursery.cancel_scope.cancel(reason="the test is over")


async def test_refusals_say_where_and_why(tmp_path: Path) -> None:
    with trio.fail_after(30):
        with trio.socket.socket() as sock:
            await sock.bind(("127.0.0.1", 0))  # bound, not listening: nobody else can take the port
            port = sock.getsockname()[1]
            with pytest.raises(ConnectFailed, match=f"cannot connect to 127.0.0.1:{port}: Connection refused"):
                await dial_tcp("127.0.0.1", port, limits=LIMITS)
        with pytest.raises(ConnectFailed, match=r"no-such\.sock: No such file"):
            await dial_unix(str(tmp_path / "no-such.sock"), limits=LIMITS)
        with pytest.raises(ConnectFailed, match="cannot connect to name"):
            await dial_tcp("name.invalid", 1, limits=LIMITS)


async def test_unix_sockets(tmp_path: Path) -> None:
    path = tmp_path / "s"
    sock = trio.socket.socket(trio.socket.AF_UNIX)
    await sock.bind(str(path))
    sock.listen(1)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, _echo, [trio.SocketListener(sock)])
            async with await dial_unix(str(path), limits=LIMITS) as stream:
                await stream.wait_send(b"hello")
                assert await stream.receive_some() == b"hello"
                assert stream.peer == f"unix:{path}"
            nursery.cancel_scope.cancel(reason="the test is over")
