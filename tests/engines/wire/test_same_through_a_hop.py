"""The same script gives the same responses through a hop as it does without one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from trio.testing import MockClock

from agentwire.engines.scripted import scripted
from tests.engines.wire.kit import hopping
from tests.runtime.kit import check
from tests.server.kit import Rig
from tests.server.test_same_everywhere import SCENARIOS, Scenario, Told, add, by_socket, counted, run

UNTOLD = ("id", "item_id", "call_id", "previous_response_id", "created_at", "completed_at")
"""What each server names itself."""
RECKONED = ("server tools", "warm-up", *(f"failure at {event}" for event in range(1, 5)))
"""Scenarios whose tokens are counted where there is something else to count: more steps, no tools, or no end."""
INTERLEAVED = ("server tools", False)
"""Calls that run side by side at the upstream; they are told one after the other here."""


async def by_hop(scenario: Scenario, *, tools_above: bool) -> Told:
    """The server's tools run in front, or at the upstream."""
    front, behind = ({"tools": [add]}, {}) if tools_above else ({}, {"tools": [add]})
    async with hopping(
        scripted(scenario.script), front={"sources": counted(), **front}, upstream={"sources": counted(), **behind}
    ) as hop:
        peer = await hop.front.connect()

        async def ask(_: Rig, body: dict[str, Any]) -> list[Any]:
            await peer.say(json.dumps({"type": "response.create", **body}))
            return await peer.until()

        told = await run(hop.front, scenario, ask)
        await peer.close()
    return told


def plain(value: Any, untold: tuple[str, ...]) -> Any:
    """Without names."""
    if isinstance(value, dict):
        return {name: plain(inner, untold) for name, inner in value.items() if name not in untold}
    return [plain(each, untold) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("tools_above", [True, False], ids=["tools in front", "tools behind"])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_same_events(name: str, tools_above: bool, autojump_clock: MockClock) -> None:
    scenario = SCENARIOS[name]
    expected = await by_socket(scenario)
    told = await by_hop(scenario, tools_above=tools_above)
    untold = (*UNTOLD, "usage") if name in RECKONED else UNTOLD
    for events, wanted in zip(told, expected, strict=True):
        check(events)
        assert plain(events[-1]["response"], untold) == plain(wanted[-1]["response"], untold)
        if (name, tools_above) != INTERLEAVED:
            assert plain(events, untold) == plain(wanted, untold)
