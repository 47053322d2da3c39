"""Cases about a model server that fails, and whom that concerns."""

from __future__ import annotations

from typing import Final

import trio

from agentwire.testing.conformance.cases.behind import companion_of, one_answer, tag
from agentwire.testing.conformance.cases.order import legal
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.plays import Play
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.rules.model import OPENAI
from agentwire.testing.conformance.turns import TERMINALS, Socket, Turn, check

__all__ = [
    "a_429_of_the_model_server_is_told",
    "a_failure_of_the_model_server_stays_on_its_lane",
    "a_model_server_that_breaks_off_fails_the_response",
    "a_model_server_that_dies_fails_the_response",
    "a_model_server_that_fails_is_not_stormed",
    "a_model_server_that_says_rubbish_fails_the_response",
    "a_model_that_fails_in_words_fails_the_response",
    "a_refusal_of_the_model_server_costs_one_turn",
    "codes_of_the_model_server_are_kept",
]


ENDS: Final = "AW-U-003"
SILENCE: Final = 5.0
"""Seconds after an error in which the terminal event has to come."""


async def ended(socket: Socket, lane: str | None = None) -> Turn:
    """The next turn; an error within a response is no end of it."""
    found = await socket.until("error", *TERMINALS, lane=lane)
    if found[-1]["type"] == "error" and any(event["type"] == "response.created" for event in found):
        with trio.move_on_after(SILENCE) as scope:
            found += await socket.until(*TERMINALS, lane=lane)
        check(not scope.cancelled_caught, "an error within the response is not followed by its terminal event", ENDS)
    return Turn(tuple(found))


async def fails_alone(peer: Peer, play: Play, rule: str = ENDS) -> None:
    """The response begins, has one terminal event, which is a failure, and the connection takes another turn."""
    name = tag()
    async with peer.socket() as socket:
        await socket.create(play.tagged(name))
        turn = await ended(socket)
        check(turn.failed, f"the model server broke off, and the turn ended as {turn.end.get('type')}", rule)
        if len(turn.events) > 1:
            legal(turn)
        await one_answer(socket, "After a failure")
    check(companion_of(peer).tagged(name), "the model server was not asked (is it the companion?)")


@case(159, "AW-U-003", "AW-U-004", "AW-E-009", needs=["companion"])
async def a_model_server_that_dies_fails_the_response(peer: Peer) -> None:
    """Let the model server's connection be reset after two words, and after the last one."""
    await fails_alone(peer, Play(die=2))
    await fails_alone(peer, Play(words=3, die=3))


@case(160, "AW-U-003", "AW-U-004", needs=["companion"])
async def a_model_server_that_breaks_off_fails_the_response(peer: Peer) -> None:
    """Let the model server close its connection after two words, and after the last one, before the formal end."""
    await fails_alone(peer, Play(cut=2))
    await fails_alone(peer, Play(words=3, cut=3))


@case(161, "AW-U-016", needs=["companion"])
async def a_model_server_that_says_rubbish_fails_the_response(peer: Peer) -> None:
    """Let the model server say something that is no JSON after two words, and then go on."""
    await fails_alone(peer, Play(rubbish=2), "AW-U-016")


@case(162, "AW-U-003", "AW-U-004", needs=["companion"])
async def a_model_that_fails_in_words_fails_the_response(peer: Peer) -> None:
    """Let the model server say, as its API does, that it has failed after two words."""
    await fails_alone(peer, Play(error=2))


@case(163, "AW-U-004", "AW-U-003", "AW-L-011", needs=["companion"], profiles=OPENAI)
async def a_failure_of_the_model_server_stays_on_its_lane(peer: Peer) -> None:
    """Let the model server die for one lane while it speaks to another one."""
    wired = companion_of(peer).wired  # then both lanes may be on one connection to it, and that must not be what dies
    async with peer.socket() as socket:
        await socket.create(Play(words=20, pace=0.1).tagged(tag()), stream_id="a")
        begun = await socket.receive()
        check(begun.get("stream_id") == "a", "the events of a request that named a lane do not name it")
        await socket.until("response.output_text.delta", lane="a")
        await socket.create((Play(error=1) if wired else Play(die=1)).tagged(tag()), stream_id="b")
        turns = {lane: await ended(socket, lane) for lane in ("b", "a")}
        check(turns["b"].failed, f"lane b ended in {turns['b'].end['type']}")
        turns["a"].completed()


@case(164, "AW-U-005", needs=["companion"])
async def a_429_of_the_model_server_is_told(peer: Peer) -> None:
    """Let the model server refuse with 429 and `retry-after: 1`, for a socket and for HTTP."""
    async with peer.socket() as socket:
        turn = await socket.ask(Play(status=429, retry_after=1).tagged(tag()))
        check(turn.error is not None, f"the turn ended in {turn.end.get('type')}")
        assert turn.error is not None
        told = turn.error["error"]
        check(turn.error.get("status") == 429, f"the status is {turn.error.get('status')}")
        check(told.get("code") == "rate_limit_exceeded", f"the code is {told.get('code')!r}")
        given = [{str(name).lower() for name in (place.get("headers") or {})} for place in (turn.error, told)]
        check("retry-after" in given[0] | given[1], "nothing says when to try again")
        await one_answer(socket, "After a refusal")
    reply = await peer.post(Play(status=429, retry_after=1).tagged(tag()))
    check(reply.status == 429, f"over HTTP the status is {reply.status}")
    check("retry-after" in reply.headers, "over HTTP there is no Retry-After")


@case(165, "AW-U-004", "AW-E-004", needs=["companion"])
async def a_refusal_of_the_model_server_costs_one_turn(peer: Peer) -> None:
    """Let the model server refuse one turn with 429 and one with 500, in the midst of a conversation."""
    async with peer.socket() as socket:
        first = await one_answer(socket, "Begin.")
        for status in (429, 500):
            turn = await socket.ask(Play(status=status).tagged(tag()))
            check(turn.failed, f"the model server said {status}, and the turn ended as {turn.end.get('type')}")
        await one_answer(socket, "Go on.")
        check(first.id, "the first response has no id")


@case(223, "AW-U-015", needs=["companion"])
async def codes_of_the_model_server_are_kept(peer: Peer) -> None:
    """Let the model server refuse with codes that clients act upon."""
    async with peer.socket() as socket:
        for status, code in ((400, "context_length_exceeded"), (429, "insufficient_quota")):
            turn = await socket.ask(Play(status=status, code=code).tagged(tag()))
            check(turn.failed, f"the model server said {code}, and the turn ended as {turn.end.get('type')}")
            check(turn.code == code, f"the model server said {code}, and the client heard {turn.code!r}")


@case(166, "AW-U-006", needs=["companion"])
async def a_model_server_that_fails_is_not_stormed(peer: Peer) -> None:
    """Let the model server refuse with 500, and count how often it is asked for one turn."""
    name = tag()
    async with peer.socket() as socket:
        check((await socket.ask(Play(status=500).tagged(name))).failed, "the turn completed")
    await trio.sleep(0.5)
    count = len(companion_of(peer).tagged(name))
    check(count, "the model server was not asked (is it the companion?)")
    check(count <= 5, f"the model server was asked {count} times for one turn")
