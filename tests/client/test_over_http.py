"""The same client over plain HTTP: lanes side by side, a turn that is cancelled, and what HTTP cannot do."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.client import TurnCancelled
from agentwire.engines import Delay, Hang, Text, Turn, scripted
from agentwire.link import SteerRefused
from agentwire.protocol.errors import RequestError
from agentwire.protocol.items import Message
from agentwire.runtime.contracts import Ask
from tests.client.served import served


async def test_a_cancelled_turn_closes_its_connection(autojump_clock: MockClock) -> None:
    engine = scripted([Turn(Text("Let me"), Hang()), Turn(Text("two"))], order="calls")
    async with served(engine, transport="http") as wire:
        async with wire.turn("one") as turn:
            await turn.__anext__()
            await turn.cancel()
            with pytest.raises(TurnCancelled):
                await turn.response()
            await trio.sleep(1)
            assert len(engine.cancelled) == 1  # on the server, too
        assert (await wire.respond("two")).output_text == "two"


async def test_a_turn_cannot_be_steered_and_a_run_is_told_between_its_turns(autojump_clock: MockClock) -> None:
    engine = scripted([Turn(Delay(1), Text("one")), Turn(Delay(1), Text("two")), Turn(Text("three"))], order="calls")
    async with served(engine, transport="http") as wire:
        async with wire.turn("Look.") as turn:
            with pytest.raises(SteerRefused) as caught:
                await turn.steer("Also check X.")
            assert (caught.value.code, caught.value.input) == ("steering_not_supported", "Also check X.")
            assert (await turn.response()).output_text == "one"
        async with wire.run("Go.") as run:
            await wait_all_tasks_blocked()
            await run.steer("More.")
            assert (await run.finish()).output_text == "three"
    said = [item.text for item in engine.asks[-1].items if isinstance(item, Message) and item.role == "user"]
    assert said == ["Go.", "More."]


async def test_there_is_no_warm_up(autojump_clock: MockClock) -> None:
    async with served(scripted(Turn(Text("one"))), transport="http") as wire:
        with pytest.raises(RequestError) as caught:
            await wire.warm_up(instructions="Be brief.")
        assert (caught.value.status, caught.value.param) == (400, "generate")


async def test_lanes_side_by_side(autojump_clock: MockClock) -> None:
    def model(ask: Ask) -> Turn:
        return Turn(Delay(1), Text(str(len(ask.items))))

    async with served(scripted(model), transport="http") as wire, wire.lane("a") as one, wire.lane("b") as two:
        start = trio.current_time()
        texts: list[str] = []

        async def ask(lane: object, text: str) -> None:
            texts.append((await lane.respond(text)).output_text)  # type: ignore[attr-defined]

        async with trio.open_nursery() as nursery:
            for lane in (one, two, two):
                nursery.start_soon(ask, lane, "hi")
        assert texts == ["1", "1", "1"]
        assert trio.current_time() - start == pytest.approx(2)  # on one lane, one after the other
