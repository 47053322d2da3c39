"""Scripts: what each piece does, which turn is played, what is recorded."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from agentwire.engines import (
    Call,
    Delay,
    Do,
    Fail,
    Hang,
    Item,
    Reasoning,
    Refusal,
    Stop,
    Summary,
    Text,
    Turn,
    scripted,
)
from agentwire.engines.script import cut
from agentwire.protocol.codec import to_wire
from agentwire.protocol.errors import EngineError
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import Message
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Ask, Out
from agentwire.testing.recording import RecordingOut, ask_for
from tests.engines.kit import answer, step


async def test_every_piece_does_what_it_says(autojump_clock: MockClock) -> None:
    async def note(ask: Ask, out: Out) -> None:
        await out.text(f"[{ask.model}, {len(out.calls)} calls]")

    engine = scripted(
        Turn(
            Summary("short"), Reasoning("ab", pieces=2), Text("hello", pieces=5, every=0.5), Delay(1), Refusal("no"),
            Call("grep", {"q": "x"}, call_id="call_1"), Call("grep", '{"q": "y"}', pieces=3),
            Call("patch", "free text", custom=True), Item({"type": "web_search_call", "status": "completed"}), Do(note),
        )
    )  # fmt: skip
    done = await step(engine, ask_for("go"))
    assert trio.current_time() == 3.0
    assert [event[:2] for event in done.out.events] == [
        ("summary", "short"), ("reasoning", "a"), ("reasoning", "b"), *[("text", char) for char in "hello"],
        ("refusal", "no"), ("call", "grep"), ("call", "grep"), ("call", "patch"), ("item", "web_search_call"),
        ("text", "[test, 3 calls]"),
    ]  # fmt: skip
    assert done.out.calls[0].id
    assert to_wire(done.out.calls[0])["call_id"] == "call_1"
    assert [to_wire(item)["type"] for item in done.out.items] == [
        "reasoning", "message", "function_call", "function_call", "custom_tool_call", "web_search_call", "message"
    ]  # fmt: skip


@given(st.text(max_size=50), st.integers(1, 60))
def test_a_text_is_cut_into_nearly_equal_pieces(text: str, count: int) -> None:
    pieces = cut(text, count)
    assert "".join(pieces) == text
    assert len(pieces) == max(1, min(count, len(text)))
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


def test_a_text_in_no_pieces_is_refused() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        cut("x", 0)


async def test_turns_follow_the_conversation_and_forks_get_the_same() -> None:
    engine = scripted([Turn(Text("one")), Turn(Text("two")), Turn(Text("three"))])
    sources = Sources.seeded(3)
    first = await step(engine, ask_for("a", sources=sources))
    parent = first.ask.response_id
    second = await step(engine, ask_for("b", history=first.history, sources=sources, previous_response_id=parent))
    fork = await step(engine, ask_for("c", history=first.history, sources=sources, previous_response_id=parent))
    third = await step(
        engine,
        ask_for("d", history=second.history, sources=sources, previous_response_id=second.ask.response_id),
    )
    assert (first.text, second.text, fork.text, third.text) == ("one", "two", "two", "three")
    other = await step(engine, ask_for("a new conversation", sources=sources))
    assert other.text == "one"


async def test_a_history_that_the_engine_has_not_seen_counts_too() -> None:
    engine = scripted([Turn(Call("grep")), Turn(Call("grep")), Turn(Text("done"))])
    calls = await step(scripted(Turn(Text("x"), Call("grep"))), ask_for("a"))
    output = answer(calls.out.calls[0], "hit")
    full = [*map(to_wire, calls.history), output]
    assert (await step(engine, ask_for(full))).calls == [("grep", {})]
    again = await step(
        engine, ask_for([*full, {"role": "assistant", "content": "so"}, {"role": "user", "content": "?"}])
    )
    assert again.text == "done"


async def test_steps_of_one_turn_are_turns_of_the_script() -> None:
    engine = scripted([Turn(Call("grep")), Turn(Text("done"))])
    first = await step(engine, ask_for("a"), server_tools=["grep"])
    second = await step(engine, ask_for([*map(to_wire, first.history)], step=1))
    assert second.text == "done"


async def test_the_order_of_calls_can_count_instead() -> None:
    engine = scripted([Turn(Text("one")), Turn(Text("two"))], order="calls", repeat=True)
    texts = [(await step(engine, ask_for("a"))).text for _ in range(3)]
    assert texts == ["one", "two", "one"]


async def test_a_function_can_pick_the_turn() -> None:
    engine = scripted(lambda ask: Turn(Text(f"{ask.step}: {ask.instructions}")))
    assert (await step(engine, ask_for("a", instructions="i"))).text == "0: i"


@pytest.mark.parametrize("turns", [[], [Turn(Text("one"))]])
async def test_a_script_that_is_used_up_says_so(turns: list[Turn]) -> None:
    engine = scripted(turns, order="calls")
    for _ in turns:
        await step(engine, ask_for("a"))
    with pytest.raises(EngineError, match=f"has {len(turns)} turns") as caught:
        await step(engine, ask_for("a"))
    assert caught.value.code == "script_ended"
    assert len(engine.asks) == len(turns)


@pytest.mark.parametrize("event", range(4))
async def test_failing_at_an_event(event: int) -> None:
    engine = scripted(Turn(Text("abc", pieces=3), Call("grep"), fail_at=event))
    out = RecordingOut()
    with pytest.raises(EngineError, match="at this event"):
        await engine(ask_for("a"), out)
    assert len(out.events) == event
    assert engine.running == 0


async def test_events_are_counted_over_all_kinds() -> None:
    pieces = (Summary("s"), Reasoning("r"), Refusal("n"), Item({"type": "x"}), Call("f", "ab", pieces=2), Text("t"))
    engine = scripted(Turn(*pieces, fail_at=7, fail_with=ValueError("seventh")))
    out = RecordingOut()
    with pytest.raises(ValueError, match="seventh"):
        await engine(ask_for("a"), out)
    assert [event[0] for event in out.events] == ["summary", "reasoning", "refusal", "item", "call"]


@pytest.mark.parametrize(("error", "kind"), [(None, EngineError), (ValueError("x"), ValueError)])
async def test_failing_on_purpose(error: Exception | None, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        await step(scripted(Turn(Text("a"), Fail(error) if error else Fail())), ask_for("a"))


async def test_stopping_early_is_incomplete() -> None:
    done = await step(scripted(Turn(Text("half"), Stop("content_filter"), Text("never"))), ask_for("a"))
    assert done.finish is not None
    assert (done.text, done.finish.incomplete) == ("half", "content_filter")


async def test_usage_is_given_or_counted() -> None:
    own, common = Usage(1, 2), Usage(3, 4)
    engine = scripted([Turn(usage=own), Turn()], order="calls", usage=common)
    for expected in (own, common):
        done = await step(engine, ask_for("a"))
        assert done.finish is not None
        assert done.finish.usage == expected
    history = (Message("user", "x" * 400),)
    done = await step(scripted(Turn(Text("abcdefgh"))), ask_for("a", history=history))
    assert done.finish is not None
    usage = done.finish.usage
    assert usage is not None
    assert usage.output_tokens == 2
    assert 100 < usage.cached_tokens < usage.input_tokens


async def test_what_a_compaction_has_replaced_is_not_counted(autojump_clock: MockClock) -> None:
    turn = ask_for("x" * 400, history=(Message("user", "y" * 400),))
    done = await step(scripted(Turn(Text("a"))), attrs.evolve(turn, items=(Message("user", "short"),)))
    assert done.finish is not None
    assert done.finish.usage is not None
    assert 0 <= done.finish.usage.cached_tokens < done.finish.usage.input_tokens


async def test_a_cancellation_is_recorded_with_its_reason(autojump_clock: MockClock) -> None:
    engine = scripted(Turn(Text("a"), Hang()))
    asks = [ask_for("a"), ask_for("b")]
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            for one in asks:
                nursery.start_soon(engine, one, RecordingOut())
            await trio.sleep(1)
            assert (engine.running, engine.peak) == (2, 2)
            scope.cancel(reason="the client has gone")
    assert (engine.running, engine.peak) == (0, 2)
    assert sorted((each.response_id, each.reason) for each in engine.cancelled) == sorted(
        (one.response_id, "the client has gone") for one in asks
    )


async def test_a_cancellation_without_a_reason(autojump_clock: MockClock) -> None:
    engine = scripted(Turn(Hang()))
    with trio.CancelScope() as scope:
        scope.cancel()
        await engine(ask_for("a"), RecordingOut())
    (cancelled,) = engine.cancelled
    assert cancelled.reason == ""


async def test_a_script_survives_what_an_out_raises() -> None:
    out: Any = RecordingOut()
    out.close()
    engine = scripted(Turn(Text("late")))
    with pytest.raises(Exception, match="has ended"):
        await engine(ask_for("a"), out)
    assert engine.running == 0
