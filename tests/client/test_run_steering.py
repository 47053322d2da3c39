"""What is said to a run while it goes on: with the server's steering or without, before, in and after a turn."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.client import MemoryJournal, Run, RunLost, TurnFinished, TurnLost, TurnStarted
from agentwire.engines import Call, Delay, Hang, Text, Turn, scripted
from agentwire.link import SteerRefused
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.items import FunctionCallOutput, Message
from agentwire.runtime.contracts import Ask
from tests.client.kit import connected, kinds, steps_of
from tests.client.served import served
from tests.link.peer import LIMITS, Json, Peer, call_turn, created, delta, done, ended, error, text_turn
from tests.link.peer import call as calls
from tests.link.test_steering import accepted, heard, pending, successor


def said(ask: Ask) -> list[str]:
    """What the model has in front of it: the user's words, and answers."""
    told = []
    for item in ask.items:
        if isinstance(item, Message) and item.role == "user":
            told.append(item.text)
        elif isinstance(item, FunctionCallOutput):
            told.append(str(item.output))
    return told


async def nap() -> str:
    await trio.sleep(5)
    return "slept"


async def later(run: Run, *texts: str, after: float = 1) -> None:
    await trio.sleep(after)
    for text in texts:
        await run.steer(text)


async def test_a_turn_in_progress_is_steered(autojump_clock: MockClock) -> None:
    engine = scripted([Turn(Hang()), Turn(Hang()), Turn(Text("Done."))], order="calls")
    async with served(engine) as wire, wire.run("Go.") as run, trio.open_nursery() as nursery:
        nursery.start_soon(later, run, "One.")
        nursery.start_soon(partial(later, run, "Two.", after=2))
        steps = await steps_of(run)
        told = [step for step in steps if isinstance(step, TurnStarted | TurnFinished)]
        assert [type(step) for step in told] == [TurnStarted, TurnFinished] * 3
        assert [step.number for step in told if isinstance(step, TurnStarted)] == [1, 2, 3]
        assert (run.turns, run.text) == (3, "Done.")
    assert said(engine.asks[-1])[:2] == ["Go.", "One."]
    assert len(engine.asks) == 3


async def test_what_is_said_before_the_first_request_goes_with_it(autojump_clock: MockClock) -> None:
    engine = scripted([Turn(Text("Done."))])
    async with served(engine) as wire, wire.run("Go.") as run:
        await run.steer("Only tests.")
        assert (await run.finish()).output_text == "Done."
        assert run.turns == 1
    assert said(engine.asks[0]) == ["Go.", "Only tests."]


async def test_what_is_said_while_tools_run_goes_with_their_answers(autojump_clock: MockClock) -> None:
    engine = scripted([Turn(Call("nap", {})), Turn(Text("Done."))])
    async with served(engine) as wire, wire.run("Go.", tools=[nap]) as run, trio.open_nursery() as nursery:
        nursery.start_soon(later, run, "Only tests.")
        assert (await run.finish()).output_text == "Done."
    assert said(engine.asks[-1]) == ["Go.", "slept", "Only tests."]


@pytest.mark.parametrize("cut", [False, True])
async def test_a_turn_that_ends_with_calls_keeps_the_steer_for_their_answers(
    autojump_clock: MockClock, cut: bool
) -> None:
    engine = scripted([Turn(Call("nap", {}), Delay(3)), Turn(Text("Done.")), Turn(Text("On."))], order="calls")
    async with served(engine, extensions=()) as wire, wire.run("Go.", tools=[nap]) as run:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(later, run, "Only tests.")
            if cut:
                await trio.sleep(4)
                await wire.line.current.abort("cut")  # type: ignore[attr-defined]
            response = await run.finish()
        assert (response.output_text, run.turns) == ("Done.", 2)
        told = said(engine.asks[1])
        assert told == ["Go.", "Only tests.", "slept"]  # once, and also where it had to be said again
        await wire.line.current.abort("cut")  # type: ignore[attr-defined]
        await wire.respond("So?", previous_response_id=response.id)
        assert said(engine.asks[2]) == [*told, "So?"]


async def test_a_run_that_would_end_makes_one_more_turn(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        peer.say(error("unknown_event_type", param="type"), *text_turn("resp_1", "one")[1:])
        request = await peer.answer(*text_turn("resp_2", "two"))
        assert request["previous_response_id"] == "resp_1"
        assert [item["content"] for item in request["input"]] == ["More."]

    async with connected(script) as wire, wire.run("Go.") as run:
        await wait_all_tasks_blocked()
        await run.steer("More.")
        assert (await run.finish()).output_text == "two"
        assert run.turns == 2
        with pytest.raises(SteerRefused, match="The run has ended") as caught:
            await run.steer("Too late.")
        assert caught.value.input == "Too late."


async def test_nothing_said_is_lost_with_the_connection(autojump_clock: MockClock) -> None:
    asked: list[Json] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"), delta("one"))
        await heard(peer)
        peer.say(accepted("resp_1"))
        await trio.sleep(1)
        await peer.wire.abort("cut")

    async def again(peer: Peer) -> None:
        asked.append(await peer.answer(*text_turn("resp_2", "one")))
        asked.append(await peer.answer(*text_turn("resp_3", "two")))

    async with connected(script, again) as wire, wire.run("Go.") as run:
        await wait_all_tasks_blocked()
        await run.steer("More.")
        assert (await run.finish()).output_text == "two"
    assert _texts(asked) == [["Go."], ["More."]]
    assert asked[1]["previous_response_id"] == "resp_2"


async def test_a_successor_that_is_lost_is_asked_for_with_all_that_was_said(autojump_clock: MockClock) -> None:
    asked: list[Json] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"), delta("one"))
        await heard(peer)
        peer.say(accepted("resp_1"), ended("resp_1", "incomplete"), *successor("resp_2", "resp_1", "tw")[:2])
        await trio.sleep(1)
        await peer.wire.abort("cut")

    async def again(peer: Peer) -> None:
        asked.append(await peer.answer(*text_turn("resp_3", "two")))

    async with connected(script, again) as wire, wire.run("Go.") as run:
        await wait_all_tasks_blocked()
        await run.steer("More.")
        steps = await steps_of(run)
        assert run.text == "two"
        assert [step for step in kinds(steps) if step.startswith("Turn")] == [
            "TurnStarted",
            "TurnFinished",
            "TurnStarted",
            "TurnLost",
            "TurnStarted",
            "TurnFinished",
        ]
        assert [step.repeated for step in steps if isinstance(step, TurnLost)] == [True]
    assert _texts(asked) == [["Go.", "More."]]


async def test_between_a_response_and_its_successor_the_connection_is_lost(autojump_clock: MockClock) -> None:
    asked: list[Json] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        peer.say(accepted("resp_1"), ended("resp_1", "incomplete"))
        await trio.sleep(1)
        await peer.wire.abort("cut")

    async def again(peer: Peer) -> None:
        asked.append(await peer.answer(*text_turn("resp_2", "two")))

    async with connected(script, again) as wire, wire.run("Go.") as run:
        await wait_all_tasks_blocked()
        await run.steer("More.")
        assert (await run.finish()).output_text == "two"
        assert run.turns == 2
    assert _texts(asked) == [["Go.", "More."]]


async def test_the_journal_has_what_was_said(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        peer.say(accepted("resp_1"), ended("resp_1", "incomplete"))
        peer.say(successor("resp_2", "resp_1")[0], *call_turn("resp_2", calls("c", "nap"))[1:])
        await peer.request()

    journal, asked = MemoryJournal(), []

    async def again(peer: Peer) -> None:
        asked.append(await peer.answer(*text_turn("resp_3", "two")))

    options: dict[str, Any] = {"tools": [nap], "journal": journal, "key": "job"}
    async with connected(script) as wire, wire.run("Go.", **options) as run:
        await wait_all_tasks_blocked()
        await run.steer("More.")
        await trio.sleep(10)
    async with connected(again) as wire, wire.run("Go.", **options) as run:
        assert (await run.finish()).output_text == "two"
    assert [item.get("content") or item.get("output") or item["type"] for item in asked[0]["input"]] == [
        "Go.",
        "More.",
        "function_call",
        "slept",
    ]


async def test_a_run_over_a_lane_can_be_steered_before_its_turn_has_begun(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        lane = (await peer.request())["stream_id"]
        await trio.sleep(5)
        peer.say(created("resp_1"), lane=lane)
        await heard(peer)
        peer.say(accepted("resp_1"), ended("resp_1"), *successor("resp_2", "resp_1", "two"), lane=lane)

    async with connected(script) as wire, wire.lane() as lane, lane.run("Go.") as run:
        await wait_all_tasks_blocked()
        await run.steer("More.")
        assert (await run.finish()).output_text == "two"


async def test_a_steer_is_said_once_where_a_limit_ends_a_response_that_owes_calls(autojump_clock: MockClock) -> None:
    asked: list[Json] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"), done(calls("c", "nap")))
        await heard(peer)
        peer.say(accepted("resp_1"), ended("resp_1", "incomplete", [calls("c", "nap")]), pending("resp_1"))
        asked.append(await peer.answer(*successor("resp_2", "resp_1", "two")))

    async with connected(script) as wire, wire.run("Go.", tools=[nap]) as run:
        await wait_all_tasks_blocked()
        await run.steer("More.")
        assert (await run.finish()).output_text == "two"
    assert [item.get("output") or item["type"] for item in asked[0]["input"]] == ["slept"]


async def test_a_steer_to_a_response_that_a_limit_tears_is_in_the_next_one(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        torn = {**calls("c", "nap", '{"a'), "status": "incomplete"}
        search = {"id": "ts_1", "type": "tool_search_call", "execution": "server", "status": "completed"}
        peer.say(accepted("resp_1"), ended("resp_1", "incomplete", [search, torn]))
        peer.say(*successor("resp_2", "resp_1", "two"))

    async with connected(script) as wire, wire.run("Go.", tools=[nap]) as run:
        await wait_all_tasks_blocked()
        await run.steer("More.")
        assert (await run.finish()).output_text == "two"
        assert run.turns == 2


async def test_a_steer_that_nobody_waits_for_is_said_once(autojump_clock: MockClock) -> None:
    asked: list[Json] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        await trio.sleep(5)
        peer.say(accepted("resp_1"), ended("resp_1", "incomplete"))
        peer.say(successor("resp_2", "resp_1")[0], *call_turn("resp_2", calls("c", "nap"))[1:])
        asked.append(await peer.answer(*text_turn("resp_3", "three")))

    async with connected(script) as wire, wire.run("Go.", tools=[nap]) as run:
        await wait_all_tasks_blocked()
        with trio.move_on_after(1) as scope:
            await run.steer("More.")
        assert scope.cancelled_caught
        assert (await run.finish()).output_text == "three"
    assert [item.get("output") or item.get("content") for item in asked[0]["input"]] == ["slept"]


async def test_a_steer_that_is_taken_late_is_said_once(autojump_clock: MockClock) -> None:
    asked: list[Json] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"), done(calls("c", "nap")))
        await heard(peer)
        await trio.sleep(2 * LIMITS.steer_answer)
        peer.say(accepted("resp_1"), ended("resp_1", output=[calls("c", "nap")]), pending("resp_1"))
        asked.append(await peer.answer(*successor("resp_2", "resp_1", "two")))

    async with connected(script) as wire, wire.run("Go.", tools=[nap]) as run:
        await wait_all_tasks_blocked()
        await run.steer("More.")
        assert (await run.finish()).output_text == "two"
    assert [item.get("output") or item.get("content") for item in asked[0]["input"]] == ["slept"]


async def test_what_is_too_large_to_be_said_is_not_said_later(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await trio.sleep(5)
        peer.say(*text_turn("resp_1", "one")[1:])

    limits = attrs.evolve(LIMITS, message_bytes=4096)
    async with connected(script, limits=limits) as wire, wire.run("Go.") as run:
        await wait_all_tasks_blocked()
        with pytest.raises(LocalProtocolError, match="bytes"):
            await run.steer("x" * 5000)
        assert (await run.finish()).output_text == "one"


async def test_a_successor_that_leaves_traces_is_not_asked_for_twice(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        peer.say(accepted("resp_1"), ended("resp_1", "incomplete"), *successor("resp_2", "resp_1", "tw")[:2])
        await peer.request()

    async def refuse(peer: Peer) -> None:
        raise AssertionError(await peer.request())

    options: dict[str, Any] = {"journal": MemoryJournal(), "key": "job", "store": True}
    async with connected(script) as wire, wire.run("Go.", **options) as run:
        await wait_all_tasks_blocked()
        await run.steer("More.")
        await wait_all_tasks_blocked()
        assert run.turns == 2
    async with connected(refuse) as wire, wire.run("Go.", **options) as run:
        with pytest.raises(RunLost, match="died"):
            await run.finish()


async def test_a_run_that_was_over_takes_no_steer(autojump_clock: MockClock) -> None:
    journal = MemoryJournal()
    async with served(scripted([Turn(Text("Done."))])) as wire:
        async with wire.run("Go.", journal=journal, key="job") as run:
            await run.finish()
        async with wire.run("Go.", journal=journal, key="job") as run:
            with pytest.raises(SteerRefused, match="The run has ended"):
                await run.steer("More.")
            assert (await run.finish()).output_text == "Done."


async def test_a_successor_that_is_lost_is_the_same_turn_when_it_is_asked_for(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        peer.say(accepted("resp_1"), ended("resp_1", "incomplete"), *successor("resp_2", "resp_1", "tw")[:2])
        await trio.sleep(1)
        await peer.wire.abort("cut")

    async def again(peer: Peer) -> None:
        await peer.answer(*text_turn("resp_3", "two"))

    async with connected(script, again) as wire, wire.run("Go.", max_turns=2) as run:
        await wait_all_tasks_blocked()
        await run.steer("More.")
        assert (await run.finish()).output_text == "two"
        counts = run.statistics()
        assert (counts.turns, counts.turns_lost, counts.turns_repeated) == (2, 1, 1)


def _texts(asked: list[Json]) -> list[list[str]]:
    return [[item["content"] for item in request["input"] if item.get("role") == "user"] for request in asked]
