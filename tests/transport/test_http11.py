from __future__ import annotations

import json

import pytest
import trio
import trio.testing

from agentwire.protocol.errors import ConnectionEnded, LocalProtocolError, RequestError
from agentwire.protocol.limits import Limits
from agentwire.testing import network
from agentwire.transport.http11 import HttpConnection, upgrade_wanted
from agentwire.transport.requests import Request
from agentwire.transport.streams import SlicedByteStream
from tests.transport.kit import Peer, http_pair, serving

GET = b"GET /v1/models HTTP/1.1\r\nHost: test\r\n\r\n"
UPGRADE = (
    b"GET /v1/responses HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def post(body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST /v1/responses HTTP/1.1", b"Host: test", b"Content-Length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)


async def hello(connection: HttpConnection, request: Request) -> None:
    await connection.respond(200, {"content-type": "text/plain"}, f"{request.method} {request.path}".encode())


async def echo(connection: HttpConnection, request: Request) -> None:
    await connection.respond(200, {}, await connection.read_body())


async def the_request(peer: Peer, connection: HttpConnection, raw: bytes) -> Request:
    await peer.send(raw)
    request = await connection.next_request()
    assert request is not None
    return request


# Whole responses


async def test_a_request_is_read_and_answered() -> None:
    peer, connection = http_pair()
    raw = GET.replace(b"\r\n\r\n", b"\r\nX: \xe4\r\nx: 2\r\n\r\n")
    request = await the_request(peer, connection, raw)
    assert (request.method, request.path, request.http_version) == ("GET", "/v1/models", "1.1")
    assert request.headers.all("x") == ("\xe4", "2")
    assert (connection.answered, connection.finished) == (False, False)
    await connection.respond(200, [("x-a", "1"), ("x-b", "2")], b"hello")
    assert (connection.answered, connection.finished) == (True, True)
    reply = await peer.reply()
    assert (reply.status, reply.body) == (200, b"hello")
    assert reply.headers == {
        "x-a": "1", "x-b": "2", "content-length": "5", "date": "Sun, 06 Nov 1994 08:49:37 GMT",
    }  # fmt: skip
    statistics = connection.statistics()
    assert statistics.requests == 1
    assert statistics.bytes_in == len(raw)
    assert statistics.bytes_out > 80
    assert connection.peer == "memory"


async def test_one_connection_serves_many_requests() -> None:
    async with serving(echo) as peer:
        for size in (0, 1, 70_000, 3):
            assert (await peer.ask(post(b"x" * size))).body == b"x" * size


async def test_a_body_may_come_in_chunks_and_with_trailers() -> None:
    async with serving(echo) as peer:
        reply = await peer.ask(
            b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"5\r\nhel", b"lo\r\n", b"6;ext=1\r\n world\r\n0\r\nTrailer: x\r\n\r\n",
        )  # fmt: skip
        assert reply.body == b"hello world"
        assert (await peer.ask(post(b"again"))).body == b"again"


async def test_requests_may_come_before_their_turn() -> None:
    async with serving(hello) as peer:
        await peer.send(GET + post(b"abc") + GET)
        assert [(await peer.reply()).body for _ in range(3)] == [
            b"GET /v1/models",
            b"POST /v1/responses",
            b"GET /v1/models",
        ]


async def test_head_gets_the_head_of_the_answer_to_get() -> None:
    async with serving(hello) as peer:
        reply = await peer.ask(GET.replace(b"GET", b"HEAD"), method="HEAD")
        assert (reply.body, reply.headers["content-length"]) == (b"", "15")
        assert (await peer.ask(GET)).body == b"GET /v1/models"


async def test_a_head_of_a_stream_has_no_body_either() -> None:
    async def stream(connection: HttpConnection, request: Request) -> None:
        await connection.start_stream(200, {}, b"one")
        await connection.send_chunk(b"two")
        await connection.end_stream(b"three")

    async with serving(stream) as peer:
        reply = await peer.ask(GET.replace(b"GET", b"HEAD"), method="HEAD")
        assert (reply.body, reply.headers["transfer-encoding"]) == (b"", "chunked")
        assert (await peer.ask(GET)).body == b"onetwothree"


@pytest.mark.parametrize("status", [204, 304])
async def test_some_statuses_have_no_body(status: int) -> None:
    async def nothing(connection: HttpConnection, request: Request) -> None:
        await connection.respond(status, {}, b"ignored")

    async with serving(nothing) as peer:
        for _ in range(2):
            reply = await peer.ask(GET)
            assert (reply.status, reply.body) == (status, b"")
            assert "content-length" not in reply.headers


async def test_http_1_0_is_answered_and_closed() -> None:
    async def stream(connection: HttpConnection, request: Request) -> None:
        assert request.http_version == "1.0"
        await connection.start_stream(200)
        await connection.send_chunk(b"a stream ")
        await connection.end_stream(b"without chunks")

    async with serving(stream) as peer:
        reply = await peer.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert reply.body == b"a stream without chunks"
        assert reply.headers["connection"] == "close"
        assert "transfer-encoding" not in reply.headers
        assert await peer.at_end()


async def test_the_client_may_ask_for_the_end() -> None:
    async with serving(hello) as peer:
        reply = await peer.ask(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert reply.headers["connection"] == "close"
        assert await peer.at_end()


async def test_the_server_may_ask_for_the_end() -> None:
    async def bye(connection: HttpConnection, request: Request) -> None:
        await connection.respond(200, {"connection": "close"}, b"bye")

    async with serving(bye) as peer:
        assert (await peer.ask(GET)).headers["connection"] == "close"
        assert await peer.at_end()


async def test_an_error_has_its_status_headers_and_json_body() -> None:
    async def refuse(connection: HttpConnection, request: Request) -> None:
        await connection.respond_error(RequestError(429, "slow_down", "wait", headers={"retry-after": "3"}))

    async with serving(refuse) as peer:
        reply = await peer.ask(GET)
        assert (reply.status, reply.headers["retry-after"]) == (429, "3")
        assert reply.headers["content-type"] == "application/json"
        assert json.loads(reply.body)["error"]["code"] == "slow_down"


async def test_an_answer_to_an_upgrade_names_it_among_the_connections_options() -> None:
    async def refuse(connection: HttpConnection, request: Request) -> None:
        await connection.respond_error(RequestError(426, "x", "x", headers={"upgrade": "websocket"}))

    async with serving(refuse) as peer:
        reply = await peer.ask(GET)
        assert (reply.headers["upgrade"], reply.headers["connection"]) == ("websocket", "upgrade")
        assert (await peer.ask(GET)).status == 426


# Request bodies


async def test_a_client_that_waits_is_told_to_go_on() -> None:
    async with serving(echo) as peer:
        body = post(b"waited", b"Expect: 100-continue")
        await peer.send(body[:-6])
        async with trio.open_nursery() as nursery:
            replies = []

            async def read() -> None:
                replies.append(await peer.reply())

            nursery.start_soon(read)
            with trio.fail_after(5):
                while not peer.continues:
                    await trio.lowlevel.checkpoint()
            await peer.send(b"waited")
        assert replies[0].body == b"waited"


async def test_a_client_that_waits_may_be_refused_without_its_body() -> None:
    async with serving(hello) as peer:
        reply = await peer.ask(post(b"waited", b"Expect: 100-continue")[:-6])
        assert peer.continues == 0
        assert reply.headers["connection"] == "close"
        assert await peer.at_end()


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_a_413(declared: bool) -> None:
    raw = post(b"x" * 101) if declared else post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    if not declared:
        raw += b"60\r\n" + b"x" * 96 + b"\r\n5\r\nxxxxx\r\n0\r\n\r\n"
    async with serving(echo, Limits(body_bytes=100)) as peer:
        reply = await peer.ask(raw)
        assert reply.status == 413
        assert json.loads(reply.body)["error"]["message"] == "the body of a request may be at most 100 bytes"


async def test_a_route_may_have_a_limit_of_its_own() -> None:
    peer, connection = http_pair()
    await the_request(peer, connection, post(b"four"))
    with pytest.raises(RequestError, match="at most 3 bytes"):
        await connection.read_body(3)


async def test_a_compressed_body_is_a_415() -> None:
    async with serving(echo) as peer:
        reply = await peer.ask(post(b"zzz", b"Content-Encoding: zstd"))
        assert reply.status == 415
        assert (await peer.ask(post(b"plain", b"Content-Encoding: identity"))).body == b"plain"


async def test_a_body_that_stops_coming_is_a_408(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(echo) as peer:
        await peer.send(post(b"hello")[:-2])
        began = trio.current_time()
        reply = await peer.reply()
        assert trio.current_time() - began == pytest.approx(30)
        assert (reply.status, reply.headers["connection"]) == (408, "close")


async def test_a_body_that_comes_slowly_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(echo) as peer:
        raw = post(b"slow")
        await peer.send(raw[:-4])
        for byte in b"slow":
            await trio.sleep(29)
            await peer.send(bytes([byte]))
        assert (await peer.reply()).body == b"slow"


async def test_a_body_is_read_once_and_before_the_answer() -> None:
    peer, connection = http_pair()
    with pytest.raises(LocalProtocolError, match="before answering"):
        await connection.read_body()
    await the_request(peer, connection, post(b"body"))
    assert await connection.read_body() == b"body"
    assert await connection.read_body() == b""
    await connection.respond(200)
    with pytest.raises(LocalProtocolError, match="before answering"):
        await connection.read_body()


async def test_a_short_body_that_nobody_read_does_not_end_the_connection() -> None:
    async with serving(hello) as peer:
        assert (await peer.ask(post(b"unread"))).status == 200
        assert (await peer.ask(GET)).status == 200


async def test_a_body_that_nobody_read_and_that_is_still_coming_does(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(hello) as peer:
        reply = await peer.ask(post(b"x" * 100_000)[:50_000])
        assert reply.headers["connection"] == "close"
        await peer.send(b"x" * 50_000)  # nobody listens, but it is taken, so that the answer can be read
        assert await peer.at_end()


async def test_a_body_that_nobody_read_and_that_is_damaged_does_too() -> None:
    async with serving(hello) as peer:
        chunked = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        reply = await peer.ask(chunked + b"zz\r\n")
        assert (reply.status, reply.headers["connection"]) == (200, "close")


# Streams


async def test_a_stream_goes_out_as_it_is_made() -> None:
    peer, connection = http_pair()
    await the_request(peer, connection, GET)
    await connection.start_stream(200, {"content-type": "text/event-stream"})
    assert b"transfer-encoding: chunked" in (await peer.stream.receive_some()).lower()
    await connection.send_chunk(b"data: 1\n\n")
    assert await peer.stream.receive_some() == b"9\r\ndata: 1\n\n\r\n"
    await connection.send_chunk(b"")
    assert (connection.answered, connection.finished) == (True, False)
    await connection.end_stream(b"data: 2\n\n")
    assert (connection.answered, connection.finished) == (True, True)
    assert await peer.stream.receive_some() == b"9\r\ndata: 2\n\n\r\n0\r\n\r\n"
    await peer.send(GET)
    assert await connection.next_request() is not None


async def test_a_client_that_never_reads_is_cut_off(autojump_clock: trio.testing.MockClock) -> None:
    theirs, ours = trio.testing.lockstep_stream_pair()
    connection = HttpConnection(SlicedByteStream(ours, slice_bytes=100), Limits(write_progress=30))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(theirs.send_all, GET)
        assert await connection.next_request() is not None
    began = trio.current_time()
    with pytest.raises(ConnectionEnded, match="took nothing for 30 s"):
        await connection.start_stream(200)
    assert trio.current_time() - began == pytest.approx(30)
    assert "took nothing" in connection.broken
    with pytest.raises(ConnectionEnded, match="took nothing"):
        await connection.send_chunk(b"more")
    assert await connection.next_request() is None


async def test_a_cancelled_write_ends_the_connection() -> None:
    theirs, ours = trio.testing.lockstep_stream_pair()
    connection = HttpConnection(SlicedByteStream(ours, slice_bytes=50), Limits())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(theirs.send_all, GET)
        assert await connection.next_request() is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.respond, 200, {}, bytes(1000))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel(reason="enough")
        with trio.CancelScope(shield=True):
            await theirs.receive_some(50)
    assert connection.broken == "a response was cut off"
    assert await connection.next_request() is None


# What the caller may not do


async def test_a_request_is_answered_once_and_in_full() -> None:
    peer, connection = http_pair()
    with pytest.raises(LocalProtocolError, match="no response is open"):
        await connection.send_chunk(b"x")
    await the_request(peer, connection, GET)
    with pytest.raises(LocalProtocolError, match="answer GET /v1/models before"):
        await connection.next_request()
    await connection.start_stream(200)
    with pytest.raises(LocalProtocolError, match="already"):
        await connection.respond(200)
    with pytest.raises(LocalProtocolError, match="answer GET /v1/models before"):
        await connection.next_request()
    await connection.end_stream()
    with pytest.raises(LocalProtocolError, match="no response is open"):
        await connection.end_stream()


@pytest.mark.parametrize("headers", [{"x": "a\r\nb: c"}, {"x y": "1"}, {"x": "\u20ac"}, {"\xe4": "1"}])
async def test_a_header_that_cannot_be_sent_is_the_callers_fault(headers: dict[str, str]) -> None:
    peer, connection = http_pair()
    await the_request(peer, connection, GET)
    with pytest.raises(LocalProtocolError, match="cannot be sent"):
        await connection.respond(200, headers)
    await connection.respond(500)
    assert (await peer.reply()).status == 500


# The peer goes, or has gone


async def test_the_end_between_requests_is_the_end() -> None:
    async with serving(hello) as peer:
        await peer.ask(GET)
        await peer.stream.send_eof()  # type: ignore[attr-defined]
        assert await peer.at_end()


async def test_an_idle_connection_is_closed_without_a_word(autojump_clock: trio.testing.MockClock) -> None:
    async with serving(hello) as peer:
        await peer.ask(GET)
        began = trio.current_time()
        assert await peer.at_end()
        assert trio.current_time() - began == pytest.approx(75)


@pytest.mark.parametrize("raw", [b"", GET[:9], post(b"body")[:-1]])
async def test_abort_ends_a_read_that_waits(raw: bytes) -> None:
    peer, connection = http_pair()
    await peer.send(raw)

    async def read() -> None:
        if await connection.next_request() is not None:
            with pytest.raises(ConnectionEnded, match="closed on this side"):
                await connection.read_body()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await connection.abort("the server ends")
    assert connection.broken == "closed on this side"


async def test_wait_disconnect_notices_the_end_and_keeps_what_came_before_its_turn() -> None:
    peer, connection = http_pair()
    await the_request(peer, connection, GET)
    await connection.start_stream(200)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.wait_disconnect)
        await peer.send(GET[:10])
        await trio.testing.wait_all_tasks_blocked()
        assert connection.statistics().early_bytes == 10
        nursery.cancel_scope.cancel(reason="the answer is complete")
    await connection.end_stream()
    assert (await peer.reply()).status == 200
    await peer.send(GET[10:])
    request = await connection.next_request()
    assert request is not None
    await connection.start_stream(200)
    await peer.stream.aclose()
    assert await connection.wait_disconnect() == "closed by the peer"
    with pytest.raises(ConnectionEnded, match="the peer is gone"):
        await connection.end_stream()
    assert await connection.next_request() is None


async def test_what_comes_before_its_turn_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    peer, connection = http_pair(Limits(head_bytes=1000))
    await the_request(peer, connection, GET)
    await connection.start_stream(200)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.wait_disconnect)
        await peer.send(GET)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(50):
            await peer.send(bytes(100_000))
            await trio.testing.wait_all_tasks_blocked()
        assert connection.statistics().early_bytes == len(GET)
        nursery.cancel_scope.cancel(reason="the answer is complete")
    await connection.end_stream()
    assert await connection.next_request() is None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.aclose)
        assert (await peer.reply()).status == 200


async def test_wait_disconnect_needs_the_request_to_be_read() -> None:
    peer, connection = http_pair()
    await the_request(peer, connection, post(b"body")[:-1])
    with pytest.raises(LocalProtocolError, match="read the request's body"):
        await connection.wait_disconnect()


async def test_an_abort_counts_though_a_write_ends_well_behind_it() -> None:
    class Slow(SlicedByteStream):
        """A write has taken effect for a while before its task goes on."""

        async def wait_send(self, data: bytes | memoryview) -> int:
            sent = await super().wait_send(data)
            await trio.testing.wait_all_tasks_blocked()
            return sent

    theirs, ours = network().pair()
    connection = HttpConnection(Slow(ours, slice_bytes=1000), Limits())
    await theirs.send_all(GET)
    assert await connection.next_request() is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.start_stream, 200)
        assert await theirs.receive_some()
        await connection.abort("the peer is gone")
    assert connection.broken == "the peer is gone"
    assert await connection.next_request() is None


async def test_abort_wakes_a_write_that_waits_and_a_wait_for_the_end() -> None:
    theirs, ours = trio.testing.lockstep_stream_pair()
    connection = HttpConnection(SlicedByteStream(ours, slice_bytes=100), Limits())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(theirs.send_all, GET)
        assert await connection.next_request() is not None
    causes = []
    async with trio.open_nursery() as nursery:

        async def write() -> None:
            with pytest.raises(ConnectionEnded):
                await connection.start_stream(200)

        async def watch() -> None:
            causes.append(await connection.wait_disconnect())

        nursery.start_soon(write)
        nursery.start_soon(watch)
        await trio.testing.wait_all_tasks_blocked()
        await connection.abort("the turn is over")
    assert causes == ["closed on this side"]
    assert await connection.next_request() is None


# Upgrades


async def test_an_upgrade_is_handed_over_with_what_came_early() -> None:
    peer, connection = http_pair()
    request = await the_request(peer, connection, UPGRADE + b"early")
    assert upgrade_wanted(request)
    assert connection.early == b"early"
    stream, early = connection.take_over()
    assert early == b"early"
    assert connection.taken
    assert await connection.next_request() is None
    await connection.aclose()
    await stream.wait_send(b"still open")
    assert await peer.stream.receive_some() == b"still open"
    with pytest.raises(LocalProtocolError):
        await connection.respond(200)


async def test_a_refused_upgrade_leaves_the_connection_usable() -> None:
    async def refuse(connection: HttpConnection, request: Request) -> None:
        if upgrade_wanted(request):
            raise RequestError(426, "upgrade_required", "not here")
        await hello(connection, request)

    async with serving(refuse) as peer:
        assert (await peer.ask(UPGRADE)).status == 426
        assert (await peer.ask(GET)).status == 200


async def test_an_upgrade_to_something_else_is_ignored() -> None:
    async with serving(echo) as peer:
        h2c = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQ")
        assert (await peer.ask(post(b"body", *h2c))).body == b"body"
        assert (await peer.ask(GET)).body == b""


async def test_only_an_unanswered_request_without_a_body_can_be_taken_over() -> None:
    peer, connection = http_pair()
    with pytest.raises(LocalProtocolError, match="can be taken over"):
        connection.take_over()
    await the_request(peer, connection, post(b"body")[:-1])
    with pytest.raises(LocalProtocolError, match="can be taken over"):
        connection.take_over()
    peer, connection = http_pair()
    await the_request(peer, connection, GET)
    await connection.respond(200)
    with pytest.raises(LocalProtocolError, match="can be taken over"):
        connection.take_over()
