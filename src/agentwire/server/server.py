"""The server: one port for HTTP and WebSocket, in a nursery that owns every connection and session.

`serve` runs until it is cancelled or drained; the `Server` that it starts with tells addresses and figures, and is
the handle for a drain.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeAlias

import attrs
import trio

from agentwire._version import __version__
from agentwire.protocol.codec import encode_json
from agentwire.protocol.errors import RequestError
from agentwire.protocol.extensions import Permitted
from agentwire.protocol.hello import EXTENSIONS, SESSION_HEADER
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.protocol.response import Usage
from agentwire.runtime.background import Background, BackgroundStatistics
from agentwire.runtime.contracts import Engine, Store
from agentwire.runtime.policies import Cancel, Policy
from agentwire.runtime.pulse import Pulse
from agentwire.runtime.service import Service
from agentwire.runtime.tools import Toolbox
from agentwire.runtime.tools.registry import Registry
from agentwire.runtime.tools.remote import RemoteStatistics
from agentwire.runtime.tools.source import Dial, McpServer
from agentwire.server.auth import Keys
from agentwire.server.background_door import BackgroundDoor
from agentwire.server.compact_door import CompactDoor
from agentwire.server.http_door import HttpDoor
from agentwire.server.metrics import CONTENT_TYPE, write_metrics
from agentwire.server.refusals import draining, no_model, revoked
from agentwire.server.routing import Call, Handler, Route, Router
from agentwire.server.session_door import SessionDoor
from agentwire.server.socket_door import SocketDoor
from agentwire.server.sse import JSON
from agentwire.server.stored_door import StoredDoor
from agentwire.stores.memory import MemoryStore
from agentwire.transport.http11 import HttpConnection, upgrade_wanted
from agentwire.transport.listen import Listening, ListenStatistics, accept_loop, accept_streams, open_listeners
from agentwire.transport.requests import Request
from agentwire.transport.serving import serve_requests
from agentwire.transport.streams import NetworkStream
from agentwire.transport.upgrade import check_host, check_origin, default_hosts, upgrade_required

__all__ = ["RESUME_WITHIN", "Models", "Server", "ServerStatistics", "check_exposure", "serve"]

log = logging.getLogger("agentwire.server")

RESPONSES: Final = "/v1/responses"
ALIASES: Final = {"/v1/codex/responses": RESPONSES}
"""Paths that some clients make of a base URL, and what they mean."""
Models: TypeAlias = Sequence[str] | Callable[[], Awaitable[Sequence[str]]]
LIVENESS: Final = "/healthz"
READINESS: Final = "/readyz"
LOGGED_PATH: Final = 200
"""Characters of a path that are in the log."""
RESUME_WITHIN: Final = 60.0
"""Most seconds for which a session waits, unless the server is told otherwise."""


@attrs.frozen(kw_only=True)
class ServerStatistics:
    """A snapshot of a server: what is open now, and totals since it started.

    Attributes:
        listening: the sockets that it accepts.
        connections: open WebSockets.
        sessions: of WebSockets, of HTTP requests, and in the background.
        detached: sessions that wait for their clients to come back.
        background: responses without a client.
        running: requests that run.
        queued: requests that wait in their lanes.
        unsent_bytes: of events that wait until their clients have read what came before; each turn has
            ``limits.window_bytes`` for them.
        sessions_total: sessions so far.
        turns: how many ended in which way.
        used: the tokens of the turns that ended in that way, as far as the engine said; those of a turn whose client
            had gone are among them.
        used_by: the same, by principal.
        tool_calls: of the server's own tools.
        ended: how connections ended.
        draining: whether it shuts down.
    """

    listening: ListenStatistics
    connections: int
    sessions: int
    detached: int
    background: BackgroundStatistics
    running: int
    queued: int
    unsent_bytes: int
    sessions_total: int
    turns: Mapping[str, int]
    used: Mapping[str, Usage]
    used_by: Mapping[str, Usage]
    tool_calls: int
    ended: Mapping[str, int]
    mcp: tuple[RemoteStatistics, ...]
    draining: bool


class Server:
    """A running server; made by `serve`.

    Attributes:
        limits: the bounds in force.
    """

    def __init__(
        self,
        service: Service,
        listening: Listening,
        nursery: trio.Nursery,
        *,
        keys: Keys,
        hosts: Collection[str],
        origins: Collection[str],
        models: Models,
        policy: Policy,
        permitted: Permitted,
        metrics: bool,
    ) -> None:
        self.limits = service.limits
        self._service = service
        self._listening = listening
        self._nursery = nursery
        self._keys = keys
        self._hosts = hosts
        self._origins = origins
        self._models = models
        self._started = service.sources.timestamp()
        self._pulse = Pulse(service.limits)
        self._background = Background(service, self._pulse, nursery)
        self._sockets = SocketDoor(
            service, self._pulse, nursery, policy=policy, permitted=permitted, background=self._background
        )
        self._session_door = SessionDoor(service, self._sockets.sessions)
        self._following = BackgroundDoor(service, self._background)
        self._http = HttpDoor(service, self._pulse, self._following)
        shown = (Route("GET", "/metrics", self._show_metrics),) if metrics else ()
        self._router = Router((*self._routes(StoredDoor(service, self._following)), *shown), ALIASES)
        self._revoked: set[str] = set()
        self._draining = False
        self._drained = trio.Event()

    @property
    def url(self) -> str:
        """The base URL for the WebSocket mode, such as ``ws://127.0.0.1:8000/v1``."""
        return f"{self._listening.url('ws')}/v1"

    @property
    def http_url(self) -> str:
        """The base URL for HTTP clients, such as ``http://127.0.0.1:8000/v1``."""
        return f"{self._listening.url('http')}/v1"

    @property
    def port(self) -> int | None:
        """The TCP port; None if there is only a Unix socket."""
        return self._listening.port

    def statistics(self) -> ServerStatistics:
        """Counts at this moment."""
        tally = self._service.tally
        sessions = [*self._sockets.sessions, *self._http.sessions, *self._background.sessions]
        shown = [session.statistics() for session in sessions]
        return ServerStatistics(
            listening=self._listening.statistics(),
            connections=len(self._sockets.connections),
            sessions=len(sessions),
            detached=self._sockets.sessions.detached,
            background=self._background.statistics(),
            running=sum(one.desk.running for one in shown),
            queued=sum(one.desk.queued for one in shown),
            unsent_bytes=sum(window.waiting_bytes for one in shown for window in one.windows),
            sessions_total=tally.sessions,
            turns={outcome.value: count for outcome, count in tally.turns.items()},
            used={outcome.value: used for outcome, used in tally.used.items()},
            used_by=dict(tally.used_by),
            tool_calls=tally.tool_calls,
            ended=dict(tally.ended),
            mcp=self._service.registry.statistics() if self._service.registry is not None else (),
            draining=self._draining,
        )

    async def drain(self) -> None:
        """Shut down in good order: refuse new work, let running turns finish, close 1012, stop; `serve` then returns.

        Readiness turns 503 at once. Turns have ``limits.drain`` seconds, then they are cancelled. Returns when nothing
        is left; cancelling it leaves the server draining.
        """
        if not self._draining:
            self._draining = True
            log.info("draining: %d connections", len(self._sockets.connections))
            self._nursery.start_soon(self._drain)
        await self._drained.wait()

    async def revoke(self, principal: str) -> None:
        """Take a principal's access away: its connections are closed with 1008, its turns end, its key is refused.

        Args:
            principal: as `Ask.principal` has it, and `Keys.principal` makes it of a key.
        """
        self._revoked.add(principal)
        log.info("revoked: %s", principal)
        self._background.stop(revoked(), principal)
        self._http.revoke(principal, revoked())
        await self._sockets.revoke(principal)

    async def _drain(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sockets.drain, draining())
            nursery.start_soon(self._http.drain)
            nursery.start_soon(self._following.drain)
        self._drained.set()
        self._nursery.cancel_scope.cancel(reason="the server has drained")

    # Requests

    async def _handle(self, stream: NetworkStream) -> None:
        await serve_requests(HttpConnection(stream, self.limits, now=self._service.sources.now), self._answer)

    async def _answer(self, connection: HttpConnection, request: Request) -> None:
        try:
            handler, call = self._admit(connection, request)
        except RequestError as error:
            path = request.target.partition("?")[0][:LOGGED_PATH]  # as it was sent: no end of a line can be in it
            told = error.status, error.code
            log.info("%s %s from %s: refused with %d %s", request.method, path, connection.peer, *told)
            raise
        await handler(call)

    def _admit(self, connection: HttpConnection, request: Request) -> tuple[Handler, Call]:
        """Who answers a request, and what they need to know of it.

        Raises:
            RequestError: nobody, for it may not be asked here, not by this client, not now, or there is nothing.
        """
        check_host(request, self._hosts)
        check_origin(request, self._origins)
        if request.path in (READINESS, LIVENESS):
            return self._health, Call(connection=connection, request=request, principal="", request_id="", names={})
        request_id = self._service.sources.new_id("req")
        connection.standing = (("x-request-id", request_id),)
        principal = self._keys.principal(request.headers.get("authorization"))
        if principal in self._revoked:
            raise revoked()
        route, names = self._router.find(request)
        if route.closed and self._draining:
            raise draining()
        call = Call(connection=connection, request=request, principal=principal, request_id=request_id, names=names)
        return route.handler, call

    def _routes(self, stored: StoredDoor) -> Iterable[Route]:
        return (
            Route("GET", RESPONSES, self._upgrade, closed=True),
            Route("POST", RESPONSES, self._http.create, closed=True),
            Route("POST", f"{RESPONSES}/input_tokens", stored.count_tokens),
            Route("POST", f"{RESPONSES}/compact", CompactDoor(self._service, self._http).compact, closed=True),
            Route("GET", f"{RESPONSES}/{{id}}", self._session_door.follow, header=SESSION_HEADER),
            Route("GET", f"{RESPONSES}/{{id}}", stored.retrieve),
            Route("DELETE", f"{RESPONSES}/{{id}}", stored.delete),
            Route("GET", f"{RESPONSES}/{{id}}/input_items", stored.list_input),
            Route("POST", f"{RESPONSES}/{{id}}/cancel", self._following.cancel),
            Route("GET", "/v1/models", self._list_models),
            Route("GET", "/v1/models/{id*}", self._retrieve_model),
        )

    async def _upgrade(self, call: Call) -> None:
        if not upgrade_wanted(call.request):
            raise upgrade_required()
        await self._sockets.upgrade(call.connection, call.request, call.principal, call.request_id)

    async def _health(self, call: Call) -> None:
        status = 503 if call.request.path == READINESS and self._draining else 200
        body = {"status": "draining" if self._draining else "ok", "version": __version__}
        await call.connection.respond(status, (JSON,), encode_json(body))

    async def _show_metrics(self, call: Call) -> None:
        from agentwire.engines.routing import Routes

        engine = self._service.engine
        upstreams = engine.statistics() if isinstance(engine, Routes) else {}
        await call.connection.respond(200, (CONTENT_TYPE,), write_metrics(self.statistics(), upstreams))

    async def _list_models(self, call: Call) -> None:
        models = [self._describe(name) for name in await self._model_names()]
        await call.connection.respond(200, (JSON,), encode_json({"object": "list", "data": models}))

    async def _retrieve_model(self, call: Call) -> None:
        name = call.names["id"]
        if name not in await self._model_names():
            raise no_model(name)
        await call.connection.respond(200, (JSON,), encode_json(self._describe(name)))

    async def _model_names(self) -> Sequence[str]:
        return await self._models() if callable(self._models) else self._models

    def _describe(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._started, "owned_by": "agentwire"}


async def serve(
    engine: Engine,
    *,
    host: str | None = "127.0.0.1",
    port: int = 0,
    unix_path: str | os.PathLike[str] | None = None,
    tls: ssl.SSLContext | None = None,
    listeners: Iterable[trio.abc.Listener[NetworkStream]] = (),
    tools: Iterable[Callable[..., Any]] = (),
    mcp: Iterable[McpServer] = (),
    mcp_allowed_urls: Iterable[str] = (),
    mcp_dial: Dial | None = None,
    keys: Keys | Iterable[str] = (),
    store: Store | None = None,
    models: Models = ("default",),
    generous: bool = False,
    on_disconnect: Policy | None = None,
    extensions: Iterable[str] = EXTENSIONS,
    resume_within: float = RESUME_WITHIN,
    metrics: bool = False,
    allowed_hosts: Collection[str] = (),
    allowed_origins: Collection[str] = (),
    limits: Limits | None = None,
    sources: Sources | None = None,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the Responses API, over WebSocket and HTTP, in front of ``engine``.

    Use ``server = await nursery.start(agentwire.serve, engine)``; it listens by then. Runs until it is cancelled, which
    cuts every connection off, or until `Server.drain` has done its work. It owns its sockets and closes them.

    Args:
        engine: an async function ``(ask, out)``; see `Engine`.
        host: a name or address; None for no TCP.
        port: 0 for any free one.
        unix_path: a Unix socket besides.
        tls: for TCP.
        listeners: where more connections come from, such as the test kit's network in memory; closed in the end.
        tools: functions that the server itself runs between engine steps.
        mcp: MCP servers whose tools the server runs too, for requests that ask for them (``{"type": "mcp",
            "server_label": ...}``) or for all.
        mcp_allowed_urls: where clients may have MCP servers of their own (``server_url``): URLs that theirs must be, or
            be below.
        mcp_dial: opens sessions with MCP servers; the `mcp` package does if left out (``agentwire-trio[mcp]``).
        keys: API keys; without any, only this machine can be listened on.
        store: where stored responses rest; this process's memory if left out, bounded by ``limits``.
        models: the names that ``GET /v1/models`` lists, or an async function that gives them, such as `Routes.models`;
            requests may name any model that the engine takes.
        generous: lanes remember more than the hosted service's: their last ``limits.generous_responses`` responses, and
            those too that could not be continued. It hides faults of clients that would show elsewhere.
        on_disconnect: what a lost WebSocket does to its turns; `Cancel` if left out.
        extensions: what clients may ask for beyond the protocol; all that there is if left out.
        resume_within: most seconds for which a client that asks for it may be away and resume its turns; 0 for none.
        metrics: show what the server counts at ``GET /metrics``, in Prometheus' text format.
        allowed_hosts: names by which the server may be reached besides its own; ``*`` for any.
        allowed_origins: web pages' origins that may call it; ``*`` for any.
        limits: every bound.
        sources: ids, clock and randomness.

    Raises:
        ImportError: there are MCP servers, and the package for them is not installed.
        ValueError: it would be open to the network without a key, or a tool, key or extension is not usable.
        OSError: it cannot listen there.
    """
    limits = limits or Limits()
    keys = keys if isinstance(keys, Keys) else Keys.of(keys)
    check_exposure(host, keys)
    permitted = Permitted.of(extensions, resume_within)
    service = Service(
        engine=engine,
        toolbox=Toolbox.of(tools),
        registry=_registry(tuple(mcp), tuple(mcp_allowed_urls), mcp_dial, limits),
        store=store or MemoryStore(limits),
        limits=limits,
        generous=generous,
        sources=sources or Sources.system(),
    )
    listeners = tuple(listeners)
    if listeners and host is None and unix_path is None:
        listening = Listening(())
    else:
        listening = await open_listeners(host, port, unix_path=unix_path, tls=tls, backlog=limits.backlog)
    async with _closing(listeners), listening, trio.open_nursery() as nursery:
        bound = [address for address, _ in listening.addresses]
        server = Server(
            service,
            listening,
            nursery,
            keys=keys,
            hosts=default_hosts(bound, allowed_hosts),
            origins=allowed_origins,
            models=models,
            policy=on_disconnect or Cancel(),
            permitted=permitted,
            metrics=metrics,
        )
        nursery.start_soon(_cut_off_in_the_end, listening)
        nursery.start_soon(server._pulse.run)
        if service.registry is not None:
            await nursery.start(service.registry.run)
        for listener in listeners:
            nursery.start_soon(partial(accept_streams, listener, listening, server._handle, nursery=nursery))
        task_status.started(server)
        await accept_loop(listening, server._handle, nursery=nursery, limits=limits)


def _registry(servers: Sequence[McpServer], urls: Sequence[str], dial: Dial | None, limits: Limits) -> Registry | None:
    """The MCP servers, if there may be any; only then the package is loaded."""
    if not servers and not urls:
        return None
    if dial is None:
        from agentwire.transport import mcp

        dial = mcp.dial
    return Registry(servers, dial, limits, allowed_urls=urls)


async def _cut_off_in_the_end(listening: Listening) -> None:
    """Once the server is cancelled, close what is open first: a write may wait for its peer for long."""
    try:
        await trio.sleep_forever()
    finally:
        await listening.cut_off()  # noqa: ASYNC102 - it is shielded, and waits for nothing


@asynccontextmanager
async def _closing(listeners: Iterable[trio.abc.AsyncResource]) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):  # closing by force waits for nothing
            for listener in listeners:
                await trio.aclose_forcefully(listener)


def check_exposure(host: str | None, keys: Keys) -> None:
    """Refuse to be open to the network without a key.

    Raises:
        ValueError: the host is not this machine alone, and there are no keys.
    """
    if host is None or keys or _is_loopback(host):
        return
    raise ValueError(
        f"listening on {host} without an API key would let anybody use this server: "
        "set keys (the command's --key-file, or AGENTWIRE_KEYS), or listen on 127.0.0.1"
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
