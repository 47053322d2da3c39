"""One engine with what stands around it: a bound on what runs at once, a deadline, and retries.

A step is tried again only while nothing of it was written, and only for failures that pass by themselves. The pauses
grow, are spread by chance, and honour what the server asks for, as far as that is bearable.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import attrs
import trio

from agentwire.engines.routing.capping import Busy, Cap
from agentwire.protocol.errors import AgentwireError, EngineError
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Engine

__all__ = ["Upstream", "UpstreamStatistics"]

_log = logging.getLogger("agentwire.routes")

MOST_DOUBLINGS: Final = 64
"""Of a pause; no bound is reached later."""

T = TypeVar("T")
Lister = Callable[[], Awaitable[Sequence[str]]]


@attrs.frozen(kw_only=True)
class UpstreamStatistics:
    """Counts at this moment, and totals.

    Attributes:
        running: attempts that run; None where nobody counts them, as there is no bound.
        waiting: steps that wait for others to end.
        attempts: how often the engine was asked.
        retries: how many of these were not the first of their step.
        failures: how many of these failed.
    """

    running: int | None
    waiting: int
    attempts: int
    retries: int
    failures: int


@attrs.define(eq=False)
class Upstream:
    """An engine in routes.

    Args:
        engine: makes the output.
        name: for errors and the log.
        concurrency: how many steps it is given at once; no bound if left out.
        retries: how often a step is tried again; ``limits.upstream_retries`` if left out.
        longest: seconds that one attempt may take in all; what was given up then is not tried again, as it may have
            run, unless the engine says that no tools are hosted behind it (``hosts_tools`` is False).
        lister: gives the names of its models, if it knows them.
        limits: pauses, and how long and how many may wait.
    """

    engine: Engine
    name: str = attrs.field(kw_only=True)
    concurrency: int | None = attrs.field(default=None, kw_only=True)
    retries: int | None = attrs.field(default=None, kw_only=True)
    longest: float | None = attrs.field(default=None, kw_only=True)
    lister: Lister | None = attrs.field(default=None, kw_only=True)
    limits: Limits = attrs.field(factory=Limits, kw_only=True)
    _cap: Cap | None = attrs.field(init=False)
    _attempts: int = attrs.field(default=0, init=False)
    _retried: int = attrs.field(default=0, init=False)
    _failed: int = attrs.field(default=0, init=False)
    _listed: tuple[str, ...] = attrs.field(default=(), init=False)
    _listed_at: float | None = attrs.field(default=None, init=False)

    @_cap.default
    def _make_cap(self) -> Cap | None:
        return None if self.concurrency is None else Cap(self.concurrency, self.limits, self.name)

    def statistics(self) -> UpstreamStatistics:
        """Counts at this moment."""
        cap = self._cap.statistics() if self._cap is not None else None
        return UpstreamStatistics(
            running=cap.running if cap is not None else None,
            waiting=cap.waiting if cap is not None else 0,
            attempts=self._attempts,
            retries=self._retried,
            failures=self._failed,
        )

    def of_engine(self, name: str) -> Any:
        """What the engine says of itself under this name, or None."""
        return getattr(self.engine, name, None)

    async def attempt(self, ask: Ask, work: Callable[[], Awaitable[T]], begun: Callable[[], bool]) -> T:
        """Do something with the engine, again and again if that may help.

        Args:
            ask: what it is about.
            work: one attempt.
            begun: whether anything was written, so that no further attempt may be made.

        Raises:
            EngineError: of the last attempt.
        """
        most = self.limits.upstream_retries if self.retries is None else self.retries
        for number in range(most + 1):
            if number:
                self._retried += 1
            try:
                return await self._once(ask, work)
            except Busy:
                raise
            except EngineError as error:
                pause = self._pause(error, number, ask) if number < most and error.retryable and not begun() else None
                if pause is None:
                    raise
                _log.info("response %s: %s failed (%s): again in %.2f s", ask.response_id, self.name, error, pause)
            await trio.sleep(pause)
        raise AssertionError  # pragma: no cover - the last round returns or raises

    async def _once(self, ask: Ask, work: Callable[[], Awaitable[T]]) -> T:
        async with self._permit(ask.principal):
            self._attempts += 1
            try:
                return await self._timed(work)
            except Exception:
                self._failed += 1
                raise

    @asynccontextmanager
    async def _permit(self, principal: str) -> AsyncGenerator[None]:
        if self._cap is None:
            yield
        else:
            async with self._cap.hold(principal):
                yield

    async def _timed(self, work: Callable[[], Awaitable[T]]) -> T:
        if self.longest is None:
            return await work()
        with trio.move_on_after(self.longest):
            return await work()
        message = f"{self.name} did not finish its answer within {self.longest:g} s."
        only_tokens = self.of_engine("hosts_tools") is False  # else nobody knows what came of it
        raise EngineError(message, code="upstream_timeout", status=504, may_have_run=not only_tokens)

    def _pause(self, error: EngineError, number: int, ask: Ask) -> float | None:
        """Seconds until the next attempt; None if the server asks for more patience than we have."""
        limits = self.limits
        pause = min(limits.retry_pause * 2.0 ** min(number, MOST_DOUBLINGS), limits.retry_longest)
        pause *= 0.5 + 0.5 * ask.sources.random.random()
        asked = error.headers.get("retry-after", "")
        if not asked.isdecimal():
            return pause
        return max(pause, float(asked)) if float(asked) <= limits.retry_after else None

    # The names of its models

    async def models(self) -> tuple[str, ...]:
        """The names of its models, not older than ``limits.models_age``; the last ones known if it cannot be asked.

        Cancelled, it knows no more than before.
        """
        now = trio.current_time()
        if self.lister is None or (self._listed_at is not None and now - self._listed_at < self.limits.models_age):
            return self._listed
        self._listed_at = now  # whoever asks meanwhile has the old list
        try:
            with trio.move_on_after(self.limits.models_wait) as waiting:
                self._listed = tuple(await self.lister())[: self.limits.models_listed]
        except AgentwireError as error:
            _log.info("%s does not list its models: %s", self.name, error)
        except BaseException:
            self._listed_at = None
            raise
        if waiting.cancelled_caught:
            _log.info("%s did not list its models within %g s", self.name, self.limits.models_wait)
        return self._listed
