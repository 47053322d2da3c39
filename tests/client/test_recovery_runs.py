"""A run whose turn is lost in the middle: its calls stand, or it is asked again, or it ends with what it has."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from agentwire.client import RunLost, ToolLike, TurnLost, TurnStarted
from agentwire.link import Fate
from agentwire.protocol.errors import RequestError
from agentwire.testing import no_leaks
from tests.client.kit import connected, steps_of
from tests.client.test_recovery import MCP_CALL, Asked, forget
from tests.link.peer import Json, call, call_turn, created, delta, done, ended, error, message, text_turn

CALL = call("c1", "grep", '{"pattern":"x"}')
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": []}
CLICK = {"type": "computer_call", "id": "cc_1", "call_id": "c9", "action": {}, "status": "completed"}
WORKING = {"type": "response.output_item.added", "output_index": 1, "item": {**MCP_CALL, "output": None}}


class Grep:
    """A tool that counts, and takes its time."""

    def __init__(self) -> None:
        self.ran = 0

    async def grep(self, pattern: str) -> str:
        self.ran += 1
        await trio.sleep(30)
        return f"found {pattern}"


async def test_the_calls_of_a_lost_turn_stand(autojump_clock: MockClock) -> None:
    asked, tool = Asked(), Grep()
    began = [created("resp_1"), done(THOUGHT), done(message("Look."), 1), done(CALL, 2), delta("and")]
    async with (
        no_leaks(),
        connected(asked.lose(*began), asked.answer(text_turn("resp_2", "done"))) as wire,
        wire.run("Go.", tools=[tool.grep]) as run,
    ):
        steps = await steps_of(run)
        assert run.text == "done"
        summary, told = run.summary(), run.statistics()
        assert (summary.lost, summary.repeated, summary.turns) == (1, 0, 2)
        assert (told.turns_lost, told.turns_repeated) == (1, 0)
        assert [step for step in steps if isinstance(step, TurnLost)] == [TurnLost(1, Fate.STARTED, repeated=False)]
    assert asked.says(1) == (None, ["Go.", "Look.", "function_call", "function_call_output"])
    assert tool.ran == 1


async def test_a_lost_turn_without_calls_is_asked_again(autojump_clock: MockClock) -> None:
    asked = Asked()
    half = [created("resp_1"), delta("never mind")]
    async with (
        no_leaks(),
        connected(asked.lose(*half), asked.lose(*half), asked.answer(text_turn("resp_2", "done"))) as wire,
        wire.run("Go.") as run,
    ):
        steps = await steps_of(run)
        assert (run.text, run.turns, run.summary().lost, run.summary().repeated) == ("done", 1, 2, 2)
    assert [step for step in steps if isinstance(step, TurnStarted | TurnLost)] == [
        TurnStarted(1, "resp_1"),
        TurnLost(1, Fate.STARTED, repeated=True),
        TurnStarted(1, "resp_1"),
        TurnLost(1, Fate.STARTED, repeated=True),
        TurnStarted(1, "resp_2"),
    ]


async def test_a_loss_counts_once_where_nobody_answers_any_more(autojump_clock: MockClock) -> None:
    asked = Asked()
    async with (
        no_leaks(),
        connected(asked.lose(created("resp_1"), delta("never mind"))) as wire,
        wire.run("Go.") as run,
    ):
        with pytest.raises(RunLost, match="started") as caught:
            await run.finish()
    assert (caught.value.summary.lost, caught.value.summary.repeated) == (1, 0)
    assert caught.value.text == "never mind"


@pytest.mark.parametrize("unknown", [WORKING, done(CLICK, 1)])
async def test_a_call_that_was_started_is_not_asked_for_again(autojump_clock: MockClock, unknown: Json) -> None:
    """Neither can the turn stand, as nobody knows what the server's own tool did, or what answers the computer."""
    asked, tool = Asked(), Grep()
    tools: list[ToolLike] = [tool.grep, {"type": "computer"}]
    async with (
        no_leaks(),
        connected(asked.lose(created("resp_1"), done(CALL), unknown), asked.answer(text_turn("resp_2", "no"))) as wire,
        wire.run("Go.", tools=tools) as run,
    ):
        with pytest.raises(RunLost, match="started") as caught:
            await run.finish()
    assert [result.text for result in caught.value.summary.results.values()] == ["found x"]
    assert (caught.value.summary.lost, len(asked.requests)) == (1, 1)


async def test_always_goes_on_from_there(autojump_clock: MockClock) -> None:
    asked, tool = Asked(), Grep()
    lose = asked.lose(created("resp_1"), done(CALL), WORKING)
    async with (
        connected(lose, asked.answer(text_turn("resp_2", "done")), repeat="always") as wire,
        wire.run("Go.", tools=[tool.grep]) as run,
    ):
        assert (await run.finish()).output_text == "done"
    assert tool.ran == 1


async def test_a_run_can_be_continued_over_another_connection(autojump_clock: MockClock) -> None:
    asked, tool = Asked(), Grep()
    turns = text_turn("resp_1", "one"), call_turn("resp_2", CALL), text_turn("resp_3", "three")
    async with connected(
        asked.answer(*turns), asked.answer(call_turn("resp_4", CALL), text_turn("resp_5", "five"))
    ) as wire:
        first = await wire.respond("1", previous_response_id="resp_0")
        async with wire.run("2", tools=[tool.grep], previous_response_id=first.id) as run:
            third = await run.finish()
        await forget(wire)
        async with wire.run("4", tools=[tool.grep], previous_response_id=third.id) as run:
            await run.finish()
    worked = ["function_call", "function_call_output"]
    assert asked.says(1) == ("resp_1", ["2"])
    assert asked.says(2) == ("resp_2", ["function_call_output"])
    assert asked.says(3) == ("resp_0", ["1", "one", "2", *worked, "three", "4"])
    assert asked.says(4) == ("resp_4", ["function_call_output"])


async def test_what_a_runs_turn_compacted_is_not_said_again(autojump_clock: MockClock) -> None:
    asked, tool = Asked(), Grep()
    compaction = {"type": "compaction", "id": "cmp_1", "encrypted_content": "folded"}
    compacting = [created("resp_1"), ended("resp_1", output=[message("lost"), compaction, CALL])]

    async with (
        connected(asked.answer(compacting, [error("previous_response_not_found")], text_turn("resp_2", "done"))) as w,
        w.run("Go.", tools=[tool.grep], previous_response_id="resp_0") as run,
    ):
        await run.finish()
    assert asked.says(1) == ("resp_1", ["function_call_output"])
    assert asked.says(2) == (None, ["compaction", "function_call", "function_call_output"])


async def test_what_was_continued_and_is_gone_is_asked_for_once(autojump_clock: MockClock) -> None:
    asked, tool, refused = Asked(), Grep(), error("previous_response_not_found")
    async with (
        connected(asked.answer(call_turn("resp_1", CALL), [refused], [refused])) as wire,
        wire.run("Go.", tools=[tool.grep], previous_response_id="resp_0") as run,
    ):
        with pytest.raises(RequestError, match="previous_response_not_found"):
            await run.finish()
    assert [asked.says(index)[0] for index in range(3)] == ["resp_0", "resp_1", "resp_0"]
