"""Lines from stdin and to stdout without a thread: waiting can be cancelled, and then nothing is lost.

Neither descriptor is made non-blocking, for that would concern everybody who shares it.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

__all__ = ["LineWriter", "Lines"]

AT_ONCE: Final = 65_536
ROOM: Final = 4_096
"""Bytes that a pipe takes without blocking once it says that it is writable (POSIX, PIPE_BUF, on Linux)."""


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
            await _ready(trio.lowlevel.wait_readable, self.descriptor)
            data = os.read(self.descriptor, AT_ONCE)
            self._pending += data
            self._ended = not data
        if not self._pending:
            return None
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode(errors="replace")


@attrs.define
class LineWriter:
    """Writes lines to a descriptor: a terminal, a pipe or a file."""

    descriptor: int
    _pending: bytearray = attrs.field(factory=bytearray)

    async def put(self, line: bytes) -> None:
        """Write a line. Cancelled, what is left of it goes out before the next one, so that no line is torn.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        self._pending += line + b"\n"
        while self._pending:
            await _ready(trio.lowlevel.wait_writable, self.descriptor)
            with memoryview(self._pending) as waiting:
                written = os.write(self.descriptor, waiting[:ROOM])
            del self._pending[:written]


async def _ready(wait: Callable[[int], Awaitable[None]], descriptor: int) -> None:
    try:
        await wait(descriptor)
    except PermissionError:  # a plain file: it is always ready, and epoll takes none
        await trio.lowlevel.checkpoint()
