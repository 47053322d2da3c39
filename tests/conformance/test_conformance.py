"""Our own server keeps the rules: every case, in both dialects, in memory and on real sockets."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet
from trio.testing import MockClock

from agentwire.testing.conformance import CASES, NEEDS, RULES, Case, run_case, run_cases
from agentwire.testing.conformance.rules import Profile
from tests.conformance.kit import in_memory, on_sockets, peer_at

PROFILES: tuple[Profile, ...] = ("openai", "open-responses")
LONG = 10_000
"""Seconds of the virtual clock that one case may take: it waits for the hour of a connection."""


def cases() -> list[ParameterSet]:
    """Each case in each profile that it is about, but for those that need more than a server (see `test_live`)."""
    return [
        pytest.param(one, profile, id=f"{name}-{profile}")
        for name, one in CASES.items()
        for profile in PROFILES
        if profile in one.profiles & RULES[one.rules[0]].profiles and not {"companion", "process"} & set(one.needs)
    ]


@pytest.mark.parametrize(("case", "profile"), cases())
async def test_a_case(case: Case, profile: Profile, autojump_clock: MockClock) -> None:
    async with in_memory(profile) as peer:
        result = await run_case(peer, case, timeout=LONG)
        assert result.verdict == "passed", str(result)


@pytest.mark.socket
@pytest.mark.parametrize("profile", PROFILES)
async def test_all_of_them_on_real_sockets(profile: Profile, tmp_path: Path) -> None:
    async with on_sockets(profile, tmp_path / "responses.sqlite") as peer:
        results = await run_cases(peer, profile=profile, timeout=20)
    failed = [result for result in results if result.verdict == "failed"]
    assert not failed, "\n".join(map(str, failed))
    assert {result.case for result in results} == set(CASES.values())
    count = Counter(result.verdict for result in results)
    assert count["passed"] > 90, count


async def test_a_peer_that_can_nothing_is_asked_little(autojump_clock: MockClock) -> None:
    able = peer_at("http://localhost/v1", "openai")
    bare = type(able)(able.url, model="m", dial=None)
    for case in CASES.values():
        if case.needs:
            result = await run_case(bare, case)
            assert result.verdict == "not applicable"
            assert any(NEEDS[need] in result.why for need in case.needs)


@pytest.mark.socket
async def test_a_server_that_is_not_there_fails() -> None:
    """What goes wrong on the way is a failure with a reason, and no crash of the run."""
    peer = peer_at("http://127.0.0.1:9/v1", "openai")
    (result,) = await run_cases(peer, cases=[CASES["an_upgrade_opens_a_socket_that_takes_turns"]])
    assert result.verdict == "failed"
    assert "cannot connect to 127.0.0.1:9" in result.why
