"""Makes mutants of the modules that decide how turns live and end, and sees which of them the test kit finds.

    PYTHONPATH=src:. python tools/mutants.py make            writes build/mutants/mutants.jsonl (needs mutmut)
    PYTHONPATH=src:. python tools/mutants.py run [FILTER]    runs those that have not been run
    PYTHONPATH=src:. python tools/mutants.py report          the score, and the survivors

A run can be stopped and goes on where it was. What was judged to be the same program (tests/mutants/survivors.txt)
counts as a survivor without being run; ``run --again`` runs it, and whatever else has survived, for new checks.
`make mutants` does all three.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from tests.mutants.mutating import FILES, ROOT, Mutant, load_mutants, save_mutants
from tests.mutants.survivors import Judged, read_survivors

PLACE = ROOT / "build" / "mutants"
MUTANTS, CHECKS, OUTCOMES = PLACE / "mutants.jsonl", PLACE / "checks.json", PLACE / "outcomes.jsonl"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "run", "report"])
    parser.add_argument("filter", nargs="?", default="", help="only mutants with this in their name, file or function")
    parser.add_argument("--again", action="store_true", help="also what has survived")
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after so long")
    parser.add_argument("--budget", type=float, default=math.inf, help="seconds of checks for each, for a first look")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="side by side (default: one a core)")
    parser.add_argument("--groups", default="", help="of checks, such as wire,cut; all of them if left out")
    options = parser.parse_args()
    if options.what == "make":
        save_mutants(MUTANTS)
        return 0
    mutants = [mutant for mutant in load_mutants(MUTANTS) if _is_wanted(mutant, options.filter)]
    if options.what == "report":
        report(mutants)
        return 0
    how = {"budget": options.budget, "groups": tuple(filter(None, options.groups.split(",")))}
    run(mutants, again=options.again, seconds=options.seconds, jobs=options.jobs, **how)
    return 0


def _is_wanted(mutant: Mutant, wanted: str) -> bool:
    return wanted in mutant.name or wanted in mutant.file or wanted in mutant.place


def outcomes() -> dict[str, dict[str, Any]]:
    """The latest outcome of each mutant."""
    lines = OUTCOMES.read_text(encoding="utf-8").splitlines() if OUTCOMES.exists() else []
    return {one["mutant"]: one for one in map(json.loads, lines)}


def run(mutants: Sequence[Mutant], *, again: bool, seconds: float, jobs: int, **how: Any) -> None:
    """Run mutants that have no outcome yet, or have survived."""
    from tests.mutants.checks import all_checks
    from tests.mutants.running import Runner, know

    started = time.monotonic()
    known = know(all_checks(), CHECKS, print)
    runner, done = Runner(known, CHECKS), outcomes()
    for mutant in mutants:
        if mutant.name in done and done[mutant.name]["by"] in known:
            runner.remember(mutant, done[mutant.name]["by"])
    if not again:
        done |= _take_for_survivors(mutants, done)
    todo = [mutant for mutant in mutants if _is_open(done.get(mutant.name), again=again)]
    random.Random(6).shuffle(todo)  # what has been run is always a fair sample
    print(f"{len(mutants)} mutants, {len(todo)} to run, {len(known)} checks", flush=True)
    fork = multiprocessing.get_context("fork")  # each worker has everything loaded
    workers = [
        fork.Process(target=_work, args=(runner, todo[first::jobs], started + seconds), kwargs=how)
        for first in range(jobs)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise SystemExit("a worker failed: what it has done so far is kept, and a run goes on from there")


def _take_for_survivors(mutants: Sequence[Mutant], done: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Those that were judged to be the same program: no check can kill them, and to see that costs all the checks."""
    judged = read_survivors()
    same = [mutant.name for mutant in mutants if mutant.name not in done and _judgment(mutant, judged).equivalent]
    taken = {
        name: {"mutant": name, "verdict": "survived", "by": "", "why": judged[name].why, "checks": 0, "seconds": 0.0}
        for name in same
    }
    with OUTCOMES.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(one) + "\n" for one in taken.values())
    return taken


def _work(runner: Any, todo: Sequence[Mutant], until: float, **how: Any) -> None:
    with OUTCOMES.open("a", encoding="utf-8") as file:
        for number, mutant in enumerate(todo, 1):
            if time.monotonic() > until:
                print("out of time; run it again to go on")
                return
            outcome = runner.run(mutant, **how)
            file.write(json.dumps(attrs.asdict(outcome)) + "\n")
            file.flush()  # a line in one write, since others add to the same file
            told = f"{outcome.verdict:8} {outcome.seconds:5.1f} s {mutant.name} {mutant}"
            print(f"{number:5} of {len(todo)} {told} [{outcome.by}]", flush=True)


def _is_open(outcome: dict[str, Any] | None, *, again: bool) -> bool:
    return outcome is None or (again and outcome["verdict"] == "survived")


def report(mutants: Sequence[Mutant]) -> None:
    """The score by file, and every survivor with what was judged of it."""
    done, judged = outcomes(), read_survivors()
    print(f"{'file':22} {'made':>5} {'run':>5} {'killed':>6} {'by time':>7} {'survived':>8} {'same':>5} {'score':>6}")
    for file in (*FILES, ""):
        of_file = [mutant for mutant in mutants if file in mutant.file]
        verdicts = [done[mutant.name]["verdict"] for mutant in of_file if mutant.name in done]
        if not verdicts:
            continue
        survived = [mutant for mutant in of_file if _has_survived(mutant, done)]
        same = sum(_judgment(mutant, judged).equivalent for mutant in survived)
        killed = len(verdicts) - len(survived)
        print(
            f"{file or 'all':22} {len(of_file):5} {len(verdicts):5} {killed:6} {verdicts.count('timeout'):7}"
            f" {len(survived):8} {same:5} {killed / len(verdicts):6.1%}"
        )
    for mutant in mutants:
        if _has_survived(mutant, done):
            print(f"{mutant.name} {mutant}\n           {_judgment(mutant, judged)}")


def _has_survived(mutant: Mutant, done: dict[str, dict[str, Any]]) -> bool:
    return mutant.name in done and done[mutant.name]["verdict"] == "survived"


def _judgment(mutant: Mutant, judged: dict[str, Judged]) -> Judged:
    return judged.get(mutant.name, Judged(mutant.name, equivalent=False, why="not judged"))


if __name__ == "__main__":
    sys.exit(main())
