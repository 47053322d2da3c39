"""Cases about clients that go, and what the model server is spared then."""

from __future__ import annotations

from typing import Final

import trio

from agentwire.testing.conformance.cases.behind import LONG, begun, heard, left, tag
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.plays import Play
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.rules.model import OPENAI
from agentwire.testing.conformance.wire import frame

__all__ = [
    "a_client_that_leaves_a_post_ends_the_models_work",
    "a_client_that_leaves_a_stream_ends_the_models_work",
    "a_client_that_says_goodbye_ends_the_models_work",
    "a_client_that_vanishes_ends_the_models_work",
    "a_client_that_vanishes_in_silence_ends_the_models_work",
    "all_lanes_of_a_client_that_vanishes_end",
]

CLOSE: Final = 0x8


@case(153, "AW-U-001", "AW-X-008", needs=["companion"])
async def a_client_that_vanishes_ends_the_models_work(peer: Peer) -> None:
    """Vanish without a close frame while the model speaks: the request to the model server ends."""
    async with begun(peer, LONG) as (_, request):
        pass
    await left(request)


@case(154, "AW-U-001", "AW-X-008", needs=["companion"])
async def a_client_that_vanishes_in_silence_ends_the_models_work(peer: Peer) -> None:
    """Vanish without a close frame before the model has said anything."""
    async with begun(peer, Play(first=300.0)) as (_, request):
        pass
    await left(request)


@case(155, "AW-U-001", "AW-X-008", needs=["companion"])
async def a_client_that_says_goodbye_ends_the_models_work(peer: Peer) -> None:
    """Close with 1000 while the model speaks, and wait for nothing."""
    async with begun(peer, LONG) as (socket, request):
        await socket.ws.send_frames(frame(CLOSE, (1000).to_bytes(2, "big")))
        await left(request)


@case(156, "AW-U-001", needs=["companion"], profiles=OPENAI)
async def all_lanes_of_a_client_that_vanishes_end(peer: Peer) -> None:
    """Vanish while three lanes run."""
    names = [tag() for _ in range(3)]
    async with peer.socket() as socket:
        for number, name in enumerate(names):
            await socket.create(LONG.tagged(name), stream_id=f"lane{number}")
        requests = [await heard(peer, name) for name in names]
    await left(*requests)


@case(157, "AW-U-002", "AW-V-007", needs=["companion"])
async def a_client_that_leaves_a_stream_ends_the_models_work(peer: Peer) -> None:
    """Drop an event stream while the model speaks, and one before it has said anything."""
    for play in (LONG, Play(first=300.0)):
        name = tag()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read_stream, peer, play.tagged(name))
            request = await heard(peer, name)
            await trio.sleep(0.5)
            nursery.cancel_scope.cancel(reason="the client leaves")
        await left(request)


async def _read_stream(peer: Peer, content: str) -> None:
    async with peer.events("POST", body=peer.body(content, stream=True)) as events:
        await events.rest()


@case(158, "AW-U-002", needs=["companion"])
async def a_client_that_leaves_a_post_ends_the_models_work(peer: Peer) -> None:
    """Drop a request that is not streamed while the model speaks."""
    name = tag()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.post, LONG.tagged(name))
        request = await heard(peer, name)
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel(reason="the client leaves")
    await left(request)
