"""The client for asyncio: awaited calls and async iterators, over one Trio loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import agentwire
import agentwire.aio
from agentwire.client import ToolFinished
from agentwire.engines.script import Call, Delay, Hang, Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.protocol.events import OutputTextDelta
from tests.client.threads import loops, serving

pytestmark = pytest.mark.socket


def play(engine: agentwire.Engine, client: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    """Run a client in an asyncio loop, against a server with this engine; it leaves no Trio loop behind."""

    async def bounded(url: str) -> None:
        async with asyncio.timeout(30):
            await client(url)

    with serving(engine) as url:
        asyncio.run(bounded(url))
    assert not loops()


def test_a_whole_answer_and_a_turn_event_by_event() -> None:
    async def client(url: str) -> None:
        async with agentwire.aio.connect(url) as wire:
            response = await wire.respond("Count.")
            assert response.output_text == "one two"
            async with wire.turn("Count.") as turn:
                said = [event.delta async for event in turn if isinstance(event, OutputTextDelta)]
                assert "".join(said) == turn.text == (await turn.response()).output_text == "one two"
                assert turn.response_id is not None
                assert turn.stream_id is None
                assert len(turn.items) == 1
            assert wire.ended is None
            assert wire.statistics().events > 10

    play(scripted(Turn(Text("one two", pieces=2))), client)


def test_an_async_tool_runs_in_the_callers_loop_and_a_plain_one_in_a_thread() -> None:
    where: list[object] = []

    async def double(x: int) -> int:
        where.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return 2 * x

    def half(x: int) -> int:
        where.append(threading.current_thread())
        return x // 2

    async def client(url: str) -> None:
        async with (
            agentwire.aio.connect(url, tools=[half]) as wire,
            wire.run("Double 21.", tools=[double, {"type": "web_search"}]) as run,
        ):
            results = {step.call.name: step.result.text async for step in run if isinstance(step, ToolFinished)}
            assert results == {"double": "42", "half": "21"}
            assert (await run.finish()).output_text == run.text == "Done."
        assert asyncio.get_running_loop() in where
        assert threading.main_thread() not in where

    play(scripted([Turn(Call("double", {"x": 21}), Call("half", {"x": 42})), Turn(Text("Done."))]), client)


def test_what_an_async_tool_raises_is_the_models_to_read() -> None:
    async def broken() -> None:
        raise ValueError("no disk")

    async def gone() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(60)

    async def client(url: str) -> None:
        async with agentwire.aio.connect(url) as wire, wire.run("Go.", tools=[broken, gone]) as run:
            await run.finish()
            errors = {result.error for result in run.results.values()}
            assert errors == {"ValueError: no disk", "it was cancelled"}

    play(scripted([Turn(Call("broken", {}), Call("gone", {})), Turn(Text("Done."))]), client)


def test_leaving_a_run_cancels_its_tools_here_and_waits_for_their_cleanup() -> None:
    cleaned: list[str] = []
    started = asyncio.Event()

    async def slow() -> None:
        try:
            started.set()
            await asyncio.sleep(600)
        finally:
            await asyncio.sleep(0.01)
            cleaned.append("slow")

    async def client(url: str) -> None:
        async with agentwire.aio.connect(url) as wire:
            async with wire.run("Go.", tools=[slow]):
                await started.wait()
            assert cleaned == ["slow"]

    play(scripted([Turn(Call("slow", {})), Turn(Text("Done."))]), client)


def test_a_cancelled_task_cancels_the_turn() -> None:
    engine = scripted([Turn(Delay(600), Text("late")), Turn(Text("Hello."))], order="calls")

    async def client(url: str) -> None:
        async with agentwire.aio.connect(url) as wire:
            task = asyncio.create_task(wire.respond("Hi."))
            while not engine.running:  # noqa: ASYNC110 - it runs in another thread
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await wire.respond("Hi again.")).output_text == "Hello."

    play(engine, client)
    assert len(engine.cancelled) == 1


def test_a_cancelled_iteration_goes_on_where_it_was() -> None:
    async def client(url: str) -> None:
        async with agentwire.aio.connect(url) as wire, wire.turn("Count.") as turn:
            pieces = [await anext(event.delta async for event in turn if isinstance(event, OutputTextDelta))]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anext(turn)
            pieces += [event.delta async for event in turn if isinstance(event, OutputTextDelta)]
            assert pieces == ["one ", "two"]

    play(scripted(Turn(Text("one "), Delay(0.3), Text("two"))), client)


def test_errors_are_raised_where_the_caller_is() -> None:
    async def failing(ask: agentwire.Ask, out: agentwire.Out) -> None:
        raise agentwire.EngineError("out of order", code="broken", status=503)

    async def client(url: str) -> None:
        async with agentwire.aio.connect(url) as wire:
            with pytest.raises(agentwire.ResponseError, match="out of order"):
                await wire.respond("Hi.")
        with pytest.raises(agentwire.ConnectFailed):
            async with agentwire.aio.connect("ws://127.0.0.1:1/v1"):
                pass

    play(failing, client)


def test_a_closed_connection_is_told_whoever_asks() -> None:
    async def main(url: str) -> None:
        async with agentwire.aio.connect(url) as wire:
            pass
        for context in (wire.turn, wire.run, wire.lane):
            with pytest.raises(agentwire.RequestLost):
                async with context():
                    pass
        assert await wire.wait_ended() is wire.ended

    with serving(scripted(Turn(Text("Hello.")))) as url:
        asyncio.run(main(url))
    assert not loops()


def test_lanes_steering_and_cancelling() -> None:
    engine = scripted([Turn(Hang()), Turn(Text("Only tests.")), Turn(Text("Let me"), Hang())], order="calls")

    async def client(url: str) -> None:
        async with agentwire.aio.connect(url) as wire:
            ready = await wire.warm_up(instructions="Be brief.")
            async with wire.lane() as lane, lane.turn("Look.", previous_response_id=ready.id) as turn:
                steer = await turn.steer("Only tests.")
                assert (await turn.response()).output_text == "Only tests."
                assert await steer.delivered() == turn.response_id
                assert [await one.delivered() for one in turn.steers] == [turn.response_id]
                assert turn.stream_id == lane.name
            async with wire.turn("Look.") as turn:
                reading = asyncio.create_task(anext(turn))
                await reading
                await turn.cancel()
                assert [event async for event in turn] == []
                with pytest.raises(agentwire.TurnCancelled):
                    await turn.response()

    play(engine, client)


def test_a_sub_agent_whose_tools_run_in_the_callers_loop() -> None:
    where: list[object] = []

    async def look(word: str) -> str:
        where.append(asyncio.get_running_loop())
        return f"{word} is there"

    def model(ask: agentwire.Ask) -> Turn:
        if ask.request.instructions == "Search.":
            return Turn(Text("found")) if len(ask.items) > 1 else Turn(Call("look", {"word": "x"}))
        return Turn(Text("Done.")) if len(ask.items) > 1 else Turn(Call("search", {"task": "x"}))

    async def client(url: str) -> None:
        async with agentwire.aio.connect(url) as wire:
            search = wire.sub_agent("search", instructions="Search.", tools=[look])
            async with wire.run("Go.", tools=[search]) as run:
                assert (await run.finish()).output_text == "Done."
            assert [result.text for result in run.results.values()] == ["found"]
            assert where == [asyncio.get_running_loop()]

    play(scripted(model), client)
