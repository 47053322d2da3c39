"""A steer interrupts a response between two items, and is answered by the next response of the lane."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.engines import Call, Delay, Fail, Hang, Item, Reasoning, Text, Turn, scripted
from agentwire.protocol.codec import encode_json
from agentwire.protocol.desk import Outcome
from agentwire.protocol.errors import EngineError, RequestError
from agentwire.protocol.items import Message
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Out
from agentwire.testing import no_leaks
from tests.runtime.kit import Client, Event, check_lanes, client, create, kinds, output_for

ANSWER = Turn(Text("Only tests, then."))


def steer(response_id: str, given: Any = "Only touch tests.") -> bytes:
    return encode_json({"type": "response.steer", "previous_response_id": response_id, "input": given})


def plot(events: list[Event]) -> list[str]:
    """What matters of a story: lifecycle, whole items, steers."""
    dull = (
        "in_progress",
        "output_item.added",
        "content_part",
        "output_text",
        "mcp_call",
        "function_call",
        "reasoning_",
    )
    return [kind for kind in kinds(events) if not kind.startswith(dull)]


def started(events: list[Event]) -> list[str]:
    return [event["response"]["id"] for event in events if event["type"] == "response.created"]


def last(events: list[Event], kind: str) -> Event:
    return [event for event in events if event["type"] == kind][-1]


async def begin(it: Client, until: str = "response.in_progress", **fields: Any) -> str:
    """A turn that has come so far; gives its id."""
    it.wire.say(create(**fields))
    await it.wire.until(until)
    await wait_all_tasks_blocked()
    return started(it.wire.events)[-1]


async def settled(it: Client) -> list[Event]:
    await it.session.idle()
    await wait_all_tasks_blocked()
    check_lanes(it.wire.events)
    return it.wire.events


# Interrupted


async def test_an_engine_that_is_silent_before_its_first_item_ends_at_once(autojump_clock: MockClock) -> None:
    engine = scripted([Turn(Hang()), ANSWER], order="calls")
    async with client(engine) as it:
        id_ = await begin(it, stream_id="a", instructions="Be brief.", metadata={"k": "v"}, temperature=0.5)
        it.wire.say(steer(id_))
        events = await settled(it)
    assert plot(events) == [
        "created",
        "steer.accepted",
        "incomplete",
        "created",
        "output_item.done",
        "completed",
    ]
    first, second = last(events, "response.incomplete")["response"], last(events, "response.completed")["response"]
    assert first["incomplete_details"] == {"reason": "steered"}
    assert (first["output"], first["usage"]) == ([], None)
    assert second["previous_response_id"] == id_
    for setting in ("instructions", "metadata", "temperature", "model", "store", "tools", "text"):
        assert second[setting] == first[setting]
    assert {event.get("stream_id") for event in events} == {"a"}
    assert [(c.response_id, c.reason) for c in engine.cancelled] == [(id_, "the client has more to say")]
    assert [item.text for item in engine.asks[1].items if isinstance(item, Message)] == ["hi", "Only touch tests."]
    assert [item.text for item in engine.asks[1].new_items if isinstance(item, Message)] == ["Only touch tests."]


async def test_acceptance_is_told_in_the_order_of_the_response(autojump_clock: MockClock) -> None:
    async with client(scripted([Turn(Hang()), ANSWER], order="calls")) as it:
        id_ = await begin(it)
        it.wire.say(steer(id_))
        events = await settled(it)
    told = last(events, "response.steer.accepted")
    assert told["sequence_number"] == 2
    assert told["steer"]["previous_response_id"] == id_
    assert last(events, "response.incomplete")["sequence_number"] == 3
    assert last(events, "response.created")["sequence_number"] == 0


async def test_the_item_in_progress_is_finished(autojump_clock: MockClock) -> None:
    """A thought is ended by the message after it, which never begins."""
    thinking = Turn(Reasoning("first this, then that", pieces=4, every=1), Text("never said"), Hang())
    engine = scripted([thinking, ANSWER], order="calls")
    async with client(engine) as it:
        id_ = await begin(it, "response.reasoning_text.delta")
        it.wire.say(steer(id_))
        events = await settled(it)
    ended = last(events, "response.incomplete")["response"]
    (thought,) = ended["output"]
    assert thought["status"] == "completed"
    assert thought["content"] == [{"type": "reasoning_text", "text": "first this, then that"}]
    assert "never said" not in str(events)
    assert len(started(events)) == 2


async def test_between_two_items_it_ends_at_once(autojump_clock: MockClock) -> None:
    search = Item({"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}})
    async with client(scripted([Turn(search, Hang()), ANSWER], order="calls")) as it:
        id_ = await begin(it, "response.output_item.done")
        it.wire.say(steer(id_))
        events = await settled(it)
    assert [item["type"] for item in last(events, "response.incomplete")["response"]["output"]] == ["web_search_call"]


async def test_a_whole_item_ends_where_it_is_whole(autojump_clock: MockClock) -> None:
    search = Item({"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}})
    turn = Turn(Reasoning("hm", pieces=2, every=1), search, Text("never said"))
    async with client(scripted([turn, ANSWER], order="calls")) as it:
        id_ = await begin(it, "response.reasoning_text.delta")
        it.wire.say(steer(id_))
        events = await settled(it)
    assert [item["type"] for item in last(events, "response.incomplete")["response"]["output"]] == ["reasoning"]


async def test_parts_of_one_item_are_no_boundary(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        if ask.request.previous_response_id is None:
            await out.summary("In short")
            await trio.sleep(1)
            await out.reasoning("at length")
            await out.text("never said")

    async with client(engine) as it:
        id_ = await begin(it, "response.reasoning_summary_text.delta")
        it.wire.say(steer(id_))
        events = await settled(it)
    (thought,) = last(events, "response.incomplete")["response"]["output"]
    assert (thought["summary"][0]["text"], thought["content"][0]["text"]) == ("In short", "at length")


async def test_tools_of_the_server_finish(autojump_clock: MockClock) -> None:
    async def look_up(word: str) -> str:
        await trio.sleep(5)
        return f"{word} found"

    turn = Turn(Call("look_up", {"word": "slate"}), Hang())
    engine = scripted([turn, ANSWER], order="calls")
    async with client(engine, look_up) as it:
        id_ = await begin(it, "response.mcp_call_arguments.done")
        it.wire.say(steer(id_))
        events = await settled(it)
    (call,) = last(events, "response.incomplete")["response"]["output"]
    assert (call["output"], call["status"]) == ("slate found", "completed")
    assert len(engine.cancelled) == 1


async def test_an_engine_that_would_go_on_waits_for_the_tools_of_the_server(autojump_clock: MockClock) -> None:
    async def look_up(word: str) -> str:
        await trio.sleep(5)
        return f"{word} found"

    turn = Turn(Call("look_up", {"word": "slate"}), Delay(1), Text("never said"))
    async with client(scripted([turn, ANSWER], order="calls"), look_up) as it:
        id_ = await begin(it, "response.mcp_call_arguments.done")
        it.wire.say(steer(id_))
        events = await settled(it)
    (call,) = last(events, "response.incomplete")["response"]["output"]
    assert call["output"] == "slate found"
    assert "never said" not in str(events)


async def test_there_is_no_other_step_after_the_tools_of_the_server(autojump_clock: MockClock) -> None:
    async def look_up(word: str) -> str:
        await trio.sleep(5)
        return f"{word} found"

    engine = scripted([Turn(Call("look_up", {"word": "slate"})), ANSWER], order="calls")
    async with client(engine, look_up) as it:
        id_ = await begin(it, "response.mcp_call_arguments.done")
        it.wire.say(steer(id_))
        events = await settled(it)
    ended = last(events, "response.incomplete")["response"]
    assert ended["incomplete_details"] == {"reason": "steered"}
    assert ended["usage"]["output_tokens"] > 0  # of the step that was finished
    assert [ask.step for ask in engine.asks] == [0, 0]


async def test_many_steers_on_one_response_have_one_successor(autojump_clock: MockClock) -> None:
    engine = scripted([Turn(Reasoning("hm", pieces=2, every=1), Text("never said")), ANSWER], order="calls")
    async with client(engine) as it:
        id_ = await begin(it, "response.reasoning_text.delta")
        for given in ("one", [{"role": "user", "content": "two"}], "three"):
            it.wire.say(steer(id_, given))
        events = await settled(it)
    assert len(started(events)) == 2
    assert [item.text for item in engine.asks[1].new_items if isinstance(item, Message)] == ["one", "two", "three"]


async def test_a_successor_may_be_steered(autojump_clock: MockClock) -> None:
    engine = scripted([Turn(Hang()), Turn(Hang()), ANSWER], order="calls")
    async with client(engine) as it:
        it.wire.say(steer(await begin(it), "one"))
        await it.wire.until("response.in_progress")
        it.wire.say(steer(started(it.wire.events)[-1], "two"))
        events = await settled(it)
    assert len(started(events)) == 3
    said = [item.text for item in engine.asks[2].items if isinstance(item, Message)]
    assert said == ["hi", "one", "two"]


async def test_the_successor_comes_before_what_waits_in_the_lane(autojump_clock: MockClock) -> None:
    engine = scripted([Turn(Hang()), ANSWER, Turn(Text("later"))], order="calls")
    async with client(engine) as it:
        id_ = await begin(it)
        it.wire.say(create("something else"))
        it.wire.say(steer(id_))
        events = await settled(it)
    assert [ask.request.previous_response_id for ask in engine.asks] == [None, id_, None]
    ended = kinds(events).index("incomplete")
    assert kinds(events)[ended + 1] == "created"
    assert events[ended + 1]["response"]["previous_response_id"] == id_


async def test_other_lanes_go_on(autojump_clock: MockClock) -> None:
    engine = scripted(
        lambda ask: Turn(Text("abc", pieces=3, every=1)) if ask.request.stream_id == "b" else Turn(Hang())
    )
    async with client(engine) as it:
        id_ = await begin(it, stream_id="a")
        it.wire.say(create(stream_id="b"))
        it.wire.say(steer(id_))
        await it.wire.until("response.completed")
        assert last(it.wire.events, "response.completed")["stream_id"] == "b"
        assert len(started(it.wire.events)) == 3


async def test_limits_count_for_each_response_by_itself(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        assert ask.max_output_tokens == 16
        await out.summary("x" * 1500)
        await trio.sleep(1)
        await out.text("x" * 1500)

    async with client(engine, limits=Limits(response_bytes=6000)) as it:
        id_ = await begin(it, "response.reasoning_summary_text.delta", max_output_tokens=16)
        it.wire.say(steer(id_))
        events = await settled(it)
    ends = [event["response"]["incomplete_details"] for event in events if event["type"] == "response.incomplete"]
    assert ends == [{"reason": "steered"}, {"reason": "max_output_tokens"}]


# Finished first


async def test_a_message_is_finished_and_a_response_that_ends_by_itself_is_followed_too(
    autojump_clock: MockClock,
) -> None:
    engine = scripted([Turn(Text("It is done.", pieces=4, every=1)), ANSWER], order="calls")
    async with client(engine) as it:
        id_ = await begin(it, "response.output_text.delta")
        it.wire.say(steer(id_))
        events = await settled(it)
    first, second = (event["response"] for event in events if event["type"] == "response.completed")
    assert first["output"][0]["content"][0]["text"] == "It is done."
    assert first["usage"] is not None
    assert second["previous_response_id"] == id_
    assert engine.cancelled == []


async def test_an_engine_that_swallows_the_interruption_has_finished(autojump_clock: MockClock) -> None:
    async def stubborn(ask: Ask, out: Out) -> None:
        if ask.request.previous_response_id is None:
            with suppress(trio.Cancelled):  # as bad as can be
                await trio.sleep_forever()

    async with client(stubborn) as it:
        it.wire.say(steer(await begin(it)))
        events = await settled(it)
    assert kinds(events).count("completed") == 2


async def test_what_an_engine_raises_when_it_is_interrupted_is_logged_only(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def untidy(ask: Ask, out: Out) -> None:
        if ask.request.previous_response_id is None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("while cleaning up")

    async with client(untidy) as it:
        it.wire.say(steer(await begin(it)))
        events = await settled(it)
    assert kinds(events).count("incomplete") == 1
    assert kinds(events).count("completed") == 1
    assert "while cleaning up" in caplog.text


# Waiting for the client


async def test_a_call_for_the_client_is_not_interrupted_and_the_steers_wait(autojump_clock: MockClock) -> None:
    engine = scripted([Turn(Call("read", {"path": "a"}, pieces=2), Delay(1), Call("grep")), ANSWER], order="calls")
    async with client(engine) as it:
        id_ = await begin(it, "response.output_item.done")
        it.wire.say(steer(id_, "one"))
        it.wire.say(steer(id_, "two"))
        await it.wire.until()
        await wait_all_tasks_blocked()
        events = list(it.wire.events)
        ended = last(events, "response.completed")
        assert plot(events)[-3:] == ["completed", "steer.pending", "steer.pending"]
        stubs = [
            {"type": "function_call_output", "call_id": item["call_id"], "name": item["name"]}
            for item in ended["response"]["output"]
        ]
        told = [event for event in events if event["type"] == "response.steer.pending"]
        assert len(stubs) == 2
        for number, event in enumerate(told, ended["sequence_number"] + 1):
            assert event["sequence_number"] == number
            assert event["reason"] == "waiting_for_required_input"
            assert event["required_input"] == stubs
        it.wire.say(
            create([{**stub, "output": "x"} for stub in stubs], previous_response_id=id_, instructions="Other.")
        )
        events = await settled(it)
    answered = last(events, "response.completed")["response"]
    assert (answered["previous_response_id"], answered["instructions"]) == (id_, "Other.")
    assert len(started(events)) == 2
    said = [item.text if isinstance(item, Message) else item.type for item in engine.asks[1].new_items]
    assert said == ["one", "two", "function_call_output", "function_call_output"]


async def test_a_steer_in_the_middle_of_a_call_waits(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        if ask.request.previous_response_id is None:
            await out.open_call("read")
            await trio.sleep(1)
            await out.arguments("{}")
            await out.close_call()
            await out.text("Wait.")

    async with client(engine) as it:
        id_ = await begin(it, "response.output_item.added")
        it.wire.say(steer(id_))
        await it.wire.until("response.steer.pending")
        assert [item["type"] for item in last(it.wire.events, "response.completed")["response"]["output"]] == [
            "function_call",
            "message",
        ]


async def test_an_answer_that_waits_already_takes_them_without_a_word(autojump_clock: MockClock) -> None:
    engine = scripted([Turn(Call("read", call_id="call_1"), Delay(1)), ANSWER], order="calls")
    async with client(engine) as it:
        id_ = await begin(it, "response.output_item.done")
        it.wire.say(steer(id_, "one"))
        it.wire.say(
            create([{"type": "function_call_output", "call_id": "call_1", "output": "x"}], previous_response_id=id_)
        )
        events = await settled(it)
    assert "steer.pending" not in kinds(events)
    said = [item.text if isinstance(item, Message) else item.type for item in engine.asks[1].new_items]
    assert said == ["one", "function_call_output"]


async def test_an_answer_that_is_refused_hands_them_back(autojump_clock: MockClock) -> None:
    engine = scripted([Turn(Call("read", call_id="call_1"), Delay(1)), ANSWER], order="calls")
    async with client(engine) as it:
        id_ = await begin(it, "response.output_item.done", stream_id="a")
        it.wire.say(steer(id_, "one"))
        await it.wire.until("response.steer.pending")
        it.wire.say(create("no answer", previous_response_id=id_, stream_id="a"))
        events = await settled(it)
    assert last(events, "error")["error"]["code"] == "tool_output_missing"
    failed = last(events, "response.steer.failed")
    assert failed["error"]["code"] == "successor_creation_failed"
    assert failed["steer"] == {**last(events, "response.steer.accepted")["steer"], "input": "one"}
    assert failed["stream_id"] == "a"


# Handed back


async def test_a_response_that_fails_hands_them_back(autojump_clock: MockClock) -> None:
    broken = Turn(Reasoning("hm"), Delay(1), Fail(EngineError("The engine stopped.")))
    async with client(scripted(broken)) as it:
        id_ = await begin(it, "response.reasoning_text.delta")
        it.wire.say(steer(id_, "one"))
        events = await settled(it)
    assert plot(events)[-4:] == ["output_item.done", "error", "failed", "steer.failed"]
    failed = events[-1]
    assert failed["sequence_number"] == events[-2]["sequence_number"] + 1
    assert failed["error"]["code"] == "successor_creation_failed"
    assert "The engine stopped." in failed["error"]["message"]
    assert failed["steer"]["input"] == "one"
    assert len(started(events)) == 1


async def test_a_successor_that_cannot_open_is_told_as_a_failed_steer_only(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RequestError(400, "context_length_exceeded", "The conversation is too long.")

    async with client(scripted([Turn(Hang()), ANSWER], order="calls")) as it:
        id_ = await begin(it)
        monkeypatch.setattr("agentwire.runtime.opening.check_pairing", refuse)
        it.wire.say(steer(id_, "one"))
        events = await settled(it)
        monkeypatch.undo()
        assert plot(events)[-2:] == ["incomplete", "steer.failed"]
        assert events[-1]["steer"]["input"] == "one"
        assert "too long" in events[-1]["error"]["message"]
        assert kinds(await it.wire.ask())[-1] == "completed"
        assert it.service.tally.turns == {Outcome.INCOMPLETE: 1, Outcome.REFUSED: 1, Outcome.COMPLETED: 1}


async def test_a_steer_for_what_cannot_be_steered_goes_back(autojump_clock: MockClock) -> None:
    manages = [{"type": "compaction", "compact_threshold": 100_000}]
    async with client(scripted(Turn(Delay(1)))) as it:
        id_ = await begin(it, stream_id="a", context_management=manages)
        it.wire.say(steer(id_))
        events = await settled(it)
    failed = last(events, "response.steer.failed")
    assert (failed["error"]["code"], failed["stream_id"]) == ("steering_not_supported", "a")
    assert "id" not in failed["steer"]
    assert kinds(events)[-1] == "completed"


async def test_too_many_are_refused_and_the_others_stay(autojump_clock: MockClock) -> None:
    engine = scripted([Turn(Text("abc", pieces=3, every=1)), ANSWER], order="calls")
    async with client(engine, limits=Limits(steers=2)) as it:
        id_ = await begin(it, "response.output_text.delta")
        for number in range(3):
            it.wire.say(steer(id_, str(number)))
        events = await settled(it)
    assert last(events, "response.steer.failed")["error"]["code"] == "too_many_pending_steers"
    assert [item.text for item in engine.asks[1].new_items if isinstance(item, Message)] == ["0", "1"]


async def test_steers_end_with_the_connection(autojump_clock: MockClock) -> None:
    async with no_leaks(), client(scripted(Turn(Text("abc", pieces=3, every=1)))) as it:
        id_ = await begin(it, "response.output_text.delta")
        it.wire.say(steer(id_))
        await wait_all_tasks_blocked()
        it.wire.vanish(cause="reset by the peer")
        await it.session.finished.wait()
        assert it.service.tally.turns == {Outcome.CANCELLED: 1}


async def test_a_slow_reader_is_told_everything(autojump_clock: MockClock) -> None:
    """A turn that waits for its reader is at a boundary, too, and says what is due."""
    turn = Turn(Call("look_up", {"word": "x" * 400}), Reasoning("never said"))

    async def look_up(word: str) -> str:
        return word

    async with client(
        scripted([turn, ANSWER], order="calls"), look_up, limits=Limits(window_bytes=500), budget=2
    ) as it:
        id_ = await begin(it)
        it.wire.say(steer(id_))
        await wait_all_tasks_blocked()
        it.wire.read()
        events = await settled(it)
    assert [item["type"] for item in last(events, "response.incomplete")["response"]["output"]] == ["mcp_call"]
    assert "never said" not in str(events)


async def test_a_stored_successor_shows_the_steers_as_its_input(autojump_clock: MockClock) -> None:
    async with client(scripted([Turn(Hang()), ANSWER], order="calls")) as it:
        id_ = await begin(it, store=True)
        it.wire.say(steer(id_))
        events = await settled(it)
        stored = await it.service.store.get("tester", started(events)[-1])
        steered = await it.service.store.get("tester", id_)
    assert stored is not None
    assert steered is not None
    assert stored.node.parent is not None
    assert stored.node.parent.response_id == id_
    assert [item.text for item in stored.node.input if isinstance(item, Message)] == ["Only touch tests."]
    assert b'"reason":"steered"' in steered.response


async def test_the_client_may_say_more_than_it_owes(autojump_clock: MockClock) -> None:
    engine = scripted([Turn(Call("read"), Delay(1)), ANSWER], order="calls")
    async with client(engine) as it:
        id_ = await begin(it, "response.output_item.done")
        it.wire.say(steer(id_, "one"))
        await it.wire.until("response.steer.pending")
        answers = output_for(last(it.wire.events, "response.completed"))
        it.wire.say(create([*answers, {"role": "user", "content": "and two"}], previous_response_id=id_))
        await settled(it)
    said = [item.text for item in engine.asks[1].new_items if isinstance(item, Message)]
    assert said == ["one", "and two"]


async def test_nothing_about_a_response_overtakes_its_last_events(autojump_clock: MockClock) -> None:
    """The response has ended here, and a slow client does not know yet: it hears so first, and then of its steer."""
    async with client(scripted(Turn(Text("one", pieces=3), Delay(1), Text("two", pieces=3))), budget=2) as it:
        response_id = await begin(it)
        await trio.sleep(2)
        it.wire.say(steer(response_id))
        it.wire.say(encode_json({"type": "response.inject", "response_id": response_id, "input": [1]}))
        await wait_all_tasks_blocked()
        it.wire.read()
        await wait_all_tasks_blocked()
    assert kinds(it.wire.events)[-3:] == ["completed", "steer.failed", "inject.failed"]
    assert [event["sequence_number"] for event in it.wire.events] == list(range(len(it.wire.events)))
    assert last(it.wire.events, "response.steer.failed")["error"]["code"] == "response_already_completed"
