"""The connection to the upstream, cut wherever it can be cut: no turn runs twice there, and the next one works."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentwire.engines.script import Call, Delay, Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask
from agentwire.testing import Fault, Network, network, run
from agentwire.testing.faults import SIDES
from tests.engines.wire.kit import Hop, Json, Seen, hopping, outputs, texts
from tests.runtime.kit import check
from tests.server.kit import Peer

LIMITS = Limits(ping_interval=5, ping_timeout=15)
TOOL = {"type": "function", "name": "read", "parameters": {"type": "object"}}


def play(ask: Ask) -> Turn:
    match len(ask.items):
        case 1:
            return Turn(Text("Let me see.", pieces=2), Delay(1), Call("read", {"a": 1}))
        case _:
            return Turn(Delay(1), Text("Done."))


@attrs.define
class Played:
    """What came of it."""

    net: Network
    upstream: Seen
    told: list[list[Json]] = attrs.field(factory=list)
    frames: dict[str, int] = attrs.field(factory=dict)


async def conversation(peer: Peer, played: Played) -> None:
    """Two turns that belong together, and one that does not; what fails is not asked again."""
    first = await ask(peer, played, "Go.", tools=[TOOL])
    if first["status"] == "completed":
        await ask(peer, played, outputs(first), previous_response_id=first["id"], tools=[TOOL])
    await ask(peer, played, "Go on.", tools=[TOOL])


async def ask(peer: Peer, played: Played, given: Any, **fields: Any) -> Json:
    events = await peer.ask(given, **fields)
    check(events)
    played.told.append(events)
    response: Json = events[-1]["response"]
    return response


async def play_out(faults: Sequence[Fault] = ()) -> Played:
    net = network(faults=faults, latency=0.01)
    played = Played(net, Seen(scripted(play)))
    with trio.fail_after(600):
        async with hopping(
            played.upstream, net=net, upstream={"limits": LIMITS}, limits=LIMITS, sources=Sources.seeded(5)
        ) as hop:
            peer = await hop.front.connect()
            await conversation(peer, played)
            played.frames = {side: net.trace.frames(side) for side in SIDES} if net.links else {}
            await hop.idle()
            await trio.sleep(20)  # what is cut off on one side only is noticed on the other one
            await hop.idle()
            await again(hop, peer)
            await peer.close()
    return played


async def again(hop: Hop, peer: Peer) -> None:
    """One more turn, which nothing disturbs, and nothing is in the books after it."""
    events = await peer.ask("Once more.", tools=[TOOL])
    assert events[-1]["type"] == "response.completed"
    shown = hop.engine.statistics().pool
    assert (shown.connections, shown.running, shown.abandoned, shown.waiting) == (1, 0, 0, 0)


@pytest.fixture(scope="module")
def undisturbed() -> Played:
    """The same without a fault."""
    played: list[Played] = []

    async def once() -> None:
        played.append(await play_out())

    run(once, seed=0)
    return played[0]


def test_undisturbed(undisturbed: Played) -> None:
    assert [events[-1]["type"] for events in undisturbed.told] == ["response.completed"] * 3
    assert [texts(events[-1]["response"]["output"]) for events in undisturbed.told[:2]] == ["Let me see.", "Done."]
    assert len(undisturbed.net.links) == 1


@pytest.mark.parametrize(
    ("side", "kind", "middle"),
    [("client", "cut", False), ("client", "cut", True), ("server", "cut", False), ("server", "reset", True)],
)
def test_cut_at_every_frame(undisturbed: Played, side: Any, kind: Any, middle: bool) -> None:
    faults = [Fault(kind, side, at_frame=frame, middle=middle) for frame in range(undisturbed.frames[side])]
    assert len(faults) >= 3
    ends: Counter[str] = Counter()
    for fault in faults:
        played: list[Played] = []

        async def once(fault: Fault = fault, played: list[Played] = played) -> None:
            played.append(await play_out([fault]))

        run(once, seed=0)
        judge(played[0], str(fault))
        ends += Counter(events[-1]["type"] for events in played[0].told)
    assert set(ends) <= {"response.completed", "response.failed"}
    assert ends["response.failed"] > 0


def judge(played: Played, fault: str) -> None:
    for events in played.told:
        kinds = Counter(event["type"] for event in events)
        failed = kinds["response.failed"]
        assert (kinds["error"], kinds["response.completed"]) == (failed, 1 - failed), fault
        if failed:
            assert events[-1]["response"]["error"]["code"] in ("upstream_disconnected", "upstream_unreachable"), fault
    asked = Counter(tuple(getattr(item, "text", item.type) for item in ask.items) for ask in played.upstream.asks)
    assert all(times == 1 for times in asked.values()), (fault, asked)


async def test_turns_that_are_cancelled_at_any_moment(autojump_clock: MockClock) -> None:
    """The client goes after so many milliseconds: before its turn has a lane, has left, has begun, or has ended."""
    net = network(latency=0.01)
    upstream = Seen(scripted(play))
    async with hopping(upstream, net=net, upstream={"limits": LIMITS}, limits=LIMITS, connections=2) as hop:
        for number in range(50):
            peer = await hop.front.connect()
            with trio.move_on_after(number * 0.0246):
                await peer.ask(f"Go {number}.", tools=[TOOL])
            await trio.aclose_forcefully(peer.stream)
        await hop.idle()
        shown = hop.engine.statistics().pool
        assert (shown.running, shown.abandoned, shown.waiting, shown.opening) == (0, 0, 0, 0)
        assert shown.connections <= 2
        peer = await hop.front.connect()
        await again(hop, peer) if shown.connections == 1 else await peer.ask("Once more.")
        await peer.close()
