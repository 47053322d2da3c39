"""A rollout on three lanes, cut wherever it can be cut: nothing is left of it, or nothing of it is lost.

Once at each border of two frames and one byte before and after it; with HYPOTHESIS_PROFILE=campaign at every byte.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from agentwire.engines.script import Call, Delay, Reasoning, Summary, Text, Turn
from agentwire.engines.scripted import ScriptedEngine, scripted
from agentwire.link.progress import Progress
from agentwire.runtime.contracts import Ask
from agentwire.testing import Fault, Network, every_byte, network, run
from agentwire.testing.faults import SIDES, Kind
from agentwire.testing.scan import Frame
from agentwire.testing.trace import Trace
from tests.runtime.kit import Event, check_lanes
from tests.server.comeback import Comeback
from tests.server.kit import Peer, Rig, serving

PLAN = {"a": 2, "b": 1, "c": 2}
"""A client's tool and what follows it; a server's tool between two steps; reasoning, text, and a second turn."""

SCRIPTS = {
    "a": [Turn(Text("Let me see.", pieces=2), Delay(1), Call("theirs", {"y": 2})), Turn(Delay(1), Text("Done."))],
    "b": [Turn(Call("ours", {"x": 1}), Delay(1)), Turn(Text("It is 1.", pieces=2, every=1))],
    "c": [Turn(Reasoning("Hm."), Summary("Thinking."), Delay(1)), Turn(Text("So be it.", pieces=2))],
}
STEPS = sum(len(script) for script in SCRIPTS.values())


def play(ask: Ask) -> Turn:
    """The script of the lane, which the first message names; the step of it that comes next."""
    said = " ".join(str(getattr(item, "content", "")) for item in ask.items)
    lane = next(name for name in SCRIPTS if f"go {name}" in said)
    later = len(ask.items) > 1
    return SCRIPTS[lane][later]


@attrs.define
class Tool:
    """The server's tool: when it ran, and that it was awaited."""

    begun: int = 0
    ended: int = 0
    completed: int = 0

    async def ours(self, x: int) -> str:
        self.begun += 1
        try:
            await trio.sleep(2)
            self.completed += 1
        finally:
            self.ended += 1
        return str(x)


@attrs.define
class Played:
    """What came of one rollout."""

    net: Network
    engine: ScriptedEngine
    tool: Tool
    client: Comeback
    events: list[Event] = attrs.field(factory=list)


async def rollout(faults: Sequence[Fault], *, resume: bool) -> Played:
    """One rollout on a server of its own, with these faults on its network."""
    net, engine, tool = network(faults=faults), scripted(play), Tool()
    async with serving(engine, tools=[tool.ours], net=net) as rig:
        client = Comeback(PLAN, rig.dial, Progress(within=60) if resume else None)
        with trio.fail_after(300):
            await client.run()
        if resume:
            await end_of_session(rig)
        else:
            with trio.fail_after(1):
                await rig.gone()
            await healthy(rig)
    return Played(net, engine, tool, client, client.events)


async def end_of_session(rig: Rig) -> None:
    """The client may be done when its goodbye gets lost: then the session has nothing to do, and ends in time."""
    assert rig.server.statistics().running == 0
    with trio.fail_after(61):
        await rig.gone()


async def healthy(rig: Rig) -> None:
    peer = Peer(await rig.dial())
    await peer.shake_hands()
    await peer.ask("go a")
    await peer.close()


def lanes_of(events: Sequence[Event]) -> dict[str, list[Any]]:
    """Each lane's events without what differs from one server to the next: the ids."""
    lanes: dict[str, list[Any]] = {}
    for event in events:
        lanes.setdefault(event["stream_id"], []).append(_without_ids(event))
    return lanes


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        ids = ("id", "item_id", "call_id", "previous_response_id", "approval_request_id")
        return {key: _without_ids(inner) for key, inner in value.items() if key not in ids}
    return [_without_ids(inner) for inner in value] if isinstance(value, list) else value


def borders(trace: Trace) -> Iterator[Fault]:
    """A cut or a reset at every border of two frames of the first connection, and one byte to each side."""
    for side in SIDES:
        frames = [
            record.what.length
            for record in trace.records
            if isinstance(record.what, Frame) and record.side == side and record.connection == 0
        ]
        at = trace.bytes(side) - sum(length + _header(length, masked=side == "client") for length in frames)
        for number, length in enumerate([0, *frames]):
            at += length + _header(length, masked=side == "client") if number else 0
            kind: Kind = "reset" if number % 3 == 2 else "cut"
            for near in (-1, 0, 1):
                if 0 <= at + near <= trace.bytes(side):
                    yield Fault(kind, side, at_byte=at + near)


def _header(length: int, *, masked: bool) -> int:
    return 2 + (0 if length < 126 else 2 if length < 65536 else 8) + 4 * masked


def positions(trace: Trace) -> list[Fault]:
    if os.environ.get("HYPOTHESIS_PROFILE") == "campaign":
        return list(every_byte(trace, kinds=("cut", "reset")))
    return list(borders(trace))


def play_through(faults: Sequence[Fault], *, resume: bool, seed: int | None = None) -> Played:
    return run(partial(rollout, faults, resume=resume), seed=seed)


UNCUT = {resume: play_through((), resume=resume, seed=0) for resume in (False, True)}
"""Seeded, so that every process that runs a part of the tests knows the same ones."""
WHOLE = lanes_of(UNCUT[True].events)


def test_the_rollout_as_it_is_without_a_cut() -> None:
    assert lanes_of(UNCUT[False].events) == WHOLE
    assert WHOLE.keys() == PLAN.keys()
    for resume, played in UNCUT.items():
        check_lanes(played.events)
        more = 0 if resume else 1  # of `healthy`
        assert (len(played.engine.asks), played.engine.peak, played.client.connections) == (STEPS + more, 3, 1)
    kinds = {event["type"] for events in WHOLE.values() for event in events}
    assert {
        "response.mcp_call.completed",
        "response.reasoning_text.delta",
        "response.function_call_arguments.done",
    } <= kinds
    assert len(UNCUT[True].events) > 60


@pytest.mark.parametrize("fault", positions(UNCUT[False].net.trace), ids=str)
def test_cut_anywhere_under_cancel_nothing_is_left_running(fault: Fault) -> None:
    played = play_through([fault], resume=False)
    assert played.engine.running == 0
    assert all(cancellation.reason for cancellation in played.engine.cancelled)
    assert played.tool.begun == played.tool.ended
    for lane, events in lanes_of(played.events).items():
        assert events == WHOLE[lane][: len(events)]


def check_whole(played: Played) -> None:
    """Every turn was completed, and every event came exactly once."""
    check_lanes(played.events)
    assert lanes_of(played.events) == WHOLE
    assert (len(played.engine.asks), played.engine.running, played.engine.cancelled) == (STEPS, 0, [])
    assert (played.tool.begun, played.tool.completed) == (1, 1)


@pytest.mark.parametrize("fault", positions(UNCUT[True].net.trace), ids=str)
def test_cut_anywhere_and_resumed_every_event_comes_exactly_once(fault: Fault) -> None:
    played = play_through([fault], resume=True)
    check_whole(played)
    assert played.client.connections <= 2


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(list(borders(UNCUT[True].net.trace))), st.integers(0, 5)), max_size=6))
def test_cut_again_and_again_and_resumed_every_event_comes_exactly_once(cuts: list[tuple[Fault, int]]) -> None:
    check_whole(play_through([attrs.evolve(fault, connection=number) for fault, number in cuts], resume=True))
