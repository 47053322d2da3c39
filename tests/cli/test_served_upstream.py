"""The server behind ``--upstream``: found at the start, found later, or not at all."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
import trio
import trio.testing

from agentwire.cli.failures import UserError
from agentwire.cli.served_upstream import ServedUpstream, open_served_upstream
from agentwire.cli.upstreams import UpstreamKind
from agentwire.engines.probing import Found
from agentwire.engines.script import Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.protocol.errors import EngineError
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Engine, Finish, Out, Summarized
from agentwire.server import serve
from agentwire.testing.recording import RecordingOut, ask_for
from tests.peers.upstreams import free_port
from tests.runtime.kit import client
from tests.runtime.mcps import Fake, registry

AWAY = Found(base_url="http://h", said="http://h: Connection refused")
THERE = Found(base_url="http://h/v1", kind="chat", reachable=True, models=("small", "large"))
STRANGE = Found(base_url="http://h", reachable=True, said="GET /models is answered with HTTP 404")


@attrs.define
class World:
    """What is found of the server, look by look, and the engine in front of it, which remembers whom it was asked for.

    The last thing that is found is found again; an exception is raised. ``faults`` are raised by opening the engine.
    """

    finds: list[Found | Exception]
    faults: list[Exception] = attrs.field(factory=list)
    context_tokens: int = 9
    looks: int = 0
    opened: list[str] = attrs.field(factory=list)
    asked: list[str] = attrs.field(factory=list)

    async def find(self, url: str, kind: UpstreamKind | None, **_: object) -> Found:
        await trio.lowlevel.checkpoint()
        self.looks += 1
        found = self.finds.pop(0) if len(self.finds) > 1 else self.finds[0]
        if isinstance(found, Exception):
            raise found
        return found

    @asynccontextmanager
    async def open(self, url: str, kind: UpstreamKind, **_: object) -> AsyncGenerator[Engine]:
        if self.faults:
            raise self.faults.pop(0)
        self.opened.append(f"{kind} {url}")
        yield self
        self.opened.append("closed")

    async def __call__(self, ask: Ask, out: Out) -> Finish:
        self.asked.append(ask.model)
        await out.text("ok")
        return Finish()

    async def compact(self, ask: Ask) -> Summarized:
        await trio.lowlevel.checkpoint()
        self.asked.append(f"summary of {ask.model}")
        return Summarized("short")


@asynccontextmanager
async def served(
    monkeypatch: pytest.MonkeyPatch, *finds: Found | Exception, model: str | None = None
) -> AsyncGenerator[tuple[ServedUpstream, World]]:
    world = World(list(finds))
    monkeypatch.setattr("agentwire.cli.served_upstream.find_upstream", world.find)
    monkeypatch.setattr("agentwire.cli.served_upstream.open_upstream_engine", world.open)
    opening = open_served_upstream("http://h", None, key=None, model=model, context_tokens=None, limits=Limits())
    async with opening as upstream:
        yield upstream, world


async def say(engine: Engine, model: str) -> None:
    await engine(ask_for("hey", model=model), RecordingOut())


async def test_a_server_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(monkeypatch, THERE) as (upstream, world):
        assert str(upstream) == str(THERE)
        assert await upstream.models() == ("small", "large")
        await say(upstream, "large")
    assert world == World([THERE], looks=1, opened=["chat http://h/v1", "closed"], asked=["large"])


async def test_a_request_without_a_name_is_for_the_first_model(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(monkeypatch, THERE) as (upstream, world):
        await say(upstream, "default")
        ask = ask_for("hey", model="default")
        chosen = upstream.engine_for(ask.request)
        assert getattr(chosen, "context_tokens", None) == 9
        assert getattr(chosen, "count_tokens", None) is None
        assert (await getattr(chosen, "compact")(ask)).text == "short"  # noqa: B009 - as the runtime asks for it
        assert upstream.engine_for(ask_for("hey", model="large").request) is world
    assert world.asked == ["small", "summary of small"]


@pytest.mark.parametrize(
    ("found", "model", "listed"),
    [
        (attrs.evolve(THERE, models=()), None, ("default",)),
        (attrs.evolve(THERE, models=("small", "default")), None, ("small", "default")),
        (THERE, "large", ("large",)),
    ],
)
async def test_a_request_without_a_name_that_stays_so(
    monkeypatch: pytest.MonkeyPatch, found: Found, model: str | None, listed: tuple[str, ...]
) -> None:
    async with served(monkeypatch, found, model=model) as (upstream, world):
        await say(upstream, "default")
        assert await upstream.models() == listed
    assert world.asked == ["default"]


async def test_a_server_that_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(monkeypatch, AWAY, AWAY, STRANGE, AWAY, THERE) as (upstream, world):
        assert str(upstream) == "http://h: Connection refused; each turn looks for it again"
        with pytest.raises(EngineError, match="The model's server failed: http://h: Connection refused\\.") as caught:
            await say(upstream, "small")
        assert (caught.value.code, caught.value.status) == ("upstream_unreachable", 502)
        with pytest.raises(EngineError, match="HTTP 404"):
            await say(upstream, "small")
        assert await upstream.models() == ("default",)
        assert (world.looks, world.opened) == (4, [])
        assert upstream.engine_for(ask_for("hey", model="default").request) is upstream
        await say(upstream, "default")
        await say(upstream, "large")
        assert await upstream.models() == ("small", "large")
        assert str(upstream) == str(THERE)
        assert (world.looks, world.asked) == (5, ["small", "large"])
    assert world.opened == ["chat http://h/v1", "closed"]


async def test_whatever_a_later_look_or_opening_raises_is_not_there_yet(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(monkeypatch, AWAY, RuntimeError("secret"), THERE) as (upstream, world):
        world.faults.append(UserError("no such key"))
        for why in ("RuntimeError: secret", "UserError: no such key"):
            caplog.clear()
            with pytest.raises(EngineError, match="failed: http://h: looking for it failed") as caught:
                await say(upstream, "small")
            assert caught.value.code == "upstream_unreachable"
            (record,) = caplog.records
            assert record.exc_info is not None
            assert f"http://h: looking for it failed: {why}" in caplog.text
        await say(upstream, "small")
    assert (world.looks, world.opened, world.asked) == (4, ["chat http://h/v1", "closed"], ["small"])


async def test_what_the_first_look_raises_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no such key"):
        async with served(monkeypatch, UserError("no such key")):
            pass


async def test_turns_that_come_together_share_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(monkeypatch, AWAY, THERE) as (upstream, world):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(say, upstream, "large")
        assert (world.looks, world.asked) == (2, ["large"] * 3)


async def test_a_turn_that_does_not_wait_for_the_look_leaves_it_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(monkeypatch, AWAY, THERE) as (upstream, world):
        with trio.CancelScope() as scope:
            scope.cancel()
            await say(upstream, "large")
        await trio.testing.wait_all_tasks_blocked()
        await say(upstream, "small")
    assert (world.looks, world.asked) == (2, ["small"])


async def test_tools_that_a_server_may_host_wait_for_it_as_the_turn_does(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    theirs = {"type": "mcp", "server_label": "theirs", "server_url": "https://x.example/mcp"}
    async with (
        served(monkeypatch, AWAY, THERE) as (upstream, world),
        client(upstream, registry=registry({"docs": Fake()})) as it,
    ):
        events = await it.wire.ask(tools=[theirs])
    assert (events[-1]["type"], world.looks, len(world.asked)) == ("response.completed", 2, 1)


async def test_a_server_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(monkeypatch, AWAY) as (_, world):
        pass
    assert (world.looks, world.opened) == (1, [])


async def test_a_server_that_speaks_nothing_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="http://h: GET /models is answered with HTTP 404; is the base URL right"):
        async with served(monkeypatch, STRANGE):
            pass


@pytest.mark.socket
async def test_a_real_server_that_comes_after_another_program_has_answered_there() -> None:
    port = free_port()
    nested = b'{"error":' * 3000 + b"1" + b"}" * 3000
    answer = b"HTTP/1.1 404 X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(nested), nested)

    async def strange(stream: trio.SocketStream) -> None:
        async with stream:
            if await stream.receive_some():
                await stream.send_all(answer)

    opening = open_served_upstream(
        f"http://127.0.0.1:{port}", None, key=None, model=None, context_tokens=None, limits=Limits()
    )
    with trio.fail_after(60):
        async with opening as upstream, trio.open_nursery() as nursery:
            with pytest.raises(EngineError, match="Connection refused"):
                await say(upstream, "m")
            async with trio.open_nursery() as others:
                await others.start(partial(trio.serve_tcp, strange, port, host="127.0.0.1"))
                with pytest.raises(EngineError, match="HTTP 404, and there is none of the APIs"):
                    await say(upstream, "m")
                others.cancel_scope.cancel(reason="the model's server takes its place")
            await nursery.start(partial(serve, scripted(Turn(Text("Hello."))), port=port, models=["m"]))
            out = RecordingOut()
            await upstream(ask_for("hey", model="m"), out)
            assert out.text_written == "Hello."
            assert str(upstream) == f"the WebSocket mode of http://127.0.0.1:{port}/v1 (agentwire), models: m"
            nursery.cancel_scope.cancel(reason="the test is over")
