"""Run the comparison: ``python -m benchmarks.wire [--rounds N] [--json]``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.wire.contestants import BURST_PAUSE, CONTESTANTS, PACE
from benchmarks.wire.load import ask, connect, drain

MODES = {
    # name: connections, ticks, events a tick, seconds between ticks
    "bursts of 100, 1 connection": (1, 300, 100, BURST_PAUSE),
    "bursts of 100, 50 connections": (50, 20, 100, BURST_PAUSE * 20),
    "paced 50/s, 200 connections": (200, 150, 1, PACE),
}
BASE = "uvicorn-sansio+uvloop"


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process (Linux)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


@contextmanager
def running(name: str) -> Iterator[tuple[int, int]]:
    """A contestant as a process, on the second core if there is one: its port and its pid."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.wire.contestants", name], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(process.pid, cores[-1:])
        wait_until_open(port)
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


def wait_until_open(port: int) -> None:
    """Return once it takes WebSockets."""
    for _ in range(100):
        try:
            connect(port).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"nothing listens on {port}")


def measure(port: int, pid: int, mode: str) -> float:
    """Microseconds of the server's CPU for each event."""
    connections, ticks, burst, pause = MODES[mode]
    socks = [connect(port) for _ in range(connections)]
    try:
        for sock in socks:
            ask(sock, f"{ticks}:{burst}:{pause}")
        spent: list[float] = []
        first, last = connections * burst * ticks // 10, connections * burst * ticks * 9 // 10

        def note() -> None:
            spent.append(cpu_seconds(pid))

        drain(socks, {first: note, last: note})  # what a turn costs to begin and to end is not what an event costs
        return (spent[1] - spent[0]) * 1e6 / (last - first)
    finally:
        for sock in socks:
            sock.close()


def compare(rounds: int) -> dict[str, dict[str, list[float]]]:
    """All figures: mode -> contestant -> one figure a round."""
    figures: dict[str, dict[str, list[float]]] = {mode: {name: [] for name in CONTESTANTS} for mode in MODES}
    servers = {name: running(name) for name in CONTESTANTS}
    opened = {name: server.__enter__() for name, server in servers.items()}
    try:
        for _ in range(rounds):
            for mode in MODES:
                for name, (port, pid) in opened.items():
                    figures[mode][name].append(measure(port, pid, mode))
    finally:
        for server in servers.values():
            server.__exit__(None, None, None)
    return figures


def show(figures: dict[str, dict[str, list[float]]]) -> None:
    """Print medians, and the medians of the ratios of each round."""
    for mode, by_name in figures.items():
        print(f"\n{mode}: server CPU for each event")
        for name, values in by_name.items():
            ratio = statistics.median(a / b for a, b in zip(values, by_name[BASE], strict=True))
            spread = f"{min(values):.2f} to {max(values):.2f}"
            print(f"  {name:24} {statistics.median(values):7.2f} us   {ratio:5.2f} x {BASE}   ({spread})")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds; each visits every server (default 5)")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    figures = compare(arguments.rounds)
    if arguments.json:
        print(json.dumps({"python": platform.python_version(), "microseconds_per_event": figures}))
        return
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {arguments.rounds} rounds, medians")
    show(figures)


if __name__ == "__main__":
    main()
