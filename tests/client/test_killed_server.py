"""A server is killed while a hundred rollouts run, and comes back on its port: all are done, and no tool ran twice."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from agentwire.client import Client, connect
from agentwire.protocol.limits import Limits
from agentwire.runtime.policies import Resume
from tests.cli.kit import serving
from tests.peers.upstreams import free_port

pytestmark = [pytest.mark.socket, pytest.mark.timeout(120)]

RUNS, CONNECTIONS, PAGES = 100, 4, 4
LIMITS = Limits(reconnect_longest=0.5)


@attrs.define
class Library:
    """The tools of all runs; it tells when so many pages were looked up."""

    alarm: int
    begun: Counter[tuple[int, int]] = attrs.field(factory=Counter)
    ended: int = 0
    texts: list[str] = attrs.field(factory=list)
    halfway: trio.Event = attrs.field(factory=trio.Event)
    done: trio.Event = attrs.field(factory=trio.Event)

    async def read(self, wire: Client, number: int, *, store: bool) -> None:
        async def look_up(page: int) -> str:
            self.begun[number, page] += 1
            await trio.sleep(0.002 * (page % 3))
            self.ended += 1
            if self.ended == self.alarm:
                self.halfway.set()
            return f"Page {page} of {number}."

        async with wire.run(f"Look up {PAGES} pages, 2 at a time.", tools=[look_up], store=store) as run:
            self.texts.append((await run.finish()).output_text)
        if len(self.texts) == RUNS:
            self.done.set()


@pytest.mark.parametrize("store", [False, True], ids=["forgets", "sqlite"])
async def test_a_hundred_rollouts_survive_a_kill(store: bool, tmp_path: Path) -> None:
    port, library = free_port(), Library(RUNS * PAGES // 2)
    url = f"http://127.0.0.1:{port}/v1"
    options: tuple[str, ...] = ("--engine", "tests.peers.clerk:clerk", "--port", str(port), "--log-level", "error")
    if store:
        options += ("--store", f"sqlite:///{tmp_path / 'stored.db'}")

    async def client(share: range) -> None:
        async with (
            connect(url, on_disconnect=Resume(within=60), repeat="always" if store else "safe", limits=LIMITS) as wire,
            trio.open_nursery() as nursery,
        ):
            for number in share:
                nursery.start_soon(partial(library.read, wire, number, store=store))

    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            async with serving(*options) as first:
                for start in range(CONNECTIONS):
                    nursery.start_soon(client, range(start, RUNS, CONNECTIONS))
                await library.halfway.wait()
                first.process.kill()
            assert len(library.texts) < RUNS
            second = await nursery.start(_again, options)
            await library.done.wait()
            second.cancel(reason="all are done")
    whole = f"Seen: {' '.join(map(str, range(1, PAGES + 1)))}."
    assert library.texts == [whole] * RUNS
    assert library.begun == Counter({(number, page): 1 for number in range(RUNS) for page in range(1, PAGES + 1)})


async def _again(options: tuple[str, ...], *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    with trio.CancelScope() as scope:
        async with serving(*options):
            task_status.started(scope)
            await trio.sleep_forever()
