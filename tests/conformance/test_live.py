"""Our own server keeps the rules that only a running system shows: before the companion, and as a process."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import attrs
import pytest
import trio
from _pytest.mark.structures import ParameterSet
from trio.testing import MockClock

from agentwire.testing.conformance import CASES, Case, Peer, run_case, run_cases
from agentwire.testing.conformance.companion import open_companion
from agentwire.testing.conformance.process import start_server
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


REAL = (
    "a_client_that_vanishes_ends_the_models_work",
    "a_client_that_leaves_a_post_ends_the_models_work",
    "a_model_server_that_dies_fails_the_response",
    "history_is_the_same_however_it_is_said",
    "a_client_that_does_not_read_stops_the_model",
    "a_client_that_does_not_read_holds_up_nobody",
    "clients_that_come_and_go_leave_nothing_open",
    "a_shutdown_closes_with_a_code",
    "a_killed_server_keeps_what_it_stored",
)
"""Cases for which memory and a real system may differ; the last three end the process."""


@pytest.mark.socket
@pytest.mark.parametrize(("kind", "names"), [("chat", REAL), ("responses", REAL[:6])])
async def test_as_a_real_process_before_a_companion_on_sockets(kind: str, names: Sequence[str]) -> None:
    words = [sys.executable, "-m", "agentwire", "serve", "--port", "{port}", "--upstream", "{upstream}"]
    words += ["--upstream-kind", kind, "--store", "sqlite:///{folder}/responses.db", "--log-level", "error"]
    with trio.fail_after(110):
        async with open_companion() as companion, start_server(words, upstream=companion.url) as process:
            peer = Peer(process.url, model="companion", companion=companion, process=process, able=["tools"])
            peer = attrs.evolve(peer, slow_model="companion-slow")
            results = await run_cases(peer, cases=[CASES[name] for name in names], timeout=40)
    assert [result.verdict for result in results] == ["passed"] * len(names), "\n".join(map(str, results))
