"""Servers of the WebSocket mode that follow a script, and misbehave on cue: for testing clients and agents.

They run on a network in memory or on 127.0.0.1, speak HTTP beside the WebSocket, remember conversations as the hosted
service does, and take down what clients did. They share no session code with `agentwire.server`.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from agentwire.protocol.errors import ConnectionEnded, LocalProtocolError, RequestError
from agentwire.protocol.limits import Limits
from agentwire.runtime.groups import open_flat_nursery
from agentwire.testing.hostile.deeds import Cue, Deed, cue
from agentwire.testing.hostile.dialogue import Dialogue
from agentwire.testing.hostile.memory import Memory
from agentwire.testing.hostile.over_http import answer_http
from agentwire.testing.hostile.over_websocket import serve_websocket
from agentwire.testing.hostile.scene import Scene
from agentwire.testing.hostile.script import Answer, End, Refuse, Reply, Script
from agentwire.testing.hostile.seen import Seen, SeenConnection
from agentwire.testing.hostile.socket import Gone, ServerSocket
from agentwire.testing.hostile.telling import Minter
from agentwire.testing.network import Network, network
from agentwire.testing.streams import MemoryStream
from agentwire.transport.http11 import HttpConnection, upgrade_wanted
from agentwire.transport.listen import accept_loop, open_listeners
from agentwire.transport.requests import Request
from agentwire.transport.streams import NetworkStream, close_now

__all__ = ["HostileServer", "ScriptedServer", "hostile_server", "scripted_server"]

_PATIENCE: Final = Limits(handshake=math.inf, idle=math.inf, body=math.inf, write_progress=math.inf)

Beside = Callable[[HttpConnection, Request], Awaitable[bool]]
"""Answers a request that is none of the API's; False if it is not for this one either."""


class ScriptedServer:
    """A server that keeps the rules and says what its script says; made by `scripted_server`.

    Attributes:
        url: its base URL, ``http://...``.
        ws_url: the same for a WebSocket.
        seen: what its clients did.
        memory: what it remembers for everybody.
        script: what it says; may be changed at any time.
    """

    def __init__(self, url: str, net: Network | None, script: Script, *, stores: bool, beside: Beside | None) -> None:
        self.url = url
        self.ws_url = url.replace("http", "ws", 1)
        self.seen = Seen()
        self.memory = Memory(stores=stores)
        self.script = script
        self._net = net
        self._beside = beside
        self._minter = Minter()
        self._upgrades = 0
        self._sockets = 0
        self._open: set[ServerSocket] = set()

    @property
    def cues(self) -> list[Cue]:
        """What is done wrong, and when; nothing."""
        return []

    async def connect(self) -> MemoryStream:
        """A connection in memory: the ``connector`` for a client of this server."""
        assert self._net is not None, "on 127.0.0.1 a client connects to the URL"
        return await self._net.connect()

    async def end(self, end: End) -> None:
        """End every WebSocket that is open, now, in this way; returns when they have ended.

        ``dead`` and ``quiet`` are for the script and the deeds: here they never return.
        """
        async with trio.open_nursery() as nursery:
            for socket in tuple(self._open):
                nursery.start_soon(_end, socket, end)

    async def serve(self, stream: NetworkStream) -> None:
        """Serve one connection until it ends."""
        connection = self.seen.connect()
        try:
            await self._serve_requests(HttpConnection(stream, _PATIENCE), connection)
        finally:
            connection.end("the server stopped")
            await close_now(stream)  # noqa: ASYNC102 - it waits for nothing

    async def _serve_requests(self, http: HttpConnection, connection: SeenConnection) -> None:
        with suppress(ConnectionEnded, trio.BrokenResourceError, trio.ClosedResourceError, LocalProtocolError):
            while not http.taken and (request := await http.next_request()) is not None:
                try:
                    await self._answer(http, connection, request)
                except RequestError as error:
                    await http.respond_error(error)
        connection.end(http.broken or "the client closed it")

    async def _answer(self, http: HttpConnection, connection: SeenConnection, request: Request) -> None:
        if upgrade_wanted(request):
            await self._upgrade(http, connection, request)
            return
        if self._beside is not None and await self._beside(http, request):
            connection.kind = "beside"
            return
        connection.kind = "http"
        self.seen.note(connection, "<", f"{request.method} {request.target}")
        await answer_http(http, request, self._dialogue(connection))

    def _dialogue(self, connection: SeenConnection) -> Dialogue:
        return Dialogue(self.seen, connection, self.memory, self._minter, lambda: self.script, lambda: self.cues)

    async def _upgrade(self, http: HttpConnection, connection: SeenConnection, request: Request) -> None:
        connection.kind = "websocket"
        self._upgrades += 1
        self.seen.note(connection, "<", f"{request.method} {request.target} (upgrade)")
        for due in self.cues:
            if due.deed.door is not None and due.due(self._upgrades):
                self.seen.deeds.append(due.deed.name)
                self.seen.note(connection, "*", due.deed.name)
                await due.deed.door(http)
                return
        stream, early = http.take_over()
        self._sockets += 1
        socket = ServerSocket(stream, early, self.seen, connection)
        self._open.add(socket)
        due_now = [due.deed for due in self.cues if due.deed.when == "connection" and due.due(self._sockets)]
        self.seen.deeds += [deed.name for deed in due_now]
        try:
            await serve_websocket(socket, request, self._dialogue(connection), due_now)
        finally:
            self._open.discard(socket)


class HostileServer(ScriptedServer):
    """The same, which does wrong things on cue; made by `hostile_server`."""

    def __init__(
        self, url: str, net: Network | None, script: Script, cues: Iterable[Cue], *, stores: bool, beside: Beside | None
    ) -> None:
        super().__init__(url, net, script, stores=stores, beside=beside)
        self._cues = list(cues)

    @property
    def cues(self) -> list[Cue]:
        """What is done wrong, and when; may be changed at any time."""
        return self._cues


async def _end(socket: ServerSocket, end: End) -> None:
    with suppress(Gone):
        await socket.end(end)


@asynccontextmanager
async def scripted_server(
    *script: Reply | Callable[[Scene], Reply],
    net: Network | None = None,
    sockets: bool = False,
    stores: bool = True,
    beside: Beside | None = None,
) -> AsyncGenerator[ScriptedServer]:
    """Run a server that keeps the rules, as long as the block lasts.

    Args:
        script: one reply for each turn, over all connections, the last one for all further turns; or one function that
            sees the turn and returns the reply.
        net: the network in memory that it is on; a plain one if left out. A client of it connects with
            `ScriptedServer.connect`.
        sockets: listen on 127.0.0.1 instead.
        stores: whether responses are stored, for those who ask for that, and can be continued on any connection.
        beside: answers HTTP requests that are none of the API's.

    Raises:
        ValueError: a function is not the only element of the script.
    """
    async with hostile_server((), *script, net=net, sockets=sockets, stores=stores, beside=beside) as server:
        yield server


@asynccontextmanager
async def hostile_server(
    deeds: Iterable[str | Deed | Cue],
    *script: Reply | Callable[[Scene], Reply],
    net: Network | None = None,
    sockets: bool = False,
    port: int = 0,
    stores: bool = True,
    beside: Beside | None = None,
) -> AsyncGenerator[HostileServer]:
    """Run a server that does wrong things on cue, as long as the block lasts.

    Args:
        deeds: what it does: `Deed` objects or their names, with ``@N`` for a moment of their own, such as
            ``reset-idle@2``; see `DEEDS`.
        script: as for `scripted_server`.
        net: as for `scripted_server`.
        sockets: as for `scripted_server`.
        port: to listen on, with ``sockets``; 0 for any free one.
        stores: as for `scripted_server`.
        beside: as for `scripted_server`.

    Raises:
        ValueError: there is no such deed, or the script is none.
    """
    cues = [cue(written) for written in deeds]
    said = _script(script)
    async with open_flat_nursery() as nursery:
        if sockets:
            async with await open_listeners("127.0.0.1", port) as listening:
                url = f"{listening.url('http')}/v1"
                server = HostileServer(url, None, said, cues, stores=stores, beside=beside)
                nursery.start_soon(lambda: accept_loop(listening, server.serve, nursery=nursery, limits=_PATIENCE))
                yield server
                await listening.cut_off()
                nursery.cancel_scope.cancel(reason="the server is not needed any more")
            return
        net = net or network()
        server = HostileServer("http://hostile.test/v1", net, said, cues, stores=stores, beside=beside)
        await nursery.start(net.serve, server.serve)
        yield server
        nursery.cancel_scope.cancel(reason="the server is not needed any more")


def _script(given: tuple[Reply | Callable[[Scene], Reply], ...]) -> Script:
    replies = [one for one in given if isinstance(one, Answer | Refuse)]
    if len(replies) == len(given):
        return replies
    function = given[0]
    if len(given) > 1 or isinstance(function, Answer | Refuse):
        raise ValueError("a script is a list of replies, or one function")
    return function
