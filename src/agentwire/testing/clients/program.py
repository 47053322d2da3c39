"""One run of a program: started in a group of its own, listened to, and ended in time with all that it has started."""

from __future__ import annotations

import signal
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

import attrs
import trio

from agentwire.runtime.processes import signal_group

__all__ = ["Line", "Ran", "run_program"]

_KEPT: Final = 2_000
_LONGEST: Final = 4_000
_GRACE: Final = 0.5


@attrs.frozen
class Line:
    """A line that was printed.

    Attributes:
        at: Trio's time.
        text: of it.
        error: whether it went to stderr.
    """

    at: float
    text: str
    error: bool


@attrs.define
class Ran:
    """What came of it.

    Attributes:
        seconds: that it took.
        exit_code: its exit code; negative for the signal that ended it; None if it had to be killed.
        lines: what it printed, the latest.
    """

    seconds: float = 0.0
    exit_code: int | None = None
    lines: deque[Line] = attrs.field(factory=lambda: deque(maxlen=_KEPT))

    @property
    def output(self) -> str:
        """What it printed to stdout."""
        return "\n".join(line.text for line in self.lines if not line.error)

    @property
    def errors(self) -> list[str]:
        """The lines of stderr that are not empty."""
        return [line.text for line in self.lines if line.error and line.text.strip()]


async def run_program(command: Sequence[str], *, env: Mapping[str, str], deadline: float) -> Ran:
    """Run it to its end, or for so many seconds; then it is killed, with all that it has started.

    Cancelled, it is killed at once.

    Raises:
        OSError: it cannot be started.
    """
    ran = Ran()
    began = trio.current_time()
    process = await trio.lowlevel.open_process(
        list(command),
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_listen, process.stdout, ran, False)
            nursery.start_soon(_listen, process.stderr, ran, True)
            with trio.move_on_after(deadline):
                ran.exit_code = await process.wait()
            ran.seconds = trio.current_time() - began
            await _see_off(process)
            nursery.cancel_scope.deadline = trio.current_time() + _GRACE  # for what it printed last
    finally:
        with trio.CancelScope(shield=True):
            await _see_off(process)
            await process.stdout.aclose()
            await process.stderr.aclose()
    return ran


async def _see_off(process: trio.Process) -> None:
    """Nothing of it is left, and nothing that it has started."""
    signal_group(process.pid, signal.SIGKILL)
    await process.wait()


async def _listen(stream: trio.abc.ReceiveStream, ran: Ran, error: bool) -> None:
    rest = b""
    try:
        async for data in stream:
            *lines, rest = (rest + bytes(data)).split(b"\n")
            for line in lines:
                _keep(line, ran, error)
            rest = rest[-_LONGEST:]
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        if rest:
            _keep(rest, ran, error)


def _keep(line: bytes, ran: Ran, error: bool) -> None:
    text = line[:_LONGEST].decode(errors="replace").rstrip("\r")
    ran.lines.append(Line(trio.current_time(), text, error))
