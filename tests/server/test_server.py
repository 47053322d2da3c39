from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from trio.testing import MockClock

from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Ask, Finish, Out
from agentwire.runtime.wire_session import WireSession
from agentwire.server import Server, serve
from agentwire.testing import network, no_leaks
from tests.server.kit import Peer, eventually, on_loopback, serving


async def hello(ask: Ask, out: Out) -> None:
    await out.text("hello")


async def add(a: int, b: int) -> int:
    return a + b


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
async def test_the_network_needs_a_key(host: str) -> None:
    with pytest.raises(ValueError, match="without an API key"):
        await serve(hello, host=host)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"tools": [lambda x: x]}, LocalProtocolError, "no name for a tool"),
        ({"tools": [add, add]}, LocalProtocolError, "two tools"),
        ({"keys": ["no good"]}, ValueError, "visible ASCII"),
        ({"keys": "secret"}, TypeError, "several keys"),
        ({"host": None}, ValueError, "name a host"),
    ],
)
async def test_what_cannot_work_is_said_at_once(options: dict[str, Any], error: type[Exception], match: str) -> None:
    async with no_leaks():
        with pytest.raises(error, match=match):
            await serve(hello, **options)


@pytest.mark.socket
async def test_addresses() -> None:
    async with on_loopback(hello) as rig:
        port = rig.server.port
        assert rig.server.url == f"ws://127.0.0.1:{port}/v1"
        assert rig.server.http_url == f"http://127.0.0.1:{port}/v1"
        with pytest.raises(OSError, match="cannot listen on"):
            await serve(hello, port=port or 0)
        await (await rig.connect()).ask()


@pytest.mark.socket
async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "agentwire.sock"
    async with on_loopback(hello, host=None, unix_path=path) as rig:
        assert (rig.server.port, rig.server.url) == (None, f"unix:{path}/v1")
        stream = await trio.open_unix_socket(path)
        rig.streams.append(stream)
        peer = Peer(stream)
        await peer.shake_hands()
        await peer.ask()
        assert (await peer.close()).code == 1000
    assert not path.exists()


@pytest.mark.socket
@pytest.mark.parametrize("end", ["close", "reset", "stuck"])
async def test_tls(end: str) -> None:
    authority = trustme.CA()
    server_side, client_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server_side)
    authority.configure_trust(client_side)
    reasons: list[str] = []

    async def endless(ask: Ask, out: Out) -> None:
        try:
            while ask.model == "endless":
                await out.text("x" * 1000)
        except trio.Cancelled as cancelled:
            reasons.append(str(cancelled))
            raise

    async with on_loopback(endless, tls=server_side) as rig:
        assert rig.server.url.startswith("wss://127.0.0.1:")
        plain = await rig.dial()
        stream = trio.SSLStream(plain, client_side, server_hostname="localhost", https_compatible=True)
        peer = Peer(stream)
        await peer.shake_hands()
        await peer.ask()
        if end == "close":
            assert (await peer.close()).code == 1000
            await rig.gone()
            return
        await peer.create(model="endless")
        await trio.sleep(0.1)
        if end == "reset":
            await plain.aclose()  # unread bytes make a reset of it
            await rig.gone()
            assert len(reasons) == 1
    assert len(reasons) == 1  # stuck, it held up nothing


async def test_statistics(autojump_clock: MockClock) -> None:
    gate = trio.Event()

    async def engine(ask: Ask, out: Out) -> Finish:
        if ask.step == 0:
            await out.call("add", {"a": 1, "b": 2})
            await gate.wait()
        return Finish(Usage(5 * (ask.step + 1), ask.step))

    async with serving(engine, tools=[add]) as rig:
        peer = await rig.connect()
        for _ in range(3):
            await peer.create()
        await eventually(lambda: rig.server.statistics().queued == 2)
        shown = rig.server.statistics()
        assert (shown.connections, shown.sessions, shown.running, shown.queued) == (1, 1, 1, 2)
        assert not shown.draining
        gate.set()
        for _ in range(3):
            await peer.until()
        await peer.close()
        await rig.gone()
        shown = rig.server.statistics()
        assert (shown.connections, shown.sessions, shown.sessions_total) == (0, 0, 1)
        assert (shown.turns, shown.tool_calls) == ({"completed": 3}, 3)
        assert (shown.used, shown.used_by) == ({"completed": Usage(45, 3)}, {"anybody": Usage(45, 3)})
        assert shown.ended == {"closed by the client": 1}
        assert (shown.listening.accepted, shown.listening.failed) == (1, 0)


async def test_it_serves_any_listener_and_closes_it(autojump_clock: MockClock) -> None:
    nets = [network(), network()]
    async with no_leaks(), trio.open_nursery() as nursery:
        run = partial(serve, hello, host=None, listeners=[net.listener() for net in nets])
        server: Server = await nursery.start(run)
        for net in nets:
            peer = Peer(await net.connect())
            await peer.shake_hands()
            await peer.ask()
            await peer.stream.aclose()
        await eventually(lambda: not server.statistics().listening.open)
        nursery.cancel_scope.cancel(reason="the test is over")
    for net in nets:
        with pytest.raises(ConnectionRefusedError):
            await net.connect()


async def test_a_sessions_own_failure_is_not_the_servers(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(hello) as rig:
        peer, healthy = await rig.connect(), await rig.connect()

        def broken(*_: object) -> None:
            raise RuntimeError("our own fault")

        with monkeypatch.context() as patch:
            patch.setattr(WireSession, "_close_turn", broken)
            await peer.create()
            await peer.until()
            assert (await peer.read_on()).code == 1011  # the turn may close after its last event was read
        await healthy.ask()
    assert "our own fault" in caplog.text
