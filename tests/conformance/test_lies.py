"""No case can be taken in: each fails on a server that breaks its rule, and says what it saw."""

from __future__ import annotations

import logging

import attrs
import pytest
from trio.testing import MockClock

from agentwire.testing.conformance import CASES, run_case
from tests.conformance.deeds import DEEDS
from tests.conformance.kit import LIMITS, in_memory
from tests.conformance.lying import Lie
from tests.conformance.test_conformance import LONG
from tests.conformance.words import WORDS

LIES = (*WORDS, *DEEDS)

PAIRS = [pytest.param(lie, name, id=f"{lie.name}-{name}") for lie in LIES for name in lie.cases]


@pytest.mark.parametrize(("lie", "name"), PAIRS)
async def test_a_lie_is_seen_through(
    lie: Lie, name: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    limits = attrs.evolve(LIMITS, **lie.limits)
    store = lie.store() if lie.store is not None else None
    async with in_memory("openai", engine=lie.engine, limits=limits, store=store, generous=lie.generous) as peer:
        with monkeypatch.context() as patch:
            if lie.tell is not None:
                lie.tell(patch)
            result = await run_case(peer, CASES[name], timeout=LONG)
    assert result.verdict == "failed", f"{name} passed on a server that {lie.name}"
    assert result.why
    assert result.evidence or "refused with HTTP 400" in result.why


def test_every_case_sees_through_some_lie() -> None:
    caught = {name for lie in LIES for name in lie.cases}
    assert caught == CASES.keys()
