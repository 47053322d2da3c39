"""Background responses in a file: another process follows them while they run, and shows how they ended."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Out
from agentwire.server import serve
from agentwire.stores import open_sqlite_store
from agentwire.testing import network
from tests.runtime.kit import Event, check
from tests.server.kit import Rig
from tests.server.test_background_door import PATH, cancel, events_of, poll, start, until_over
from tests.server.test_http_door import ask, get

LIMITS = Limits(store_poll=0.01)


@attrs.define(eq=False)
class Gate:
    """An engine that says a word, and the next one when it may."""

    opened: trio.Event = attrs.field(factory=trio.Event)

    async def __call__(self, ask: Ask, out: Out) -> None:
        await out.text("one ")
        await self.opened.wait()
        await out.text("two")


@asynccontextmanager
async def process(path: Path, engine: Gate, seed: int) -> AsyncGenerator[Rig]:
    """A server with the file opened for itself."""
    sources, net = Sources.seeded(seed), network()
    streams: list[trio.abc.AsyncResource] = []
    async with open_sqlite_store(path, limits=LIMITS, sources=sources) as store, trio.open_nursery() as nursery:
        run = partial(serve, engine, host=None, listeners=[net.listener()], store=store, limits=LIMITS, sources=sources)
        yield Rig(await nursery.start(run), nursery, net.connect, streams, net)
        nursery.cancel_scope.cancel(reason="the process ends")
    for stream in streams:
        await trio.aclose_forcefully(stream)


async def test_another_process_follows_it_and_continues_it(tmp_path: Path) -> None:
    gate, path = Gate(), tmp_path / "store.db"
    with trio.fail_after(20):
        async with process(path, gate, 1) as one, process(path, gate, 2) as other:
            response = await start(one)
            told: list[list[Event]] = []

            async def follow(rig: Rig) -> None:
                told.append(await events_of(rig, response["id"]))

            async with trio.open_nursery() as nursery:
                for rig in (one, other, other):
                    nursery.start_soon(follow, rig)
                assert (await poll(other, response["id"]))["status"] == "in_progress"
                status, body = await cancel(other, response["id"])
                assert (status, body["error"]["code"]) == (409, "response_runs_elsewhere")
                reply = await get(other, f"{PATH}/{response['id']}", method="DELETE")
                assert reply.status == 409
                gate.opened.set()
            check(told[0])
            assert told[0] == told[1] == told[2]
            assert told[0][-1]["response"] == await poll(other, response["id"])
            _, later = await ask(await other.http(), "on", previous_response_id=response["id"])
            assert later["status"] == "completed"
            assert (await get(other, f"{PATH}/{response['id']}", method="DELETE")).status == 200
            assert (await get(one, f"{PATH}/{response['id']}")).status == 404


async def test_what_a_stopped_server_leaves_has_failed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with trio.fail_after(20):
        async with process(path, Gate(), 1) as one:
            response = await start(one)
            await trio.sleep(0.1)
        async with process(path, Gate(), 2) as other:
            last = await until_over(other, response["id"])
            assert last["status"] == "failed"
            events = await events_of(other, response["id"])
            assert (events[-1]["type"], events[-1]["response"]) == ("response.failed", last)
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
