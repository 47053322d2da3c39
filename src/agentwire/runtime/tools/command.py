"""Commands, run for a tool: what they print and how they end, as text for the model.

A command leads a process group of its own, and nothing of that group outlives the call. Output is kept up to a bound,
its beginning and its end; the rest is read and dropped, so that a command that prints much is not held up.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import attrs
import trio

from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.limits import Limits
from agentwire.runtime.groups import open_flat_nursery
from agentwire.runtime.processes import environment, group_lives, signal_group

__all__ = ["CommandResult", "run_command"]

_log = logging.getLogger("agentwire.tools")
_CHUNK: Final = 65_536


@attrs.frozen
class CommandResult:
    """How a command ended; a tool may return it as it is.

    Attributes:
        output: what it wrote to stdout and stderr, in the order in which it came.
        status: its exit status; negative for the number of the signal that ended it.
        timed_out: whether it was ended because it took too long.
    """

    output: str
    status: int | None
    timed_out: bool = False

    @property
    def text(self) -> str:
        """For a model: the output, and on a line of its own how it ended."""
        return "\n".join(part for part in (self.output.rstrip("\n"), f"[{self._end()}]") if part)

    def _end(self) -> str:
        if self.timed_out:
            return "it did not end in time, and was killed"
        if self.status is None:
            return "it was killed, and nobody knows whether it has ended"
        return f"exit status {self.status}" if self.status >= 0 else f"ended by signal {-self.status}"


async def run_command(
    argv: Sequence[str | os.PathLike[str]],
    *,
    input: str | bytes | None = None,  # noqa: A002 - as in subprocess
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - ends the command, and not the call
    output_bytes: int | None = None,
    limits: Limits | None = None,
) -> CommandResult:
    """Run a program to its end; for async tools.

    Cancelled or out of time, the program and all that it has started get SIGTERM, and after ``limits.command_exit``
    seconds SIGKILL; the call ends when they have. What a program leaves behind in its group when it ends by itself goes
    the same way. The time is for whoever still has its output open.

    Args:
        argv: the program and its arguments; there is no shell.
        input: for its stdin, which is empty otherwise.
        cwd: its folder; ours if left out.
        env: its environment, besides what programs need to run at all; our other variables, where keys may be, are not
            passed on.
        timeout: seconds that it may take; then the result says so.
        output_bytes: most output that is kept; ``limits.tool_output_bytes`` if left out.
        limits: see above.

    Raises:
        OSError: it cannot be started.
        LocalProtocolError: that is no command.
    """
    if isinstance(argv, str | bytes) or not argv:
        raise LocalProtocolError(f"a command is a list, the program and its arguments, and not {argv!r}")
    limits = limits or Limits()
    process = await trio.lowlevel.open_process(
        list(argv),
        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env=environment(env or {}),
        start_new_session=True,
    )
    kept = _Kept(output_bytes or limits.tool_output_bytes)
    given = input.encode() if isinstance(input, str) else input or b""
    return await _Command(process, kept, limits).run(given, math.inf if timeout is None else timeout)


class _Command:
    def __init__(self, process: trio.Process, kept: _Kept, limits: Limits) -> None:
        self._process = process
        self._kept = kept
        self._grace = limits.command_exit
        self._pipes = trio.CancelScope(shield=True)
        self._silent = trio.Event()

    async def run(self, given: bytes, seconds: float) -> CommandResult:
        async with open_flat_nursery() as nursery:
            nursery.start_soon(self._talk, given, name="pipes of a command")
            try:
                with trio.move_on_after(seconds) as scope:
                    await self._process.wait()
            finally:
                await self._end()  # noqa: ASYNC102 - it is shielded, and has deadlines
        return CommandResult(self._kept.text, self._process.returncode, scope.cancelled_caught)

    async def _talk(self, given: bytes) -> None:
        with self._pipes:
            async with open_flat_nursery() as nursery:
                nursery.start_soon(self._tell, given)
                await self._listen()

    async def _tell(self, given: bytes) -> None:
        if self._process.stdin is not None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # it does not listen
                await self._process.stdin.send_all(given)
            await self._process.stdin.aclose()

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await self._process.stdout.receive_some(_CHUNK):
                self._kept.add(bytes(data))
        self._silent.set()

    async def _end(self) -> None:
        """See the group off: ask it, make it; whoever has left it and holds our pipes is not waited for."""
        pid = self._process.pid
        with trio.CancelScope(shield=True):
            if self._process.returncode is None or group_lives(pid):
                signal_group(pid, signal.SIGTERM)
                with trio.move_on_after(self._grace):
                    await self._gone()
                signal_group(pid, signal.SIGKILL)
            with trio.move_on_after(self._grace):
                await self._gone()
            if self._process.returncode is None:
                _log.warning("process %d has not ended %g s after it was killed", pid, self._grace)
            self._pipes.cancel(reason="the command has ended")

    async def _gone(self) -> None:
        """It has ended, and nobody is left who could say anything."""
        await self._process.wait()
        await self._silent.wait()


class _Kept:
    """The beginning and the end of what is printed, half the bound each."""

    def __init__(self, limit: int) -> None:
        self._first = limit - limit // 2
        self._last = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def add(self, data: bytes) -> None:
        room = self._first - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        surplus = len(self._tail) - self._last
        if surplus > 0:
            del self._tail[:surplus]
            self._dropped += surplus

    @property
    def text(self) -> str:
        if not self._dropped:
            return (self._head + self._tail).decode(errors="replace")
        head, tail = self._head.decode(errors="replace"), self._tail.decode(errors="replace")
        return f"{head}\n[cut: {self._dropped} bytes are left out here]\n{tail}"
