"""Real upstreams as processes: llama.cpp's server, vLLM's gateway in front of it, an agentwire behind another one."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from tests import peers

__all__ = ["Upstream", "agentic_api", "agentwire_server", "free_port", "llama"]

ROOT = Path(__file__).resolve().parent.parent.parent
START = 60.0


@attrs.frozen
class Upstream:
    """A server that is running.

    Attributes:
        url: its base, with ``/v1``.
        model: what it is asked for.
        log: what it has written to standard error.
    """

    url: str
    model: str
    log: Path

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return int(self.url.rsplit(":", 1)[1].partition("/")[0])


@contextmanager
def llama(folder: Path) -> Iterator[Upstream]:
    """llama.cpp's own server, whose Responses API leaves out much of what it should say."""
    with _running(folder / "llama", peers.peer_python("llama"), peers.program("llama_server.py")) as process:
        told = json.loads(_first_line(process))
        yield Upstream(told["url"], told["model"], folder / "llama")


@contextmanager
def agentic_api(folder: Path, behind: Upstream) -> Iterator[Upstream]:
    """vLLM's gateway, which serves the WebSocket mode too, in front of a server that speaks the Responses API."""
    port, program = free_port(), peers.peer_python("agentic").with_name("agentic-server")
    base, file = behind.url.removesuffix("/v1"), f"sqlite://{folder / 'agentic.db'}"
    options = ("--skip-llm-ready-check", "--gateway-host", "127.0.0.1", "--gateway-port", str(port), "--db-url", file)
    with _running(folder / "agentic", program, "--llm-api-base", base, *options) as process:
        _wait_for_port(port, process)
        yield Upstream(f"http://127.0.0.1:{port}/v1", behind.model, folder / "agentic")


@contextmanager
def agentwire_server(folder: Path, engine: str = "tests.peers.behind:behind") -> Iterator[Upstream]:
    """A second agentwire, as a process of its own."""
    command = ("-m", "agentwire", "serve", "--port", "0", "--engine", engine)
    with _running(folder / "behind", Path(sys.executable), *command) as process:
        url = next(part for part in _first_line(process).split() if part.startswith("http="))
        yield Upstream(url.removeprefix("http="), "builtin", folder / "behind")


def free_port() -> int:
    """A port on which nobody listens now; below those that a system hands out, so that no other test is given it."""
    while True:
        port = 20_000 + secrets.randbelow(10_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextmanager
def _running(log: Path, *command: Path | str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=START)


def _first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"{process.args!r} ended before it was ready"
    return line.decode()


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{process.args!r} does not listen")
