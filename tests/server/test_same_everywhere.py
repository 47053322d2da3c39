"""The same script over every way that there is to run it gives the same responses, and the same events."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentwire.engines.script import Call, Delay, Item, Reasoning, Refusal, Stop, Summary, Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.protocol.ids import Sources
from tests.runtime.kit import TERMINALS, Event, check
from tests.server.kit import Rig, serving
from tests.server.test_extensions import come_back, drop, greet
from tests.server.test_http_door import get, parse_sse, post

PATH = "/v1/responses"


class Counted(Sources):
    """Ids that count up for each prefix: what other ids are drawn in between makes no difference."""

    def new_id(self, prefix: str, bits: int = 96) -> str:
        drawn: Counter[str] = self.random.__dict__.setdefault("drawn", Counter())
        drawn[prefix] += 1
        return f"{prefix}_{drawn[prefix]}"


def counted() -> Sources:
    seeded = Sources.seeded(1)
    return Counted(seeded.random, seeded.now)


async def add(a: int, b: int) -> int:
    """Add up; calls that run at once end in one order."""
    await trio.sleep(a)
    return a + b


@attrs.frozen
class Scenario:
    """Turns of an engine, and what a client asks: each request continues the response before it.

    Attributes:
        script: the engine's turns.
        asks: the requests; `ANSWERS` stands for the outputs of the calls of the response before.
    """

    script: tuple[Turn, ...]
    asks: tuple[Mapping[str, Any], ...] = ({"input": "hi"},)


ANSWERS = "the outputs of the calls"
TOOLS = [{"type": "function", "name": "read", "parameters": {"type": "object"}}, {"type": "custom", "name": "patch"}]

SCENARIOS: dict[str, Scenario] = {
    "text": Scenario((Turn(Text("Hello, wörld.", pieces=4)),)),
    "nothing": Scenario((Turn(),)),
    "reasoning": Scenario((Turn(Summary("Think.", pieces=2), Reasoning("Well.", pieces=2), Text("So.")),)),
    "refusal": Scenario((Turn(Text("I "), Refusal("will not.", pieces=2)),)),
    "other items": Scenario((Turn(Item({"type": "web_search_call", "status": "completed"}), Text("x")),)),
    "calls": Scenario(
        (
            Turn(Text("Let me see."), Call("read", {"q": 1}, pieces=3), Call("patch", "free", custom=True)),
            Turn(Text("Done.", pieces=2)),
        ),
        ({"input": "hi", "tools": TOOLS}, {"input": ANSWERS, "tools": TOOLS, "instructions": "Be brief."}),
    ),
    "server tools": Scenario(
        (Turn(Call("add", {"a": 1, "b": 2}), Call("add", {"a": 3, "b": 4}, pieces=2)), Turn(Text("3 and 7"))),
    ),
    "slow": Scenario((Turn(Text("one"), Delay(5), Text("two")),)),
    "incomplete": Scenario((Turn(Text("Hal", pieces=3), Stop("max_output_tokens")),)),
    "large": Scenario((Turn(Text("x" * 60_000, pieces=40)),), ({"input": "y" * 30_000, "instructions": "z" * 30_000},)),
    "warm-up": Scenario(
        (Turn(Text("Warm.")),),
        ({"input": "hi", "generate": False}, {"input": "Go.", "metadata": {"a": "b"}, "temperature": 0.5}),
    ),
    **{
        f"failure at {event}": Scenario(
            (Turn(Summary("Hm."), Text("ab", pieces=2), Call("add", {"a": 1, "b": 1}), Text("c"), fail_at=event),)
        )
        for event in range(5)
    },
}


def bodies(asked: Mapping[str, Any], before: Event | None) -> dict[str, Any]:
    """One request of a scenario."""
    body = {"model": "test", "store": True, **asked}
    if before is not None:
        body["previous_response_id"] = before["id"]
    if body["input"] == ANSWERS:
        assert before is not None
        calls = [item for item in before["output"] if item["type"] in ("function_call", "custom_tool_call")]
        body["input"] = [
            {"type": f"{call['type']}_output", "call_id": call["call_id"], "output": "x"} for call in calls
        ]
        assert len(calls) == 2
    return body


Told = list[list[Event]]
"""The events of each response of a scenario."""


async def run(rig: Rig, scenario: Scenario, ask: Callable[[Rig, dict[str, Any]], Awaitable[list[Event]]]) -> Told:
    """The events of each response."""
    told: Told = []
    before = None
    for asked in scenario.asks:
        told.append(await ask(rig, bodies(asked, before)))
        before = told[-1][-1]["response"]
    return told


async def by_socket(scenario: Scenario) -> Told:
    async with serving(scripted(scenario.script), tools=[add], sources=counted()) as rig:
        peer = await rig.connect()

        async def ask(_: Rig, body: dict[str, Any]) -> list[Event]:
            await peer.say(json.dumps({"type": "response.create", **body}))
            return await peer.until()

        return await run(rig, scenario, ask)


async def by_stream(scenario: Scenario) -> Told:
    async def ask(rig: Rig, body: dict[str, Any]) -> list[Event]:
        reply = await (await rig.http()).ask(post(body.pop("input"), **body, stream=True), method="POST")
        return parse_sse(reply.body)

    async with serving(scripted(scenario.script), tools=[add], sources=counted()) as rig:
        return await run(rig, scenario, ask)


async def by_lane(scenario: Scenario) -> Told:
    async with serving(scripted(scenario.script), tools=[add], sources=counted()) as rig:
        peer = await rig.connect()

        async def ask(_: Rig, body: dict[str, Any]) -> list[Event]:
            await peer.say(json.dumps({"type": "response.create", "stream_id": "a", **body}))
            events = await peer.until()
            assert {event.pop("stream_id") for event in events} == {"a"}
            return events

        return await run(rig, scenario, ask)


async def by_background(scenario: Scenario) -> Told:
    """Followed while it runs, and read again after: the same both times, and the same as what a poll shows."""

    async def ask(rig: Rig, body: dict[str, Any]) -> list[Event]:
        raw = post(body.pop("input"), **body, stream=True, background=True)
        followed = parse_sse((await (await rig.http()).ask(raw, method="POST")).body)
        path = f"{PATH}/{followed[0]['response']['id']}"
        for after in (-1, 0, len(followed) // 2):
            query = "stream=true" if after < 0 else f"stream=true&starting_after={after}"
            assert parse_sse((await get(rig, f"{path}?{query}")).body) == followed[after + 1 :]
        assert json.loads((await get(rig, path)).body) == followed[-1]["response"]
        return _in_front(followed)

    async with serving(scripted(scenario.script), tools=[add], sources=counted()) as rig:
        return await run(rig, scenario, ask)


async def by_background_lane(scenario: Scenario) -> Told:
    """The same, started over the WebSocket and told in its default lane."""
    async with serving(scripted(scenario.script), tools=[add], sources=counted()) as rig:
        peer, _ = await greet(rig)

        async def ask(_: Rig, body: dict[str, Any]) -> list[Event]:
            await peer.say(json.dumps({"type": "response.create", "background": True, **body}))
            return _in_front(await peer.until())

        return await run(rig, scenario, ask)


def _in_front(events: Sequence[Event]) -> list[Event]:
    """What a background response says of itself, and no other, is left out."""
    assert events[0]["response"]["status"] == "queued"
    events[0]["response"]["status"] = "in_progress"
    for event in events:
        if "response" in event:
            assert event["response"]["background"] is True
            event["response"]["background"] = False
    return list(events)


async def by_session(scenario: Scenario) -> Told:
    """The connection is lost after every third event, and its session is resumed; then it is read over HTTP, too."""
    seen: list[Event] = []

    async with serving(scripted(scenario.script), tools=[add], sources=counted()) as rig:
        peer, welcome = await greet(rig)

        async def ask(_: Rig, body: dict[str, Any]) -> list[Event]:
            nonlocal peer
            start = len(seen)
            await peer.say(json.dumps({"type": "response.create", **body}))
            while not any(event["type"] in TERMINALS for event in seen[start:]):
                if len(seen) > start and not (len(seen) - start) % 3:
                    await drop(rig, peer)
                    peer, again = await come_back(rig, welcome, seen)
                    assert again["resumed"] is True
                seen.append(await peer.receive())
            token = ("agentwire-session", welcome["session"]["token"])
            reply = await get(rig, f"{PATH}/{seen[-1]['response']['id']}?stream=true", token)
            assert parse_sse(reply.body) == seen[start:]
            return seen[start:]

        told = await run(rig, scenario, ask)
        await peer.close()
    return told


WAYS = {way.__name__: way for way in (by_stream, by_lane, by_background, by_background_lane, by_session)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_same_events(name: str, way: str, autojump_clock: MockClock) -> None:
    scenario = SCENARIOS[name]
    expected = await by_socket(scenario)
    for events in expected:
        check(events)
    assert len(expected) == len(scenario.asks)
    assert await WAYS[way](scenario) == expected


@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_same_response_as_a_whole(name: str, autojump_clock: MockClock) -> None:
    scenario = SCENARIOS[name]
    expected = await by_socket(scenario)
    before = None
    async with serving(scripted(scenario.script), tools=[add], sources=counted()) as rig:
        for asked, events in zip(scenario.asks, expected, strict=True):
            body = bodies(asked, before)
            reply = await (await rig.http()).ask(post(body.pop("input"), **body), method="POST")
            shown, wanted = json.loads(reply.body), events[-1]["response"]
            if wanted["status"] == "failed":
                assert shown["error"] == {**wanted["error"], "param": None}
            else:
                assert (reply.status, shown) == (200, wanted)
                read = await get(rig, f"{PATH}/{wanted['id']}")
                assert json.loads(read.body) == wanted
            before = shown
