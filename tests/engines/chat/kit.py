"""A chat server that says what it is told to, and one step of the engine in front of it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from agentwire.engines.chat import open_chat_engine
from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.items import Item, Message
from agentwire.protocol.transcript import Memo
from agentwire.runtime.contracts import Ask, Engine, Finish
from agentwire.testing.recording import RecordingOut, ask_for
from agentwire.transport.http11 import HttpConnection
from agentwire.transport.requests import Request
from tests.transport.kit import loopback

Json = dict[str, Any]
Script = Callable[[HttpConnection], Awaitable[None]]

EVENTS = {"content-type": "text/event-stream"}
USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}


def delta(**members: Any) -> Json:
    """A chunk with a piece of the answer."""
    return {"id": "x", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": members}]}


def call(arguments: Any = None, *, index: int | None = 0, **members: Any) -> Json:
    """A piece of a tool call; ``name`` goes where the API has it."""
    function = {key: members.pop(key) for key in ("name",) if key in members}
    if arguments is not None:
        function["arguments"] = arguments
    found: Json = {**members, "function": function}
    if index is not None:
        found["index"] = index
    return found


def calls(*pieces: Json) -> Json:
    """A chunk with pieces of tool calls."""
    return delta(tool_calls=list(pieces))


def stop(reason: str = "stop") -> Json:
    """The chunk that ends the answer."""
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


def used(**more: Any) -> Json:
    """The chunk with the usage."""
    return {"choices": [], "usage": {**USAGE, **more}}


def event(payload: Json | str) -> bytes:
    """One event of the stream."""
    return b"data: %b\n\n" % (payload if isinstance(payload, str) else json.dumps(payload)).encode()


def says(*payloads: Json | str, done: bool = True) -> Script:
    """Answers with a stream; ``done=False`` leaves out its last word."""

    async def answer(connection: HttpConnection) -> None:
        await connection.start_stream(200, EVENTS)
        for payload in payloads:
            await connection.send_chunk(event(payload))
        await connection.end_stream(b"data: [DONE]\n\n" if done else b"")

    return answer


def text(*pieces: str, reason: str = "stop") -> Script:
    """Answers with text."""
    return says(delta(role="assistant", content=""), *(delta(content=piece) for piece in pieces), stop(reason), used())


def refuses(status: int, body: Json | str = "", **headers: str) -> Script:
    """Answers with an error."""

    async def answer(connection: HttpConnection) -> None:
        raw = body if isinstance(body, str) else json.dumps(body)
        await connection.respond(status, {"content-type": "application/json", **headers}, raw.encode())

    return answer


def whole(body: Json | bytes, kind: str = "application/json") -> Script:
    """Answers with success, and no stream."""

    async def answer(connection: HttpConnection) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        await connection.respond(200, {"content-type": kind} if kind else {}, raw)

    return answer


def breaks_off(*payloads: Json | str) -> Script:
    """Begins to answer, and is gone."""

    async def answer(connection: HttpConnection) -> None:
        await connection.start_stream(200, EVENTS)
        for payload in payloads:
            await connection.send_chunk(event(payload))
        await connection.abort("the script says so")

    return answer


@attrs.define
class Upstream:
    """The server: each request is answered by the next of the scripts, the last one for ever.

    Attributes:
        url: its base URL.
        raw: the bodies that it was sent.
        headers: of each request.
        paths: of each request.
        gone: how the first client went that went before its answer was complete.
        left: set then.
    """

    scripts: deque[Script]
    url: str = ""
    raw: list[bytes] = attrs.Factory(list)
    headers: list[Mapping[str, str]] = attrs.Factory(list)
    paths: list[str] = attrs.Factory(list)
    gone: list[str] = attrs.Factory(list)
    left: trio.Event = attrs.Factory(trio.Event)

    @property
    def bodies(self) -> list[Json]:
        return [json.loads(raw) for raw in self.raw]

    @property
    def body(self) -> Json:
        """The only one."""
        (body,) = self.bodies
        return body

    async def answer(self, connection: HttpConnection, request: Request) -> None:
        self.paths.append(request.target)
        self.headers.append(dict(request.headers))
        self.raw.append(await connection.read_body())
        script = self.scripts.popleft() if len(self.scripts) > 1 else self.scripts[0]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, connection, nursery)
            try:
                await script(connection)
            except ConnectionEnded as ended:  # seen while writing
                self._note(ended.cause)
            nursery.cancel_scope.cancel(reason="answered")

    async def _watch(self, connection: HttpConnection, nursery: trio.Nursery) -> None:
        how = await connection.wait_disconnect()
        await connection.abort("the client is gone")
        self._note(how)
        nursery.cancel_scope.cancel(reason="the client is gone")

    def _note(self, how: str) -> None:
        if not self.left.is_set():
            self.gone.append(how)
            self.left.set()


@asynccontextmanager
async def upstream(*scripts: Script) -> AsyncGenerator[Upstream]:
    """A chat server on loopback, for 20 seconds at most."""
    server = Upstream(deque(scripts))
    with trio.fail_after(20):
        async with loopback(server.answer) as listening:
            server.url = f"{listening.url('http')}/v1"
            yield server


@asynccontextmanager
async def chat(*scripts: Script, **options: Any) -> AsyncGenerator[tuple[Engine, Upstream]]:
    """The engine in front of such a server."""
    async with upstream(*scripts) as server, open_chat_engine(server.url, **options) as engine:
        yield engine, server


@attrs.frozen
class Step:
    """One step: what was asked, and what came of it."""

    ask: Ask
    out: RecordingOut
    finish: Finish

    @property
    def items(self) -> list[Item]:
        return self.out.close()

    @property
    def text(self) -> str:
        return self.out.text_written

    @property
    def texts(self) -> list[str]:
        """What the messages say, one by one."""
        return [item.text for item in self.items if isinstance(item, Message)]


async def step(
    engine: Engine, request: Any = "hello", *, memo: Memo | None = None, server_tools: Sequence[Any] = (), **fields: Any
) -> Step:
    """Ask the engine once."""
    ask = ask_for(request, memo=memo or Memo(), server_tools=server_tools, **fields)
    out = RecordingOut(server_tools=[tool.name for tool in server_tools])
    finish = await engine(ask, out)
    assert finish is not None
    return Step(ask, out, finish)


async def answer_to(*scripts: Script, request: Any = "hello", **fields: Any) -> Step:
    """One step in front of a server of its own."""
    async with chat(*scripts) as (engine, _):
        return await step(engine, request, **fields)


def sum_tool(name: str = "add", **more: Any) -> Json:
    """A function tool as a client offers it."""
    numbers = {"a": {"type": "integer"}, "b": {"type": "integer"}}
    parameters = {"type": "object", "properties": numbers, "required": ["a", "b"]}
    return {"type": "function", "name": name, "description": "Add.", "parameters": parameters, **more}


PATCH: Json = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Change files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}
CRM: Json = {
    "type": "namespace",
    "name": "crm",
    "description": "Customers.",
    "tools": [
        {"type": "function", "name": "find", "description": "Find.", "parameters": {"type": "object"}, "strict": True},
        {"type": "custom", "name": "note", "description": ""},
    ],
}
