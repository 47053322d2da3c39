"""SDKs and frameworks that only know HTTP, unmodified, on one WebSocket: they were given an HTTP client, and no more.

Each holds a long tool loop and hands over its whole history with every request; what it would have sent over HTTP is
counted where the server reads it, and what it does send by a relay, which also pulls the plug.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

import agentwire
from agentwire.protocol.codec import encode_item, encode_json
from agentwire.runtime.contracts import Ask, Finish, Out
from agentwire.server import serve
from agentwire.testing.relay import Relay, open_relay
from tests.peers import converse, peer_python
from tests.peers.looking import looking
from tests.server.kit import eventually

pytestmark = [pytest.mark.peer, pytest.mark.socket]

TURNS = 30
PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "topics" / "drop-in.md"
PATHS = os.pathsep.join(str(Path(module.__file__ or "").parent.parent) for module in (agentwire, trio))
CLIENTS: dict[str, tuple[Callable[[], Path], str]] = {
    "openai-python": (partial(peer_python, "openai"), "loop_openai.py"),
    "openai-python, asyncio": (partial(peer_python, "openai"), "loop_openai_async.py"),
    "langchain": (partial(peer_python, "frameworks"), "loop_langchain.py"),
    "pydantic-ai": (partial(peer_python, "frameworks"), "loop_pydantic_ai.py"),
}


@attrs.define
class Half:
    """The engine of the long loop: it notes how large the histories are, and in the middle of a turn pulls the plug.

    Attributes:
        bytes: of all histories that it was handed.
        turns: that it was asked for.
        pull: what is done in the middle of the middle turn.
    """

    bytes: int = 0
    turns: int = 0
    pull: Callable[[], object] = attrs.field(default=lambda: None)

    async def __call__(self, ask: Ask, out: Out) -> Finish:
        self.turns += 1
        self.bytes += sum(len(encode_json(encode_item(item))) for item in ask.items)
        if self.turns == TURNS // 2:
            await out.text("Half of them. ")
            await trio.sleep(0.02)  # it is on its way
            self.pull()
        return await looking(ask, out)


async def hello(ask: Ask, out: Out) -> None:
    await out.text("Hello.")


@asynccontextmanager
async def behind_a_relay(engine: Half, **options: Any) -> AsyncGenerator[tuple[Relay, str]]:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, engine, port=0, **options))
        async with open_relay("127.0.0.1", server.port) as relay:
            engine.pull = relay.cut
            yield relay, relay.through(server.http_url)
        nursery.cancel_scope.cancel(reason="the test is over")


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_loop_rides_one_socket_through_a_cut_with_a_tenth_of_the_bytes(client: str) -> None:
    interpreter, program = CLIENTS[client]
    engine = Half()
    async with behind_a_relay(engine) as (relay, url):
        with trio.fail_after(90):
            told = await converse(interpreter(), program, url, "--turns", str(TURNS), "--drop-in", PATHS)
        assert told == {"text": f"All {TURNS} pages were looked up."}
        assert engine.turns == TURNS + 1
        shown = relay.statistics()
        assert shown.connections == 2  # one, and the one after the cut
        assert shown.bytes_up < engine.bytes / 10


async def test_a_turn_that_a_server_forgets_is_asked_again_in_full() -> None:
    interpreter, program = CLIENTS["openai-python"]
    engine = Half()
    options = ("--turns", str(TURNS), "--store", "false", "--drop-in", PATHS)
    async with behind_a_relay(engine, extensions=()) as (relay, url):
        with trio.fail_after(90):
            told = await converse(interpreter(), program, url, *options)
        assert told == {"text": f"All {TURNS} pages were looked up."}
        assert engine.turns == TURNS + 2
        shown = relay.statistics()
        assert shown.connections == 2
        assert shown.bytes_up < engine.bytes / 8


@pytest.mark.parametrize("client", ["langchain", "pydantic-ai"])
async def test_a_client_of_the_older_library_will_do_too(client: str) -> None:
    interpreter, program = CLIENTS[client]
    engine, turns = Half(), 3
    async with behind_a_relay(engine) as (relay, url):
        options = ("--turns", str(turns), "--drop-in", PATHS, "--library", "httpx")
        with trio.fail_after(60):
            told = await converse(interpreter(), program, url, *options)
        assert told == {"text": f"All {turns} pages were looked up."}
        assert relay.statistics().connections == 1


IDS = """
import sys
sys.path += PATHS
import agentwire
from openai import BadRequestError, OpenAI

url = sys.argv[1]
client = OpenAI(base_url=url, api_key="unused", http_client=agentwire.http_client(url))
print(client.responses.create(model="default", input="Say hello.")._request_id)
try:
    client.responses.create(model="default", input="Say hello.", temperature=9)
except BadRequestError as error:
    print(error.request_id)
"""


async def test_answers_and_errors_have_the_id_that_the_sdk_shows(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "agentwire")
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, hello, port=0))
        code = IDS.replace("PATHS", repr(PATHS.split(os.pathsep)))
        with trio.fail_after(60):
            ran = await trio.run_process([peer_python("openai"), "-c", code, server.http_url], capture_stdout=True)
        nursery.cancel_scope.cancel(reason="the test is over")
    (told, *others) = ran.stdout.decode().splitlines()
    assert others == [told]  # one connection
    assert f"{told}: open from 127.0.0.1" in caplog.text


async def test_the_programs_of_the_page_work(tmp_path: Path) -> None:
    """All of them in one process, which takes a third of the time; each makes its own clients."""
    programs = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(programs) == 5
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, hello, port=0))
        code = "\n".join((f"import sys\nsys.path += {PATHS.split(os.pathsep)!r}", *programs))
        path = tmp_path / "programs.py"
        path.write_text(code.replace("http://127.0.0.1:8000/v1", server.http_url), encoding="utf-8")
        with trio.fail_after(60):
            ran = await trio.run_process([peer_python("frameworks"), path], capture_stdout=True)
        assert ran.stdout.decode().splitlines() == ["Hello."] * len(programs)
        await eventually(lambda: not server.statistics().connections)
        assert server.statistics().ended == {"closed by the client": len(programs)}  # each on a WebSocket of its own
        nursery.cancel_scope.cancel(reason="the test is over")
