"""The plain client: it reads what a server may send, refuses what it must not, and says what it is told to say."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

import pytest
import trio
from trio.testing import memory_stream_pair
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, Ping, TextMessage

from agentwire.protocol.errors import RemoteProtocolError
from agentwire.runtime.groups import open_flat_nursery
from agentwire.testing.conformance.exchange import exchange
from agentwire.testing.conformance.wire import (
    BINARY,
    CONTINUATION,
    PING,
    TEXT,
    Closed,
    Frame,
    Log,
    Refused,
    WebSocket,
    cut_frame,
    frame,
)


async def answered(answer: bytes, *frames: bytes) -> WebSocket:
    """A WebSocket whose server gives this answer, in two pieces, then frames."""
    ours, theirs = memory_stream_pair()
    ws = WebSocket(ours, Log())

    async def serve() -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += bytes(await theirs.receive_some())
        key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        told = answer.replace(b"ACCEPT", base64.b64encode(digest)) + b"".join(frames)
        await theirs.send_all(told[:20])
        await theirs.send_all(told[20:])
        await theirs.send_eof()

    async with open_flat_nursery() as nursery:
        nursery.start_soon(serve)
        await ws.shake_hands("localhost", "/v1/responses", [("X-Some", "header")])
    return ws


ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n"


def served(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    return frame(opcode, payload, final=final, masked=False)


async def test_messages_control_frames_and_the_end() -> None:
    ws = await answered(
        ACCEPTED,
        served(TEXT, b'{"type":"one"}'),
        served(PING, b"there?"),
        served(TEXT, b'{"type"', final=False),
        served(0xA, b"pong"),
        served(CONTINUATION, b':"two"}'),
        served(BINARY, b'{"type":"three"}'),
        served(0x8, b"\x03\xe9bye"),
    )
    assert [(await ws.event())["type"] for _ in range(3)] == ["one", "two", "three"]
    assert (ws.binary, ws.pings, ws.pongs) == (1, 1, [b"pong"])
    with pytest.raises(Closed, match="closed with 1001 bye"):
        await ws.event()


async def test_a_refusal_is_told_whole() -> None:
    with pytest.raises(Refused, match="HTTP 401: no") as refused:
        await answered(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nx-a: b\r\n\r\nno")
    assert (refused.value.status, refused.value.headers["x-a"], refused.value.body) == (401, "b", b"no")


async def test_a_key_must_be_answered() -> None:
    with pytest.raises(RemoteProtocolError, match="does not answer the key"):
        await answered(ACCEPTED.replace(b"ACCEPT", b"other"))


@pytest.mark.parametrize(
    ("frames", "error"),
    [
        ([frame(TEXT, b"{}")], RemoteProtocolError),
        ([served(CONTINUATION, b"{}")], RemoteProtocolError),
        ([served(TEXT, b"{", final=False), served(TEXT, b"}")], RemoteProtocolError),
        ([served(TEXT, b"[]")], RemoteProtocolError),
        ([served(TEXT, b"no JSON")], ValueError),
        ([served(TEXT, b"{}")[:-1]], Closed),
        ([], Closed),
    ],
)
async def test_what_a_server_must_not_send(frames: Sequence[bytes], error: type[Exception]) -> None:
    ws = await answered(ACCEPTED, *frames)
    with pytest.raises(error):
        await ws.event()


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_frames_of_every_size_are_cut_off(size: int) -> None:
    payload = b"x" * size
    whole = served(BINARY, payload)
    assert cut_frame(whole + b"rest") == (Frame(BINARY, payload), True, b"rest")
    assert all(cut_frame(whole[:end]) is None for end in {0, 1, len(whole) // 2, len(whole) - 1} if end < len(whole))


def test_a_library_understands_what_is_sent() -> None:
    library = Connection(ConnectionType.SERVER)
    library.receive_data(frame(TEXT, b"h", final=False) + frame(PING, b"p"))
    library.receive_data(frame(CONTINUATION, b"i") + frame(BINARY, b"b"))
    events = list(library.events())
    text = "".join(event.data for event in events if isinstance(event, TextMessage))
    assert text == "hi"
    assert [bytes(event.payload) for event in events if isinstance(event, Ping)] == [b"p"]
    assert [bytes(event.data) for event in events if isinstance(event, BytesMessage)] == [b"b"]


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", b"to the end"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", b"hello"),
    ],
)
async def test_http_bodies_of_every_framing(answer: bytes, body: bytes) -> None:
    for step in (1, 7, 1000):
        ours, theirs = memory_stream_pair()

        async def serve(stream: trio.abc.Stream = theirs, step: int = step) -> None:
            await stream.receive_some()
            for start in range(0, len(answer), step):
                await stream.send_all(answer[start : start + step])
            await trio.aclose_forcefully(stream)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            reply = await exchange(ours, b"GET / HTTP/1.1\r\n\r\n", Log())
        assert (reply.status, reply.body) == (200, body)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
    ],
)
async def test_answers_without_an_end(answer: bytes) -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(answer)
    await theirs.send_eof()
    with pytest.raises(RemoteProtocolError):
        await exchange(ours, b"GET / HTTP/1.1\r\n\r\n", Log())


def test_the_log_is_bounded() -> None:
    async def fill() -> Log:
        log = Log()
        for number in range(1000):
            log.note(log.name("ws"), "<", f"{number} " + "x" * 10_000)
        return log

    log = trio.run(fill)
    assert len(log.lines) == 400
    assert max(map(len, log.lines)) < 2100
    assert log.lines[-1].split()[1] == "ws1000"
