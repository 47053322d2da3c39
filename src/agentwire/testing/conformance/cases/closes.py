"""Cases about the end of a connection."""

from __future__ import annotations

from typing import Final

import trio

from agentwire.testing.conformance.cases.frames import LONG_TASK, silence
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.turns import Socket, about, check
from agentwire.testing.conformance.wire import Closed

__all__ = [
    "a_close_is_answered_with_its_code",
    "a_connection_has_its_age",
    "a_cut_leaves_the_server_as_it_was",
    "a_quiet_connection_stays_open",
]

LIMIT: Final = "websocket_connection_limit_reached"


@case(149, "AW-X-002")
async def a_close_is_answered_with_its_code(peer: Peer) -> None:
    """Say goodbye with several codes, and with none."""
    for code in (1000, 1001, 3000, 4999):
        async with peer.socket() as socket:
            await socket.usable()
            closed = await socket.ws.close(code, "bye")
            check(closed.code == code, f"{code} was answered with {closed.code}")
    async with peer.socket() as socket:
        closed = await socket.ws.close(None)
        check(closed.code in (1000, 1005), f"an empty close was answered with {closed.code}")


@case(151, "AW-X-009", needs=["slow"])
async def a_cut_leaves_the_server_as_it_was(peer: Peer) -> None:
    """Vanish in the midst of responses, several times, while another connection works."""
    async with peer.socket() as other:
        turn = (await other.ask()).completed()
        for _ in range(5):
            async with peer.socket() as socket:
                await socket.create(LONG_TASK, model=peer.slow_model)
                await socket.until("response.in_progress")
        (await other.ask(previous_response_id=turn.id)).completed()


@case(152, "AW-X-010", "AW-X-001", needs=["patience"])
async def a_quiet_connection_stays_open(peer: Peer) -> None:
    """Say nothing for five minutes but pongs, then go on."""
    async with peer.socket() as socket:
        turn = (await socket.ask()).completed()
        with about("AW-X-010"):
            with trio.move_on_after(300):
                await socket.receive()
            (await socket.ask(previous_response_id=turn.id)).completed()


@case(150, "AW-X-003", "AW-X-004", needs=["patience"])
async def a_connection_has_its_age(peer: Peer) -> None:
    """Wait until the connection is too old: it says so, takes nothing new, and is closed with 1001."""
    age = peer.limit("connection_age", 3600)
    async with peer.socket() as socket:
        await socket.usable()
        with trio.move_on_after(age - 30):
            await socket.receive()
        if peer.slow_model is not None:
            await socket.create(LONG_TASK, model=peer.slow_model, input=silence(peer))
        told = (await socket.until("error"))[-1]
        check(told["error"]["code"] == LIMIT, f"the connection is told {told}")
        check(told["status"] == 400 and "stream_id" not in told, f"the connection is told {told}")
        await socket.create(stream_id="late")
        refused = await socket.finish("late")
        check(refused.code == LIMIT, f"a late request is answered with {refused.end}", "AW-X-004")
        closed = await closing_after_turns(socket)
        check(closed.code == 1001, f"the connection was closed with {closed.code}", "AW-X-004")


async def closing_after_turns(socket: Socket) -> Closed:
    """How the server closes, once what runs has ended."""
    try:
        while True:
            await socket.receive()
    except Closed as closed:
        return closed
