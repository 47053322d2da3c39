"""A whole wire in memory: a server, clients, the network between them, and a record of all that happens on it.

    async with open_rig(scripted([Turn(Call("deploy", {})), Turn(Text("done"))])) as rig:
        async with rig.connect() as wire, wire.run("go", tools=[deploy]) as run: ...

What is drawn at random comes from one seed, and what takes time takes Trio's, so that on a virtual clock the same rig
gives the same run.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import attrs
import trio

from agentwire.client import PATIENT, Client, connect
from agentwire.engines import builtin
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Engine
from agentwire.runtime.groups import open_flat_nursery
from agentwire.runtime.policies import Policy
from agentwire.server import Server, serve
from agentwire.stores import MemoryStore
from agentwire.testing.faults import Fault, Kind, Side
from agentwire.testing.invariants import check_all
from agentwire.testing.network import Network, network
from agentwire.testing.spinning import no_spinning
from agentwire.testing.streams import MemoryStream
from agentwire.testing.trace import Trace
from agentwire.testing.watch import Watch, watching
from agentwire.testing.work import NotedEngine, WorkJournal, noting_tools

__all__ = ["Rig", "open_rig"]

URL: Final = "ws://localhost/v1"
_LOOK_AGAIN: Final = 0.01
_LOOK_LATER: Final = 1.0


@attrs.define(eq=False, repr=False)
class Rig:
    """A server on a network in memory, and whatever is connected to it; made by `open_rig`, which also closes it.

    Attributes:
        net: the network.
        engine: what the server asks.
        limits: the bounds of the server and of the clients.
        policy: what a lost connection means to the clients.
        journal: tool calls and engine steps, as they began and ended.
        watch: what was not legal of what the server said.
        unreached: the error of the last client that had no connection to begin with; None if all had one.
    """

    net: Network
    engine: Engine
    limits: Limits
    policy: Policy
    journal: WorkJournal
    watch: Watch
    unreached: Exception | None = attrs.field(default=None, init=False)
    _nursery: trio.Nursery
    _options: dict[str, Any]
    _seed: int
    _clients: int = attrs.field(default=0, init=False)
    _server: Server | None = attrs.field(default=None, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _stopped: trio.Event = attrs.field(factory=trio.Event, init=False)
    _streams: list[MemoryStream] = attrs.field(factory=list, init=False)

    def __repr__(self) -> str:
        return f"<Rig of {len(self.net.links)} connections>"

    @property
    def url(self) -> str:
        """The address that clients on this network connect to."""
        return URL

    @property
    def trace(self) -> Trace:
        """What went by."""
        return self.net.trace

    @property
    def server(self) -> Server:
        """The server that runs, or ran last."""
        assert self._server is not None
        return self._server

    # Clients

    @asynccontextmanager
    async def connect(self, **options: Any) -> AsyncGenerator[Client]:
        """A client of this server; leaving the context closes it.

        Args:
            options: as for `agentwire.connect`, which also says what it raises.
        """
        self._clients += 1
        sources = Sources.seeded(self._seed + self._clients)
        usual = {"limits": self.limits, "on_disconnect": self.policy, "sources": sources, "connector": self.net.connect}
        opened = False
        try:
            async with connect(self.url, **(usual | options)) as client:
                opened = True
                yield client
        except Exception as error:
            if not opened:
                self.unreached = error
            raise

    async def dial(self) -> MemoryStream:
        """The client's end of a new connection, for clients of your own; closed with the rig, if not before.

        Raises:
            ConnectionRefusedError: the server is stopped.
        """
        stream = await self.net.connect()
        self._streams.append(stream)
        return stream

    def cut(self, kind: Kind = "cut", side: Side = "server", *, connection: int | None = None, **more: Any) -> None:
        """Something goes wrong now.

        Args:
            kind: what; see `Fault`.
            side: whose bytes are concerned.
            connection: which one; the latest if left out.
            more: other attributes of the fault, such as ``seconds``.
        """
        which = len(self.net.links) - 1 if connection is None else connection
        self.net.arm(Fault(kind, side, connection=which, **more))

    # The server

    async def start(self) -> Server:
        """Start the server again after `stop` or a drain: a new process, as far as anybody can tell, with the store of
        the one before.
        """
        if self._server is not None and not self._stopped.is_set():
            raise RuntimeError("this rig's server runs already; stop it first")
        self._scope, self._stopped = trio.CancelScope(), trio.Event()
        server: Server = await self._nursery.start(self._serve)
        self._server = server
        return server

    async def stop(self) -> None:
        """End the server as if it had been killed: every connection is cut off, and no new one is taken."""
        self._scope.cancel(reason="the rig's server was stopped")
        await self._stopped.wait()

    async def restart(self) -> Server:
        """`stop`, and `start` again."""
        await self.stop()
        return await self.start()

    async def drain(self) -> None:
        """Shut the server down in good order; returns when that is done."""
        self.journal.drain_started(self.limits.drain)
        await self.server.drain()
        await self._stopped.wait()

    async def gone(self) -> None:
        """Wait until the server has neither connections nor sessions; under `Resume` that may take its whole wait."""
        pause = _LOOK_AGAIN
        while True:
            shown = self.server.statistics()
            if not (shown.connections or shown.sessions or shown.listening.open):
                return
            await trio.sleep(pause)
            pause = min(2 * pause, _LOOK_LATER)

    async def _serve(self, *, task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED) -> None:  # noqa: ASYNC114 - called by `start` alone
        engine, listeners = NotedEngine(self.engine, self.journal), [self.net.listener()]
        run = partial(serve, engine, host=None, listeners=listeners, limits=self.limits, **self._options)
        try:
            with self._scope:
                async with open_flat_nursery() as nursery:
                    task_status.started(await nursery.start(run))
        finally:
            self._stopped.set()

    # What must hold

    def check(self) -> None:
        """See whether everything that must hold of any run holds of this one so far.

        Raises:
            Broken: the server said something that is not legal.
            InvariantBroken: another rule does not hold.
        """
        self.watch.check()
        check_all(self.trace, self.journal)

    async def _close(self) -> None:
        for stream in self._streams:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def open_rig(
    engine: Engine | None = None,
    *,
    net: Network | None = None,
    policy: Policy = PATIENT,
    seed: int = 1,
    limits: Limits | None = None,
    **options: Any,
) -> AsyncGenerator[Rig]:
    """A server on a network in memory, and everything that is needed round it.

    Leaving the block stops the server and checks what must hold of every run (`Rig.check`), unless the block raised.

    Args:
        engine: what answers; the embedded engine of rules if left out.
        net: the network, with its latency and its faults; one without either if left out.
        policy: what a lost connection means to the clients: `Resume` or `Cancel`.
        seed: decides ids, and all else that is drawn.
        limits: the bounds of the server and of the clients.
        options: as for `agentwire.serve`, such as ``tools``, ``keys`` or ``extensions``; ``on_disconnect`` is the
            server's.

    Raises:
        Broken, InvariantBroken: something did not hold.
        Spinning: on a virtual clock, a task never waited.
    """
    limits = limits or Limits()
    options = {"store": MemoryStore(limits), "sources": Sources.seeded(seed), **options}
    net = network() if net is None else net
    engine = builtin() if engine is None else engine
    journal = WorkJournal(net.trace)
    with no_spinning(), watching() as watch, noting_tools(journal):
        async with open_flat_nursery() as nursery:
            rig = Rig(net, engine, limits, policy, journal, watch, nursery, options, seed)
            await rig.start()
            try:
                yield rig
            finally:
                with trio.CancelScope(shield=True):
                    await rig._close()
                nursery.cancel_scope.cancel(reason="the rig is closed")
    rig.check()
