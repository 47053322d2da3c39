"""A line to a server that does anything: whoever asks gets an answer or a typed error, in time, and nothing is left."""

from __future__ import annotations

from functools import partial

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from agentwire.link import Exchange, Line
from agentwire.protocol.errors import AgentwireError, ConnectionEnded
from agentwire.protocol.events import OutputTextDelta
from agentwire.testing import no_leaks, run
from tests.link.lines import Serve, ask, echo, follows, leaves, lined, refuses
from tests.link.peer import LIMITS, Peer, created, delta, error

QUICK = attrs.evolve(LIMITS, first_event=20, event_silence=20, rotate_after=100, reconnect_longest=2)
WITHIN = 15


async def breaks(peer: Peer) -> None:
    request = await peer.request()
    peer.say(created("resp_x"), delta("half"), lane=request.get("stream_id"))
    peer.stream.reset()


async def resets(peer: Peer) -> None:
    await peer.request()
    peer.stream.reset()


async def forgets(peer: Peer) -> None:
    await peer.request()
    await trio.sleep_forever()


async def grows_old(peer: Peer) -> None:
    request = await peer.request()
    peer.say(error("websocket_connection_limit_reached"), lane=request.get("stream_id"))
    await trio.sleep(1)
    await peer.wire.close(1001)


async def rejects(peer: Peer) -> None:
    await peer.request()
    await peer.wire.close(1008)


async def drains(peer: Peer) -> None:
    peer.say({"type": "agentwire:goaway", "reason": "drain", "seconds": 30})
    await echo(peer)


async def stalls(stream: object) -> None:
    await trio.sleep_forever()


SERVERS: list[Serve] = [
    *(follows(script) for script in (echo, breaks, resets, forgets, grows_old, rejects, drains)),
    leaves,
    stalls,
    refuses(503),
    refuses(503, "retry-after: 3"),
    refuses(401),
]


@attrs.define
class Answers:
    """What came of the requests."""

    right: int = 0
    errors: int = 0
    longest: float = 0.0


async def one(line: Line, text: str, answers: Answers) -> None:
    """Ask until there is an answer; each single attempt is over in time."""
    while True:
        began = trio.current_time()
        try:
            way = await line.way()
            async with way.exchange(ask(text)) as exchange:
                said = await _read(exchange)
        except AgentwireError:
            answers.errors += 1
            said = None
        answers.longest = max(answers.longest, trio.current_time() - began)
        if said is not None:
            assert said == f"<{text}>"
            answers.right += 1
            return
        await trio.sleep(1)


async def _read(exchange: Exchange) -> str | None:
    events = [event async for event in exchange]
    if events and events[-1].type == "error":
        raise ConnectionEnded(cause="refused")
    return "".join(event.delta for event in events if isinstance(event, OutputTextDelta))


async def play(servers: list[Serve], callers: int) -> None:
    answers = Answers()
    scripts = (follows(echo), *servers, follows(echo))
    async with (
        no_leaks(),
        lined(*scripts, limits=QUICK, transport="websocket", resume_within=WITHIN) as (line, _),
        trio.open_nursery() as nursery,
    ):
        for number in range(callers):
            nursery.start_soon(one, line, f"{number}a", answers)
        await trio.sleep(QUICK.rotate_after)
        for number in range(callers):
            nursery.start_soon(one, line, f"{number}b", answers)
    assert answers.right == 2 * callers
    assert answers.errors <= 2 * callers * (2 * len(servers) + 2)
    dialled = WITHIN + 2 * QUICK.handshake
    assert answers.longest <= 2 * dialled + QUICK.first_event + QUICK.ping_timeout


@settings(max_examples=40)
@given(st.lists(st.sampled_from(SERVERS), max_size=8), st.integers(1, 4), st.integers(0, 2**16))
def test_whatever_the_server_does(servers: list[Serve], callers: int, seed: int) -> None:
    run(partial(play, servers, callers), seed=seed)
