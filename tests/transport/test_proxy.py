"""Which proxy the environment names, and what goes through it, over real sockets on this machine."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
import trustme

from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.limits import Limits
from agentwire.testing import no_leaks
from agentwire.transport.dial import ConnectFailed, dial_tcp
from agentwire.transport.http11 import HttpConnection
from agentwire.transport.http_client import open_http_client
from agentwire.transport.listen import accept_loop, open_listeners
from agentwire.transport.proxy import Proxy, is_this_machine
from agentwire.transport.requests import Request
from agentwire.transport.streams import NetworkStream
from tests.transport.kit import loopback


@pytest.mark.parametrize(
    ("environment", "scheme", "found"),
    [
        ({}, "http", None),
        ({"HTTP_PROXY": "http://a:1"}, "http", ("a", 1)),
        ({"HTTP_PROXY": "http://a:1"}, "https", None),
        ({"https_proxy": "a:1"}, "https", ("a", 1)),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:2"}, "https", ("b", 2)),
        ({"https_proxy": "", "HTTPS_PROXY": "http://a:1"}, "https", None),
        ({"ALL_PROXY": "http://a"}, "https", ("a", 80)),
        ({"ALL_PROXY": "http://a", "http_proxy": "http://b"}, "http", ("b", 80)),
        ({"HTTP_PROXY": "http://a", "REQUEST_METHOD": "GET"}, "http", None),
        ({"http_proxy": "http://a", "REQUEST_METHOD": "GET"}, "http", ("a", 80)),
        ({"HTTP_PROXY": "http://a", "NO_PROXY": "*"}, "http", None),
        ({"HTTP_PROXY": "http://a", "NO_PROXY": "x, .example.com"}, "http", None),
        ({"HTTP_PROXY": "http://a", "NO_PROXY": "*.EXAMPLE.com"}, "http", None),
        ({"HTTP_PROXY": "http://a", "no_proxy": "api.example.com:80"}, "http", None),
        ({"HTTP_PROXY": "http://a", "no_proxy": "api.example.com:81,, ample.com"}, "http", ("a", 80)),
    ],
)
def test_the_environments_proxy(environment: dict[str, str], scheme: str, found: tuple[str, int] | None) -> None:
    proxy = Proxy.from_environment(scheme, "api.example.com", 80, environment)
    assert (None if proxy is None else (proxy.host, proxy.port)) == found


@pytest.mark.parametrize(
    ("host", "exceptions", "asked"),
    [
        ("10.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", False),
        ("10.1.2.3", "10.1.2.3:80", False),
        ("10.1.2.3", "10.1.2.3:81", True),
        ("10.1.2.3", "192.168.0.0/16,1.2.3,example.com,fe80::/10", True),
        ("fe80::1", "fe80::/10", False),
        ("fe80::1", "fe80::1", False),
        ("fe80::1", "[fe80::1]:80", False),
        ("fe80::1", "[fe80::1]:81", True),
        ("localhost", "", False),
        ("127.8.8.8", "", False),
        ("::1", "", False),
    ],
)
def test_addresses_that_need_no_proxy(host: str, exceptions: str, asked: bool) -> None:
    environment = {"http_proxy": "http://a", "no_proxy": exceptions}
    assert (Proxy.from_environment("http", host, 80, environment) is not None) is asked
    assert is_this_machine(host) is (host in ("localhost", "127.8.8.8", "::1"))


def test_a_proxy_of_another_kind_is_no_silent_detour() -> None:
    with pytest.raises(ValueError, match=r"the URL of a proxy must begin with http://"):
        Proxy.from_environment("https", "example.com", 443, {"ALL_PROXY": "socks5://a:1080"})


def test_credentials_are_not_shown() -> None:
    proxy = Proxy.parse("https://user:secret@proxy.example")
    assert (proxy.port, proxy.tls is not None) == (443, True)
    assert proxy.credentials.startswith("Basic ")
    assert proxy.credentials not in repr(proxy)


# Through one


@asynccontextmanager
async def tunnelling(answer: bytes, heads: list[bytes]) -> AsyncGenerator[int]:
    """A proxy that notes what it is asked, answers with this, and connects if that is a 200; its port."""

    async def handle(stream: NetworkStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        heads.append(head)
        if answer:
            await stream.send_all(answer)
        if answer.endswith(b" 200 Connected\r\n\r\n"):
            await _join(stream, int(head.split()[1].rpartition(b":")[2]))

    with trio.fail_after(20):
        async with await open_listeners("127.0.0.1") as listening, trio.open_nursery() as nursery:
            nursery.start_soon(lambda: accept_loop(listening, handle, nursery=nursery, limits=Limits()))
            assert listening.port is not None
            yield listening.port
            nursery.cancel_scope.cancel(reason="the test is over")


async def _join(stream: NetworkStream, port: int) -> None:
    async def copy(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
        async for data in source:
            await sink.send_all(data)
        nursery.cancel_scope.cancel(reason="one side has ended")

    async with await trio.open_tcp_stream("127.0.0.1", port) as onward, trio.open_nursery() as nursery:
        nursery.start_soon(copy, stream, onward)
        nursery.start_soon(copy, onward, stream)


async def name(connection: HttpConnection, request: Request) -> None:
    shown = {"target": request.target, "headers": dict(request.headers)}
    await connection.respond(200, {}, json.dumps(shown).encode())


@pytest.mark.socket
async def test_https_goes_through_a_tunnel() -> None:
    authority, heads = trustme.CA(), list[bytes]()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("upstream.example").configure_cert(server_side)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    accept = b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 Connected\r\n\r\n"
    async with (
        loopback(name, listening=await open_listeners("127.0.0.1", tls=server_side)) as listening,
        tunnelling(accept, heads) as port,
    ):
        base = f"https://upstream.example:{listening.port}/v1"
        proxy = f"http://me:secret@127.0.0.1:{port}"
        async with open_http_client(base, limits=Limits(), tls=trusting, proxy=proxy) as client:
            shown = json.loads((await client.request("GET", "/models")).body)
        assert shown["target"] == "/v1/models"
        assert shown["headers"]["host"] == f"upstream.example:{listening.port}"
        assert "proxy-authorization" not in shown["headers"]
        lines = heads[0].split(b"\r\n")
        assert lines[0] == b"CONNECT upstream.example:%d HTTP/1.1" % (listening.port or 0)
        assert b"proxy-authorization: Basic bWU6c2VjcmV0" in lines


@pytest.mark.socket
@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
            "the proxy answered with HTTP 407",
        ),
        (b"", "the proxy has closed the connection"),
        (b"HTTP/1.1 200", "the proxy has closed the connection"),
        (b"SSH-2.0\r\n\r\n", "illegal status line"),
        (b"HTTP/1.1 200 OK\r\n\r\nearly", "more than it was asked"),
    ],
)
async def test_a_tunnel_that_is_refused(answer: bytes, cause: str) -> None:
    async with no_leaks(), tunnelling(answer, []) as port:
        proxy = Proxy("127.0.0.1", port)
        with pytest.raises(ConnectFailed, match=cause):
            await dial_tcp("x.example", 443, tls=ssl.create_default_context(), proxy=proxy, limits=Limits())
        async with open_http_client("https://x.example", limits=Limits(), proxy=f"http://127.0.0.1:{port}") as client:
            with pytest.raises(ConnectionEnded, match=f"https://x.example: .*{cause}"):
                await client.request("GET", "/")
            assert client.statistics().busy == client.statistics().dialling == 0


@pytest.mark.socket
async def test_cancelling_a_tunnel_leaves_nothing() -> None:
    asked = trio.Event()

    async def silent(stream: NetworkStream) -> None:
        await stream.receive_some()
        asked.set()
        await stream.receive_some()

    with trio.fail_after(20):
        async with no_leaks(), await open_listeners("127.0.0.1") as listening, trio.open_nursery() as nursery:
            nursery.start_soon(lambda: accept_loop(listening, silent, nursery=nursery, limits=Limits()))

            async def dial() -> None:
                await dial_tcp("x.example", 1, proxy=Proxy("127.0.0.1", listening.port or 0), limits=Limits())

            nursery.start_soon(dial)
            await asked.wait()
            nursery.cancel_scope.cancel(reason="the test is over")


@pytest.mark.socket
async def test_http_names_the_whole_url_to_the_proxy() -> None:
    async with loopback(name) as listening:
        proxy = listening.url("http").replace("://", "://me:secret@")
        async with open_http_client("http://upstream.example/v1", limits=Limits(), proxy=proxy) as client:
            shown = json.loads((await client.request("GET", "/models")).body)
    assert shown["target"] == "http://upstream.example/v1/models"
    assert shown["headers"]["host"] == "upstream.example"
    assert shown["headers"]["proxy-authorization"] == "Basic bWU6c2VjcmV0"
