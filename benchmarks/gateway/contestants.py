"""The gateways that are compared, each as a process of its own in front of the same fake model server.

agentwire is a row for each of its engines, ``agentic-api`` is vLLM's gateway in Rust, and LiteLLM's proxy runs its
*managed* mode, in which it serves the WebSocket itself. The first two keep stored responses in SQLite files; LiteLLM
keeps a conversation with its connection alone. Two relays that do nothing for a client show what Trio itself costs.
Peers that are not installed are left out, and that is said.

``python -m benchmarks.gateway.contestants ENGINE PORT URL FILE`` serves one of agentwire's engines.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import attrs

from benchmarks.gateway.load import Wire
from benchmarks.wire.contestants import settle_collector

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = ROOT / ".peers"
KEY = "sk-a-key-of-sufficient-length-for-the-benchmark"
START = 90.0


@attrs.frozen
class Contestant:
    """How one gateway is started.

    Attributes:
        command: from the fake server's port, its own port and a folder of its own.
        keeps: what it persists, for the reader.
        slow: visited with fewer turns, as it takes too long otherwise.
    """

    command: Callable[[int, int, Path], Sequence[str]]
    keeps: str
    slow: bool = False


@attrs.frozen
class Running:
    """A gateway that listens."""

    port: int
    pid: int

    def cpu(self) -> float:
        """Seconds of CPU of all its threads, and of all processes that it has started (Linux)."""
        return sum(cpu_seconds(pid) for pid in family(self.pid))

    def memory(self) -> float:
        """MB of it that are in memory."""
        statuses = [Path(f"/proc/{pid}/status").read_text() for pid in family(self.pid)]
        return sum(int(text.split("VmRSS:")[1].split()[0]) for text in statuses) / 1024

    def stop(self) -> None:
        """It must not take time from the one that is measured."""
        for pid in family(self.pid):
            os.kill(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """It is its turn."""
        for pid in family(self.pid):
            os.kill(pid, signal.SIGCONT)


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process (Linux)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def family(pid: int) -> list[int]:
    """A process and all that come from it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def agentwire_command(engine: str, upstream: int, port: int, folder: Path) -> list[str]:
    """agentwire with one of its engines."""
    url, file = f"http://127.0.0.1:{upstream}/v1", str(folder / "responses.db")
    return [sys.executable, "-m", "benchmarks.gateway.contestants", engine, str(port), url, file]


def relay_command(kind: str, upstream: int, port: int, _folder: Path) -> list[str]:
    """A bare relay, which is no gateway, and keeps nothing."""
    url = f"http://127.0.0.1:{upstream}/v1"
    return [sys.executable, "-m", "benchmarks.gateway.relays", kind, str(port), url]


def agentic_command(upstream: int, port: int, folder: Path) -> list[str]:
    """vLLM's gateway."""
    base, file = f"http://127.0.0.1:{upstream}", f"sqlite://{folder / 'responses.db'}"
    options = ("--skip-llm-ready-check", "--gateway-host", "127.0.0.1", "--gateway-port", str(port))
    return [str(PEERS / "agentic" / "bin" / "agentic-server"), "--llm-api-base", base, *options, "--db-url", file]


def litellm_command(upstream: int, port: int, folder: Path) -> list[str]:
    """LiteLLM's proxy; a provider without a WebSocket of its own is what it manages one for."""
    base = f"http://127.0.0.1:{upstream}/v1"
    model = {"model": "hosted_vllm/fake", "api_base": base, "api_key": "unused"}
    config = {"model_list": [{"model_name": "fake", "litellm_params": model}], "general_settings": {"master_key": KEY}}
    file = folder / "config.yaml"
    file.write_text(json.dumps(config))
    options = ("--host", "127.0.0.1", "--port", str(port), "--config", str(file), "--telemetry", "False")
    return [str(PEERS / "litellm" / "bin" / "litellm"), *options]


CONTESTANTS: Mapping[str, Contestant] = {
    "agentwire chat": Contestant(partial(agentwire_command, "chat"), "SQLite, before the last event"),
    "agentwire responses": Contestant(partial(agentwire_command, "responses"), "SQLite, before the last event"),
    "agentic-api": Contestant(agentic_command, "SQLite, before the last event"),
    "bare Trio relay": Contestant(partial(relay_command, "bare"), "nothing"),
    "trio-websocket relay": Contestant(partial(relay_command, "library"), "nothing"),
    "litellm managed": Contestant(litellm_command, "nothing; a conversation ends with its connection", slow=True),
}


def installed(name: str) -> bool:
    """Whether this one can take part here."""
    if name == "agentwire responses":
        return find_spec("agentwire.engines.responses") is not None
    command = CONTESTANTS[name].command(0, 0, Path(tempfile.gettempdir()))
    return Path(command[0]).exists()


@contextmanager
def running(name: str, upstream: int, core: int) -> Iterator[Running]:
    """One gateway on one core, until the block is left."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        command = CONTESTANTS[name].command(upstream, port, Path(folder))
        free.close()
        environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "HOME": folder, "RUST_LOG": "error"}
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(
                ["taskset", "-c", str(core), *command], stdout=log, stderr=log, cwd=ROOT, env=environment
            )
        try:
            wait_until_open(port, process, Path(folder) / "log")
            yield Running(port, process.pid)
        finally:
            if process.poll() is None:
                for pid in family(process.pid):
                    os.kill(pid, signal.SIGKILL)
            process.wait()


def wait_until_open(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once it takes WebSockets."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            Wire(port, KEY).close()
        except (OSError, RuntimeError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"{process.args!r} does not serve: {log.read_text()[-2000:]}")


def serve_agentwire(engine: str, port: int, url: str, file: str) -> None:
    """What ``agentwire serve`` does, with exactly the engine that is named."""
    from contextlib import AsyncExitStack

    import trio

    import agentwire
    from agentwire.cli.storing import open_store
    from agentwire.protocol.limits import Limits

    open_engine = getattr(import_module(f"agentwire.engines.{engine}"), f"open_{engine}_engine")

    async def main() -> None:
        async with AsyncExitStack() as stack:
            store = await open_store(f"sqlite:///{file}", Limits(), stack)
            opened = await stack.enter_async_context(open_engine(url))
            settle_collector()
            await agentwire.serve(opened, port=port, store=store)

    trio.run(main)


if __name__ == "__main__":
    serve_agentwire(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
