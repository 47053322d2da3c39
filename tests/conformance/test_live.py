"""Our own server keeps the rules that only a running system shows: before the companion, and as a process."""

from __future__ import annotations

import pytest
from _pytest.mark.structures import ParameterSet
from trio.testing import MockClock

from agentwire.testing.conformance import CASES, Case, run_case
from tests.conformance.kit import OPENERS, as_process, before_companion
from tests.conformance.test_conformance import LONG


def cases(need: str) -> list[ParameterSet]:
    """Each case that needs this."""
    return [pytest.param(one, id=name) for name, one in CASES.items() if need in one.needs]


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("case", cases("companion"))
async def test_before_the_companion(case: Case, kind: str, autojump_clock: MockClock) -> None:
    async with before_companion("openai", kind) as peer:
        result = await run_case(peer, case, timeout=LONG)
        assert result.verdict == "passed", str(result)


@pytest.mark.parametrize("case", cases("process"))
async def test_as_a_process(case: Case, autojump_clock: MockClock) -> None:
    async with as_process("openai") as peer:
        result = await run_case(peer, case, timeout=LONG)
        assert result.verdict == "passed", str(result)
