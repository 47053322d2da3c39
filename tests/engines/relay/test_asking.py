"""What goes up to another server: all that the client said, appended to, and what that server made as it made it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from agentwire.engines.relay.asking import ENCRYPTED, Asking
from agentwire.protocol.codec import decode_item
from agentwire.protocol.items import Item, McpCall
from agentwire.protocol.tools import FunctionTool
from agentwire.protocol.transcript import Memo
from agentwire.runtime.contracts import Ask
from agentwire.testing.recording import ask_for

Json = dict[str, Any]
OWNER = object()

THOUGHT: Json = {"type": "reasoning", "id": "rs_1", "summary": []}
ANSWER: Json = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hi.", "annotations": [], "logprobs": []}],
}


def user(text: str) -> Json:
    return {"type": "message", "role": "user", "content": text}


def items(*raws: Json) -> list[Item]:
    return [decode_item(raw) for raw in raws]


def asking(request: Any, *, history: Sequence[Item] = (), memo: Memo | None = None, **more: Any) -> Asking:
    options = {name: more.pop(name) for name in ("stateful", "model") if name in more}
    ask = ask_for(request, history=history, memo=memo or Memo(), **more)
    return Asking.of(ask, owner=OWNER, **options)


def sent(found: Asking) -> Json:
    body: Json = json.loads(found.body(stream=True, store=False))
    return body


def test_everything_that_a_client_says_goes_up_and_nothing_of_its_connection() -> None:
    fields: Json = {
        "instructions": "Be brief.",
        "temperature": 0.5,
        "reasoning": {"effort": "low"},
        "metadata": {"a": "b"},
        "client_metadata": {"x": "y"},
        "prompt_cache_key": "k",
        "something_new": {"deep": [1]},
        "tools": [{"type": "web_search"}, {"type": "function", "name": "read"}],
        "tool_choice": {"type": "function", "name": "read"},
        "text": {"format": {"type": "json_object"}, "new": 1},
        "include": ["message.output_text.logprobs"],
    }
    ours: Json = {"store": True, "stream_id": "a", "previous_response_id": "resp_1", "generate": True}
    body = sent(asking("hi", **fields, **ours, context_management=[{"type": "compaction", "compact_threshold": 1000}]))
    expected = {**fields, "include": [*fields["include"], ENCRYPTED]}
    tools = body.pop("tools")
    assert [tool["type"] for tool in tools] == ["web_search", "function"]
    del expected["tools"]
    text = body.pop("text")
    assert text == expected.pop("text")
    assert body == {"stream": True, "store": False, "model": "test", "input": [user("hi")], **expected}


def test_a_model_may_have_another_name_there() -> None:
    assert sent(asking("hi", model="theirs"))["model"] == "theirs"


def test_a_body_begins_with_that_of_the_turn_before_it_whatever_the_settings_are() -> None:
    memo = Memo()
    first = asking("one", memo=memo, metadata={"turn": "1"})
    history = [*items(user("one")), *items(ANSWER)]
    second = asking("two", history=history, memo=memo, metadata={"turn": "2"}, temperature=0.1)
    bodies = [found.full_body(stream=True) for found in (first, second)]
    begun = bodies[0][: bodies[0].index(b'],"')]
    assert bodies[1].startswith(begun)
    assert second.rendered.before is first.rendered


def test_what_the_upstream_made_goes_back_as_it_made_it() -> None:
    memo = Memo()
    first = asking("one", memo=memo)
    hidden = {**THOUGHT, "id": "rs_theirs", "encrypted_content": "opaque", "new": 1}
    first.keep("rs_1", hidden)
    body = sent(asking("two", history=items(user("one"), THOUGHT, ANSWER), memo=memo))
    assert body["input"] == [user("one"), hidden, ANSWER, user("two")]


MADE: dict[str, Json] = {
    "a message": {"content": ANSWER["content"], "status": "completed", **ANSWER, "new": {"b": 1, "a": [1.5, None]}},
    "a thought": {"content": [{"text": "Well.", "type": "reasoning_text"}], **THOUGHT, "encrypted_content": None},
    "a call": {"name": "read", "arguments": "{}", "call_id": "c1", "type": "function_call", "status": "completed"},
    "a hosted call": {"action": {"query": "q", "type": "search"}, "type": "web_search_call", "id": "ws_1"},
    "something new": {"zeta": 1, "type": "something_new", "id": "x_1", "alpha": {"b": True, "a": []}},
}


@pytest.mark.parametrize("name", MADE)
def test_what_the_upstream_made_is_written_as_it_would_be_from_a_store(name: str) -> None:
    raw, memo = {"id": "x_1", **MADE[name]}, Memo()
    asking("one", memo=memo).keep(raw["id"], raw)
    history, more = items(user("one"), raw), items({**user("two")})
    if "call_id" in raw:
        more += items({"type": "function_call_output", "call_id": "c1", "output": "x"})
    bodies = [asking([], history=[*history, *more], memo=each).full_body() for each in (memo, Memo())]
    assert bodies[0] == bodies[1]


def test_reasoning_of_which_only_the_id_is_left_does_not_go_up() -> None:
    open_thought = {**THOUGHT, "content": [{"type": "reasoning_text", "text": "Well."}]}
    body = sent(asking("two", history=items(user("one"), THOUGHT, open_thought, ANSWER)))
    assert body["input"] == [user("one"), open_thought, ANSWER, user("two")]
    memo = Memo()
    asking("one", memo=memo).keep("rs_1", THOUGHT)
    assert sent(asking("two", history=items(user("one"), THOUGHT), memo=memo))["input"] == [user("one"), user("two")]


def test_ids_that_only_tell_items_apart_stay_here() -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "read", "arguments": "{}"}
    answer = {"type": "function_call_output", "id": "fco_1", "call_id": "c1", "output": "x"}
    asked = {**user("one"), "id": "msg_0"}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    body = sent(asking([answer], history=items(asked, search, call)))
    assert body["input"] == [user("one"), search, _without_id(call), _without_id(answer)]


def _without_id(raw: Json) -> Json:
    return {name: value for name, value in raw.items() if name != "id"}


def test_calls_of_this_servers_own_tools_go_up_as_functions() -> None:
    mine = McpCall("local", "add", '{"a":1}', output="3", id="mcp_1", status="completed")
    failed = McpCall("local", "add", "{}", error="No.", id="mcp_2", status="failed")
    theirs = McpCall("docs", "find", "{}", output="x", id="mcp_3", status="completed")
    body = sent(
        asking(
            "go",
            history=[*items(user("one")), mine, failed, theirs],
            tools=[{"type": "mcp", "server_label": "docs", "server_url": "http://x"}],
            server_tools=[FunctionTool("add")],
        )
    )
    kinds = [item["type"] for item in body["input"]]
    calls, outputs = ["function_call"] * 2, ["function_call_output"] * 2
    assert kinds == ["message", *calls, *outputs, "mcp_call", "message"]
    assert [item.get("call_id") for item in body["input"][1:5]] == ["mcp_1", "mcp_2", "mcp_1", "mcp_2"]
    assert [body["input"][at]["output"] for at in (3, 4)] == ["3", "No."]
    assert [tool.get("name") for tool in body["tools"]] == [None, "add"]


def test_half_a_call_goes_up_only_with_an_answer() -> None:
    cut = {
        "type": "function_call", "call_id": "c1", "name": "read", "arguments": '{"a', "status": "incomplete",
    }  # fmt: skip
    answer = {"type": "function_call_output", "call_id": "c1", "output": "x"}
    history = items(user("one"), cut)
    assert sent(asking("two", history=history))["input"] == [user("one"), user("two")]
    assert sent(asking([answer], history=history))["input"] == [user("one"), cut, answer]


def test_an_upstream_that_keeps_responses_gets_only_what_is_new() -> None:
    memo = Memo()
    first = asking("one", memo=memo, stateful=True)
    assert first.previous_response_id is None
    first.keep("msg_1", ANSWER)
    mine = McpCall("local", "add", "{}", output="3", id="mcp_1", status="completed")
    first.keep("mcp_1", {"type": "function_call", "call_id": "c9", "name": "add", "arguments": "{}"}, call_id="c9")
    first.keep_response("resp_theirs")
    history = [*items(user("one"), ANSWER), mine]
    second = asking("two", history=history, memo=memo, stateful=True)
    body = sent(second)
    output = {"type": "function_call_output", "call_id": "c9", "output": "3"}
    assert (body["previous_response_id"], body["input"]) == ("resp_theirs", [output, user("two")])
    assert "include" not in body
    full = json.loads(second.in_full().body())
    assert "previous_response_id" not in full
    call = {"type": "function_call", "call_id": "c9", "name": "add", "arguments": "{}"}
    assert full["input"] == [user("one"), ANSWER, call, output, user("two")]


def test_what_was_kept_for_one_upstream_means_nothing_to_another() -> None:
    memo = Memo()
    asking("one", memo=memo, stateful=True).keep_response("resp_theirs")
    ask = ask_for("two", history=items(user("one"), ANSWER), memo=memo)
    other = Asking.of(ask, owner=object(), stateful=True)
    assert other.previous_response_id is None
    assert sent(other)["input"] == [user("one"), ANSWER, user("two")]


def test_a_response_that_did_not_end_is_not_continued() -> None:
    memo = Memo()
    asking("one", memo=memo, stateful=True)
    assert asking("two", history=items(user("one"), ANSWER), memo=memo, stateful=True).previous_response_id is None


def test_later_steps_may_come_to_an_answer() -> None:
    tools = [{"type": "function", "name": "read"}]
    for step, choice in ((0, "required"), (1, "auto")):
        body = sent(asking("x", tools=tools, tool_choice="required", step=step))
        assert body.get("tool_choice", "auto") == choice
    some = {"type": "allowed_tools", "mode": "required", "tools": tools}
    assert sent(asking("x", tools=tools, tool_choice=some, step=1))["tool_choice"] == {**some, "mode": "auto"}


def test_the_bound_on_tokens_is_what_is_left_of_it() -> None:
    ask: Ask = attrs.evolve(ask_for("x", memo=Memo(), max_output_tokens=100), used_tokens=95)
    assert sent(Asking.of(ask, owner=OWNER))["max_output_tokens"] == 16


def test_a_summary_is_asked_for_behind_the_whole_conversation() -> None:
    memo = Memo()
    found = asking("one", memo=memo, tools=[{"type": "function", "name": "read"}], instructions="Be brief.")
    body = json.loads(found.for_summary(500).body())
    assert "tools" not in body
    assert (body["instructions"], body["max_output_tokens"]) == ("Be brief.", 500)
    assert [item["role"] for item in body["input"]] == ["user", "user"]
    assert len(sent(found)["input"]) == 1
