"""Attempts to open a connection: how long it is tried, how long between two of them, and what ends it at once.

Each pause is longer than the last, and never quite as long as anybody else's.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from agentwire.link.dialling import pauses
from agentwire.protocol.errors import AgentwireError, LocalProtocolError
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.transport.websocket import HandshakeRefused

__all__ = ["Attempt", "reopen"]

_log = logging.getLogger("agentwire.link")

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
    """

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    done: trio.Event = attrs.field(factory=trio.Event)
    error: Exception | None = None
    waiting: int = 0

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


async def reopen(
    attempt: Callable[[], Awaitable[None]], *, limits: Limits, sources: Sources, until: float
) -> Exception | None:
    """Try until it succeeds; returns the last error where it does not.

    Args:
        attempt: opens a connection, or raises.
        limits: the pauses.
        sources: chance.
        until: Trio's time after which no other attempt is begun; the first is made in any case.
    """
    tried: Exception | None = None
    for pause in pauses(limits, sources):
        if tried is not None and trio.current_time() + pause > until:
            break
        await trio.sleep(pause)
        try:
            await attempt()
        except AgentwireError as error:
            _log.debug("no connection yet: %s", error)
            tried = error
            if _is_final(error):
                break
        else:
            return None
    return tried


def _is_final(error: AgentwireError) -> bool:
    if isinstance(error, HandshakeRefused):
        return error.status not in _PASSING
    return isinstance(error, LocalProtocolError)
