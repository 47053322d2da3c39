"""The machine holds for agentwire, finds what is planted, shows it, and plays it again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from typing import Any

import hypothesis
import hypothesis.stateful
import pytest
import trio
from hypothesis import strategies as st
from hypothesis.stateful import invariant

from agentwire.client import Client
from agentwire.engines import builtin
from agentwire.protocol.desk import Desk, Outcome, Ticket
from agentwire.protocol.transcript import Node
from agentwire.runtime.contracts import Engine
from agentwire.testing.lifecycle import REPLAY, LifecycleMachine

FEW = hypothesis.settings(max_examples=30, stateful_step_count=20, deadline=None, phases=[*hypothesis.Phase][:-1])
SEARCH = hypothesis.settings(
    FEW, max_examples=100, stateful_step_count=8, database=None, derandomize=True, phases=[hypothesis.Phase.generate]
)

LifecycleMachine.TestCase.settings = FEW
TestLifecycle = LifecycleMachine.TestCase


class Deploys(LifecycleMachine):
    """A user's own: an agent with a tool that holds a lock, on an engine of rules."""

    tasks = st.sampled_from(["deploy to env=staging", "deploy to env=live", "What is there?"])
    talkers = ()
    holders = ("wire", "brittle")

    def __init__(self) -> None:
        super().__init__()
        self.locked: list[str] = []

    def engine(self) -> Engine:
        return builtin()

    def tools(self) -> Sequence[Callable[..., Any]]:
        return [self.deploy]

    async def deploy(self, env: str) -> str:
        """Deploy to an environment."""
        self.locked.append(env)
        try:
            await trio.sleep(60)
        finally:
            self.locked.remove(env)
        return f"{env} is deployed"

    async def agent(self, client: Client, task: str, metadata: dict[str, str]) -> object:
        async with client.run(task, tools=self.tools(), metadata=metadata) as run:
            return await run.finish()

    @invariant()
    def nobody_holds_a_lock_for_nothing(self) -> None:
        working = sum(holder.busy for holder in self.world.holders.values())
        assert working or not self.locked, f"{self.locked} is locked, and nobody works"


def test_a_user_s_own_agent_holds() -> None:
    case = Deploys.TestCase("runTest")
    case.settings = hypothesis.settings(FEW, max_examples=25)
    case.runTest()


class DeploysCarelessly(Deploys):
    """With a bug that only an end in the middle shows."""

    async def deploy(self, env: str) -> str:
        """Deploy to an environment."""
        self.locked.append(env)
        await trio.sleep(60)
        self.locked.remove(env)
        return f"{env} is deployed"


def failure() -> str:
    """What is told when the machine has found the bug."""
    case = DeploysCarelessly.TestCase("runTest")
    case.settings = SEARCH
    with pytest.raises(AssertionError, match="is locked, and nobody works") as found:
        case.runTest()
    return "\n".join((str(found.value), *getattr(found.value, "__notes__", ())))


def test_a_failure_is_shown_and_plays_again_the_same_twenty_times(monkeypatch: pytest.MonkeyPatch) -> None:
    found = failure()
    assert "== wire begins run" in found or "== brittle begins run" in found
    assert "work.started kind='tool'" in found
    line = re.search(rf"Play it again: {REPLAY}=(\S+) pytest \S*test_lifecycle\.py::test_a_failure", found)
    assert line is not None
    monkeypatch.setenv(REPLAY, shlex.split(line[1])[0])
    told = [failure() for _ in range(20)]
    assert {timeline(one) for one in told} == {timeline(found)}


def test_a_failed_turn_whose_parent_can_still_be_continued_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = Desk.settle

    def forgets_nothing(desk: Desk, ticket: Ticket, outcome: Outcome, node: Node | None = None) -> None:
        kept = list(ticket.lane.kept)
        settle(desk, ticket, outcome, node)
        ticket.lane.kept.extend(kept[: not ticket.lane.kept])

    monkeypatch.setattr(Desk, "settle", forgets_nothing)
    with pytest.raises(AssertionError, match=r"its server can know nothing of|evicted_after_failure"):
        hypothesis.stateful.run_state_machine_as_test(
            LifecycleMachine, settings=hypothesis.settings(SEARCH, stateful_step_count=20)
        )


def timeline(told: str) -> str:
    """The moves and what went by: all but how to play it again."""
    return told.partition("What happened:")[2].partition("Failing test case")[0].strip()
