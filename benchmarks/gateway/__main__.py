"""Run the comparison: ``python -m benchmarks.gateway [--rounds N] [--only NAME] [--json]``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import chain

from benchmarks.gateway.contestants import CONTESTANTS, KEY, Running, cpu_seconds, installed, running
from benchmarks.gateway.load import Wire, at_once
from benchmarks.gateway.report import Figures, show

BURST, STREAMS, PACED, PACE, CHAIN, WINDOW = 1_000, 30, 100, 0.02, 200, 20
BLOCKS, BLOCK, SLOW_BLOCK, WARM = 10, 20, 5, 2
SAID = "What a client says in a turn, which is often about as much as this. " * 4
SETTLE = 0.03  # seconds for what a gateway still does after a turn's last event


@contextmanager
def fake_server() -> Iterator[tuple[int, int]]:
    """The model server's port and pid; it shares this program's core."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.gateway.upstream"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.wait()


class Visit:
    """One round's measurements of one gateway."""

    def __init__(self, gateway: Running, upstream: int, *, slow: bool) -> None:
        self._gateway = gateway
        self._upstream = upstream
        self._slow = slow
        self.figures: dict[str, float] = {}

    def run(self) -> dict[str, float]:
        """All of them, by name."""
        self._bursts()
        self._paced()
        self._paced(in_step=True)
        for store in (False, True):
            self._chain(store=store)
        self.figures["memory"] = self._gateway.memory()
        return self.figures

    @contextmanager
    def _wire(self) -> Iterator[Wire]:
        wire = Wire(self._gateway.port, KEY)
        try:
            yield wire
        finally:
            wire.close()

    def _cpu(self) -> float:
        time.sleep(SETTLE)
        return self._gateway.cpu()

    def _bursts(self) -> None:
        turns, stream = 3 if self._slow else 10, f"{BURST}/{BURST}/0"
        with self._wire() as wire:
            wire.turn(stream, store=False)
            begun, others = self._cpu(), (time.process_time(), cpu_seconds(self._upstream))
            for _ in range(turns):
                wire.turn(stream, store=False)
            events = turns * BURST
            self.figures["burst"] = (self._cpu() - begun) * 1e6 / events
            self.figures["burst, load"] = (time.process_time() - others[0]) * 1e6 / events
            self.figures["burst, fake server"] = (cpu_seconds(self._upstream) - others[1]) * 1e6 / events

    def _paced(self, *, in_step: bool = False) -> None:
        """Streams of many clients: each has its own beat, or they have one, as where a model makes them in batches."""
        wires, events = [Wire(self._gateway.port, KEY) for _ in range(STREAMS)], STREAMS * PACED
        try:
            for wire in wires:
                wire.turn("1/1/0", store=False)
            for wire in wires:
                wire.ask(f"{PACED}/1/{'@' if in_step else ''}{PACE}", store=False)
                time.sleep(PACE / STREAMS)
            spent: list[float] = []
            first, last = events // 10, events * 9 // 10
            marks = {first: lambda: spent.append(self._gateway.cpu()), last: lambda: spent.append(self._gateway.cpu())}
            begun = time.process_time()
            at_once(wires, marks)
            name = "paced, in step" if in_step else "paced"
            self.figures[name] = (spent[1] - spent[0]) * 1e6 / (last - first)
            self.figures[f"{name}, load"] = (time.process_time() - begun) * 1e6 / events
        finally:
            for wire in wires:
                wire.close()

    def _chain(self, *, store: bool) -> None:
        """A conversation; what its first and its last turns cost, over a window of some."""
        spent, previous = [self._cpu()], None
        with self._wire() as wire:
            for number in range(CHAIN):
                if number in (WINDOW, CHAIN - WINDOW):
                    spent.append(self._cpu())
                previous = wire.turn("1/1/0", store=store, previous=previous, more=SAID)
            spent.append(self._cpu())
        name = f"chain, {'stored' if store else 'not stored'}"
        self.figures[f"{name}, first"] = (spent[1] - spent[0]) * 1e6 / WINDOW
        self.figures[f"{name}, last"] = (spent[3] - spent[2]) * 1e6 / WINDOW
        self.figures[f"{name}, mean"] = (spent[3] - spent[0]) * 1e6 / CHAIN


class Turns:
    """The turns of one event of one gateway in one round, in blocks between which the others have theirs.

    A machine that others slow down for a second slows all gateways down alike then.
    """

    def __init__(self, gateway: Running, *, store: bool, slow: bool) -> None:
        self._gateway = gateway
        self._store = store
        self._count = SLOW_BLOCK if slow else BLOCK
        self._times: list[float] = []
        self._cpu = 0.0

    def block(self) -> None:
        """Some of them, over a wire of their own."""
        wire = Wire(self._gateway.port, KEY)
        try:
            for _ in range(WARM):
                wire.turn("1/1/0", store=self._store)
            time.sleep(SETTLE)
            begun = self._gateway.cpu()
            for _ in range(self._count):
                asked = time.perf_counter()
                wire.turn("1/1/0", store=self._store)
                self._times.append(time.perf_counter() - asked)
            time.sleep(SETTLE)
            self._cpu += self._gateway.cpu() - begun
        finally:
            wire.close()

    def figures(self) -> dict[str, float]:
        """What they took."""
        name, tenths = f"turn, {'stored' if self._store else 'not stored'}", statistics.quantiles(self._times, n=10)
        return {
            f"{name}, CPU": self._cpu * 1e6 / len(self._times),
            f"{name}, p50": tenths[4] * 1e6,
            f"{name}, p90": tenths[8] * 1e6,
        }


def visits(gateways: Mapping[str, Running], upstream: int) -> Iterator[tuple[str, dict[str, float]]]:
    """One gateway after the other, with all measurements but that of turns of one event."""
    for name, gateway in gateways.items():
        gateway.go_on()
        yield name, Visit(gateway, upstream, slow=CONTESTANTS[name].slow).run()
        gateway.stop()


def turns(gateways: Mapping[str, Running]) -> Iterator[tuple[str, dict[str, float]]]:
    """Turns of one event, of all gateways in alternation."""
    for store in (False, True):
        measured = {
            name: Turns(gateway, store=store, slow=CONTESTANTS[name].slow) for name, gateway in gateways.items()
        }
        for _ in range(BLOCKS):
            for name, gateway in gateways.items():
                gateway.go_on()
                measured[name].block()
                gateway.stop()
        for name, each in measured.items():
            yield name, each.figures()


def compare(names: list[str], rounds: int) -> dict[str, Figures]:
    """All figures: gateway -> measure -> one figure a round. Who is not measured, stands still."""
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    found: dict[str, Figures] = {name: {} for name in names}
    with fake_server() as (port, pid), ExitStack() as stack:
        gateways = {name: stack.enter_context(running(name, port, core)) for name in names}
        for gateway in gateways.values():
            gateway.stop()
        for _ in range(rounds):
            for name, figures in chain(visits(gateways, pid), turns(gateways)):
                for measure, value in figures.items():
                    found[name].setdefault(measure, []).append(value)
        for gateway in gateways.values():
            gateway.go_on()
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds; each visits every gateway (default 5)")
    parser.add_argument("--only", action="append", choices=CONTESTANTS, help="leave out all that are not named")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    arguments = parser.parse_args()
    names = [name for name in arguments.only or CONTESTANTS if installed(name)]
    for name in set(arguments.only or CONTESTANTS) - set(names):
        print(f"left out, as it is not installed: {name}", file=sys.stderr)
    figures = compare(names, arguments.rounds)
    if arguments.json:
        print(json.dumps({"python": platform.python_version(), "figures": figures}))
        return
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {arguments.rounds} rounds, medians")
    show(figures)


if __name__ == "__main__":
    main()
