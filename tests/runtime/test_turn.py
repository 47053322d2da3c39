from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.codec import decode_items, encode_json
from agentwire.protocol.desk import Outcome
from agentwire.protocol.errors import EngineError
from agentwire.protocol.items import FunctionCallOutput, McpCall, Message
from agentwire.protocol.limits import Limits
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Ask, Engine, Finish, Out, Stored
from agentwire.stores.memory import MemoryStore
from tests.runtime.kit import Event, check, check_lanes, client, create, output_for


async def hello(ask: Ask, out: Out) -> Finish:
    await out.text("hel")
    await out.text("lo")
    return Finish(Usage(7, 2))


def types(events: list[Event]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


async def answer(engine: Engine, content: Any = "hi", *, limits: Limits | None = None, **fields: Any) -> list[Event]:
    """One turn of a fresh client."""
    async with client(engine, limits=limits) as it:
        return await it.wire.ask(content, **fields)


# How a turn goes


async def test_the_whole_stream_of_a_turn(autojump_clock: MockClock) -> None:
    events = await answer(hello, instructions="Be brief.", metadata={"a": "b"}, stream_id="main")
    assert types(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(10))
    assert {event["stream_id"] for event in events} == {"main"}
    begun, ended = events[0]["response"], events[-1]["response"]
    assert (begun["status"], begun["output"], begun["usage"], begun["completed_at"]) == ("in_progress", [], None, None)
    assert begun["instructions"] == ended["instructions"] == "Be brief."
    assert ended["id"] == begun["id"]
    assert ended["status"] == "completed"
    assert ended["completed_at"] == ended["created_at"]
    assert ended["usage"]["total_tokens"] == 9
    assert ended["output"] == [events[-2]["item"]]


async def test_the_default_lane_has_no_name(autojump_clock: MockClock) -> None:
    assert not any("stream_id" in event for event in await answer(hello))


async def test_an_engine_may_return_nothing(autojump_clock: MockClock) -> None:
    async def silent(ask: Ask, out: Out) -> None:
        pass

    events = await answer(silent)
    assert types(events) == ["created", "in_progress", "completed"]
    assert events[-1]["response"]["usage"] is None


async def test_what_an_engine_is_asked(autojump_clock: MockClock) -> None:
    asks: list[Ask] = []

    async def engine(ask: Ask, out: Out) -> None:
        asks.append(ask)
        ask.memo.value = (ask.memo.value or 0) + 1
        await out.text(f"answer {len(asks)}")

    async with client(engine) as it:
        first = await it.wire.ask("one", instructions="First.")
        previous = first[-1]["response"]["id"]
        await it.wire.ask("two", previous_response_id=previous, max_output_tokens=99)
        fork = await it.wire.ask("three", previous_response_id=previous, stream_id="fork")
        assert fork[0]["type"] == "error"  # its lane has gone on
    one, two = asks
    assert [item.text for item in two.items if isinstance(item, Message)] == ["one", "answer 1", "two"]
    assert [item.text for item in two.new_items if isinstance(item, Message)] == ["two"]
    assert (one.instructions, two.instructions) == ("First.", None)
    assert (one.max_output_tokens, two.max_output_tokens) == (None, 99)
    assert one.root_id == one.response_id == two.root_id != two.response_id
    assert (one.principal, one.step, one.model, one.text_format) == ("tester", 0, "test", {"type": "text"})
    assert two.memo.value == 2


async def test_a_request_is_shown_its_settings(autojump_clock: MockClock) -> None:
    events = await answer(hello, temperature=0.5, tools=[{"type": "new_kind", "x": 1}], stream=True, new_field=[1])
    assert events[0]["response"]["temperature"] == 0.5
    assert events[0]["response"]["tools"] == [{"type": "new_kind", "x": 1}]


async def test_what_is_said_of_the_prompt_cache_is_echoed(autojump_clock: MockClock) -> None:
    options = {"ttl": "12h", "prewarm": False}
    (begun, *_) = await answer(
        hello, prompt_cache_options=options, prompt_cache_key="mine", prompt_cache_retention="24h", user="me"
    )
    response = begun["response"]
    assert response["prompt_cache_options"] == {"mode": "implicit", "ttl": "12h"}
    assert (response["prompt_cache_key"], response["prompt_cache_retention"], response["user"]) == ("mine", "24h", "me")
    (begun, *_) = await answer(hello)
    assert not {"prompt_cache_options", "prompt_cache_retention", "user"} & begun["response"].keys()
    (refused,) = await answer(hello, prompt_cache_options={"ttl": 5})
    assert refused["error"]["param"] == "prompt_cache_options.ttl"


async def test_warm_up_runs_no_engine_and_can_be_continued(autojump_clock: MockClock) -> None:
    asks: list[Ask] = []

    async def engine(ask: Ask, out: Out) -> None:
        asks.append(ask)
        await out.text("x")

    async with client(engine) as it:
        warm = await it.wire.ask("ready", generate=False)
        assert types(warm) == ["created", "in_progress", "completed"]
        assert warm[-1]["response"]["output"] == []
        assert warm[-1]["response"]["usage"]["output_tokens"] == 0
        await it.wire.ask([], previous_response_id=warm[-1]["response"]["id"])
    (ask,) = asks
    assert [item.text for item in ask.items if isinstance(item, Message)] == ["ready"]


async def test_a_warm_up_may_leave_calls_open(autojump_clock: MockClock) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    async with client(hello) as it:
        warm = await it.wire.ask([call], generate=False)
        told = [{"type": "function_call_output", "call_id": "c1", "output": "x"}]
        done = await it.wire.ask(told, previous_response_id=warm[-1]["response"]["id"])
    assert types(done)[-1] == "completed"


async def test_a_warm_up_without_anything(autojump_clock: MockClock) -> None:
    """Codex begins so: no input, no tools."""
    async with client(hello) as it:
        it.wire.say(encode_json({"generate": False, "store": False, "model": "m", "type": "response.create"}))
        events = await it.wire.until()
    assert types(events) == ["created", "in_progress", "completed"]


# How a turn ends


class Secret(Exception):
    pass


async def fails(ask: Ask, out: Out) -> None:
    await out.text("half")
    raise Secret("the key is 1234")


async def fails_typed(ask: Ask, out: Out) -> None:
    raise EngineError("Too long.", code="context_length_exceeded", status=400, param="input")


async def fails_in_a_nursery(ask: Ask, out: Out) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails_typed, ask, out)


async def fails_twice(ask: Ask, out: Out) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails, ask, out)
        nursery.start_soon(fails_typed, ask, out)


async def exits(ask: Ask, out: Out) -> None:
    raise SystemExit(3)


class Panic(BaseException):
    """As extension modules raise it."""


async def panics(ask: Ask, out: Out) -> None:
    raise Panic


async def panics_in_a_nursery(ask: Ask, out: Out) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails, ask, out)
        nursery.start_soon(panics, ask, out)


async def returns_nonsense(ask: Ask, out: Out) -> Any:
    await out.text("half")
    return {"usage": None}


async def leaves_a_call_open(ask: Ask, out: Out) -> None:
    await out.open_call("f")
    await out.arguments('{"a"')


async def too_slow(ask: Ask, out: Out) -> None:
    with trio.fail_after(5):
        await trio.sleep_forever()


ENDS: list[tuple[Engine, int, str]] = [
    (fails, 500, "server_error"),
    (fails_typed, 400, "context_length_exceeded"),
    (fails_in_a_nursery, 400, "context_length_exceeded"),
    (fails_twice, 500, "server_error"),
    (exits, 500, "server_error"),
    (panics, 500, "server_error"),
    (panics_in_a_nursery, 500, "server_error"),
    (returns_nonsense, 500, "server_error"),
    (leaves_a_call_open, 500, "server_error"),
    (too_slow, 500, "server_error"),
]


@pytest.mark.parametrize(("engine", "status", "code"), ENDS)
async def test_a_failing_engine_fails_its_turn_and_nothing_else(
    engine: Engine, status: int, code: str, autojump_clock: MockClock
) -> None:
    turns = iter([hello, engine, hello])

    async def one_after_the_other(ask: Ask, out: Out) -> Any:
        return await next(turns)(ask, out)

    async with client(one_after_the_other) as it:
        await it.wire.ask(stream_id="a")
        events = await it.wire.ask(stream_id="a")
        assert types(events)[-2:] == ["error", "failed"]
        assert (events[-2]["status"], events[-2]["error"]["code"]) == (status, code)
        failure = events[-1]["response"]["error"]
        assert (failure["code"], failure["message"]) == (code, events[-2]["error"]["message"])
        assert "1234" not in str(events)
        assert sum(kind in ("failed", "completed", "incomplete") for kind in types(events)) == 1
        assert types(await it.wire.ask(stream_id="a"))[-1] == "completed"
        check_lanes(it.wire.events)


async def test_the_log_has_what_the_client_is_not_told(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    await answer(fails)
    assert "the key is 1234" in caplog.text


async def test_a_typed_failure_is_no_stack_trace(caplog: pytest.LogCaptureFixture, autojump_clock: MockClock) -> None:
    caplog.set_level(logging.INFO, "agentwire")
    await answer(fails_typed)
    assert "Too long." in caplog.text
    assert "Traceback" not in caplog.text


async def test_what_was_written_before_a_failure_is_closed(autojump_clock: MockClock) -> None:
    events = await answer(fails)
    assert types(events)[-5:] == ["output_text.done", "content_part.done", "output_item.done", "error", "failed"]
    assert events[-1]["response"]["output"] == [events[-3]["item"]]
    assert events[-3]["item"]["status"] == "incomplete"


async def test_an_engine_that_stops_short_is_incomplete(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> Finish:
        await out.text("half")
        return Finish(Usage(1, 1), "max_output_tokens")

    async with client(engine) as it:
        events = await it.wire.ask()
        ended = events[-1]["response"]
        assert types(events)[-1] == "incomplete"
        assert ended["incomplete_details"] == {"reason": "max_output_tokens"}
        assert (ended["completed_at"], ended["error"]) == (None, None)
        assert ended["output"][0]["status"] == "incomplete"
        again = await it.wire.ask("go on", previous_response_id=ended["id"])
        assert types(again)[-1] == "incomplete"  # it could be continued


async def test_a_response_is_bounded_in_bytes(autojump_clock: MockClock) -> None:
    async def endless(ask: Ask, out: Out) -> None:
        while True:
            await out.text("x" * 100)

    events = await answer(endless, limits=Limits(response_bytes=10_000))
    assert types(events)[-1] == "incomplete"
    assert events[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert 30 < types(events).count("output_text.delta") < 60
    assert events[-1]["response"]["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize("swallow", [True, False])
async def test_an_engine_that_does_not_stop_at_the_bound_ends_all_the_same(
    swallow: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def stubborn(ask: Ask, out: Out) -> Finish:
        try:
            while True:
                await out.text("x" * 100)
        except BaseException:  # noqa: BLE001 - as bad as can be
            if not swallow:
                raise ValueError("while cleaning up") from None
        return Finish(Usage(1, 1))

    events = await answer(stubborn, limits=Limits(response_bytes=10_000))
    assert types(events)[-1] == "incomplete"
    assert ("while cleaning up" in caplog.text) is not swallow


async def test_writing_after_the_end_is_an_error_of_who_writes(autojump_clock: MockClock) -> None:
    outs: list[Out] = []

    async def engine(ask: Ask, out: Out) -> None:
        outs.append(out)
        await out.text("in time")

    async with client(engine) as it:
        await it.wire.ask()
        before = len(it.wire.events)
        for write in (outs[0].text("late"), outs[0].call("f", {}), outs[0].item({"type": "x"})):
            with pytest.raises(Exception, match="has ended"):
                await write
        await wait_all_tasks_blocked()
        assert len(it.wire.events) == before


async def test_an_engine_may_give_up_on_a_slow_client(autojump_clock: MockClock) -> None:
    """A timeout of the engine's own, around a write that waits, loses nothing and repeats nothing."""
    gave_up = 0

    async def engine(ask: Ask, out: Out) -> None:
        nonlocal gave_up
        for number in range(40):
            with trio.move_on_after(1) as scope:
                await out.text(f"{number:03} " * 20)
            gave_up += scope.cancelled_caught

    async with client(engine, limits=Limits(window_bytes=2000), budget=6) as it:
        it.wire.say(create())
        await trio.sleep(10)
        it.wire.read()
        events = await it.wire.until()
        check(events)
    assert gave_up == 10
    whole = events[-1]["response"]["output"][0]["content"][0]["text"]
    assert whole == "".join(event["delta"] for event in events if "delta" in event)
    assert len(whole) == (40 - gave_up) * 80


# Refusals


async def test_nothing_is_created_when_a_request_is_wrong(autojump_clock: MockClock) -> None:
    async with client(hello) as it:
        events = await it.wire.ask([{"role": "user", "content": 5}], stream_id="a")
        assert types(events) == ["error"]
        assert (events[0]["status"], events[0]["error"]["param"]) == (400, "input[0].content")
        assert (events[0]["stream_id"], events[0]["sequence_number"]) == ("a", 0)
        assert types(await it.wire.ask(stream_id="a"))[-1] == "completed"


@pytest.mark.parametrize("previous", ["resp_nobody", "x" * 512])
async def test_an_unknown_parent(previous: str, autojump_clock: MockClock) -> None:
    async with client(hello) as it:
        known = (await it.wire.ask())[-1]["response"]["id"]
        (error,) = await it.wire.ask(previous_response_id=previous)
        assert (error["status"], error["error"]["code"]) == (400, "previous_response_not_found")
        assert error["error"]["param"] == "previous_response_id"
        assert types(await it.wire.ask(previous_response_id=known))[-1] == "completed"


async def test_a_failed_continuation_evicts_its_parent(autojump_clock: MockClock) -> None:
    """As the conformance suite of Open Responses asks for it."""
    async with client(hello) as it:
        known = (await it.wire.ask())[-1]["response"]["id"]
        never = [{"type": "function_call_output", "call_id": "call_never", "output": "x"}]
        (error,) = await it.wire.ask(never, previous_response_id=known)
        assert (error["error"]["code"], error["error"]["param"]) == ("tool_call_not_found", "input[0]")
        (error,) = await it.wire.ask(previous_response_id=known)
        assert error["error"]["code"] == "previous_response_not_found"


async def test_a_failed_fork_keeps_its_parent(autojump_clock: MockClock) -> None:
    async with client(hello) as it:
        known = (await it.wire.ask(stream_id="a"))[-1]["response"]["id"]
        never = [{"type": "function_call_output", "call_id": "call_never", "output": "x"}]
        (error,) = await it.wire.ask(never, previous_response_id=known, stream_id="b")
        assert error["error"]["code"] == "tool_call_not_found"
        assert types(await it.wire.ask(previous_response_id=known, stream_id="a"))[-1] == "completed"


async def test_an_engine_failure_evicts_the_parent(autojump_clock: MockClock) -> None:
    turns = iter([hello, fails, hello])

    async def engine(ask: Ask, out: Out) -> Any:
        return await next(turns)(ask, out)

    async with client(engine) as it:
        known = (await it.wire.ask())[-1]["response"]["id"]
        assert types(await it.wire.ask(previous_response_id=known))[-1] == "failed"
        (error,) = await it.wire.ask(previous_response_id=known)
        assert error["error"]["code"] == "previous_response_not_found"


async def test_a_failed_response_cannot_be_continued(autojump_clock: MockClock) -> None:
    async with client(fails) as it:
        failed = (await it.wire.ask(store=True))[-1]["response"]["id"]
        (error,) = await it.wire.ask(previous_response_id=failed)
        assert error["error"]["code"] == "previous_response_not_found"


async def test_calls_must_be_answered_one_to_one(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        if not any(isinstance(item, FunctionCallOutput) for item in ask.items):
            await out.call("read", {"path": "a"})
            await out.call("read", {"path": "b"})
        else:
            await out.text("done")

    async with client(engine) as it:

        async def asked() -> tuple[str, list[dict[str, str]]]:
            event = (await it.wire.ask())[-1]
            return event["response"]["id"], output_for(event)

        known, outputs = await asked()
        (error,) = await it.wire.ask("never mind", previous_response_id=known)
        assert (error["error"]["code"], error["error"]["param"]) == ("tool_output_missing", "input")
        known, outputs = await asked()
        (error,) = await it.wire.ask(outputs[:1], previous_response_id=known)
        assert error["error"]["code"] == "tool_output_missing"
        known, outputs = await asked()
        (error,) = await it.wire.ask([*outputs, outputs[0]], previous_response_id=known)
        assert error["error"]["code"] == "duplicate_tool_output"
        known, outputs = await asked()
        assert types(await it.wire.ask(outputs[::-1], previous_response_id=known))[-1] == "completed"


async def test_a_call_that_was_cut_off_need_not_be_answered(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> Finish | None:
        if len(ask.items) > 1:
            await out.text("done")
            return None
        await out.open_call("write")
        await out.arguments('{"path')
        return Finish(None, "max_output_tokens")

    async with client(engine) as it:
        events = await it.wire.ask()
        assert events[-1]["response"]["output"][0]["status"] == "incomplete"
        again = await it.wire.ask("shorter, please", previous_response_id=events[-1]["response"]["id"])
        assert types(again)[-1] == "completed"


async def test_a_choice_of_tools_must_be_possible(autojump_clock: MockClock) -> None:
    (error,) = await answer(hello, tool_choice={"type": "function", "name": "nowhere"})
    assert (error["status"], error["error"]["param"]) == (400, "tool_choice")


async def test_tools_that_come_as_an_item_can_be_chosen(autojump_clock: MockClock) -> None:
    offer = {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "late"}]}

    async def engine(_: Ask, out: Out) -> None:
        await out.call("late", {})

    events = await answer(engine, [offer, {"role": "user", "content": "go"}], tool_choice="required")
    assert types(events)[-1] == "completed"


# Storing


async def test_what_is_stored_can_be_continued_elsewhere(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    asks: list[Ask] = []

    async def engine(ask: Ask, out: Out) -> None:
        asks.append(ask)
        await out.text("x")

    async with client(engine, store=store) as it:
        kept = (await it.wire.ask("kept", store=True))[-1]["response"]
        lost = (await it.wire.ask("lost", stream_id="b"))[-1]["response"]["id"]
        found = await store.get("tester", kept["id"])
        assert found is not None
        assert found.response == encode_json(kept)
        assert found.size > len(found.response)
        assert await store.get("tester", lost) is None
        assert await store.get("somebody else", kept["id"]) is None
    async with client(engine, store=store) as it:
        assert types(await it.wire.ask("more", previous_response_id=kept["id"]))[-1] == "completed"
        (error,) = await it.wire.ask(previous_response_id=lost)
        assert error["error"]["code"] == "previous_response_not_found"
    assert [item.text for item in asks[-1].items if isinstance(item, Message)] == ["kept", "x", "more"]


async def test_a_response_is_stored_before_its_end_is_told(autojump_clock: MockClock) -> None:
    class Slow(MemoryStore):
        async def put(self, principal: str, stored: Stored) -> None:
            await trio.sleep(10)
            await super().put(principal, stored)

    async with client(hello, store=Slow()) as it:
        it.wire.say(create(store=True))
        await trio.sleep(5)
        assert types(it.wire.events)[-1] == "output_item.done"
        await it.wire.until()


async def test_what_is_stored_brings_the_json_that_its_client_has_been_sent(autojump_clock: MockClock) -> None:
    kept: list[Stored] = []

    class Spy(MemoryStore):
        async def put(self, principal: str, stored: Stored) -> None:
            kept.append(stored)
            await super().put(principal, stored)

    async def engine(ask: Ask, out: Out) -> None:
        await out.reasoning("hm")
        await out.text("half a pair \ud83d")
        await out.item({"type": "web_search_call", "id": "ws_1", "status": "completed", "queries": ["x"]})
        await out.call("look", '{"a": 1}')

    async with client(engine, store=Spy()) as it:
        tools = [{"type": "function", "name": "look", "parameters": {}}]
        ended = (await it.wire.ask("hi \ud83d", tools=tools, store=True))[-1]["response"]
    (one,) = kept
    assert decode_items(one.input) == decode_items(encode_json(one.node.input))
    assert decode_items(one.output) == decode_items(encode_json(one.node.output))
    assert json.loads(one.output) == ended["output"]


@pytest.mark.parametrize("operation", ["put", "get"])
async def test_a_broken_store_fails_its_turn_and_nothing_else(operation: str, autojump_clock: MockClock) -> None:
    class Broken(MemoryStore):
        async def put(self, principal: str, stored: Stored) -> None:
            if operation == "put":
                raise OSError("disk full")

        async def get(self, principal: str, response_id: str) -> Stored | None:
            raise OSError("no disk")

    async with client(hello, store=Broken()) as it:
        fields = {"store": True} if operation == "put" else {"previous_response_id": "resp_x"}
        events = await it.wire.ask(**fields)
        assert types(events)[-2:] == (["error", "failed"] if operation == "put" else ["error"])
        assert events[-1 if operation == "get" else -2]["status"] == 500
        assert types(await it.wire.ask())[-1] == "completed"


# The server's own tools


async def test_a_server_tool_runs_between_two_steps(autojump_clock: MockClock) -> None:
    seen: list[Ask] = []

    async def add(a: int, b: int) -> str:
        return str(a + b)

    async def engine(ask: Ask, out: Out) -> Finish:
        seen.append(ask)
        if ask.step == 0:
            await out.text("let me see")
            await out.call("add", {"a": 2, "b": 3})
            return Finish(Usage(10, 1))
        *_, call = [item for item in ask.items if isinstance(item, McpCall)]
        await out.text(f"it is {call.output}")
        return Finish(Usage(20, 2))

    async with client(engine, add) as it:
        events = await it.wire.ask("2 + 3?")
        assert [item["type"] for item in events[-1]["response"]["output"]] == ["message", "mcp_call", "message"]
        call = events[-1]["response"]["output"][1]
        assert (call["server_label"], call["output"], call["status"]) == ("agentwire", "5", "completed")
        assert events[-1]["response"]["usage"]["total_tokens"] == 33
        assert it.service.tally.tool_calls == 1
        again = await it.wire.ask("thanks", previous_response_id=events[-1]["response"]["id"])
        assert types(again)[-1] == "completed"  # nothing waits for the client
    assert [ask.step for ask in seen] == [0, 1, 0, 1]
    assert [tool.name for tool in seen[0].tools] == ["add"]
    assert [item.type for item in seen[1].items] == ["message", "message", "mcp_call"]


async def test_tools_of_one_step_run_side_by_side(autojump_clock: MockClock) -> None:
    async def wait(seconds: int) -> str:
        await trio.sleep(seconds)
        return f"{seconds} s"

    async def engine(ask: Ask, out: Out) -> None:
        if ask.step:
            return
        for seconds in (30, 20, 10):
            await out.call("wait", {"seconds": seconds})
        await trio.sleep(5)
        await out.text("meanwhile")

    begun = trio.current_time()
    async with client(engine, wait) as it:
        events = await it.wire.ask()
    assert trio.current_time() - begun == 30
    done = [event["item"].get("output") for event in events if event["type"] == "response.output_item.done"]
    assert done == [None, "10 s", "20 s", "30 s"]
    assert [item.get("output") for item in events[-1]["response"]["output"]] == ["30 s", "20 s", "10 s", None]


async def test_a_failing_tool_is_told_to_the_model(autojump_clock: MockClock) -> None:
    async def broken() -> str:
        raise ValueError("no such file")

    async def engine(ask: Ask, out: Out) -> None:
        if ask.step == 0:
            await out.call("broken", {})
            await out.call("broken", {"surprise": 1})
            return
        await out.text(str([item.error for item in ask.items if isinstance(item, McpCall)]))

    async with client(engine, broken) as it:
        events = await it.wire.ask()
    assert types(events).count("mcp_call.failed") == 2
    text = events[-1]["response"]["output"][-1]["content"][0]["text"]
    assert "no such file" in text
    assert "surprise" in text
    assert types(events)[-1] == "completed"


async def test_calls_for_the_client_end_the_turn_and_ours_have_run(autojump_clock: MockClock) -> None:
    async def ours() -> str:
        return "ours"

    async def engine(ask: Ask, out: Out) -> None:
        if any(isinstance(item, FunctionCallOutput) for item in ask.items):
            await out.text("both")
            return
        await out.call("ours", {})
        await out.call("theirs", {})

    async with client(engine, ours) as it:
        events = await it.wire.ask()
        output = events[-1]["response"]["output"]
        assert [(item["type"], item["status"]) for item in output] == [
            ("mcp_call", "completed"),
            ("function_call", "completed"),
        ]
        outputs = output_for(events[-1])
        again = await it.wire.ask(outputs, previous_response_id=events[-1]["response"]["id"])
        assert again[-1]["response"]["output"][0]["content"][0]["text"] == "both"


async def test_a_turn_has_a_bounded_number_of_steps(autojump_clock: MockClock) -> None:
    async def again() -> str:
        return "again"

    async def engine(ask: Ask, out: Out) -> None:
        await out.call("again", {})

    async with client(engine, again, limits=Limits(steps=3)) as it:
        events = await it.wire.ask()
        assert it.service.tally.tool_calls == 3
    assert types(events)[-2:] == ["error", "failed"]
    assert "3 steps" in events[-1]["response"]["error"]["message"]


async def test_a_failing_engine_cancels_the_tools_of_its_step(autojump_clock: MockClock) -> None:
    reasons: list[str] = []

    async def hang() -> str:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            reasons.append(str(cancelled))
            raise
        raise AssertionError("it cannot end otherwise")

    async def engine(ask: Ask, out: Out) -> None:
        await out.call("hang", {})
        await trio.sleep(1)
        raise EngineError("gone")

    async with client(engine, hang) as it:
        events = await it.wire.ask()
        assert types(events)[-4:] == ["mcp_call.failed", "output_item.done", "error", "failed"]
        assert types(await it.wire.ask(generate=False))[-1] == "completed"
    assert len(reasons) == 1
    assert "the engine failed" in reasons[0]


async def test_a_full_response_cancels_the_tools_too(autojump_clock: MockClock) -> None:
    ended = 0

    async def hang() -> None:
        nonlocal ended
        try:
            await trio.sleep_forever()
        finally:
            ended += 1

    async def engine(ask: Ask, out: Out) -> None:
        await out.call("hang", {})
        await trio.sleep(1)
        while True:
            await out.text("x" * 100)

    async with client(engine, hang, limits=Limits(response_bytes=10_000)) as it:
        events = await it.wire.ask()
    assert types(events)[-1] == "incomplete"
    assert ended == 1
    assert [item["status"] for item in events[-1]["response"]["output"]] == ["failed", "incomplete"]


async def test_one_tool_after_another_is_cancelled_with_the_client(autojump_clock: MockClock) -> None:
    """However deep it is: an engine step, or a tool in its nursery."""
    log: list[str] = []

    async def record(name: str, body: Callable[[], Awaitable[object]]) -> None:
        try:
            await body()
        except trio.Cancelled as cancelled:
            log.append(f"{name}: {cancelled}")
            raise
        finally:
            log.append(f"{name} ended")

    async def hang() -> str:
        await record("tool", trio.sleep_forever)
        return ""

    async def engine(ask: Ask, out: Out) -> None:
        await out.call("hang", {})
        await record("engine", trio.sleep_forever)

    async with client(engine, hang) as it:
        it.wire.say(create())
        await wait_all_tasks_blocked()
        it.wire.vanish(cause="reset by the peer")
        await it.session.finished.wait()
        assert it.service.tally.turns == {Outcome.CANCELLED: 1}
    assert sorted(line.partition(":")[0] for line in log if ":" in line) == ["engine", "tool"]
    assert all("reset by the peer" in line for line in log if ":" in line)
    assert sorted(line for line in log if line.endswith(" ended")) == ["engine ended", "tool ended"]


@pytest.mark.parametrize("name", ["const", "default"])
async def test_a_response_shows_what_its_own_request_said(autojump_clock: MockClock, name: str) -> None:
    """Turns of one lane share what they show alike, and nothing that only Python takes for the same."""
    async with client(hello) as it:
        for value in (1, True, 1, False, 0):
            tool = {"type": "function", "name": "f", "parameters": {"type": "object", name: value}}
            (*_, last) = await it.wire.ask("hi", tools=[tool], temperature=float(value))
            assert json.dumps(last["response"]["tools"][0]["parameters"][name]) == json.dumps(value)
            assert last["response"]["temperature"] == value


async def test_what_has_no_json_ends_the_turn_that_told_it_and_nothing_else(autojump_clock: MockClock) -> None:
    async def tells(ask: Ask, out: Out) -> Finish:
        await out.text("x")
        return Finish(members={"a": object()} if ask.new_items[0] == Message("user", "wrong") else {})

    async with client(tells) as it:
        events = await it.wire.ask("wrong")
        assert events[-1]["type"] == "response.failed"
        assert events[-1]["response"]["error"]["code"] == "server_error"
        assert (await it.wire.ask("right"))[-1]["type"] == "response.completed"
