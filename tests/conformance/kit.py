"""Our own server, as the cases want it: three models, small limits, two keys; in memory or on 127.0.0.1."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from agentwire.engines import builtin
from agentwire.engines.chat import open_chat_engine
from agentwire.engines.responses import open_responses_engine
from agentwire.engines.wire import open_wire_engine
from agentwire.protocol.errors import EngineError
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Engine, Finish, Out, Store
from agentwire.server import Server, serve
from agentwire.stores import MemoryStore, open_sqlite_store
from agentwire.testing import Fault, network, no_leaks
from agentwire.testing.conformance import Peer
from agentwire.testing.conformance.companion import Companion, open_companion
from agentwire.testing.conformance.rules import Profile
from agentwire.testing.conformance.wired import open_wired
from tests.server.kit import serving

LIMITS = Limits(message_bytes=100_000, queued=20, connections=40)
KEYS = ("sk-one", "sk-two")
ABLE = frozenset(("tools", "reasoning", "search", "steering"))
SILENCE = 70
CONTEXT = 12_000
SEARCH = {"type": "search", "query": "websockets"}


def models(pace: float) -> Engine:
    """An engine with three models: ``builtin``, ``slow`` and ``fails``.

    Args:
        pace: seconds that ``slow`` takes for a word.
    """
    quick, slow = builtin(), builtin(delay=pace)

    async def engine(ask: Ask, out: Out) -> Finish | None:
        if ask.model == "fails":
            raise EngineError("The model stopped.")
        if ask.tool_choice.names == ("web_search",):
            await out.item({"type": "web_search_call", "status": "completed", "action": SEARCH})
            await out.text("Nothing was found.")
            return None
        if ask.model == "slow":  # it thinks before its first word
            await trio.sleep(SILENCE if "silent" in str(ask.new_items) else pace)
        return await (slow if ask.model == "slow" else quick)(ask, out)

    vars(engine)["context_tokens"] = CONTEXT
    return engine


def peer_at(url: str, profile: Profile, **more: Any) -> Peer:
    """What such a server can do."""
    return Peer(
        url,
        model="builtin",
        key=KEYS[0],
        second_key=KEYS[1],
        slow_model="slow",
        failing_model="fails",
        limits={
            "message_bytes": LIMITS.message_bytes,
            "queued": LIMITS.queued,
            "connections": LIMITS.connections,
            "steers": 16,
            "context_tokens": CONTEXT,
        },
        profile=profile,
        **more,
    )


@asynccontextmanager
async def in_memory(
    profile: Profile,
    *,
    engine: Engine | None = None,
    limits: Limits = LIMITS,
    store: Store | None = None,
    generous: bool = False,
) -> AsyncGenerator[Peer]:
    """A server on a network in memory, where waiting costs nothing; it may have other parts than it tells."""
    options: dict[str, Any] = {"keys": KEYS, "limits": limits, "store": store, "generous": generous}
    async with serving(engine or models(0.5), net=network(keep=False), **options) as rig:
        yield peer_at("http://localhost/v1", profile, able=ABLE | {"patience"}, dial=rig.dial)


OPENERS = {"chat": open_chat_engine, "responses": open_responses_engine, "wire": open_wire_engine}


@asynccontextmanager
async def opened_before(companion: Companion, kind: str, limits: Limits) -> AsyncGenerator[Engine]:
    """The engine of this kind in front of the companion."""
    opener: Any = OPENERS[kind]
    async with AsyncExitStack() as stack:
        url, connect = companion.url, companion.connect
        if kind == "wire":
            net = network(keep=False)
            url, connect = await stack.enter_async_context(open_wired(companion, net=net)), net.connect
        yield await stack.enter_async_context(opener(url, connector=connect, limits=limits))


@asynccontextmanager
async def before_companion(
    profile: Profile, kind: str = "chat", *, wrap: Callable[[Engine], Engine] = lambda engine: engine, **options: Any
) -> AsyncGenerator[Peer]:
    """A server in memory in front of the companion, which is in memory as well."""
    usual: dict[str, Any] = {"keys": KEYS, "limits": LIMITS, "sources": Sources.seeded(1), **options}
    async with (
        no_leaks(rounds=50),
        open_companion(net=network(keep=False)) as companion,
        opened_before(companion, kind, usual["limits"]) as engine,
        trio.open_nursery() as nursery,
    ):
        net = network(keep=False)
        await nursery.start(partial(serve, wrap(engine), host=None, listeners=[net.listener()], **usual))
        peer = peer_at("http://localhost/v1", profile, able=["tools", "steering", "patience"], dial=net.connect)
        models: dict[str, Any] = {
            "model": "companion",
            "slow_model": "companion-slow",
            "failing_model": "companion-fails",
        }
        yield attrs.evolve(peer, companion=companion, **models)
        nursery.cancel_scope.cancel(reason="the test is over")


class MemoryProcess:
    """A server in memory that can be ended as a process is, and started again with the store of before.

    Args:
        nursery: where it runs.
        run: `serve` with everything but its listener; it is told the status of its task.
    """

    def __init__(self, nursery: trio.Nursery, run: Callable[..., Awaitable[None]]) -> None:
        self.running = self._leaving = False
        self.code = 0
        self._nursery, self._run = nursery, run
        self.net = network(keep=False)
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._server: Server | None = None

    def descriptors(self) -> int:
        return sum(stream.side == "server" for stream in self.net.open_streams())

    async def dial(self) -> trio.abc.Stream:
        """A connection to whatever runs."""
        return await self.net.connect()

    async def start(self) -> None:
        if self._leaving:
            await self.kill()
        if not self.running:
            self.running, self.code = True, 0
            self._leaving = False
            self.net, self._scope, self._ended = network(keep=False), trio.CancelScope(), trio.Event()
            self._server = await self._nursery.start(self._live)

    async def _live(self, *, task_status: trio.TaskStatus[Server]) -> None:
        with self._scope:
            await self._run(listeners=[self.net.listener()], task_status=task_status)
        self.running = False
        self._ended.set()

    async def terminate(self) -> None:
        assert self._server is not None
        self._leaving = True
        self._nursery.start_soon(self._server.drain)
        await trio.lowlevel.checkpoint()

    async def kill(self) -> None:
        for number in range(len(self.net.links)):
            self.net.arm(Fault("cut", "server", connection=number))
        self.code = -9
        self._scope.cancel(reason="killed")
        await self._ended.wait()

    async def wait(self) -> int:
        await self._ended.wait()
        return self.code


@asynccontextmanager
async def as_process(
    profile: Profile, *, engine: Engine | None = None, store: Store | None = None, **options: Any
) -> AsyncGenerator[Peer]:
    """A server in memory that a case may end and start again."""
    store = store or MemoryStore()
    usual: dict[str, Any] = {"keys": KEYS, "limits": LIMITS, "store": store, "sources": Sources.seeded(1)}
    async with no_leaks(rounds=50), trio.open_nursery() as nursery:
        process = MemoryProcess(nursery, partial(serve, engine or models(0.5), host=None, **(usual | options)))
        await process.start()
        yield peer_at("http://localhost/v1", profile, able=ABLE | {"patience"}, dial=process.dial, process=process)
        nursery.cancel_scope.cancel(reason="the test is over")


@asynccontextmanager
async def on_sockets(profile: Profile, path: Path) -> AsyncGenerator[Peer]:
    """A server on 127.0.0.1, for two minutes at most, in front of a store on disk."""
    with trio.fail_after(110):
        async with no_leaks(rounds=2000), open_sqlite_store(path) as store, trio.open_nursery() as nursery:
            run = partial(serve, models(0.02), keys=KEYS, limits=LIMITS, store=store)
            server: Server = await nursery.start(run)
            yield peer_at(server.http_url, profile, able=ABLE)
            nursery.cancel_scope.cancel(reason="the test is over")
