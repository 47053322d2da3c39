"""A second agentwire behind the first one, in memory: the hop changes nothing but ids."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentwire.engines.responses import open_responses_engine
from agentwire.engines.script import Delay, Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.protocol.ids import Sources
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Engine
from agentwire.server import serve
from agentwire.testing import Network, network, no_leaks
from tests.runtime.kit import Event, check
from tests.server.kit import Rig
from tests.server.test_same_everywhere import SCENARIOS, Scenario, add, by_socket, counted, run

URL = "http://upstream/v1"


@attrs.frozen
class Hop:
    """Two servers: the one in front, and the network to the one behind."""

    front: Rig
    net: Network


@asynccontextmanager
async def hopping(engine: Engine, *, upstream: Any = None, front: Any = None, **options: Any) -> AsyncGenerator[Hop]:
    """A server in front of a `responses` engine in front of a server with this engine; nothing of it may be left."""
    net, outer = network(), network()
    streams: list[trio.abc.AsyncResource] = []
    async with no_leaks(rounds=50), trio.open_nursery() as nursery:
        given = {"sources": Sources.seeded(2), **(upstream or {})}
        await nursery.start(partial(serve, engine, host=None, listeners=[net.listener()], **given))
        async with open_responses_engine(URL, connector=net.connect, **options) as relaying:
            given = {"sources": counted(), **(front or {})}
            server = await nursery.start(partial(serve, relaying, host=None, listeners=[outer.listener()], **given))
            yield Hop(Rig(server, nursery, outer.connect, streams, outer), net)
            for stream in streams:
                await trio.aclose_forcefully(stream)
        nursery.cancel_scope.cancel(reason="the test is over")


async def by_hop(scenario: Scenario, *, stateful: bool, tools_in_front: bool) -> list[list[Event]]:
    """The events of a scenario through the hop; the tool is run by one of the two servers."""
    there, here = ({}, {"tools": [add]}) if tools_in_front else ({"tools": [add]}, {})

    async def ask(_: Rig, body: dict[str, Any]) -> list[Event]:
        await peer.say(json.dumps({"type": "response.create", **body}))
        return await peer.until()

    options = {"upstream": there, "front": here, "stateful": stateful}
    async with hopping(scripted(scenario.script), **options) as hop:
        peer = await hop.front.connect()
        return await run(hop.front, scenario, ask)


_ID = re.compile(r"\b(resp|msg|rs|fc|ctc|mcp|ws|call|item)_[0-9a-zA-Z]+")


def plain(events: Sequence[Event]) -> Any:
    """The events with their ids numbered as they come, and without what the second server counts otherwise."""
    names: dict[str, str] = {}
    text = _ID.sub(lambda found: names.setdefault(found[0], f"id_{len(names)}"), json.dumps(events))
    told = json.loads(text)
    for event in told:
        for name in ("usage", "created_at", "completed_at"):
            event.get("response", {}).pop(name, None)
    return told


@pytest.mark.parametrize("stateful", [False, True])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_script_is_the_same_over_a_hop(name: str, stateful: bool, autojump_clock: MockClock) -> None:
    scenario = SCENARIOS[name]
    expected = await by_socket(scenario)
    seen = await by_hop(scenario, stateful=stateful, tools_in_front=False)
    for events in seen:
        check(events)
    since = -1 if name == "server tools" else 0  # items that run side by side are told one after another
    assert [plain(events)[since:] for events in seen] == [plain(events)[since:] for events in expected]
    used = [events[-1]["response"]["usage"] for events in seen]
    assert all(usage is None or usage["total_tokens"] > 0 for usage in used)


@pytest.mark.parametrize("stateful", [False, True])
async def test_tools_in_front_do_what_tools_behind_do(stateful: bool, autojump_clock: MockClock) -> None:
    scenario = SCENARIOS["server tools"]
    (expected,) = await by_socket(scenario)
    (seen,) = await by_hop(scenario, stateful=stateful, tools_in_front=True)
    assert plain(seen)[-1] == plain(expected)[-1]


async def test_a_connection_is_used_again_and_a_turn_that_is_left_closes_it(autojump_clock: MockClock) -> None:
    engine = scripted([Turn(Text("Hi.")), Turn(Text("Hi.")), Turn(Text("a"), Delay(100), Text("b"))])
    async with hopping(engine) as hop:
        peer = await hop.front.connect()
        before: dict[str, Any] = {}
        for end in ("response.completed", "response.completed", "response.output_text.delta"):
            body = {"type": "response.create", "model": "m", "input": "x", "store": False, **before}
            await peer.say(json.dumps(body))
            seen = await peer.until(end)
            before = {"previous_response_id": seen[0]["response"]["id"]}
        assert len(hop.net.links) == 1
        assert not engine.cancelled
        await peer.close()
        await trio.sleep(1)
        assert len(engine.cancelled) == 1


async def test_a_slow_client_holds_the_upstream_back(autojump_clock: MockClock) -> None:
    small = Limits(window_bytes=4096)
    engine = scripted([Turn(Text("x" * 400_000, pieces=4000))])
    async with hopping(engine, upstream={"limits": small}, front={"limits": small}, limits=small) as hop:
        peer = await hop.front.connect()
        await peer.say(json.dumps({"type": "response.create", "model": "m", "input": "x", "store": False}))
        await peer.until()
        assert sum(len(event["delta"]) for event in peer.events if "delta" in event) == 400_000
