"""Each engine in front of a scripted upstream, and what a whole answer of its kind looks like.

A further engine whose upstream speaks HTTP joins every test of faults and disconnects by a `Kind` in `KINDS`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio

from agentwire.engines.chat import open_chat_engine
from agentwire.engines.responses import open_responses_engine
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Engine
from agentwire.runtime.groups import open_flat_nursery
from agentwire.server import Server, serve
from agentwire.testing import Network, Reply, ScriptedUpstream, network, no_leaks, scripted_upstream
from tests.server.kit import Peer

Json = dict[str, Any]
Payloads = tuple[Any, ...]


@attrs.frozen
class Kind:
    """An engine, and its upstream's way of speaking.

    Attributes:
        name: of the engine.
        open: opens it.
        start: the payloads that come before the first piece of text.
        text: the payload with a piece of text.
        end: the payloads after the last one, for the whole text.
        fault: the payload that reports an error in the middle.
        nested: a payload with something of the server's own in it, ``...``, that is told as it is.
        call: the payloads with a call of a tool and the end of the answer, by its name and arguments.
    """

    name: str
    open: Callable[..., AbstractAsyncContextManager[Engine]]
    start: Payloads
    text: Callable[[str], Json]
    end: Callable[[str], Payloads]
    fault: Json
    nested: Json
    call: Callable[[str, str], Payloads]

    def __str__(self) -> str:
        return self.name

    def whole(self, text: str = "fine") -> Payloads:
        """All payloads of an answer."""
        return (*self.start, self.text(text), *self.end(text))

    def good(self, text: str = "fine") -> Reply:
        """An answer as it should be."""
        return Reply.stream(*self.whole(text))

    def begun(self, *more: Any, **how: Any) -> Reply:
        """An answer that has said something, and goes on like this."""
        return Reply.stream(*self.start, self.text("I thi"), *more, **how)


def _chunk(finish_reason: str | None = None, **delta: Any) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}


def _chat_call(name: str, arguments: str) -> Payloads:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return (_chunk(role="assistant", tool_calls=[call]), _chunk("tool_calls"))


CHAT = Kind(
    "chat",
    open_chat_engine,
    start=(_chunk(role="assistant", content=""),),
    text=lambda piece: _chunk(content=piece),
    end=lambda text: (_chunk("stop"), {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}),
    fault={"error": {"message": "out of memory", "type": "server_error", "code": 500}},
    nested=_chunk(annotations=[{"type": "url_citation", "url": "http://x", "title": "x", "more": "..."}]),
    call=_chat_call,
)


def _response(status: str, output: list[Json]) -> Json:
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5} if status == "completed" else None
    return {"id": "resp_up", "object": "response", "status": status, "output": output, "usage": usage}


def _message(text: str) -> Json:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"id": "msg_up", "type": "message", "role": "assistant", "status": "completed", "content": content}


def _responses_call(name: str, arguments: str) -> Payloads:
    item = {"id": "fc_up", "type": "function_call", "call_id": "call_1", "name": name, "arguments": arguments}
    done = {**item, "status": "completed"}
    return (
        {"type": "response.created", "response": _response("in_progress", [])},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "arguments": ""}},
        {
            "type": "response.function_call_arguments.done",
            "output_index": 0,
            "item_id": "fc_up",
            "arguments": arguments,
        },
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": "response.completed", "response": _response("completed", [done])},
    )


_AT = {"item_id": "msg_up", "output_index": 0, "content_index": 0}

RESPONSES = Kind(
    "responses",
    open_responses_engine,
    start=(
        {"type": "response.created", "response": _response("in_progress", [])},
        {"type": "response.output_item.added", "output_index": 0, "item": {**_message(""), "content": []}},
        {"type": "response.content_part.added", **_AT, "part": {"type": "output_text", "text": "", "annotations": []}},
    ),
    text=lambda piece: {"type": "response.output_text.delta", **_AT, "delta": piece},
    end=lambda text: (
        {"type": "response.output_text.done", **_AT, "text": text},
        {"type": "response.content_part.done", **_AT, "part": _message(text)["content"][0]},
        {"type": "response.output_item.done", "output_index": 0, "item": _message(text)},
        {"type": "response.completed", "response": _response("completed", [_message(text)])},
    ),
    fault={"type": "error", "code": "server_error", "message": "out of memory", "param": None, "sequence_number": 9},
    nested={"type": "response.output_text.delta", **_AT, "delta": "", "more": "..."},
    call=_responses_call,
)

KINDS = (CHAT, RESPONSES)


@attrs.define(eq=False)
class Stand:
    """A client's way to a server, the server's engine, and the engine's upstream."""

    net: Network
    server: Server
    upstream: ScriptedUpstream
    engine: Any

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Peer]:
        """A WebSocket client in memory."""
        async with await self.net.connect() as stream:
            peer = Peer(stream)
            await peer.shake_hands()
            yield peer

    @property
    def books(self) -> tuple[int, int, int]:
        """What the engine's pool has open: dialling, in use, kept."""
        shown = self.engine.http.statistics()
        return shown.dialling, shown.busy + shown.settling, shown.idle


@asynccontextmanager
async def serving(engine: Engine, **options: Any) -> AsyncGenerator[Server]:
    """A server in front of an engine."""
    async with open_flat_nursery() as nursery:
        server: Server = await nursery.start(partial(serve, engine, sources=Sources.seeded(1), **options))
        yield server
        nursery.cancel_scope.cancel(reason="the test is over")


@asynccontextmanager
async def stand(
    kind: Kind,
    *replies: Reply,
    limits: Limits | None = None,
    net: Network | None = None,
    upstream_net: Network | None = None,
    **options: Any,
) -> AsyncGenerator[Stand]:
    """All of it, over networks in memory, and nothing is left of it."""
    limits, net = limits or Limits(), net or network()
    async with (
        no_leaks(rounds=200),
        scripted_upstream(*replies, net=upstream_net) as upstream,
        kind.open(upstream.url, limits=limits, connector=upstream.connect) as engine,
        serving(engine, limits=limits, host=None, listeners=[net.listener()], **options) as server,
    ):
        yield Stand(net, server, upstream, engine)


@asynccontextmanager
async def client_of(server: Server) -> AsyncGenerator[Peer]:
    """A WebSocket client of a server on 127.0.0.1."""
    async with await trio.open_tcp_stream("127.0.0.1", server.port or 0) as stream:
        peer = Peer(stream)
        await peer.shake_hands()
        yield peer
