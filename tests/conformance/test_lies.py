"""No case can be taken in: each fails on a server that breaks its rule, and says what it saw."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager
from typing import Any

import attrs
import pytest
from trio.testing import MockClock

from agentwire.testing.conformance import CASES, Case, Peer, run_case
from tests.conformance.deeds import DEEDS
from tests.conformance.echo import MISDEEDS
from tests.conformance.kit import LIMITS, as_process, before_companion, in_memory
from tests.conformance.live import LIVE
from tests.conformance.lying import Lie
from tests.conformance.test_conformance import LONG
from tests.conformance.words import WORDS

LIES = (*WORDS, *DEEDS, *LIVE)

PAIRS = [pytest.param(lie, name, id=f"{lie.name}-{name}") for lie in LIES for name in lie.cases]


def a_server(lie: Lie, case: Case) -> AbstractAsyncContextManager[Peer]:
    """One that lies as far as its parts do, with what the case needs."""
    options: dict[str, Any] = {"limits": attrs.evolve(LIMITS, **lie.limits), "generous": lie.generous}
    options["store"] = lie.store() if lie.store is not None else None
    if "companion" in case.needs:
        return before_companion("openai", wrap=lie.wrap or (lambda engine: engine), **options)
    return (as_process if "process" in case.needs else in_memory)("openai", engine=lie.engine, **options)


@pytest.mark.parametrize(("lie", "name"), PAIRS)
async def test_a_lie_is_seen_through(
    lie: Lie, name: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with a_server(lie, CASES[name]) as peer:
        with monkeypatch.context() as patch:
            if lie.tell is not None:
                lie.tell(patch)
            result = await run_case(peer, CASES[name], timeout=LONG)
    assert result.verdict == "failed", f"{name} passed on a server that {lie.name}"
    assert result.why
    assert result.evidence or "refused with HTTP 400" in result.why


def test_every_case_sees_through_some_lie() -> None:
    caught = {name for lie in LIES for name in lie.cases}
    seen = {name for names in MISDEEDS.values() for name in names.split()}
    assert caught | seen == CASES.keys()
