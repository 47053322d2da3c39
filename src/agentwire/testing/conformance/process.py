"""The server under test as a process of the run's own, so that it can be drained, killed and started again.

It leads a process group, and nothing of that group outlives the block that opened it; the port stays the same from one
start to the next, and so does the folder in which it may keep what is to survive it.
"""

from __future__ import annotations

import shlex
import signal
import socket
import subprocess
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

import trio

from agentwire.runtime.groups import open_flat_nursery
from agentwire.runtime.processes import signal_group

__all__ = ["NotStarted", "ProcessUnderTest", "UnderTest", "start_server"]

_LINES: Final = 200
_LINE: Final = 500
_LAST: Final = 10
_LOOK: Final = 0.05
_GRACE: Final = 5.0


class NotStarted(Exception):
    """The server ended, or did not listen in time; the text has its last ten lines."""


class UnderTest(Protocol):
    """What a case does with a server that the run has started."""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""

    def descriptors(self) -> int:
        """How many files and sockets it has open; 0 where the system does not say."""

    async def terminate(self) -> None:
        """Ask it to shut down in good order (SIGTERM); returns at once."""

    async def kill(self) -> None:
        """End it without a word (SIGKILL); returns when it is gone."""

    async def wait(self) -> int:
        """Wait for its end; its exit code, negative for a signal."""

    async def start(self) -> None:
        """Start it again where it was, unless it runs and was not asked to leave; returns when it listens.

        Raises:
            NotStarted: it does not.
        """


class ProcessUnderTest:
    """A server as a process; made by `start_server`.

    Attributes:
        url: its base URL, as it was given or ``http://HOST:PORT/v1``.
        command: the words that start it, with the placeholders filled in.
        host: where it listens.
        port: likewise.
        lines: the last 200 lines that it has written, each cut off after 500 characters.
        ready: seconds that it may take until it listens.
    """

    def __init__(
        self, command: Sequence[str], url: str, host: str, port: int, *, env: Mapping[str, str] | None
    ) -> None:
        self.url = url
        self.command = tuple(command)
        self.host, self.port = host, port
        self.lines: deque[str] = deque(maxlen=_LINES)
        self.ready = 60.0
        self._env = dict(env) if env is not None else None
        self._process: trio.Process | None = None
        self._nursery: trio.Nursery | None = None
        self._leaving = False
        self._listening = False

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._runs()

    @property
    def pid(self) -> int | None:
        """Its process id; None before its first start."""
        return self._process.pid if self._process is not None else None

    def descriptors(self) -> int:
        """How many files and sockets it has open, with all that it has started; 0 where the system does not say."""
        if self._process is None:
            return 0
        return sum(_open_files(pid) for pid in _family(self._process.pid))

    async def start(self) -> None:
        """Start it, unless it runs; returns when it listens. One that was asked to leave has 5 seconds to do so.

        A start that is cancelled is gone on with by the next one.

        Raises:
            NotStarted: it cannot be started, ends, or does not listen within `ready` seconds.
        """
        assert self._nursery is not None
        if self._leaving and self._process is not None:
            with trio.move_on_after(_GRACE):
                await self._process.wait()
        if not self._runs() or self._leaving:
            await self._launch(self._nursery)
        if not self._listening:
            await self._wait_until_it_listens()

    async def _launch(self, nursery: trio.Nursery) -> None:
        await self._end_group()
        self._leaving = self._listening = False
        try:
            self._process = await trio.lowlevel.open_process(
                self.command,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise NotStarted(f"{shlex.join(self.command)}: {error}") from error
        nursery.start_soon(self._read, self._process)

    async def _wait_until_it_listens(self) -> None:
        with trio.move_on_after(self.ready) as scope:
            while not await self._listens():
                if not self._runs():
                    raise NotStarted(self._story("it ended before it listened"))
                await trio.sleep(_LOOK)
        if scope.cancelled_caught:
            raise NotStarted(self._story(f"nobody listens on {self.host}:{self.port} after {self.ready:g} s"))
        self._listening = True

    async def terminate(self) -> None:
        """Send SIGTERM to the process alone, as a process manager does; returns at once."""
        if self._process is not None and self._runs():
            self._process.send_signal(signal.SIGTERM)
            self._leaving = True
        await trio.lowlevel.checkpoint()

    async def kill(self) -> None:
        """Send SIGKILL to its whole group; returns when it is gone. It takes no time, and cannot be cancelled."""
        await self._end_group()

    async def wait(self) -> int:
        """Wait for its end; its exit code, negative for a signal."""
        assert self._process is not None
        return await self._process.wait()

    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def _listens(self) -> bool:
        try:
            stream = await trio.open_tcp_stream(self.host, self.port)
        except OSError:
            return False
        await trio.aclose_forcefully(stream)
        return True

    async def _read(self, process: trio.Process) -> None:
        """Keep its last lines; what it writes is always taken, or it would stop."""
        assert process.stdout is not None
        rest = b""
        async with process.stdout:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                async for data in process.stdout:
                    *lines, rest = (rest + bytes(data)).split(b"\n")
                    self.lines += (line[:_LINE].decode(errors="replace") for line in lines)
                    rest = rest[:_LINE]
        if rest:
            self.lines.append(rest.decode(errors="replace"))

    async def _end_group(self) -> None:
        if self._process is None:
            await trio.lowlevel.checkpoint()
            return
        with trio.CancelScope(shield=True):
            signal_group(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    def _story(self, what: str) -> str:
        return "\n    ".join((f"{shlex.join(self.command)}: {what}", *list(self.lines)[-_LAST:]))


@asynccontextmanager
async def start_server(
    command: str | Sequence[str],
    *,
    url: str | None = None,
    host: str = "127.0.0.1",
    upstream: str | None = None,
    upstream_wire: str | None = None,
    env: Mapping[str, str] | None = None,
    ready: float = 60.0,
) -> AsyncGenerator[ProcessUnderTest]:
    """Start a server, and kill it and all that it has started at the end of the block, however that comes.

    Args:
        command: the program and its arguments, as words or as a line that is split as a shell would. In each word
            ``{port}`` is a free port, ``{host}`` the host, ``{upstream}`` the base URL of the companion (with ``/v1``),
            ``{upstream_root}`` the same without, ``{upstream_wire}`` where the companion speaks the WebSocket mode, and
            ``{folder}`` an empty folder that is kept until the block is left.
        url: its base URL, with the same placeholders; ``http://{host}:{port}/v1`` if left out.
        host: where it will listen.
        upstream: the base URL of the companion.
        upstream_wire: its base URL for the WebSocket mode.
        env: its environment; ours if left out.
        ready: seconds that it may take until it listens.

    Raises:
        NotStarted: it does not.
        ValueError: a word has a placeholder that is none, or a companion that is not there, or there are no words.
    """
    words = shlex.split(command) if isinstance(command, str) else list(command)
    if not words:
        raise ValueError("there is no program in the command")
    with TemporaryDirectory(prefix="agentwire-conform-") as folder:
        port = _free_port(host)
        places = {"host": host, "port": str(port), "folder": folder} | _upstream_places(upstream, upstream_wire)
        filled = [_fill(word, places) for word in words]
        server = ProcessUnderTest(filled, _fill(url or "http://{host}:{port}/v1", places), host, port, env=env)
        server.ready = ready
        async with open_flat_nursery() as nursery:
            server._nursery = nursery
            try:
                await server.start()
                yield server
            finally:
                await server.kill()  # noqa: ASYNC102 - it is shielded, and short
                nursery.cancel_scope.cancel(reason="the server has been killed")


def _upstream_places(upstream: str | None, wire: str | None) -> dict[str, str]:
    places = {} if upstream is None else {"upstream": upstream, "upstream_root": upstream.removesuffix("/v1")}
    return places if wire is None else places | {"upstream_wire": wire}


def _fill(word: str, places: Mapping[str, str]) -> str:
    """Put in what the placeholders stand for; other braces stay as they are."""
    for name in ("host", "port", "folder", "upstream", "upstream_root", "upstream_wire"):
        if f"{{{name}}}" in word:
            if name not in places:
                raise ValueError(f"the command asks for {{{name}}}, and there is no companion")
            word = word.replace(f"{{{name}}}", places[name])
    return word


def _open_files(pid: int) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0


def _family(pid: int) -> list[int]:
    """A process and all that come from it (Linux)."""
    found = [pid]
    for parent in found:
        try:
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text(encoding="ascii").split())
        except OSError:
            continue
    return found


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
