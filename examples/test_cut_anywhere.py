"""What does a tool leave behind when the connection breaks? Break it everywhere: pytest examples/test_cut_anywhere.py

The rollout runs once over a network in memory to see which frames go by; then once for every place between and within
them, with the connection cut there. Time is virtual, so that this takes no time.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import pytest
import trio

import agentwire
from agentwire.engines import builtin
from agentwire.testing import Fault, Network, cut_points, network, no_leaks, run

locked: set[str] = set()


async def deploy(env: str) -> str:
    """Deploy to an environment."""
    locked.add(env)
    try:
        await trio.sleep(60)
        return f"{env} is deployed"
    finally:
        locked.remove(env)  # take this out, and see what the tests say


async def rollout(net: Network) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(agentwire.serve, builtin(), host=None, listeners=[net.listener()]))
        with suppress(agentwire.ConnectionEnded):
            async with (
                agentwire.connect("ws://localhost", connector=net.connect) as wire,
                wire.run("deploy to env=staging", tools=[deploy]) as run,
            ):
                await run.finish()
                assert "staging is deployed" in run.text
        nursery.cancel_scope.cancel(reason="the test is over")


async def broken_rollout(fault: Fault) -> None:
    async with no_leaks():
        await rollout(network(faults=[fault]))


@pytest.mark.parametrize("fault", list(cut_points(rollout)), ids=str)
def test_nothing_stays_locked(fault: Fault) -> None:
    run(broken_rollout, fault)
    assert locked == set()
