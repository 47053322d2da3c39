"""Real servers behind the engines that relay: what they say reaches the official SDK, and what ends there ends here.

llama.cpp's server answers with a small model; its own Responses API leaves out most of what it should say, and vLLM's
gateway stands in front of it as another one that does not. A second agentwire is a process of its own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio

from agentwire.engines.probing import probe
from agentwire.engines.responses import open_responses_engine
from agentwire.engines.wire import open_wire_engine
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Engine
from agentwire.server.server import Server, serve
from agentwire.testing.relay import Relay, open_relay
from agentwire.transport.http_client import open_http_client
from tests import peers
from tests.peers import upstreams
from tests.peers.upstreams import Upstream
from tests.runtime.kit import Client, client

pytestmark = [pytest.mark.peer, pytest.mark.socket, pytest.mark.timeout(180)]

DEADLINE: Final = 120
TEXT_ENDS: Final = ("response.completed", "response.incomplete")  # a model may have more to say than it is allowed
Opens = Callable[..., AbstractAsyncContextManager[Engine]]


@attrs.frozen
class Chain:
    """An engine, and the upstream that it is in front of."""

    upstream: Upstream
    opens: Opens

    def engine(self, url: str | None = None) -> AbstractAsyncContextManager[Engine]:
        """The engine, opened; by way of another URL if one is given."""
        return self.opens(url or self.upstream.url, model=self.upstream.model)

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[Server]:
        """A server on a socket in front of it all, which has not failed a turn when the block is left."""
        with trio.fail_after(DEADLINE):
            async with self.engine() as engine, trio.open_nursery() as nursery:
                server = await nursery.start(partial(serve, engine, models=[self.upstream.model]))
                yield server
                assert "failed" not in server.statistics().turns
                nursery.cancel_scope.cancel(reason="the test is over")

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[tuple[Client, Relay]]:
        """A client in this process, and the relay through which the engine reaches the upstream."""
        with trio.fail_after(DEADLINE):
            async with (
                open_relay("127.0.0.1", self.upstream.port) as relay,
                self.engine(relay.through(self.upstream.url)) as engine,
                client(engine) as it,
            ):
                yield it, relay


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with upstreams.llama(tmp_path_factory.mktemp("llama")) as found:
        yield found


@pytest.fixture(scope="module")
def agentic(llama: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with upstreams.agentic_api(tmp_path_factory.mktemp("agentic"), llama) as found:
        yield found


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with upstreams.agentwire_server(tmp_path_factory.mktemp("behind")) as found:
        yield found


MODELS: Final = {
    "responses-llama": ("llama", open_responses_engine),
    "responses-agentic": ("agentic", open_responses_engine),
    "wire-agentic": ("agentic", open_wire_engine),
}
SECONDS: Final = {
    "responses-agentwire": ("behind", open_responses_engine),
    "wire-agentwire": ("behind", open_wire_engine),
}


def chains(table: dict[str, tuple[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("chain", table.items(), ids=list(table), indirect=True)


@pytest.fixture
def chain(request: pytest.FixtureRequest) -> Chain:
    _, (upstream, opens) = request.param
    return Chain(request.getfixturevalue(upstream), opens)


def check_texts(report: dict[str, Any]) -> None:
    first, second = report["turns"]
    assert first["id"] != second["id"]
    for turn in (first, second):
        assert f"response.{turn['status']}" in TEXT_ENDS
        assert "response.output_text.delta" in turn["events"]
    assert report["text"]
    assert report["usage"]["input_tokens"] > 0
    assert report["usage"]["output_tokens"] > 0


# A model, whose text is its own


@chains(MODELS)
async def test_two_turns_of_a_model_over_the_websocket_and_over_http(chain: Chain, openai_python: Path) -> None:
    async with chain.serving() as server:
        ask = partial(peers.converse, openai_python)
        check_texts(await ask("openai_ws.py", server.http_url, "--no-tools", "--store", "false", "--timeout", "60"))
        check_texts(await ask("openai_http.py", server.http_url, "--no-tools", "--stream", "--timeout", "60"))


@chains(MODELS)
async def test_a_model_stops_when_the_client_leaves(chain: Chain, llama: Upstream) -> None:
    async with chain.client() as (it, relay), slots_of(llama) as busy:
        *_, ended = await it.wire.ask("Say hi.", max_output_tokens=16)
        assert ended["type"] in TEXT_ENDS
        it.wire.say(json.dumps(create("Tell me a very long story.", max_output_tokens=3_000)).encode())
        await it.wire.until("response.output_text.delta")
        assert await busy()
        connections = relay.statistics().open
        it.wire.vanish()
        while await busy() or relay.statistics().open >= connections:  # noqa: ASYNC110 - other processes' business
            await trio.sleep(0.05)


async def test_what_a_model_cannot_read_is_refused_with_its_code(llama: Upstream) -> None:
    async with Chain(llama, open_responses_engine).client() as (it, _):
        *_, error, failed = await it.wire.ask("word " * 9_000)
        assert (error["type"], failed["type"]) == ("error", "response.failed")
        assert error["status"] == 400
        assert error["error"]["code"] == failed["response"]["error"]["code"] == "context_length_exceeded"
        *_, ended = await it.wire.ask("Say hi.", max_output_tokens=16)
        assert ended["type"] in TEXT_ENDS


# Another agentwire, which calls tools, and fails when told


@chains(SECONDS)
async def test_a_tool_loop_over_the_websocket_and_over_http(chain: Chain, openai_python: Path) -> None:
    async with chain.serving() as server:
        for program, *options in (["openai_ws.py", "--store", "false"], ["openai_http.py", "--stream"]):
            report = await peers.converse(openai_python, program, server.http_url, *options)
            asked, answered = report["turns"]
            assert asked["status"] == answered["status"] == "completed"
            assert "response.function_call_arguments.delta" in asked["events"]
            assert report["call"]["name"] == "get_weather"
            assert report["call"]["arguments"] == {"city": "Paris"}
            assert "sunny" in report["text"]
            assert report["usage"]["total_tokens"] > 0


@chains(SECONDS)
async def test_the_upstream_hears_at_once_that_the_client_has_left(chain: Chain) -> None:
    async with chain.client() as (it, _):
        ended = chain.upstream.log.read_text().count("turn ended")
        it.wire.say(json.dumps(create("SILENT")).encode())
        await it.wire.until("response.output_text.delta")
        it.wire.vanish()
        while chain.upstream.log.read_text().count("turn ended") == ended:  # noqa: ASYNC110 - another process's business
            await trio.sleep(0.01)


@chains(SECONDS)
async def test_errors_come_through_with_their_codes_and_the_next_turn_works(chain: Chain) -> None:
    async with chain.client() as (it, _):
        *_, error, failed = await it.wire.ask("BUSY")
        assert (error["status"], error["error"]["code"]) == (429, "rate_limit_exceeded")
        assert error["error"]["headers"]["retry-after"] == "7"
        assert failed["response"]["error"]["code"] == "rate_limit_exceeded"
        *_, error, failed = await it.wire.ask("CRASH")
        assert error["error"]["code"] == failed["response"]["error"]["code"] == "server_is_overloaded"
        assert failed["response"]["output"][0]["status"] == "incomplete"
        *_, ended = await it.wire.ask("Say hello.")
        assert ended["type"] == "response.completed"


# What the tests need


def create(content: str, **fields: Any) -> dict[str, Any]:
    return {"type": "response.create", "model": "any", "input": content, **fields}


@asynccontextmanager
async def slots_of(llama: Upstream) -> AsyncGenerator[Callable[[], Any]]:
    """Asks whether the model's server is at work, past everything else."""
    async with open_http_client(llama.url.removesuffix("/v1"), limits=Limits()) as http:

        async def busy() -> bool:
            slots = json.loads((await http.request("GET", "/slots")).body)
            return any(slot["is_processing"] for slot in slots)

        yield busy


@pytest.mark.parametrize(
    ("server", "kind", "program"),
    [("llama", "chat", "llama.cpp"), ("agentic", "wire", ""), ("behind", "wire", "agentwire")],
)
async def test_what_it_speaks_is_found_out(
    server: str, kind: str, program: str, request: pytest.FixtureRequest
) -> None:
    upstream: Upstream = request.getfixturevalue(server)
    with trio.fail_after(DEADLINE):
        found = await probe(upstream.url.removesuffix("/v1"))
    assert (found.kind, found.base_url) == (kind, upstream.url)
    assert not program or found.program == program
