"""What a request says of calls and of the answer's form is kept, whatever the engine does."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from agentwire.protocol.codec import decode_item
from agentwire.protocol.content import Refusal
from agentwire.protocol.items import Message
from agentwire.protocol.response import Usage
from agentwire.protocol.tools import parse_tool_choice
from agentwire.runtime.call_rules import CallRules, has_format
from agentwire.runtime.contracts import Ask, Engine, Finish, Out
from tests.runtime.kit import Event, client

FUNCTION = {"type": "function", "name": "f"}
OTHER = {"type": "function", "name": "g"}
SPACE = {"type": "namespace", "name": "crm", "description": "x", "tools": [{"type": "function", "name": "find"}]}
SEARCH = {"type": "web_search"}


def calling(*calls: tuple[str, dict[str, Any]]) -> Engine:
    """An engine that makes these calls in step 0, and then speaks."""

    async def engine(ask: Ask, out: Out) -> None:
        for name, more in calls if not ask.step else ():
            if name == "web_search":
                await out.item({"type": "web_search_call", "status": "completed", "action": {}})
            else:
                await out.call(name, {}, **more)
        if ask.step or not calls:
            await out.text("done")

    return engine


async def ask_once(engine: Engine, *tools: Any, **fields: Any) -> list[Event]:
    async with client(engine, *tools) as it:
        return await it.wire.ask(tools=[FUNCTION, OTHER, SPACE, SEARCH], **fields)


async def ours() -> str:
    """A tool of the server's own."""
    return "answer"


ALLOWED = {"type": "allowed_tools", "mode": "auto", "tools": [FUNCTION, {"type": "web_search"}]}


@pytest.mark.parametrize(
    ("choice", "calls", "legal"),
    [
        ("auto", [("f", {})], True),
        ("none", [("f", {})], False),
        ("none", [("ours", {})], False),
        ("none", [("web_search", {})], False),
        ("none", [], True),
        ("required", [("g", {})], True),
        ("required", [("ours", {})], True),
        ("required", [("web_search", {})], True),
        ("required", [], False),
        (FUNCTION, [("f", {})], True),
        (FUNCTION, [("g", {})], False),
        (FUNCTION, [], False),
        (ALLOWED, [("f", {})], True),
        (ALLOWED, [("web_search", {})], True),
        (ALLOWED, [("g", {})], False),
        (ALLOWED, [("ours", {})], False),
        (ALLOWED, [], True),
        ({**ALLOWED, "mode": "required"}, [], False),
        ({"type": "allowed_tools", "tools": [SPACE]}, [("find", {"namespace": "crm"})], True),
        ({"type": "allowed_tools", "tools": [SPACE]}, [("find", {"namespace": "other"})], False),
        ({"type": "allowed_tools", "tools": [SEARCH]}, [("f", {})], False),
    ],
)
async def test_a_tool_choice_is_kept(
    choice: Any,
    calls: list[tuple[str, dict[str, Any]]],
    legal: bool,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = await ask_once(calling(*calls), ours, tool_choice=choice)
    if legal:
        assert events[-1]["type"] == "response.completed"
        assert not caplog.records
    else:
        assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
        assert events[-2]["status"] == 500
        assert events[-2]["error"]["code"] == "server_error"
        assert "tool_choice" in events[-2]["error"]["message"]
        assert any("broke a rule" in record.message for record in caplog.records)
        assert not any(item["type"] == "function_call" for item in events[-1]["response"]["output"])


async def test_an_engine_that_swallows_the_fault_fails_all_the_same(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        try:
            await out.call("f", {})
        except Exception:  # noqa: BLE001 - what such an engine would do
            await out.text("never mind")

    events = await ask_once(engine, tool_choice="none")
    assert events[-1]["type"] == "response.failed"


async def test_a_hosted_tool_is_known_by_any_of_its_names() -> None:
    rules = CallRules(parse_tool_choice({"type": "web_search_preview"}))
    rules.check(decode_item({"type": "web_search_call", "id": "ws_1"}))


@pytest.mark.parametrize("pieces", [False, True])
async def test_without_parallel_calls_a_step_ends_with_its_first(
    pieces: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    reasons: list[str] = []

    async def engine(ask: Ask, out: Out) -> None:
        await out.call("f", {"a": 1})
        await out.text("and words")
        try:
            await (out.open_call("g") if pieces else out.call("g", {}))
        except trio.Cancelled as cancelled:
            reasons.append(cancelled.reason or "")
            raise

    events = await ask_once(engine, parallel_tool_calls=False)
    response = events[-1]["response"]
    assert response["status"] == "completed"
    assert [item["type"] for item in response["output"]] == ["function_call", "message"]
    assert ["parallel_tool_calls" in reason for reason in reasons] == [True]
    assert not caplog.records


async def test_a_call_of_any_type_that_the_client_answers_is_the_only_one(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        await out.item({"type": "web_search_call", "id": "ws_1", "status": "completed"})
        for name in "ab":
            action = {"commands": [name]}
            await out.item({"type": "shell_call", "call_id": name, "action": action, "status": "completed"})

    events = await ask_once(engine, parallel_tool_calls=False)
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["web_search_call", "shell_call"]
    assert output[1]["call_id"] == "a"


async def test_a_server_tool_runs_to_its_end_though_a_second_call_ends_the_engine(autojump_clock: MockClock) -> None:
    async def slow() -> str:
        """Take a while."""
        await trio.sleep(10)
        return "slow answer"

    steps: list[int] = []

    async def engine(ask: Ask, out: Out) -> None:
        steps.append(ask.step)
        if ask.step:
            await out.text("done")
            return
        await out.call("slow", {})
        await out.call("slow", {})

    events = await ask_once(engine, slow, parallel_tool_calls=False)
    output = events[-1]["response"]["output"]
    assert [(item["type"], item["status"]) for item in output] == [("mcp_call", "completed"), ("message", "completed")]
    assert output[0]["output"] == "slow answer"
    assert steps == [0, 1]


async def test_an_engine_that_survives_its_cancellation_writes_no_second_call(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        await out.call("f", {})
        with trio.CancelScope(shield=True):
            await out.call("g", {})

    events = await ask_once(engine, parallel_tool_calls=False)
    assert events[-1]["type"] == "response.completed"
    assert [item["name"] for item in events[-1]["response"]["output"]] == ["f"]


async def test_server_tools_run_as_often_as_the_request_allows(autojump_clock: MockClock) -> None:
    seen: list[Any] = []

    async def engine(ask: Ask, out: Out) -> None:
        if ask.step == 2:
            seen.extend(getattr(item, "error", None) for item in ask.items if item.type == "mcp_call")
            await out.text("done")
            return
        await out.call("ours", {})
        await out.call("ours", {})

    async with client(engine, ours) as it:
        events = await it.wire.ask(max_tool_calls=3)
        assert it.service.tally.tool_calls == 3
    output = events[-1]["response"]["output"]
    assert [item["status"] for item in output] == ["completed", "completed", "completed", "failed", "completed"]
    assert "max_tool_calls" in output[3]["error"]
    assert seen[:3] == [None, None, None]
    assert "max_tool_calls allows 3" in seen[3]


async def test_calls_for_the_client_do_not_count_as_run(autojump_clock: MockClock) -> None:
    events = await ask_once(calling(("f", {}), ("g", {})), max_tool_calls=1)
    assert [item["status"] for item in events[-1]["response"]["output"]] == ["completed", "completed"]


async def test_each_step_is_given_what_is_left_of_the_tokens(autojump_clock: MockClock) -> None:
    left: list[int | None] = []

    async def engine(ask: Ask, out: Out) -> Finish:
        left.append(ask.max_output_tokens)
        await out.call("ours", {})
        return Finish(Usage(1, 10))

    events = await ask_once(engine, ours, max_output_tokens=25)
    assert left == [25, 15, 5]
    response = events[-1]["response"]
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert response["usage"]["output_tokens"] == 30


async def test_what_a_step_did_not_say_it_used_is_not_taken_off(autojump_clock: MockClock) -> None:
    left: list[int | None] = []

    async def engine(ask: Ask, out: Out) -> None:
        left.append(ask.max_output_tokens)
        if not ask.step:
            await out.call("ours", {})

    await ask_once(engine, ours, max_output_tokens=25)
    assert left == [25, 25]


@pytest.mark.parametrize("text", ['{"a":1}', "no JSON", ""])
@pytest.mark.parametrize("kind", ["text", "json_object"])
async def test_text_that_is_not_the_json_that_was_asked_for_is_logged(
    text: str, kind: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        await out.text(text)

    with caplog.at_level(logging.WARNING):
        events = await ask_once(engine, text={"format": {"type": kind}})
    assert events[-1]["type"] == "response.completed"
    warned = any("text.format" in record.message for record in caplog.records)
    assert warned == (kind != "text" and not text.startswith("{"))


def test_what_is_no_answer_in_words_has_any_format() -> None:
    wanted = {"type": "json_schema"}
    assert has_format((), wanted)
    assert has_format((Message("assistant", (Refusal("no"),)),), wanted)
    assert not has_format((Message("assistant", "x"),), wanted)


async def test_what_a_request_includes_and_notes_is_taken_as_it_is(autojump_clock: MockClock) -> None:
    events = await ask_once(calling(), include=["something.new"], metadata={"a": "b"})
    assert events[-1]["response"]["metadata"] == {"a": "b"}
