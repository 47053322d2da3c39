"""All wires of one HTTP client, in Trio: one for each place, opened when it is first asked for.

They live as long as the client does; the one that was idle longest makes room for another place. Closing them lets
what runs come to its end for a moment, and says goodbye to the servers.
"""

from __future__ import annotations

import ssl
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

import attrs
import trio

from agentwire.client.dropin.answer import JSON, Answer, refused
from agentwire.client.dropin.asked import Asked
from agentwire.client.dropin.asking import Asking, Events, Repeat
from agentwire.client.dropin.place import Place
from agentwire.client.dropin.wire import Chains, Counts, GoesOverHttp, Times, Wire
from agentwire.engines.wire.pool import Pool
from agentwire.link import Address, Connector, open_link
from agentwire.link.life import REQUEST_ID
from agentwire.protocol.errors import EngineError, RequestError
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.groups import open_flat_nursery
from agentwire.transport.websocket import HandshakeRefused

__all__ = ["WireOptions", "Wires", "WiresStatistics"]


@attrs.frozen(kw_only=True)
class WireOptions:
    """How wires are made; see `agentwire.http_client`."""

    url: str | None = None
    key: str | None = attrs.field(default=None, repr=False)
    resume_within: float | None = 60.0
    repeat: Repeat = "safe"
    connections: int = attrs.field(default=8, validator=attrs.validators.ge(1))
    limits: Limits = attrs.field(factory=Limits)
    tls: Callable[[], ssl.SSLContext | None] = lambda: None
    proxy: str | None = attrs.field(default="environment", repr=False)
    sources: Sources = attrs.field(factory=Sources.system)
    connector: Connector | None = None


@attrs.frozen(kw_only=True)
class WiresStatistics:
    """A snapshot of an HTTP client's wires.

    Attributes:
        places: servers, each with the key and the other headers that go there.
        connections: open ones.
        opened: connections that were opened so far.
        running: turns, those given up included that have not ended.
        chains: conversations that servers know, and that are recognized.
        full: requests that went out with all that they say.
        deltas: requests that went out with what was new in them.
        forgotten: deltas that a server could not continue, and that went out again in full.
        again: requests that went out again on another connection.
        bytes: of all these requests.
        over_http: requests for a wire that went over HTTP, because there was none.
    """

    places: int = 0
    connections: int = 0
    opened: int = 0
    running: int = 0
    chains: int = 0
    full: int = 0
    deltas: int = 0
    forgotten: int = 0
    again: int = 0
    bytes: int = 0
    over_http: int = 0


class Wires:
    """May be made anywhere; works as long as `run` does.

    Args:
        options: how wires are made.
    """

    def __init__(self, options: WireOptions) -> None:
        self._nursery: trio.Nursery | None = None
        self._ready = trio.Event()
        self._over = trio.Event()
        self._options = options
        self._wires: OrderedDict[Place, Wire] = OrderedDict()
        self._counts = Counts()
        self._chains = Chains(options.limits.upstream_chains)
        self._opened = 0

    async def run(self) -> None:
        """Keep the connections until `close` is called; then end them within ``limits.close_grace``.

        Nothing is connected before the first request.
        """
        async with open_flat_nursery() as nursery:
            self._nursery = nursery
            self._ready.set()
            await self._over.wait()
            for wire in self._wires.values():
                wire.closed = True
                self._retire(wire)
            self._wires.clear()
            nursery.cancel_scope.deadline = trio.current_time() + self._options.limits.close_grace

    def close(self) -> None:
        """Open nothing more, and let `run` come to its end."""
        self._over.set()

    @asynccontextmanager
    async def ask(self, asked: Asked, place: Place, times: Times) -> AsyncGenerator[Answer | Events]:
        """Ask, and have the answer, as a context; leaving it before the end gives the request up.

        Raises:
            GoesOverHttp: it is for HTTP.
            TimedOut: it took longer than the caller waits.
            ConnectFailed, ConnectionEnded: there is no connection, or it ended first.
            RemoteProtocolError: the server's answer cannot be read.
        """
        await self._ready.wait()
        wire = self._wire(place)
        wire.running += 1
        try:
            answer = await self._answer(Asking(wire, asked, times, self._options.repeat))
            try:
                yield answer
            finally:
                if isinstance(answer, Events):
                    await answer.kept.aclose()
        finally:
            wire.running -= 1

    async def _answer(self, asking: Asking) -> Answer | Events:
        try:
            return await asking.answer()
        except HandshakeRefused as refusal:
            passed = tuple(line for line in refusal.headers if line[0] in ("content-type", "retry-after", REQUEST_ID))
            return Answer(refusal.status, passed or JSON, refusal.body)
        except EngineError as error:  # too many wait
            return refused(RequestError(error.status, error.code, error.message))
        except GoesOverHttp:
            self._counts.over_http += 1
            raise

    def _wire(self, place: Place) -> Wire:
        wire = self._wires.get(place)
        if wire is None:
            self._make_room()
            wire = self._wires[place] = self._make(place)
        self._wires.move_to_end(place)
        return wire

    def _make_room(self) -> None:
        """Of the wires that nobody uses, those that were idle longest make room for one more."""
        surplus = len(self._wires) + 1 - self._options.limits.dropin_places
        idle = [place for place, wire in self._wires.items() if not wire.running]
        for place in idle[: max(surplus, 0)]:
            self._retire(self._wires.pop(place))

    def _retire(self, wire: Wire) -> None:
        self._opened += wire.pool.statistics().opened
        wire.pool.retire()

    def _make(self, place: Place) -> Wire:
        assert self._nursery is not None
        options, limits = self._options, self._options.limits
        dial = partial(
            open_link,
            place.url,
            key="",
            headers=place.headers,
            tls=options.tls() if Address.parse(place.url).secure else None,
            limits=limits,
            sources=options.sources,
            connector=options.connector,
            proxy=options.proxy,
            relaying=True,
            resume_within=options.resume_within,
        )
        pool = Pool(
            self._nursery,
            dial,
            limits=limits,
            most=options.connections,
            stores=False,  # one that is stored is known to `Wire` by the server's id, wherever it was made
            age=limits.rotate_after,
            lanes=None,
            cuts=True,
            lost=self._chains.unstored.drop,
        )
        return Wire(
            place=place,
            pool=pool,
            chains=self._chains,
            counts=self._counts,
            limits=limits,
            sources=options.sources,
            within=options.resume_within or 0.0,
        )

    async def statistics(self) -> WiresStatistics:
        """Queues and totals at this moment."""
        pools = [wire.pool.statistics() for wire in self._wires.values()]
        return WiresStatistics(
            places=len(pools),
            connections=sum(pool.connections for pool in pools),
            opened=self._opened + sum(pool.opened for pool in pools),
            running=sum(pool.running for pool in pools),
            chains=len(self._chains.stored) + len(self._chains.unstored),
            **attrs.asdict(self._counts),
        )
