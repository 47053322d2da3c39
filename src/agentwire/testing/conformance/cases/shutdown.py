"""Cases about a server that is asked to leave, is killed, and comes back."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import trio

from agentwire.protocol.errors import AgentwireError
from agentwire.testing.conformance.cases.background import RUNS, begun, got
from agentwire.testing.conformance.cases.frames import LONG_TASK
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.process import UnderTest
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.rules.model import OPENAI
from agentwire.testing.conformance.turns import TERMINALS, Socket, check
from agentwire.testing.conformance.wire import Closed, Refused

__all__ = [
    "a_killed_server_fails_what_ran_in_the_background",
    "a_killed_server_keeps_what_it_stored",
    "a_killed_server_knows_no_unstored_response",
    "a_shutdown_closes_with_a_code",
    "a_shutdown_comes_to_an_end",
    "a_shutdown_lets_a_stream_finish",
    "a_shutdown_lets_a_turn_finish",
    "a_shutdown_takes_no_new_turns",
    "clients_that_come_and_go_leave_nothing_open",
]

GOING: Final = (1001, 1012)
"""Close codes that tell a client to connect again."""
SOON: Final = 10.0
ENOUGH: Final = 60.0
SPARE: Final = 5
"""Files that a process may have opened for itself meanwhile."""


def process_of(peer: Peer) -> UnderTest:
    """The process, which a case has because it needs it."""
    assert peer.process is not None
    return peer.process


@asynccontextmanager
async def busy(peer: Peer) -> AsyncGenerator[Socket]:
    """A socket with a response that has begun to speak."""
    async with peer.socket() as socket:
        await socket.create(LONG_TASK, model=peer.slow_model)
        await socket.until("response.output_text.delta")
        yield socket


async def closing(socket: Socket) -> Closed | None:
    """How the server closes, whatever it says before; None if it does not, in time."""
    with trio.move_on_after(SOON):
        await trio.lowlevel.checkpoint()
        try:
            while True:
                await socket.receive()
        except Closed as closed:
            return closed
    return None


@case(180, "AW-D-001", needs=["process", "slow"])
async def a_shutdown_lets_a_turn_finish(peer: Peer) -> None:
    """Send SIGTERM in the midst of a response: it completes."""
    async with busy(peer) as socket:
        await process_of(peer).terminate()
        try:
            end = (await socket.until(*TERMINALS, "error"))[-1]
        except Closed as closed:
            end = {"type": str(closed)}
        check(end["type"] == "response.completed", f"the response did not complete: {end['type']}")


@case(181, "AW-D-001", needs=["process", "slow"])
async def a_shutdown_lets_a_stream_finish(peer: Peer) -> None:
    """Send SIGTERM in the midst of an event stream: it completes."""
    body = peer.body(LONG_TASK, model=peer.slow_model, stream=True)
    async with peer.events("POST", body=body) as events:
        await events.event()
        await process_of(peer).terminate()
        (await events.rest()).completed()


@case(182, "AW-D-002", "AW-D-004", needs=["process", "slow"])
async def a_shutdown_closes_with_a_code(peer: Peer) -> None:
    """Send SIGTERM: an idle connection is closed at once, one with a response after it, both with 1012 or 1001."""
    async with peer.socket() as idle, busy(peer) as socket:
        await idle.usable()
        await process_of(peer).terminate()
        for what, one in (("idle", idle), ("busy", socket)):
            closed = await closing(one)
            check(closed is not None, f"for {SOON:g} s the {what} connection was not closed")
            assert closed is not None
            check(closed.code in GOING, f"the {what} connection ended with {closed.code}, which says no `come again`")


@case(183, "AW-D-003", needs=["process", "slow"])
async def a_shutdown_takes_no_new_turns(peer: Peer) -> None:
    """Send SIGTERM in the midst of a response, then ask for more, there and on a new connection."""
    async with busy(peer) as socket:
        await process_of(peer).terminate()
        await trio.sleep(0.3)
        try:
            await socket.create()
            async with peer.socket() as other:
                turn = await other.ask()
                check(turn.failed, f"a new connection was given a turn, which ended in {turn.end['type']}")
        except (Refused, Closed, OSError, AgentwireError):
            pass
        await closing(socket)
        completed = sum(event["type"] == "response.completed" for event in socket.events)
        check(completed <= 1, "a request that came after SIGTERM was run")


@case(184, "AW-D-005", needs=["process"])
async def a_shutdown_comes_to_an_end(peer: Peer) -> None:
    """Send SIGTERM while a connection has nothing to do: the process ends by itself, with exit code 0."""
    async with peer.socket() as socket:
        await socket.usable()
        await process_of(peer).terminate()
        with trio.move_on_after(ENOUGH) as scope:
            code = await process_of(peer).wait()
        check(not scope.cancelled_caught, f"{ENOUGH:g} s after SIGTERM it still runs")
        check(code == 0, f"its exit code is {code}")


@case(185, "AW-D-006", "AW-E-007", needs=["process"])
async def a_killed_server_knows_no_unstored_response(peer: Peer) -> None:
    """Kill it in the midst of a connection, start it again, and continue a response of `store: false`."""
    async with peer.socket() as socket:
        turn = (await socket.ask()).completed()
        await process_of(peer).kill()
        closed = await closing(socket)
        check(closed is not None and closed.code == 1006, f"the connection of a dead process ended with {closed}")
    await process_of(peer).start()
    async with peer.socket() as socket:
        (await socket.ask(previous_response_id=turn.id)).refused("previous_response_not_found")
        await socket.usable()


@case(186, "AW-D-007", needs=["process"])
async def a_killed_server_keeps_what_it_stored(peer: Peer) -> None:
    """Complete a response of `store: true`, kill the server at once, start it again, and continue it."""
    async with peer.socket() as socket:
        turn = (await socket.ask(store=True)).completed()
        await process_of(peer).kill()
    await process_of(peer).start()
    async with peer.socket() as socket:
        again = await socket.ask("Go on.", store=True, previous_response_id=turn.id)
        check(again.end.get("type") == "response.completed", f"the stored response is lost: {again.end}")


@case(226, "AW-D-008", needs=["process"])
async def clients_that_come_and_go_leave_nothing_open(peer: Peer) -> None:
    """Let 30 clients come and go, in the midst of a turn or not: the process has as many files open as before."""
    async with peer.socket() as socket:
        await socket.usable()
    await trio.sleep(1)
    before = process_of(peer).descriptors()
    for number in range(30):
        async with peer.socket() as socket:
            await socket.create()
            if number % 3:
                await socket.finish()
            if number % 2:
                await socket.ws.close()
    with trio.move_on_after(SOON) as scope:
        await trio.lowlevel.checkpoint()
        while (after := process_of(peer).descriptors()) > before + SPARE:  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.1)
    check(not scope.cancelled_caught, f"the process had {before} files open, and has {after} now")


@case(187, "AW-B-009", needs=["process", "slow", "patience"], profiles=OPENAI)
async def a_killed_server_fails_what_ran_in_the_background(peer: Peer) -> None:
    """Kill it in the midst of a background response, start it again, and ask for that until it has ended."""
    response = await begun(peer)
    await process_of(peer).kill()
    await process_of(peer).start()
    with trio.move_on_after(ENOUGH) as scope:
        while (found := await got(peer, response["id"]))["status"] in RUNS:  # noqa: ASYNC110 - polling is all there is
            await trio.sleep(0.5)
    check(not scope.cancelled_caught, f"{ENOUGH:g} s after its process was killed it is still in progress")
    check(found["status"] == "failed", f"it is {found['status']}")
