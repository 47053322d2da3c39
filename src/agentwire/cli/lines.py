"""Lines from stdin without a thread: waiting for one can be cancelled, and nothing is left behind at exit."""

from __future__ import annotations

import os
from typing import Final

import attrs
import trio

__all__ = ["Lines"]

AT_ONCE: Final = 65_536


@attrs.define
class Lines:
    """Reads lines from a descriptor: a terminal, a pipe or a file."""

    descriptor: int
    _pending: bytes = b""
    _ended: bool = False

    async def next(self) -> str | None:
        """The next line without its end; None after the last one. Cancelled, it takes nothing."""
        await trio.lowlevel.checkpoint()
        while b"\n" not in self._pending and not self._ended:
            await self._wait()
            data = os.read(self.descriptor, AT_ONCE)
            self._pending += data
            self._ended = not data
        if not self._pending:
            return None
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode(errors="replace")

    async def _wait(self) -> None:
        try:
            await trio.lowlevel.wait_readable(self.descriptor)
        except PermissionError:  # a plain file: it is always readable, and epoll takes none
            await trio.lowlevel.checkpoint()
