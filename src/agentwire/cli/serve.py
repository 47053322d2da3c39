"""``agentwire serve``: a server in front of an engine, from the options to the drain.

The first line on stdout says where it listens, for programs: ``listening ws=URL http=URL``, words that a shell can
split. The log goes to stderr. The first SIGINT or SIGTERM drains the server, the second one stops it.
"""

from __future__ import annotations

import gc
import logging
import os
import shlex
import signal
import ssl
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO

import attrs
import trio

from agentwire.cli.failures import OK, UserError
from agentwire.cli.interrupts import leaving_at_the_third
from agentwire.cli.loading import load_tools, open_named_engine
from agentwire.cli.mcp_servers import check_extra, read_mcp
from agentwire.cli.options import ServeOptions, read_file, read_limits
from agentwire.cli.route_tables import Routing, read_routing
from agentwire.cli.served_upstream import open_served_upstream
from agentwire.cli.storing import check_store, open_store
from agentwire.cli.upstreams import UPSTREAM_KEY_VARIABLE
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.extensions import Permitted
from agentwire.protocol.hello import EXTENSIONS
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Engine, Store
from agentwire.runtime.groups import open_flat_nursery
from agentwire.runtime.tools import LocalTool
from agentwire.runtime.tools.source import McpServer
from agentwire.server import Keys, Server
from agentwire.server import serve as serve_engine
from agentwire.server.server import RESUME_WITHIN, Models, check_exposure

__all__ = ["serve"]

HOST: Final = "127.0.0.1"
PORT: Final = 8000

GC_THRESHOLDS: Final = (50_000, 20, 10)
"""Collections cost as much as there are connections, and find little, as what ends is freed without them. So they are
rare, and yet come in time for what rings of references in libraries keep."""


def serve(options: ServeOptions = ServeOptions()) -> int:  # noqa: B008 - frozen
    """Serve until a signal; see ``agentwire serve --help``.

    Raises:
        UserError: an option cannot be followed.
    """
    out = sys.stdout
    with redirect_stdout(sys.stderr):  # whoever reads the first line must not find what a module or a tool prints
        plan = Plan.of(options)
        if plan.options.check:
            trio.run(_check, plan, out)
            return OK
        form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
        logging.basicConfig(stream=sys.stderr, level="WARNING", format=form)
        logging.getLogger("agentwire").setLevel((plan.options.log_level or "info").upper())
        trio.run(_serve, plan, out)
    return OK


@attrs.frozen
class Plan:
    """What will be served, with everything read that is in files."""

    options: ServeOptions
    limits: Limits
    keys: Keys
    tools: tuple[LocalTool[..., Any], ...]
    mcp: tuple[McpServer, ...]
    tls: ssl.SSLContext | None
    routing: Routing | None = None

    @classmethod
    def of(cls, typed: ServeOptions) -> Plan:
        """From what was typed.

        Raises:
            UserError: an option contradicts another one, or names something that is not there.
        """
        options, table, servers = typed.with_file()
        if options.engine is not None and options.upstream is not None:
            raise UserError("--engine and --upstream both say where answers come from: choose one")
        if options.upstream_context is not None and (options.upstream is None or options.upstream_context < 1):
            raise UserError("--upstream-context is a number of tokens, of the model behind --upstream")
        if options.upstream_kind is not None and options.upstream is None:
            raise UserError("--upstream-kind says what the server behind --upstream speaks: give its address")
        if options.port is not None and not 0 <= options.port <= 65_535:
            raise UserError(f"--port must be 0 to 65535, not {options.port}")
        _check_extensions(options)
        check_store(options.store)
        routing = read_routing(read_file(options.config), options.config) if options.config is not None else None
        if routing is not None and (options.engine is not None or options.upstream is not None):
            raise UserError("[[models]] and --engine or --upstream all say where answers come from: choose one")
        limits = read_limits(table, options.limit, options.config)
        mcp = read_mcp(servers, options.mcp, Path(options.config or "").parent, options.config)
        check_extra(mcp, options.mcp_allow_url)
        return cls(options, limits, _read_keys(options), load_tools(options.tools), mcp, _read_tls(options), routing)

    @property
    def address(self) -> tuple[str | None, int]:
        """Host and port; no host if only a Unix socket was asked for."""
        options = self.options
        if options.unix is not None and options.host is None and options.port is None:
            return None, 0
        return options.host or HOST, PORT if options.port is None else options.port


def _read_keys(options: ServeOptions) -> Keys:
    try:
        if options.key_file is not None:
            return Keys.read(options.key_file)
        return Keys.from_environment(os.environ)
    except OSError as error:
        raise UserError(f"--key-file: cannot read {options.key_file}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(str(error)) from error


def _read_tls(options: ServeOptions) -> ssl.SSLContext | None:
    if options.tls_cert is None:
        if options.tls_key is not None:
            raise UserError("--tls-key needs --tls-cert, the certificate that it belongs to")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    files = options.tls_cert if options.tls_key is None else f"{options.tls_cert} and {options.tls_key}"
    try:
        context.load_cert_chain(options.tls_cert, options.tls_key)
    except ssl.SSLError as error:
        reason = (error.reason or "there is no certificate and key (PEM) in it").replace("_", " ").lower()
        raise UserError(f"--tls-cert: {files} cannot be used: {reason}") from error
    except OSError as error:
        raise UserError(f"--tls-cert: cannot read {files}: {error.strerror}") from error
    return context


@attrs.frozen
class Source:
    """Where answers come from.

    Attributes:
        engine: makes them.
        notice: what to say about it.
        models: what is listed.
        found: lines about what was found out of its upstreams.
        leads: lines about what each model's name leads to; none where each leads to the same.
    """

    engine: Engine
    notice: str
    models: Models
    found: Sequence[str] = ()
    leads: Sequence[str] = ()


async def _open_source(plan: Plan, stack: AsyncExitStack) -> Source:
    """Where answers come from, until the stack is left."""
    options = plan.options
    if plan.routing is not None:
        routing = await plan.routing.found_out(plan.limits)
        routes = await routing.open(plan.limits, stack)
        leads = tuple(routing.describe(routes))
        return Source(routes, f"routes for {routes}", routes.models, routing.notices, leads)
    if options.upstream is not None:
        return await _open_upstream(options.upstream, plan, stack)
    if options.engine in (None, "builtin"):
        from agentwire.engines import NOTICE, builtin

        return Source(builtin(), NOTICE, ("builtin",))
    assert options.engine is not None
    return Source(await stack.enter_async_context(open_named_engine(options.engine)), options.engine, ("default",))


async def _open_upstream(url: str, plan: Plan, stack: AsyncExitStack) -> Source:
    options = plan.options
    opening = open_served_upstream(
        url,
        options.upstream_kind,
        key=os.environ.get(UPSTREAM_KEY_VARIABLE) or None,
        model=options.upstream_model,
        context_tokens=options.upstream_context,
        limits=plan.limits,
    )
    try:
        served = await stack.enter_async_context(opening)
    except (ValueError, LocalProtocolError) as error:
        raise UserError(f"--upstream: {error}") from error
    return Source(served, str(served), served.models)


async def _check(plan: Plan, out: TextIO) -> None:
    """Open what answers come from, say what each model's name leads to, and close it again; nothing listens."""
    try:
        check_exposure(plan.address[0], plan.keys)
    except ValueError as error:
        raise UserError(str(error)) from error
    async with AsyncExitStack() as stack:
        source = await _open_source(plan, stack)
        print("\n".join(source.leads or (f"any name -> {source.notice}",)), file=out)


async def _serve(plan: Plan, out: TextIO) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, leaving_at_the_third():
        async with AsyncExitStack() as stack:
            source = await _open_source(plan, stack)
            store = await open_store(plan.options.store, plan.limits, stack)
            async with open_flat_nursery() as nursery:
                server = await _start(plan, source, store, nursery)
                _announce(server, plan, source, out)
                _tune_gc()
                nursery.start_soon(_obey, signals, server, nursery.cancel_scope)


async def _start(plan: Plan, source: Source, store: Store, nursery: trio.Nursery) -> Server:
    """The server, once it listens."""
    options = plan.options
    host, port = plan.address
    start = partial(
        serve_engine,
        source.engine,
        host=host,
        port=port,
        unix_path=options.unix,
        tls=plan.tls,
        tools=plan.tools,
        mcp=plan.mcp,
        mcp_allowed_urls=options.mcp_allow_url,
        keys=plan.keys,
        store=store,
        models=options.model_name or source.models,
        generous=bool(options.generous),
        allowed_hosts=options.allowed_host,
        allowed_origins=options.allowed_origin,
        extensions=_extensions(options),
        resume_within=_resume_within(options),
        metrics=bool(options.metrics),
        limits=plan.limits,
    )
    try:
        server: Server = await nursery.start(start)
    except (LocalProtocolError, ValueError) as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(error.strerror or str(error)) from error
    return server


def _extensions(options: ServeOptions) -> Sequence[str]:
    if "none" in options.extension:
        return ()
    return options.extension or EXTENSIONS


def _resume_within(options: ServeOptions) -> float:
    return RESUME_WITHIN if options.resume_within is None else options.resume_within


def _check_extensions(options: ServeOptions) -> None:
    try:
        Permitted.of(_extensions(options), _resume_within(options))
    except ValueError as error:
        raise UserError(str(error)) from error


def _announce(server: Server, plan: Plan, source: Source, out: TextIO) -> None:
    """Say where it listens and what it is, on stdout, at once."""
    where = {"ws": server.url, "http": server.http_url} if server.port is not None else {}
    if plan.options.unix is not None:
        where["unix"] = plan.options.unix
    lines = [" ".join(("listening", *(f"{name}={shlex.quote(place)}" for name, place in where.items())))]
    lines += [f"engine: {source.notice}", *source.found]
    if plan.tools:
        lines.append(f"tools run by this server: {', '.join(tool.name for tool in plan.tools)}")
    if plan.mcp:
        lines.append(f"MCP servers: {', '.join(server.label for server in plan.mcp)}")
    lines.append("API key: one of those given" if plan.keys else "API key: none needed")
    print("\n".join(lines), file=out, flush=True)


def _tune_gc() -> None:
    """What exists now stays; from here on, collections are made rare. A library must not do this, a command may."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def _obey(signals: Any, server: Server, scope: trio.CancelScope) -> None:
    """Drain at the first signal, stop at the second."""
    received: Sequence[int] = [await anext(signals)]
    print(f"{_name(received[0])}: draining; once more to stop at once", file=sys.stderr)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_drain, server, nursery.cancel_scope)
        again = await anext(signals)
        scope.cancel(reason=f"stopped by a second signal, {_name(again)}")


async def _drain(server: Server, scope: trio.CancelScope) -> None:
    await server.drain()
    scope.cancel(reason="the server has drained")


def _name(number: int) -> str:
    return signal.Signals(number).name
