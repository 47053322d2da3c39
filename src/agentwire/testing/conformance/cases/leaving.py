"""Cases about clients that go, and what the model server is spared then."""

from __future__ import annotations

import trio

from agentwire.runtime.groups import open_flat_nursery
from agentwire.testing.conformance.cases.behind import LONG, PROMPT, begun, companion_of, heard, left, tag
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.plays import Play
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.rules.model import OPENAI
from agentwire.testing.conformance.turns import check
from agentwire.testing.conformance.wire import CLOSE, frame

__all__ = [
    "a_client_that_leaves_a_post_ends_the_models_work",
    "a_client_that_leaves_a_stream_ends_the_models_work",
    "a_client_that_says_goodbye_ends_the_models_work",
    "a_client_that_vanishes_ends_the_models_work",
    "a_client_that_vanishes_in_silence_ends_the_models_work",
    "all_lanes_of_a_client_that_vanishes_end",
]


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
        await heard(peer, names[0])
        with trio.move_on_after(PROMPT):  # a server without lanes asks for one after the other
            await trio.lowlevel.checkpoint()
            for name in names[1:]:
                await heard(peer, name)
        requests = [request for name in names for request in companion_of(peer).tagged(name)]
    await left(*requests)
    await trio.sleep(0.5)
    asked = sum(len(companion_of(peer).tagged(name)) for name in names)
    check(asked == len(requests), "after its client went, the model server was asked for what had waited")


@case(157, "AW-U-002", "AW-V-007", needs=["companion"])
async def a_client_that_leaves_a_stream_ends_the_models_work(peer: Peer) -> None:
    """Drop an event stream while the model speaks, and one before it has said anything."""
    for play in (LONG, Play(first=300.0)):
        name = tag()
        async with open_flat_nursery() as nursery:
            nursery.start_soon(_read_stream, peer, play.tagged(name))
            request = await heard(peer, name)
            await trio.sleep(0.5)
            nursery.cancel_scope.cancel(reason="the client leaves")
        await left(request)


async def _read_stream(peer: Peer, content: str) -> None:
    async with peer.events("POST", body=peer.body(content, stream=True)) as events:
        check(events.reply.status == 200, f"the request was answered with {events.reply.status}")
        await events.rest()


async def _post(peer: Peer, content: str) -> None:
    reply = await peer.post(content)
    check(reply.status == 200, f"the request was answered with {reply.status}")


@case(158, "AW-U-002", needs=["companion"])
async def a_client_that_leaves_a_post_ends_the_models_work(peer: Peer) -> None:
    """Drop a request that is not streamed while the model speaks."""
    name = tag()
    async with open_flat_nursery() as nursery:
        nursery.start_soon(_post, peer, LONG.tagged(name))
        request = await heard(peer, name)
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel(reason="the client leaves")
    await left(request)
