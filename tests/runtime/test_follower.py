from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentwire.protocol.errors import RequestError
from agentwire.protocol.limits import Limits
from agentwire.protocol.transcript import Node
from agentwire.runtime.background import Background
from agentwire.runtime.contracts import Ask, Out, Stored
from agentwire.runtime.follower import Follower
from agentwire.runtime.pulse import Pulse
from agentwire.runtime.service import Service
from agentwire.stores import MemoryStore
from tests.runtime.kit import service

STORED = Stored(
    node=Node.root("resp_1", (), ()),
    response=b'{"id":"resp_1","status":"in_progress"}',
    size=40,
    status="in_progress",
    background=True,
)
CREATED = b'{"type":"response.created","sequence_number":0}'
DELTA = b'{"type":"response.output_text.delta","sequence_number":1}'
COMPLETED = b'{"type":"response.completed","sequence_number":2}'


async def silent(ask: Ask, out: Out) -> None:
    """Nothing to say."""


def ended(status: str) -> Stored:
    return attrs.evolve(STORED, status=status, response=b'{"id":"resp_1","status":"%b"}' % status.encode())


@attrs.frozen
class Desk:
    """A store that another process writes into, and what follows it here."""

    store: MemoryStore
    service: Service
    background: Background

    def follower(self, after: int = -1, principal: str = "p") -> Follower:
        return Follower(self.service, self.background, principal, "resp_1", after)

    async def rest(self, after: int = -1) -> list[bytes]:
        follower, seen = self.follower(after), list[bytes]()
        while events := await follower.read(1000):
            seen += events
        return seen


@asynccontextmanager
async def elsewhere(limits: Limits | None = None) -> AsyncGenerator[Desk]:
    limits = limits or Limits()
    store = MemoryStore(limits)
    await store.put("p", STORED)
    async with trio.open_nursery() as nursery:
        made = service(silent, store=store, limits=limits)
        yield Desk(store, made, Background(made, Pulse(limits), nursery))


async def test_what_another_process_makes_is_looked_for_now_and_then(autojump_clock: MockClock) -> None:
    async with elsewhere() as it, trio.open_nursery() as nursery:

        async def make() -> None:
            await it.store.append_events("p", "resp_1", 0, [CREATED])
            await trio.sleep(10)
            await it.store.append_events("p", "resp_1", 1, [DELTA])
            await it.store.put("p", ended("completed"))
            await trio.sleep(0.1)
            await it.store.append_events("p", "resp_1", 2, [COMPLETED])

        nursery.start_soon(make)
        assert await it.rest() == [CREATED, DELTA, COMPLETED]
        assert trio.current_time() < 11


@pytest.mark.parametrize(
    ("status", "kind"),
    [("failed", "failed"), ("cancelled", "failed"), ("completed", "completed"), ("incomplete", "incomplete")],
)
async def test_a_stream_that_stops_short_ends_as_the_record_says(
    status: str, kind: str, autojump_clock: MockClock
) -> None:
    async with elsewhere() as it:
        await it.store.append_events("p", "resp_1", 0, [CREATED, DELTA])
        await it.store.put("p", ended(status))
        *before, last = await it.rest()
        assert before == [CREATED, DELTA]
        assert json.loads(last) == {
            "type": f"response.{kind}", "sequence_number": 2, "response": {"id": "resp_1", "status": status},
        }  # fmt: skip
        assert await it.rest(1) == [last]
        assert await it.rest(2) == await it.rest(99) == []


async def test_nothing_follows_the_terminal_event(autojump_clock: MockClock) -> None:
    async with elsewhere() as it:
        await it.store.append_events("p", "resp_1", 0, [CREATED, DELTA, COMPLETED])
        assert await it.rest(0) == [DELTA, COMPLETED]
        assert await it.rest(2) == []
        assert trio.current_time() == 0


async def test_what_is_dropped_or_deleted_is_said(autojump_clock: MockClock) -> None:
    async with elsewhere(Limits(stored_event_bytes=len(DELTA) + len(COMPLETED))) as it:
        await it.store.append_events("p", "resp_1", 0, [CREATED, DELTA, COMPLETED])
        with pytest.raises(RequestError, match="not here") as caught:
            await it.follower().check()
        assert (caught.value.status, caught.value.code) == (404, "events_not_found")
        assert await it.rest(0) == [DELTA, COMPLETED]
        assert await it.rest(2) == []
        with pytest.raises(RequestError, match="not here"):
            await it.follower(principal="q").check()
        follower = it.follower(0)
        assert await follower.read(1) == [DELTA]
        await it.store.delete("p", "resp_1")
        with pytest.raises(RequestError, match="not here"):
            await follower.read(1)


async def test_one_that_is_waited_for_and_deleted(autojump_clock: MockClock) -> None:
    async with elsewhere() as it, trio.open_nursery() as nursery:

        async def delete() -> None:
            await trio.sleep(5)
            await it.store.delete("p", "resp_1")

        nursery.start_soon(delete)
        with pytest.raises(RequestError, match="not here"):
            await it.follower().read(1)
