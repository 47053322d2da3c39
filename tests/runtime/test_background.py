from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.errors import RequestError
from agentwire.protocol.limits import Limits
from agentwire.runtime.background import Background
from agentwire.runtime.contracts import Ask, Engine, Out, Stored
from agentwire.runtime.pulse import Pulse
from agentwire.stores import MemoryStore
from agentwire.testing import no_leaks
from tests.runtime.kit import service

BODY = b'{"model": "m", "input": "hi", "background": true}'


class SlowStore(MemoryStore):
    """Takes a second to keep a response."""

    async def put(self, principal: str, stored: Stored) -> None:
        await trio.sleep(1)
        await super().put(principal, stored)


async def sleepy(ask: Ask, out: Out) -> None:
    await trio.sleep(10)
    await out.text("awake")


@asynccontextmanager
async def background(engine: Engine, store: MemoryStore, limits: Limits | None = None) -> AsyncGenerator[Background]:
    limits = limits or Limits()
    async with no_leaks(), trio.open_nursery() as nursery:
        yield Background(service(engine, store=store, limits=limits), Pulse(limits), nursery)


async def test_who_asked_may_go_before_it_is_accepted(autojump_clock: MockClock) -> None:
    store = SlowStore()
    async with background(sleepy, store) as it:
        with trio.move_on_after(0.5) as gone:
            await it.start("p", BODY)
        assert gone.cancelled_caught
        assert len(it.sessions) == 1
    assert store.statistics().responses == 1
    assert not it.sessions


async def test_it_is_stored_before_anybody_is_told(autojump_clock: MockClock) -> None:
    store = SlowStore()
    async with background(sleepy, store) as it:
        job = await it.start("p", BODY)
        assert job.response is not None
        stored = await store.get("p", job.response.id)
        assert stored is not None
        assert (stored.status, stored.background, stored.continuable) == ("in_progress", True, False)
        assert it.find("p", job.response.id) is job
        assert it.find("q", job.response.id) is None
    assert it.find("p", job.response.id) is None
    stored = await store.get("p", job.response.id)
    assert stored is not None
    assert (stored.status, stored.continuable, stored.node.output[0].type) == ("completed", True, "message")
    assert json.loads(stored.response)["status"] == "completed"


async def test_a_drain_stops_what_is_not_even_accepted(autojump_clock: MockClock) -> None:
    class Stuck(MemoryStore):
        async def get(self, principal: str, response_id: str) -> Stored | None:
            await trio.sleep(1000)
            return None

    async with background(sleepy, Stuck(), Limits(drain=5)) as it, trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(RequestError, match="stopped") as caught:
                await it.start("p", BODY[:-1] + b', "previous_response_id": "resp_x"}')
            assert caught.value.status == 503

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await it.drain()
        assert trio.current_time() == 5


async def test_a_drain_of_nothing_waits_for_nothing(autojump_clock: MockClock) -> None:
    async with background(sleepy, MemoryStore()) as it:
        await it.drain()
        await it.start("p", BODY)
        await it.drain()
        assert trio.current_time() == 10
