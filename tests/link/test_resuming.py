"""A link in a session: its connection is lost wherever it can be lost, and no request on it notices."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from agentwire.engines.script import Call, Delay, Reasoning, Text, Turn
from agentwire.engines.scripted import ScriptedEngine, scripted
from agentwire.link import Fate, Link, RequestLost, open_link
from agentwire.protocol.codec import decode_event
from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.events import OutputItemDone, ResponseCompleted
from agentwire.protocol.items import FunctionCall, FunctionCallOutput, Item, Message
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest
from agentwire.runtime.contracts import Ask
from agentwire.testing import Fault, MemoryStream, Network, every_frame, network, no_leaks, run
from agentwire.transport.dial import ConnectFailed
from tests.link.lines import refuses
from tests.server.kit import serving

URL = "ws://localhost/v1"
LANES = ("a", "b", "c")


def play(ask: Ask) -> Turn:
    """A call of the client's tool, then an answer; all lanes do the same, at their own pace."""
    answered = any(isinstance(item, FunctionCallOutput) for item in ask.items)
    if answered:
        return Turn(Text("So be it.", pieces=3), Delay(0.3), Text(" Done."))
    return Turn(Reasoning("Hm."), Delay(0.5), Text("Let me see.", pieces=2), Call("look", {"at": "it"}))


def ask(*items: Item, lane: str, after: str | None = None) -> CreateRequest:
    return CreateRequest(model="m", input=items, store=False, stream_id=lane, previous_response_id=after)


@attrs.define
class Played:
    """What came of one rollout: the events of each lane as they came, and what was under them."""

    engine: ScriptedEngine
    net: Network
    events: dict[str, list[bytes]] = attrs.field(factory=dict)
    connections: int = 0

    @property
    def kinds(self) -> dict[str, list[str]]:
        return {lane: [decode_event(frame).type for frame in frames] for lane, frames in self.events.items()}


async def turn(link: Link, request: CreateRequest, events: list[bytes]) -> tuple[str, FunctionCall | None]:
    """One turn: its response's id, and its call."""
    call, ended = None, None
    async with link.exchange(request) as exchange:
        while (frame := await exchange.receive_frame()) is not None:
            events.append(frame)
            event = decode_event(frame)
            if isinstance(event, OutputItemDone) and isinstance(event.item, FunctionCall):
                call = event.item
            if isinstance(event, ResponseCompleted):
                ended = event.response.id
    assert ended is not None
    return ended, call


async def lane_of(link: Link, name: str, events: list[bytes]) -> None:
    first, call = await turn(link, ask(Message("user", "Go."), lane=name), events)
    assert call is not None
    await trio.sleep(0.2)
    await turn(link, ask(FunctionCallOutput(call.call_id, "seen"), lane=name, after=first), events)


async def rollout(faults: Sequence[Fault]) -> Played:
    """Three lanes side by side over one link."""
    played = Played(scripted(play), network(faults=faults))
    async with no_leaks(), serving(played.engine, net=played.net) as rig:
        async with open_link(URL, connector=played.net.connect, resume_within=60) as link:
            with trio.fail_after(100):
                async with trio.open_nursery() as nursery:
                    for name in LANES:
                        nursery.start_soon(lane_of, link, name, played.events.setdefault(name, []))
            played.connections = link.statistics().connections
            assert link.ended is None
            assert link.life.lost_since is None
            assert link.statistics().unexpected == 0
            assert link.statistics().unsent_bytes == 0
        assert rig.server.statistics().running == 0
    return played


def play_through(faults: Sequence[Fault], *, seed: int | None = None) -> Played:
    return run(partial(rollout, faults), seed=seed)


UNCUT = play_through((), seed=0)
BEFORE_THE_SESSION = (
    "client before frame 0",
    "server before frame 0",
    "server in frame 0",
    "reset server before frame 1",
)
"""The handshake and the server's first word, which a reset destroys even if it was sent."""
CUTS = [
    fault
    for fault in every_frame(UNCUT.net.trace, kinds=("cut", "reset"))
    if not any(place in str(fault) for place in BEFORE_THE_SESSION)
]


SESSION = 700
"""Bytes after which each side has a session."""


def check_whole(played: Played) -> None:
    """Every turn came to its end, every event came once, and nothing ran twice."""
    assert played.kinds == UNCUT.kinds
    assert len(played.engine.asks) == 2 * len(LANES)
    assert (played.engine.cancelled, played.engine.running) == ([], 0)


def test_there_are_many_places_to_cut() -> None:
    assert UNCUT.connections == 1
    assert len(CUTS) > 200


@pytest.mark.parametrize("fault", CUTS, ids=str)
def test_cut_anywhere_and_no_request_notices(fault: Fault) -> None:
    played = play_through([fault])
    check_whole(played)
    assert played.connections <= 2


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(["cut", "reset", "half_close"]), st.integers(0, 20_000)), max_size=3))
def test_cut_again_and_again_and_no_request_notices(cuts: list[tuple[str, int]]) -> None:
    sides = ("client", "server")
    faults = [
        Fault(kind, sides[place % 2], at_byte=place // 2 + SESSION * (not number), connection=number)  # type: ignore[arg-type]
        for number, (kind, place) in enumerate(cuts)
    ]
    check_whole(play_through(faults))


async def rest(link: Link, *, lane: str = "a") -> list[str]:
    """One turn, and the types of its events."""
    events: list[bytes] = []
    await turn(link, ask(Message("user", "Go."), lane=lane), events)
    return [decode_event(frame).type for frame in events]


@pytest.mark.parametrize("place", [0, 1])
async def test_before_there_is_a_session_nothing_was_sent(place: int, autojump_clock: MockClock) -> None:
    net = network(faults=[Fault("reset", "server", at_frame=place)])
    async with no_leaks(), serving(scripted(play), net=net):
        with pytest.raises((ConnectionEnded, RequestLost)) as caught:
            async with open_link(URL, connector=net.connect, resume_within=60) as link:
                await rest(link)
    if isinstance(caught.value, RequestLost):
        assert caught.value.fate is Fate.NEVER_SENT


async def test_a_server_without_sessions_loses_what_runs(autojump_clock: MockClock) -> None:
    net = network(faults=[Fault("cut", "server", at_frame=5)])
    async with (
        no_leaks(),
        serving(scripted(play), net=net, extensions=("goaway",)),
        open_link(URL, connector=net.connect, resume_within=60) as link,
    ):
        with pytest.raises(RequestLost) as caught:
            await rest(link)
        assert caught.value.fate is Fate.STARTED
        assert (await link.wait_ended(), link.statistics().connections) == (link.ended, 1)


async def test_nobody_there_any_more(autojump_clock: MockClock) -> None:
    net = network(faults=[Fault("cut", "server", at_frame=5)])
    async with no_leaks(), serving(scripted(play), net=net, resume_within=30):

        async def once() -> MemoryStream:
            if net.links:
                raise ConnectFailed("localhost:80", "nobody listens there")
            return await net.connect()

        async with open_link(URL, connector=once, resume_within=60) as link:
            with pytest.raises(RequestLost, match="not resumed within 30 s") as caught:
                await rest(link)
            assert caught.value.fate is Fate.STARTED
            assert link.life.lost_since is not None
            assert trio.current_time() - link.life.lost_since == pytest.approx(30)
            with pytest.raises(RequestLost) as caught:
                await rest(link)
            assert caught.value.fate is Fate.NEVER_SENT


async def test_a_server_that_was_restarted_has_lost_the_session(autojump_clock: MockClock) -> None:
    nets = [network(faults=[Fault("cut", "server", at_frame=5)]), network()]
    async with (
        no_leaks(),
        serving(scripted(play), net=nets[0]),
        serving(scripted(play), net=nets[1]),
        open_link(URL, connector=lambda: nets[bool(nets[0].links)].connect(), resume_within=60) as link,
    ):
        with pytest.raises(RequestLost, match="the session is lost: No session has this token") as caught:
            await rest(link)
        assert caught.value.fate is Fate.STARTED
        assert link.statistics().connections == 2
        await trio.sleep(61)  # the first server waits for it in vain


async def test_a_busy_server_that_says_when_to_come_back_is_believed(autojump_clock: MockClock) -> None:
    net, busy = network(faults=[Fault("cut", "server", at_frame=5)]), network()
    ways = iter([net.connect, busy.connect, net.connect])
    async with no_leaks(), serving(scripted(play), net=net), trio.open_nursery() as nursery:
        await nursery.start(busy.serve, refuses(503, "retry-after: 25"))
        async with open_link(URL, connector=lambda: next(ways)(), resume_within=60) as link:
            before = trio.current_time()
            assert (await rest(link))[-1] == "response.completed"
            assert 25 <= trio.current_time() - before < 27
        nursery.cancel_scope.cancel(reason="the test is over")


async def test_a_server_that_welcomes_and_goes_away_is_not_stormed(autojump_clock: MockClock) -> None:
    net = network(faults=[Fault("cut", at_time=0.01, connection=None)])
    async with (
        no_leaks(),
        serving(scripted(play), net=net),
        open_link(URL, connector=net.connect, resume_within=60) as link,
    ):
        await trio.sleep(30)
        assert link.ended is None
        assert 5 < link.statistics().connections < 25


async def test_a_connection_that_gets_old_is_replaced_in_the_middle_of_a_turn(autojump_clock: MockClock) -> None:
    engine, net = scripted(Turn(Text("one "), Delay(20), Text("two"))), network()
    limits = Limits(connection_age=20, goaway_notice=5)
    async with (
        no_leaks(),
        serving(engine, net=net, limits=limits),
        open_link(URL, connector=net.connect, resume_within=60) as link,
    ):
        kinds = await rest(link)
        assert kinds.count("response.output_text.delta") == 2
        assert kinds[-1] == "response.completed"
        assert link.statistics().connections == 2
        assert not link.retiring
        assert await rest(link, lane="b") == kinds
        assert link.statistics().connections == 3
    assert (len(engine.asks), engine.cancelled) == (2, [])


@pytest.mark.parametrize("frame", range(2, 6))
async def test_a_refusal_arrives_once_and_a_request_behind_it_runs(frame: int, autojump_clock: MockClock) -> None:
    """What the server has answered with an error is not sent again."""
    engine = scripted(Turn(Text("Hello.")))
    faults = [Fault("reset", "server", at_frame=frame), Fault("cut", "client", at_frame=1, connection=1)]
    net = network(faults=faults)
    async with (
        no_leaks(),
        serving(engine, net=net),
        open_link(URL, connector=net.connect, resume_within=60) as link,
    ):
        async with link.exchange(ask(Message("user", "Go."), lane="a", after="resp_unknown")) as exchange:
            assert [event.type async for event in exchange] == ["error"]
        await rest_of_turn(link)
    assert len(engine.asks) == 1


async def rest_of_turn(link: Link) -> None:
    async with link.exchange(ask(Message("user", "Go."), lane="a")) as exchange:
        assert [event.type async for event in exchange][-1] == "response.completed"


async def test_leaving_while_it_comes_back_ends_at_once(autojump_clock: MockClock) -> None:
    net = network(faults=[Fault("cut", "server", at_frame=5), Fault("stall", "server", at_byte=0, connection=1)])
    async with no_leaks(), serving(scripted(play), net=net):
        before = trio.current_time()
        async with open_link(URL, connector=net.connect, resume_within=60) as link:
            with trio.move_on_after(5):
                await rest(link)
            assert link.ended is None
            assert link.life.lost_since is not None
        assert trio.current_time() - before == pytest.approx(5, abs=0.1)
        await trio.sleep(61)
