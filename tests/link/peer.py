"""A server for tests that says exactly what it is told to, over the network in memory."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import trio

from agentwire.link import Link, open_link
from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.window import Framing
from agentwire.testing import MemoryStream, Network, network
from agentwire.transport.websocket import WebSocketWire, open_server_wire

URL = "ws://test/v1"
LIMITS = Limits(ping_interval=20, ping_timeout=60, handshake=10, close_grace=5)
Json = dict[str, Any]


class _Queue:
    """The peer's messages, as its wire takes them: one frame each."""

    def __init__(self) -> None:
        self.messages: deque[bytes] = deque()

    @property
    def pending(self) -> bool:
        return bool(self.messages)

    def take(self, max_bytes: int, framing: Framing) -> bytes:
        messages = tuple(self.messages)
        self.messages.clear()
        return framing(messages)


@attrs.define(eq=False)
class Peer:
    """The server's end of one connection."""

    wire: WebSocketWire
    stream: MemoryStream
    head: bytes
    queue: _Queue = attrs.field(factory=_Queue)

    async def request(self) -> Json:
        """The next create request."""
        frame: Json = json.loads(await self.wire.receive())
        assert frame["type"] == "response.create"
        return frame

    def say(self, *events: Json, lane: str | None = None) -> None:
        for event in events:
            self.say_raw(json.dumps(event if lane is None else {**event, "stream_id": lane}).encode())

    def say_raw(self, *messages: bytes) -> None:
        self.queue.messages += messages
        self.wire.kick()

    async def answer(self, *events: Json) -> Json:
        """Answer the next request with these events, on its lane."""
        request = await self.request()
        self.say(*events, lane=request.get("stream_id"))
        return request


Script = Callable[[Peer], Awaitable[object]]


@asynccontextmanager
async def peer_of(
    stream: MemoryStream, limits: Limits = LIMITS, headers: Sequence[tuple[str, str]] = ()
) -> AsyncGenerator[Peer]:
    head = b""
    while b"\r\n\r\n" not in head:
        data = await stream.receive_some()
        if not data:
            raise ConnectionEnded(cause="the client went away before its handshake")
        head += data
    async with open_server_wire(stream, head, headers=headers, limits=limits) as wire, trio.open_nursery() as nursery:
        peer = Peer(wire, stream, head)

        async def write() -> None:
            with suppress(ConnectionEnded):
                await wire.send_many(peer.queue)

        nursery.start_soon(write)
        yield peer
        nursery.cancel_scope.cancel(reason="the script is over")


async def serve_script(stream: MemoryStream, script: Script) -> None:
    """Run a script as the server of one connection; then stay until the client goes."""
    with suppress(ConnectionEnded):
        async with peer_of(stream) as peer:
            await script(peer)
            while True:
                await peer.wire.receive()


@asynccontextmanager
async def linked(script: Script, *, limits: Limits = LIMITS, net: Network | None = None) -> AsyncGenerator[Link]:
    """A link to a server that follows a script."""
    net = net or network()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_accept, net, script)
        async with open_link(URL, limits=limits, sources=Sources.seeded(1), connector=net.connect) as link:
            yield link
        nursery.cancel_scope.cancel(reason="the test is over")


async def _accept(net: Network, script: Script) -> None:
    stream = await net.accept()
    try:
        await serve_script(stream, script)
    finally:
        await trio.aclose_forcefully(stream)


# Events


def response(response_id: str, status: str = "in_progress", output: Sequence[Json] = (), **more: Any) -> Json:
    body = {"id": response_id, "object": "response", "created_at": 1, "status": status, "model": "m"}
    return {**body, "output": list(output), **more}


def usage(given: int, made: int) -> Json:
    return {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}


def created(response_id: str) -> Json:
    return {"type": "response.created", "sequence_number": 0, "response": response(response_id)}


def delta(text: str, number: int = 1) -> Json:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    return {"type": "response.output_text.delta", "sequence_number": number, **place, "delta": text, "logprobs": []}


def message(text: str) -> Json:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def call(call_id: str, name: str, arguments: str = "{}") -> Json:
    return {
        "id": f"fc_{call_id}",
        "type": "function_call",
        "status": "completed",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


def done(item: Json, index: int = 0) -> Json:
    return {"type": "response.output_item.done", "sequence_number": 2, "output_index": index, "item": item}


def ended(response_id: str, status: str = "completed", output: Sequence[Json] = (), **more: Any) -> Json:
    final = response(response_id, status, output, usage=usage(3, 2), **more)
    return {"type": f"response.{status}", "sequence_number": 9, "response": final}


def error(code: str, message: str = "No.", *, status: int = 400, number: int | None = None, **more: Any) -> Json:
    event: Json = {"type": "error", "status": status, **more}
    if number is not None:
        event["sequence_number"] = number
    event["error"] = {"type": "invalid_request_error", "code": code, "message": message, "param": None}
    return event


def text_turn(response_id: str, *pieces: str) -> list[Json]:
    """A whole turn that says this text."""
    whole = message("".join(pieces))
    deltas = [delta(piece, number) for number, piece in enumerate(pieces, 1)]
    return [created(response_id), *deltas, done(whole), ended(response_id, output=[whole])]


def call_turn(response_id: str, *calls: Json) -> list[Json]:
    """A whole turn that calls tools."""
    items = [done(item, index) for index, item in enumerate(calls)]
    return [created(response_id), *items, ended(response_id, output=list(calls))]
