"""A child process that talks in lines on its stdin and stdout; what it writes to stderr goes to the log.

It is the leader of a process group of its own, and nothing of that group outlives the block that opened it. Of our
environment it sees little, so that no key leaks by accident.
"""

from __future__ import annotations

import logging
import signal
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from agentwire.protocol.limits import Limits
from agentwire.runtime.processes import environment, signal_group
from agentwire.runtime.tools.source import SessionLost

__all__ = ["Child", "open_child"]

_log: Final = logging.getLogger("agentwire.child")
_CHUNK: Final = 65_536


class Child:
    """A running child; made by `open_child`.

    Attributes:
        name: for the log.
        pid: its process id, and that of its group.
        last_words: the last line that it wrote to stderr.
    """

    def __init__(self, name: str, process: trio.Process, limits: Limits) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.name = name
        self.pid = process.pid
        self.last_words = ""
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._limits = limits
        self._sending = trio.Lock()
        self._buffer = bytearray()
        self._searched = 0
        self._silent = trio.Event()
        self._second = -1.0  # when the one began in which so many lines
        self._logged = self._unlogged = 0

    async def send_line(self, line: bytes) -> None:
        """Say a line; one that was begun is finished, unless the child takes none of it for ``limits.mcp_exit`` s.

        Raises:
            SessionLost: the child does not listen any more.
        """
        async with self._sending:
            try:
                with trio.CancelScope(shield=True) as scope:  # noqa: ASYNC912 - a line is never empty
                    view = memoryview(line + b"\n")
                    while view:
                        scope.deadline = trio.current_time() + self._limits.write_progress
                        taken, view = view[:_CHUNK], view[_CHUNK:]
                        await self._stdin.send_all(taken)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise SessionLost(f"{self.name} does not listen any more") from None
            if scope.cancelled_caught:
                raise SessionLost(f"{self.name} does not read what it is told")

    async def receive_line(self) -> bytes | None:
        """The next line without its end; None if there will be none.

        Raises:
            SessionLost: it is longer than ``limits.message_bytes``.
        """
        while True:  # noqa: ASYNC913 - no wait for a line that is here
            end = self._buffer.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._searched = 0
                return line
            self._searched = len(self._buffer)
            if self._searched > self._limits.message_bytes:
                raise SessionLost(f"{self.name} wrote a line of more than {self._searched} bytes")
            try:
                data = await self._stdout.receive_some(_CHUNK)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return None
            if not data:
                return None
            self._buffer += data

    async def log_stderr(self) -> None:
        """Pass on what it complains about, a line at a time, until it ends."""
        most, rest = self._limits.mcp_stderr_bytes, b""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in self._stderr:
                *lines, rest = (rest + bytes(data)).split(b"\n")
                for line in lines:
                    self._log(line[:most])
                rest = rest[:most]
        if rest:
            self._log(rest)
        self._count_unlogged()
        self._silent.set()

    async def listen_out(self) -> None:
        """Wait until it has written its last line to stderr, but not for long."""
        with trio.move_on_after(self._limits.mcp_exit):
            await self._silent.wait()

    def _log(self, line: bytes) -> None:
        if text := line.decode(errors="replace").strip():
            self.last_words = text
            self.remark(text)

    def remark(self, text: str, level: int = logging.INFO) -> None:
        """Log something of it, as long as there is not too much of that: a child may never stop."""
        now = trio.current_time()
        if now >= self._second + 1:
            self._count_unlogged()
            self._second, self._logged = now, 0
        if self._logged < self._limits.mcp_stderr_lines:
            self._logged += 1
            _log.log(level, "%s (%d): %s", self.name, self.pid, text)
        else:
            self._unlogged += 1

    def _count_unlogged(self) -> None:
        if self._unlogged:
            _log.warning("%s (%d): %d more lines, which are not shown", self.name, self.pid, self._unlogged)
            self._unlogged = 0

    # The end

    async def stop(self) -> None:
        """Let it leave, ask it to, make it; then nothing of its group is left. Takes two graces and no more."""
        with trio.CancelScope(shield=True):
            await self._stdin.aclose()
            if not await self._gone():
                signal_group(self.pid, signal.SIGTERM)
                if not await self._gone():
                    _log.warning("%s (%d) did not leave, and is killed", self.name, self.pid)
            signal_group(self.pid, signal.SIGKILL)  # whom it started, too, and those who ignored the last one
            await self._process.wait()
            await self._stdout.aclose()
            await self._stderr.aclose()

    async def _gone(self) -> bool:
        with trio.move_on_after(self._limits.mcp_exit):
            await self._process.wait()
        return self._process.returncode is not None


@asynccontextmanager
async def open_child(
    name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: str | None, limits: Limits
) -> AsyncGenerator[Child]:
    """Start a child, and see it off at the end of the block, however that comes.

    Args:
        name: for the log.
        command: the program and its arguments.
        env: its environment, besides what every child sees of ours.
        cwd: its folder; ours if left out.
        limits: how long its lines may be, and how long it may take to leave.

    Raises:
        OSError: it cannot be started.
    """
    process = await trio.lowlevel.open_process(
        list(command),
        env=environment(env),
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    child = Child(name, process, limits)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child.log_stderr)
        try:
            yield child
        finally:
            await child.stop()  # noqa: ASYNC102 - it is shielded, and has deadlines
            nursery.cancel_scope.cancel(reason="the child has ended")
