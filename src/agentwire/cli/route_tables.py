"""Routes as they stand in the file of ``--config``: ``[upstreams.NAME]``, ``[[models]]`` and ``default-model``.

Names that are not there and values of wrong types are refused with their place. Keys are named, never written: each is
in a variable of the environment, and what is in it appears in no message.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final, Literal

import attrs
import msgspec

from agentwire.cli.failures import UserError
from agentwire.cli.upstreams import list_models, open_upstream_engine
from agentwire.engines.faults import bearer
from agentwire.engines.routing import Route, Routes, Upstream
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.limits import Limits
from agentwire.transport.http_client import open_http_client

__all__ = ["ROUTING", "Routing", "read_routing"]

ROUTING: Final = ("upstreams", "models", "default-model")
"""What of the file is read here."""


@attrs.frozen(kw_only=True)
class UpstreamTable:
    """One ``[upstreams.NAME]``."""

    kind: Literal["chat", "responses", "wire", "builtin"] = "chat"
    base_url: str | None = None
    key_env: str | None = None
    connect: float | None = None
    first_event: float | None = None
    silence: float | None = None
    longest: float | None = None
    retries: int | None = None
    concurrency: int | None = None
    context_tokens: int | None = None

    def limits(self, limits: Limits) -> Limits:
        """The server's bounds with this upstream's own deadlines."""
        own = {
            "handshake": self.connect,
            "upstream_first_event": self.first_event,
            "upstream_silence": self.silence,
        }
        changes: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
        return attrs.evolve(limits, **changes)


@attrs.frozen(kw_only=True)
class ModelTable:
    """One of ``[[models]]``."""

    name: str
    upstream: str
    model: str | None = None
    aliases: tuple[str, ...] = ()
    fallback: tuple[str, ...] = ()


@attrs.frozen
class Routing:
    """What the file says of routes.

    Attributes:
        upstreams: by name.
        models: in the file's order.
        default: the model for names that are not there.
        keys: of upstreams, by their names.
        path: the file.
    """

    upstreams: Mapping[str, UpstreamTable]
    models: Sequence[ModelTable]
    default: str | None
    keys: Mapping[str, str] = attrs.field(repr=False)
    path: str

    async def open(self, limits: Limits, stack: AsyncExitStack) -> Routes:
        """The engine, until the stack is left.

        Raises:
            UserError: an address, a key, a bound or a name is not possible.
        """
        opened: dict[str, Upstream] = {}
        for name, table in self.upstreams.items():
            try:
                opened[name] = await self._open(name, table, table.limits(limits), stack)
            except (ValueError, LocalProtocolError) as error:
                raise UserError(f"{self.path}: upstreams.{name}: {error}") from error
        routes = [
            Route(one.name, opened[one.upstream], model=one.model, aliases=one.aliases, fallback=one.fallback)
            for one in self.models
        ]
        try:
            return Routes(routes, default=self.default)
        except ValueError as error:
            raise UserError(f"{self.path}: {error}") from error

    async def _open(self, name: str, table: UpstreamTable, limits: Limits, stack: AsyncExitStack) -> Upstream:
        lister = None
        if table.kind == "builtin":
            from agentwire.engines import builtin

            engine = builtin()
        else:
            assert table.base_url is not None
            held, key = table.context_tokens, self.keys.get(name)
            opening = open_upstream_engine(
                table.base_url, table.kind, key=key, model=None, context_tokens=held, limits=limits
            )
            engine = await stack.enter_async_context(opening)
            if table.kind != "wire":
                sent = {} if key is None else {"authorization": bearer(key)}
                asking = open_http_client(table.base_url, headers=sent, limits=limits)
                lister = partial(list_models, await stack.enter_async_context(asking))
        return Upstream(
            engine,
            name=name,
            concurrency=table.concurrency,
            retries=table.retries,
            longest=table.longest,
            lister=lister,
            limits=limits,
        )


def read_routing(table: Mapping[str, Any], path: str) -> Routing | None:
    """The routes of a file; None if there are none in it.

    Raises:
        UserError: something in it cannot be followed.
    """
    if not any(name in table for name in ROUTING):
        return None
    upstreams, models = table.get("upstreams", {}), table.get("models", [])
    if not isinstance(upstreams, dict) or not all(isinstance(one, dict) for one in upstreams.values()):
        raise UserError(f"{path}: upstreams are tables: [upstreams.NAME]")
    if not isinstance(models, list) or not models or not all(isinstance(one, dict) for one in models):
        raise UserError(f"{path}: models are a list of tables, and one at least is needed: [[models]]")
    default = table.get("default-model")
    if default is not None and not isinstance(default, str):
        raise UserError(f"{path}: default-model must be the name of a model")
    read = {name: _convert(one, UpstreamTable, f"{path}: upstreams.{name}") for name, one in upstreams.items()}
    listed = [_convert(one, ModelTable, f"{path}: models[{number}]") for number, one in enumerate(models)]
    for name, one in read.items():
        if (one.base_url is None) is not (one.kind == "builtin"):
            raise UserError(f"{path}: upstreams.{name}: base-url is needed, unless its kind is builtin")
    for one in listed:
        if one.upstream not in read:
            known = ", ".join(sorted(read)) or "none"
            raise UserError(f"{path}: model {one.name!r}: there is no upstream {one.upstream!r}; there are {known}")
    return Routing(read, listed, default, _keys(read, path), path)


def _convert(table: Mapping[str, Any], kind: type[Any], where: str) -> Any:
    names = [field.name for field in attrs.fields(kind)]
    for key in table:
        if key.replace("-", "_") not in names:
            known = ", ".join(sorted(name.replace("_", "-") for name in names))
            raise UserError(f"{where}: there is no {key!r}; there are {known}")
    try:
        return msgspec.convert({key.replace("-", "_"): value for key, value in table.items()}, kind)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$.")
        raise UserError(f"{where}{'.' if place else ''}{place.rstrip('`').replace('_', '-')}: {problem}") from error


def _keys(upstreams: Mapping[str, UpstreamTable], path: str) -> dict[str, str]:
    keys: dict[str, str] = {}
    for name, table in upstreams.items():
        if table.key_env is not None:
            if not os.environ.get(table.key_env):
                raise UserError(
                    f"{path}: upstreams.{name}: the environment has no {table.key_env}, which key-env names"
                )
            keys[name] = os.environ[table.key_env]
    return keys
