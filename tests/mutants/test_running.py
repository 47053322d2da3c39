"""How mutants are put into a process and judged; making them takes packages that a developer need not have."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

from tests.mutants.checks import Check
from tests.mutants.mutating import FILES, ROOT, Mutant
from tests.mutants.running import Runner, know
from tests.mutants.survivors import read_survivors
from tests.mutants.swapping import swap


def mutant(file: str, place: str, before: str, after: str) -> Mutant:
    """The first place at which this stands in a file, changed."""
    code = (ROOT / "src/agentwire" / file).read_text(encoding="utf-8")
    start = code.index(before)
    line = code[:start].count("\n") + 1
    return Mutant(file, line, line, place, "test", before, after, start, start + len(before), after)


SETTLE = mutant("protocol/desk.py", "Desk.settle", "lane.kept.append(node)", "pass")
TABLE = mutant("protocol/tickets.py", "", "Outcome.CANCELLED: Memory.KEEP", "Outcome.CANCELLED: Memory.EVICT")
NOTHING = mutant("runtime/outbox.py", "Outbox.take", "size = 0", "size = 0 ")
LOOPING = mutant("runtime/outbox.py", "Outbox.take", "size = 0", "size = sum(iter(int, 1))")
CHAIN, UNCUT = "case:a_chain_goes_on_without_storing", "uncut"


def test_a_function_is_swapped_where_it_is() -> None:
    """In a process of its own, as there is no way back."""
    program = f"""
from agentwire.protocol.desk import Desk
from tests.mutants.mutating import Mutant
from tests.mutants.survivors import read_survivors
from tests.mutants.swapping import swap
settle = Desk.settle
assert swap({SETTLE!r})
assert Desk.settle is settle
assert "append" not in settle.__code__.co_names
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)


def test_what_makes_tables_is_not_swapped() -> None:
    assert not swap(TABLE)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    path = tmp_path_factory.mktemp("mutants") / "checks.json"
    from tests.mutants.checks import all_checks

    checks: Sequence[Check] = [check for check in all_checks() if check.name in (CHAIN, UNCUT)]
    known = know(checks, path, print)
    assert set(known[CHAIN].lines) <= set(FILES)
    return Runner(known, path, checks)


@pytest.mark.parametrize(
    ("one", "verdict"), [(SETTLE, "killed"), (NOTHING, "survived"), (TABLE, "survived"), (LOOPING, "timeout")]
)
def test_a_mutant_is_judged(runner: Runner, one: Mutant, verdict: str) -> None:
    outcome = runner.run(one)
    assert outcome.verdict == verdict, outcome
    assert bool(outcome.by) is (verdict != "survived")


def test_a_mutant_that_no_check_runs_survives(runner: Runner) -> None:
    outcome = runner.run(mutant("runtime/wire_session.py", "WireSession.look_on", "after + 1", "after + 2"))
    assert (outcome.verdict, outcome.checks) == ("survived", 0)


def test_a_name_stays_with_what_is_changed() -> None:
    moved = attrs.evolve(SETTLE, line=9999)
    assert moved.name == SETTLE.name != NOTHING.name
    assert Path(ROOT / "src/agentwire" / SETTLE.file) == SETTLE.path


def test_what_was_judged_of_survivors_can_be_read() -> None:
    judged = read_survivors()
    assert len(judged) > 200
    assert all(" | " in one.why for one in judged.values())
    assert {one.equivalent for one in judged.values()} == {True, False}
