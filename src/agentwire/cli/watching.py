"""Says when the connection was lost and is back: one line each time, whatever the client does about it.

The client tells nobody that it reconnects, since nobody needs to know; so its figures are looked at, now and then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from agentwire.client import Client

__all__ = ["watch_connection"]

BEAT: Final = 0.1
"""Seconds between two looks."""


async def watch_connection(wire: Client, note: Callable[[str], None]) -> None:
    """Look at the connection until cancelled.

    Args:
        wire: whose.
        note: told of each change.
    """
    line = wire.line
    before, lost = _connections(wire), None
    while True:
        await trio.sleep(BEAT)
        lost = line.lost_since if line.lost_since is not None else lost
        now = _connections(wire)
        if now != before and line.lost_since is None:
            told = "the connection was replaced by another one"
            if lost is not None:
                told = f"the connection was lost, and is back after {trio.current_time() - lost:.1f} s"
            note(told)
            before, lost = now, None


def _connections(wire: Client) -> tuple[int, int]:
    statistics = wire.line.statistics()
    return statistics.ways, statistics.current.connections
