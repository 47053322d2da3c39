"""A real model behind the server: llama.cpp answers the official Python SDK, over the WebSocket and over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from agentwire.engines.chat import open_chat_engine
from agentwire.protocol.compaction import open_compaction
from agentwire.protocol.digest import NOTICE
from agentwire.protocol.errors import EngineError
from agentwire.protocol.items import Compaction, OpenedCompaction
from agentwire.protocol.limits import Limits
from agentwire.protocol.transcript import Memo
from agentwire.server.server import Server, serve
from tests import peers
from tests.engines.chat.kit import step
from tests.runtime.kit import client

pytestmark = [pytest.mark.peer, pytest.mark.socket, pytest.mark.timeout(300)]


@asynccontextmanager
async def llama_behind_a_server() -> AsyncGenerator[Server]:
    with trio.fail_after(240):
        async with (
            peers.llama_server() as upstream,
            open_chat_engine(upstream["url"]) as engine,
            trio.open_nursery() as nursery,
        ):
            yield await nursery.start(partial(serve, engine, models=[upstream["model"]]))
            nursery.cancel_scope.cancel(reason="the test is over")


def check_text(report: dict[str, Any]) -> None:
    (turn,) = report["turns"]
    assert turn["status"] in ("completed", "incomplete")  # the model may have more to say than it was allowed
    assert "response.output_text.delta" in turn["events"]
    assert report["text"]
    assert report["usage"]["input_tokens"] > 0
    assert report["usage"]["output_tokens"] > 1


def check_conversation(report: dict[str, Any]) -> None:
    asked, answered = report["turns"]
    assert asked["status"] == answered["status"] == "completed"
    assert "response.function_call_arguments.delta" in asked["events"]
    assert report["call"]["name"] == "get_weather"
    assert isinstance(report["call"]["arguments"]["city"], str)
    assert report["text"]
    assert report["usage"]["total_tokens"] > 0


async def test_text_and_a_forced_call_over_the_websocket_and_a_stream_over_http(openai_python: Path) -> None:
    async with llama_behind_a_server() as server:
        ask = partial(peers.converse, openai_python, "openai_ws.py", server.http_url, "--timeout", "100")
        check_text(await ask("--text-only"))
        check_conversation(await ask("--tool-choice", "required", "--store", "false"))
        check_text(await peers.converse(openai_python, "openai_http.py", server.http_url, "--stream", "--text-only"))
        assert "failed" not in server.statistics().turns


async def test_an_answer_that_follows_a_schema_and_one_that_is_cut_off() -> None:
    number = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    form = {"type": "json_schema", "name": "sum", "schema": number, "strict": True}
    with trio.fail_after(240):
        async with peers.llama_server() as upstream, open_chat_engine(upstream["url"]) as engine:
            formed = await step(engine, "What is 1 + 2?", text={"format": form}, max_output_tokens=64)
            assert isinstance(json.loads(formed.text)["sum"], int)
            assert formed.finish.incomplete is None
            memo = Memo()
            cut = await step(engine, "Tell me a long story.", memo=memo, max_output_tokens=16)
            assert cut.finish.incomplete == "max_output_tokens"
            history = (*cut.ask.items, *cut.items)
            more = await step(engine, "Go on.", memo=memo, history=history, max_output_tokens=16)
            assert more.finish.usage is not None
            assert more.finish.usage.cached_tokens > 0  # the same bytes again, for the model's server too


async def test_a_conversation_that_is_too_long_for_the_model_says_so() -> None:
    with trio.fail_after(240):
        async with peers.llama_server() as upstream, open_chat_engine(upstream["url"]) as engine:
            with pytest.raises(EngineError, match="context size") as caught:
                await step(engine, "word " * 9_000)
    assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")


async def test_the_model_writes_the_summary_of_what_is_compacted() -> None:
    long, soon = "word " * 450, [{"type": "compaction", "compact_threshold": 1000}]
    with trio.fail_after(240):
        async with (
            peers.llama_server() as upstream,
            open_chat_engine(upstream["url"], limits=Limits(summary_tokens=48)) as engine,
            client(engine) as it,
        ):
            previous = None
            for said in (f"The code word is slate. {long}", f"{long} Go on."):
                (*_, ended) = await it.wire.ask(said, previous_response_id=previous, max_output_tokens=16)
                previous = ended["response"]["id"]
            (*_, ended) = await it.wire.ask(
                "What next?", previous_response_id=previous, context_management=soon, max_output_tokens=16
            )
            compaction, message = ended["response"]["output"]
            assert message["type"] == "message"
            opened = open_compaction(Compaction(compaction["encrypted_content"]))
            assert isinstance(opened, OpenedCompaction)
            assert opened.summary
            assert not opened.summary.startswith(NOTICE)
            assert ended["response"]["usage"]["input_tokens"] > 900  # to summarize is to read it all
            (*_, ended) = await it.wire.ask(
                "Go on.", previous_response_id=ended["response"]["id"], max_output_tokens=16
            )
            assert ended["response"]["usage"]["input_tokens"] < 600


async def test_two_lanes_at_once_with_a_schema_and_probabilities_of_each_token() -> None:
    number = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    form = {"type": "json_schema", "name": "sum", "schema": number, "strict": True}
    found: dict[str, dict[str, Any]] = {}
    with trio.fail_after(240):
        async with (
            peers.llama_server() as upstream,
            open_chat_engine(upstream["url"]) as engine,
            client(engine) as it,
            trio.open_nursery() as nursery,
        ):

            async def turn(lane: str, **fields: Any) -> None:
                (*_, ended) = await it.wire.ask("What is 1 + 2?", stream_id=lane, max_output_tokens=48, **fields)
                found[lane] = ended["response"]

            nursery.start_soon(partial(turn, "formed", text={"format": form}))
            nursery.start_soon(partial(turn, "logged", top_logprobs=2))
    (formed,) = found["formed"]["output"]
    assert isinstance(json.loads(formed["content"][0]["text"])["sum"], int)
    (logged,) = found["logged"]["output"]
    tokens = logged["content"][0]["logprobs"]
    assert "".join(token["token"] for token in tokens) == logged["content"][0]["text"]
    assert all(token["logprob"] <= 0 and len(token["top_logprobs"]) == 2 for token in tokens)
    assert found["logged"]["usage"]["output_tokens"] >= len(tokens)
    assert formed["content"][0]["logprobs"] == []
