"""Summaries that the model makes, and what they look like on their way up."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from agentwire.engines.chat.summary import SUMMARY_REQUEST, Notes
from agentwire.protocol.errors import EngineError
from agentwire.protocol.response import Usage
from agentwire.protocol.transcript import Memo
from agentwire.runtime.contracts import Summarized
from agentwire.testing.recording import ask_for
from tests.engines.chat.kit import breaks_off, calls, chat, delta, refuses, says, step, stop, sum_tool, text, used
from tests.engines.chat.kit import call as called
from tests.runtime.kit import client

pytestmark = pytest.mark.socket

SAID = [
    {"role": "user", "content": "Add 1 and 2."},
    {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a":1,"b":2}'},
    {"type": "function_call_output", "call_id": "c1", "output": "3"},
    {"role": "assistant", "content": "Three."},
]


async def summarize(engine: Any, memo: Memo | None = None, **fields: Any) -> Summarized:
    made: Summarized = await engine.compact(ask_for(SAID, memo=memo or Memo(), **fields))
    return made


async def test_the_conversation_goes_up_with_a_request_behind_it() -> None:
    tool = sum_tool()
    async with chat(text("They ", "added.\n")) as (engine, server):
        memo = Memo()
        made = await summarize(
            engine,
            memo,
            instructions="Be brief.",
            tools=[tool],
            tool_choice="required",
            max_output_tokens=50,
            temperature=0.5,
            text={"format": {"type": "json_object"}},
        )
        body = server.body
    assert made == Summarized("They added.", Usage(12, 5))
    messages = body.pop("messages")
    assert body == {
        "model": "test",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 4000,
        "temperature": 0.5,
        "tools": [{"type": "function", "function": {name: tool[name] for name in tool if name != "type"}}],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
    }
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert messages[0]["content"] == "Be brief."
    assert messages[-1] == {"role": "user", "content": SUMMARY_REQUEST}


async def test_a_step_and_its_summary_begin_alike() -> None:
    async with chat(text("x")) as (engine, server):
        memo = Memo()
        await step(engine, SAID, memo=memo)
        await summarize(engine, memo)
        one, two = (body["messages"] for body in server.bodies)
    assert two[:-1] == one


async def test_thoughts_refusals_and_calls_are_no_summary() -> None:
    script = says(
        delta(reasoning_content="hm"),
        delta(content="They added."),
        delta(refusal="no"),
        calls(called('{"a":1}', id="c9", name="add")),
        stop("tool_calls"),
        used(),
    )
    async with chat(script) as (engine, _):
        assert (await summarize(engine)).text == "They added."
    notes = Notes()
    await notes.open_call("add")
    await notes.arguments("{}")
    await notes.close_call()
    await notes.call("add", "{}")
    await notes.item({"type": "x"})
    await notes.summary("hm")
    assert (notes.calls, notes.pieces) == ((), [])


@pytest.mark.parametrize("beside", ["", "I'll check the sum first."])
async def test_a_model_that_calls_a_tool_instead_is_asked_again_without_any(beside: str) -> None:
    used_: list[Usage] = []
    script = says(delta(content=beside), calls(called('{"a":1}', id="c9", name="add")), stop("tool_calls"), used())
    async with chat(script, text("They added.")) as (engine, server):
        ask = ask_for(SAID, memo=Memo(), tools=[sum_tool()])
        made = await engine.compact(attrs.evolve(ask, use=used_.append))  # type: ignore[attr-defined]
        assert made == Summarized("They added.", Usage(24, 10))
        one, two = server.bodies
        assert ("tools" in one, "tools" in two, "tool_choice" in two) == (True, False, False)
        assert one["messages"] == two["messages"]
        assert used_ == [Usage(12, 5), Usage(24, 10)]


async def test_an_empty_summary_is_none() -> None:
    async with chat(text(" \n")) as (engine, _):
        assert (await summarize(engine)).text == ""


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (refuses(429, {"error": {"message": "later"}}), "rate_limit_exceeded"),
        (refuses(400, {"error": {"message": "maximum context length is 5"}}), "context_length_exceeded"),
        (breaks_off(delta(content="They")), "upstream_disconnected"),
        (says("{", done=False), "upstream_protocol_error"),
    ],
)
async def test_how_it_fails(script: Any, code: str) -> None:
    async with chat(script) as (engine, _):
        with pytest.raises(EngineError) as caught:
            await summarize(engine)
    assert caught.value.code == code


async def test_in_a_turn() -> None:
    async with chat(text("ok"), context_tokens=5000) as (engine, server), client(engine) as it:
        assert engine.context_tokens == 5000  # type: ignore[attr-defined]
        previous = None
        for number in range(5):
            (*_, ended) = await it.wire.ask(f"{number} " + "word " * 200, previous_response_id=previous)
            previous = ended["response"]["id"]
        server.scripts.clear()
        server.scripts += [text("They counted."), text("Five.")]
        soon = [{"type": "compaction", "compact_threshold": 1000}]
        events = await it.wire.ask("What next?", previous_response_id=previous, context_management=soon)
        response = events[-1]["response"]
        assert [item["type"] for item in response["output"]] == ["compaction", "message"]
        assert response["usage"]["total_tokens"] == 34
        *_, summary, answer = server.bodies
        assert len(summary["messages"]) == 12
        assert [message["content"] for message in answer["messages"]] == ["They counted.", "ok", "What next?"]
        await it.wire.ask("And then?", previous_response_id=response["id"])
        *_, last = server.bodies
        assert [message["content"] for message in last["messages"]][:3] == ["They counted.", "ok", "What next?"]
