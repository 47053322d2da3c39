"""What the sidecar saves: clients that only know HTTP, in front of an upstream that keeps the conversation.

    python -m benchmarks.sidecar [--turns 50] [--json]

Each client is unmodified, and sends its whole history with every request (``make peers`` sets them up). It asks
agentwire, which asks a second agentwire over one WebSocket; a relay on either side counts the bytes. Every client does
so twice, with ``store`` true and false.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio

from agentwire.testing.relay import Relay, open_relay

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".peers"
PROGRAMS = ROOT / "tests" / "peers"
CLIENTS: Mapping[str, tuple[Path, str]] = {
    # name: the interpreter that has it, and its program
    "openai-python": (PEERS / "openai" / "bin" / "python", "loop_openai.py"),
    "openai-node": (PEERS / "node" / "node", "loop_node.mjs"),
    "LangChain": (PEERS / "frameworks" / "bin" / "python", "loop_langchain.py"),
    "pydantic-ai": (PEERS / "frameworks" / "bin" / "python", "loop_pydantic_ai.py"),
    "OpenAI Agents SDK": (PEERS / "frameworks" / "bin" / "python", "loop_agents.py"),
}


@asynccontextmanager
async def serving(*arguments: str, **environment: str) -> AsyncGenerator[str]:
    """``agentwire serve`` on a free port: its base URL for HTTP."""
    command = [sys.executable, "-m", "agentwire", "serve", "--port", "0", "--log-level", "warning", *arguments]
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process, command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, check=False
        )
        process: trio.Process = await nursery.start(start)
        assert process.stdout is not None
        said = b""
        while b"\n" not in said and (piece := await process.stdout.receive_some()):
            said += piece
        if b"\n" not in said:
            raise SystemExit(f"{shlex.join(command)} did not start")
        where = dict(word.split("=", 1) for word in shlex.split(said.decode().splitlines()[0])[1:])
        try:
            yield where["http"]
        finally:
            process.kill()


@asynccontextmanager
async def counting(url: str) -> AsyncGenerator[tuple[Relay, str]]:
    """A relay in front of a server, and the base URL that goes through it."""
    port = urlsplit(url).port
    assert port is not None
    async with open_relay("127.0.0.1", port) as relay:
        yield relay, relay.through(url)


async def measure(name: str, turns: int, store: str) -> dict[str, Any]:
    """One client, one loop, on servers of its own."""
    interpreter, program = CLIENTS[name]
    async with (
        serving("--engine", "tests.peers.looking:looking") as upstream,
        counting(upstream) as (up, up_url),
        serving("--engine", "tests.peers.beside:beside", UPSTREAM=up_url) as front,
        counting(front) as (down, front_url),
    ):
        command: list[str | Path] = [
            interpreter,
            PROGRAMS / program,
            front_url,
            "--turns",
            str(turns),
            "--store",
            store,
        ]
        ran = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        told = json.loads(ran.stdout or b"{}")
        if told.get("text") != f"All {turns} pages were looked up.":
            raise SystemExit(f"{name} did not come to its end: {ran.stdout.decode()}{ran.stderr.decode()}")
        sent, passed = down.statistics().bytes_up, up.statistics().bytes_up
        return {"client": name, "store": store, "sent": sent, "upstream": passed, "saved": 1 - passed / sent}


async def main(turns: int, *, as_json: bool) -> None:
    results = []
    for name in CLIENTS:
        for store in ("true", "false"):
            results.append(await measure(name, turns, store))
            if not as_json:
                print(
                    "{client:>18}  store {store:5}  sent {sent:>9,}  upstream {upstream:>8,}  saved {saved:.1%}".format(
                        **results[-1]
                    )
                )
    if as_json:
        print(json.dumps(results))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    trio.run(partial(main, options.turns, as_json=options.json))
