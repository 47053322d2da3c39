"""A client's opening handshake against every kind of answer, and none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from agentwire.protocol.errors import ConnectionEnded, RemoteProtocolError
from agentwire.protocol.limits import Limits
from agentwire.testing import Fault, MemoryStream, network, no_leaks
from agentwire.transport.frames import server_frame
from agentwire.transport.refusal import AnswerReader
from agentwire.transport.websocket import HandshakeRefused, open_client_wire

LIMITS = Limits(handshake=10)
JSON = b'{"error":{"message":"No such key.","type":"x","param":null,"code":"invalid_api_key"}}'


async def _shake(answer: bytes | None, *, close: bool = False, pieces: int | None = None) -> None:
    """Open a client's wire against a server that says just this."""
    client, server = network().pair()

    async def serve(stream: MemoryStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        for start in range(0, len(answer or b""), pieces or 65536):
            await stream.send_all((answer or b"")[start : start + (pieces or 65536)])
        if close:
            await stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, server)
        try:
            async with open_client_wire(client, host="test", target="/v1/responses", limits=LIMITS):
                raise AssertionError("the handshake must not succeed")
        finally:
            await trio.aclose_forcefully(server)


async def _refused(answer: bytes | None, *, close: bool = False, pieces: int | None = None) -> BaseException:
    async with no_leaks():
        with pytest.RaisesGroup(Exception) as group:
            await _shake(answer, close=close, pieces=pieces)
    (error,) = group.value.exceptions
    return error


@pytest.mark.parametrize("pieces", [None, 1])
async def test_a_refusal_tells_status_headers_and_the_servers_message(
    autojump_clock: trio.testing.MockClock, pieces: int | None
) -> None:
    head = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: %d\r\n\r\n" % len(JSON)
    error = await _refused(head + JSON, pieces=pieces)
    assert isinstance(error, HandshakeRefused)
    assert (error.status, dict(error.headers)["www-authenticate"], error.body) == (401, "Bearer", JSON)
    assert str(error) == "the server refused the WebSocket with HTTP 401: No such key."


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n", 426, "with HTTP 426"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, "with HTTP 204"),
        (
            b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfull\r\n0\r\n\r\n",
            503,
            "with HTTP 503: 4\r\nfull",
        ),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 Nope\r\nContent-Length: 4\r\n\r\ngone", 404, "404: gone"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "200: ok"),
        (b"SSH-2.0-x\r\n\r\n", 0, "without speaking HTTP"),
        (b"x" * LIMITS.head_bytes, 0, "without speaking HTTP: xxx"),
    ],
)
async def test_any_answer_but_101_is_a_refusal_at_once(
    autojump_clock: trio.testing.MockClock, answer: bytes, status: int, words: str
) -> None:
    began = trio.current_time()
    error = await _refused(answer)
    assert isinstance(error, HandshakeRefused)
    assert error.status == status
    assert words in str(error)
    assert trio.current_time() == began


async def test_a_refusal_that_is_nested_too_deeply_is_told_as_it_came(autojump_clock: trio.testing.MockClock) -> None:
    body = b'{"error":' * 3000 + b"1" + b"}" * 3000
    error = await _refused(b"HTTP/1.1 404 Nope\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert isinstance(error, HandshakeRefused)
    assert 'with HTTP 404: {"error":{"error":' in str(error)


async def test_a_refusal_that_ends_with_the_connection_is_whole(autojump_clock: trio.testing.MockClock) -> None:
    error = await _refused(b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\nupstream is away", close=True)
    assert isinstance(error, HandshakeRefused)
    assert error.body == b"upstream is away"


async def test_a_refusal_that_never_ends_is_told_at_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    error = await _refused(b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nhalf")
    assert isinstance(error, HandshakeRefused)
    assert (error.status, error.body) == (500, b"half")
    assert trio.current_time() == began + LIMITS.handshake


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 101 Swi"])
async def test_a_server_that_goes_away_is_noticed_at_once(
    autojump_clock: trio.testing.MockClock, answer: bytes
) -> None:
    began = trio.current_time()
    error = await _refused(answer, close=True)
    assert isinstance(error, ConnectionEnded)
    assert error.cause == "the peer ended the connection"
    assert trio.current_time() == began


async def test_a_connection_that_breaks_before_the_request_is_out_is_noticed_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    client, server = network(faults=[Fault("reset", at_byte=0)]).pair()
    with pytest.raises(ConnectionEnded, match="reset"):
        async with open_client_wire(client, host="test", target="/v1/responses", limits=LIMITS):
            pass
    assert trio.current_time() == 0
    await server.aclose()


async def test_a_server_that_says_nothing_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    error = await _refused(None)
    assert isinstance(error, ConnectionEnded)
    assert error.cause == "no answer to the handshake within 10 s"
    assert trio.current_time() == began + LIMITS.handshake


@pytest.mark.parametrize(
    "headers",
    [
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n",
        b"Upgrade: websocket\r\nConnection: Upgr\xe4de\r\n",
        b"",
    ],
)
async def test_an_invalid_101_is_the_servers_fault(autojump_clock: trio.testing.MockClock, headers: bytes) -> None:
    error = await _refused(b"HTTP/1.1 101 Switching Protocols\r\n" + headers + b"\r\n")
    assert isinstance(error, RemoteProtocolError | ConnectionEnded)
    assert "handshake" in str(error)


async def test_frames_that_come_with_the_101_are_not_lost(autojump_clock: trio.testing.MockClock) -> None:
    async def serve(stream: MemoryStream) -> None:
        import wsproto  # an independent peer

        peer = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        while not (events := list(peer.events())):
            peer.receive_data(await stream.receive_some())
        assert isinstance(events[0], wsproto.events.Request)
        accepted = peer.send(wsproto.events.AcceptConnection())
        await stream.send_all(accepted + server_frame(b"one") + server_frame(b"two"))

    client, server = network().pair()
    async with no_leaks(), trio.open_nursery() as nursery:
        nursery.start_soon(serve, server)
        async with open_client_wire(client, host="test", target="/", limits=LIMITS) as wire:
            assert [await wire.receive(), await wire.receive()] == [b"one", b"two"]
        await trio.aclose_forcefully(server)


async def test_what_the_body_raises_comes_out_as_itself(autojump_clock: trio.testing.MockClock) -> None:
    async def serve(stream: MemoryStream) -> None:
        import wsproto

        peer = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        while not list(peer.events()):
            peer.receive_data(await stream.receive_some())
        await stream.send_all(peer.send(wsproto.events.AcceptConnection()))

    async def use() -> None:
        async with open_client_wire(client, host="test", target="/", limits=LIMITS):
            raise KeyError("body")

    client, server = network().pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, server)
        with pytest.raises(KeyError, match="body"):
            await use()
        await trio.aclose_forcefully(server)


@pytest.mark.parametrize("cut", [lambda data: [data], lambda data: [data[i : i + 1] for i in range(len(data))]])
def test_the_reader_of_answers_does_not_care_about_pieces(cut: Callable[[bytes], list[bytes]]) -> None:
    reader = AnswerReader(1000)
    whole = [reader.feed(piece) for piece in cut(b"HTTP/1.1 101 Yes\r\nA: b\r\n\r\n")]
    assert whole[-1]
    assert not any(whole[:-1])
    assert reader.accepted == (b"HTTP/1.1 101 Yes\r\nA: b\r\n\r\n", b"")
    assert reader.answer is not None
    assert reader.answer.headers == (("a", "b"),)
