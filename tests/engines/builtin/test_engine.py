"""The engine's decisions: calls, answers, formats, bounds, usage; one step at a time."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from agentwire.engines import NOTICE, builtin
from agentwire.protocol.codec import decode_item
from agentwire.protocol.errors import EngineError
from agentwire.protocol.items import CustomToolCall, FunctionCall, McpCall, OpaqueItem, Reasoning
from agentwire.protocol.transcript import Memo
from agentwire.testing.recording import RecordingOut, ask_for
from tests.engines.kit import ADD, LIST, READ, SEARCH, WEATHER, Step, answer, loop, step, tool, user

ENGINE = builtin()
ADDING = {"type": "function", "name": "add_numbers"}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Edit files."}
SPACE = {
    "type": "namespace",
    "name": "crm",
    "description": "c",
    "tools": [tool("find_customer", customer_id="integer")],
}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "temperature": {"type": "number"}},
    "required": ["city", "temperature"],
    "additionalProperties": False,
}
SHAPE = {"format": {"type": "json_schema", "name": "shape", "schema": SCHEMA, "strict": True}}


async def ask(request: Any, **fields: Any) -> Step:
    return await step(ENGINE, ask_for(request, **fields))


async def test_a_question_about_a_tool_is_a_call_and_its_output_is_the_answer() -> None:
    first = await ask("What's the weather like in San Francisco?", tools=[WEATHER])
    assert first.calls == [("get_weather", {"location": "San Francisco"})]
    assert first.text == ""
    second = await ask([answer(first.out.calls[0], "18 degrees")], history=first.history, tools=[WEATHER])
    assert second.calls == []
    assert second.text == 'get_weather(location="San Francisco") returned: 18 degrees'


async def test_a_new_message_asks_anew() -> None:
    first = await ask("Weather in Rome?", tools=[WEATHER])
    second = await ask(
        [answer(first.out.calls[0], "hot"), user("And the weather in Oslo?")], history=first.history, tools=[WEATHER]
    )
    assert second.calls == [("get_weather", {"location": "Oslo"})]


async def test_the_default_is_words() -> None:
    assert (await ask("hello", tools=[WEATHER])).calls == []
    assert "hello" in (await ask("hello")).text
    assert (await ask("Who are you?", tools=[WEATHER])).text == f"I am {NOTICE}."


async def test_a_conversation_remembers_what_was_said() -> None:
    first = await ask("Remember: the code word is BLUE-42.")
    second = await ask("What is the code word?", history=first.history)
    assert "BLUE-42" in second.text


async def test_several_cities_are_several_calls_unless_parallel_calls_are_off() -> None:
    both = [("get_weather", {"location": "Rome"}), ("get_weather", {"location": "Oslo"})]
    assert (await ask("Weather in Rome and Oslo", tools=[WEATHER])).calls == both
    alone = await ask("Weather in Rome and Oslo", tools=[WEATHER], parallel_tool_calls=False)
    assert alone.calls == both[:1]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("none", []),
        ("auto", ["get_weather"]),
        ("required", ["get_weather"]),
        (ADDING, ["add_numbers"]),
        ({"type": "custom", "name": "apply_patch"}, ["apply_patch"]),
        ({"type": "allowed_tools", "mode": "auto", "tools": [ADDING]}, []),
        ({"type": "allowed_tools", "mode": "required", "tools": [ADDING]}, ["add_numbers"]),
    ],
)  # fmt: skip
async def test_tool_choice(choice: Any, names: list[str]) -> None:
    done = await ask("the weather in Paris", tools=[WEATHER, ADD, PATCH], tool_choice=choice)
    assert [name for name, _ in done.calls] == names


async def test_a_required_call_is_made_after_an_output_too_and_tries_another_tool() -> None:
    final = tool("final_result", "Give the result.", summary="string")
    first = await ask("weather in Rome", tools=[WEATHER, final], tool_choice="required")
    second = await ask(
        [answer(first.out.calls[0], "hot")], history=first.history, tools=[WEATHER, final], tool_choice="required"
    )
    assert second.calls == [("final_result", {"summary": 'get_weather(location="Rome") returned: hot'})]


async def test_a_tool_that_cannot_be_called_is_refused_by_name() -> None:
    with pytest.raises(EngineError, match="web_search") as caught:
        await ask("x", tools=[{"type": "web_search"}], tool_choice={"type": "web_search"})
    assert (caught.value.status, caught.value.param) == (400, "tool_choice")


@pytest.mark.parametrize(
    ("kind", "message", "expected"),
    [
        ("shell", "run `ls`", {"type": "shell_call", "action": {"commands": ["ls"]}}),
        ("shell", "go", {"type": "shell_call", "action": {"commands": ["true"]}}),
        ("local_shell", 'run "make x"',
         {"type": "local_shell_call", "action": {"type": "exec", "command": ["bash", "-lc", "make x"], "env": {}}}),
        ("local_shell", "go", {"action": {"command": ["bash", "-lc", "true"]}}),
        ("apply_patch", "add a line to `a.py`",
         {"type": "apply_patch_call",
          "operation": {"type": "create_file", "path": "a.py", "diff": "+add a line to `a.py"}}),
        ("apply_patch", "go", {"operation": {"path": "note.txt"}}),
        ("computer", "go", {"type": "computer_call", "actions": [{"type": "screenshot"}], "pending_safety_checks": []}),
        ("computer_use_preview", "go", {"type": "computer_call", "action": {"type": "screenshot"}}),
        ("tool_search", 'search tools for "calendar"',
         {"type": "tool_search_call", "execution": "client", "arguments": {"query": "calendar"}}),
    ],
)  # fmt: skip
async def test_what_a_client_runs_itself_is_called_where_it_is_demanded(
    kind: str, message: str, expected: dict[str, Any]
) -> None:
    done = await ask(message, tools=[{"type": kind, "execution": "client"}], tool_choice={"type": kind})
    (item,) = done.out.items
    assert isinstance(item, OpaqueItem)
    assert item.raw["call_id"].startswith("call_")
    assert item.raw["status"] == "completed"
    for name, value in expected.items():
        said = item.raw[name]
        assert said == value or {member: said[member] for member in value} == value


async def test_a_shell_is_called_where_the_message_asks_for_it_and_its_output_is_reported() -> None:
    tools = [{"type": "shell"}, {"type": "web_search"}, WEATHER]
    first = await ask("Use the shell to run `ls`.", tools=tools)
    (item,) = first.out.items
    assert isinstance(item, OpaqueItem)
    assert item.raw["action"]["commands"] == ["ls"]
    printed = [{"stdout": "a.py\n", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]
    output = {"type": "shell_call_output", "call_id": item.raw["call_id"], "output": printed}
    second = await ask([output], history=first.history, tools=tools)
    assert second.out.items[0].type == "message"
    assert "a.py" in second.text


async def test_a_tool_in_a_namespace_is_called_with_it() -> None:
    done = await ask("find customer 42", tools=[SPACE])
    (item,) = done.out.items
    assert isinstance(item, FunctionCall)
    assert (item.name, item.namespace, json.loads(item.arguments)) == ("find_customer", "crm", {"customer_id": 42})


async def test_calls_of_two_kinds_go_out_one_kind_at_a_time() -> None:
    message = "1. In parallel, use find_customer 42 and get_weather in Rome\n2. report"
    first = await ask(message, tools=[SPACE, WEATHER])
    (item,) = first.out.items
    assert isinstance(item, FunctionCall)
    assert item.name == "find_customer"
    second = await ask([answer(item, "Ada")], history=first.history, tools=[SPACE, WEATHER])
    assert second.calls == [("get_weather", {"location": "Rome"})]


async def test_a_free_text_tool_gets_the_block() -> None:
    done = await ask("Use apply_patch:\n```\n*** Begin Patch\n*** End Patch\n```", tools=[PATCH])
    (item,) = done.out.items
    assert isinstance(item, CustomToolCall)
    assert item.input == "*** Begin Patch\n*** End Patch"


async def test_tools_that_came_as_an_item_are_seen() -> None:
    late = {"type": "additional_tools", "role": "developer", "tools": [WEATHER]}
    done = await ask([late, user("the weather in Rome")])
    assert done.calls == [("get_weather", {"location": "Rome"})]


async def test_a_tool_that_the_server_runs_is_call_and_output_in_one() -> None:
    message = "1. List the files in `src`\n2. Read each file that it listed"
    tools = [LIST, READ]
    first = await step(ENGINE, ask_for(message, tools=tools), server_tools={"list_files", "read_file"})
    (call,) = first.out.calls
    assert isinstance(call, McpCall)
    done = McpCall(call.server_label, call.name, call.arguments, "a.py\nb.py", id=call.id, status="completed")
    second = await step(ENGINE, ask_for(message, tools=tools, step=1))
    assert second.calls == first.calls, "what the step before made is not among its items"
    ask_again = ask_for([user(message), {"type": "mcp_call", **_members(done)}], tools=tools, step=1)
    third = await step(ENGINE, ask_again)
    assert third.calls == [("read_file", {"path": "src/a.py"})]
    assert third.finish is not None
    assert third.finish.usage is not None
    assert 0 < third.finish.usage.cached_tokens < third.finish.usage.input_tokens


def _members(call: McpCall) -> dict[str, Any]:
    return {name: getattr(call, name) for name in ("id", "server_label", "name", "arguments", "output", "status")}


async def test_structured_text_follows_the_schema_and_the_outputs() -> None:
    first = await ask("the weather in Rome", tools=[WEATHER], text=SHAPE)
    assert first.calls == [("get_weather", {"location": "Rome"})]
    output = answer(first.out.calls[0], '{"temperature": 31.5}')
    second = await ask([output], history=first.history, tools=[WEATHER], text=SHAPE)
    assert json.loads(second.text) == {"city": "Rome", "temperature": 31.5}


async def test_json_object_is_an_object() -> None:
    done = await ask("say hi", text={"format": {"type": "json_object"}})
    assert json.loads(done.text) == {"answer": "hi"}


async def test_a_schema_that_allows_nothing_is_refused() -> None:
    shape = {"type": "json_schema", "name": "none", "schema": {"type": "string", "pattern": "(?=x)"}}
    with pytest.raises(EngineError) as caught:
        await ask("x", text={"format": shape})
    assert (caught.value.code, caught.value.param) == ("unsupported_schema", "text.format.schema")


async def test_the_bound_on_tokens_ends_the_answer_incomplete() -> None:
    done = await ask("count to 500", max_output_tokens=24)
    assert done.text.split() == [str(number) for number in range(1, 25)]
    assert done.finish is not None
    assert done.finish.incomplete == "max_output_tokens"
    assert done.finish.usage is not None
    assert done.finish.usage.output_tokens == 24


@pytest.mark.parametrize("reasoning", [{"summary": "auto"}, {"generate_summary": "concise"}])
async def test_a_summary_is_one_line_where_the_client_wants_one(reasoning: dict[str, str]) -> None:
    message = "1. Read `a.py`\n2. Report"
    first = await ask(message, tools=[READ], reasoning=reasoning)
    assert isinstance(first.out.items[0], Reasoning)
    assert first.out.summary_written == "Step 1: 1 call of read_file, for “Read `a.py`”."
    assert first.finish is not None
    assert first.finish.usage is not None
    assert first.finish.usage.reasoning_tokens > 0
    second = await ask([answer(first.out.calls[0], "x")], history=first.history, tools=[READ], reasoning=reasoning)
    assert second.out.summary_written.startswith("No call is left")
    third = await ask("hello", tools=[READ], reasoning=reasoning)
    assert third.out.summary_written.startswith("The message asks for no tool")
    forced = await ask("hello", tools=[READ], reasoning=reasoning, tool_choice="required")
    assert forced.out.summary_written.startswith("A tool must be called")
    silent = await ask("hello", tools=[READ], reasoning={"effort": "low"})
    assert silent.out.summary_written == ""


async def test_usage_counts_the_history_as_cached() -> None:
    first = await ask("Remember: the code word is BLUE-42. " * 20, instructions="Be brief.", tools=[WEATHER])
    second = await ask("What is the code word?", history=first.history)
    assert first.finish is not None
    assert second.finish is not None
    one, two = first.finish.usage, second.finish.usage
    assert one is not None
    assert two is not None
    assert (one.cached_tokens, two.cached_tokens > 150) == (0, True)
    assert two.cached_tokens < two.input_tokens
    assert one.output_tokens > 0


async def test_the_memo_changes_nothing_but_the_cost() -> None:
    memo = Memo()
    first = await ask("1. List files in `src`\n2. Read each file", tools=[LIST, READ], memo=memo)
    output = answer(first.out.calls[0], "a.py\nb.py")
    with_memo = await ask([output], history=first.history, tools=[LIST, READ], memo=memo)
    without = await ask([output], history=first.history, tools=[LIST, READ])
    assert with_memo.calls == without.calls == [("read_file", {"path": "src/a.py"})]


async def test_images_are_mentioned() -> None:
    content = [
        {"type": "input_text", "text": "What is in this image?"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
    ]
    assert "1 image, which I cannot look into" in (await ask([{"role": "user", "content": content}])).text


async def test_a_conversation_without_a_message_is_answered_too() -> None:
    assert "no text" in (await ask([{"role": "system", "content": "Be kind."}])).text
    orphan = decode_item({"role": "assistant", "content": "hm"})
    assert "go" in (await ask("go", history=(orphan,))).text


async def test_a_delay_is_waited_after_each_word_and_a_cancellation_ends_it(autojump_clock: MockClock) -> None:
    out = RecordingOut()
    with trio.move_on_after(3.5) as scope:
        await builtin(delay=1)(ask_for("count to 10"), out)
    assert scope.cancelled_caught
    assert out.text_written == "1 2 3 4"


async def test_the_same_conversation_gives_the_same_answer() -> None:
    message = 'First list the files in `src`, then search for "x" in src/.'
    one = await ask(message, tools=[LIST, SEARCH])
    other = await ask(message, tools=[LIST, SEARCH])
    assert one.out.events == other.out.events


async def test_a_tool_that_fails_is_reported_as_failed() -> None:
    steps = await loop(ENGINE, "Read `a.py` and `b.py`", {"read_file": lambda path: f"error: no {path}"}, tools=[READ])
    assert "2 calls failed" in steps[-1].text
