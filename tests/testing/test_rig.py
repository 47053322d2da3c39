"""A wire in memory: what it serves, what it takes down, and what it refuses to let pass."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio

import agentwire
from agentwire.client import ToolStarted
from agentwire.engines.script import Call, Delay, Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.protocol.events import OutputTextDelta
from agentwire.testing import InvariantBroken, no_leaks, run
from agentwire.testing.rig import Rig, open_rig

WORK = [Turn(Text("Well."), Call("deploy", {"env": "staging"})), Turn(Text("done"))]


async def deploy(env: str) -> str:
    """Deploy to an environment."""
    await trio.sleep(60)
    return f"{env} is deployed"


async def roll_out(rig: Rig, *tools: Any) -> str:
    async with rig.connect() as wire, wire.run("go", tools=tools or [deploy]) as rollout:
        await rollout.finish()
        return rollout.text


async def rolled_out(**options: Any) -> Rig:
    async with no_leaks(), open_rig(scripted(WORK), **options) as rig:
        assert await roll_out(rig) == "done"
        await rig.gone()
    return rig


def told(rig: Rig) -> list[tuple[str, str, str]]:
    """The work that was noted: the response ids are of no interest."""
    return [
        (entry.event["kind"], entry.type.removeprefix("work."), entry.event.get("how", ""))
        for entry in rig.journal.entries
        if entry.type.startswith("work.")
    ]


def test_a_run_and_what_is_taken_down_of_it() -> None:
    rig = run(rolled_out, seed=0)
    assert told(rig) == [
        ("engine", "started", ""),
        ("engine", "ended", "done"),
        ("tool", "started", ""),
        ("tool", "ended", "done"),
        ("engine", "started", ""),
        ("engine", "ended", "done"),
    ]
    assert [event["type"] for side, _, event in rig.trace.events() if side == "client"] == ["response.create"] * 2
    assert rig.unreached is None


def test_a_seed_replays_a_run_to_the_byte() -> None:
    one, other, third = (run(partial(rolled_out, seed=seed), seed=0).trace.events() for seed in (5, 5, 6))
    assert one == other
    assert one != third


async def test_a_plain_function_takes_no_thread_on_a_virtual_clock(autojump_clock: object) -> None:
    def deploy(env: str) -> str:
        trio.lowlevel.current_task()  # there is none in a thread
        return env

    async with open_rig(scripted(WORK)) as rig:
        assert await roll_out(rig, deploy) == "done"
        assert [kind for kind, *_ in told(rig)].count("tool") == 2


async def run_twice(tool: Any) -> None:
    """Two runs whose model calls with one id."""
    async with open_rig(scripted(Turn(Call("deploy", {"env": "staging"}, call_id="call_1")))) as rig:
        for _ in range(2):
            async with rig.connect() as wire, wire.run("go", tools=[tool], max_turns=1) as rollout:
                with pytest.raises(agentwire.TurnsExhausted):
                    await rollout.finish()


async def test_a_tool_that_runs_twice_is_found(autojump_clock: object) -> None:
    with pytest.raises(InvariantBroken, match="call 'call_1' has run twice"):
        await run_twice(deploy)


async def test_one_that_may_is_not(autojump_clock: object) -> None:
    await run_twice(agentwire.tool(rerun="safe")(deploy))


async def test_what_the_block_raises_comes_out_as_it_is(autojump_clock: object) -> None:
    with pytest.raises(LookupError):
        async with open_rig() as rig, rig.connect():
            raise LookupError


async def cut_in_a_tool(rig: Rig) -> None:
    async with rig.connect() as wire, wire.run("go", tools=[deploy]) as rollout:
        async for step in rollout:
            if isinstance(step, ToolStarted):
                rig.cut()


async def test_the_policy_is_the_clients(autojump_clock: object) -> None:
    async with open_rig(scripted(WORK), policy=agentwire.Cancel()) as rig:
        with pytest.raises(agentwire.ConnectionEnded):
            await cut_in_a_tool(rig)
        assert ("tool", "ended", "cancelled") in told(rig)
        assert rig.unreached is None


async def test_a_server_that_is_killed_and_comes_back(autojump_clock: object) -> None:
    engine = scripted(Turn(Text("hi")))
    async with open_rig(engine, policy=agentwire.Resume(within=60)) as rig:
        async with rig.connect() as wire:
            first = await wire.respond("one", store=True)
            await rig.restart()
            second = await wire.respond("two", previous_response_id=first.id)
        assert second.output_text == "hi"
        assert len(engine.asks[-1].items) == 3


async def test_a_stopped_server_cannot_be_reached(autojump_clock: object) -> None:
    async with open_rig() as rig:
        await rig.stop()
        with pytest.raises(agentwire.ConnectFailed):
            async with rig.connect():
                pass
        assert isinstance(rig.unreached, agentwire.ConnectFailed)
        with pytest.raises(ConnectionRefusedError):
            await rig.dial()
        await rig.start()
        with pytest.raises(RuntimeError, match="runs already"):
            await rig.start()


async def test_a_drained_server_is_gone(autojump_clock: object) -> None:
    slow = scripted(Turn(Text("slow", pieces=4, every=1.0), Delay(3)))
    async with open_rig(slow, policy=agentwire.Cancel()) as rig, rig.connect() as wire, trio.open_nursery() as nursery:
        async with wire.turn("hi") as turn:
            await trio.sleep(1)
            nursery.start_soon(rig.drain)
            assert "".join([event.delta async for event in turn if isinstance(event, OutputTextDelta)]) == "slow"
        assert (await wire.wait_ended()).received is not None
