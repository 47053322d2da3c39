from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import trio
import trio.testing

from agentwire.engines.chat import ChatDialect, open_chat_engine
from agentwire.protocol.errors import EngineError
from agentwire.protocol.items import CustomToolCall, FunctionCall, McpCall, Message, Reasoning
from agentwire.protocol.limits import Limits
from agentwire.protocol.response import Usage
from agentwire.protocol.tools import FunctionTool
from agentwire.protocol.transcript import Memo
from agentwire.testing.recording import RecordingOut, ask_for
from agentwire.testing.replies import Pause, Reply
from agentwire.testing.upstream import scripted_upstream
from agentwire.transport.http11 import HttpConnection
from tests.engines.chat.kit import (
    EVENTS,
    PATCH,
    USAGE,
    Json,
    Script,
    Step,
    answer_to,
    breaks_off,
    call,
    calls,
    chat,
    delta,
    event,
    refuses,
    says,
    step,
    stop,
    sum_tool,
    text,
    used,
    whole,
)

pytestmark = pytest.mark.socket

ADD = call('{"a":1,"b":2}', id="c1", name="add")


async def failure_of(*scripts: Script, **fields: Any) -> EngineError:
    """How a step fails."""
    async with chat(*scripts) as (engine, _):
        with pytest.raises(EngineError) as caught:
            await step(engine, **fields)
    return caught.value


def beside(reason: str, **members: Any) -> Json:
    """A chunk with a piece of the answer, and a reason beside it."""
    return {"choices": [{"index": 0, "delta": members, "finish_reason": reason}]}


# What goes up


async def test_one_request_is_one_stream() -> None:
    async with chat(text("Hel", "lo."), key=" k1\n", model="real", headers={"x-mine": "1"}) as (engine, server):
        done = await step(engine, instructions="be brief", max_output_tokens=50)
        assert server.paths == ["/v1/chat/completions"]
        assert server.body == {
            "model": "real",
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": 50,
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
        }
        (headers,) = server.headers
        assert headers["authorization"] == "Bearer k1"
        assert headers["x-mine"] == "1"
        assert headers["content-type"] == "application/json"
        assert "k1" not in repr(engine)
    assert done.out.events == [("text", "Hel"), ("text", "lo.")]
    assert done.finish.usage == Usage(12, 5)
    assert done.finish.incomplete is None


async def test_without_a_key_or_a_name_the_clients_name_goes_up_and_no_key() -> None:
    async with chat(text("x"), dialect=ChatDialect(tokens_name="max_completion_tokens")) as (engine, server):
        await step(engine, model="their-name", max_output_tokens=50)
        assert server.body["model"] == "their-name"
        assert server.body["max_completion_tokens"] == 50
        assert "authorization" not in server.headers[0]


async def test_a_conversation_is_appended_to_and_its_connection_kept() -> None:
    memo = Memo()
    async with chat(text("one"), text("two"), text("three")) as (engine, server):
        done = await step(engine, "first", memo=memo)
        history = (*done.ask.items, *done.items)
        await step(engine, "second", memo=memo, history=history)
        one, two = server.raw
        assert two.startswith(one.removesuffix(b"]}"))
        assert [message["content"] for message in json.loads(two)["messages"]] == ["first", "one", "second"]
        fork = await step(engine, "other", memo=Memo(memo.value), history=(*history, *done.ask.items, *done.items))
        assert fork.text == "three"


async def test_a_tool_that_an_item_offered_can_be_called() -> None:
    late = {"type": "additional_tools", "role": "developer", "tools": [sum_tool()]}
    async with chat(says(calls(ADD), stop())) as (engine, server):
        done = await step(engine, [late, {"role": "user", "content": "add"}])
        assert [tool["function"]["name"] for tool in server.body["tools"]] == ["add"]
    assert [each.name for each in done.out.calls] == ["add"]


async def test_the_servers_own_tools_are_offered_and_not_forced_twice() -> None:
    own = FunctionTool("now", {"type": "object", "properties": {}})
    async with chat(says(calls(call("{}", name="now")), stop("tool_calls")), text("Noon.")) as (engine, server):
        first = await step(engine, "time?", server_tools=[own], tool_choice="required")
        await step(engine, "time?", server_tools=[own], tool_choice="required", step=1)
        assert [body["tool_choice"] for body in server.bodies] == ["required", "auto"]
    assert isinstance(first.out.calls[0], McpCall)


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "k\xe9y"])
async def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII") as caught:
        async with open_chat_engine("http://127.0.0.1:1/v1", key=key):
            raise AssertionError("opened")
    assert not key or key not in str(caught.value)


async def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="base_url must begin with"):
        async with open_chat_engine("model:8080"):
            raise AssertionError("opened")


async def test_a_part_that_cannot_go_up_is_named_as_the_client_sent_it() -> None:
    memo, image = Memo(), {"type": "input_image", "file_id": "file_1"}
    history = (Message("user", "hi"), Message("assistant", "hello"))
    asked = {"role": "user", "content": [{"type": "input_text", "text": "what is"}, image]}
    async with chat(text("x")) as (engine, server):
        with pytest.raises(EngineError, match="must be sent as a URL") as caught:
            await step(engine, [{"role": "user", "content": "see"}, asked], memo=memo, history=history)
        assert server.raw == []
    assert (caught.value.status, caught.value.param) == (400, "input[1].content[1]")


# What comes down


async def test_reasoning_text_and_refusals() -> None:
    done = await answer_to(
        says(
            delta(reasoning_content="Hm, "),
            delta(reasoning="yes."),
            delta(content="Yes."),
            delta(refusal="No."),
            stop(),
        )
    )
    assert done.out.events == [("reasoning", "Hm, "), ("reasoning", "yes."), ("text", "Yes."), ("refusal", "No.")]
    assert [type(item) for item in done.items] == [Reasoning, Message]


async def test_calls_stream_beside_text() -> None:
    first = calls(call("", id="c1", name="add"))
    rest = calls(call('{"a":1'), call(',"b":2}'))
    second = calls(call('{"a":3,"b":4}', index=1, id="c2", name="add"))
    script = says(delta(content="I add."), first, rest, second, stop("tool_calls"), used())
    done = await answer_to(script, tools=[sum_tool()])
    assert [type(item) for item in done.items] == [Message, FunctionCall, FunctionCall]
    assert [call.arguments for call in done.items if isinstance(call, FunctionCall)] == [
        '{"a":1,"b":2}',
        '{"a":3,"b":4}',
    ]
    assert [call.call_id for call in done.items if isinstance(call, FunctionCall)] == ["c1", "c2"]


async def test_an_id_that_an_earlier_turn_used_is_not_used_again() -> None:
    memo = Memo()
    async with chat(says(calls(ADD), stop())) as (engine, _):
        one = await step(engine, "add", memo=memo, tools=[sum_tool()])
        answer = {"type": "function_call_output", "call_id": "c1", "output": "3"}
        history = (*one.ask.items, *one.items)
        two = await step(engine, [answer], memo=memo, tools=[sum_tool()], history=history)
    (again,) = two.items
    assert isinstance(again, FunctionCall)
    assert again.call_id.startswith("call_")


async def test_a_custom_tools_call_comes_back_as_one() -> None:
    done = await answer_to(says(calls(call('{"input":"a\\nb"}', name="apply_patch")), stop()), tools=[PATCH])
    (item,) = done.items
    assert isinstance(item, CustomToolCall)
    assert item.input == "a\nb"


async def test_the_old_form_of_a_call_beside_the_new() -> None:
    function = {"name": "add:", "arguments": '{"a":1,"b":2}'}
    both = delta(function_call=function, tool_calls=[{"index": 0, "id": "c1", "function": function}])
    assert len((await answer_to(says(both, stop()), tools=[sum_tool()])).items) == 1
    old = says(delta(function_call={"name": "add", "arguments": ""}), delta(function_call={"arguments": "{}"}), stop())
    assert [each.name for each in (await answer_to(old, tools=[sum_tool()])).out.calls] == ["add"]


@pytest.mark.parametrize("frame", [{"function_call": {"name": "", "arguments": ""}}, {"tool_calls": [call("")]}])
async def test_the_frame_of_a_call_with_nothing_in_it_is_none(frame: Json) -> None:
    thoughts, texts = ([delta(**{name: piece}, **frame) for piece in "ab"] for name in ("reasoning", "content"))
    done = await answer_to(says(*thoughts, *texts, stop()), include=["reasoning.encrypted_content"])
    assert [type(item) for item in done.items] == [Reasoning, Message]
    owed = says(delta(content=" ", **frame), calls(ADD), stop())
    assert [type(item) for item in (await answer_to(owed, tools=[sum_tool()])).items] == [FunctionCall]
    last = {"choices": [{"index": 0, "delta": frame, "finish_reason": "stop"}]}
    assert (await answer_to(breaks_off(delta(content="x"), last))).text == "x"
    both = delta(tool_calls=[call("")], function_call={"name": "add", "arguments": "{}"})
    assert len((await answer_to(says(both, stop()), tools=[sum_tool()])).out.calls) == 1


async def test_text_that_stands_beside_the_frame_of_a_call_waits_for_the_call_that_is_owed() -> None:
    first = delta(content="I will.", function_call={"name": "", "arguments": ""})
    script = says(first, stop())
    async with chat(script, says(calls(ADD), stop())) as (engine, server):
        done = await step(engine, tools=[sum_tool()], tool_choice="required")
        assert ([type(item) for item in done.items], len(server.bodies)) == ([FunctionCall], 2)


async def test_a_whole_answer_in_one_chunk() -> None:
    message = {"role": "assistant", "content": "All of it.", "tool_calls": [ADD]}
    told = {
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 3},
    }
    done = await answer_to(says(told), tools=[sum_tool()])
    assert done.text == "All of it."
    assert len(done.out.calls) == 1
    assert done.finish.usage == Usage(3)


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", ""])
async def test_a_server_that_does_not_stream(kind: str) -> None:
    message = {"role": "assistant", "content": "All of it."}
    told = {"choices": [{"index": 0, "message": message, "finish_reason": None}], "usage": USAGE}
    async with chat(whole(b"\r\n " + json.dumps(told, indent=1).encode(), kind), text("more")) as (engine, _):
        done = await step(engine)
        assert (done.text, done.finish.usage) == ("All of it.", Usage(12, 5))
        assert (await step(engine)).text == "more"


@pytest.mark.parametrize("kind", ["text/plain; charset=utf-8", "application/json, text/event-stream"])
async def test_a_stream_under_another_name(kind: str) -> None:
    stream = b": hi\n\n" + event(delta(content="All of it.")) + event(stop())
    assert (await answer_to(whole(stream, kind))).text == "All of it."

    async def bytewise(connection: HttpConnection) -> None:
        await connection.start_stream(200, {"content-type": kind})
        for byte in stream.partition(b"\n\n")[2]:
            await connection.send_chunk(bytes((byte,)))
        await connection.end_stream()

    assert (await answer_to(bytewise)).text == "All of it."
    error = await failure_of(whole(b"All of it.", kind))
    assert (error.status, error.code) == (502, "upstream_protocol_error")
    assert f"it answered with {kind}, and no stream" in error.message


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", ""])
async def test_an_error_with_the_status_of_success(kind: str) -> None:
    error = await failure_of(whole({"error": "Unexpected endpoint or method. (POST /v1/x)"}, kind))
    assert (error.status, error.code) == (502, "upstream_error")
    assert error.message.endswith(" reported an error within its answer: Unexpected endpoint or method. (POST /v1/x).")
    busy = await failure_of(whole({"error": {"message": "slow down", "code": 429}}, kind))
    assert (busy.status, busy.code) == (429, "rate_limit_exceeded")


async def test_a_citation_of_nothing_is_dropped() -> None:
    cited = delta(annotations=[{"type": "url_citation", "url_citation": {"url": "https://x"}}])
    assert (await answer_to(says(delta(refusal="No."), cited, stop()))).out.events == [("refusal", "No.")]
    assert (await answer_to(says(delta(tool_calls=[{"index": 0}]), cited, stop()))).out.events == [("text", "")]
    assert (await answer_to(says(cited, {**delta(content="x"), "service_tier": 1}, stop()))).out.events == [
        ("text", "x")
    ]


async def test_only_the_first_of_several_answers_counts() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": "length"}]}
    bare = {"choices": [{"index": 0}]}
    done = await answer_to(says(other, bare, delta(content="mine"), stop()))
    assert (done.text, done.finish.incomplete) == ("mine", None)


async def test_blanks_are_kept_in_text_and_dropped_round_calls() -> None:
    blank = delta(content="\n\n")
    assert (await answer_to(says(blank, delta(content="a"), blank, delta(content="b"), stop()))).text == "\n\na\n\nb"
    assert (await answer_to(says(blank, stop()))).text == "\n\n"
    both = says(blank, calls(ADD), blank, calls(call("{}", index=1, name="add")), blank, stop())
    done = await answer_to(both, tools=[sum_tool()])
    assert [type(item) for item in done.items] == [FunctionCall, FunctionCall]


async def test_text_and_reasoning_after_a_call_end_it() -> None:
    done = await answer_to(says(calls(ADD), delta(content="Added."), stop()), tools=[sum_tool()])
    assert [type(item) for item in done.items] == [FunctionCall, Message]
    done = await answer_to(says(calls(ADD), delta(reasoning="Hm."), stop()), tools=[sum_tool()])
    assert [type(item) for item in done.items] == [FunctionCall, Reasoning]


async def test_an_empty_answer_is_an_empty_message() -> None:
    done = await answer_to(says(delta(role="assistant", content=""), stop(), used()))
    assert done.texts == [""]
    thought = await answer_to(says(delta(reasoning="Hm."), stop()))
    assert [type(item) for item in thought.items] == [Reasoning]


@pytest.mark.parametrize(
    ("reason", "incomplete"),
    [
        *((reason, None) for reason in ("stop", "tool_calls", "function_call", "eos_token", "stop_sequence")),
        *((reason, "max_output_tokens") for reason in ("length", "max_tokens", "MAX_TOKENS", "model_length")),
        *((reason, "content_filter") for reason in ("content_filter", "SAFETY", "sensitive")),
        *((reason, "content_filter") for reason in ("content_filter: RECITATION", "PROHIBITED_CONTENT")),
    ],
)
async def test_how_an_answer_ends(reason: str, incomplete: str | None) -> None:
    done = await answer_to(text("x", reason=reason))
    assert (done.text, done.finish.incomplete, done.finish.usage) == ("x", incomplete, Usage(12, 5))


async def test_usage_with_its_details_and_without_any() -> None:
    details: Json = {
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    assert (await answer_to(says(delta(content="x"), stop(), used(**details)))).finish.usage == Usage(12, 5, 8, 3)
    later = says(delta(content="x"), {**delta(content="y"), "usage": {"prompt_tokens": 1}}, stop(), used())
    assert (await answer_to(later)).finish.usage == Usage(12, 5)  # in every chunk: the last one counts
    within = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": {"prompt_tokens": 2}}]}
    assert (await answer_to(says(delta(content="x"), within))).finish.usage == Usage(2)
    timings = {**stop(), "timings": {"prompt_n": 4, "cache_n": 3, "predicted_n": 2, "prompt_ms": 1.5}}
    assert (await answer_to(says(delta(content="x"), timings))).finish.usage == Usage(7, 2, 3)
    assert (await answer_to(says(delta(content="x"), {**stop(), "timings": [1]}))).finish.usage is None


async def test_what_nobody_counted_is_estimated_and_says_so() -> None:
    done = await answer_to(says(delta(content="x"), delta(content="y"), stop()), request="four tokens or so")
    assert done.finish.usage is None
    used = done.out.used
    assert used is not None
    assert (used.input_tokens > 4, used.output_tokens, used.extra) == (True, 3, {"estimated": True})


async def test_what_a_step_used_is_told_however_it_ends() -> None:
    outs = [RecordingOut(), RecordingOut(), RecordingOut(), RecordingOut()]
    begun = trio.Event()

    async def endless(connection: HttpConnection) -> None:
        await connection.start_stream(200, EVENTS, event({**delta(content="I"), "usage": {"prompt_tokens": 7}}))
        begun.set()
        await trio.sleep_forever()

    broken = breaks_off({**delta(content="I"), "usage": {"prompt_tokens": 9, "completion_tokens": 1}})
    async with chat(endless, broken, refuses(400), text("x"), text('{"a":1')) as (engine, _):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(engine, ask_for("x", memo=Memo()), outs[0])
                await begun.wait()
                await trio.testing.wait_all_tasks_blocked(0.01)
                scope.cancel(reason="the test says so")
        for out in outs[1:3]:
            with pytest.raises(EngineError):
                await engine(ask_for("x", memo=Memo()), out)
        with pytest.raises(EngineError):
            await engine(ask_for("x", memo=Memo(), tools=[sum_tool()], tool_choice="required"), outs[3])
    assert [out.used for out in outs] == [Usage(7), Usage(9, 1), None, Usage(24, 10)]


async def test_an_answer_is_whole_without_the_last_word() -> None:
    assert (await answer_to(says(delta(content="x"), stop(), done=False))).text == "x"
    for last in ((delta(content="x"), stop()), (beside("stop", content="x"),)):
        done = await answer_to(breaks_off(*last, used()))
        assert (done.text, done.finish.usage) == ("x", Usage(12, 5))


async def test_an_answer_is_whole_without_a_reason_if_the_server_says_that_it_has_ended() -> None:
    assert (await answer_to(says(delta(content="x")))).text == "x"
    assert len((await answer_to(says(calls(ADD)), tools=[sum_tool()])).out.calls) == 1


# A call that is demanded


async def test_a_server_that_enforces_the_choice_is_asked_once() -> None:
    script = says(delta(content="I call."), delta(content=" Now."), calls(ADD), stop("tool_calls"))
    async with chat(script) as (engine, server):
        done = await step(engine, tools=[sum_tool()], tool_choice="required")
        assert len(server.bodies) == 1
    assert done.text == "I call. Now."
    assert [each.name for each in done.out.calls] == ["add"]


async def test_a_server_that_does_not_is_asked_again_under_a_schema(caplog: pytest.LogCaptureFixture) -> None:
    async with chat(text("3, of course."), text('{"a":1,', '"b":2}')) as (engine, server):
        with caplog.at_level(logging.INFO, "agentwire.engine"):
            done = await step(engine, instructions="be good", tools=[sum_tool()], tool_choice="required")
        first, second = server.bodies
        assert first["tool_choice"] == "required"
        assert "tools" not in second
        assert second["response_format"]["json_schema"]["schema"] == sum_tool()["parameters"]
        assert second["messages"][0]["content"].startswith("be good\n\nAnswer with the JSON object")
        assert second["messages"][1:] == first["messages"][1:]
    assert [(item.name, item.arguments) for item in done.items if isinstance(item, FunctionCall)] == [
        ("add", '{"a":1,"b":2}')
    ]
    assert done.text == ""
    assert done.finish.usage == Usage(24, 10)
    assert "did not enforce tool_choice" in caplog.text


async def test_of_several_tools_the_model_chooses_under_the_schema() -> None:
    tools = [sum_tool(), PATCH]
    choice = '{"name":"apply_patch","arguments":{"input":"p"}}'
    done = await answer_to(text("hm"), text(choice), tools=tools, tool_choice="required")
    (item,) = done.items
    assert isinstance(item, CustomToolCall)
    assert (item.name, item.input) == ("apply_patch", "p")


async def test_a_server_that_calls_at_the_second_time_of_asking() -> None:
    done = await answer_to(text("hm"), says(calls(ADD), stop()), tools=[sum_tool()], tool_choice="required")
    assert [each.name for each in done.out.calls] == ["add"]


async def test_a_refusal_is_an_answer_to_a_demand() -> None:
    done = await answer_to(says(delta(refusal="Never."), stop()), tools=[sum_tool()], tool_choice="required")
    assert done.out.events == [("refusal", "Never.")]


async def test_a_demand_that_is_cut_off_is_incomplete() -> None:
    done = await answer_to(text("3, of", reason="length"), tools=[sum_tool()], tool_choice="required")
    assert (done.text, done.finish.incomplete) == ("3, of", "max_output_tokens")
    second = await answer_to(text("3"), text('{"a":', reason="length"), tools=[sum_tool()], tool_choice="required")
    assert (second.texts, second.finish.incomplete) == ([""], "max_output_tokens")


async def test_a_demand_that_nothing_meets_is_an_error() -> None:
    demand: Json = {"tools": [sum_tool()], "tool_choice": "required"}
    error = await failure_of(text("no"), text("still no"), **demand)
    assert (error.status, error.code) == (502, "upstream_protocol_error")
    assert "did not call any" in error.message
    error = await failure_of(text("no"), refuses(400, {"error": "no schemas"}), **demand)
    assert (error.status, error.code) == (502, "tool_choice_unsupported")


async def test_text_that_waits_is_bounded() -> None:
    async with chat(text("x" * 600, "x" * 600), limits=Limits(response_bytes=1000)) as (engine, _):
        with pytest.raises(EngineError, match="text without an end"):
            await step(engine, tools=[sum_tool()], tool_choice="required")


# What goes wrong


async def test_the_servers_error_is_told() -> None:
    error = await failure_of(refuses(429, {"error": {"message": "slow down", "code": "busy"}}, **{"retry-after": "7"}))
    assert (error.status, error.code) == (429, "busy")
    assert error.message.endswith("slow down. Try again in 7 s.")


@pytest.mark.parametrize(
    "told",
    [
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options", "include_usage"], "msg": "Extra."}]},
        {"error": {"message": "Extra inputs are not permitted, field: 'stream_options'."}},
        {"message": "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra.', 'input': {}}]"},
    ],
)
async def test_what_only_this_server_sends_is_no_fault_of_the_client(
    told: Json, caplog: pytest.LogCaptureFixture
) -> None:
    error = await failure_of(refuses(422, told))
    assert (error.status, error.code, error.param) == (502, "upstream_error", None)
    assert error.message.endswith(". Its dialect has to omit stream_options here.")
    assert error.message in caplog.text


@pytest.mark.parametrize(
    "told",
    [
        "[{'type': 'value_error', 'loc': ('body',), 'msg': 'too many', 'input': {'stream_options': {}}}]",
        "`top_logprobs` must be <= 20, 'input': stream_options",
        'Bad request: {"top_logprobs": 21, "stream_options": {"include_usage": true}}',
        "stream_options and all that: the maximum context length is 5 tokens",
        {"message": "It is not stream_options that is wrong.", "param": "top_logprobs"},
    ],
)
async def test_a_request_that_is_only_quoted_stays_the_clients_fault(told: Any) -> None:
    assert (await failure_of(refuses(400, {"error": told}))).status == 400


async def test_an_error_in_the_middle_of_the_answer_is_told() -> None:
    told = {"error": {"message": "out of memory", "code": 500, "type": "server_error"}}
    error = await failure_of(says(delta(content="I"), told))
    assert (error.status, error.code) == (502, "server_error")
    assert "out of memory" in error.message


@pytest.mark.parametrize(
    ("told", "code", "words"),
    [
        (
            {"object": "error", "message": "too busy", "type": "ServiceUnavailable", "code": 503},
            "ServiceUnavailable",
            "too busy",
        ),
        (
            {"choices": [{"delta": {}, "finish_reason": "error", "error": {"code": 502, "message": "gone"}}]},
            "upstream_error",
            "gone",
        ),
        ({"detail": "out of memory"}, "upstream_error", "out of memory"),
        ({"errors": ["out of memory"]}, "upstream_error", "out of memory"),
        ({"message": "gone", "status_code": 502}, "upstream_error", "gone"),
        ({"msg": "gone", "code": 20012}, "upstream_error", "gone"),
        ({"message": "gone", "type": "internal_server_error"}, "internal_server_error", "gone"),
        ({"message": "gone", "error_code": "INTERNAL"}, "INTERNAL", "gone"),
        ({"code": "Throttling", "message": "slow down", "request_id": "r"}, "Throttling", "slow down"),
        ({"choices": [], "x_groq": {"id": "r", "error": "over capacity"}}, "upstream_error", "over capacity"),
        ([{"error": {"code": 500, "message": "at Google", "status": "INTERNAL"}}], "INTERNAL", "at Google"),
        (stop("abort"), "upstream_error", "gave up its answer (abort)"),
        (stop("function_call_filter: MALFORMED_FUNCTION_CALL"), "upstream_error", "(function_call_filter: MALFORMED_"),
    ],
)
async def test_an_answer_that_its_server_gives_up(told: Any, code: str, words: str) -> None:
    error = await failure_of(says(delta(content="I"), told))
    assert (error.status >= 502, error.code) == (True, code)
    assert words in error.message


@pytest.mark.parametrize(
    "aside",
    [
        {"object": "progress", "message": "loading model"},
        {"code": 0, "message": "Success"},
        {"code": "200", "msg": "ok"},
        {"code": "success", "message": "ok"},
        {"type": "ping", "message": "still here"},
        {"status": "processing", "status_code": 200, "message": "still here"},
        {"code": 500, "type": "error"},
        '{"detail": 1e999}',
    ],
)
async def test_a_message_that_is_no_error_is_none(aside: Any) -> None:
    assert (await answer_to(says(aside, delta(content="I"), aside, stop(), used(), aside))).text == "I"


async def test_a_finished_answer_is_no_more_undone() -> None:
    late = {"detail": "the logger is full"}
    assert (await answer_to(says(delta(content="I"), stop(), late))).text == "I"
    error = await failure_of(says(beside("stop", content="I"), late))
    assert error.message.endswith("the logger is full.")


@pytest.mark.parametrize(
    "rubbish", ["not json", '{"choices": "x"}', '{"choices":[{"delta":{"content":5}}]}', "[1,2]", '"x"']
)
async def test_rubbish_in_the_middle_of_the_answer(rubbish: str) -> None:
    error = await failure_of(says(delta(content="I"), rubbish, stop()))
    assert (error.status, error.code) == (502, "upstream_protocol_error")
    assert "no chunk of a chat completion" in error.message
    assert ("('not json')" in error.message) == (rubbish == "not json")


async def test_an_answer_that_stops_short() -> None:
    for script in (
        breaks_off(delta(content="I")),
        breaks_off(beside("stop", content="I"), beside("stop", content=" th")),
        breaks_off(stop(), delta(content="I"), stop()),
        says(delta(content="I"), done=False),
        says(),
    ):
        error = await failure_of(script)
        assert (error.status, error.code) == (502, "upstream_disconnected")


async def test_an_answer_that_is_no_stream() -> None:
    error = await failure_of(whole(b"<html>", "text/html"))
    assert (error.status, error.code) == (502, "upstream_protocol_error")
    assert "text/html instead of text/event-stream" in error.message


async def test_a_call_that_is_none() -> None:
    error = await failure_of(says(calls(call("{}", id="c1")), stop()), tools=[sum_tool()])
    assert error.code == "upstream_protocol_error"
    assert "without a name" in error.message


async def test_nobody_is_there() -> None:
    async with open_chat_engine("http://user:secret@127.0.0.1:1/v1") as engine:
        with pytest.raises(EngineError) as caught:
            await step(engine)
    assert (caught.value.status, caught.value.code) == (502, "upstream_unreachable")
    assert "http://127.0.0.1:1" in caught.value.message
    assert "secret" not in caught.value.message


async def test_a_server_that_falls_silent() -> None:
    async def silent(connection: HttpConnection) -> None:
        await connection.start_stream(200, EVENTS, event(delta(content="I")))
        await trio.sleep_forever()

    async with chat(silent, limits=Limits(upstream_silence=0.1)) as (engine, server):
        with pytest.raises(EngineError, match="silent for too long") as caught:
            await step(engine)
        assert (caught.value.status, caught.value.code) == (504, "upstream_timeout")
        await server.left.wait()


async def test_one_failure_is_not_the_next_turns() -> None:
    async with chat(says("rubbish"), refuses(500), breaks_off(), text("fine")) as (engine, _):
        for _ in range(3):
            with pytest.raises(EngineError):
                await step(engine)
        assert (await step(engine)).text == "fine"


async def test_a_cancelled_step_closes_its_connection_and_no_other() -> None:
    begun, others = trio.Event(), trio.Event()

    async def endless(connection: HttpConnection) -> None:
        await connection.start_stream(200, EVENTS, event(delta(content="I")))
        begun.set()
        await trio.sleep_forever()

    async def slow(connection: HttpConnection) -> None:
        others.set()
        await connection.start_stream(200, EVENTS, event(delta(content="one ")))
        await server.left.wait()
        await connection.end_stream(event(delta(content="whole")) + event(stop()))

    done: list[Step] = []

    async def neighbour() -> None:
        done.append(await step(engine))

    async with chat(slow, endless) as (engine, server), trio.open_nursery() as nursery:
        nursery.start_soon(neighbour)
        await others.wait()
        with trio.CancelScope() as scope:
            nursery.start_soon(_cancel_after, begun, scope)
            await step(engine)
        assert scope.cancelled_caught
        await server.left.wait()
    assert done[0].text == "one whole"


async def _cancel_after(event_: trio.Event, scope: trio.CancelScope) -> None:
    await event_.wait()
    scope.cancel(reason="the test says so")


async def test_a_server_that_stays_after_its_answer_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    reply = Reply.stream(delta(content="x"), stop(), done=False, end="stall")
    async with (
        scripted_upstream(reply) as server,
        open_chat_engine(server.url, connector=server.connect, limits=Limits(upstream_usage=3)) as engine,
    ):
        done = await step(engine)
        assert (done.text, trio.current_time()) == ("x", 3)
        await server.connections[0].closed.wait()
        assert (server.connections[0].how, server.connections[0].closed_at) == ("eof", 3)


@pytest.mark.parametrize(("reason", "end", "at"), [("", "stall", 303), ("null", "stall", 303), ("stop", "end", 300)])
async def test_a_reason_in_every_chunk_ends_nothing(
    reason: str, end: Any, at: int, autojump_clock: trio.testing.MockClock
) -> None:
    pieces = (beside(reason, content=piece) for piece in "abc")
    slow = (each for piece in (stop(reason), beside(reason, reasoning="Hm."), *pieces) for each in (piece, Pause(60)))
    reply = Reply.stream(*slow, stop(), done=False, end=end)
    async with (
        scripted_upstream(reply) as server,
        open_chat_engine(server.url, connector=server.connect, limits=Limits(upstream_usage=3)) as engine,
    ):
        done = await step(engine)
        assert (done.text, trio.current_time()) == ("abc", at)


async def test_a_bare_reason_after_others_ends_nothing_either(autojump_clock: trio.testing.MockClock) -> None:
    reply = Reply.stream(beside("stop", content="a"), stop(), Pause(60), beside("stop", content="b"))
    async with (
        scripted_upstream(reply) as server,
        open_chat_engine(server.url, connector=server.connect, limits=Limits(upstream_usage=3)) as engine,
    ):
        assert (await step(engine)).text == "ab"


async def test_a_count_behind_a_reason_ends_the_answer(autojump_clock: trio.testing.MockClock) -> None:
    reply = Reply.stream(beside("stop", content="a"), used(), done=False, end="stall")
    async with (
        scripted_upstream(reply) as server,
        open_chat_engine(server.url, connector=server.connect, limits=Limits(upstream_usage=3)) as engine,
    ):
        done = await step(engine)
        assert (done.text, done.finish.usage, trio.current_time()) == ("a", Usage(12, 5), 3)


async def test_what_follows_a_bare_reason_is_heard(autojump_clock: trio.testing.MockClock) -> None:
    a, b, c = (delta(content=piece) for piece in "abc")
    reply = Reply.stream(a, stop(), Pause(2), b, Pause(60), c, stop())
    async with (
        scripted_upstream(reply) as server,
        open_chat_engine(server.url, connector=server.connect, limits=Limits(upstream_usage=3)) as engine,
    ):
        assert (await step(engine)).text == "abc"
