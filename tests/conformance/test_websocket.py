"""The WebSocket part holds any server to RFC 6455: it passes one that keeps the rules, and sees every misdeed."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from agentwire.testing.conformance import CASES, run_case
from tests.conformance.echo import MISDEEDS, echo_server
from tests.conformance.test_conformance import LONG

NAMES = [name for name, case in CASES.items() if case.rules[0].startswith("AW-N-")]
PAIRS = [pytest.param(deed, name, id=f"{deed}-{name}") for deed, names in MISDEEDS.items() for name in names.split()]


@pytest.mark.parametrize("name", NAMES)
async def test_a_server_that_keeps_the_rules_passes(name: str, autojump_clock: MockClock) -> None:
    async with echo_server() as peer:
        result = await run_case(peer, CASES[name], timeout=LONG)
    assert result.verdict == "passed", str(result)


@pytest.mark.parametrize(("deed", "name"), PAIRS)
async def test_a_misdeed_is_seen(deed: str, name: str, autojump_clock: MockClock) -> None:
    async with echo_server(deed) as peer:
        result = await run_case(peer, CASES[name], timeout=LONG)
    assert result.verdict == "failed", f"{name} passed on a server that {deed}"
    assert result.evidence


def test_every_case_sees_some_misdeed() -> None:
    assert {name for names in MISDEEDS.values() for name in names.split()} == set(NAMES)
