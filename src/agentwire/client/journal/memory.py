"""A journal that lasts as long as its process: for tests, and for a run that is left and taken up again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from agentwire.client.journal.contract import JournalHeld
from agentwire.protocol.limits import Limits

__all__ = ["MemoryJournal"]


@attrs.define(eq=False)
class _Log:
    journal: MemoryJournal
    entries: list[bytes] = attrs.field(factory=list)
    held: bool = False

    async def append(self, entries: Sequence[bytes]) -> None:
        await trio.lowlevel.checkpoint()
        self.entries = [*self.entries, *entries]
        self.journal.bytes += sum(map(len, entries))


class MemoryJournal:
    """A `Journal` in memory; the runs that were used longest ago make room, unless they are open.

    Args:
        limits: how much is kept.

    Attributes:
        bytes: what is kept.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.bytes = 0
        self._most = (limits or Limits()).journal_memory_bytes
        self._runs: OrderedDict[str, _Log] = OrderedDict()

    def __len__(self) -> int:
        return len(self._runs)

    @asynccontextmanager
    async def open(self, key: str) -> AsyncGenerator[_Log]:
        """The entries of one run; see `Journal.open`."""
        log = self._runs.setdefault(key, _Log(self))
        if log.held:
            raise JournalHeld(key, "this journal", "this process")
        self._runs.move_to_end(key)
        log.held = True
        try:
            yield log
        finally:
            log.held = False
            self._make_room()

    def _make_room(self) -> None:
        for key, log in [*self._runs.items()]:
            if self.bytes <= self._most:
                return
            if not log.held:
                del self._runs[key]
                self.bytes -= sum(map(len, log.entries))
