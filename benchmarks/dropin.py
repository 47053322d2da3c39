"""What the drop-in saves: SDKs and frameworks that only know HTTP, unmodified, over one WebSocket of agentwire's.

    python -m benchmarks.dropin [--turns 50] [--json]

Each client holds a long tool loop and hands over its whole history with every request (``make peers`` sets them up):
over its own HTTP client, and over ``agentwire.http_client`` with ``store`` true and false. A relay counts the bytes.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import trio

import agentwire
from benchmarks.sidecar import CLIENTS as OTHERS
from benchmarks.sidecar import PEERS, PROGRAMS, counting, serving

CLIENTS: Mapping[str, tuple[Path, str]] = {
    # name: the interpreter that has it, and its program
    "openai-python": OTHERS["openai-python"],
    "openai-python, asyncio": (PEERS / "openai" / "bin" / "python", "loop_openai_async.py"),
    "LangChain": OTHERS["LangChain"],
    "pydantic-ai": OTHERS["pydantic-ai"],
    "OpenAI Agents SDK": OTHERS["OpenAI Agents SDK"],
}
PATHS = os.pathsep.join(str(Path(module.__file__ or "").parent.parent) for module in (agentwire, trio))


async def measure(name: str, turns: int, *options: str) -> tuple[int, int]:
    """One client, one loop, on a server of its own: the bytes that it sent, and on how many connections."""
    interpreter, program = CLIENTS[name]
    async with serving("--engine", "tests.peers.looking:looking") as url, counting(url) as (relay, through):
        command: list[str | Path] = [interpreter, PROGRAMS / program, through, "--turns", str(turns), *options]
        ran = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        if json.loads(ran.stdout or b"{}").get("text") != f"All {turns} pages were looked up.":
            raise SystemExit(f"{name} did not come to its end: {ran.stdout.decode()}{ran.stderr.decode()}")
        shown = relay.statistics()
        return shown.bytes_up, shown.connections


async def main(turns: int, *, as_json: bool) -> None:
    results: list[dict[str, Any]] = []
    for name in CLIENTS:
        over_http, _ = await measure(name, turns)
        for store in ("true", "false"):
            sent, connections = await measure(name, turns, "--store", store, "--drop-in", PATHS)
            saved = 1 - sent / over_http
            results.append(
                {
                    "client": name,
                    "store": store,
                    "http": over_http,
                    "wire": sent,
                    "connections": connections,
                    "saved": saved,
                }
            )
            if not as_json:
                print(
                    "{client:>22}  store {store:5}  HTTP {http:>9,}  wire {wire:>8,}  connections {connections}  "
                    "saved {saved:.1%}".format(**results[-1])
                )
    if as_json:
        print(json.dumps(results))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    trio.run(partial(main, options.turns, as_json=options.json))
