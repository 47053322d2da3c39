"""Peers that break every rule, against a live server: nobody else notices, and the server goes on."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.codec import encode_json
from agentwire.protocol.compaction import seal
from agentwire.protocol.items import Compaction, Message
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Out
from agentwire.runtime.wire_session import WireSession
from agentwire.testing import network
from agentwire.transport.frames import client_frame
from tests.runtime.kit import MemoryWire, attach, service
from tests.server.kit import Closed, Peer, Rig, cut_now, eventually, on_loopback, serving

MIB = 1024 * 1024
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


async def hello(ask: Ask, out: Out) -> None:
    for word in ("hello", " ", "there"):
        await out.text(word)
        await trio.lowlevel.checkpoint()


class Healthy:
    """A client that takes one turn after the other, and minds nobody else."""

    def __init__(self) -> None:
        self.turns = 0

    async def run(self, peer: Peer) -> None:
        while True:
            assert (await peer.ask())[-1]["type"] == "response.completed"
            self.turns += 1
            await trio.sleep(2)


@asynccontextmanager
async def beside_a_healthy_client(rig: Rig) -> AsyncGenerator[Healthy]:
    """A healthy client before, meanwhile and after; the server has nothing to report."""
    healthy = Healthy()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(healthy.run, await rig.connect())
        await eventually(lambda: healthy.turns >= 3)
        yield healthy
        before = healthy.turns
        await eventually(lambda: healthy.turns >= before + 3)
        nursery.cancel_scope.cancel(reason="seen")
    await (await rig.connect()).ask()
    assert rig.server.statistics().listening.failed == 0


def upgrade(*replaced: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    """An upgrade, with these headers instead of its own of the same name."""
    headers = {
        b"host": b"localhost",
        b"upgrade": b"websocket",
        b"connection": b"Upgrade",
        b"sec-websocket-key": KEY,
        b"sec-websocket-version": b"13",
    }
    headers |= dict(line.split(b": ", 1) for line in replaced)
    lines = [b"%b: %b" % header for header in headers.items()]
    return b"\r\n".join((b"%b /v1/responses HTTP/%b" % (method, version), *lines, b"", b""))


HANDSHAKES: dict[str, bytes] = {
    "host is not ASCII": upgrade(b"host: caf\xe9"),
    "host is broken punycode": upgrade(b"host: xn--\xff-"),
    "host is bad punycode": upgrade(b"host: xn--a-ecp.ru"),
    "connection is not ASCII": upgrade(b"connection: Upgrade, \xe9"),
    "subprotocol is not ASCII": upgrade(b"sec-websocket-protocol: \xff\xfe"),
    "extension is not ASCII": upgrade(b"sec-websocket-extensions: \xe9\xe9"),
    "subprotocol is empty": upgrade(b"sec-websocket-protocol: "),
    "upgrade is not ASCII": upgrade(b"upgrade: websocket, \xe9"),
    "no key": upgrade(b"sec-websocket-key: "),
    "bad key": upgrade(b"sec-websocket-key: 12345"),
    "old version": upgrade(b"sec-websocket-version: 8"),
    "version is not ASCII": upgrade(b"sec-websocket-version: \xb9\xb3"),
    "a POST": upgrade(method=b"POST"),
    "a HEAD": upgrade(method=b"HEAD"),
    "HTTP/1.0": upgrade(version=b"1.0"),
    "HTTP/2.0": upgrade(version=b"2.0"),
    "h2c": upgrade(b"upgrade: h2c"),
    "a body": upgrade(b"content-length: 5") + b"hello",
    "a frame before the answer": upgrade() + client_frame(b"{}", b"abcd"),
    "another host": upgrade(b"host: evil.example"),
    "two lines too many": b"\r\n\r\n" + upgrade(),
    "garbage": bytes(range(256)) * 20,
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "a head without end": b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 100_000,
    "a target that is not ASCII": b"GET /v1/responses/\xff\xfe HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "a target with escapes": b"GET /v1/responses/%ff%00%2f..%2f HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "an authorization that is not ASCII": upgrade(b"authorization: Bearer \xff\xff"),
    "a health check": b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
}

EXPECTED: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("host is not ASCII", "host is broken punycode", "host is bad punycode"), (101,)),
    **dict.fromkeys(("extension is not ASCII", "an authorization that is not ASCII", "another host"), (101,)),
    "subprotocol is empty": (400,),
    "old version": (426,),
    "h2c": (426,),
    "HTTP/2.0": (400, 505),
    "a head without end": (431,),
    "a target that is not ASCII": (400,),
    "a target with escapes": (404,),
    "a health check": (200,),
}
"""Statuses other than 400; in memory, a server goes by every name."""

AFTERWARDS: dict[str, Callable[[Rig, Any], Awaitable[None]]] = {}


def afterwards(function: Callable[[Rig, Any], Awaitable[None]]) -> Callable[[Rig, Any], Awaitable[None]]:
    AFTERWARDS[function.__name__] = function
    return function


@afterwards
async def resets_at_once(rig: Rig, stream: trio.abc.HalfCloseableStream) -> None:
    cut_now(rig.net, "reset")


@afterwards
async def closes_at_once(rig: Rig, stream: trio.abc.HalfCloseableStream) -> None:
    await stream.aclose()


@afterwards
async def ends_its_half(rig: Rig, stream: trio.abc.HalfCloseableStream) -> None:
    await stream.send_eof()


@afterwards
async def reads_to_the_end(rig: Rig, stream: trio.abc.HalfCloseableStream) -> None:
    with trio.move_on_after(1), suppress(trio.BrokenResourceError):
        while await stream.receive_some():
            pass


@afterwards
async def stays_and_says_nothing(rig: Rig, stream: trio.abc.HalfCloseableStream) -> None:
    await trio.sleep(100)


@pytest.mark.parametrize("behaviour", AFTERWARDS)
@pytest.mark.parametrize("handshake", HANDSHAKES)
async def test_a_hostile_handshake(handshake: str, behaviour: str, autojump_clock: MockClock) -> None:
    async with serving(hello, keys=(), allowed_hosts=()) as rig, beside_a_healthy_client(rig):
        stream = await rig.dial()
        with suppress(trio.BrokenResourceError):
            await stream.send_all(HANDSHAKES[handshake])
            await AFTERWARDS[behaviour](rig, stream)


@pytest.mark.parametrize("handshake", HANDSHAKES)
async def test_a_hostile_handshake_is_answered_as_http(handshake: str, autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        stream = await rig.dial()
        await stream.send_all(HANDSHAKES[handshake])
        answer = b""
        with trio.move_on_after(20), suppress(trio.BrokenResourceError):
            while chunk := await stream.receive_some():
                answer += chunk
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        status = int(head.removeprefix(b"HTTP/1.1 ")[:3])
        if status >= 400 and handshake != "a HEAD":
            assert json.loads(body[: int(lines[b"content-length"])])["error"]["code"]
        assert status in EXPECTED.get(handshake, (400,))


async def test_a_head_that_never_ends_has_its_time(autojump_clock: MockClock) -> None:
    """A byte a second, for as long as the server lets it."""
    async with serving(hello) as rig, beside_a_healthy_client(rig):
        stream = await rig.dial()
        begun = trio.current_time()
        with suppress(trio.BrokenResourceError):
            for byte in upgrade():
                await stream.send_all(bytes((byte,)))
                await trio.sleep(1)
        assert trio.current_time() - begun < 16  # ten for the head, five to read the answer


# Frames

FRAMES: dict[str, bytes] = {
    "garbage": bytes(range(256)) * 50,
    "unmasked": b"\x81\x02{}",
    "reserved bits": b"\xf1\x82\0\0\0\0{}",
    "reserved opcode": b"\x8b\x82\0\0\0\0{}",
    "a continuation of nothing": b"\x80\x82\0\0\0\0{}",
    "a text within a text": b"\x01\x81\0\0\0\0{" + b"\x81\x82\0\0\0\0{}",
    "a long ping": b"\x89\xfe\x00\x80\0\0\0\0" + bytes(128),
    "half a ping": b"\x09\x80\0\0\0\0",
    "a close of one byte": b"\x88\x81\0\0\0\0x",
    "a close with a bad code": b"\x88\x82\0\0\0\0\x00\x01",
    "a close with bad text": b"\x88\x84\0\0\0\0\x03\xe8\xff\xff",
    "a close, then pings": b"\x88\x80\0\0\0\0" + b"\x89\x80\0\0\0\0" * 50,
    "a close, then garbage": b"\x88\x80\0\0\0\0" + bytes(range(256)) * 20,
    "pings without end": b"\x89\xfd\0\0\0\0" + bytes(125),
    "not UTF-8": client_frame(b'{"type":"\xff"}', b"abcd"),
    "too large by its header": b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
    "too large by its fragments": b"\x01\xff" + (1 << 30).to_bytes(8, "big") + b"\0\0\0\0",
    "a length in too many bytes": b"\x81\xfe\x00\x02\0\0\0\0{}",
    "no more than a header": b"\x81\xfe\x10\x00\0\0\0\0",
    "half a header": b"\x81",
}


@pytest.mark.parametrize("behaviour", AFTERWARDS)
@pytest.mark.parametrize("frame", FRAMES)
async def test_a_hostile_frame(frame: str, behaviour: str, autojump_clock: MockClock) -> None:
    async with serving(hello) as rig, beside_a_healthy_client(rig):
        peer = await rig.connect()
        with suppress(trio.BrokenResourceError):
            for _ in range(200 if frame == "pings without end" else 1):
                await peer.stream.send_all(FRAMES[frame])
            await AFTERWARDS[behaviour](rig, peer.stream)


async def test_pings_while_we_close(autojump_clock: MockClock) -> None:
    """Once more than trio-websocket's own reader can bear."""
    async with serving(hello) as rig:
        peers = [await rig.connect() for _ in range(5)]
        async with trio.open_nursery() as nursery:

            async def ping_on(peer: Peer) -> None:
                with suppress(trio.BrokenResourceError):
                    for _ in range(100):
                        await peer.stream.send_all(b"\x89\x80\0\0\0\0" * 3)

            for peer in peers:
                nursery.start_soon(ping_on, peer)
            await trio.lowlevel.checkpoint()
            await rig.server.drain()
        assert rig.server.statistics().listening.failed == 0


async def test_who_never_answers_our_close(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig, beside_a_healthy_client(rig):
        peer = await rig.connect()
        await peer.stream.send_all(b"\x81\x02{}")
        begun = trio.current_time()
        await eventually(lambda: rig.server.statistics().connections == 1)
        assert trio.current_time() - begun <= 6


# What costs

COSTLY: dict[str, Callable[[], bytes]] = {
    "16 MiB of empty objects": lambda: _create(b"[" + b"{}," * (5 * MIB) + b"{}]"),
    "16 MiB of empty arrays": lambda: _create(b"[" + b"[]," * (5 * MIB) + b"[]]"),
    "16 MiB of one string": lambda: _create(b'"' + b"x" * (15 * MIB) + b'"'),
    "16 MiB of escapes": lambda: _create(b'"' + b"\\u0041" * (5 * MIB // 2) + b'"'),
    "16 MiB of quotes": lambda: _create(b'"' + b'\\"' * (7 * MIB) + b'"'),
    "16 MiB of numbers": lambda: _create(b"[" + b"1," * (7 * MIB) + b"1]"),
    "deep nesting": lambda: _create(b"[" * (2 * MIB) + b"]" * (2 * MIB)),
    "deep nesting outside": lambda: b"[" * (8 * MIB),
    "16 MiB of names": lambda: _create(b"{" + b",".join(b'"%d":0' % number for number in range(MIB)) + b"}"),
    "10,000 messages in one": lambda: _create(b"[" + b'{"role":"user","content":"x"},' * 10_000 + b'{"role":"user"}]'),
    "50,000 messages in compactions": lambda: _create(encode_json([_compaction(10_000)] * 5)),
    "16 MiB without a type": lambda: b'{"x":"' + b"y" * (15 * MIB) + b'"}',
    "16 MiB of white space": lambda: b" " * (15 * MIB),
    "a steer of many objects": lambda: b'{"type":"response.steer","input":[' + b"{}," * (4 * MIB) + b"{}]}",
}


def _compaction(messages: int) -> Compaction:
    return seal("cmp_1", "", [Message("user", "x")] * messages)


def _create(given: bytes) -> bytes:
    return b'{"type":"response.create","model":"m","store":false,"input":%b}' % given


class Steps(trio.abc.Instrument):
    """Counts the steps of every task."""

    def __init__(self) -> None:
        self.count = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


@pytest.mark.parametrize("kind", COSTLY)
async def test_a_costly_message_is_taken_in_steps(kind: str, autojump_clock: MockClock) -> None:
    """It is refused or answered, the healthy client goes on, and the loop has many turns meanwhile."""
    message = COSTLY[kind]()
    assert len(message) <= 16 * MIB
    async with serving(hello, net=network(capacity=MIB, keep=False)) as rig, beside_a_healthy_client(rig):
        peer = await rig.connect()
        await peer.stream.send_all(client_frame(message, b"\0\0\0\0"))
        first = await peer.receive()
        assert first["type"] in ("error", "response.created", "response.steer.failed")
        if first["type"] == "error":
            assert first["error"]["code"] in (
                "invalid_json",
                "request_too_complex",
                "unknown_event_type",
                "invalid_type",
                "missing_required_parameter",
            )
        with trio.fail_after(60):
            while peer.events[-1]["type"] == "response.created":
                await peer.receive()


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/responses/input_tokens", "/v1/responses/compact"])
@pytest.mark.parametrize("kind", COSTLY)
async def test_a_costly_body_is_the_clients_fault(kind: str, path: str, autojump_clock: MockClock) -> None:
    """Over HTTP it is refused or answered as it is over the WebSocket, and never an error of the server's."""
    body = COSTLY[kind]()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    async with serving(hello, net=network(capacity=MIB, keep=False)) as rig, beside_a_healthy_client(rig):
        reply = await (await rig.http()).ask(head, body)
        assert reply.status in (200, 400), reply.body[:500]


@pytest.mark.parametrize("text", [b"%b", b'{"model":"m","background":true,"input":%b}'])
async def test_a_body_is_judged_before_anything_looks_into_it(text: bytes, autojump_clock: MockClock) -> None:
    body = text % (b"[" * 2000 + b"]" * 2000)
    head = f"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    async with serving(hello) as rig:
        reply = await (await rig.http()).ask(head, body)
        assert (reply.status, json.loads(reply.body)["error"]["code"]) == (400, "request_too_complex")


@pytest.mark.parametrize(
    "kind", ["16 MiB of empty objects", "16 MiB of quotes", "10,000 messages in one", "50,000 messages in compactions"]
)
async def test_reading_a_costly_body_lets_others_run(kind: str) -> None:
    limits = Limits(json_values=10_000_000)  # so that it is read to its end
    async with trio.open_nursery() as nursery:
        session = WireSession(service(hello, limits=limits), principal="tester")
        await nursery.start(session.run)
        wire = MemoryWire()
        attach(nursery, session, wire)
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        wire.say(COSTLY[kind]())
        await wire.until("error", "response.created")
        trio.lowlevel.remove_instrument(steps)
        assert steps.count > (5 if kind == "10,000 messages in one" else 60)
        session.cancel("the test is over")
        nursery.cancel_scope.cancel(reason="the test is over")


@pytest.mark.parametrize(
    ("message", "times"),
    [(b"{}", 100_000), (b"", 10_000), (b'{"type":"response.processed"}', 100_000), (b"x", 10_000)],
)
async def test_a_hundred_thousand_tiny_messages(message: bytes, times: int, autojump_clock: MockClock) -> None:
    """Their sender reads what it is told; nobody else waits for it."""
    frame = client_frame(message, b"abcd")
    async with serving(hello, net=network(keep=False)) as rig, beside_a_healthy_client(rig) as healthy:
        stream = (await rig.connect()).stream
        before = healthy.turns
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    while await stream.receive_some():
                        pass

            nursery.start_soon(read)
            with suppress(trio.BrokenResourceError):
                for _ in range(times // 1000):
                    await stream.send_all(frame * 1000)
            await wait_all_tasks_blocked()
            await stream.aclose()
        assert healthy.turns >= before


async def test_as_many_requests_as_the_queue_takes_and_more(autojump_clock: MockClock) -> None:
    async def slow(ask: Ask, out: Out) -> None:
        await trio.sleep(1)

    async with serving(slow) as rig:
        peer = await rig.connect()
        for number in range(400):
            await peer.create(stream_id=f"lane-{number % 40}")
        done: list[str] = []
        with trio.move_on_after(100):
            while len(done) < 400:
                event = await peer.receive()
                if event["type"] in ("response.completed", "error"):
                    done.append(event["error"]["code"] if "error" in event else "completed")
        assert len(done) == 400
        assert set(done) == {"completed", "websocket_queue_full", "websocket_stream_limit_reached"}
        assert done.count("completed") >= 256


# Real sockets


@pytest.mark.socket
@pytest.mark.parametrize(
    "host", [b"evil.example", b"caf\xe9", b"xn--\xff-", b"xn--a-ecp.ru", b"127.0.0.1.evil.example", b""]
)
async def test_a_server_on_this_machine_goes_by_no_other_name(host: bytes) -> None:
    async with on_loopback(hello) as rig:
        for head in (upgrade(b"host: " + host), b"GET /v1/models HTTP/1.1\r\nhost: %b\r\n\r\n" % host):
            stream = await rig.dial()
            await stream.send_all(head)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 403 ")


@pytest.mark.socket
async def test_resets_after_bad_handshakes_on_real_sockets() -> None:
    async with on_loopback(hello) as rig:
        healthy = await rig.connect()
        for raw in (b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", *HANDSHAKES.values()):
            for _ in range(3):
                stream = await rig.dial()
                assert isinstance(stream, trio.SocketStream)
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(raw)
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await stream.aclose()
        assert (await healthy.ask())[-1]["type"] == "response.completed"
        await healthy.close()
        await rig.gone()
        assert rig.server.statistics().listening.failed == 0


@pytest.mark.socket
async def test_hostile_frames_on_real_sockets() -> None:
    async with on_loopback(hello) as rig:
        healthy = await rig.connect()
        for raw in FRAMES.values():
            peer = await rig.connect()
            with suppress(trio.BrokenResourceError, Closed):
                await peer.stream.send_all(raw)
            await peer.stream.aclose()
        assert (await healthy.ask())[-1]["type"] == "response.completed"
        await healthy.close()
        await rig.gone()
        assert rig.server.statistics().listening.failed == 0
