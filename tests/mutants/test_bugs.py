"""The kit's checks find every bug that was made by hand, each by itself, and nothing where there is none."""

from __future__ import annotations

from importlib import import_module

import pytest

from tests.mutants.bugs import BUGS, Bug
from tests.mutants.checks import all_checks, load, programs, quiet
from tests.watching import WATCH

CHECKS = {check.name: check for check in all_checks()}
PAIRS = [pytest.param(bug, name, id=f"{bug.name}-{name}") for bug in BUGS for name in bug.found]
NEEDED = sorted({name for bug in BUGS for name in bug.found} | {check.name for check in programs()})


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """What checks need is imported while nothing is wrong: some of it notes what a server does."""
    load()
    import_module("tests.server.test_cut_everywhere")


@pytest.mark.parametrize("name", NEEDED)
def test_nothing_is_found_where_nothing_is_wrong(name: str) -> None:
    CHECKS[name]()


@pytest.mark.parametrize(("bug", "name"), PAIRS)
def test_a_bug_is_found(bug: Bug, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with quiet(), monkeypatch.context() as patch:
        bug.put(patch)
        with pytest.raises((Exception, BaseExceptionGroup)):
            CHECKS[name]()
    WATCH.clear()  # what was not legal was to be found, and was


def test_there_are_twenty_and_more() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 20
    assert all(bug.put.__doc__ for bug in BUGS)
