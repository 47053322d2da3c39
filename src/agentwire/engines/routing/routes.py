"""The routes themselves: a model's name means an engine, others stand behind it, and the first that can answers.

What the client named stays the response's ``model`` wherever the name changes on its way up. What an engine keeps with
a conversation is shown to that engine alone, so that a fallback never continues what another one has rendered.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import trio

from agentwire.engines.routing.names import Names
from agentwire.engines.routing.upstream import Upstream, UpstreamStatistics
from agentwire.protocol.copying import changed
from agentwire.protocol.errors import EngineError
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.transcript import Memo
from agentwire.runtime.contracts import Ask, Engine, Finish, Out, Summarized

__all__ = ["Route", "Routes"]

_log = logging.getLogger("agentwire.routes")

LISTED: Final = 5
"""Names that an error lists."""


def _names(value: str | Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise TypeError(f"a list of names is expected, not the text {value!r}")
    return tuple(value)


@attrs.frozen
class Route:
    """A model's name, and who answers to it.

    Attributes:
        name: as clients say it; a ``*`` stands for any text.
        upstream: the engine, with what stands around it or without.
        model: what the model is called there; the client's name if left out, and in a pattern, its ``*`` stands for
            what that of the name stood for.
        aliases: further names.
        fallback: names of models that are asked, in this order, while this one cannot answer.
    """

    name: str
    upstream: Upstream | Engine
    model: str | None = attrs.field(default=None, kw_only=True)
    aliases: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=_names)
    fallback: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=_names)


@attrs.frozen
class _Kept:
    """What one engine keeps with a conversation; `Memo.value` of a conversation that went through routes."""

    upstream: Upstream
    value: Any


class Routes:
    """An engine made of engines.

    What it does for a step: find the route of the model's name; ask its engine, again after a failure that may pass;
    then ask the fallbacks likewise. Once anything was written, or may have had an effect, whatever happens is the
    client's to see. Cancelled, it asks nobody any more.

    Args:
        routes: by name; a mapping of names to engines is the short form.
        default: the name of the route that answers to names that are not there; without one, they are refused.
        limits: for engines that come without an `Upstream` around them.

    Raises:
        ValueError: a name is there twice, a fallback or the default is not there, or a model falls back to itself.
    """

    def __init__(
        self,
        routes: Iterable[Route] | Mapping[str, Upstream | Engine],
        *,
        default: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        listed = [Route(*pair) for pair in routes.items()] if isinstance(routes, Mapping) else list(routes)
        self._limits = limits or Limits()
        self._names: Names[_Target] = Names()
        self._upstreams: dict[int, Upstream] = {}
        for route in listed:
            target = _Target(self._upstream_of(route), route.fallback)
            for name in (route.name, *route.aliases):
                self._names.add(name, route.model, target)
        self._default = default
        self._check(listed)

    def _upstream_of(self, route: Route) -> Upstream:
        given = route.upstream
        if id(given) not in self._upstreams:
            made = given if isinstance(given, Upstream) else Upstream(given, name=route.name, limits=self._limits)
            self._upstreams[id(given)] = made
        return self._upstreams[id(given)]

    def _check(self, routes: Sequence[Route]) -> None:
        if not routes:
            raise ValueError("there must be at least one route")
        for route in routes:
            for name in route.fallback:
                self._check_named(name, f"the fallback {name!r} of model {route.name!r}")
                if "*" not in route.name and name in (route.name, *route.aliases):
                    raise ValueError(f"the model {route.name!r} cannot stand in for itself; its fallback is {name!r}")
        if self._default is not None:
            self._check_named(self._default, f"the default {self._default!r}")

    def _check_named(self, name: str, what: str) -> None:
        if "*" in name:
            raise ValueError(f"{what} is a pattern; it must be the name of one model")
        if self._names.find(name) is None:
            raise ValueError(f"{what} is no model; there are {self}")

    def __str__(self) -> str:
        names = [*self._names.exact, *(text for text, _ in self._names.patterns)]
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        return ", ".join(map(repr, names[:LISTED])) + more

    @property
    def names(self) -> tuple[str, ...]:
        """All names, aliases and patterns."""
        return (*self._names.exact, *(text for text, _ in self._names.patterns))

    def chain(self, name: str) -> tuple[tuple[str, str], ...]:
        """Who is asked for a model, one after the other: the upstreams' names, and what the model is called there.

        Raises:
            EngineError: 404 ``model_not_found``, param ``model``.
        """
        return tuple((choice.upstream.name, choice.model) for choice in self._choices(name))

    def statistics(self) -> Mapping[str, UpstreamStatistics]:
        """Counts by the upstreams' names."""
        return {upstream.name: upstream.statistics() for upstream in self._upstreams.values()}

    async def models(self) -> tuple[str, ...]:
        """The names that clients may use: those of the routes, and for patterns, those that their upstreams list.

        Upstreams are asked side by side, and seldom. Cancelled, it has asked some of them.
        """
        found: dict[int, tuple[str, ...]] = {}
        targets = {id(target): target for _, target in self._names.patterns}

        async def ask(target: _Target) -> None:
            found[id(target)] = tuple(self._names.reached_by(target, await target.upstream.models()))

        async with trio.open_nursery() as nursery:
            for target in targets.values():
                nursery.start_soon(ask, target)
        return tuple(dict.fromkeys((*self._names.exact, *(name for key in targets for name in found[key]))))

    # As an engine

    def engine_for(self, request: CreateRequest) -> Engine:
        """The engine that answers such a request, and says for itself how much it reads, counts and summarizes.

        Raises:
            EngineError: 404 ``model_not_found``, param ``model``.
        """
        return next(self._choices(request.model))

    async def __call__(self, ask: Ask, out: Out) -> Finish | None:
        """Answer one step."""
        first = latest = None
        for choice in self._choices(ask.model):
            if latest is not None:
                _log.warning("response %s: %s; %s is asked instead", ask.response_id, latest, choice.upstream.name)
            try:
                return await choice(ask, out)
            except EngineError as error:
                if out.begun or error.may_have_run or (first is None and not _is_down(error)):
                    raise
                first, latest = first or error, error  # what a fallback refuses says nothing of the model
        assert first is not None
        raise first

    def _choices(self, name: str) -> Iterator[_Choice]:
        """Who is asked for a model, one after the other."""
        found = self._names.find(name)
        if found is None and self._default is not None:
            found = self._names.find(self._default)
        if found is None:
            message = f"There is no model {name[:100]!r} here. There are {self}; see /v1/models."
            raise EngineError(message, code="model_not_found", status=404, param="model")
        yield _Choice(found[1].upstream, found[0])
        asked = {(id(found[1].upstream), found[0])}
        for fallback in found[1].fallback:
            behind = self._names.find(fallback)
            assert behind is not None
            who = id(behind[1].upstream), behind[0]
            if who not in asked:  # a pattern may fall back to a name that it fits itself
                asked.add(who)
                yield _Choice(behind[1].upstream, behind[0])


def _is_down(error: EngineError) -> bool:
    """Whether another engine may well answer what this one could not."""
    return error.status >= 500 or error.status == 429


@attrs.frozen(eq=False)
class _Target:
    """What a name means."""

    upstream: Upstream
    fallback: tuple[str, ...]


@attrs.frozen(eq=False)
class _Choice:
    """One model of one upstream: an engine itself, which says of itself what the upstream's engine does.

    Attributes:
        upstream: who is asked.
        model: what the model is called there.
    """

    upstream: Upstream
    model: str

    async def __call__(self, ask: Ask, out: Out) -> Finish | None:
        renamed = self.model != ask.model
        finish: Finish | None = await self._attempt(
            ask, lambda asked: self.upstream.engine(asked, out), lambda: out.begun
        )
        if renamed and finish is not None and "model" in finish.members:
            members = {name: value for name, value in finish.members.items() if name != "model"}
            finish = attrs.evolve(finish, members=members)
        return finish

    @property
    def context_tokens(self) -> int | None:
        """How many tokens the engine can be asked to read."""
        most = self.upstream.of_engine("context_tokens")
        return int(most) if most is not None else None

    @property
    def hosts_tools(self) -> bool:
        """Whether tools that are not the client's may be run upstream."""
        return bool(self.upstream.of_engine("hosts_tools"))

    @property
    def count_tokens(self) -> Callable[[Ask], Any] | None:
        """The engine's own count, if it has one."""
        return None if self.upstream.of_engine("count_tokens") is None else self._count

    @property
    def compact(self) -> Callable[[Ask], Any] | None:
        """The engine's own summary, if it makes one."""
        return None if self.upstream.of_engine("compact") is None else self._compact

    async def _count(self, ask: Ask) -> int:
        counted = self.upstream.of_engine("count_tokens")(self._seen(ask, self._kept(ask)))
        return int(await counted if inspect.isawaitable(counted) else counted)

    async def _compact(self, ask: Ask) -> Summarized:
        made: Summarized = await self._attempt(ask, self.upstream.of_engine("compact"), lambda: False)
        return made

    async def _attempt(self, ask: Ask, work: Callable[[Ask], Any], begun: Callable[[], bool]) -> Any:
        """Attempts of which each begins with what the turn before left behind, and the last leaves what it made."""
        kept = self._kept(ask)

        async def attempt() -> Any:
            seen = self._seen(ask, kept)
            try:
                return await work(seen)
            finally:
                ask.memo.value = _Kept(self.upstream, seen.memo.value)

        return await self.upstream.attempt(ask, attempt, begun)

    def _kept(self, ask: Ask) -> Any:
        kept = ask.memo.value
        return kept.value if isinstance(kept, _Kept) and kept.upstream is self.upstream else None

    def _seen(self, ask: Ask, kept: Any) -> Ask:
        """The ask as the engine sees it."""
        request = ask.request if self.model == ask.model else changed(ask.request, {"model": self.model})
        return changed(ask, {"request": request, "memo": Memo(kept)})
