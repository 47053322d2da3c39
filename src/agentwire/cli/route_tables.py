"""Routes as they stand in the file of ``--config``: ``[upstreams.NAME]``, ``[[models]]`` and ``default-model``.

Names that are not there and values of wrong types are refused with their place; what one upstream may say is the
business of `agentwire.cli.upstream_tables`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import attrs

from agentwire.cli.failures import UserError
from agentwire.cli.tables import convert
from agentwire.cli.upstream_tables import NamedUpstream, read_upstream
from agentwire.engines.routing import Route, Routes
from agentwire.protocol.limits import Limits

__all__ = ["ROUTING", "Routing", "read_routing"]

ROUTING: Final = ("upstreams", "models", "default-model")
"""What of the file is read here."""


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
        path: the file.
    """

    upstreams: Mapping[str, NamedUpstream]
    models: Sequence[ModelTable]
    default: str | None
    path: str

    async def found_out(self, limits: Limits) -> Routing:
        """The same with every upstream's kind known; those of kind ``auto`` are asked, one after the other.

        Raises:
            UserError: it cannot be found out.
        """
        return attrs.evolve(self, upstreams={name: await one.found_out(limits) for name, one in self.upstreams.items()})

    @property
    def notices(self) -> tuple[str, ...]:
        """What was found out, a line each, for people."""
        return tuple(f"upstream {one.name}: {one.found}" for one in self.upstreams.values() if one.found)

    async def open(self, limits: Limits, stack: AsyncExitStack) -> Routes:
        """The engine, until the stack is left; the upstreams' kinds must be known.

        Raises:
            UserError: an address, a key, a bound or a name is not possible.
        """
        opened = {name: await one.open(limits, stack) for name, one in self.upstreams.items()}
        routes = [
            Route(one.name, opened[one.upstream], model=one.model, aliases=one.aliases, fallback=one.fallback)
            for one in self.models
        ]
        try:
            return Routes(routes, default=self.default)
        except ValueError as error:
            raise UserError(f"{self.path}: {error}") from error

    def describe(self, routes: Routes) -> Iterator[str]:
        """What each name leads to, a line each, for people.

        Args:
            routes: what `open` gave.
        """
        for name in routes.names:
            asked = (f"{self.upstreams[upstream]} as {model}" for upstream, model in routes.chain(name))
            yield f"{name} -> {', else '.join(asked)}"
        yield f"any other name -> {f'as {self.default}' if self.default is not None else '404 model_not_found'}"


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
    read = {name: read_upstream(name, one, path) for name, one in upstreams.items()}
    listed = [convert(one, ModelTable, f"{path}: models[{number}]") for number, one in enumerate(models)]
    for one in listed:
        if one.upstream not in read:
            known = ", ".join(sorted(read)) or "none"
            raise UserError(f"{path}: model {one.name!r}: there is no upstream {one.upstream!r}; there are {known}")
    return Routing(read, listed, default, path)
