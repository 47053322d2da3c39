"""However a client goes: what ran for it is cancelled and told why, or goes on until somebody comes back for it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.engines.script import Call, Delay, Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.limits import Limits
from agentwire.runtime.connection import Connection
from agentwire.runtime.contracts import Ask, Out
from agentwire.runtime.policies import Resume
from agentwire.runtime.replay import Seen
from agentwire.runtime.wire_session import WireSession
from agentwire.testing import Fault, Network, cut_points, every_frame, network, no_leaks, run
from agentwire.transport.http11 import HttpConnection
from agentwire.transport.streams import NetworkStream
from agentwire.transport.upgrade import judge_upgrade
from agentwire.transport.websocket import open_server_wire
from tests.runtime.kit import TERMINALS, Event, check_lanes, output_for, service
from tests.runtime.test_resume import seen_in
from tests.server.kit import Closed, Peer, Rig, cut_now, eventually, on_loopback, serving


class Witness:
    """What ran, how it was cancelled, and that its `finally` ran."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.begun: list[str] = []
        self.cancelled: dict[str, str] = {}
        self.ended: list[str] = []
        self.at: dict[str, float] = {}

    @contextmanager
    def sees(self, name: str) -> Iterator[None]:
        self.running.append(name)
        self.begun.append(name)
        try:
            yield
        except trio.Cancelled as cancelled:
            self.cancelled[name] = str(cancelled)
            self.at[name] = trio.current_time()
            raise
        finally:
            self.running.remove(name)
            self.ended.append(name)

    async def engine(self, ask: Ask, out: Out) -> None:
        """Two tools of the server sleep, and so does the step."""
        with self.sees("engine"):
            await out.text("begun")
            await out.call("hang", {"number": 1})
            await out.call("hang", {"number": 2})
            await trio.sleep_forever()

    async def hang(self, number: int) -> None:
        with self.sees(f"tool {number}"):
            try:
                await trio.sleep_forever()
            finally:
                with trio.move_on_after(1, shield=True):
                    await trio.sleep(0.5)  # cleaning up takes its time


EVERYBODY = {"engine", "tool 1", "tool 2"}


async def close(rig: Rig, peer: Peer) -> None:
    await peer.close(1000, "bye")


async def close_without_waiting(rig: Rig, peer: Peer) -> None:
    await peer.stream.send_all(b"\x88\x80\0\0\0\0")
    await peer.stream.aclose()


async def end(rig: Rig, peer: Peer) -> None:
    await peer.stream.aclose()


async def half_close(rig: Rig, peer: Peer) -> None:
    assert isinstance(peer.stream, trio.abc.HalfCloseableStream)
    await peer.stream.send_eof()


async def reset(rig: Rig, peer: Peer) -> None:
    cut_now(rig.net, "reset")


async def cut(rig: Rig, peer: Peer) -> None:
    cut_now(rig.net, "cut")


async def silence(rig: Rig, peer: Peer) -> None:
    cut_now(rig.net, "stall", "client")
    cut_now(rig.net, "stall", "server")


GOODBYES: list[tuple[Callable[[Rig, Peer], Awaitable[None]], str, float]] = [
    (close, "received 1000 bye", 0),
    (close_without_waiting, "received 1005", 0),
    (end, "the peer ended the connection", 0),
    (half_close, "the peer ended the connection", 0),
    (reset, "reset by the peer", 0),
    (cut, "the peer ended the connection", 0),
    (silence, "no sign of life for 60 s", 65),
]


@pytest.mark.parametrize(("goodbye", "reason", "patience"), GOODBYES)
async def test_cancel_everything_ends_with_its_connection(
    goodbye: Callable[[Rig, Peer], Awaitable[None]], reason: str, patience: float, autojump_clock: MockClock
) -> None:
    witness = Witness()
    async with serving(witness.engine, tools=[witness.hang]) as rig:
        peer = await rig.connect()
        await peer.create()
        await wait_all_tasks_blocked()
        assert set(witness.running) == EVERYBODY
        left = trio.current_time()
        await goodbye(rig, peer)
        await rig.gone()
        assert set(witness.cancelled) == set(witness.ended) == EVERYBODY
        assert all(reason in told for told in witness.cancelled.values())
        assert all(moment - left <= patience + 0.5 for moment in witness.at.values())
        assert rig.server.statistics().turns == {"cancelled": 1}
        assert trio.current_time() - left <= patience + 6  # a closing handshake, and the tools' cleaning up


@pytest.mark.parametrize(("goodbye", "reason", "patience"), GOODBYES)
async def test_resume_everything_goes_on_and_ends_at_the_deadline(
    goodbye: Callable[[Rig, Peer], Awaitable[None]], reason: str, patience: float, autojump_clock: MockClock
) -> None:
    witness = Witness()
    async with serving(witness.engine, tools=[witness.hang], on_disconnect=Resume(within=30)) as rig:
        peer = await rig.connect()
        await peer.create()
        await wait_all_tasks_blocked()
        left = trio.current_time()
        await goodbye(rig, peer)
        await trio.sleep(29)
        assert set(witness.running) == EVERYBODY
        await rig.gone()
        assert set(witness.cancelled) == set(witness.ended) == EVERYBODY
        assert all("not resumed within 30 s" in told and reason in told for told in witness.cancelled.values())
        assert all(30 <= moment - left <= 30.5 + patience for moment in witness.at.values())
        await peer.stream.aclose()


async def test_one_client_that_goes_is_no_business_of_another(autojump_clock: MockClock) -> None:
    witness = Witness()
    async with serving(witness.engine, tools=[witness.hang]) as rig:
        peers = [await rig.connect() for _ in range(3)]
        for peer in peers:
            await peer.create(stream_id="a")
            await peer.create(stream_id="b")
        await wait_all_tasks_blocked()
        await peers[1].stream.aclose()
        await eventually(lambda: rig.server.statistics().connections == 2 and len(witness.ended) == 6)
        assert rig.server.statistics().running == 4
        for peer in peers:
            await peer.stream.aclose()
        await rig.gone()


@pytest.mark.parametrize("goodbye", [end, half_close, reset, cut])
@pytest.mark.parametrize("pings", [0, 3])
async def test_a_peer_that_is_stuck_and_pings_and_goes_is_noticed_at_once(
    goodbye: Callable[[Rig, Peer], Awaitable[None]], pings: int, autojump_clock: MockClock
) -> None:
    """Its socket is full, so the answer to its ping cannot be written; that must hold up nothing."""
    cancelled: list[float] = []

    async def endless(ask: Ask, out: Out) -> None:
        try:
            while True:
                await out.text("x" * 1000)
        except trio.Cancelled:
            cancelled.append(trio.current_time())
            raise

    async with serving(endless) as rig:
        peer = await rig.connect()
        await peer.create()
        await wait_all_tasks_blocked()
        for _ in range(pings):
            await peer.ping()
            await trio.sleep(1)
        left = trio.current_time()
        await goodbye(rig, peer)
        await rig.gone()
        assert cancelled == [left]
        assert trio.current_time() - left < 0.1
        await peer.stream.aclose()


# Cut at every frame


async def ours(x: int) -> str:
    await trio.sleep(2)
    return str(x)


def script() -> list[Turn]:
    return [
        Turn(Text("Let me see.", pieces=2), Call("ours", {"x": 1}), Delay(1)),
        Turn(Call("theirs", {"y": 2}), Delay(1)),
        Turn(Delay(1), Text("Done with it.", pieces=3)),
    ]


async def play(peer: Peer) -> None:
    """A rollout: a request, and the output of the client's tool."""
    first = await peer.ask(stream_id="a")
    await peer.ask(output_for(first[-1]), previous_response_id=first[-1]["response"]["id"], stream_id="a")


async def whole_rollout(net: Network) -> None:
    async with serving(scripted(script()), tools=[ours], net=net) as rig:
        peer = await rig.connect()
        await play(peer)
        await peer.close()


EVERY_CUT = list(cut_points(whole_rollout, kinds=("cut", "reset")))


def test_there_are_many_places_to_cut() -> None:
    assert len(EVERY_CUT) > 100


@pytest.mark.parametrize("fault", EVERY_CUT, ids=str)
def test_cut_anywhere_under_cancel_nothing_is_left(fault: Fault) -> None:
    """Whatever the moment: the engine's step and the tools are cancelled with a reason, and the server goes on."""
    witness = Witness()
    engine = scripted(script())

    async def watched(x: int) -> str:
        with witness.sees("tool"):
            await trio.sleep(2)
            return str(x)

    watched.__name__ = "ours"

    async def main() -> None:
        net = network(faults=[fault])
        async with serving(engine, tools=[watched], net=net) as rig:
            peer = Peer(await rig.dial())
            with suppress(Closed):
                await peer.shake_hands()
                await play(peer)
                await peer.close()
            await peer.stream.aclose()
            with trio.fail_after(1):
                await rig.gone()
            assert engine.running == 0
            assert all(cancellation.reason for cancellation in engine.cancelled)
            assert all("reason" in told for told in witness.cancelled.values())
            assert witness.begun == witness.ended
            healthy = await rig.connect()
            await play(healthy)
            await healthy.close()

    run(main)


@attrs.define
class Comeback:
    """A client that comes back to its session whenever its connection breaks, and asks again only what got lost."""

    net: Network
    session: WireSession
    limits: Limits = attrs.field(factory=Limits)
    events: list[Event] = attrs.field(factory=list)

    @property
    def ends(self) -> list[Event]:
        return [event for event in self.events if event["type"] in TERMINALS]

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while len(self.ends) < 2:
                client, server = self.net.pair()
                nursery.start_soon(self.serve, server, seen_in(self.events))
                peer = Peer(client)
                with suppress(Closed):
                    await peer.shake_hands()
                    await self.play(peer)
                await trio.aclose_forcefully(client)
                await trio.sleep(1)

    async def serve(self, stream: NetworkStream, seen: Mapping[str | None, Seen]) -> None:
        """The server's end of one connection, up to the session that it resumes."""
        http = HttpConnection(stream, self.limits)
        request = await http.next_request()
        if request is None:
            await http.aclose()
            return
        head = judge_upgrade(request, http.early)
        with suppress(ConnectionEnded):
            async with open_server_wire(http.take_over()[0], head, limits=self.limits) as wire:
                await Connection(wire, self.session, seen).run()

    async def play(self, peer: Peer) -> None:
        while len(self.ends) < 2:
            if not self.events or self.events[-1] in self.ends:
                event = None
                with trio.move_on_after(0.5):  # if the request arrived, its answer is there at once
                    event = await peer.receive()
                if event is None:
                    await self.ask(peer)
                    continue
            else:
                event = await peer.receive()
            self.events.append(event)

    async def ask(self, peer: Peer) -> None:
        if self.ends:
            response = self.ends[0]["response"]
            await peer.create(output_for(self.ends[0]), previous_response_id=response["id"], stream_id="a")
        else:
            await peer.create(stream_id="a")


async def resumed(faults: Sequence[Fault]) -> tuple[list[Event], Network]:
    net = network(faults=faults)
    engine = scripted(script())
    async with no_leaks(), trio.open_nursery() as nursery:
        session = WireSession(service(engine, ours), principal="tester", policy=Resume(within=60))
        await nursery.start(session.run)
        comeback = Comeback(net, session)
        await comeback.run()
        nursery.cancel_scope.cancel(reason="the test is over")
    assert (len(engine.asks), engine.peak, engine.cancelled) == (3, 1, [])
    return comeback.events, net


UNCUT, UNCUT_NET = run(resumed, (), seed=0)
RESUME_CUTS = list(every_frame(UNCUT_NET.trace, kinds=("cut", "reset", "half_close")))


def in_short(events: Sequence[Event]) -> list[tuple[str, int]]:
    return [(event["type"], event["sequence_number"]) for event in events]


@pytest.mark.parametrize("fault", RESUME_CUTS, ids=str)
def test_cut_anywhere_and_resumed_every_event_comes_once(fault: Fault) -> None:
    events, net = run(resumed, (fault,))
    assert in_short(events) == in_short(UNCUT)
    check_lanes(events)
    assert len(net.links) <= 2


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, len(RESUME_CUTS) - 1), st.integers(0, 3)), max_size=4))
def test_cut_on_many_connections_and_resumed_every_event_comes_once(cuts: list[tuple[int, int]]) -> None:
    faults = [attrs.evolve(RESUME_CUTS[index], connection=connection) for index, connection in cuts]
    events, _ = run(resumed, faults)
    assert in_short(events) == in_short(UNCUT)
    check_lanes(events)


# Real sockets


def _abort(stream: trio.abc.Stream) -> None:
    """Close with a RST."""
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


@pytest.mark.socket
@pytest.mark.parametrize("how", ["close", "end", "reset", "silence"])
async def test_cancel_on_a_real_socket(how: str) -> None:
    witness = Witness()
    limits = Limits(ping_interval=0.1, ping_timeout=0.4)
    async with on_loopback(witness.engine, tools=[witness.hang], limits=limits) as rig:
        peer = await rig.connect()
        await peer.create()
        await eventually(lambda: set(witness.running) == EVERYBODY)
        if how == "close":
            assert (await peer.close(1000)).code == 1000
        elif how == "end":
            await peer.stream.aclose()
        elif how == "reset":
            _abort(peer.stream)
        await rig.gone()
        assert set(witness.cancelled) == set(witness.ended) == EVERYBODY
        expected = {"close": "received 1000", "end": "ended", "reset": "reset", "silence": "no sign of life"}[how]
        assert all(expected in told for told in witness.cancelled.values())


@pytest.mark.socket
async def test_resume_on_a_real_socket() -> None:
    witness = Witness()
    async with on_loopback(witness.engine, tools=[witness.hang], on_disconnect=Resume(within=0.5)) as rig:
        peer = await rig.connect()
        await peer.create()
        await eventually(lambda: set(witness.running) == EVERYBODY)
        _abort(peer.stream)
        await eventually(lambda: not rig.server.statistics().connections)
        assert set(witness.running) == EVERYBODY
        await rig.gone()
        assert all("not resumed within 0.5 s" in told for told in witness.cancelled.values())


@pytest.mark.socket
async def test_a_stuck_peer_that_pings_and_resets_is_noticed_on_a_real_socket() -> None:
    witness = Witness()

    async def endless(ask: Ask, out: Out) -> None:
        with witness.sees("engine"):
            while True:
                await out.text("x" * 1000)

    async with on_loopback(endless) as rig:
        peer = await rig.connect()
        await peer.create()
        await eventually(lambda: witness.running)
        await trio.sleep(0.2)  # by now it is stuck
        await peer.ping()
        await trio.sleep(0.05)
        _abort(peer.stream)
        await rig.gone()
        assert "reset" in witness.cancelled["engine"]
