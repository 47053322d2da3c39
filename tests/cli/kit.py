"""The command as a process of its own: what a person types, and what they see."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import trio

__all__ = ["COMMAND", "Ran", "ServeProcess", "environment", "run_command", "serving", "wait_until"]

COMMAND = (sys.executable, "-m", "agentwire")
ROOT = Path(__file__).parent.parent.parent

_KEEP_OUT = ("AGENTWIRE_KEYS", "AGENTWIRE_UPSTREAM_KEY", "AGENTWIRE_API_KEY", "OPENAI_API_KEY", "AGENTWIRE_TRACEBACK")


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without anything that the command reads, and with ``more``."""
    kept = {name: value for name, value in os.environ.items() if name not in _KEEP_OUT}
    return {**kept, "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1", **(more or {})}


async def wait_until(holds: Callable[[], object]) -> None:
    """Wait until something is so, which tells nobody that it is."""
    while not holds():  # noqa: ASYNC110 - that is why
        await trio.sleep(0.005)


@attrs.frozen
class Ran:
    """What came of one run."""

    code: int
    out: str
    err: str


async def run_command(
    *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, stdin: bytes = b""
) -> Ran:
    """Run the command to its end, within a minute."""
    with trio.fail_after(60):
        ran = await trio.run_process(
            [*COMMAND, *arguments],
            env=environment(env),
            cwd=cwd,
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode())


@attrs.define(eq=False)
class ServeProcess:
    """A running ``agentwire serve``; `lines` is what it said on stdout until it was ready."""

    process: trio.Process
    lines: list[str]
    errors: bytearray = attrs.field(factory=bytearray)
    said_more: trio.Event = attrs.field(factory=trio.Event)

    @property
    def where(self) -> dict[str, str]:
        """The addresses of the first line."""
        words = shlex.split(self.lines[0])
        assert words[0] == "listening"
        return dict(word.split("=", 1) for word in words[1:])

    async def wait_said(self, text: str) -> None:
        """Wait until stderr holds this."""
        while text.encode() not in self.errors:
            await self.said_more.wait()

    async def signal_and_wait(self, *numbers: int) -> int:
        """Send signals, and give the exit code."""
        for number in numbers:
            self.process.send_signal(number)
            await self.wait_said("draining")
        return await self.process.wait()


@asynccontextmanager
async def serving(
    *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, lines: int = 3
) -> AsyncGenerator[ServeProcess]:
    """``agentwire serve`` with these arguments, watched; killed when the block is left, if it still runs then."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "violations"
        command = [sys.executable, "-m", "tests.watched", report, "serve", *arguments]
        path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))).rstrip(os.pathsep)
        async with _process(command, {"PYTHONPATH": path, **(env or {})}, cwd, lines) as running:
            yield running
        assert not report.exists(), report.read_text(encoding="utf-8")


@asynccontextmanager
async def _process(
    command: Sequence[str | Path], env: Mapping[str, str], cwd: Path | None, lines: int
) -> AsyncGenerator[ServeProcess]:
    run = partial(
        trio.run_process,
        command,
        env=environment(env),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        check=False,
    )
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(run)
        assert process.stdout is not None
        said = b""
        running = ServeProcess(process, [])
        nursery.start_soon(_collect, running)
        while said.count(b"\n") < lines and (piece := await process.stdout.receive_some()):
            said += piece
        running.lines += said.decode().splitlines()
        assert len(running.lines) >= lines, f"it ended early: {said!r} {bytes(running.errors)!r}"
        yield running
        if process.returncode is None:
            process.kill()


async def _collect(running: ServeProcess) -> None:
    assert running.process.stderr is not None
    while piece := await running.process.stderr.receive_some():
        running.errors += piece
        running.said_more.set()
        running.said_more = trio.Event()
