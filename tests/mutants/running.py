"""Runs mutants, one after the other, each in a process of its own that is forked from one that has loaded everything.

A mutant is put to the checks that run its lines, those first that have found something in its function before; it is
killed by the first that fails, or that takes much longer than it should. What no check runs survives at once.
"""

from __future__ import annotations

import gc
import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final, Literal

import attrs

from tests.mutants.checks import Check, all_checks, load, quiet
from tests.mutants.mutating import FILES, ROOT, Mutant
from tests.mutants.swapping import load_instead, swap

__all__ = ["Known", "Outcome", "Runner", "examine", "know", "load_known"]

Verdict = Literal["killed", "timeout", "survived"]

PATIENCE: Final = 6
"""How many times as long a check may take with a mutant, in seconds of CPU, two seconds more; then it hangs."""
WALL: Final = 150
"""Seconds that one check may take, whatever it waits for."""
MEMORY: Final = 3 << 30


@attrs.frozen
class Known:
    """What is known of a check before any mutant.

    Attributes:
        seconds: of CPU that it takes.
        lines: that it runs, by file.
    """

    seconds: float
    lines: Mapping[str, frozenset[int]]


@attrs.frozen
class Outcome:
    """What became of one mutant.

    Attributes:
        mutant: by its name.
        verdict: killed, killed by taking too long, or survived.
        by: the check that killed it.
        why: what that said.
        checks: how many were run.
        seconds: of CPU, all in all.
    """

    mutant: str
    verdict: Verdict
    by: str
    why: str
    checks: int
    seconds: float


# What is known before


def know(checks: Sequence[Check], path: Path, tell: Callable[[str], object]) -> dict[str, Known]:
    """Run each check as it is, in a process of its own, and see what it runs.

    Raises:
        AssertionError: one of them finds something where nothing is wrong.
    """
    known = load_known(path) if path.exists() else {}
    load()
    gc.collect()
    gc.freeze()  # what is there already need not be looked through again after each check
    for number, check in enumerate(checks):
        if check.name not in known:
            told = _in_fork(lambda check=check: _observe(check), check.name)  # type: ignore[misc]
            if not told or "lines" not in told[-1]:
                raise AssertionError(f"{check.name} fails without a mutant: {told}")
            lines = {file: frozenset(numbers) for file, numbers in told[-1]["lines"].items()}
            known[check.name] = Known(told[-1]["seconds"], lines)
            if number % 50 == 0:
                tell(f"{number + 1} of {len(checks)} checks looked at")
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = {
        name: {"seconds": one.seconds, "lines": {file: sorted(lines) for file, lines in one.lines.items()}}
        for name, one in known.items()
    }
    path.write_text(json.dumps(saved), encoding="utf-8")
    return known


def load_known(path: Path) -> dict[str, Known]:
    """What `know` has written."""
    saved = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Known(one["seconds"], {file: frozenset(lines) for file, lines in one["lines"].items()})
        for name, one in saved.items()
    }


def _observe(check: Check) -> Mapping[str, Any]:
    files = {str(ROOT / "src/agentwire" / file): file for file in FILES}
    lines: defaultdict[str, set[int]] = defaultdict(set)

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        file = files.get(frame.f_code.co_filename)
        if file is None:
            return None
        lines[file].add(frame.f_lineno)
        return trace

    started = time.process_time()
    check()
    seconds = time.process_time() - started
    sys.settrace(trace)
    try:
        check()
    finally:
        sys.settrace(None)
    return {"seconds": seconds, "lines": {file: sorted(numbers) for file, numbers in lines.items()}}


def _in_fork(work: Callable[[], Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    def run(say: Callable[[Mapping[str, Any]], None]) -> None:
        with quiet():
            say(work())

    return _Child.forked(run).listen()[0]


# A mutant in a process


def examine(mutant: Mutant, names: Iterable[str], known: Mapping[str, Known], say: Callable[[Any], None]) -> None:
    """Run checks until one fails; tell the name of each before it, and why it failed."""
    checks = {check.name: check for check in all_checks()}
    with quiet():
        for name in names:
            seconds = known[name].seconds
            say({"check": name})
            signal.setitimer(signal.ITIMER_PROF, PATIENCE * seconds + 2)
            signal.alarm(WALL)
            try:
                checks[name]()
            except BaseException as error:  # noqa: BLE001 - a mutant may raise anything
                say({"killed": name, "why": f"{type(error).__name__}: {error}"[:400]})
                return
    say({"survived": True})


class _Child:
    """A process that tells what happens in it, line by line."""

    def __init__(self, pid: int, pipe: int) -> None:
        self._pid = pid
        self._pipe = pipe

    @classmethod
    def forked(cls, work: Callable[[Callable[[Any], None]], object]) -> _Child:
        """Fork, and do this over there."""
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid:
            os.close(theirs)
            return cls(pid, ours)
        try:  # everything from here on is the child
            os.close(ours)
            nowhere = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(nowhere, number)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

            def say(what: Any) -> None:
                os.write(theirs, json.dumps(what).encode() + b"\n")

            try:
                work(say)
            except BaseException as error:  # noqa: BLE001 - it is told, and the process ends
                say({"killed": "loading", "why": f"{type(error).__name__}: {error}"[:400]})
        finally:
            os._exit(0)

    def listen(self) -> tuple[list[dict[str, Any]], int, float]:
        """What it said, how it ended, and the CPU seconds that it took."""
        with os.fdopen(self._pipe, "rb") as pipe:
            said = [json.loads(line) for line in pipe.read().splitlines()]
        _, status, usage = os.wait4(self._pid, 0)
        return said, status, usage.ru_utime + usage.ru_stime


def main() -> None:
    """The process of a mutant that must be there from the beginning: it reads what to do from its input."""
    order = json.loads(sys.stdin.readline())
    mutant, known = Mutant(**order["mutant"]), load_known(Path(order["known"]))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    def say(what: Any) -> None:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()

    try:
        load_instead(mutant)
        examine(mutant, order["checks"], known, say)
    except BaseException as error:  # noqa: BLE001 - it is told, and the process ends
        say({"killed": "loading", "why": f"{type(error).__name__}: {error}"[:400]})
    sys.stdout.flush()
    os._exit(0)


class Runner:
    """Runs mutants and remembers what kills them.

    Args:
        known: of each check.
        known_path: where that stands, for processes of their own.
        checks: what mutants are put to; all there are, if left out.
    """

    def __init__(self, known: Mapping[str, Known], known_path: Path, checks: Sequence[Check] | None = None) -> None:
        self._checks = {check.name: check for check in (all_checks() if checks is None else checks)}
        self._known = known
        self._path = known_path
        self._kills: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def remember(self, mutant: Mutant, check: str) -> None:
        """This check has found something there."""
        self._kills[mutant.place or mutant.file][check] += 1

    def order(self, mutant: Mutant) -> list[str]:
        """The checks that run what is changed: what was good before, then the quick ones."""
        lines = set(range(mutant.line, mutant.last + 1))
        kills = self._kills[mutant.place or mutant.file]
        names = [
            name for name in self._checks if not mutant.place or lines & self._known[name].lines.get(mutant.file, set())
        ]
        return sorted(names, key=lambda name: (-kills[name], not name.startswith("wire:"), self._known[name].seconds))

    def run(self, mutant: Mutant, budget: float = math.inf, groups: Collection[str] = ()) -> Outcome:
        """Put one mutant to its checks.

        Args:
            mutant: it.
            budget: how many seconds of checks; the first ones alone are run, if all would take more.
            groups: of checks; all of them, if none is named.
        """
        names = [name for name in self.order(mutant) if not groups or self._checks[name].group in groups]
        names = list(self._within(budget, names))
        if not names:
            return Outcome(mutant.name, "survived", "", "no check runs it", 0, 0.0)
        said, status, seconds = self._in_fork(mutant, names) if mutant.place else (None, 0, 0.0)
        if said is None or said[:1] == [{"unswapped": True}]:
            said, status, seconds = self._in_process(mutant, names)
        outcome = _judge(mutant, said, status, seconds)
        if outcome.by:
            self.remember(mutant, outcome.by)
        return outcome

    def _within(self, budget: float, names: Iterable[str]) -> Iterator[str]:
        spent = 0.0
        for name in names:
            spent += self._known[name].seconds
            if spent > budget:
                return
            yield name

    def _in_fork(self, mutant: Mutant, names: list[str]) -> tuple[list[dict[str, Any]], int, float]:
        def work(say: Callable[[Any], None]) -> None:
            if swap(mutant):
                examine(mutant, names, self._known, say)
            else:
                say({"unswapped": True})

        return _Child.forked(work).listen()

    def _in_process(self, mutant: Mutant, names: list[str]) -> tuple[list[dict[str, Any]], int, float]:
        order = {"mutant": attrs.asdict(mutant), "checks": names, "known": str(self._path)}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        process = subprocess.run(
            [sys.executable, "-c", "from tests.mutants.running import main; main()"],
            input=json.dumps(order) + "\n",
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        said = []
        for line in process.stdout.splitlines():
            with suppress(ValueError):
                said.append(json.loads(line))
        if not said:
            said = [{"killed": "loading", "why": process.stderr.strip().rpartition("\n")[2][:400]}]
        return said, -process.returncode if process.returncode < 0 else 0, seconds


def _judge(mutant: Mutant, said: Sequence[Mapping[str, Any]], status: int, seconds: float) -> Outcome:
    checks = [one["check"] for one in said if "check" in one]
    last = said[-1] if said else {}
    if "survived" in last:
        return Outcome(mutant.name, "survived", "", "", len(checks), seconds)
    if "killed" in last:
        return Outcome(mutant.name, "killed", last["killed"], last["why"], len(checks), seconds)
    why = signal.strsignal(os.WTERMSIG(status) if status else 0) if status else "it ended"
    return Outcome(mutant.name, "timeout", checks[-1] if checks else "loading", str(why), len(checks), seconds)
