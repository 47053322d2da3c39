"""Requests that the server has forgotten: no first event, or no further one, for too long.

Only what the server says of that request counts, a ``keepalive`` too: a connection may answer pings for ever while
whatever is behind it has died. The request is lost and nothing else, but nothing new is asked where it is still open.
"""

from __future__ import annotations

import math

from agentwire.link.exchange import Exchange
from agentwire.link.lanes import Lanes
from agentwire.link.outcome import Fate
from agentwire.protocol.errors import ConnectionEnded
from agentwire.protocol.limits import Limits

__all__ = ["Deadlines"]


class Deadlines:
    """The deadlines of all requests on one connection.

    Args:
        lanes: where they are.
        limits: how long they may take.
    """

    def __init__(self, lanes: Lanes, limits: Limits) -> None:
        self._lanes = lanes
        self._limits = limits
        self._missed: set[Exchange] = set()

    @property
    def missed(self) -> bool:
        """Whether a request that missed one is still open at the server."""
        return bool(self._missed) and any(lane.current in self._missed for lane in self._lanes)

    @property
    def interval(self) -> float:
        """Seconds between two looks that make no request's end much too late."""
        return min(self._limits.first_event, self._limits.event_silence) / 4

    def expire(self, now: float, since: float) -> float:
        """Lose the requests that are late.

        Args:
            now: Trio's time.
            since: Trio's time since when the server could be heard; before that, it was not late.

        Returns:
            Trio's time at which the next one is late.
        """
        self._missed &= {lane.current for lane in self._lanes if lane.current is not None}
        coming = math.inf
        for lane in self._lanes:
            exchange = lane.current
            if exchange is None or exchange in self._missed or exchange.fate is Fate.NEVER_SENT:
                continue
            first = exchange.fate is Fate.UNKNOWN
            most = self._limits.first_event if first else self._limits.event_silence
            late = max(exchange.heard, since) + most
            if late <= now:
                self._missed.add(exchange)
                which = "first" if first else "further"
                end = ConnectionEnded(cause=f"no {which} event of this request within {most:g} s")
                exchange.lose(end)
                self._lanes.clog(lane, ConnectionEnded(cause=f"the request before it has not ended: {end.cause}"))
            else:
                coming = min(coming, late)
        return coming
