"""The client and the real server over the system's sockets: TCP, TLS and Unix."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from agentwire.client import RunLost, connect
from agentwire.engines import Call, Text, Turn, scripted
from agentwire.protocol.limits import Limits
from agentwire.runtime.policies import Cancel
from agentwire.server import Server, serve
from agentwire.testing import no_leaks
from agentwire.transport.dial import ConnectFailed
from agentwire.transport.websocket import HandshakeRefused
from tests.transport.test_proxy import tunnelling

pytestmark = pytest.mark.socket

LIMITS = Limits(handshake=10, close_grace=5)


@asynccontextmanager
async def serving(**options: Any) -> AsyncGenerator[Server]:
    engine = scripted([Turn(Call("greet", {"name": "you"})), Turn(Text("Done."))])

    async def start(*, task_status: trio.TaskStatus[Server]) -> None:
        await serve(engine, limits=LIMITS, task_status=task_status, **options)

    with trio.fail_after(30):
        async with no_leaks(), trio.open_nursery() as nursery:
            server: Server = await nursery.start(start)
            yield server
            nursery.cancel_scope.cancel(reason="the test is over")


async def greet(name: str) -> str:
    return f"hello {name}"


async def roll(url: str, **options: Any) -> None:
    async with connect(url, limits=LIMITS, **options) as wire, wire.run("Go.", tools=[greet]) as run:
        assert (await run.finish()).output_text == "Done."
        assert [result.text for result in run.results.values()] == ["hello you"]


async def test_tcp() -> None:
    async with serving() as server:
        await roll(server.url)
        await roll(server.http_url)


async def test_tls() -> None:
    authority = trustme.CA()
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    authority.configure_trust(ours)
    async with serving(tls=theirs) as server:
        assert server.url.startswith("wss://")
        await roll(server.url, tls=ours)
        with pytest.raises(ConnectFailed, match="certificate verify failed"):
            await roll(server.url)


async def test_the_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    authority, heads = trustme.CA(), list[bytes]()
    theirs, ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("upstream.example").configure_cert(theirs)
    authority.configure_trust(ours)
    async with (
        serving(tls=theirs, allowed_hosts=["upstream.example"]) as server,
        tunnelling(b"HTTP/1.1 200 Connected\r\n\r\n", heads) as port,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{port}")
        where = f"upstream.example:{server.port}"
        await roll(f"https://{where}/v1", tls=ours)
    assert [head.split(b"\r\n")[0].decode() for head in heads] == [f"CONNECT {where} HTTP/1.1"]


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    async with serving(host=None, unix_path=path):
        await roll(f"ws+unix://{path}")


async def test_keys() -> None:
    async with serving(keys=["sk-right"]) as server:
        await roll(server.url, key="sk-right")
        with pytest.raises(HandshakeRefused, match="HTTP 401: This API key is not known here") as caught:
            await roll(server.url, key="sk-wrong")
        assert caught.value.status == 401


async def test_a_key_of_the_environment_serves_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTWIRE_API_KEY", "sk-right")
    async with serving(keys=["sk-right"]) as server:
        await roll(server.url)


async def test_a_server_that_vanishes_cancels_the_tools() -> None:
    reasons: list[str] = []
    vanish = trio.Event()

    async def wait() -> None:
        vanish.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            reasons.append(str(cancelled.reason))
            raise

    async def server_until(scope: trio.CancelScope, *, task_status: trio.TaskStatus[Server]) -> None:
        with scope:
            await serve(scripted(Turn(Call("wait", {}))), limits=LIMITS, task_status=task_status)

    with trio.fail_after(30):
        async with no_leaks(), trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            server: Server = await nursery.start(server_until, scope)
            async with (
                connect(server.url, limits=LIMITS, on_disconnect=Cancel()) as wire,
                wire.run("Go.", tools=[wait]) as run,
            ):
                await vanish.wait()
                scope.cancel(reason="the server vanishes")
                with pytest.raises(RunLost):
                    await run.finish()
    assert len(reasons) == 1
    assert reasons[0].startswith("the connection was lost: connection ended: ")
