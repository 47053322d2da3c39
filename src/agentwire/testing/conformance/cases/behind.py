"""What cases with the companion have in common: requests that are found again, and what became of them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

from agentwire.testing.conformance.cases.order import legal
from agentwire.testing.conformance.companion import Companion, Heard
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.plays import Play
from agentwire.testing.conformance.turns import CaseFailed, Socket, Turn, check

__all__ = ["LONG", "PROMPT", "begun", "companion_of", "heard", "left", "one_answer", "tag"]

PROMPT: Final = 2.0
"""Seconds within which a server has to notice."""
PATIENCE: Final = 15.0
"""Seconds within which a model server has to have been asked."""
LONG: Final = Play(words=3000, pace=0.1)


def companion_of(peer: Peer) -> Companion:
    """The companion, which a case has because it needs it."""
    assert peer.companion is not None
    return peer.companion


def tag() -> str:
    """A word that no other request has."""
    return f"t{secrets.token_hex(4)}"


async def heard(peer: Peer, name: str, number: int = 1) -> Heard:
    """The request with this tag, once the model server has it."""
    with trio.move_on_after(PATIENCE):
        return await companion_of(peer).wait_for(name, number)
    raise CaseFailed(f"the model server was not asked within {PATIENCE:g} s (is it the companion?)")


async def left(*requests: Heard) -> None:
    """All of these were ended by the server under test, promptly."""
    with trio.move_on_after(PROMPT):
        await trio.lowlevel.checkpoint()
        for request in requests:
            await request.answer.ended.wait()
    running = sum(not request.answer.ended.is_set() for request in requests)
    check(not running, f"{PROMPT:g} s after its client went, the model server still worked on {running} requests")
    check(all(request.left for request in requests), "the model server was heard out, and not left")


@asynccontextmanager
async def begun(peer: Peer, play: Play) -> AsyncGenerator[tuple[Socket, Heard]]:
    """A response that the model has begun to speak, or keeps silent about, on a socket of its own."""
    name = tag()
    async with peer.socket() as socket:
        await socket.create(play.tagged(name))
        request = await heard(peer, name)
        if not play.first:
            await socket.until("response.output_text.delta")
        yield socket, request


async def one_answer(socket: Socket, text: str, **fields: Any) -> Turn:
    """The next turn is whole, and is the answer to this; nothing of another turn comes before or within it."""
    name = tag()
    turn = (await socket.ask(Play(words=4).tagged(name, text), **fields)).completed()
    legal(turn)
    check(turn.text.split() == ["one", "two", "three", "four"], f"the answer is {turn.text!r}")
    return turn
