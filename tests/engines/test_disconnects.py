"""A client that goes takes its upstream request with it, and one that reads slowly slows the upstream down."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

from agentwire.protocol.limits import Limits
from agentwire.protocol.response import Usage
from agentwire.testing import Fault, Flood, Pause, Reply, network, scripted_upstream
from agentwire.testing.recording import RecordingOut, ask_for
from tests.engines.upstreams import KINDS, Kind, client_of, serving, stand
from tests.server.kit import Closed, eventually

Clock = trio.testing.MockClock

KIB = 1024
CUTS = 200
PIECE = 1000


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("said", [False, True], ids=["before its first word", "after it"])
async def test_a_client_that_goes_while_the_model_is_silent(
    kind: Kind, how: str, said: bool, autojump_clock: Clock
) -> None:
    """The upstream sees the end at the same moment of the clock, whatever the model would have said later."""
    silent = kind.begun(end="stall") if said else Reply.raw(end="stall")
    async with stand(kind, silent) as found:
        async with found.client() as peer:
            await peer.create()
            await trio.sleep(17)
            assert found.upstream.open_connections == found.books[1] == 1
            left = trio.current_time()
            if how == "reset":
                peer.stream.reset()  # type: ignore[attr-defined]
        (connection,) = found.upstream.connections
        await connection.closed.wait()
        assert connection.closed_at == left
        assert connection.how in ("eof", "reset")
        assert found.books == (0, 0, 0)


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_what_was_used_is_recorded_whatever_becomes_of_an_answer(kind: Kind, autojump_clock: Clock) -> None:
    """A client that goes early, one that goes late, and an upstream that dies: estimates, as nobody has counted."""
    replies = (Reply.raw(end="stall"), kind.begun(kind.text("nk"), end="stall"), kind.begun(end="reset"))
    async with stand(kind, *replies) as found:
        for outcome, turns, pieces in (("cancelled", 1, 0), ("cancelled", 2, 2), ("failed", 1, 1)):
            before = found.server.statistics().used.get(outcome, Usage())
            async with found.client() as peer:
                await peer.create()
                if outcome == "failed":
                    await peer.until()
                await trio.sleep(1)
            await trio.sleep(1)
            assert found.server.statistics().turns[outcome] == turns
            used = found.server.statistics().used[outcome]
            assert used.input_tokens > before.input_tokens
            assert pieces <= used.output_tokens - before.output_tokens <= pieces + 1


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("ended", ["cancelled", "failed"])
async def test_what_a_summary_used_is_recorded_although_there_is_none(
    kind: Kind, ended: str, autojump_clock: Clock
) -> None:
    reply = kind.begun(kind.text("nk"), end="stall" if ended == "cancelled" else "reset")
    async with stand(kind, reply) as found:
        if kind.name == "responses":
            found.engine.counts = False
        async with found.client() as peer:
            told = [{"role": "user", "content": "z " * 300} for _ in range(10)]
            due = [{"type": "compaction", "compact_threshold": 1000}]
            await peer.create(told, context_management=due)
            await trio.sleep(1)
        await trio.sleep(1)
        statistics = found.server.statistics()
        assert statistics.turns == {ended: 1}
        used = statistics.used[ended]
        assert used.input_tokens > 1000
        assert 2 <= used.output_tokens <= 3
        assert found.books == (0, 0, 0)


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_what_was_never_sent_used_nothing(kind: Kind, autojump_clock: Clock) -> None:
    async def hangs(*_: Any) -> Any:
        await trio.sleep_forever()

    async with kind.open("http://upstream/v1", connector=hangs) as engine:
        out = RecordingOut()
        with trio.move_on_after(1) as left:
            await engine(ask_for("hi"), out)
    assert left.cancelled_caught
    assert out.used is None


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_a_client_that_goes_while_a_tool_runs(kind: Kind, autojump_clock: Clock) -> None:
    """The tool is cancelled at the same moment, nothing goes upstream after it, and nothing stays in the books."""
    ended: list[float] = []
    running = trio.Event()

    async def slow() -> str:
        """Take an hour."""
        running.set()
        try:
            await trio.sleep(3600)
        finally:
            ended.append(trio.current_time())
        return "done"

    async with stand(kind, Reply.stream(*kind.call("slow", "{}")), kind.good(), tools=[slow]) as found:
        async with found.client() as peer:
            await peer.create()
            await running.wait()
            await trio.sleep(17)
            left = trio.current_time()
        await eventually(lambda: ended)
        assert ended[0] == left
        await trio.sleep(100)
        assert len(found.upstream.requests) == 1
        assert found.books[:2] == (0, 0)


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_random_cuts_leave_nothing(kind: Kind, autojump_clock: Clock) -> None:
    """One turn after the other, each cut at some byte of what the client gets; `stand` finds tasks and streams left."""
    chance = random.Random(7)
    pieces = [part for number in range(12) for part in (kind.text(f"word {number} "), Pause(0.1))]
    reply = Reply.stream(*kind.start, *pieces, *kind.end("x"))
    net = network(latency=0.01)
    cut = 0
    async with stand(kind, reply, net=net, upstream_net=network(latency=0.01)) as found:
        for number in range(CUTS):
            how = chance.choice(("cut", "reset"))
            side = chance.choice(("client", "server"))
            place = chance.randrange(1, 500 if side == "client" else 6000)
            net.arm(Fault(how, side, connection=number, at_byte=place))  # type: ignore[arg-type]
            with suppress(Closed, trio.BrokenResourceError):
                async with found.client() as peer:
                    await peer.create()
                    await peer.until()
                    continue
            cut += 1
        await eventually(lambda: not found.server.statistics().sessions)
        await trio.sleep(10)
        assert cut > CUTS / 2
        assert found.books[:2] == (0, 0)
        assert found.upstream.open_connections == found.books[2]


# Back pressure


def endless(kind: Kind) -> Reply:
    """A model that writes as fast as it can."""
    payload = Reply.stream(kind.text("x" * PIECE), done=False).steps[1]
    assert isinstance(payload, bytes)
    whole = payload.partition(b"\r\n")[2].removesuffix(b"\r\n")
    return Reply.stream(*kind.start, Flood(whole))


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_a_client_that_reads_1_kb_a_second_holds_its_upstream_back(kind: Kind, autojump_clock: Clock) -> None:
    """What the upstream could write is what the client has got, and what is in the buffers between them."""
    capacity = 16 * KIB
    limits = Limits(window_bytes=32 * KIB, write_bytes=16 * KIB, response_bytes=1 << 40)
    bound = limits.window_bytes + limits.write_bytes + 2 * capacity + 2 * 64 * KIB
    net, upstream_net = network(capacity=capacity, keep=False), network(capacity=capacity, keep=False)
    async with stand(kind, endless(kind), limits=limits, net=net, upstream_net=upstream_net) as found:
        async with found.client() as peer:
            await peer.create()
            got = 0
            for _ in range(600):
                got += len(await peer.stream.receive_some(KIB))
                await trio.sleep(1)
                assert found.upstream.sent - got < bound
            assert got > 500 * KIB
            assert found.upstream.sent > 200 * KIB
        await found.upstream.connections[0].closed.wait()
        assert found.books == (0, 0, 0)


@pytest.mark.socket
@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_an_upstream_on_a_socket_is_held_back(kind: Kind) -> None:
    """The kernels' buffers are in the way, too: what goes through them is some megabytes, and then nothing moves."""
    limits = Limits(response_bytes=1 << 40)
    with trio.fail_after(20):
        async with (
            scripted_upstream(endless(kind), sockets=True) as upstream,
            kind.open(upstream.url, limits=limits) as engine,
            serving(engine, limits=limits) as server,
        ):
            async with client_of(server) as peer:
                await peer.create()
                before = -1
                while upstream.sent != before or not upstream.sent:
                    before = upstream.sent
                    await trio.sleep(0.25)
                assert upstream.sent < 64 << 20
                await peer.stream.receive_some(KIB)
            await upstream.connections[0].closed.wait()
