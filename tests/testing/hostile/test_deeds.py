"""Every deed, done to our own client: whatever the server does, it finishes, or says what happened, and in time."""

from __future__ import annotations

import collections
import math
import re
from contextlib import suppress
from typing import Final

import pytest
import trio
from trio.testing import MockClock

import agentwire
from agentwire.protocol.errors import AgentwireError
from agentwire.testing import no_leaks
from agentwire.testing.hostile import DEEDS, Answer, Deed, End, Say, cue, hostile_server, scripted_server
from agentwire.testing.hostile.clerk import Clerk, page_text, right_answer, task_of
from agentwire.testing.hostile.deeds import doors, ends, errors, frames, order
from tests.testing.hostile.kit import connected

ENDS_WITH_AN_ERROR: Final = {
    "refuse-401": "Unauthorized",
    "refuse-403": "Forbidden",
    "refuse-429": "429",
    "refuse-500": "500",
    "refuse-502": "502",
    "refuse-503": "503",
    "born-old": "60 minutes",
    "opened-then-1008": "1008",
    "dropped-always": "reset by the peer",
    "forgets-renamed": "could not be processed",
    "rate-limit": "429",
    "server-error-always": "500",
    "no-status": "Something went wrong",
    "fails-midway": "The model failed",
    "events-twice": "second response",
    "foreign-lane": "nobody asked for",
}
"""What is said of the deeds after which a task cannot be finished, or not by a client alone."""

NOT_HERE: Final = {"key-revoked"}
"""Deeds that need another one before them."""


@pytest.mark.parametrize("name", list(DEEDS))
async def test_our_client_survives(autojump_clock: MockClock, name: str) -> None:
    ran: collections.Counter[int] = collections.Counter()

    @agentwire.tool
    async def look_up(page: int) -> str:
        """Look up a page."""
        ran[page] += 1
        await trio.sleep(0.5)
        return page_text(page)

    begun = trio.current_time()
    async with no_leaks(), hostile_server([name], Clerk(thinks=0.1)) as server:
        said, failed = "", ""
        try:
            async with connected(server) as client, client.run(task_of(1, 4, at_once=2), tools=[look_up]) as run:
                said = (await run.finish()).output_text
        except AgentwireError as error:
            failed = str(error)
        if name in ENDS_WITH_AN_ERROR:
            assert ENDS_WITH_AN_ERROR[name] in failed
        else:
            assert failed == ""
            assert said == right_answer(1, 4)
        assert trio.current_time() - begun < 60
        assert max(ran.values(), default=0) <= 1, "no tool runs twice"
        assert server.seen.complaints == []
        assert set(server.seen.deeds) == {name} - NOT_HERE
        assert len(server.seen.connections) < 20


@pytest.mark.parametrize("first", ["aged-out@2", "rate-limit@2"])
@pytest.mark.parametrize("second", sorted(name for name, deed in DEEDS.items() if deed.turn is not None))
async def test_deeds_can_be_done_together(autojump_clock: MockClock, first: str, second: str) -> None:
    async with hostile_server([first, f"{second}@2"], Clerk()) as server, connected(server) as client:
        await client.respond("a")
        with suppress(AgentwireError):
            await client.respond("b")
        assert cue(first).deed.name in server.seen.deeds


async def test_a_revoked_key_is_told(autojump_clock: MockClock) -> None:
    async with hostile_server(["key-revoked", "reset-unanswered@1"], Answer(Say("x"))) as server:
        async with connected(server) as client:
            with pytest.raises(AgentwireError, match="Unauthorized"):
                await client.respond("a")
        assert set(server.seen.deeds) == {"key-revoked", "reset-unanswered"}
        assert len(server.seen.connections) < 5


@pytest.mark.parametrize(
    ("written", "first", "times"),
    [("reset-midway", 2, 1), ("reset-midway@3", 3, 1), ("reset-midway@3+", 3, math.inf), ("refuse-500@4", 4, math.inf)],
)
def test_a_cue_is_written_in_a_word(written: str, first: int, times: float) -> None:
    found = cue(written)
    assert (found.first, found.times) == (first, times)
    assert not found.due(first - 1)
    assert found.due(first)


def test_cues_that_are_none() -> None:
    with pytest.raises(ValueError, match="there is no deed 'nonsense'"):
        cue("nonsense")
    with pytest.raises(ValueError, match="counted from 1"):
        cue("silence@0")
    with pytest.raises(ValueError, match="there is no deed 'silence@'"):
        cue("silence@")
    mine = Deed(name="mine", title="Something of one's own")
    assert cue(cue(mine, first=5, times=2)).due(6)


async def test_a_deed_of_ones_own(autojump_clock: MockClock) -> None:
    shouting = Deed(name="shouting", title="Ends at once", first=1, turn=lambda _plan, _scene: [End("reset")])
    async with hostile_server([shouting], Answer(Say("x"))) as server, connected(server) as client:
        assert (await client.respond("a")).output_text == "x"
        assert server.seen.deeds == ["shouting"]


async def test_a_test_ends_connections_when_it_likes(autojump_clock: MockClock) -> None:
    async with scripted_server(Answer(Say("x"))) as server, connected(server) as client:
        await client.respond("a")
        await server.end(End("close", 1012, "restart"))
        assert (await client.respond("b")).output_text == "x"
        assert server.seen.connections[0].how == "the server closed it"


def test_every_deed_has_a_name_of_its_own_a_title_and_does_something() -> None:
    assert len(DEEDS) == sum(len(module.DEEDS) for module in (doors, ends, errors, frames, order))
    for name, deed in DEEDS.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        assert deed.title[0].isupper()
        assert not deed.title.endswith(".")
        assert [deed.door, deed.socket, deed.turn, deed.opened].count(None) < 3 or deed.opened
        assert deed.when == ("upgrade" if deed.door else "turn" if deed.turn else "connection")
