from __future__ import annotations

import gzip
import json
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from agentwire import __version__
from agentwire.protocol.errors import ConnectionEnded, LocalProtocolError, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.transport.http11 import HttpConnection
from agentwire.transport.http_client import HttpClient, HttpStatusError, open_http_client
from agentwire.transport.listen import Listening, accept_loop, open_listeners
from agentwire.transport.requests import Request
from agentwire.transport.serving import Answer
from agentwire.transport.streams import NetworkStream
from tests.transport.kit import loopback

pytestmark = pytest.mark.socket

SSE = {"content-type": "text/event-stream; charset=utf-8"}


@asynccontextmanager
async def client_of(
    answer: Answer, limits: Limits | None = None, headers: dict[str, str] | None = None
) -> AsyncGenerator[tuple[HttpClient, Listening]]:
    """A client, and the server that it talks to."""
    with trio.fail_after(20):
        async with loopback(answer) as listening:
            url = f"{listening.url('http')}/v1"
            async with open_http_client(url, headers=headers, limits=limits or Limits()) as client:
                yield client, listening


@asynccontextmanager
async def raw_server(*pieces: bytes, keep_open: bool = False) -> AsyncGenerator[str]:
    """A server that reads something and says exactly this, then closes."""

    async def handle(stream: NetworkStream) -> None:
        await stream.receive_some()
        for piece in pieces:
            await stream.send_all(piece)
        if keep_open:
            await trio.sleep_forever()

    with trio.fail_after(20):
        async with await open_listeners("127.0.0.1") as listening, trio.open_nursery() as nursery:
            nursery.start_soon(lambda: accept_loop(listening, handle, nursery=nursery, limits=Limits()))
            yield listening.url("http")
            nursery.cancel_scope.cancel(reason="the test is over")


async def mirror(connection: HttpConnection, request: Request) -> None:
    body = (await connection.read_body()).decode()
    seen = {"method": request.method, "target": request.target, "headers": dict(request.headers), "body": body}
    await connection.respond(200, {"content-type": "application/json", "X-Seen": "yes"}, json.dumps(seen).encode())


async def test_a_request_and_its_whole_answer() -> None:
    async with client_of(mirror, headers={"authorization": "Bearer k"}) as (client, listening):
        reply = await client.request("POST", "/responses?x=1", json={"a": "\xe4"}, headers={"x-mine": "1"})
        assert reply.status == 200
        assert reply.headers["x-seen"] == "yes"
        seen = json.loads(reply.body)
        assert (seen["method"], seen["target"], json.loads(seen["body"])) == (
            "POST",
            "/v1/responses?x=1",
            {"a": "\xe4"},
        )
        headers = seen["headers"]
        assert headers["authorization"] == "Bearer k"
        assert headers["content-type"] == "application/json"
        assert headers["user-agent"] == f"agentwire/{__version__}"
        assert headers["x-mine"] == "1"
        plain = json.loads((await client.request("GET", "models")).body)
        assert plain["target"] == "/v1/models"
        assert "content-length" not in plain["headers"]
        raw = json.loads((await client.request("POST", "/x", json=b'{"raw":1}')).body)
        assert raw["body"] == '{"raw":1}'
        assert listening.statistics().accepted == 1


async def test_a_large_body_goes_in_pieces_with_its_length() -> None:
    async def count(connection: HttpConnection, request: Request) -> None:
        assert "transfer-encoding" not in request.headers
        body = await connection.read_body()
        await connection.respond(200, {}, b"%d %s" % (len(body), request.headers["content-length"].encode()))

    async with client_of(count) as (client, _):
        body = b'"' + b"x" * 1_000_000 + b'"'
        assert (await client.request("POST", "/", json=body)).body == b"1000002 1000002"


async def test_a_connection_may_be_used_once() -> None:
    async with client_of(mirror, headers={"connection": "close"}) as (client, listening):
        for _ in range(3):
            assert (await client.request("GET", "/")).headers["connection"] == "close"
        assert listening.statistics().accepted == 3


@pytest.mark.parametrize("status", [307, 400, 404, 429, 500, 503])
async def test_an_answer_without_success_is_an_error_with_everything_in_it(status: int) -> None:
    async def refuse(connection: HttpConnection, request: Request) -> None:
        await connection.respond(status, {"Retry-After": "7", "location": "/elsewhere"}, b'{"error": "why"}')

    async with client_of(refuse) as (client, listening):
        with pytest.raises(HttpStatusError, match=f'HTTP {status}: {{"error": "why"}}') as caught:
            await client.request("GET", "/")
        assert (caught.value.status, caught.value.body) == (status, b'{"error": "why"}')
        assert caught.value.headers["retry-after"] == "7"
        with pytest.raises(HttpStatusError) as caught:
            async with client.stream_sse("/"):
                raise AssertionError("entered")
        assert caught.value.status == status
        assert listening.statistics().accepted == 1


async def test_an_errors_body_is_cut_and_may_be_missing() -> None:
    async def refuse(connection: HttpConnection, request: Request) -> None:
        await connection.respond(500, {}, b"x" * 5000)

    async with client_of(refuse, Limits(reply_bytes=1000)) as (client, _):
        with pytest.raises(HttpStatusError) as caught:
            await client.request("GET", "/")
        assert caught.value.body == b"x" * 1000
    cut_off = b"HTTP/1.1 500 No\r\nContent-Length: 10\r\n\r\nabc"
    async with raw_server(cut_off) as url, open_http_client(url, limits=Limits()) as client:
        with pytest.raises(HttpStatusError, match=r"HTTP 500: abc$"):
            await client.request("GET", "/")
    assert str(HttpStatusError(500, b"", {})) == "the server answered with HTTP 500"


async def test_an_answer_has_a_bound() -> None:
    async def much(connection: HttpConnection, request: Request) -> None:
        await connection.respond(200, {}, b"x" * 1001)

    async with client_of(much, Limits(body_bytes=1000)) as (client, _):
        with pytest.raises(RemoteProtocolError, match="more than 1000 bytes"):
            await client.request("GET", "/")
    async with client_of(much, Limits(body_bytes=1001)) as (client, _):
        assert len((await client.request("GET", "/")).body) == 1001


async def test_an_answer_that_is_compressed_all_the_same_is_an_error() -> None:
    async def pressed(connection: HttpConnection, request: Request) -> None:
        assert request.headers["accept-encoding"] == "identity"
        await connection.respond(200, {**SSE, "content-encoding": "gzip"}, gzip.compress(b"data: 1\n\n"))

    async with client_of(pressed) as (client, _):
        with pytest.raises(RemoteProtocolError, match="answered in gzip, although asked for no compression"):
            await client.request("GET", "/")
        with pytest.raises(RemoteProtocolError, match="answered in gzip"):
            async with client.stream_sse("/"):
                raise AssertionError("entered")


# Event streams


async def read_all(client: HttpClient, json: object = None) -> list[bytes]:
    async with client.stream_sse("/", json=json) as stream:
        return [payload async for payload in stream]


async def three_events(connection: HttpConnection, request: Request) -> None:
    assert request.headers["accept"] == "text/event-stream"
    assert request.headers["accept-encoding"] == "identity"
    await connection.read_body()
    await connection.start_stream(200, SSE)
    for part in (b'event: a\ndata: {"n": 1}\n\ndata: {"n"', b": 2}\n\n", b"data: [DONE]\n\n"):
        await connection.send_chunk(part)
    await connection.end_stream()


async def test_events_come_one_by_one_and_the_connection_is_kept() -> None:
    async with client_of(three_events) as (client, listening):
        for _ in range(3):
            async with client.stream_sse("/responses", json={"stream": True}) as stream:
                assert stream.status == 200
                assert stream.headers["content-type"].startswith("text/event-stream")
                assert [payload async for payload in stream] == [b'{"n": 1}', b'{"n": 2}']
                assert stream.done
                assert await stream.batch() == []
        assert listening.statistics().accepted == 1


async def test_what_arrives_together_is_one_batch() -> None:
    async def burst(connection: HttpConnection, request: Request) -> None:
        await connection.start_stream(200, SSE, b"".join(b"data: %d\n\n" % number for number in range(100)))
        await trio.sleep_forever()

    async with client_of(burst) as (client, _), client.stream_sse("/") as stream:
        assert [await anext(stream), await anext(stream)] == [b"0", b"1"]
        assert await stream.batch() == [b"%d" % number for number in range(2, 100)]


async def test_done_ends_the_stream_whatever_follows_and_a_batch_before_it_counts() -> None:
    async def burst(connection: HttpConnection, request: Request) -> None:
        await connection.start_stream(200, SSE, b"data: 1\n\ndata: [DONE]\n\ndata: 2\n\n")
        await connection.end_stream()

    async with client_of(burst) as (client, _), client.stream_sse("/") as stream:
        assert await stream.batch() == [b"1"]
        assert await stream.batch() == []


async def test_a_stream_may_end_without_done() -> None:
    async def short(connection: HttpConnection, request: Request) -> None:
        await connection.start_stream(200, {}, b"data: 1\n\n")  # nor does it say what it is
        await connection.end_stream()

    async with client_of(short) as (client, listening):
        for _ in range(2):
            async with client.stream_sse("/", method="GET") as stream:
                assert [payload async for payload in stream] == [b"1"]
                assert not stream.done
        assert listening.statistics().accepted == 1


async def test_a_server_that_says_done_and_stays_is_left() -> None:
    gone = trio.Event()

    async def stay(connection: HttpConnection, request: Request) -> None:
        await connection.start_stream(200, SSE, b"data: 1\n\ndata: [DONE]\n\n")
        await connection.send_chunk(b"data: and another thing\n\n")
        await connection.wait_disconnect()
        gone.set()

    async with client_of(stay, Limits(close_grace=0.05)) as (client, _):
        assert await read_all(client) == [b"1"]
        await gone.wait()


async def test_leaving_a_stream_drops_what_is_here_of_it() -> None:
    chunks = b"".join(b"9\r\ndata: %d\n\n\r\n" % number for number in range(9))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for last in (b"", b"0\r\n\r\n", b"zz\r\n"):
        async with (
            raw_server(head + chunks + last, keep_open=True) as url,
            open_http_client(url, limits=Limits()) as client,
            client.stream_sse("/") as stream,
        ):
            assert [await anext(stream), await anext(stream)] == [b"0", b"1"]


async def test_leaving_a_stream_tells_the_server_at_once() -> None:
    gone = trio.Event()

    async def endless(connection: HttpConnection, request: Request) -> None:
        await connection.start_stream(200, SSE, b"data: 1\n\n")
        await connection.wait_disconnect()
        gone.set()

    async with client_of(endless) as (client, _):
        async with client.stream_sse("/") as stream:
            assert await anext(stream) == b"1"
        await gone.wait()
        gone = trio.Event()
        with trio.CancelScope() as scope:
            async with client.stream_sse("/") as stream:
                async for _ in stream:
                    scope.cancel(reason="enough")
        assert scope.cancelled_caught
        await gone.wait()


async def test_an_answer_that_is_no_stream_is_an_error() -> None:
    async def plain(connection: HttpConnection, request: Request) -> None:
        await connection.respond(200, {"content-type": "application/json"}, b"{}")

    async with client_of(plain) as (client, _):
        with pytest.raises(RemoteProtocolError, match="application/json instead of text/event-stream"):
            async with client.stream_sse("/"):
                raise AssertionError("entered")


@pytest.mark.parametrize("body", [b" {}", b"[1]", b"\xef\xbb\xbf{\n}"])
async def test_an_answer_of_json_is_one_payload_where_that_is_welcome(body: bytes) -> None:
    async def plain(connection: HttpConnection, request: Request) -> None:
        await connection.start_stream(200, {"content-type": "application/json"}, b"\n")
        for byte in body:
            await connection.send_chunk(bytes((byte,)))
        await connection.end_stream()

    async with client_of(plain) as (client, _), client.stream_sse("/", or_json=True) as stream:
        assert [await stream.batch(), await stream.batch()] == [[body.lstrip(b"\xef\xbb\xbf ")], []]
    async with client_of(plain, Limits(message_bytes=1)) as (client, _), client.stream_sse("/", or_json=True) as stream:
        with pytest.raises(RemoteProtocolError, match="larger than 1 bytes"):
            await stream.batch()


async def test_an_event_has_a_bound() -> None:
    async def fat(connection: HttpConnection, request: Request) -> None:
        await connection.start_stream(200, SSE, b"data: " + b"x" * 2000)
        await trio.sleep_forever()

    async with client_of(fat, Limits(message_bytes=1000)) as (client, _), client.stream_sse("/") as stream:
        with pytest.raises(RemoteProtocolError, match="larger than 1000 bytes"):
            await anext(stream)


# What goes wrong


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CUTS = {
    "no answer": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nX",
    "half a body": HEAD + b"Content-Length: 100\r\n\r\ndata: 1\n\n",
    "half a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n100\r\ndata: 1\n\n",
    "no last chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
}


@pytest.mark.parametrize("said", CUTS.values(), ids=CUTS.keys())
async def test_an_answer_that_is_cut_off_is_the_end_of_the_connection(said: bytes) -> None:
    async with raw_server(said) as url, open_http_client(url, limits=Limits()) as client:
        with pytest.raises(ConnectionEnded, match=f"{url}: ended before the answer did"):
            await client.request("GET", "/")
    async with raw_server(said) as url, open_http_client(url, limits=Limits()) as client:
        with pytest.raises(ConnectionEnded, match=f"{url}: ended before the answer did"):
            await read_all(client)


@pytest.mark.parametrize("said", [b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"])
async def test_an_answer_that_is_no_http_breaks_the_rules(said: bytes) -> None:
    async with raw_server(said) as url, open_http_client(url, limits=Limits()) as client:
        with pytest.raises(RemoteProtocolError, match="does not speak HTTP"):
            await client.request("GET", "/")


async def test_a_reset_is_the_end_of_the_connection() -> None:
    async def reset(connection: HttpConnection, request: Request) -> None:
        await connection.start_stream(200, SSE, b"data: 1\n\n")
        await connection.abort("for the test")

    async with client_of(reset) as (client, _):
        with pytest.raises(ConnectionEnded, match=r"http://127\.0\.0\.1:"):
            await read_all(client, json={"body": "unread" * 100_000})


async def test_no_server_is_no_connection() -> None:
    listening = await open_listeners("127.0.0.1")
    url = listening.url("http")
    await listening.aclose()
    async with open_http_client(url, limits=Limits()) as client:
        with pytest.raises(ConnectionEnded, match=url):
            await client.request("GET", "/")


async def test_silence_has_a_deadline() -> None:
    async def silent(connection: HttpConnection, request: Request) -> None:
        if request.path == "/v1/late":
            await connection.start_stream(200, SSE, b"data: 1\n\n")
        await trio.sleep_forever()

    async with client_of(silent, Limits(upstream_first_event=0.1)) as (client, _):
        with pytest.raises(ConnectionEnded, match=r"silent for too long: no answer within 0\.1 s"):
            await client.request("GET", "/")
    async with client_of(silent, Limits(upstream_silence=0.1)) as (client, _), client.stream_sse("/late") as stream:
        assert await anext(stream) == b"1"
        with pytest.raises(ConnectionEnded, match=r"silent for too long: no further event within 0\.1 s"):
            await anext(stream)


async def test_a_server_that_does_not_read_has_a_deadline() -> None:
    async def deaf(connection: HttpConnection, request: Request) -> None:
        await trio.sleep_forever()

    async with client_of(deaf, Limits(write_progress=0.2)) as (client, _):
        with pytest.raises(ConnectionEnded, match=r"took nothing for 0\.2 s"):
            await client.request("POST", "/", json=bytes(20_000_000))


async def test_a_header_that_cannot_be_sent_is_the_callers_fault() -> None:
    async with client_of(mirror) as (client, _):
        with pytest.raises(LocalProtocolError, match="cannot be sent"):
            await client.request("GET", "/", headers={"x": "a\r\nb: c"})


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ws://127.0.0.1", "http://", "/v1"])
async def test_a_url_must_be_one_of_http(url: str) -> None:
    with pytest.raises(ValueError, match="must begin with http:// or https://"):
        async with open_http_client(url, limits=Limits()):
            raise AssertionError("entered")


# Other ways to get there


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "wire.sock"
    async with (
        loopback(mirror, listening=await open_listeners(None, unix_path=path)),
        open_http_client("http://localhost/v1", limits=Limits(), unix_path=str(path)) as client,
    ):
        seen = json.loads((await client.request("GET", "/models")).body)
    assert (seen["target"], seen["headers"]["host"]) == ("/v1/models", "localhost")


async def test_tls_with_a_context_of_ones_own() -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with loopback(three_events, listening=await open_listeners("127.0.0.1", tls=server)) as listening:
        url = listening.url("http")
        assert url.startswith("https://")
        async with open_http_client(url, limits=Limits(), tls=trusting) as client:
            assert await read_all(client) == [b'{"n": 1}', b'{"n": 2}']
        async with open_http_client(url, limits=Limits()) as distrusting:
            with pytest.raises(ConnectionEnded, match="certificate verify failed"):
                await distrusting.request("GET", "/")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_proxy_is_never_asked_for_this_machine(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    listening = await open_listeners("127.0.0.1")
    url = f"http://{host}:{listening.port}"
    async with loopback(mirror, listening=listening), open_http_client(url, limits=Limits()) as client:
        assert (await client.request("GET", "/")).status == 200


async def test_a_proxy_is_asked_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async with loopback(mirror) as listening:
        monkeypatch.setenv("HTTP_PROXY", listening.url("http"))
        async with open_http_client("http://upstream.example/v1", limits=Limits()) as client:
            seen = json.loads((await client.request("GET", "/models")).body)
    assert seen["target"] == "http://upstream.example/v1/models"


@asynccontextmanager
async def fickle_server(answers: int, goodbye: bytes = b"") -> AsyncGenerator[tuple[str, list[int]]]:
    """A server that ends each connection at the request after so many, and how many requests came on each."""
    seen: list[int] = []
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 21\r\n\r\ndata: x\n\ndata: [DONE]"

    async def handle(stream: NetworkStream) -> None:
        number = len(seen)
        seen.append(0)
        while data := await stream.receive_some():
            if not data.endswith(b"{}"):
                continue
            seen[number] += 1
            if seen[number] > answers:
                await stream.send_all(goodbye)
                return
            await stream.send_all(reply)

    with trio.fail_after(20):
        async with await open_listeners("127.0.0.1") as listening, trio.open_nursery() as nursery:
            nursery.start_soon(lambda: accept_loop(listening, handle, nursery=nursery, limits=Limits()))
            yield listening.url("http"), seen
            nursery.cancel_scope.cancel(reason="the test is over")


async def payloads(client: HttpClient, *, repeat: bool) -> list[bytes]:
    async with client.stream_sse("/", json={}, repeat=repeat) as stream:
        return [payload async for payload in stream]


async def test_a_request_that_found_its_kept_connection_given_up_is_sent_again() -> None:
    async with fickle_server(1) as (url, seen), open_http_client(url, limits=Limits()) as client:
        for _ in range(3):
            assert await payloads(client, repeat=True) == [b"x"]
        assert seen == [2, 2, 1]


async def test_every_kept_connection_that_was_given_up_is_tried_but_once() -> None:
    async with fickle_server(1) as (url, seen), open_http_client(url, limits=Limits()) as client:
        async with client.stream_sse("/", json={}) as first, client.stream_sse("/", json={}) as second:
            assert [[p async for p in first], [p async for p in second]] == [[b"x"], [b"x"]]
        assert await payloads(client, repeat=True) == [b"x"]
        assert seen == [2, 2, 1]


async def test_a_request_is_sent_again_only_where_that_is_allowed_and_nothing_was_answered() -> None:
    async with fickle_server(1) as (url, seen), open_http_client(url, limits=Limits()) as client:
        assert await payloads(client, repeat=True) == [b"x"]
        with pytest.raises(ConnectionEnded, match="ended before the answer did"):
            await payloads(client, repeat=False)
        assert seen == [2]
    async with fickle_server(0) as (url, seen), open_http_client(url, limits=Limits()) as client:
        with pytest.raises(ConnectionEnded, match="ended before the answer did"):
            await payloads(client, repeat=True)
        assert seen == [1]
    async with fickle_server(1, b"SSH-2.0\r\n\r\n") as (url, seen), open_http_client(url, limits=Limits()) as client:
        assert await payloads(client, repeat=True) == [b"x"]
        with pytest.raises(RemoteProtocolError, match="does not speak HTTP"):
            await payloads(client, repeat=True)
        assert seen == [2]
