"""The companion: it behaves as a message asks, in both dialects, and knows what became of each request."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from agentwire.engines.chat import open_chat_engine
from agentwire.engines.responses import open_responses_engine
from agentwire.protocol.errors import AgentwireError, ConnectionEnded
from agentwire.protocol.limits import Limits
from agentwire.testing import network, no_leaks
from agentwire.testing.conformance.companion import Companion, open_companion
from agentwire.testing.conformance.plays import MODELS, Play
from agentwire.transport.http_client import HttpClient, HttpStatusError, open_http_client

PATHS = {"chat": "/chat/completions", "responses": "/responses"}
DIALECTS = pytest.mark.parametrize("dialect", PATHS)
ENGINES = {"chat": open_chat_engine, "responses": open_responses_engine}


def body(dialect: str, text: str, **more: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": text}]
    return {"model": "companion", "messages" if dialect == "chat" else "input": said, **more}


@asynccontextmanager
async def opened() -> AsyncGenerator[tuple[Companion, HttpClient]]:
    async with (
        no_leaks(),
        open_companion(net=network(keep=False)) as companion,
        open_http_client(companion.url, limits=Limits(), connector=companion.connect) as client,
    ):
        yield companion, client


async def streamed(client: HttpClient, dialect: str, play: Play, **more: Any) -> list[Any]:
    """The payloads of a stream."""
    async with client.stream_sse(PATHS[dialect], json=body(dialect, str(play), stream=True, **more)) as stream:
        return [json.loads(payload) async for payload in stream if payload != b"[DONE]"]


def words(dialect: str, events: list[Any]) -> str:
    if dialect == "responses":
        return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    choices = [choice for event in events for choice in event["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def test_a_play_is_what_its_words_say() -> None:
    play = Play(words=3, pace=0.5, die=2, retry_after=7, tag="a1")
    assert Play.read(f"Hello. {play} Thank you.") == play
    assert str(Play()) == "[play]"
    assert Play.read("[play words=2] then [play words=4]") == Play(words=4)
    for text in ("", "[play", "[play words=x]", "[play words=-1]", "[play made_up=1]", "[play words=99999999999]"):
        assert Play.read(text) is None


@DIALECTS
async def test_words_at_a_pace(dialect: str, autojump_clock: MockClock) -> None:
    async with opened() as (companion, client):
        start = trio.current_time()
        events = await streamed(client, dialect, Play(words=3, pace=2.0, head=1.0, first=3.0, tag="x"))
        assert words(dialect, events) == "one two three "
        assert trio.current_time() - start == pytest.approx(10)
        heard = await companion.wait_for("x")
        assert (heard.asked.dialect, heard.asked.model, heard.left) == (dialect, "companion", False)
        assert heard.history[0]["role"] == "user"
        await heard.answer.ended.wait()
        assert heard.answer.how == "said"


@DIALECTS
@pytest.mark.parametrize("play", [Play(die=1), Play(cut=1), Play(die=9), Play(cut=5)])
async def test_it_dies_in_the_middle(dialect: str, play: Play, autojump_clock: MockClock) -> None:
    async with opened() as (companion, client):
        with pytest.raises(ConnectionEnded):
            await streamed(client, dialect, play)
        with pytest.raises(ConnectionEnded):
            await client.request("POST", PATHS[dialect], json=body(dialect, str(play)))
        assert [heard.answer.how for heard in companion.heard] == ["script", "script"]


@DIALECTS
async def test_it_says_no_more_until_it_is_left(dialect: str, autojump_clock: MockClock) -> None:
    async with opened() as (companion, client):
        start = trio.current_time()
        with trio.move_on_after(50) as scope:
            await streamed(client, dialect, Play(stall=2, tag="s"))
        assert scope.cancelled_caught
        (heard,) = companion.tagged("s")
        await heard.answer.ended.wait()
        assert heard.left
        assert heard.answer.ended_at == start + 50
        assert companion.open_connections == 0


@DIALECTS
async def test_rubbish_errors_and_refusals(dialect: str, autojump_clock: MockClock) -> None:
    async with opened() as (_, client):
        with pytest.raises(ValueError, match="Expecting value"):
            await streamed(client, dialect, Play(rubbish=1))
        told = (await streamed(client, dialect, Play(error=1)))[-1]
        assert told.get("type", "") in ("", "response.failed")
        assert "failed" in json.dumps(told)
        play = Play(status=429, retry_after=7)
        for stream in (False, True):
            with pytest.raises(HttpStatusError) as refused:
                await client.request("POST", PATHS[dialect], json=body(dialect, str(play), stream=stream))
            assert (refused.value.status, refused.value.headers["retry-after"]) == (429, "7")


@DIALECTS
async def test_a_flood_is_as_long_as_it_was_asked_to_be(dialect: str, autojump_clock: MockClock) -> None:
    async with opened() as (companion, client):
        events = await streamed(client, dialect, Play(flood=1_000_000))
        assert len(words(dialect, events)) == 1_000_000 // 16_384 * 16_384
        assert companion.sent > 1_000_000


TOOLS = {
    name: {"type": "object", "properties": {"n": {"type": "integer", "minimum": 7}}, "required": ["n"]} for name in "ab"
}


def tools(dialect: str) -> list[dict[str, Any]]:
    said = [{"name": name, "parameters": schema} for name, schema in TOOLS.items()]
    if dialect == "chat":
        return [{"type": "function", "function": one} for one in said]
    return [{"type": "function", **one} for one in said]


def calls(dialect: str, answer: dict[str, Any]) -> list[tuple[str, Any]]:
    found = answer["output"] if dialect == "responses" else answer["choices"][0]["message"].get("tool_calls", [])
    functions = [one.get("function", one) for one in found if one["type"].startswith("function")]
    return [(one["name"], json.loads(one["arguments"])) for one in functions]


@DIALECTS
@pytest.mark.parametrize(
    ("play", "choice", "names"),
    [
        (Play(), "auto", ""),
        (Play(), "required", "a"),
        (Play(calls=3), "auto", "aba"),
        (Play(calls=3), "alone", "a"),
        (Play(calls=2), "none", ""),
        (Play(), "b", "b"),
        (Play(), "allowed", "b"),
    ],
)
async def test_calls(dialect: str, play: Play, choice: Any, names: str, autojump_clock: MockClock) -> None:
    named = {"name": "b"} if dialect == "responses" else {"function": {"name": "b"}}
    allowed: dict[str, Any] = {"mode": "required", "tools": [{"type": "function", **named}]}
    chosen: Any = {
        "alone": "auto",
        "b": {"type": "function", **named},
        "allowed": {"type": "allowed_tools", **(allowed if dialect == "responses" else {"allowed_tools": allowed})},
    }.get(choice, choice)
    more = {"tools": tools(dialect), "tool_choice": chosen, "parallel_tool_calls": choice != "alone"}
    async with opened() as (_, client):
        reply = await client.request("POST", PATHS[dialect], json=body(dialect, str(play), **more))
        assert calls(dialect, json.loads(reply.body)) == [(name, {"n": 7}) for name in names]
        await streamed(client, dialect, play, **more)


async def test_models_health_and_what_is_not_there(autojump_clock: MockClock) -> None:
    async with opened() as (companion, client):
        listed = json.loads((await client.request("GET", "/models")).body)
        assert [model["id"] for model in listed["data"]] == list(MODELS)
        assert (await client.request("GET", "/health")).status == 200
        for method, path, sent, status in (
            ("POST", "/nothing", {}, 404),
            ("GET", "/responses", None, 405),
            ("POST", "/responses", {}, 400),
            ("POST", "/chat/completions", {"model": "m", "messages": 5, "tools": 5}, 400),
            ("POST", "/chat/completions", [], 400),
        ):
            with pytest.raises(HttpStatusError) as refused:
                await client.request(method, path, json=sent)
            assert refused.value.status == status, path
        assert not companion.heard


async def test_what_was_heard_is_bounded(autojump_clock: MockClock) -> None:
    async with opened() as (companion, client):
        for number in range(502):
            await client.request("POST", "/responses", json=body("responses", f"[play tag=t{number}]"))
        assert len(companion.heard) == 500
        assert not companion.tagged("t0")
        assert companion.tagged("t501")


@pytest.mark.socket
async def test_it_listens_where_it_is_told() -> None:
    with trio.fail_after(20):
        async with open_companion() as companion, open_http_client(companion.url, limits=Limits()) as client:
            assert companion.url.startswith("http://127.0.0.1:")
            assert words("chat", await streamed(client, "chat", Play(words=1))) == "one "
            async with companion_taken(companion):
                pass


@asynccontextmanager
async def companion_taken(companion: Companion) -> AsyncGenerator[None]:
    """Its port cannot be had twice."""
    port = int(companion.url.rsplit(":", 1)[1].partition("/")[0])
    with pytest.raises((OSError, AgentwireError)):
        async with open_companion(port=port):
            pass
    yield


@DIALECTS
async def test_schemas_bounds_and_words_to_be_repeated(dialect: str, autojump_clock: MockClock) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 7}}, "required": ["n"]}
    for form, said in (
        ({"type": "json_schema", "name": "x", "schema": schema}, '{"n": 7}'),
        ({"type": "json_object"}, "{}"),
        ({"type": "text"}, "one two three four five "),
    ):
        chat = {"response_format": {"type": form["type"], "json_schema": form}}
        events = await asked_for(dialect, chat if dialect == "chat" else {"text": {"format": form}})
        assert words(dialect, events) == said
    bound = "max_tokens" if dialect == "chat" else "max_output_tokens"
    events = await asked_for(dialect, {bound: 2}, "Repeat these words exactly: alpha beta gamma")
    assert words(dialect, events) == "alpha beta "
    assert '"length"' in json.dumps(events) or events[-1]["type"] == "response.incomplete"


async def asked_for(dialect: str, more: dict[str, Any], text: str = "Hello.") -> list[Any]:
    """The payloads for a request with more settings."""
    async with opened() as (_, client):
        sent = body(dialect, text, stream=True) | more
        async with client.stream_sse(PATHS[dialect], json=sent) as stream:
            return [json.loads(payload) async for payload in stream if payload != b"[DONE]"]


async def test_a_function_in_a_namespace_is_called_by_both_names(autojump_clock: MockClock) -> None:
    space = {"type": "namespace", "name": "space", "tools": tools("responses")}
    async with opened() as (_, client):
        sent = body("responses", "Hello.", tools=[space], tool_choice="required")
        (called,) = json.loads((await client.request("POST", "/responses", json=sent)).body)["output"]
        assert (called["namespace"], called["name"]) == ("space", "a")
