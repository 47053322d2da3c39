"""A rollout of 20 tools, cut wherever it can be cut: it is done in the end, and no tool has run twice.

In a session, and on a server that has none and so forgets everything with the connection: once at each border of two
frames and one byte before and after it. With HYPOTHESIS_PROFILE=campaign at every byte of both.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from agentwire.client import connect
from agentwire.engines.script import Call, Delay, Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.link import Fate, RequestLost
from agentwire.link.choosing import Transport
from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.events import OutputTextDelta
from agentwire.protocol.hello import EXTENSIONS
from agentwire.protocol.items import Message
from agentwire.runtime.contracts import Ask
from agentwire.testing import Fault, Network, every_byte, every_frame, network, no_leaks, run
from agentwire.testing.faults import KINDS, SIDES, Kind
from tests.client.rollouts import LIMITS, Played, play
from tests.link.peer import URL
from tests.server.kit import serving
from tests.server.test_cut_everywhere import borders

SERVERS: tuple[tuple[str, ...], ...] = (EXTENSIONS, ())
UNCUT = {extensions: play((), extensions, seed=0) for extensions in SERVERS}
"""Seeded, so that every process that runs a part of the tests knows the same ones."""
BORDERS = {extensions: list(borders(uncut.net.trace)) for extensions, uncut in UNCUT.items()}
HEADS = {side: next(fault.at_byte or 0 for fault in BORDERS[EXTENSIONS] if fault.side == side) + 1 for side in SIDES}
"""Bytes of the handshake."""


def positions(extensions: tuple[str, ...]) -> list[Fault]:
    if os.environ.get("HYPOTHESIS_PROFILE") == "campaign":
        trace = UNCUT[extensions].net.trace
        pairs = zip(every_byte(trace), every_byte(trace, kinds=("reset",)), strict=True)
        return [pair[number % 2] for number, pair in enumerate(pairs)]
    return BORDERS[extensions]


def check(played: Played, faults: Sequence[Fault]) -> None:
    """All is done, but where there was no connection to begin with."""
    if played.error is not None and any(fault.connection == 0 and _early(fault) for fault in faults):
        assert played.engine.asks == []
    else:
        played.check()


def _early(fault: Fault) -> bool:
    return fault.at_byte is not None and fault.at_byte <= HEADS[fault.side]


def test_the_rollout_as_it_is_without_a_cut() -> None:
    for extensions, played in UNCUT.items():
        played.check()
        turns = [len(watched.turns) for watched in played.runs]
        assert (turns, len(played.engine.asks)) == ([7, 2], 10)
        assert len(played.net.links) == 1
        assert len(BORDERS[extensions]) > 400


@pytest.mark.parametrize("fault", positions(EXTENSIONS), ids=str)
def test_cut_anywhere_in_a_session(fault: Fault) -> None:
    played = play([fault])
    check(played, [fault])
    assert len(played.engine.asks) in (0, 10)
    assert not any(watched.lost for watched in played.runs)


@pytest.mark.parametrize("fault", positions(()), ids=str)
def test_cut_anywhere_where_the_server_forgets(fault: Fault) -> None:
    check(play([fault], ()), [fault])


def http_positions(step: int) -> list[Fault]:
    """On both of the connections that the two runs take, there and back."""
    trace = play(transport="http", seed=0).net.trace
    kinds: tuple[Kind, ...] = ("cut", "reset")
    return [fault for number in (0, 1) for fault in every_byte(trace, kinds=kinds, step=step, connection=number)]


def test_cut_anywhere_over_http() -> None:
    for fault in http_positions(8_000):
        check(play([fault], (), transport="http"), [fault])


LAST = {side: UNCUT[EXTENSIONS].net.trace.bytes(side) for side in SIDES}


@attrs.frozen
class Plan:
    """What a server has, what the client may use, and what goes wrong."""

    extensions: tuple[str, ...]
    transport: Transport
    faults: list[Fault]

    def play(self, patience: float = math.inf) -> None:
        """Play it, and check what must hold."""
        check(play(self.faults, self.extensions, transport=self.transport, patience=patience), self.faults)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Up to three faults, each perhaps the end of a connection; those that are opened on the way back have theirs."""
    extensions = draw(st.sampled_from(SERVERS))
    transport: Transport = "auto" if extensions else draw(st.sampled_from(("auto", "http")))
    faults: list[Fault] = []
    for number, kind in enumerate(draw(st.lists(st.sampled_from(KINDS), max_size=3))):
        # where a request over HTTP, or a handshake, loses its end alone, a server that can still be heard says 400
        sides = SIDES[1:] if kind == "half_close" and (number or transport == "http") else SIDES
        side = draw(st.sampled_from(sides))
        faults.append(
            Fault(
                kind,
                side,
                at_byte=draw(st.integers(0 if number else HEADS[side], LAST[side])),
                seconds=draw(st.sampled_from((1.0, 30.0, 90.0))),
                size=draw(st.integers(20, 300)),
                rate=2_000.0,
                connection=draw(st.integers(min(number, 1), number)),
            )
        )
    return Plan(extensions, transport, faults)


@settings(max_examples=30)
@given(plans())
def test_whatever_goes_wrong_up_to_three_times(plan: Plan) -> None:
    plan.play()


@settings(max_examples=15)
@given(plans(), st.floats(0, 20))
def test_a_run_that_is_left_meanwhile_takes_nothing_with_it(plan: Plan, patience: float) -> None:
    plan.play(patience)


@pytest.mark.parametrize("extensions", SERVERS, ids=["session", "none"])
def test_a_seed_replays_a_run_to_the_byte(extensions: tuple[str, ...]) -> None:
    plan = [Fault("reset", "server", at_byte=9_000), Fault("stall", "client", at_byte=1_000, connection=1)]
    plan.append(Fault("split", "server", size=7, connection=2))
    one, other = (play(plan, extensions, seed=4) for _ in range(2))
    check(one, plan)
    assert one.net.trace.timeline() == other.net.trace.timeline()
    assert len(one.net.links) > 1


# A turn that somebody watches: what was seen cannot be taken back


@attrs.define
class Seen:
    """What somebody saw of a turn, and how it ended."""

    net: Network
    asks: int = 0
    kinds: list[str] = attrs.field(factory=list)
    text: str = ""
    lost: RequestLost | None = None


async def watch(faults: Sequence[Fault]) -> Seen:
    seen = Seen(network(faults=faults))
    engine = scripted(Turn(Text("one ", pieces=2), Delay(1), Text("two"), Call("look", {"at": "it"})))
    async with no_leaks(), serving(engine, net=seen.net, extensions=(), limits=LIMITS):
        with suppress(ConnectionEnded):
            async with connect(URL, limits=LIMITS, connector=seen.net.connect) as wire, wire.turn("Go.") as turn:
                try:
                    async for event in turn:
                        seen.kinds.append(event.type)
                        seen.text += event.delta if isinstance(event, OutputTextDelta) else ""
                except RequestLost as lost:
                    seen.lost = lost
        await trio.sleep(LIMITS.ping_timeout + 1)
    assert engine.running == 0
    seen.asks = len(engine.asks)
    return seen


WATCHED = run(partial(watch, ()), seed=0)


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_a_turn_that_is_watched_comes_whole_or_says_how_far_it_came(kind: Kind) -> None:
    assert WATCHED.text == "one two"
    ends = set()
    for fault in every_frame(WATCHED.net.trace, kinds=[kind]):
        seen = run(partial(watch, [fault]))
        assert seen.kinds == WATCHED.kinds[: len(seen.kinds)], fault
        assert seen.asks <= 2, fault
        if seen.lost is None:
            assert seen.kinds == WATCHED.kinds or seen.asks == 0, fault
        else:
            assert seen.kinds, fault
            assert seen.lost.fate is Fate.STARTED, fault
            assert (seen.lost.text, bool(seen.lost.response_id)) == (seen.text, True), fault
            assert len(seen.lost.items) == seen.kinds.count("response.output_item.done"), fault
        ends.add((seen.asks, seen.lost is not None))
    assert {(1, False), (1, True), (2, False)} <= ends


# A conversation, turn by turn, of which the client alone remembers everything


def recite(ask: Ask) -> Turn:
    """Say how often each word was said by whom: whatever is lost or doubled shows."""
    said = [f"{item.role[0]}{len(item.text)}" for item in ask.items if isinstance(item, Message)]
    return Turn(Text(" ".join(said), pieces=2, every=0.1))


async def converse(faults: Sequence[Fault], extensions: tuple[str, ...]) -> tuple[Network, list[str]]:
    """Two branches of one conversation; what each turn was answered."""
    net, engine, texts = network(faults=faults), scripted(recite), list[str]()
    async with no_leaks(), serving(engine, net=net, extensions=extensions, limits=LIMITS):
        async with connect(URL, limits=LIMITS, connector=net.connect) as wire:
            latest: str | None = None
            fork: str | None = None
            for number in range(6):
                parent = fork if number == 4 else latest
                response = await wire.respond("x" * (number + 1), previous_response_id=parent)
                latest, fork = response.id, (response.id if number == 1 else fork)
                texts.append(response.output_text)
                await trio.sleep(1)
        await trio.sleep(LIMITS.ping_timeout + 61)
    assert engine.running == 0
    return net, texts


@pytest.mark.parametrize("extensions", SERVERS, ids=["session", "none"])
def test_a_conversation_is_whole_wherever_it_is_cut(extensions: tuple[str, ...]) -> None:
    net, texts = run(partial(converse, (), extensions), seed=0)
    assert texts[2:5] == ["u1 a2 u2 a8 u3", "u1 a2 u2 a8 u3 a14 u4", "u1 a2 u2 a8 u5"]
    later = [fault for fault in every_frame(net.trace, kinds=("cut", "reset"), middle=False) if fault.at_frame]
    for fault in later[::3]:
        assert run(partial(converse, [fault], extensions))[1] == texts, fault
