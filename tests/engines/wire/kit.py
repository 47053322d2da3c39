"""A whole hop in memory: a client's end, a server with the `wire` engine, a network, and a second server behind it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio

from agentwire.engines.wire import WireEngine, open_wire_engine
from agentwire.protocol.ids import Sources
from agentwire.runtime.contracts import Ask, Engine, Finish, Out
from agentwire.server import serve
from agentwire.testing import MemoryStream, Network, network, no_leaks
from tests.link.peer import Peer as Scripted
from tests.link.peer import serve_script
from tests.server.kit import Peer, Rig, _closing

URL = "ws://upstream/v1"
Json = dict[str, Any]


@attrs.define(eq=False)
class Hop:
    """What there is: the server in front, its engine, and the network to the upstream.

    Attributes:
        front: the server that clients know.
        engine: its engine.
        net: between the two.
        far: a second network on which clients can reach the server in front, if there is one.
        upstream: the server behind; None if that is a script.
    """

    front: Rig
    engine: WireEngine
    net: Network
    far: Network | None = None
    upstream: Rig | None = None

    def requests(self) -> list[Json]:
        """What has gone up, as messages."""
        return [message for message in self.said("client") if message["type"] == "response.create"]

    def said(self, side: Any) -> list[Json]:
        """The messages of one side of all connections."""
        return [message for who, _, message in self.net.trace.events() if who == side]

    async def far_peer(self) -> Peer:
        """A client on the second network."""
        assert self.far is not None
        stream = await self.far.connect()
        self.front.streams.append(stream)
        peer = Peer(stream)
        await peer.shake_hands()
        return peer

    async def idle(self) -> None:
        """Wait until nothing is in the pool's books that runs or waits."""
        while True:
            shown = self.engine.statistics().pool
            if not (shown.running or shown.waiting or shown.opening):
                return
            await trio.sleep(0.01)


@attrs.define
class Seen:
    """An engine that notes what it is asked."""

    engine: Engine
    asks: list[Ask] = attrs.field(factory=list)

    async def __call__(self, ask: Ask, out: Out) -> Finish | None:
        self.asks.append(ask)
        return await self.engine(ask, out)

    def said(self) -> list[str]:
        """The last thing that each turn was told."""
        return [getattr(ask.items[-1], "text", "") for ask in self.asks]


@asynccontextmanager
async def _front(
    net: Network, streams: list[Any], front: Mapping[str, Any], options: Mapping[str, Any]
) -> AsyncGenerator[Hop]:
    async with (
        open_wire_engine(URL, **{"connector": net.connect, "sources": Sources.seeded(3), **options}) as engine,
        trio.open_nursery() as nursery,
    ):
        outer, front = network(), dict(front)
        far: Network | None = front.pop("far", None)
        listeners = [each.listener() for each in (outer, far) if each is not None]
        chosen = {"sources": Sources.seeded(1), **front}
        server = await nursery.start(partial(serve, engine, host=None, listeners=listeners, **chosen))
        yield Hop(Rig(server, nursery, outer.connect, streams, outer), engine, net, far)
        nursery.cancel_scope.cancel(reason="the test is over")


@asynccontextmanager
async def hopping(
    engine: Engine,
    *,
    net: Network | None = None,
    upstream: Mapping[str, Any] | None = None,
    front: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncGenerator[Hop]:
    """A hop to a second agentwire; nothing may be left of either in the end."""
    net = net or network()
    streams: list[trio.abc.AsyncResource] = []
    async with no_leaks(rounds=50), _closing(streams), trio.open_nursery() as nursery:
        chosen = {"sources": Sources.seeded(2), **(upstream or {})}
        server = await nursery.start(partial(serve, engine, host=None, listeners=[net.listener()], **chosen))
        async with _front(net, streams, front or {}, options) as hop:
            hop.upstream = Rig(server, nursery, net.connect, streams, net)
            yield hop
        nursery.cancel_scope.cancel(reason="the test is over")


Script = Callable[[Scripted], Awaitable[object]]


@asynccontextmanager
async def hopping_to(
    *scripts: Script, net: Network | None = None, front: Mapping[str, Any] | None = None, **options: Any
) -> AsyncGenerator[Hop]:
    """A hop to a server that says what it is told to; each connection follows the next script, then the last one."""
    net = net or network()
    streams: list[trio.abc.AsyncResource] = []

    async def accept(nursery: trio.Nursery) -> None:
        number = 0
        while True:
            stream = await net.accept()
            nursery.start_soon(_serve, stream, scripts[min(number, len(scripts) - 1)])
            number += 1

    async with no_leaks(rounds=50), _closing(streams), trio.open_nursery() as nursery:
        nursery.start_soon(accept, nursery)
        async with _front(net, streams, front or {}, options) as hop:
            yield hop
        nursery.cancel_scope.cancel(reason="the test is over")


async def _serve(stream: MemoryStream, script: Script) -> None:
    try:
        await serve_script(stream, script)
    finally:
        await trio.aclose_forcefully(stream)


def outputs(response: Json, text: str = "x") -> list[Json]:
    """The answers to the calls of a response."""
    calls = [item for item in response["output"] if item["type"] == "function_call"]
    return [{"type": "function_call_output", "call_id": call["call_id"], "output": text} for call in calls]


def texts(items: Sequence[Json]) -> str:
    """The text of messages."""
    return "".join(part["text"] for item in items if item["type"] == "message" for part in item["content"])
