"""What coding clients send is taken as it is, whatever engine is behind: over the WebSocket and over HTTP.

The frames have the shapes that the clients of 2026 send (Codex CLI, the Agents SDKs, pi), in this project's own words.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from agentwire.engines import builtin
from agentwire.engines.chat import open_chat_engine
from agentwire.server import serve
from agentwire.testing import Reply, network, no_leaks, scripted_upstream
from agentwire.testing.upstream import ScriptedUpstream
from tests.engines.chat.kit import CRM, PATCH, call, calls, delta, stop, sum_tool, used
from tests.runtime.kit import Event
from tests.server.kit import Peer, Rig, serving

Json = dict[str, Any]

ENGINES = ["builtin", "chat"]
TEXT = Reply.stream(delta(content="Fine."), stop(), used())

EVERYTHING: list[Json] = [
    sum_tool(strict=None),
    PATCH,
    CRM,
    {"type": "local_shell"},
    {"type": "shell", "environment": {"type": "local"}},
    {"type": "shell", "environment": {"type": "container_auto"}},
    {"type": "apply_patch"},
    {"type": "computer"},
    {"type": "computer_use_preview", "display_width": 800, "display_height": 600, "environment": "linux"},
    {"type": "tool_search", "execution": "client", "description": "Finds tools.", "parameters": {"type": "object"}},
    {"type": "web_search", "external_web_access": True, "search_content_types": ["text", "image"]},
    {"type": "web_search_preview_2025_03_11"},
    {"type": "file_search", "vector_store_ids": ["vs_1"]},
    {"type": "code_interpreter", "container": {"type": "auto"}},
    {"type": "image_generation"},
    {"type": "programmatic_tool_calling"},
    {"type": "something_of_next_year", "with": ["any", "shape"]},
]
SETTINGS: Json = {
    "stream": True,
    "include": [],
    "store": False,
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "prompt_cache_key": "0123-thread",
    "reasoning": {"effort": "low", "context": "all_turns", "summary": "auto"},
    "text": {"verbosity": "low"},
    "client_metadata": {"x-codex-window-id": "w:0", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad-01"},
}


def made(name: str, arguments: Any) -> Reply:
    """The model calls one function."""
    sent = arguments if isinstance(arguments, str) else json.dumps(arguments)
    half = len(sent) // 2
    pieces = (call(sent[:half], name=name, id="call_1"), call(sent[half:]))
    return Reply.stream(*map(calls, pieces), stop("tool_calls"), used())


@asynccontextmanager
async def chat(*replies: Reply) -> AsyncGenerator[tuple[Rig, ScriptedUpstream]]:
    """A server in front of a chat server; the connections between the two last as long as both."""
    net, streams = network(), list[trio.abc.AsyncResource]()
    async with (
        no_leaks(rounds=50),
        scripted_upstream(*replies) as upstream,
        open_chat_engine(upstream.url, connector=upstream.connect) as engine,
        trio.open_nursery() as nursery,
    ):
        server = await nursery.start(partial(serve, engine, host=None, listeners=[net.listener()]))
        yield Rig(server, nursery, net.connect, streams, net), upstream
        for stream in streams:
            await trio.aclose_forcefully(stream)
        nursery.cancel_scope.cancel(reason="the test is over")


@asynccontextmanager
async def behind(engine: str) -> AsyncGenerator[Rig]:
    """A server in front of one of the engines."""
    if engine == "chat":
        async with chat(TEXT) as (rig, _):
            yield rig
    else:
        async with serving(builtin()) as rig:
            yield rig


async def ask(peer: Peer, **fields: Any) -> Json:
    """One turn whose message is just these fields; the response at its end."""
    await peer.say(json.dumps({"model": "coder", **SETTINGS, **fields, "type": "response.create"}))
    (*_, ended) = await peer.until("response.completed", "response.failed", "response.incomplete", "error")
    assert ended["type"] == "response.completed", ended
    response: Json = ended["response"]
    return response


async def post(rig: Rig, **fields: Any) -> tuple[int, Any]:
    """The same over HTTP: the status, and the response or the error."""
    body = json.dumps({"model": "coder", **SETTINGS, "stream": False, **fields}).encode()
    head = f"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    reply = await (await rig.http()).ask(head.encode() + body)
    return reply.status, json.loads(reply.body)


def says(text: str) -> Json:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_warm_up_without_input_and_tools_and_the_tools_in_the_next_turn(
    engine: str, autojump_clock: MockClock
) -> None:
    async with behind(engine) as rig:
        peer = await rig.connect()
        without: list[Json] = [{}, {"input": []}]
        for first in without:
            warm = await ask(peer, **first, generate=False)
            assert (warm["output"], warm["usage"]["output_tokens"]) == ([], 0)
            late = {"type": "additional_tools", "id": "at_1", "role": "developer", "tools": EVERYTHING}
            told = await ask(peer, previous_response_id=warm["id"], input=[late, says("hello")])
            assert [item["type"] for item in told["output"]][-1] == "message"


@pytest.mark.parametrize("engine", ENGINES)
async def test_tools_of_every_type_are_taken_on_both_transports(engine: str, autojump_clock: MockClock) -> None:
    async with behind(engine) as rig:
        told = await ask(await rig.connect(), input="hello", tools=EVERYTHING)
        status, over_http = await post(rig, input="hello", tools=EVERYTHING)
        assert status == 200, over_http
        for response in (told, over_http):
            assert response["output"][-1]["type"] == "message"
            assert [tool["type"] for tool in response["tools"]] == [tool["type"] for tool in EVERYTHING]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["web_search", "web_search_preview_2025_03_11", "file_search", "image_generation"])
async def test_a_tool_that_nobody_here_can_run_is_a_400_only_where_it_is_demanded(
    kind: str, engine: str, autojump_clock: MockClock
) -> None:
    async with behind(engine) as rig:
        choice = {"type": kind}
        status, told = await post(rig, input="hello", tools=EVERYTHING, tool_choice=choice)
        assert (status, told["error"]["param"]) == (400, "tool_choice")
        peer = await rig.connect()
        await peer.create("hello", tools=EVERYTHING, tool_choice=choice)
        errors = [event for event in await peer.until() if event["type"] == "error"]
        assert [(event["status"], event["error"]["param"]) for event in errors] == [(400, "tool_choice")]
        allowed = {"type": "allowed_tools", "mode": "auto", "tools": [choice]}
        assert (await ask(peer, input="hello", tools=EVERYTHING, tool_choice=allowed))["status"] == "completed"


CALLS: list[tuple[Json, str, Json, Json]] = [
    ({"type": "local_shell"}, "local_shell_call", {"command": ["ls"]}, {"output": "a.py"}),
    ({"type": "shell"}, "shell_call", {"commands": ["ls"]}, {"output": [{"stdout": "a.py", "stderr": ""}]}),
    ({"type": "apply_patch"}, "apply_patch_call", {"type": "delete_file", "path": "a.py", "diff": ""},
     {"status": "completed", "output": "a.py is gone"}),
    ({"type": "computer"}, "computer_call", {"type": "screenshot"},
     {"output": {"type": "computer_screenshot", "image_url": "data:image/png;base64,AA=="}}),
    ({"type": "tool_search", "execution": "client"}, "tool_search_call", {"query": "a.py"},
     {"execution": "client", "status": "completed", "tools": [sum_tool("late", description="Reads a.py.")]}),
    (PATCH, "custom_tool_call", {"input": "x"}, {"output": "a.py"}),
]  # fmt: skip


@pytest.mark.parametrize(("tool", "kind", "arguments", "output"), CALLS, ids=[kind for _, kind, _, _ in CALLS])
async def test_a_model_that_knows_functions_alone_calls_what_the_client_runs(
    tool: Json, kind: str, arguments: Json, output: Json, autojump_clock: MockClock
) -> None:
    name = tool.get("name") or kind.removesuffix("_call")
    async with chat(made(name, arguments), TEXT, TEXT) as (rig, model):
        peer = await rig.connect()
        first = await ask(peer, input=[says("go on")], tools=[tool, {"type": "web_search"}])
        (item,) = first["output"]
        assert (item["type"], item["call_id"], item["status"]) == (kind, "call_1", "completed")
        answer_type = "tool_search_output" if kind == "tool_search_call" else f"{kind}_output"
        answer = {"type": answer_type, "call_id": "call_1", **output}
        second = await ask(peer, previous_response_id=first["id"], input=[answer], tools=[tool])
        assert second["output"][0]["content"][0]["text"] == "Fine."
        whole = [says("go on"), item, answer]
        status, again = await post(rig, input=whole, tools=[tool])
        assert status == 200, again
        asked, answered, resent = (request.json for request in model.requests)
        assert answered["messages"] == resent["messages"]  # a client may send all of it again
        assert answered["messages"][:1] == asked["messages"]
        sent = answered["messages"][1]["tool_calls"][0]["function"]
        offered = asked["tools"][0]["function"]["name"]
        assert (sent["name"], json.loads(sent["arguments"])) == (offered, arguments)
        assert "a.py" in answered["messages"][2]["content"] or kind == "computer_call"


async def test_tools_that_were_found_can_be_demanded(autojump_clock: MockClock) -> None:
    search: Json = {"type": "tool_search", "execution": "client"}
    space = {"type": "namespace", "name": "cal", "description": "c", "tools": [sum_tool("add", defer_loading=True)]}
    async with chat(made("tool_search", {"query": "x"}), made("cal__add", {"a": 1, "b": 2})) as (rig, model):
        peer = await rig.connect()
        first = await ask(peer, input=[says("go on")], tools=[search])
        found = {"type": "tool_search_output", "call_id": "call_1", "execution": "client", "tools": [space]}
        choice = {"type": "function", "name": "add"}
        second = await ask(peer, previous_response_id=first["id"], input=[found], tools=[search], tool_choice=choice)
        (item,) = second["output"]
        assert (item["name"], item["namespace"], item["arguments"]) == ("add", "cal", '{"a": 1, "b": 2}')
        assert model.requests[1].json["tool_choice"]["function"] == {"name": "cal__add"}


async def test_free_text_comes_in_pieces(autojump_clock: MockClock) -> None:
    pieces = ['{"inp', 'ut":"one', "\\n", 'two \\"', 'x\\""}']
    begun = call("", name="apply_patch", id="call_1")
    reply = Reply.stream(calls(begun), *(calls(call(piece)) for piece in pieces), stop("tool_calls"), used())
    async with chat(reply) as (rig, _):
        peer = await rig.connect()
        events: list[Event] = await peer.ask("go on", tools=[PATCH])
    deltas = [event["delta"] for event in events if event["type"] == "response.custom_tool_call_input.delta"]
    assert deltas == ["one", "\n", 'two "', 'x"']
    assert events[-1]["response"]["output"][0]["input"] == 'one\ntwo "x"'


@pytest.mark.parametrize("target", ["/v1/codex/responses", "/v1/responses"])
async def test_both_paths_are_served(target: str, autojump_clock: MockClock) -> None:
    headers = [("openai-beta", "responses_websockets=2026-02-06"), ("content-type", "application/json")]
    async with behind("builtin") as rig:
        peer = await rig.connect(target, headers)
        assert (await ask(peer, input="hello"))["status"] == "completed"
