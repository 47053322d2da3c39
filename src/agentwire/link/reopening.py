"""Attempts to open a connection: how long it is tried, how long between two of them, and what ends it at once.

Each pause is longer than the last, and never quite as long as anybody else's; a server that says when to come back is
believed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Final

import attrs
import trio

from agentwire.link.dialling import pauses
from agentwire.link.way import Way
from agentwire.protocol.errors import AgentwireError, ConnectionEnded, LocalProtocolError
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.transport.complaints import wait_of
from agentwire.transport.dial import ConnectFailed
from agentwire.transport.websocket import HandshakeRefused

__all__ = ["Attempt", "Patience", "Search", "asked_pause", "is_fit", "is_fruitless", "reopen"]

_log = logging.getLogger("agentwire.link")

_OLD_AT_ONCE: Final = "each connection was near its end as soon as it was open"
_PASSING: Final = frozenset((408, 425, 429, 500, 502, 503, 504, 529))
"""HTTP statuses of a server that may well take the connection in a moment."""


@attrs.define(eq=False)
class Attempt:
    """An attempt that several tasks wait for.

    Attributes:
        scope: ends it.
        done: it is over.
        error: why it failed; None if it did not.
        waiting: how many wait for it.
        beside: it was begun while there was a way still, and so it is made once.
    """

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    done: trio.Event = attrs.field(factory=trio.Event)
    error: Exception | None = None
    waiting: int = 0
    beside: bool = False

    @property
    def forsaken(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.waiting == 0 and not self.done.is_set()

    async def wait(self) -> None:
        """Wait for its end, and raise what it failed with; the last one that waits and is cancelled ends it."""
        self.waiting += 1
        try:
            await self.done.wait()
        finally:
            self.waiting -= 1
            if self.forsaken:
                self.scope.cancel(reason="nobody waits for this attempt any more")
        if self.error is not None:
            raise self.error


@attrs.frozen
class Patience:
    """How long a connection is sought.

    Attributes:
        until: Trio's time after which no other attempt is begun; the first is made in any case, if none has failed.
        failures: attempts that have failed before, so that the pauses are as long already.
        error: what the last one of these failed with.
        asked: until when another attempt is begun if the server asks for that, and for nothing else.
    """

    until: float
    failures: int = 0
    error: AgentwireError | None = None
    asked: float = 0.0


def is_fit(way: Way) -> bool:
    """Whether it takes requests."""
    return way.ended is None and not way.retiring


def is_fruitless(way: Way) -> bool:
    """Whether it was lost with requests on it before the server had said anything."""
    return way.interrupted and way.statistics().events == 0


def _is_unused(way: Way) -> bool:
    """Whether no response has ended well on it, and none was lost."""
    return not way.interrupted and all(lane.latest is None and lane.current is None for lane in way.lanes)


@attrs.define(eq=False)
class Search:
    """The search for a connection, over as many as it takes: one that brought nothing has been part of it.

    Attributes:
        within: seconds that it may take.
        since: Trio's time since when there has been none that brought anything; None while there is one.
        fruitless: how many have brought nothing.
        over: the way after which none was found.
    """

    within: float
    since: float | None = None
    fruitless: int = 0
    over: Way | None = None

    def patience(self, way: Way | None, *, brief: bool = False) -> Patience:
        """How long to seek the one after this, now.

        Args:
            way: the latest one; None for the first, which is tried once. One that works is not replaced by force.
            brief: whether it was of use for less time than the longest pause: one that nobody could use in that time
                has brought nothing either.
        """
        now = trio.current_time()
        if way is None:
            return Patience(until=now, asked=now + self.within)
        if is_fit(way):
            return Patience(until=now)
        self.fruitless = self.fruitless + 1 if is_fruitless(way) or (brief and _is_unused(way)) else 0
        if way is self.over:
            self.since, self.fruitless = now, 0
        elif self.since is None or not self.fruitless:
            self.since = way.lost_since if way.interrupted and way.lost_since is not None else now
        return Patience(
            until=self.since + self.within,
            failures=max(0, self.fruitless - 1),
            error=(way.ended or ConnectionEnded(cause=_OLD_AT_ONCE)) if self.fruitless else None,
        )

    def give_up(self, way: Way | None) -> None:
        """The search for the one after this has failed; whoever asks next begins another."""
        self.over = way


async def reopen(
    attempt: Callable[[], Awaitable[None]], patience: Patience, *, limits: Limits, sources: Sources
) -> Exception | None:
    """Try until it succeeds; returns the last error where it does not.

    Args:
        attempt: opens a connection, or raises.
        patience: how long.
        limits: the pauses.
        sources: chance.
    """
    tried = patience.error
    for pause in islice(pauses(limits, sources), patience.failures, None):
        asked = asked_pause(tried, limits)
        wait, until = max(pause, asked), max(patience.until, patience.asked if asked else 0.0)
        if tried is not None and trio.current_time() + wait > until:
            break
        await trio.sleep(wait)
        try:
            await attempt()
        except AgentwireError as error:
            _log.debug("no connection yet: %s", error)
            tried = error
            if _is_final(error, limits):
                break
        else:
            return None
    return tried


def asked_pause(error: Exception | None, limits: Limits) -> float:
    """The seconds that a server asks for before the next attempt; 0 if it does not, and infinity if they are too many.

    Args:
        error: what the last attempt failed with.
        limits: how many are too many.
    """
    wait = wait_of(dict(error.headers)) if isinstance(error, HandshakeRefused) else ""
    if not wait:
        return 0.0
    return float(wait) if float(wait) <= limits.retry_after else math.inf


def _is_final(error: AgentwireError, limits: Limits) -> bool:
    if isinstance(error, HandshakeRefused):
        return error.status not in _PASSING or asked_pause(error, limits) == math.inf
    return isinstance(error, LocalProtocolError) or (isinstance(error, ConnectFailed) and error.final)
