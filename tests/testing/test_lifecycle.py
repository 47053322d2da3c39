"""The machine holds for agentwire, finds what is planted, shows it, and plays it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import hypothesis
import pytest
import trio
from hypothesis import strategies as st
from hypothesis.stateful import invariant

from agentwire.client import Client
from agentwire.engines import builtin
from agentwire.runtime.contracts import Engine
from agentwire.testing.lifecycle import LifecycleMachine

FEW = hypothesis.settings(max_examples=40, stateful_step_count=20, deadline=None)
MANY = hypothesis.settings(FEW, max_examples=400, database=None, derandomize=True)

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


class DeploysCarelessly(Deploys):
    """With a bug that only a disconnect shows."""

    async def deploy(self, env: str) -> str:
        """Deploy to an environment."""
        self.locked.append(env)
        await trio.sleep(60)
        self.locked.remove(env)
        return f"{env} is deployed"


def failure_of(machine: type[LifecycleMachine]) -> AssertionError:
    """What is raised when a machine has found something."""
    case = machine.TestCase("runTest")
    case.settings = MANY
    with pytest.raises(AssertionError) as failure:
        case.runTest()
    return failure.value


def notes(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", ()))


def test_a_user_s_own_agent_holds() -> None:
    case = Deploys.TestCase("runTest")
    case.settings = hypothesis.settings(FEW, max_examples=25)
    case.runTest()
