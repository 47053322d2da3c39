"""One client program, unchanged, before servers that have nothing in common but the protocol, and over HTTP.

Ours; one written on `websockets` and the protocol's text alone; vLLM's gateway with that one as its model; and that one
where it refuses WebSockets. Then the same with the plug pulled twice, and before servers that forget, grow old, drop
connections and shape their errors otherwise.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from agentwire.client import Client, connect
from agentwire.protocol.limits import Limits
from agentwire.runtime.policies import Resume
from agentwire.testing import no_leaks
from agentwire.testing.relay import open_relay
from agentwire.transport.http_client import open_http_client
from tests import peers
from tests.peers import upstreams
from tests.peers.upstreams import Upstream

pytestmark = [pytest.mark.peer, pytest.mark.socket, pytest.mark.timeout(120)]

PAGES = 20
LIMITS = Limits(reconnect_longest=0.5, handshake=10)


@attrs.define
class Program:
    """What anybody might write: an agent with a tool, one beside it, and a conversation."""

    looked_up: list[int] = attrs.field(factory=list)
    text: str = ""
    beside: list[str] = attrs.field(factory=list)
    on_page: Callable[[int], None] = attrs.field(default=lambda page: None)

    async def look_up(self, page: int) -> str:
        """Look up a page of the manual."""
        self.looked_up.append(page)
        self.on_page(len(self.looked_up))
        await trio.sleep(0.001)
        return f"This is page {page}."

    async def run(self, url: str) -> None:
        policy = Resume(within=30)
        async with (
            connect(url, model="any", on_disconnect=policy, limits=LIMITS) as wire,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._agent, wire)
            nursery.start_soon(self._talk, wire)

    async def _agent(self, wire: Client) -> None:
        async with wire.run(f"Look up {PAGES} pages, 3 at a time.", tools=[self.look_up]) as run:
            self.text = (await run.finish()).output_text

    async def _talk(self, wire: Client) -> None:
        first = await wire.respond("Hello.")
        second = await wire.respond("And again.", previous_response_id=first.id)
        self.beside += [first.output_text, second.output_text]

    def check(self) -> None:
        """The task is done, every page was looked up once, and the conversation was not disturbed."""
        assert self.text == f"Seen: {' '.join(map(str, range(1, PAGES + 1)))}."
        assert sorted(self.looked_up) == list(range(1, PAGES + 1))
        assert self.beside == ["You said: Hello."] * 2


@contextmanager
def independent(*options: str) -> Generator[Upstream]:
    """The server that knows nothing of agentwire."""
    command: list[str | Path] = [sys.executable, peers.program("independent_server.py"), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Upstream(process.stdout.readline().strip(), "any", Path("/dev/null"))
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def plain() -> Iterator[Upstream]:
    with independent() as found:
        yield found


@pytest.fixture(scope="module")
def refusing() -> Iterator[Upstream]:
    with independent("--refuse", "426") as found:
        yield found


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with upstreams.agentwire_server(tmp_path_factory.mktemp("ours"), "tests.peers.clerk:clerk") as found:
        yield found


@pytest.fixture(scope="module")
def agentic(plain: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with upstreams.agentic_api(tmp_path_factory.mktemp("agentic"), plain) as found:
        yield found


SERVERS = pytest.mark.parametrize("server", ["ours", "plain", "agentic", "refusing"])


@SERVERS
async def test_the_program_runs_before_every_server(server: str, request: pytest.FixtureRequest) -> None:
    upstream: Upstream = request.getfixturevalue(server)
    program = Program()
    with trio.fail_after(60):
        async with no_leaks(rounds=2000):
            await program.run(upstream.url)
    program.check()


@SERVERS
async def test_the_program_survives_a_pulled_plug(server: str, request: pytest.FixtureRequest) -> None:
    upstream: Upstream = request.getfixturevalue(server)
    with trio.fail_after(60):
        async with no_leaks(rounds=2000), open_relay("127.0.0.1", upstream.port) as relay:

            def pull(count: int) -> None:
                if count in (7, 14):
                    relay.cut()

            program = Program(on_page=pull)
            await program.run(relay.through(upstream.url))
            assert relay.statistics().connections >= 3
    program.check()


@pytest.mark.parametrize(
    "options",
    [["--forget"], ["--forget", "--flat"], ["--turns", "3"], ["--drop", "40", "--delay", "0.001"], ["--drop", "97"]],
    ids=" ".join,
)
async def test_the_program_survives_a_difficult_server(options: list[str]) -> None:
    program = Program()
    with trio.fail_after(60), independent(*options) as upstream:
        await program.run(upstream.url)
    program.check()


async def statistics(upstream: Upstream) -> dict[str, Any]:
    """What the independent server has counted."""
    async with open_http_client(upstream.url.removesuffix("/v1"), limits=Limits()) as http:
        counts: dict[str, Any] = json.loads((await http.request("GET", "/statistics")).body)
        return counts


async def test_a_refused_upgrade_is_remembered() -> None:
    program = Program()
    with trio.fail_after(60), independent("--refuse", "426") as upstream:
        await program.run(upstream.url)
        counts = await statistics(upstream)
    program.check()
    assert (counts["refused"], counts["connections"], counts["websocket"]) == (1, 0, 0)
    assert counts["http"] == 10
    assert counts["bad_history"] == 0


async def test_a_server_that_forgets_is_told_everything_once() -> None:
    program = Program()
    with trio.fail_after(60), independent("--forget") as upstream:
        await program.run(upstream.url)
        counts = await statistics(upstream)
    program.check()
    assert counts["bad_history"] == 0
    assert counts["not_found"] <= 8
    assert counts["websocket"] == 10
