"""How long sub-agents take side by side on one connection: ``python -m benchmarks.subruns [--rounds N] [--json]``.

A model delegates one task, then four at once, to an agent that works on each for a second (a scripted model with real
pauses). agentwire runs each on a lane of its own; beside it, the OpenAI Agents SDK does the same against the same
server over its WebSocket model (``make peers`` sets it up). Each client is a process of its own; a relay counts the
connections.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import trio

import agentwire
from benchmarks.sidecar import PEERS, PROGRAMS, counting, serving
from tests.peers.delegating import SECONDS

CLIENTS: Mapping[str, Sequence[str | Path]] = {
    # name: the command, but for the server's URL and the number of tasks
    "agentwire": (sys.executable, "-m", "benchmarks.subruns", "--client"),
    "OpenAI Agents SDK": (PEERS / "frameworks" / "bin" / "python", PROGRAMS / "subruns_agents.py"),
}
TASKS = (1, 4)


async def run(url: str, tasks: int) -> None:
    """One run of agentwire's, and how long it took."""
    async with agentwire.connect(url) as wire:
        helper = wire.sub_agent("helper", description="Works on a task.", instructions="Work on it.")
        begun = time.perf_counter()
        async with wire.run(f"Delegate {tasks} tasks.", tools=[helper], instructions="Delegate.") as rollout:
            response = await rollout.finish()
        print(json.dumps({"text": response.output_text, "seconds": time.perf_counter() - begun}))


async def measure(name: str, tasks: int) -> tuple[float, int]:
    """One client, one run, on a server of its own: seconds, and on how many connections."""
    async with serving("--engine", "tests.peers.delegating:delegating") as url, counting(url) as (relay, through):
        ran = await trio.run_process(
            [*CLIENTS[name], through, str(tasks)], capture_stdout=True, capture_stderr=True, check=False
        )
        told = json.loads(ran.stdout or b"{}")
        if told.get("text") != f"All {tasks} tasks are done.":
            raise SystemExit(f"{name} did not come to its end: {ran.stdout.decode()}{ran.stderr.decode()}")
        return told["seconds"], relay.statistics().connections


async def main(rounds: int, *, as_json: bool) -> None:
    """Every client, in turn."""
    results: list[dict[str, Any]] = []
    for name in CLIENTS:
        for tasks in TASKS:
            taken = [await measure(name, tasks) for _ in range(rounds)]
            seconds = statistics.median(time for time, _ in taken)
            results.append({"client": name, "tasks": tasks, "seconds": seconds, "connections": taken[0][1]})
            if not as_json:
                print(
                    f"{name:>18}  tasks {tasks}  {seconds:6.2f} s  ({seconds / SECONDS:.2f} times one task)  "
                    f"connections {taken[0][1]}"
                )
    if as_json:
        print(json.dumps(results))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--client", nargs=2, metavar=("URL", "TASKS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client is not None:
        trio.run(run, options.client[0], int(options.client[1]))
    else:
        trio.run(partial(main, options.rounds, as_json=options.json))
