"""The HTTP clients themselves: blocking, under asyncio and under Trio, with a server in a thread of its own."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import ssl
import sys
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any

import httpx2
import pytest
import trio
import trustme

import agentwire
from agentwire.client.dropin import wire_statistics
from agentwire.client.dropin.library import find_library
from agentwire.engines.script import Delay, Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.runtime.contracts import Ask, Finish, Out
from tests.client.dropin.kit import types
from tests.client.threads import loops, serving

pytestmark = pytest.mark.socket

HELLO = scripted(Turn(Text("Hello.")))
Json = dict[str, Any]


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """A client that was closed has left no thread behind."""
    yield
    assert not loops()


def body(given: Any = "Hi.", **members: Any) -> Json:
    return {"model": "m", "input": given, **members}


def http(url: str) -> str:
    return url.replace("ws://", "http://")


class Patient:
    """An engine that begins, and waits for ever: when it was cancelled is known."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.cancelled = threading.Event()

    async def __call__(self, ask: Ask, out: Out) -> Finish:
        await out.text("Well, ")
        self.began.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()


def test_a_blocking_client_whole_and_streaming_and_what_is_no_turn() -> None:
    with serving(HELLO) as url, agentwire.http_client(url) as client:
        assert isinstance(client, httpx2.Client)
        whole = client.post(f"{http(url)}/responses", json=body())
        assert whole.json()["output"][0]["content"][0]["text"] == "Hello."
        with client.stream("POST", f"{http(url)}/responses", json=body(stream=True)) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            assert types(response.read())[-1] == "response.completed"
        assert client.get(f"{http(url)}/models").json()["object"] == "list"
        assert client.get(f"{http(url)}/responses/{whole.json()['id']}").json()["id"] == whole.json()["id"]
        assert client.post(f"{http(url)}/responses/input_tokens", json=body()).status_code in (200, 404)
        assert client.post(f"{http(url)}/responses", content=b"{").status_code == 400
        queued = client.post(f"{http(url)}/responses", json=body(background=True)).json()
        assert queued["status"] in ("queued", "in_progress", "completed")
        with pytest.raises(httpx2.HTTPStatusError, match="400"):
            client.post(f"{http(url)}/responses", json=body(temperature=9)).raise_for_status()
        assert wire_statistics(client).full == 3


@pytest.mark.parametrize("run", [asyncio.run, trio.run])
def test_a_client_of_coroutines(run: Any) -> None:
    async def main(url: str) -> None:
        async with agentwire.async_http_client(url) as client:
            assert isinstance(client, httpx2.AsyncClient)
            whole = await client.post(f"{http(url)}/responses", json=body())
            assert whole.json()["status"] == "completed"
            async with client.stream("POST", f"{http(url)}/responses", json=body(stream=True)) as response:
                assert types(await response.aread())[-1] == "response.completed"
            assert (await client.get(f"{http(url)}/models")).status_code == 200

    with serving(HELLO) as url:
        if run is trio.run:
            trio.run(main, url)
        else:
            asyncio.run(main(url))


def test_many_threads_share_one_connection() -> None:
    with serving(scripted(Turn(Delay(0.05), Text("Hello.")))) as url, agentwire.http_client(url) as client:
        answers: list[int] = []

        def ask() -> None:
            answers.append(client.post(f"{http(url)}/responses", json=body()).status_code)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [200] * 8
        assert wire_statistics(client).opened == 1


def test_closing_a_stream_cancels_its_turn() -> None:
    engine = Patient()
    with serving(engine) as url, agentwire.http_client(url) as client:
        with client.stream("POST", f"{http(url)}/responses", json=body(stream=True)) as response:
            pieces = response.iter_bytes()
            assert b"response.created" in next(pieces)
            assert not engine.cancelled.is_set()
        assert engine.cancelled.wait(5)


def test_a_stream_that_nobody_has_any_more_is_given_up() -> None:
    engine = Patient()
    with serving(engine) as url, agentwire.http_client(url) as client:
        request = client.build_request("POST", f"{http(url)}/responses", json=body(stream=True))
        response = client.send(request, stream=True)
        assert engine.began.wait(5)
        del response
        gc.collect()
        assert engine.cancelled.wait(5)


@pytest.mark.parametrize("run", ["asyncio", "trio"])
def test_a_task_that_is_cancelled_cancels_its_turn(run: str) -> None:
    engine = Patient()

    async def ask(url: str) -> None:
        async with agentwire.async_http_client(url) as client:
            if run == "asyncio":
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.post(f"{http(url)}/responses", json=body()), 0.3)
            else:
                with trio.move_on_after(0.3) as scope:
                    await client.post(f"{http(url)}/responses", json=body())
                assert scope.cancelled_caught
            assert engine.cancelled.wait(5)

    with serving(engine) as url:
        if run == "asyncio":
            asyncio.run(ask(url))
        else:
            trio.run(ask, url)


def test_the_clients_own_timeout_holds() -> None:
    engine = Patient()
    with serving(engine) as url, agentwire.http_client(url, timeout=0.3) as client:
        with pytest.raises(httpx2.ReadTimeout):
            client.post(f"{http(url)}/responses", json=body())
        with (
            client.stream("POST", f"{http(url)}/responses", json=body(stream=True)) as response,
            pytest.raises(httpx2.ReadTimeout),
        ):
            response.read()


def test_where_nobody_is_it_is_the_librarys_own_error() -> None:
    with agentwire.http_client("ws://127.0.0.1:1/v1") as client, pytest.raises(httpx2.ConnectError):
        client.post("http://127.0.0.1:1/v1/responses", json=body())


def test_without_an_address_it_is_where_the_request_is_posted() -> None:
    with serving(HELLO) as url, agentwire.http_client() as client:
        assert client.post(f"{http(url)}/responses", json=body()).status_code == 200
        assert wire_statistics(client).full == 1


def test_with_one_the_turns_go_there_wherever_they_are_posted() -> None:
    with serving(HELLO) as url, agentwire.http_client(url) as client:
        headers = {"Authorization": "Bearer sk"}
        posted = client.post("https://api.openai.invalid/v1/responses", json=body(), headers=headers)
        assert posted.json()["status"] == "completed"


def test_a_key_does_not_go_elsewhere_in_the_clear() -> None:
    with (
        agentwire.http_client("ws://10.255.255.1/v1") as client,
        pytest.raises(agentwire.LocalProtocolError, match="is not encrypted"),
    ):
        client.post("https://api.openai.invalid/v1/responses", json=body(), headers={"Authorization": "Bearer sk"})


async def no_sockets(stream: trio.SocketStream, seen: list[bytes]) -> None:
    """An HTTP server that takes no WebSocket."""
    said = bytes(await stream.receive_some())
    while said.startswith(b"POST") and not said.endswith(b"}"):
        said += await stream.receive_some()
    seen.append(said)
    status = b"426 Upgrade Required" if b"upgrade: websocket" in seen[-1].lower() else b"200 OK"
    answer = b'{"id": "resp_1"}'
    await stream.send_all(
        b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (status, len(answer)) + answer
    )


async def test_where_no_socket_is_taken_the_request_goes_over_http_to_the_same_place() -> None:
    seen: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await no_sockets(stream, seen)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        address = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        async with agentwire.async_http_client(f"ws://{address}/v1", key="mine") as client:
            for _ in range(2):
                given = await client.post("https://api.openai.invalid/v1/responses", json=body())
                assert given.json() == {"id": "resp_1"}
        nursery.cancel_scope.cancel(reason="the test is over")
    upgrade, *posts = seen
    assert upgrade.startswith(b"GET /v1/responses ")
    for post in posts:
        assert post.startswith(b"POST /v1/responses ")
        head = post.lower()
        assert b"authorization: bearer mine" in head
        assert f"host: {address}".encode() in head
        assert json.loads(post.partition(b"\r\n\r\n")[2]) == body()
    assert len(posts) == 2


def test_a_client_can_be_used_again_in_a_process_that_was_forked() -> None:
    with serving(HELLO) as url, agentwire.http_client(url) as client:
        assert client.post(f"{http(url)}/responses", json=body()).status_code == 200
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads is the point
            child = os.fork()
        if not child:
            signal.alarm(20)
            status = client.post(f"{http(url)}/responses", json=body()).status_code
            client.close()
            os._exit(0 if status == 200 else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert client.post(f"{http(url)}/responses", json=body()).status_code == 200


def test_what_a_client_carries_is_known_before_meanwhile_and_afterwards() -> None:
    with serving(HELLO) as url:
        with agentwire.http_client(url) as client:
            assert wire_statistics(client).full == 0
            client.post(f"{http(url)}/responses", json=body())
            assert wire_statistics(client).full == 1
        assert wire_statistics(client).connections == 0
    with httpx2.Client() as plain, pytest.raises(LookupError, match="has no wires"):
        wire_statistics(plain)


def test_the_wire_trusts_whom_the_librarys_client_is_told_to_trust() -> None:
    authority = trustme.CA()
    server, client_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client_side)
    with serving(HELLO, tls=server) as url:
        assert url.startswith("wss://")
        secure = url.replace("wss://", "https://")
        with agentwire.http_client(verify=client_side) as client:
            assert client.post(f"{secure}/responses", json=body()).json()["status"] == "completed"
            assert client.get(f"{secure}/models").status_code == 200
            assert wire_statistics(client).full == 1
        with agentwire.http_client() as client, pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            client.post(f"{secure}/responses", json=body())


def test_a_client_that_nobody_has_any_more_is_closed() -> None:
    with serving(HELLO) as url:
        client = agentwire.http_client(url)
        client.post(f"{http(url)}/responses", json=body())
        (loop,) = loops()
        del client
        gc.collect()
        loop.join(5)


# The library


@pytest.mark.parametrize(
    ("options", "proxy"),
    [
        ({}, "environment"),
        ({"trust_env": False}, None),
        ({"proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"proxy": httpx2.Proxy("http://proxy:3128", auth=("me", "p@ss"))}, "http://me:p%40ss@proxy:3128"),
        ({"proxy": "socks5://proxy:1080"}, "socks5://proxy:1080"),
    ],
)
def test_the_wire_takes_the_proxy_that_the_library_would(options: Json, proxy: str | None) -> None:
    assert find_library("httpx2").proxy(options) == proxy


def test_a_proxy_that_the_wire_cannot_take_leaves_the_request_to_http(monkeypatch: pytest.MonkeyPatch) -> None:
    with agentwire.http_client("wss://server.invalid/v1") as client:
        monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
        with pytest.raises(httpx2.ConnectError):
            client.post("https://server.invalid/v1/responses", json=body())
        assert wire_statistics(client).over_http == 1


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, package in (("httpx2", r"agentwire-trio\[dropin\]"), ("httpx", "httpx")):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, f"agentwire.client.dropin.with_{name}", raising=False)
        with pytest.raises(ImportError, match=f"needs {name}: pip install '{package}'"):
            find_library(name)  # type: ignore[arg-type]


@pytest.mark.parametrize(("version", "name"), [("2.54.0", "httpx"), ("3.54.0", "httpx2"), ("strange", "httpx2")])
def test_the_library_is_the_one_that_the_sdk_is_built_on(
    version: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def load(module: str) -> ModuleType:
        asked.append(module)
        return ModuleType(module)

    monkeypatch.setattr("agentwire.client.dropin.library.version", lambda _: version)
    monkeypatch.setattr("agentwire.client.dropin.library.importlib.import_module", load)
    with pytest.raises(AttributeError):
        find_library()
    assert asked == [f"agentwire.client.dropin.with_{name}"]
