"""Clients that read slowly: what waits is bounded at every hop, the upstream waits, and no turn is lost."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import trio
from trio.testing import MockClock

from agentwire.protocol.limits import Limits
from agentwire.testing import network
from tests.engines.wire.kit import Hop, hopping, texts
from tests.server.kit import Peer

SIZE = 600_000
LIMITS = Limits(relay_bytes=64 * 1024, turn_buffer_bytes=256 * 1024, window_bytes=32 * 1024)
SMALL = {"limits": LIMITS}
NET = partial(network, keep=False)


def far() -> dict[str, Any]:
    """A server with a second network, on which a byte takes a millisecond."""
    return {"limits": LIMITS, "far": network(bandwidth=1000, capacity=16 * 1024, keep=False)}


def waiting(hop: Hop) -> int:
    return sum(upstream.link.statistics().buffered_bytes for upstream in hop.engine.pool._upstreams)


class Fast:
    """Writes as fast as it may; how much it has written."""

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self.made = 0

    async def __call__(self, ask: Any, out: Any) -> None:
        size = self.size if getattr(ask.items[-1], "text", "") == "long" else 1000
        for _ in range(size // 1000):
            await out.text("x" * 1000)
            self.made += 1000


async def ask_and_go(peer: Peer) -> None:
    await peer.ask("short")
    await peer.close()


async def test_a_client_at_one_kilobyte_a_second(autojump_clock: MockClock) -> None:
    engine = Fast()
    async with hopping(engine, net=NET(), upstream=SMALL, front=far(), limits=LIMITS) as hop:
        peer = await hop.far_peer()
        await peer.create("long")
        held, ahead, read = 0, 0, 0
        while (event := await peer.receive())["type"] != "response.completed":
            if event["type"] == "response.output_text.delta" and engine.made < SIZE:
                read += len(event["delta"])
                held, ahead = max(held, waiting(hop)), max(ahead, engine.made - read)
        assert texts(event["response"]["output"]) == "x" * SIZE
        assert LIMITS.relay_bytes <= held <= LIMITS.relay_bytes + 2000  # it was held up, where it should be
        assert ahead < 400_000  # in all: streams and queues included
        assert hop.engine.statistics().lost == 0
        await peer.close()


async def test_a_slow_client_beside_a_quick_one(autojump_clock: MockClock) -> None:
    """As long as not all that may wait waits, the quick one is not held up."""
    engine = Fast()
    roomy = attrs.evolve(LIMITS, turn_buffer_bytes=6 * SIZE)
    async with hopping(engine, net=NET(), upstream=SMALL, front=far(), limits=roomy, connections=1) as hop:
        slow, quick = await hop.far_peer(), await hop.front.connect()
        await slow.create("long")
        await slow.until("response.output_text.delta")
        for _ in range(5):
            with trio.fail_after(2):
                await quick.ask("short")
        assert hop.engine.statistics().pool.connections == 1
        await quick.close()
        assert waiting(hop) > SIZE
        await slow.until()
        assert texts(slow.events[-1]["response"]["output"]) == "x" * SIZE
        await slow.close()


async def test_when_all_that_may_wait_waits_the_quick_one_is_slowed_and_nothing_lost(autojump_clock: MockClock) -> None:
    engine = Fast()
    async with hopping(engine, net=NET(), upstream=SMALL, front=far(), limits=LIMITS, connections=1) as hop:
        slow, quick = await hop.far_peer(), await hop.front.connect()
        await slow.create("long")
        await slow.until("response.output_text.delta")
        most = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_and_go, quick)
            while (await slow.receive())["type"] != "response.output_text.done":
                most = max(most, waiting(hop)) if engine.made < SIZE else most
        assert LIMITS.turn_buffer_bytes - 32 * 1024 <= most <= LIMITS.turn_buffer_bytes + 2000
        await slow.until()
        assert texts(slow.events[-1]["response"]["output"]) == "x" * SIZE
        await slow.close()


async def test_new_turns_prefer_a_connection_without_a_slow_one(autojump_clock: MockClock) -> None:
    async with hopping(Fast(), net=NET(), upstream=SMALL, front=far(), limits=LIMITS) as hop:
        slow, quick = await hop.far_peer(), await hop.front.connect()
        await slow.create("long")
        await slow.until("response.output_text.delta")
        await trio.sleep(1)
        await quick.ask("short")
        assert hop.engine.statistics().pool.connections == 2
        await trio.aclose_forcefully(slow.stream)
        await hop.idle()
        await quick.close()


async def test_a_slow_client_that_goes_sets_the_connection_free(autojump_clock: MockClock) -> None:
    engine = Fast()
    async with hopping(engine, net=NET(), upstream=SMALL, front=far(), limits=LIMITS, connections=1) as hop:
        slow = await hop.far_peer()
        await slow.create("long")
        await slow.until("response.output_text.delta")
        await trio.sleep(100)
        assert engine.made < SIZE
        await trio.aclose_forcefully(slow.stream)
        await hop.idle()
        assert waiting(hop) == 0
        quick = await hop.front.connect()
        await quick.ask("short")
        assert hop.engine.statistics().pool.opened == 1
        await quick.close()
