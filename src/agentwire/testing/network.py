"""A network in memory: client and server code on both ends, a link between them, and faults on the link.

Everything runs on Trio's clock and nothing on the system's, so that with a virtual clock an hour takes milliseconds
and a fault happens at the same byte each time.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Awaitable, Callable, Iterable

import attrs
import trio

from agentwire.testing.faults import Fault
from agentwire.testing.link import Link
from agentwire.testing.pipe import LinkModel
from agentwire.testing.streams import MemoryStream, open_memory_streams
from agentwire.testing.trace import Trace

__all__ = ["MemoryListener", "Network", "NetworkStatistics", "network"]


def network(
    *,
    latency: float = 0.0,
    bandwidth: float = math.inf,
    capacity: int = 65536,
    faults: Iterable[Fault] = (),
    keep: bool = True,
) -> Network:
    """A network whose connections are all alike.

    Args:
        latency: seconds that a byte takes; a connect takes two of these.
        bandwidth: bytes a second in each direction of each connection.
        capacity: bytes that may be sent and not yet read, in each direction; then the sender waits.
        faults: what will go wrong (see `Fault`).
        keep: keep what was sent in `Network.trace`; without it only sizes are known.
    """
    return Network(LinkModel(latency=latency, bandwidth=bandwidth, capacity=capacity), faults, keep=keep)


@attrs.frozen
class NetworkStatistics:
    """A snapshot: connections made so far, those that nobody has accepted, bytes and frames sent by each side."""

    connections: int
    waiting: int
    client_bytes: int
    server_bytes: int
    client_frames: int
    server_frames: int


class Network:
    """Connections in memory, all of one kind; made by `network`.

    Attributes:
        trace: what was sent.
        links: the connections made so far, oldest first.
    """

    def __init__(self, model: LinkModel, faults: Iterable[Fault] = (), *, keep: bool = True) -> None:
        self.trace = Trace(keep=keep)
        self.links: list[Link] = []
        self._model = model
        self._faults = tuple(faults)
        self._send, self._receive = trio.open_memory_channel[MemoryStream](math.inf)
        self._listeners: int | None = None

    def pair(self) -> tuple[MemoryStream, MemoryStream]:
        """A new connection, its client's end first; nobody has to accept it."""
        return self._pair(self._faults)

    def _pair(self, faults: Iterable[Fault]) -> tuple[MemoryStream, MemoryStream]:
        link = Link(len(self.links), model=self._model, trace=self.trace, faults=faults, duplicate=self._open_duplicate)
        self.links.append(link)
        return MemoryStream(link, "client"), MemoryStream(link, "server")

    def _open_duplicate(self, fault: Fault, said: bytes) -> None:
        """A connection on which nobody is, but what a client has said on another one."""
        client, server = self._pair(one for one in self._faults if one.kind != "duplicate")
        client.disown()
        self._send.send_nowait(server)
        client.send_nowait(said)
        if not math.isinf(fault.seconds):
            client.link.arm(Fault("cut", "client", at_time=fault.seconds, connection=client.link.index))

    async def connect(self) -> MemoryStream:
        """Connect, as a client; takes a round trip. Cancelled on the way back, the server sees a client that leaves.

        Raises:
            ConnectionRefusedError: there were listeners, and all are closed.
        """
        await trio.sleep(self._model.latency)
        if self._listeners == 0:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens on this network any more")
        client, server = self.pair()
        self._send.send_nowait(server)
        try:
            await trio.sleep(self._model.latency)
        except trio.Cancelled:
            client.reset()
            raise
        return client

    async def accept(self) -> MemoryStream:
        """The server's end of the next connection; cancelling loses none."""
        return await self._receive.receive()

    def listener(self) -> MemoryListener:
        """A listener for `trio.serve_listeners` and the like; when the last one is closed, connecting fails."""
        self._listeners = (self._listeners or 0) + 1
        return MemoryListener(self)

    async def serve(
        self,
        handler: Callable[[MemoryStream], Awaitable[object]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept connections and run ``handler(stream)`` for each, in a task of its own, until cancelled.

        The stream is closed when the handler is done; what the handler raises ends this function.
        """
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                nursery.start_soon(_handle, handler, await self.accept())

    def arm(self, fault: Fault) -> None:
        """One more fault, for the connections that it names, those to come included.

        On a connection that exists it happens at once if it has no position, or if that has gone by.
        """
        self._faults += (fault,)
        for link in self.links:
            link.arm(fault)

    def open_streams(self) -> list[MemoryStream]:
        """The ends of this network's connections that nobody has closed yet, oldest connection first."""
        return [stream for stream in open_memory_streams() if stream.link in self.links]

    def statistics(self) -> NetworkStatistics:
        """Totals at this moment."""
        numbers = range(len(self.links))
        return NetworkStatistics(
            connections=len(self.links),
            waiting=self._receive.statistics().current_buffer_used,
            client_bytes=sum(self.trace.bytes("client", number) for number in numbers),
            server_bytes=sum(self.trace.bytes("server", number) for number in numbers),
            client_frames=sum(self.trace.frames("client", number) for number in numbers),
            server_frames=sum(self.trace.frames("server", number) for number in numbers),
        )

    def _unlisten(self) -> None:
        assert self._listeners
        self._listeners -= 1


async def _handle(handler: Callable[[MemoryStream], Awaitable[object]], stream: MemoryStream) -> None:
    try:
        await handler(stream)
    finally:
        await trio.aclose_forcefully(stream)


class MemoryListener(trio.abc.Listener[MemoryStream]):
    """Accepts a network's connections; made by `Network.listener`."""

    def __init__(self, net: Network) -> None:
        self._network = net
        self._scope: trio.CancelScope | None = None
        self._closed = False

    async def accept(self) -> MemoryStream:
        """The server's end of the next connection.

        Raises:
            trio.ClosedResourceError: this listener is closed, before or while waiting.
        """
        if self._closed:
            raise trio.ClosedResourceError("this listener is closed")
        with trio.CancelScope() as self._scope:
            return await self._network.accept()
        raise trio.ClosedResourceError("this listener was closed")

    async def aclose(self) -> None:
        """Listen no more; connections that exist go on."""
        if not self._closed:
            self._closed = True
            self._network._unlisten()
            if self._scope is not None:
                self._scope.cancel(reason="the listener was closed")
        await trio.lowlevel.checkpoint()
