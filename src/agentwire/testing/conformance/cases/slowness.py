"""Cases about clients that do not read, and models that do not speak."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import trio

from agentwire.testing.conformance.cases.behind import LONG, begun, heard, left, one_answer, tag
from agentwire.testing.conformance.companion import Heard
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.plays import Play
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.rules.model import OPENAI
from agentwire.testing.conformance.turns import TERMINALS, check

__all__ = [
    "a_client_that_does_not_read_holds_up_nobody",
    "a_client_that_does_not_read_stops_the_model",
    "a_client_that_never_reads_is_given_up",
    "a_model_that_falls_silent_is_not_waited_for_in_silence",
    "a_silent_model_holds_up_no_other_lane",
    "a_silent_model_holds_up_no_ping",
    "a_stream_that_is_never_read_is_given_up",
    "a_stream_that_is_not_read_stops_the_model",
    "an_abandoned_turn_leaves_nothing_behind",
]

FLOOD: Final = Play(flood=64 * 1024 * 1024)
TAKEN: Final = 24 * 1024 * 1024
SAID: Final = 5.0
"""Seconds after which all has come that the model has said."""
TEN_MINUTES: Final = 615.0
"""And a bit: a deadline of ten minutes is often met by that much."""
ENDS: Final = (*TERMINALS, "error")


async def settled(request: Heard) -> None:
    """Wait until the model server is held up: for a second, nothing more of its answer is taken."""
    before = -1
    while not request.answer.ended.is_set() and (now := request.answer.sent) != before:
        before = now
        await trio.sleep(1.0)


@asynccontextmanager
async def not_reading(peer: Peer) -> AsyncGenerator[Heard]:
    """A client that has asked for a flood on a socket, and reads nothing of it; once the model server is held up."""
    name = tag()
    async with peer.socket() as socket:
        await socket.create(FLOOD.tagged(name))
        request = await heard(peer, name)
        await settled(request)
        yield request


@asynccontextmanager
async def stream_not_read(peer: Peer) -> AsyncGenerator[Heard]:
    """The same over HTTP, where only the head is read."""
    name = tag()
    async with peer.events("POST", body=peer.body(FLOOD.tagged(name), stream=True)):
        request = await heard(peer, name)
        await settled(request)
        yield request


@case(172, "AW-U-009", needs=["companion"])
async def a_client_that_does_not_read_stops_the_model(peer: Peer) -> None:
    """Ask for 64 MiB on a socket and read nothing."""
    async with not_reading(peer) as request:
        _bounded(request)
    await left(request)


def _bounded(request: Heard) -> None:
    sent = request.answer.sent
    check(sent > 0, "nothing was taken from the model server")
    check(sent <= TAKEN, f"the server took {sent:,} bytes for a client that reads nothing")


@case(173, "AW-U-009", needs=["companion"])
async def a_stream_that_is_not_read_stops_the_model(peer: Peer) -> None:
    """Ask for 64 MiB over HTTP and read nothing but the head."""
    async with stream_not_read(peer) as request:
        _bounded(request)
    await left(request)


@case(174, "AW-U-010", needs=["companion"])
async def a_client_that_does_not_read_holds_up_nobody(peer: Peer) -> None:
    """Hold turns on a socket and over HTTP while another client does not read."""
    async with not_reading(peer), peer.socket() as socket:
        with trio.move_on_after(10) as scope:
            await one_answer(socket, "Are you there?")
            check((await peer.post(Play().tagged(tag()))).status == 200, "over HTTP there was no answer")
        check(not scope.cancelled_caught, "for 10 s there was no answer")


@case(175, "AW-U-011", needs=["companion", "patience"])
async def a_client_that_never_reads_is_given_up(peer: Peer) -> None:
    """Read nothing of 64 MiB for five minutes."""
    async with not_reading(peer) as request:
        await given_up(request)


@case(228, "AW-U-011", needs=["companion", "patience"])
async def a_stream_that_is_never_read_is_given_up(peer: Peer) -> None:
    """Read nothing of an event stream of 64 MiB for five minutes."""
    async with stream_not_read(peer) as request:
        await given_up(request)


async def given_up(request: Heard) -> None:
    """The server under test leaves its model server within five minutes."""
    with trio.move_on_after(300):
        await request.answer.ended.wait()
    check(request.answer.ended.is_set(), "after five minutes the model server was still held for it")
    check(request.left, "the model server was heard out for a client that reads nothing")


@case(176, "AW-U-012", "AW-F-004", needs=["companion"])
async def a_silent_model_holds_up_no_ping(peer: Peer) -> None:
    """Ping while the model has not said anything yet."""
    async with begun(peer, Play(first=30.0)) as (socket, _):
        await socket.ws.ping(b"silent")
        with trio.move_on_after(5):
            await trio.lowlevel.checkpoint()
            while not socket.ws.pongs:
                await socket.ws.step()
        check(socket.ws.pongs == [b"silent"], "for 5 s no pong came")


@case(177, "AW-U-012", "AW-L-005", needs=["companion"], profiles=OPENAI)
async def a_silent_model_holds_up_no_other_lane(peer: Peer) -> None:
    """Hold a turn on one lane, and one on another connection, while the model is silent about a third."""
    async with begun(peer, Play(stall=2)) as (socket, _), peer.socket() as other:
        with trio.move_on_after(10) as scope:
            await one_answer(socket, "Are you there?", stream_id="b")
            await one_answer(other, "Are you there?")
        check(not scope.cancelled_caught, "for 10 s there was no answer")


@case(178, "AW-U-013", needs=["companion", "patience"])
async def a_model_that_falls_silent_is_not_waited_for_in_silence(peer: Peer) -> None:
    """Let the model stop in the midst of an answer: within ten minutes something comes."""
    name = tag()
    async with peer.socket() as socket:
        await socket.create(Play(stall=2).tagged(name))
        await heard(peer, name)
        with trio.move_on_after(SAID):
            while True:
                await socket.receive()
        seen = len(socket.events)
        with trio.move_on_after(TEN_MINUTES) as scope:
            await socket.receive()
            while len(socket.events) < seen + 3 and socket.events[-1]["type"] not in ENDS:
                await socket.receive()
        check(not scope.cancelled_caught, "ten minutes of silence, and neither an end nor a sign of life")


@case(179, "AW-U-014", needs=["companion"])
async def an_abandoned_turn_leaves_nothing_behind(peer: Peer) -> None:
    """Vanish in the midst of a turn and ask something else on a new connection, three times."""
    for _ in range(3):
        async with begun(peer, LONG):
            pass
        async with peer.socket() as socket:
            await one_answer(socket, "Something else.")
            await one_answer(socket, "And again.")
