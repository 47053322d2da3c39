"""Run the comparison: ``python -m benchmarks.client [--events N] [--rounds N] [--json]``.

``python3 tests/peers/setup.py openai`` sets up the official SDK, in an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.client.receivers import RECEIVERS

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = Path(__file__).with_name("receivers.py")
SDK = ROOT / ".peers" / "openai" / "bin" / "python"
OURS = "agentwire"
DEADLINE = 300.0


@contextmanager
def serving() -> Iterator[int]:
    """The server as a process, on the last core; its port."""
    command = [sys.executable, "-m", "benchmarks.client.server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            os.sched_setaffinity(process.pid, sorted(os.sched_getaffinity(0))[-1:])
            yield int(process.stdout.readline())
        finally:
            process.kill()


def measure(name: str, port: int, count: int) -> dict[str, float]:
    """Seconds of CPU and of time that a client needs for an answer; it has the first core for itself."""
    python = sys.executable if name.startswith(OURS) else str(SDK)
    core = min(os.sched_getaffinity(0))
    done = subprocess.run(
        [python, str(PROGRAM), name, str(port), str(count)],
        stdout=subprocess.PIPE,
        check=True,
        timeout=DEADLINE,
        preexec_fn=lambda: os.sched_setaffinity(0, [core]),
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def show(figures: dict[str, list[dict[str, float]]], count: int) -> None:
    """Medians, and how many times as much as ours."""
    print(f"{'':28} {'CPU an event':>14} {'events a second':>17} {'CPU, to ' + OURS:>18}")
    ours = [each["cpu"] for each in figures[OURS]]
    for name, rounds in figures.items():
        cpu = statistics.median(each["cpu"] for each in rounds) / count * 1e6
        rate = count / statistics.median(each["time"] for each in rounds)
        ratio = statistics.median(each["cpu"] / own for each, own in zip(rounds, ours, strict=True))
        print(f"{name:28} {cpu:11.2f} us {rate:17,.0f} {ratio:18.1f}")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="text events of an answer (default 20000)")
    parser.add_argument("--rounds", type=int, default=5, help="each visits every client (default 5)")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    arguments = parser.parse_args()
    names = [name for name in RECEIVERS if name.startswith(OURS) or SDK.is_file()]
    if len(names) < len(RECEIVERS):
        print("openai-python is not set up and is left out: python3 tests/peers/setup.py openai", file=sys.stderr)
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with serving() as port:
        for _ in range(arguments.rounds):
            for name in names:
                figures[name].append(measure(name, port, arguments.events))
    if arguments.json:
        print(json.dumps({"python": platform.python_version(), "events": arguments.events, "seconds": figures}))
        return
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {arguments.rounds} rounds, medians")
    show(figures, arguments.events)


if __name__ == "__main__":
    main()
