"""A run that is told things at any moment, by callers who may not wait, while its connection may be cut.

The model hears each of them once, in a conversation that makes sense.
"""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentwire.client import Client, MemoryJournal, Run
from agentwire.engines import Call, Delay, Stop, Text, Turn, scripted
from agentwire.link import SteerRefused
from agentwire.protocol.hello import EXTENSIONS
from agentwire.protocol.items import FunctionCall, FunctionCallOutput, Message
from agentwire.runtime.contracts import Ask
from tests.client.served import served


@attrs.define
class Play:
    """What happens by chance; a seed replays it."""

    chance: Random
    asked: int = 0
    ran: list[str] = attrs.field(factory=list)
    told: set[str] = attrs.field(factory=set)
    refused: set[str] = attrs.field(factory=set)
    perhaps: set[str] = attrs.field(factory=set)

    def model(self, ask: Ask) -> Turn:
        self.asked += 1
        if not 1 < self.asked < 8:
            return Turn(Text("Done."))
        one, other = Delay(self.chance.random() * 3), Delay(self.chance.random() * 3)
        call = Call("nap", {"name": f"nap {self.asked}"})
        return self.chance.choice(
            [
                Turn(Text("So"), one, call, other),
                Turn(Text("I am going on.", pieces=5, every=self.chance.random())),
                Turn(call, one, Stop("max_output_tokens")),
                Turn(Text("So"), one, Stop("max_output_tokens")),
            ]
        )

    async def nap(self, name: str) -> str:
        self.ran.append(name)
        await trio.sleep(self.chance.random() * 6)
        return name

    async def tell(self, run: Run, text: str) -> None:
        """Say something to the run; not always wait until that is taken."""
        await trio.sleep(self.chance.random() * 12)
        self.perhaps.add(text)
        with trio.move_on_after(self.chance.choice([0, 0.001, 0.1, 50])):
            try:
                await run.steer(text)
                self.told.add(text)
            except SteerRefused:
                self.refused.add(text)

    async def cut(self, wire: Client) -> None:
        await trio.sleep(self.chance.random() * 12)
        await wire.line.current.abort("cut")  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_a_run_is_told_is_said_once(autojump_clock: MockClock, seed: int) -> None:
    play = Play(Random(seed))
    engine = scripted(play.model)
    async with served(engine, extensions=EXTENSIONS if seed % 3 == 0 else ()) as wire:
        first = await wire.respond("Hello.")
        options: dict[str, Any] = {"previous_response_id": first.id, "journal": MemoryJournal(), "key": "job"}
        async with wire.run("Go.", tools=[play.nap], **options) as run, trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(partial(play.tell, run, f"remark {number}"))
            if seed % 2:
                nursery.start_soon(play.cut, wire)
            last = await run.finish()
            nursery.cancel_scope.cancel(reason="the run is over")
        calls = [item for item in last.output if isinstance(item, FunctionCall)]
        answers = [FunctionCallOutput(call.call_id, run.results[call.call_id].output) for call in calls]
        await wire.line.current.abort("cut")  # type: ignore[attr-defined]
        await wire.respond([*answers, Message("user", "So?")], previous_response_id=last.id)
    words = [item.text for item in engine.asks[-1].items if isinstance(item, Message) and item.role == "user"]
    assert len(words) == len(set(words))
    assert play.told <= set(words) <= {"Hello.", "Go.", "So?", *play.perhaps - play.refused}
    assert len(play.ran) == len(set(play.ran))
