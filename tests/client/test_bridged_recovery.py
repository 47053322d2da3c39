"""An answer that is lost before anybody has seen a part of it is asked for again over the bridges, too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import trio

import agentwire.aio
import agentwire.sync
from agentwire.client import Client
from agentwire.client.portal import Held, Portal
from tests.client.kit import connected
from tests.client.threads import loops
from tests.link.peer import Peer, created, delta, text_turn


async def lose(peer: Peer) -> None:
    await peer.answer(created("resp_1"), delta("half of it"))
    await trio.aclose_forcefully(peer.stream)


async def answer(peer: Peer) -> None:
    await peer.answer(*text_turn("resp_2", "new"))


@contextmanager
def losing() -> Iterator[tuple[Portal, Client]]:
    """A client whose first answer is lost half-way, and the loop that it lives in."""
    portal = Portal.take()
    held = Held(portal, partial(connected, lose, answer))
    try:
        yield portal, held.entered.result()
    finally:
        held.leave()
        held.work.future.result()
        portal.release()
    assert not loops()


def test_plain_python() -> None:
    with losing() as (portal, client), agentwire.sync.Client(portal, client).turn("Hi") as turn:
        assert turn.response().output_text == "new"
        assert (turn.text, turn.repeated, list(turn)) == ("new", 1, [])


def test_asyncio() -> None:
    async def main(portal: Portal, client: Client) -> None:
        async with agentwire.aio.Client(portal, client).turn("Hi") as turn:
            assert (await turn.response()).output_text == "new"
            assert (turn.text, turn.repeated, [event async for event in turn]) == ("new", 1, [])

    with losing() as (portal, client):
        asyncio.run(main(portal, client))


def test_whoever_has_seen_a_part_of_it_decides() -> None:
    with losing() as (portal, client), agentwire.sync.Client(portal, client).turn("Hi") as turn:
        assert next(turn).type == "response.created"
        with pytest.raises(agentwire.RequestLost) as lost:
            turn.response()
        assert turn.may_ask_again(lost.value)
        turn.ask_again(lost.value)
        assert turn.response().output_text == "new"
