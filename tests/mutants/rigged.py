"""What somebody would write with the kit for a server and a client of their own: programs that are cut everywhere.

Each is a test as in the tutorial, over a rig: it survives what may happen, or a turn of it is stopped, left or drained.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

from agentwire.client import TurnCancelled
from agentwire.engines import Call, Delay, Fail, Text, Turn, scripted
from agentwire.engines.scripted import ScriptedEngine
from agentwire.protocol.errors import AgentwireError
from agentwire.protocol.items import Message
from agentwire.runtime.contracts import Ask
from agentwire.runtime.policies import Resume
from agentwire.testing import Fault, Rig, network, open_rig, run, survives

__all__ = ["PROGRAMS"]


def play(ask: Ask) -> Turn:
    """What the latest message asks for."""
    said = [item.text for item in ask.items if isinstance(item, Message) and item.role == "user"]
    match said[-1].split()[0]:
        case "slowly":
            return Turn(Text("one "), Delay(45), Text("two "), Delay(45), Text("three"))
        case "forever":
            return Turn(Text("x" * 5000, pieces=5000, every=1))
        case "soon":
            return Turn(Text("one "), Delay(10), Text("two"))
        case "fail":
            return Turn(Text("well"), Fail())
        case "count" if not ask.step:
            return Turn(Call("count", {"at": 1}))
    return Turn(Text(f"{len(said)}: {said[-1][:20]}", pieces=2, every=0.1))


@survives(engine=scripted(play), policy=Resume(within=30), limit=20)
async def long_turn(rig: Rig) -> None:
    """A turn that takes longer than a session waits for its client, which comes back in time."""
    async with rig.connect() as wire:
        first = await wire.respond("slowly")
        assert first.output_text == "one two three"
        assert (await wire.respond("again", previous_response_id=first.id)).output_text == "2: again"
    assert isinstance(rig.engine, ScriptedEngine)
    assert len(rig.engine.asks) <= 2, "a turn was asked for again, though nothing of it was lost"


async def stopped(rig: Rig) -> None:
    """A turn is stopped, and another one is left; their lanes go on."""
    async with rig.connect() as wire, wire.lane() as lane:
        first = await lane.respond("one")
        async with lane.turn("forever") as turn:
            async for _ in turn:
                if turn.text:
                    break
            await turn.cancel()
            with suppress(TurnCancelled):
                await turn.response()
        with trio.fail_after(5):
            assert (await lane.respond("two", previous_response_id=first.id)).output_text == "2: two"
        async with lane.turn("forever") as turn:
            async for _ in turn:
                if turn.text:
                    break
        with trio.fail_after(5):
            assert (await lane.respond("three")).output_text.endswith("three")
    await rig.gone()


async def torn(rig: Rig) -> None:
    """A long request is given up while it is written; nothing of it is left between what comes before and after."""
    async with rig.connect() as wire:
        await wire.respond("one")
        with trio.move_on_after(1):
            await wire.respond("x" * 200_000)
        with trio.fail_after(1000):
            assert (await wire.respond("two")).output_text.endswith("two")


async def side_by_side(rig: Rig) -> None:
    """Lanes that fail, call a tool of the server and go on do not touch each other."""
    async with rig.connect() as wire, trio.open_nursery() as nursery:

        async def talk(name: str) -> None:
            async with wire.lane(name) as lane:
                first = await lane.respond("one")
                assert first.output_text == "1: one"
                with suppress(AgentwireError):
                    await lane.respond("fail")
                counted = await lane.respond("count", previous_response_id=first.id)
                assert counted.output_text == "2: count"
                last = await lane.respond("two", previous_response_id=counted.id)
                assert last.output_text == "3: two"

        for name in ("a", "b", "c"):
            nursery.start_soon(talk, name)


async def drained(rig: Rig) -> None:
    """A server that shuts down lets a turn come to its end."""
    async with rig.connect() as wire, wire.turn("soon") as turn, trio.open_nursery() as nursery:
        async for _ in turn:
            if turn.text:
                break
        nursery.start_soon(rig.drain)
        assert (await turn.response()).output_text == "one two"


async def count(at: int) -> str:
    """A tool of the server."""
    await trio.sleep(1)
    return str(at)


def _on_a_rig(program: Callable[[Rig], Awaitable[None]], *faults: Fault) -> None:
    async def perform() -> None:
        async with open_rig(scripted(play), net=network(faults=faults)) as rig:
            with trio.fail_after(5000):
                await program(rig)

    run(perform, seed=1)


PROGRAMS: Final[dict[str, Callable[[], None]]] = {
    "long turn": long_turn,
    "stopped": lambda: _on_a_rig(stopped),
    "torn": lambda: _on_a_rig(torn, Fault("slow", "client", rate=2000.0)),
    "side by side": survives(engine=scripted(play), limit=20, tools=[count])(side_by_side),
    "drained": lambda: _on_a_rig(drained),
}
