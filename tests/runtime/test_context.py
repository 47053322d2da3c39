"""Compaction and truncation in running turns: what the client sees of them, and what the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentwire.engines import builtin
from agentwire.protocol.compaction import seal
from agentwire.protocol.errors import EngineError, RequestError
from agentwire.protocol.items import CustomToolCall, FunctionCall, Item, Message, Summary
from agentwire.protocol.limits import Limits
from agentwire.protocol.response import Usage
from agentwire.runtime import counting
from agentwire.runtime.contracts import Ask, Finish, Out, Summarized
from agentwire.runtime.counting import item_tokens
from tests.runtime.kit import Client, Event, client, create, output_for

LONG = "word " * 200  # 250 tokens
SOON = [{"type": "compaction", "compact_threshold": 1000}]
NOW = {"type": "compaction_trigger"}


@attrs.define
class Recorder:
    """An engine that remembers what it was asked, and says what it is told to."""

    answer: str = "ok"
    calls: list[str] = attrs.Factory(list)
    asks: list[Ask] = attrs.Factory(list)

    async def __call__(self, ask: Ask, out: Out) -> Finish:
        ask.memo.value = (ask.memo.value or 0) + 1
        self.asks.append(ask)
        if self.calls:
            await out.call(self.calls.pop(0), "{}")
        else:
            await out.text(self.answer)
        return Finish(Usage(10, 2))

    @property
    def seen(self) -> list[Item]:
        """The context of the latest step."""
        return list(self.asks[-1].items)


@attrs.define
class Summarizer(Recorder):
    """One that makes its own summaries, and counts a hundred tokens an item."""

    context_tokens: int | None = None
    told: Any = attrs.Factory(lambda: Summarized("all is well", Usage(50, 5)))
    summarized: list[Ask] = attrs.Factory(list)

    async def compact(self, ask: Ask) -> Summarized:
        self.summarized.append(ask)
        await trio.sleep(1)
        if isinstance(self.told, BaseException):
            raise self.told
        return self.told  # type: ignore[no-any-return]


def kinds(events: Sequence[Event]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def output(events: Sequence[Event]) -> list[Event]:
    made: list[Event] = events[-1]["response"]["output"]
    return made


def texts(items: Sequence[Item]) -> list[str]:
    return [item.text for item in items if isinstance(item, Message) and not isinstance(item, Summary)]


async def chat(it: Client, *messages: Any, **fields: Any) -> list[Event]:
    """One turn after another, each on the one before; the events of the last."""
    events: list[Event] = []
    previous = fields.pop("previous_response_id", None)
    for message in messages:
        events = await it.wire.ask(message, previous_response_id=previous, **fields)
        previous = events[-1]["response"]["id"] if "response" in events[-1] else previous
    return events


# During a response


async def test_a_long_context_is_compacted_before_the_answer(autojump_clock: MockClock) -> None:
    engine = Recorder()
    async with client(engine) as it:
        first = await chat(it, f"1 {LONG}", f"2 {LONG}", f"3 {LONG}")
        previous = first[-1]["response"]["id"]
        second = await chat(it, f"4 {LONG}", previous_response_id=previous, context_management=SOON)
        assert kinds(second)[2:6] == [
            "output_item.added",
            "compaction.compacting",
            "output_item.done",
            "output_item.added",
        ]
        assert second[2]["item"]["encrypted_content"] == ""
        assert second[3]["item_id"] == second[2]["item"]["id"] == second[4]["item"]["id"]
        compaction, message = output(second)
        assert (compaction["type"], message["type"]) == ("compaction", "message")
        assert set(compaction) == {"id", "type", "encrypted_content"}
        assert second[-1]["response"]["usage"]["total_tokens"] == 12, "a digest costs no model's tokens"
        summary, *rest = engine.seen
        assert isinstance(summary, Summary)
        assert "1 word word" in summary.text
        assert texts(rest) == ["ok", f"4 {LONG}"]
        assert engine.asks[-1].memo.value == 1, "the rendering begins anew"
        third = await chat(it, "5", previous_response_id=second[-1]["response"]["id"])
        assert engine.seen[:3] == [summary, *rest]
        assert texts(engine.seen) == ["ok", f"4 {LONG}", "ok", "5"]
        assert len(engine.asks[-1].items) == 5
        assert engine.asks[-1].memo.value == 2
        assert [item["type"] for item in output(third)] == ["message"]


async def test_a_turn_counts_only_what_is_new(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    visited: list[Item] = []

    def watched(item: Item) -> int:
        visited.append(item)
        return item_tokens(item)

    monkeypatch.setattr(counting, "item_tokens", watched)
    visits: list[int] = []
    far = [{"type": "compaction", "compact_threshold": 1_000_000}]
    async with client(Recorder()) as it:
        previous = None
        for turn in range(100):
            visited.clear()
            events = await chat(it, f"{turn}", previous_response_id=previous, context_management=far)
            previous = events[-1]["response"]["id"]
            visits.append(len(visited))
    assert visits[0] == 1
    assert set(visits[1:]) == {3}


async def test_a_short_context_is_left_alone(autojump_clock: MockClock) -> None:
    engine = Recorder()
    async with client(engine) as it:
        events = await chat(it, "1", "2", "3", context_management=SOON)
    assert [item["type"] for item in output(events)] == ["message"]
    assert texts(engine.seen) == ["1", "ok", "2", "ok", "3"]


async def test_one_long_message_is_not_compacted_in_vain(autojump_clock: MockClock) -> None:
    engine = Recorder()
    async with client(engine) as it:
        events = await chat(it, 10 * LONG, context_management=SOON)
    assert [item["type"] for item in output(events)] == ["message"]
    assert texts(engine.seen) == [10 * LONG]


async def test_the_usual_threshold_is_a_limit_and_what_the_engine_holds(autojump_clock: MockClock) -> None:
    for engine, limits in (
        (Recorder(), Limits(compact_threshold=600)),
        (Summarizer(context_tokens=800), Limits()),
    ):
        async with client(engine, limits=limits) as it:
            events = await chat(it, LONG, LONG, LONG, context_management=[{"type": "compaction"}])
            assert output(events)[0]["type"] == "compaction"


async def test_between_the_steps_of_a_response(autojump_clock: MockClock) -> None:
    engine = Recorder(calls=["read", "read", "read", "read"])

    async def read() -> str:
        """Read on."""
        return LONG + LONG

    async with client(engine, read) as it:
        events = await chat(it, "read everything", context_management=SOON)
    assert [item["type"] for item in output(events)] == [
        "mcp_call", "mcp_call", "compaction", "mcp_call", "mcp_call", "compaction", "message",
    ]  # fmt: skip
    assert [event["output_index"] for event in events if event["type"].endswith("item.added")] == list(range(7))
    assert texts(engine.seen) == ["read everything"]
    assert [len(ask.items) for ask in engine.asks] == [1, 2, 4, 5, 4]


async def test_the_engines_own_summary_is_taken_and_counted(autojump_clock: MockClock) -> None:
    engine = Summarizer()
    async with client(engine) as it:
        before = await chat(it, LONG, LONG, LONG)
        previous = before[-1]["response"]["id"]
        events = await chat(it, LONG, previous_response_id=previous, context_management=SOON, instructions="Be brief.")
    (asked,) = engine.summarized
    assert len(asked.items) == 7
    assert asked.instructions == "Be brief."
    summary, *rest = engine.seen
    assert isinstance(summary, Summary)
    assert summary.text == "all is well"
    assert texts(rest) == ["ok", LONG]
    usage = events[-1]["response"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (60, 7)


async def test_a_summary_that_fails_fails_the_response(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Summarizer()
    async with client(engine) as it:
        for fault, code in (
            (EngineError("try again", code="rate_limit_exceeded", status=429), "rate_limit_exceeded"),
            (ValueError("secret"), "server_error"),
        ):
            engine.told = Summarized("all is well")
            before = await chat(it, LONG, LONG, LONG, LONG)
            previous = before[-1]["response"]["id"]
            engine.told = fault
            events = await chat(it, LONG, previous_response_id=previous, context_management=SOON)
            assert kinds(events)[2:] == [
                "output_item.added", "compaction.compacting", "output_item.done", "error", "failed",
            ]  # fmt: skip
            assert events[4]["item"]["status"] == "incomplete"
            assert events[-1]["response"]["error"]["code"] == code
            assert "secret" not in str(events)
            engine.told = Summarized("all is well")
            (gone,) = await chat(it, "on", previous_response_id=previous)
            assert gone["error"]["code"] == "previous_response_not_found"
    assert "ValueError: secret" in caplog.text


@pytest.mark.parametrize(
    "told",
    [EngineError("too long", code="context_length_exceeded", status=400), Summarized("  ")],
    ids=["too long", "empty"],
)
async def test_a_digest_stands_in_where_the_engine_cannot_summarize(told: Any, autojump_clock: MockClock) -> None:
    engine = Summarizer(told=told)
    async with client(engine) as it:
        before = await chat(it, LONG, LONG, LONG, LONG)
        await chat(it, LONG, previous_response_id=before[-1]["response"]["id"], context_management=SOON)
    summary = engine.seen[0]
    assert isinstance(summary, Summary)
    assert summary.text.startswith("Digest of the conversation")


async def test_a_summary_must_be_one(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with client(Summarizer(told="just text")) as it:
        (*_, failed) = await chat(it, [{"role": "user", "content": "hi"}, NOW])
        assert failed["type"] == "response.completed", "there is nothing to summarize"
        (*_, failed) = await chat(it, LONG, [{"role": "user", "content": "hi"}, NOW])
        assert failed["response"]["error"]["code"] == "server_error"
    assert "returns a Summarized, not str" in caplog.text


async def test_a_cancelled_summary_is_cancelled_with_its_turn(autojump_clock: MockClock) -> None:
    engine = Summarizer()
    async with client(engine) as it:
        before = await chat(it, LONG, LONG, LONG, LONG)
        previous = before[-1]["response"]["id"]
        it.wire.say(create(LONG, previous_response_id=previous, context_management=SOON))
        await it.wire.until("response.compaction.compacting")
        it.wire.vanish()
        await it.session.finished.wait()
    assert len(engine.summarized) == 1
    assert len(engine.asks) == 4


@pytest.mark.parametrize("content", [LONG, [{"role": "user", "content": LONG}, NOW]], ids=["due", "trigger"])
async def test_one_response_can_be_stopped_while_it_compacts(content: Any, autojump_clock: MockClock) -> None:
    engine = Summarizer()
    async with client(engine) as it:
        before = await chat(it, LONG, LONG, LONG, LONG)
        previous = before[-1]["response"]["id"]
        it.wire.say(create(content, previous_response_id=previous, context_management=SOON))
        await it.wire.until("response.compaction.compacting")
        (turn,) = it.session.turns.values()
        assert turn.cancel(RequestError(400, "agentwire:cancelled", "That is enough."))
        events = (await it.wire.until("response.failed"))[-4:]
        assert kinds(events) == ["output_item.added", "compaction.compacting", "output_item.done", "failed"]
        assert events[-1]["response"]["error"]["code"] == "agentwire:cancelled"
        assert len(engine.asks) == 4
        on = await chat(it, "on", previous_response_id=previous)
        assert on[-1]["type"] == "response.completed"


# On demand


async def test_a_trigger_compacts_and_asks_the_engine_nothing(autojump_clock: MockClock) -> None:
    engine = Recorder()
    async with client(engine) as it:
        before = await chat(it, f"the code word is slate {4 * LONG}", "thanks")
        events = await chat(it, [NOW], previous_response_id=before[-1]["response"]["id"])
        assert kinds(events) == [
            "created", "in_progress", "output_item.added", "compaction.compacting", "output_item.done", "completed",
        ]  # fmt: skip
        assert [item["type"] for item in output(events)] == ["compaction"]
        usage = events[-1]["response"]["usage"]
        assert usage["input_tokens"] > usage["output_tokens"] > 0
        assert len(engine.asks) == 2
        await chat(it, "what is the code word?", previous_response_id=events[-1]["response"]["id"])
    summary, *rest = engine.seen
    assert isinstance(summary, Summary)
    assert "the code word is slate" in summary.text
    assert texts(rest) == ["ok", "thanks", "ok", "what is the code word?"]
    assert not any(item.type == "compaction_trigger" for item in engine.seen)


async def test_what_was_asked_with_a_trigger_is_still_there_afterwards(autojump_clock: MockClock) -> None:
    engine = Recorder()
    async with client(engine) as it:
        events = await chat(it, "one", [{"role": "user", "content": "two?"}, NOW], [])
    assert texts(engine.seen) == ["two?"]
    assert output(events)[0]["type"] == "message"


async def test_a_trigger_must_be_last(autojump_clock: MockClock) -> None:
    async with client(Recorder()) as it:
        (refused,) = await chat(it, [NOW, {"role": "user", "content": "hi"}])
    assert (refused["error"]["code"], refused["error"]["param"]) == ("invalid_value", "input[0]")


async def test_a_call_that_waits_survives(autojump_clock: MockClock) -> None:
    tools = [{"type": "function", "name": "look"}]
    engine = Recorder(calls=["look"])
    async with client(engine) as it:
        asked = await chat(it, LONG, tools=tools)
        call_id = output(asked)[0]["call_id"]
        compacted = await chat(it, [NOW], previous_response_id=asked[-1]["response"]["id"])
        previous = compacted[-1]["response"]["id"]
        (owed,) = await chat(it, "never mind", previous_response_id=previous, stream_id="fork")
        assert owed["error"]["code"] == "tool_output_missing"
        events = await chat(it, output_for(asked[-1]), previous_response_id=previous)
        assert events[-1]["type"] == "response.completed"
        assert [item.type for item in engine.seen] == ["message", "function_call", "function_call_output"]
        answers = [{"type": "function_call_output", "call_id": call_id, "output": "again"}]
        (twice,) = await chat(it, answers, previous_response_id=events[-1]["response"]["id"])
        assert twice["error"]["code"] == "duplicate_tool_output"


async def test_a_stateless_client_sends_the_compaction_and_what_came_after(autojump_clock: MockClock) -> None:
    engine = Recorder(calls=["look"])
    async with client(engine) as one:
        asked = await chat(one, LONG)
        compacted = await chat(one, [NOW], previous_response_id=asked[-1]["response"]["id"])
    item = output(compacted)[0]
    answers = output_for(asked[-1])
    async with client(engine) as other:
        await chat(other, [{"role": "user", "content": "before it"}, item, *answers])
        assert [item.type for item in engine.seen] == ["message", "function_call", "function_call_output"]
        assert "before it" not in texts(engine.seen)
        (refused,) = await chat(other, [item, {"role": "user", "content": "never mind"}])
        assert refused["error"]["code"] == "tool_output_missing"


async def test_a_warm_up_takes_what_was_compacted(autojump_clock: MockClock) -> None:
    engine = Recorder()
    item = {"type": "compaction", "encrypted_content": seal("cmp_1", "so far", ()).encrypted_content}
    async with client(engine) as it:
        warm = await chat(it, [item], generate=False)
        assert output(warm) == []
        await chat(it, "go on", previous_response_id=warm[-1]["response"]["id"])
    assert [item.type for item in engine.seen] == ["message", "message"]
    assert isinstance(engine.seen[0], Summary)


async def test_a_compaction_of_another_make_goes_to_the_engine(autojump_clock: MockClock) -> None:
    engine = Recorder()
    item = {"type": "compaction", "encrypted_content": "gAAAAB", "id": "cmp_other"}
    async with client(engine) as it:
        await chat(it, [{"role": "user", "content": "before"}, item], "after")
    assert [item.type for item in engine.seen] == ["message", "compaction", "message", "message"]


async def test_one_that_was_changed_is_refused(autojump_clock: MockClock) -> None:
    blob = seal("cmp_1", "so far", ()).encrypted_content
    async with client(Recorder()) as it:
        (refused,) = await chat(it, [{"type": "compaction", "encrypted_content": f"{blob[:-1]}A"}])
    assert refused["status"] == 400
    assert refused["error"]["code"] == "invalid_encrypted_content"
    assert refused["error"]["param"] == "input[0].encrypted_content"


async def test_what_may_not_be_folded_must_fit(autojump_clock: MockClock) -> None:
    async with client(Recorder(), limits=Limits(compaction_bytes=2000)) as it:
        (*_, failed) = await chat(it, [{"role": "developer", "content": "x" * 4000}, NOW])
    assert failed["response"]["error"]["code"] == "compaction_too_large"


async def test_a_fork_of_what_was_before_a_compaction(autojump_clock: MockClock) -> None:
    engine = Recorder()
    async with client(engine) as it:
        before = await chat(it, "one", "two", store=True)
        parent = before[-1]["response"]["id"]
        await chat(it, [NOW], previous_response_id=parent, stream_id="a")
        await chat(it, "three", previous_response_id=parent, stream_id="b")
    assert texts(engine.seen) == ["one", "ok", "two", "ok", "three"]
    assert engine.asks[-1].memo.value == 3


# Truncation


async def test_a_context_that_is_too_long_is_refused(autojump_clock: MockClock) -> None:
    engine = Summarizer(context_tokens=600)
    async with client(engine) as it:
        before = await chat(it, LONG, LONG)
        previous = before[-1]["response"]["id"]
        (refused,) = await chat(it, LONG, previous_response_id=previous)
        assert (refused["status"], refused["error"]["code"]) == (400, "context_length_exceeded")
        assert refused["error"]["param"] == "input"
        assert "can read 600 tokens" in refused["error"]["message"]
        (gone,) = await chat(it, "on", previous_response_id=previous)
        assert gone["error"]["code"] == "previous_response_not_found", "as any refusal does"


async def test_truncation_drops_the_oldest(autojump_clock: MockClock) -> None:
    engine = Summarizer(context_tokens=600)
    async with client(engine) as it:
        developer = {"role": "developer", "content": "be brief"}
        await chat(
            it, [developer, {"role": "user", "content": f"1 {LONG}"}], f"2 {LONG}", f"3 {LONG}", truncation="auto"
        )
        assert texts(engine.seen) == ["be brief", "ok", f"2 {LONG}", "ok", f"3 {LONG}"]
        assert engine.asks[-1].memo.value == 1
        events = await chat(it, 3 * LONG, truncation="auto")
        assert events[0]["error"]["code"] == "context_length_exceeded"


async def test_nothing_is_dropped_while_it_fits(autojump_clock: MockClock) -> None:
    engine = Summarizer(context_tokens=600)
    async with client(engine) as it:
        await chat(it, LONG, LONG, truncation="auto")
    assert len(engine.seen) == 3
    assert engine.asks[-1].memo.value == 2


async def test_truncation_goes_by_the_engines_own_count(autojump_clock: MockClock) -> None:
    @attrs.define
    class Counts(Summarizer):
        def count_tokens(self, ask: Ask) -> int:
            return 100 * len(ask.items)

    engine = Counts(context_tokens=300)
    async with client(engine) as it:
        await chat(it, *map(str, range(9)), truncation="auto")
        assert texts(engine.seen) == ["7", "ok", "8"]


async def test_a_context_that_grows_too_long_between_steps(autojump_clock: MockClock) -> None:
    engine = Summarizer(context_tokens=600, calls=["read", "read", "read"])

    async def read() -> str:
        """Read on."""
        return LONG

    async with client(engine, read) as it:
        (*_, error, failed) = await chat(it, "read")
        assert error["error"]["code"] == failed["response"]["error"]["code"] == "context_length_exceeded"
        engine.calls = ["read", "read", "read"]
        events = await chat(it, "read", truncation="auto")
        assert [item["type"] for item in output(events)] == ["mcp_call", "mcp_call", "mcp_call", "message"]
        assert len(engine.seen) == 2


async def test_compaction_makes_room_before_anything_is_refused(autojump_clock: MockClock) -> None:
    engine = Summarizer(context_tokens=1200)
    async with client(engine) as it:
        events = await chat(it, LONG, LONG, LONG, LONG, LONG, context_management=SOON)
    assert events[-1]["type"] == "response.completed"


async def test_an_engine_whose_count_fails(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    @attrs.define
    class Miscounts(Summarizer):
        def count_tokens(self, ask: Ask) -> int:
            raise ValueError("secret")

    async with client(Miscounts(context_tokens=10)) as it:
        (refused,) = await chat(it, "hi")
        assert (refused["status"], refused["error"]["code"]) == (500, "server_error")
        (*_, failed) = await chat(it, "hi", generate=False)
        assert failed["response"]["error"]["code"] == "server_error"
        assert "secret" not in str(refused)
    assert "ValueError: secret" in caplog.text


# The built-in engine


async def test_the_builtin_engine_remembers_across_a_compaction(autojump_clock: MockClock) -> None:
    async with client(builtin()) as it:
        before = await chat(it, "The code word is slate.", LONG, LONG, LONG)
        events = await chat(
            it, "What is the code word?", previous_response_id=before[-1]["response"]["id"], context_management=SOON
        )
    compaction, message = output(events)
    assert compaction["type"] == "compaction"
    assert "slate" in message["content"][0]["text"]


async def test_the_builtin_engine_reports_what_the_server_counts(autojump_clock: MockClock) -> None:
    tools = [{"type": "function", "name": "look", "description": "Look at something.", "parameters": {}}]
    fields = {"tools": tools, "instructions": "Be brief."}
    async with client(builtin()) as it:
        warm = await chat(it, "hello there", generate=False, **fields)
        real = await chat(it, "hello there", **fields)
    asked = warm[-1]["response"]["usage"]
    assert asked["input_tokens"] == real[-1]["response"]["usage"]["input_tokens"] > 20
    assert asked["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": asked["input_tokens"]}


async def test_the_builtin_engine_may_say_what_it_holds(autojump_clock: MockClock) -> None:
    async with client(builtin(context_tokens=100)) as it:
        (refused,) = await chat(it, LONG)
    assert refused["error"]["code"] == "context_length_exceeded"


async def test_a_warm_up_that_continues_writes_only_what_is_new(autojump_clock: MockClock) -> None:
    async with client(Recorder()) as it:
        events = await chat(it, "x" * 400, "y" * 40, generate=False)
    usage = events[-1]["response"]["usage"]
    assert usage["input_tokens"] == 116
    assert usage["input_tokens_details"] == {"cached_tokens": 103, "cache_write_tokens": 13}
    assert usage["output_tokens"] == 0


async def test_an_unanswered_call_is_what_the_engine_sees(autojump_clock: MockClock) -> None:
    engine = Recorder(calls=["look"])
    async with client(engine) as it:
        asked = await chat(it, "look")
        await chat(it, [NOW], previous_response_id=asked[-1]["response"]["id"])
        events = await chat(it, [NOW], output_for(asked[-1]), previous_response_id=it.wire.events[-1]["response"]["id"])
    assert events[-1]["type"] == "response.completed"
    call = next(item for item in engine.seen if isinstance(item, FunctionCall | CustomToolCall))
    assert call.name == "look"
