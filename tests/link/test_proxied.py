"""A line through a proxy: the WebSocket and plain HTTP take the same tunnel, to a real server over real sockets."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trustme

from agentwire.engines import Text, Turn, scripted
from agentwire.link import Line, open_line
from agentwire.protocol.errors import LocalProtocolError
from agentwire.server import Server, serve
from agentwire.testing import no_leaks
from agentwire.transport.dial import ConnectFailed
from tests.link.lines import say
from tests.transport.test_proxy import tunnelling

CONNECTED = b"HTTP/1.1 200 Connected\r\n\r\n"
REFUSED = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"


@asynccontextmanager
async def serving(name: str) -> AsyncGenerator[tuple[Server, ssl.SSLContext]]:
    """A server over TLS under a name that only the proxy can resolve, and trust in it."""
    authority, own = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(own)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def start(*, task_status: trio.TaskStatus[Server]) -> None:
        await serve(scripted(Turn(Text("Hello."))), tls=own, allowed_hosts=[name], task_status=task_status)

    with trio.fail_after(30):
        async with no_leaks(), trio.open_nursery() as nursery:
            yield await nursery.start(start), trusting
            nursery.cancel_scope.cancel(reason="the test is over")


def lined(port: int, **arguments: Any) -> Any:
    return open_line(f"https://wire.example:{port}/v1", key="", **arguments)


@pytest.mark.socket
@pytest.mark.parametrize("transport", ["websocket", "http"])
@pytest.mark.parametrize("how", ["argument", "environment"])
async def test_both_go_through_the_proxy(monkeypatch: pytest.MonkeyPatch, transport: str, how: str) -> None:
    heads: list[bytes] = []
    async with serving("wire.example") as (server, trust), tunnelling(CONNECTED, heads) as port:
        proxy = f"http://me:secret@127.0.0.1:{port}"
        arguments = {"proxy": proxy} if how == "argument" else {}
        if how == "environment":
            monkeypatch.setenv("HTTPS_PROXY", proxy)
        line: Line
        at = int(server.url.rpartition(":")[2].partition("/")[0])
        async with lined(at, tls=trust, transport=transport, **arguments) as line:
            assert await say(line) == "Hello."
            assert line.current.remembers is (transport == "websocket")
        lines = heads[0].split(b"\r\n")
        assert lines[0] == b"CONNECT wire.example:%d HTTP/1.1" % at
        assert b"proxy-authorization: Basic bWU6c2VjcmV0" in lines


@pytest.mark.socket
async def test_a_proxy_that_refuses_is_named() -> None:
    async with no_leaks(), tunnelling(REFUSED, []) as port:
        with pytest.raises(ConnectFailed, match=r"wire\.example:1: the proxy answered with HTTP 407"):
            async with lined(1, proxy=f"http://127.0.0.1:{port}"):
                raise AssertionError("it must not open")


async def test_no_proxy_where_the_environment_excepts_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "invalid")
    with pytest.raises(ConnectFailed) as caught:
        async with open_line("https://wire.invalid/v1", key=""):
            raise AssertionError("it must not open")
    assert "127.0.0.1" not in str(caught.value)
    assert "refused" not in caught.value.cause


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "http://"])
async def test_what_is_no_proxy_is_refused(proxy: str) -> None:
    with pytest.raises(LocalProtocolError, match="the URL of a proxy"):
        async with open_line("https://wire.example/v1", key="", proxy=proxy):
            raise AssertionError("it must not open")


@pytest.mark.socket
async def test_plain_http_goes_on_through_a_proxy_that_tunnels_only_tls() -> None:
    heads: list[bytes] = []
    async with no_leaks(), tunnelling(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", heads) as port:
        async with open_line("http://wire.example/v1", key="", proxy=f"http://127.0.0.1:{port}") as line:
            assert not line.current.remembers
        with pytest.raises(ConnectFailed, match="HTTP 403"):
            async with open_line("https://wire.example/v1", key="", proxy=f"http://127.0.0.1:{port}"):
                raise AssertionError("it must not open")
    assert [head.split()[:2] for head in heads] == [[b"CONNECT", b"wire.example:80"], [b"CONNECT", b"wire.example:443"]]


@pytest.mark.socket
async def test_a_certificate_that_nobody_trusts_is_so_for_good() -> None:
    async with serving("localhost") as (server, _):
        port = server.url.rpartition(":")[2].partition("/")[0]
        with pytest.raises(ConnectFailed, match="certificate") as caught:
            async with open_line(f"https://localhost:{port}/v1", key="", tls=ssl.create_default_context()):
                raise AssertionError("it must not open")
        assert caught.value.final
