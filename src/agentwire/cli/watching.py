"""Says when the connection was lost and is back, in one line; in two if it takes long. And that it is none, over HTTP.

The client tells nobody that it reconnects, since nobody needs to know; so its figures are looked at, now and then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs
import trio

from agentwire.client import Client
from agentwire.link import Line

__all__ = ["watch_connection"]

BEAT: Final = 0.1
"""Seconds between two looks."""
LONG: Final = 1.5
"""Seconds after which a connection that is lost is worth a line of its own."""


async def watch_connection(wire: Client, note: Callable[[str], None]) -> None:
    """Look at the connection until cancelled.

    Args:
        wire: whose.
        note: told of each change.
    """
    if not wire.line.current.remembers:
        note("the server takes no WebSocket: everything goes over HTTP")
    watcher = _Watcher(wire.line, note)
    while True:
        await trio.sleep(BEAT)
        watcher.look()


@attrs.define
class _Watcher:
    line: Line
    note: Callable[[str], None]
    _before: tuple[int, int] = attrs.field(init=False)
    _lost: float | None = None
    _told: bool = False

    def __attrs_post_init__(self) -> None:
        self._before = self._connections()

    def look(self) -> None:
        now, since = trio.current_time(), self.line.lost_since
        if since is not None:
            self._lost = since
            if not self._told and now - since > LONG:
                self._told = True
                self.note("the connection is lost, and is opened again when it is needed")
        elif (connections := self._connections()) != self._before:
            replaced = "the connection was replaced by another one"
            lost = self._lost
            self.note(replaced if lost is None else f"the connection was lost, and is back after {now - lost:.1f} s")
            self._before, self._lost, self._told = connections, None, False

    def _connections(self) -> tuple[int, int]:
        statistics = self.line.statistics()
        return statistics.ways, statistics.current.connections
