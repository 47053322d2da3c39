"""The engine in front of a server that speaks the Responses API: what goes up, what comes down, what is asked again."""

from __future__ import annotations

import json

import pytest
import trio

from agentwire.engines.responses import open_responses_engine
from agentwire.protocol.errors import EngineError
from agentwire.protocol.items import Reasoning
from agentwire.protocol.transcript import Memo
from agentwire.testing.recording import ask_for
from agentwire.transport.http11 import HttpConnection
from tests.engines.chat.kit import EVENTS, Script, breaks_off, event, refuses, says, step, whole
from tests.engines.relay.kit import Json, call_events, message_events, response, stream, thought_events
from tests.engines.responses.kit import answers, input_of, responses, text
from tests.runtime.kit import client

pytestmark = pytest.mark.socket


async def test_a_step_is_one_response() -> None:
    async with responses(text("Hi."), key="sk-1", headers={"x-a": "b"}, model="theirs") as (engine, server):
        done = await step(engine, instructions="Be brief.")
    (path,), (headers,) = server.paths, server.headers
    assert path == "/v1/responses"
    assert (headers["authorization"], headers["x-a"]) == ("Bearer sk-1", "b")
    assert (server.body["model"], server.body["stream"], server.body["store"]) == ("theirs", True, False)
    assert server.body["instructions"] == "Be brief."
    assert done.texts == ["Hi."]
    assert done.finish.usage is not None
    assert done.finish.usage.output_tokens == 5
    assert done.finish.members["model"] == "their-model"


async def test_reasoning_survives_a_server_that_keeps_nothing() -> None:
    script = answers(stream(thought_events("Hm.", encrypted_content="opaque"), message_events("Hi.", index=1)))
    memo = Memo()
    async with responses(script) as (engine, server):
        first = await step(engine, memo=memo)
        thought, said = first.items
        assert isinstance(thought, Reasoning)
        assert thought.encrypted_content is None, "the client did not ask for it"
        await step(engine, "more", memo=memo, history=[*first.ask.items, thought, said])
    assert server.bodies[0]["include"] == ["reasoning.encrypted_content"]
    assert input_of(server.bodies[1]) == ["message", "reasoning", "message", "message"]
    assert server.bodies[1]["input"][1]["encrypted_content"] == "opaque"


async def test_who_asks_for_encrypted_reasoning_sees_it() -> None:
    script = answers(stream(thought_events("Hm.", encrypted_content="opaque"), message_events("Hi.", index=1)))
    async with responses(script) as (engine, _):
        done = await step(engine, include=["reasoning.encrypted_content"])
    thought = done.items[0]
    assert isinstance(thought, Reasoning)
    assert thought.encrypted_content == "opaque"


NOT_INCLUDED: dict[str, tuple[int, Json]] = {
    "OpenAI": (400, {"error": {"message": "Encrypted content is not supported with this model.", "param": "include"}}),
    "in a word": (400, {"error": {"message": "Unsupported parameter.", "type": "invalid_request", "param": "include"}}),
    "FastAPI": (422, {"detail": [{"loc": ["body", "include"], "msg": "Extra inputs are not permitted"}]}),
}


@pytest.mark.parametrize("name", NOT_INCLUDED)
async def test_a_model_that_cannot_encrypt_is_asked_without(name: str) -> None:
    async with responses(refuses(*NOT_INCLUDED[name]), text("Hi.")) as (engine, server):
        assert (await step(engine)).texts == ["Hi."]
        assert (await step(engine)).texts == ["Hi."]
    assert ["include" in body for body in server.bodies] == [True, False, False]


async def test_a_server_that_keeps_responses_is_asked_for_what_is_new() -> None:
    memo = Memo()
    async with responses(text("Hi."), stateful=True) as (engine, server):
        first = await step(engine, "one", memo=memo)
        history = [*first.ask.items, *first.items]
        second = await step(engine, "two", memo=memo, history=history)
        history = [*second.ask.items, *second.items]
        await step(engine, "three", memo=memo, history=history)
    assert [body["store"] for body in server.bodies] == [True, True, True]
    assert [body.get("previous_response_id") for body in server.bodies] == [None, "resp_theirs", "resp_theirs"]
    assert [len(body["input"]) for body in server.bodies] == [1, 1, 1]


NOT_FOUND = {"error": {"message": "Not found.", "code": "previous_response_not_found", "param": "previous_response_id"}}


VLLM_KNOWS_NONE = {
    "error": {"message": "Response with id 'resp_theirs' not found.", "type": "invalid_request_error", "code": 404}
}


@pytest.mark.parametrize(("status", "refusal"), [(400, NOT_FOUND), (404, NOT_FOUND), (404, VLLM_KNOWS_NONE)])
async def test_a_response_that_the_server_forgot_is_sent_in_full_once(status: int, refusal: Json) -> None:
    memo = Memo()
    async with responses(text("Hi."), refuses(status, refusal), text("Again."), stateful=True) as (engine, server):
        first = await step(engine, "one", memo=memo)
        history = [*first.ask.items, *first.items]
        assert (await step(engine, "two", memo=memo, history=history)).texts == ["Again."]
    assert [len(body["input"]) for body in server.bodies] == [1, 1, 3]
    assert "previous_response_id" not in server.bodies[2]


async def test_a_response_that_the_server_forgets_twice_is_an_error() -> None:
    memo = Memo()
    async with responses(text("Hi."), refuses(404, NOT_FOUND), stateful=True) as (engine, server):
        first = await step(engine, "one", memo=memo)
        with pytest.raises(EngineError) as caught:
            await step(engine, "two", memo=memo, history=[*first.ask.items, *first.items])
    assert caught.value.code == "previous_response_not_found"
    assert len(server.raw) == 3


def searched(name: str, index: int, **members: str) -> list[Json]:
    """A call of a free-text tool, event by event, as xAI tells of what it has searched for."""
    named = {"name": name, "input": "{}", **members}
    item = {"type": "custom_tool_call", "id": f"ctc_{index}", "call_id": f"xs_{index}", **named}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": {**item, "input": ""}},
        {"type": "response.output_item.done", "output_index": index, "item": {**item, "status": "completed"}},
    ]


async def test_what_the_server_has_searched_for_needs_no_answer() -> None:
    script = answers(stream(searched("x_keyword_search", 0), message_events("Found.", index=1)))
    tools = [{"type": "x_search"}, {"type": "custom", "name": "mine"}]
    async with responses(script, answers(stream(searched("mine", 0)))) as (engine, server), client(engine) as it:
        first = (await it.wire.ask(tools=tools))[-1]["response"]
        second = (await it.wire.ask("more", previous_response_id=first["id"], tools=tools))[-1]["response"]
        (refused,) = await it.wire.ask("more", previous_response_id=second["id"], tools=tools)
    assert [item.get("execution") for item in (*first["output"], *second["output"])] == ["server", None, None]
    assert refused["error"]["code"] == "tool_output_missing"
    assert [item.get("execution") for item in server.bodies[-1]["input"]] == [None] * 4
    assert input_of(server.bodies[-1]) == ["message", "custom_tool_call", "message", "message"]


async def test_what_the_client_offers_in_a_namespace_or_late_is_no_search() -> None:
    mine = {"type": "custom", "name": "mine"}
    late = {"type": "additional_tools", "role": "developer", "tools": [{"type": "custom", "name": "late"}]}
    calls = [searched("mine", 0, namespace="all"), searched("late", 1), searched("x_keyword_search", 2)]
    async with responses(answers(stream(*calls))) as (engine, _), client(engine) as it:
        tools = [{"type": "x_search"}, {"type": "namespace", "name": "all", "tools": [mine]}]
        done = (await it.wire.ask([late, {"role": "user", "content": "Hi."}], tools=tools))[-1]["response"]
    assert [item.get("execution") for item in done["output"]] == [None, None, "server"]


@pytest.mark.parametrize("status", ["completed", "incomplete"])
async def test_a_response_without_a_stream_is_one(status: str) -> None:
    final = stream(thought_events("Hm."), message_events("Hi.", index=1), status=status)[-1]["response"]
    async with responses(whole(final)) as (engine, _):
        done = await step(engine)
    assert done.texts == ["Hi."]
    assert done.finish.incomplete == (None if status == "completed" else "max_output_tokens")


ERRORS_WITH_200: dict[str, tuple[Json, str, int, str]] = {
    "a response": (response("failed", error={"code": "server_error", "message": "Oh."}), "server_error", 502, "Oh."),
    "OpenAI": ({"error": {"message": "Oh.", "code": "x"}}, "x", 502, "Oh."),
    "Google": ({"error": {"message": "Oh.", "code": 400, "status": "INVALID"}}, "invalid_request", 400, "Oh."),
    "FastAPI": ({"detail": "Oh."}, "upstream_error", 502, "Oh."),
    "vLLM": (
        {"object": "error", "message": "Oh.", "type": "BadRequestError", "code": 400},
        "invalid_request",
        400,
        "Oh.",
    ),
}


@pytest.mark.parametrize("name", ERRORS_WITH_200)
async def test_an_error_that_came_with_success_is_told(name: str) -> None:
    body, code, status, message = ERRORS_WITH_200[name]
    async with responses(whole(body)) as (engine, _):
        with pytest.raises(EngineError) as caught:
            await step(engine)
    assert (caught.value.code, caught.value.status, caught.value.message) == (code, status, message)


async def add(a: int, b: int) -> int:
    """Add up."""
    return a + b


@pytest.mark.parametrize("stateful", [False, True])
async def test_tools_of_this_server_run_between_two_responses(stateful: bool) -> None:
    scripts = answers(stream(call_events("add", '{"a":1,"b":2}'))), text("It is 3.")
    async with responses(*scripts, stateful=stateful) as (engine, server), client(engine, add) as it:
        seen = await it.wire.ask("1+2?")
    assert [item["type"] for item in seen[-1]["response"]["output"]] == ["mcp_call", "message"]
    assert [tool["name"] for tool in server.bodies[0]["tools"]] == ["add"]
    whole = ["message", "function_call", "function_call_output"]
    assert input_of(server.bodies[1]) == (whole[2:] if stateful else whole)
    assert server.bodies[1]["input"][-1] == {
        "type": "function_call_output",
        "call_id": "call_fc_theirs",
        "output": "3",
    }


async def test_the_upstream_is_left_when_the_client_goes() -> None:
    async def hang(connection: HttpConnection) -> None:
        await connection.start_stream(200, EVENTS)
        for told in stream(message_events("abc"))[:5]:
            await connection.send_chunk(event(told))
        await trio.sleep_forever()

    async with responses(hang) as (engine, server), client(engine) as it:
        it.wire.say(b'{"type":"response.create","model":"m","input":"x"}')
        await it.wire.until("response.output_text.delta")
        it.wire.vanish()
        await server.left.wait()
    assert len(server.gone) == 1


FAULTS = {
    "refused": (refuses(401, {"error": {"message": "sk-secret"}}), "upstream_unauthorized", 502),
    "too long": (
        refuses(400, {"error": {"code": 400, "message": "request exceeds the available context size (4096 tokens)"}}),
        "context_length_exceeded",
        400,
    ),
    "limited": (refuses(429, {"error": {"message": "Slow.", "code": "slow"}}), "slow", 429),
    "down": (refuses(503, "down"), "upstream_error", 503),
    "broken off": (breaks_off(*stream(message_events("abc"))[:4]), "upstream_disconnected", 502),
    "no end": (says(*stream(message_events("abc"))[:4]), "upstream_disconnected", 502),
    "rubbish": (says("{"), "upstream_protocol_error", 502),
}  # fmt: skip


LOST: dict[str, Script] = {
    "unheard": breaks_off(),
    "begun": breaks_off(*stream()[:1]),
    "empty": says(),
    **{str(status): refuses(status, "gone") for status in (500, 502, 504, 524)},
}
RUBBISH: dict[str, Script] = {"rubbish": says("{"), "no stream": refuses(200, {})}
REFUSED: dict[str, Script] = {str(status): refuses(status, "no") for status in (400, 408, 429, 501, 503, 529)}


@pytest.mark.parametrize(
    ("options", "fields", "once"),
    [({}, {}, False), ({"stateful": True}, {}, True), ({}, {"tools": [{"type": "web_search"}]}, True)],
    ids=["only tokens", "it is kept there", "it runs tools"],
)
@pytest.mark.parametrize("name", [*LOST, *RUBBISH, *REFUSED])
async def test_what_may_have_left_something_behind_is_not_for_asking_again(
    name: str, options: Json, fields: Json, once: bool
) -> None:
    async with responses({**LOST, **RUBBISH, **REFUSED}[name], **options) as (engine, _):
        with pytest.raises(EngineError) as told:
            await step(engine, **fields)
    assert told.value.may_have_run is (once and name not in REFUSED)
    if name in LOST:
        assert told.value.retryable is not once


@pytest.mark.parametrize("name", FAULTS)
async def test_what_goes_wrong_has_a_code(name: str) -> None:
    script, code, status = FAULTS[name]
    async with responses(script) as (engine, _):
        with pytest.raises(EngineError) as caught:
            await step(engine)
    assert (caught.value.code, caught.value.status) == (code, status)
    assert "sk-secret" not in str(caught.value)


async def test_nobody_there_is_a_502() -> None:
    async with open_responses_engine("http://127.0.0.1:1/v1") as engine:
        with pytest.raises(EngineError) as caught:
            await step(engine)
    assert (caught.value.code, caught.value.status) == ("upstream_unreachable", 502)


async def test_a_param_is_the_clients_own() -> None:
    body = {"error": {"message": "Unknown parameter: 'foo'.", "code": "unknown_parameter", "param": "foo"}}
    async with responses(refuses(400, body)) as (engine, _):
        with pytest.raises(EngineError) as caught:
            await step(engine, foo=1)
    assert (caught.value.code, caught.value.param, caught.value.message) == (
        "unknown_parameter",
        "foo",
        "Unknown parameter: 'foo'.",
    )


async def test_a_summary_is_the_models() -> None:
    async with responses(text(" They met. ")) as (engine, server):
        summary = await engine.compact(ask_for("hi", memo=Memo()))  # type: ignore[attr-defined]
    assert summary.text == "They met."
    assert summary.usage.output_tokens == 5
    assert len(server.body["input"]) == 2


async def test_tokens_are_counted_where_the_server_counts_them() -> None:
    counted = refuses(200, {"object": "response.input_tokens", "input_tokens": 77})
    async with responses(counted) as (engine, server):
        assert await engine.count_tokens(ask_for("hi", memo=Memo(), temperature=0.5)) == 77  # type: ignore[attr-defined]
    assert server.paths == ["/v1/responses/input_tokens"]
    assert server.body == {"model": "test", "input": [{"type": "message", "role": "user", "content": "hi"}]}


async def test_tokens_are_estimated_where_it_does_not() -> None:
    async with responses(refuses(404, "not found")) as (engine, server):
        for _ in range(2):
            assert 0 < await engine.count_tokens(ask_for("hi", memo=Memo())) < 20  # type: ignore[attr-defined]
    assert len(server.paths) == 1


async def test_types_that_only_the_events_names_say_are_understood() -> None:
    async def named(connection: HttpConnection) -> None:
        await connection.start_stream(200, EVENTS)
        for told in stream(message_events("Hi.")):
            bare = json.dumps({name: value for name, value in told.items() if name not in ("type", "response", "item")})
            whole = json.dumps(told)
            data = whole if "response" in told or "item" in told or "part" in told else bare
            await connection.send_chunk(f"event: {told['type']}\ndata: {data}\n\n".encode())
        await connection.end_stream()

    async with responses(named) as (engine, _):
        assert (await step(engine)).texts == ["Hi."]
