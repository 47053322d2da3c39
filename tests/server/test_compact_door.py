"""``POST /v1/responses/compact``, and what goes on from there over either transport."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.engines import builtin
from agentwire.protocol.errors import EngineError
from agentwire.protocol.items import Message, Summary
from agentwire.protocol.limits import Limits
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Ask, Finish, Out, Summarized
from agentwire.server import Keys
from agentwire.testing import network
from tests.runtime.kit import Event
from tests.runtime.test_context import LONG, Recorder, Summarizer
from tests.server.kit import Rig, cut_now, serving
from tests.server.test_http_door import ask, request

PATH = "/v1/responses/compact"
ASKED: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "Remember: the code word is slate."},
    {"role": "assistant", "content": "Noted. " + LONG},
    {"type": "message", "id": "msg_2", "role": "user", "content": [{"type": "input_text", "text": "Thanks."}]},
]


async def compact(rig: Rig, *headers: tuple[str, str], path: str = PATH, **body: Any) -> tuple[int, Event]:
    raw = request("POST", path, *headers, body=json.dumps(body).encode())
    reply = await (await rig.http()).ask(raw, method="POST")
    return reply.status, json.loads(reply.body)


async def test_the_users_messages_come_back_and_one_compaction(autojump_clock: MockClock) -> None:
    async with serving(Recorder()) as rig:
        status, answer = await compact(rig, model="m", input=ASKED, prompt_cache_key="k", instructions="Go.")
    assert status == 200
    assert set(answer) == {"id", "object", "created_at", "output", "usage"}
    assert (answer["object"], answer["created_at"]) == ("response.compaction", 1795376805)
    first, second, compaction = answer["output"]
    assert first["id"].startswith("msg_")
    assert {**first, "id": ""} == {
        "id": "",
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_text", "text": "Remember: the code word is slate."}],
    }
    assert second == {**ASKED[-1], "status": "completed"}
    assert set(compaction) == {"id", "type", "encrypted_content"}
    usage = answer["usage"]
    assert usage["input_tokens"] > usage["output_tokens"] > 0
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["input_tokens_details"]["cached_tokens"] == usage["output_tokens_details"]["reasoning_tokens"] == 0


@pytest.mark.parametrize("transport", ["http", "websocket"])
async def test_a_new_chain_begins_with_it(transport: str, autojump_clock: MockClock) -> None:
    engine = Recorder()
    async with serving(engine) as rig:
        _, answer = await compact(rig, model="m", input=ASKED)
        given = [*answer["output"], {"role": "user", "content": "Go on."}]
        if transport == "http":
            reply, response = await ask(await rig.http(), given, tools=[])
            assert reply.status == 200
        else:
            peer = await rig.connect()
            response = (await peer.ask(given, tools=[]))[-1]["response"]
        assert response["status"] == "completed"
        assert response["id"] != answer["id"]
    assert [(type(item), item.role) for item in engine.seen if isinstance(item, Message)] == [
        (Message, "user"),
        (Message, "user"),
        (Summary, "user"),
        (Message, "developer"),
        (Message, "user"),
    ]
    assert "Noted. word" in str(engine.seen[2])


async def test_its_id_is_no_response(autojump_clock: MockClock) -> None:
    async with serving(Recorder()) as rig:
        _, answer = await compact(rig, model="m", input="hi")
        reply, refused = await ask(await rig.http(), previous_response_id=answer["id"])
    assert (reply.status, refused["error"]["code"]) == (400, "previous_response_not_found")


async def test_a_stored_conversation_is_compacted_with_its_open_calls(autojump_clock: MockClock) -> None:
    engine = Recorder(calls=["look"])
    async with serving(engine) as rig:
        _, response = await ask(await rig.http(), "look around")
        status, answer = await compact(rig, model="m", previous_response_id=response["id"])
        assert status == 200
        assert [item["type"] for item in answer["output"]] == ["message", "compaction"]
        output = {"type": "function_call_output", "call_id": response["output"][0]["call_id"], "output": "a wall"}
        reply, _ = await ask(await rig.http(), [*answer["output"], output])
        assert reply.status == 200
    assert [item.type for item in engine.seen] == ["message", "function_call", "function_call_output"]


async def test_the_builtin_engine_goes_on_from_there(autojump_clock: MockClock) -> None:
    async with serving(builtin()) as rig:
        _, answer = await compact(rig, model="m", input=ASKED)
        peer = await rig.connect()
        events = await peer.ask([*answer["output"], {"role": "user", "content": "What is the code word?"}])
    assert "slate" in events[-1]["response"]["output"][0]["content"][0]["text"]


async def test_the_engines_own_summary(autojump_clock: MockClock) -> None:
    engine = Summarizer()
    async with serving(engine) as rig:
        _, answer = await compact(rig, model="m", input=ASKED, instructions="Go.")
        assert answer["usage"]["total_tokens"] == 55
        await ask(await rig.http(), answer["output"])
    assert [type(item).__name__ for item in engine.seen] == ["Message", "Message", "Summary", "Message"]
    assert engine.summarized[0].instructions == "Go."


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"input": "hi"}, 400, "missing_required_parameter", "model"),
        ({"input": "hi", "model": None}, 400, "missing_required_parameter", "model"),
        ({"model": "m"}, 400, "missing_required_parameter", "input"),
        ({"model": "m", "previous_response_id": "resp_x"}, 400, "previous_response_not_found", "previous_response_id"),
        ({"model": "m", "input": 5}, 400, "invalid_type", "input"),
        (
            {"model": "m", "input": [{"type": "compaction", "encrypted_content": "agentwire1.x.y"}]},
            400,
            "invalid_encrypted_content",
            "input[0].encrypted_content",
        ),
        (
            {"model": "m", "input": [{"type": "function_call_output", "call_id": "c", "output": ""}]},
            400,
            "tool_call_not_found",
            "input[0]",
        ),
    ],
)
async def test_what_cannot_be_compacted(
    body: dict[str, Any], status: int, code: str, param: str, autojump_clock: MockClock
) -> None:
    async with serving(Recorder()) as rig:
        found, answer = await compact(rig, **body)
    assert (found, answer["error"]["code"], answer["error"]["param"]) == (status, code, param)


async def test_an_engine_that_fails(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    engine = Summarizer(told=EngineError("later", code="rate_limit_exceeded", status=429))
    async with serving(engine) as rig:
        status, answer = await compact(rig, model="m", input=ASKED)
        assert (status, answer["error"]["code"]) == (429, "rate_limit_exceeded")
        engine.told = ValueError("secret")
        status, answer = await compact(rig, model="m", input=ASKED)
        assert (status, answer["error"]["code"]) == (500, "server_error")
        assert "secret" not in str(answer)
    assert "secret" in caplog.text


async def test_a_client_that_goes_cancels_the_summary(autojump_clock: MockClock) -> None:
    reasons: list[str] = []

    @attrs.define
    class Slow(Recorder):
        async def compact(self, ask: Ask) -> Summarized:
            ask.use(Usage(7, 1))
            try:
                await trio.sleep_forever()
            except trio.Cancelled as cancelled:
                reasons.append(str(cancelled))
                raise
            raise AssertionError

    net = network()
    async with serving(Slow(), net=net) as rig:
        http = await rig.http()
        await http.stream.send_all(request("POST", PATH, body=json.dumps({"model": "m", "input": ASKED}).encode()))
        await wait_all_tasks_blocked()
        cut_now(net)
        await rig.gone()
        assert rig.server.statistics().used == {"cancelled": Usage(7, 1)}
    assert "the client went away" in reasons[0]


async def test_nobody_compacts_what_is_anothers(autojump_clock: MockClock) -> None:
    async with serving(Recorder(), keys=Keys.of(["sk-one", "sk-two"])) as rig:
        one, two = ("authorization", "Bearer sk-one"), ("authorization", "Bearer sk-two")
        raw = request("POST", "/v1/responses", one, body=b'{"model": "m", "input": "secret"}')
        response = json.loads((await (await rig.http()).ask(raw, method="POST")).body)
        status, answer = await compact(rig, two, model="m", previous_response_id=response["id"])
        assert (status, answer["error"]["code"]) == (400, "previous_response_not_found")
        status, _ = await compact(rig, one, model="m", previous_response_id=response["id"])
        assert status == 200


async def test_another_process_reads_it(autojump_clock: MockClock) -> None:
    async with serving(Recorder()) as rig:
        _, answer = await compact(rig, model="m", input=ASKED)
    engine = Recorder()
    async with serving(engine, limits=Limits(compaction_bytes=100_000)) as other:
        reply, _ = await ask(await other.http(), answer["output"])
        assert reply.status == 200
    assert any(isinstance(item, Summary) for item in engine.seen)


async def test_codex_has_a_path_of_its_own(autojump_clock: MockClock) -> None:
    async with serving(Recorder()) as rig:
        status, answer = await compact(rig, path="/v1/codex/responses/compact", model="m", input="hi")
    assert (status, answer["object"]) == (200, "response.compaction")


async def test_compaction_during_a_response_over_http(autojump_clock: MockClock) -> None:
    async def say(ask: Ask, out: Out) -> Finish:
        await out.text("ok")
        return Finish(Usage(1, 1))

    async with serving(say) as rig:
        http = await rig.http()
        previous = None
        for _ in range(4):
            _, response = await ask(http, LONG, previous_response_id=previous)
            previous = response["id"]
        soon = [{"type": "compaction", "compact_threshold": 1000}]
        _, response = await ask(http, LONG, previous_response_id=previous, context_management=soon)
        assert [item["type"] for item in response["output"]] == ["compaction", "message"]
        _, after = await ask(http, "on", previous_response_id=response["id"])
        assert after["status"] == "completed"
        raw = request("GET", f"/v1/responses/{after['id']}/input_items?limit=100&order=asc")
        listed = json.loads((await (await rig.http()).ask(raw, method="GET")).body)["data"]
        assert [item["type"] for item in listed] == ["message"] * 9 + ["compaction", "message", "message"]
