"""Agents that are tools: each call is a run on a lane of its own, and part of the run that calls it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from agentwire.client import Client
from agentwire.engines import Call, Delay, Hang, Text, Turn, scripted
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.items import FunctionCallOutput, Message
from agentwire.protocol.limits import Limits
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Ask, Finish, Out
from tests.client.served import served


def task(ask: Ask) -> str:
    first = ask.items[0]
    assert isinstance(first, Message)
    return first.text


def outputs(ask: Ask) -> list[str]:
    return [str(item.output) for item in ask.items if isinstance(item, FunctionCallOutput)]


def boss(ask: Ask) -> Turn:
    """Whoever has no instructions delegates four tasks, and the others work on them for ten seconds."""
    if ask.request.instructions is not None:
        return Turn(Delay(10), Text(f"{task(ask)} is done"))
    if outputs(ask):
        return Turn(Text(", ".join(sorted(outputs(ask)))))
    return Turn(*(Call("helper", {"task": f"task {number}"}) for number in range(4)))


async def test_sub_agents_work_at_once_on_one_connection(autojump_clock: MockClock) -> None:
    async with served(scripted(boss)) as wire:
        helper = wire.sub_agent(
            "helper", description="Does it.", instructions="Do it.", model="small", metadata={"a": "b"}
        )
        assert (helper.spec.name, helper.spec.description) == ("helper", "Does it.")
        start = trio.current_time()
        async with wire.run("Go.", tools=[helper]) as run:
            response = await run.finish()
        assert response.output_text == "task 0 is done, task 1 is done, task 2 is done, task 3 is done"
        assert trio.current_time() - start == pytest.approx(10)
        assert wire.statistics().connections == 1
        summary = run.summary()
        own, theirs = summary.usage, summary.sub_usage
        assert own.output_tokens > 0
        assert theirs.output_tokens > 0
        assert (run.usage, run.turns) == (own, 2)


async def test_what_leaving_a_run_ends(autojump_clock: MockClock) -> None:
    reasons: list[str] = []

    async def work() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            reasons.append(str(cancelled.reason))
            raise

    def model(ask: Ask) -> Turn:
        return Turn(Call("work", {})) if ask.request.instructions else Turn(Call("helper", {"task": "x"}))

    engine = scripted(model)
    async with served(engine) as wire:
        helper = wire.sub_agent("helper", instructions="Do it.", tools=[work])
        async with wire.run("Go.", tools=[helper]):
            await trio.sleep(5)
        assert reasons == ["the run was left"]
        assert all(lane.free for lane in wire.line.current.lanes)
        assert engine.running == 0


async def test_a_sub_agent_that_fails_is_told_to_the_model(autojump_clock: MockClock) -> None:
    def model(ask: Ask) -> Turn:
        if ask.request.instructions is not None:
            return Turn(Call("nothing", {}))
        return Turn(Text("Done.")) if outputs(ask) else Turn(Call("helper", {"task": "x"}))

    async with served(scripted(model)) as wire:
        helper = wire.sub_agent("helper", instructions="Do it.", max_turns=3)
        async with wire.run("Go.", tools=[helper]) as run:
            assert (await run.finish()).output_text == "Done."
        (result,) = run.results.values()
        assert result.error is not None
        assert "TurnsExhausted: the model was not done after 3 turns" in result.error


async def test_what_cannot_be_a_sub_agent(autojump_clock: MockClock) -> None:
    async with served(scripted(boss)) as wire:
        with pytest.raises(LocalProtocolError, match="is no name for a tool"):
            wire.sub_agent("two words")
        with pytest.raises(LocalProtocolError, match="a tool is a function"):
            wire.sub_agent("helper", tools=[dict])


async def test_a_sub_agent_has_its_time(autojump_clock: MockClock) -> None:
    def model(ask: Ask) -> Turn:
        if ask.request.instructions is not None:
            return Turn(Hang())
        return Turn(Text("Done.")) if outputs(ask) else Turn(Call("helper", {"task": "x"}))

    engine = scripted(model)
    async with served(engine) as wire:
        helper = wire.sub_agent("helper", instructions="Do it.", timeout=60)
        async with wire.run("Go.", tools=[helper]) as run:
            await run.finish()
        (result,) = run.results.values()
        assert "helper did not finish within 60 s" in str(result.error)
        assert len(engine.cancelled) == 1


def nesting(depth: int) -> Any:
    """A model whose agents delegate, each to two of the next depth, until that many are nested."""

    def model(ask: Ask) -> Turn:
        level = int(ask.request.metadata["level"]) if ask.request.metadata else 0
        if level == depth:
            return Turn(Delay(1), Text("leaf"))
        if outputs(ask):
            return Turn(Text(f"({' '.join(outputs(ask))})"))
        return Turn(Call("ask", {"number": 0}), Call("ask", {"number": 1}))

    return model


def asking(wire: Client, level: int, concurrency: int) -> Any:
    """A plain function as a tool, which runs an agent that has the same tool, one level deeper."""

    async def ask(number: int) -> str:
        metadata = {"level": str(level + 1)}
        tools = [asking(wire, level + 1, concurrency)]
        async with wire.run(f"{number}", tools=tools, metadata=metadata, concurrency=concurrency) as run:
            return (await run.finish()).output_text

    return ask


@pytest.mark.parametrize(("lanes", "concurrency"), [(32, 8), (2, 8), (1, 8), (1, 1), (32, 1)])
async def test_nested_runs_never_wait_for_each_other(autojump_clock: MockClock, lanes: int, concurrency: int) -> None:
    """Runs of three levels need more lanes, and more places for tools, than there are."""
    with trio.fail_after(600):
        async with served(scripted(nesting(3)), limits=Limits(lanes=lanes)) as wire:
            async with wire.run("Go.", tools=[asking(wire, 0, concurrency)], concurrency=concurrency) as run:
                text = (await run.finish()).output_text
            pair = "(leaf leaf)"
            assert text == f"(({pair} {pair}) ({pair} {pair}))"
            assert all(lane.free for lane in wire.line.current.lanes)


async def test_usage_of_all_levels_is_in_the_summary(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> Finish:
        turn = nesting(2)(ask)
        for piece in turn.pieces:
            await piece.perform(ask, out)
        return Finish(usage=Usage(output_tokens=1))

    async with served(engine) as wire:
        async with wire.run("Go.", tools=[asking(wire, 0, 8)]) as run:
            await run.finish()
        assert run.usage.output_tokens == 2
        assert run.summary().sub_usage.output_tokens == 4 + 2 * 2  # the leaves, and two agents with two turns each


async def test_runs_are_not_nested_without_end(autojump_clock: MockClock) -> None:
    async with served(scripted(nesting(9)), limits=Limits(nested_runs=1)) as wire:
        async with wire.run("Go.", tools=[asking(wire, 0, 8)]) as run:
            text = (await run.finish()).output_text
        assert text.count("runs are nested 1 deep, and may not be deeper") == 4
        assert run.summary().sub_usage != Usage()
