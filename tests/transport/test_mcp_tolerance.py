"""MCP servers that say what the `mcp` package would not take: what they meant arrives, and nobody waits in vain."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx2
import pytest
import trio
from trio.testing import MockClock

from agentwire.protocol.limits import Limits
from agentwire.runtime.tools.local import ToolError
from agentwire.runtime.tools.source import McpServer, RemoteSession, SessionGone, SessionLost
from agentwire.transport import mcp

SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}}
HELLO = {"capabilities": {"tools": {}}, "serverInfo": {"name": "sloppy", "version": "1"}}


@attrs.define(eq=False)
class Child:
    """In place of a process: answers each line by the method in it."""

    tools: Any
    answer: bytes
    last_words: str = ""
    remarks: list[str] = attrs.field(factory=list)
    _lines: Any = attrs.field(factory=lambda: trio.open_memory_channel[bytes](100))

    async def send_line(self, line: bytes) -> None:
        await trio.lowlevel.checkpoint()
        asked = json.loads(line)
        if "id" not in asked:
            return
        results: dict[str, Any] = {
            "initialize": {**HELLO, "protocolVersion": asked.get("params", {}).get("protocolVersion")},
            "tools/list": {"tools": self.tools},
        }
        result = results.get(asked["method"])
        if asked["method"] == "tools/call":
            told = self.answer.replace(b"$ID", str(asked["id"]).encode())
        elif result is None:
            told = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": "?"}}).encode()
        else:
            told = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}).encode()
        self._lines[0].send_nowait(told)

    async def receive_line(self) -> bytes:
        line: bytes = await self._lines[1].receive()
        return line

    def remark(self, text: str, level: int) -> None:
        self.remarks.append(text)


@asynccontextmanager
async def session(
    monkeypatch: pytest.MonkeyPatch, *, tools: Any = None, answer: bytes = b""
) -> AsyncGenerator[RemoteSession]:
    @asynccontextmanager
    async def child(*_: Any, **__: Any) -> AsyncGenerator[Child]:
        await trio.lowlevel.checkpoint()
        yield Child([{"name": "ok", "inputSchema": SCHEMA}] if tools is None else tools, answer)

    monkeypatch.setattr(mcp, "open_child", child)
    with trio.fail_after(60):
        async with mcp.dial(McpServer(label="x", command=("x",)), Limits()) as opened:
            yield opened


def result(**members: Any) -> bytes:
    return b'{"jsonrpc":"2.0","id":$ID,"result":%b}' % json.dumps(members).encode()


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (result(content=[{"type": "text", "text": "fine"}]), "fine"),
        (b'{"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"text","text":"caf\xe9"}]}}', "caf\ufffd"),
        (b'{"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"text","text":"a\\ud83d"}]}}', "a\ufffd"),
        (b"\xef\xbb\xbf" + result(content=[{"type": "text", "text": "fine"}]), "fine"),
        (b"[%b]" % result(content=[{"type": "text", "text": "fine"}]), "fine"),
        (result(), ""),
        (result(content=None, structuredContent={"n": 1}), '{"n":1}'),
        (result(structuredContent=[1, 2]), "[1,2]"),
        (result(content="fine"), "fine"),
        (result(content=["fine", {"type": "text", "text": 3}]), "fine\n3"),
        (result(content=[{"type": "hologram", "x": 1}]), "[a part of type hologram, not shown]"),
        (result(content=[{"type": "image", "data": None}]), "[a part of type image, not shown]"),
        (result(content=[{"type": "image", "data": "AAAA", "mimeType": "image/png", "annotations": 3}]),
         "[image: image/png, 3 bytes, not shown]"),
        (result(content=[{"type": "resource", "resource": {"uri": "a:b", "text": "t"}}]), "[resource a:b]\nt"),
        (result(content=[{"type": "resource", "resource": {"uri": "a:b"}}]), "[a part of type resource, not shown]"),
        (result(content=[{"type": "resource_link", "uri": "a:b", "name": "n"}]), "[resource a:b (n)]"),
    ],
)  # fmt: skip
async def test_what_came_of_a_call_arrives_as_it_was_meant(
    answer: bytes, text: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with session(monkeypatch, answer=answer) as opened:
        told = await opened.call("ok", {}, progress=lambda: None)
    assert (told.text, told.error) == (text, None)


async def test_an_answer_that_is_none_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    answer = b'{"jsonrpc":"2.0","id":$ID,"error":{"code":"E7","message":null}}'
    async with session(monkeypatch, answer=answer) as opened:
        with pytest.raises(ToolError, match="its answer cannot be read"):
            await opened.call("ok", {}, progress=lambda: None)


async def test_structured_output_need_not_be_what_the_tool_promised(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    promised = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tools = [{"name": "ok", "inputSchema": SCHEMA, "outputSchema": promised}]
    answer = result(content=[{"type": "text", "text": "done"}], structuredContent={"n": "many"})
    async with session(monkeypatch, tools=tools, answer=answer) as opened:
        assert [tool.name for tool in await opened.tools()] == ["ok"]
        assert (await opened.call("ok", {}, progress=lambda: None)).text == "done"


async def test_odd_tools_cost_nobody_the_others(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    tools = [
        {"name": "whole", "inputSchema": SCHEMA, "description": "d", "annotations": {"readOnlyHint": True}},
        {"name": "bare"},
        {"name": "empty", "inputSchema": {}, "outputSchema": {"type": "nonsense"}},
        {"name": "true", "inputSchema": True, "description": 3},
        {"name": "reference", "inputSchema": {"$ref": "#/$defs/A", "$defs": {"A": {}}, "properties": None}},
        {"name": "hints", "inputSchema": SCHEMA, "annotations": {"readOnlyHint": "yes", "title": "T"}},
        {"inputSchema": SCHEMA},
        "nothing",
    ]
    async with session(monkeypatch, tools=tools) as opened:
        told = {tool.name: tool for tool in await opened.tools()}
    assert list(told) == ["whole", "bare", "empty", "true", "reference", "hints"]
    assert {name for name, tool in told.items() if tool.reads_only} == {"whole"}
    assert [told[name].schema for name in ("bare", "empty", "true")] == [{"type": "object"}] * 3
    assert told["whole"].schema == SCHEMA
    assert told["reference"].schema == {"$ref": "#/$defs/A", "$defs": {"A": {}}, "type": "object"}
    async with session(monkeypatch, tools={"not": "a list"}) as opened:
        assert await opened.tools() == ()


@asynccontextmanager
async def over_http(
    monkeypatch: pytest.MonkeyPatch, *answers: httpx2.Response | bytes, listing: int = 200
) -> AsyncGenerator[RemoteSession]:
    """Each call gets the next of these, and whoever asks for the tools this status."""
    left = iter(answers)

    async def answer(request: httpx2.Request) -> httpx2.Response:
        await trio.lowlevel.checkpoint()
        asked = json.loads(request.content or b"{}")
        if "id" not in asked:
            return httpx2.Response(202 if request.method == "POST" else 405)
        if asked["method"] == "tools/call":
            made = next(left)
            return made if isinstance(made, httpx2.Response) else sent(made.replace(b"$ID", str(asked["id"]).encode()))
        if asked["method"] == "tools/list" and listing != httpx2.codes.OK:
            return httpx2.Response(listing)
        results: dict[str, Any] = {
            "initialize": {**HELLO, "protocolVersion": asked["params"].get("protocolVersion")},
            "tools/list": {"tools": [{"name": "ok"}]},
        }
        told = {"jsonrpc": "2.0", "id": asked["id"], "result": results.get(asked["method"], {})}
        if asked["method"] not in results:
            told = {"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": "?"}}
        return httpx2.Response(200, json=told, headers={"mcp-session-id": "s1"})

    def client(**_: Any) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.MockTransport(answer))

    monkeypatch.setattr(mcp, "create_mcp_http_client", client)
    with trio.fail_after(60):
        async with mcp.dial(McpServer(label="x", url="http://x.example/mcp"), Limits()) as opened:
            yield opened


def sent(answer: bytes) -> httpx2.Response:
    return httpx2.Response(200, content=answer, headers={"content-type": "application/json"})


def failure(code: int, message: str) -> bytes:
    return b'{"jsonrpc":"2.0","id":$ID,"error":%b}' % json.dumps({"code": code, "message": message}).encode()


def refusal(status: int, code: int, message: str) -> httpx2.Response:
    return httpx2.Response(status, json={"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}})


PAID = "Paid, but the browser session has expired"


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (refusal(404, -32001, "Session not found"), SessionGone, "ended the session: Session not found"),
        (httpx2.Response(404), SessionGone, "ended the session"),
        (refusal(400, -32600, "Missing session ID"), SessionGone, "ended the session: Missing session ID"),
        (refusal(429, -32600, PAID), ToolError, f"^{PAID}$"),
        (refusal(500, -32600, PAID), ToolError, f"^{PAID}. Whether ok took effect is not known.$"),
        (failure(-32600, PAID), ToolError, f"^{PAID}$"),
        (httpx2.Response(500, text="oops"), ToolError, "answered with HTTP 500. Whether ok took effect is not known"),
        (httpx2.Response(429, text="slow"), ToolError, "answered with HTTP 429$"),
    ],
)  # fmt: skip
async def test_a_call_is_made_again_only_where_http_refused_it_for_its_session_and_others_never_suffer(
    answer: httpx2.Response | bytes,
    kind: type[Exception],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
) -> None:
    async with over_http(monkeypatch, answer) as opened:
        with pytest.raises(kind, match=words) as caught:
            await opened.call("ok", {}, progress=lambda: None)
        assert type(caught.value) is kind
        with trio.move_on_after(1) as patience:
            await opened.changed()
        assert patience.cancelled_caught


async def test_a_child_forgets_no_session(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    async with session(monkeypatch, answer=failure(-32600, PAID)) as opened:
        with pytest.raises(ToolError, match=f"^{PAID}$"):
            await opened.call("ok", {}, progress=lambda: None)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal(400, -32000, "Bad Request: No valid session ID provided"), "^Bad Request: No valid [^.]*$"),
        (httpx2.Response(200, content=b": hi\n\n", headers={"content-type": "text/event-stream"}),
         "SSE stream ended without a response. Whether ok took effect is not known"),
        (sent(b"{"), "^Failed to parse JSON response. Whether ok took effect is not known.$"),
    ],
)  # fmt: skip
async def test_what_leaves_the_session_in_doubt_has_it_looked_at(
    answer: httpx2.Response, words: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with over_http(monkeypatch, answer) as opened:
        with pytest.raises(ToolError, match=words):
            await opened.call("ok", {}, progress=lambda: None)
        await opened.changed()  # has the owner ask for the tools, which a session that is gone would refuse


@pytest.mark.parametrize(
    ("status", "kind"), [(400, SessionLost), (404, SessionGone), (429, ToolError), (503, ToolError)]
)
async def test_a_listing_that_is_refused_says_whether_the_session_is_over(
    status: int, kind: type[Exception], monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with over_http(monkeypatch, listing=status) as opened:
        with pytest.raises(kind) as caught:
            await opened.tools()
        assert type(caught.value) is kind
