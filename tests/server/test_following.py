"""Background responses that were asked for over the WebSocket: told in their lane, and made without it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from agentwire.engines.script import Call, Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.protocol.limits import Limits
from agentwire.stores import MemoryStore
from agentwire.testing import network
from tests.runtime.kit import Event, check, check_lanes, output_for
from tests.server.kit import Peer, Rig, serving
from tests.server.test_background_door import Slow, events_of, poll, until_over
from tests.server.test_extensions import come_back, drop, greet


def without_lane(events: list[Event]) -> list[Event]:
    return [{key: value for key, value in event.items() if key != "stream_id"} for event in events]


async def begin(rig: Rig, **fields: Any) -> tuple[Peer, Event, str]:
    """A client of a background response, the welcome that it had, and the response's id."""
    peer, welcome = await greet(rig)
    await peer.create(background=True, store=True, **fields)
    created = await peer.receive()
    assert (created["type"], created["response"]["status"]) == ("response.created", "queued")
    assert created["response"]["background"] is True
    return peer, welcome, created["response"]["id"]


@pytest.mark.parametrize("lane", [None, "a"])
async def test_its_lane_has_the_events_that_everybody_else_has(lane: str | None, autojump_clock: MockClock) -> None:
    async with serving(Slow()) as rig:
        peer, _, response_id = await begin(rig, **({"stream_id": lane} if lane else {}))
        await peer.until()
        events = peer.events[1:]
        check(events)
        assert {event.get("stream_id") for event in events} == {lane}
        assert without_lane(events) == await events_of(rig, response_id)
        assert events[-1]["response"] == await poll(rig, response_id)
        await peer.close()
        await rig.gone()
        assert rig.server.statistics().turns == {"completed": 1}


async def test_a_lost_connection_ends_the_telling_and_not_the_response(autojump_clock: MockClock) -> None:
    engine = Slow()
    async with serving(engine, resume_within=3) as rig:
        peer, _, response_id = await begin(rig)
        await trio.sleep(1.5)
        await drop(rig, peer)
        await trio.sleep(2)
        seen = await events_of(rig, response_id, after=2)
        assert seen[-1]["type"] == "response.completed"
        assert engine.reasons == []
        await rig.gone()


async def test_a_session_that_is_resumed_goes_on_with_it(autojump_clock: MockClock) -> None:
    async with serving(Slow()) as rig:
        peer, welcome, response_id = await begin(rig, stream_id="a")
        await trio.sleep(1.5)
        while (await peer.receive())["type"] != "response.output_text.delta":
            pass
        told = peer.events[1:]
        await drop(rig, peer)
        await trio.sleep(1)
        peer, again = await come_back(rig, welcome, told)
        assert again["resumed"] is True
        await peer.until()
        told += peer.events[1:]
        check_lanes(told)
        assert without_lane(told) == await events_of(rig, response_id)
        await peer.close()


async def test_it_continues_what_only_the_connection_knows_and_is_continued(autojump_clock: MockClock) -> None:
    script = scripted((Turn(Call("read", {})), Turn(Text("two")), Turn(Text("three"))))
    async with serving(script) as rig:
        peer, _ = await greet(rig)
        first = (await peer.ask("one", stream_id="a"))[-1]
        given = {"previous_response_id": first["response"]["id"], "background": True, "store": True}
        second = (await peer.ask(output_for(first), stream_id="a", **given))[-1]
        assert second["response"]["output"][0]["content"][0]["text"] == "two"
        third = (await peer.ask("on", stream_id="a", previous_response_id=second["response"]["id"]))[-1]
        assert third["response"]["output"][0]["content"][0]["text"] == "three"
        await peer.close()
        stored = await poll(rig, second["response"]["id"])
        assert stored == second["response"]


async def test_it_is_cancelled_over_either_way(autojump_clock: MockClock) -> None:
    engine = Slow()
    async with serving(engine) as rig:
        peer, _, response_id = await begin(rig)
        await trio.sleep(0.5)
        await peer.say(json.dumps({"type": "agentwire:response.cancel", "response_id": response_id}))
        last = (await peer.until())[-1]
        assert (last["type"], last["response"]["status"]) == ("response.failed", "cancelled")
        assert last["response"] == await poll(rig, response_id)
        await peer.say(json.dumps({"type": "agentwire:response.cancel", "response_id": response_id}))
        assert (await peer.receive())["error"]["code"] == "agentwire:response_not_running"
        assert "cancelled" in engine.reasons[0]
        await peer.create("again", background=True, store=True, previous_response_id=response_id)
        assert (await peer.receive())["error"]["code"] == "previous_response_not_found"
        assert (await peer.ask("else"))[-1]["type"] == "response.completed"
        await peer.close()


async def test_what_is_said_about_it_takes_no_number_of_its_events(autojump_clock: MockClock) -> None:
    async with serving(Slow()) as rig:
        peer, _, response_id = await begin(rig)
        await peer.say(json.dumps({"type": "response.steer", "previous_response_id": response_id, "input": "no"}))
        events = await peer.until("response.steer.failed")
        assert events[-1]["error"]["code"] == "steering_not_supported"
        await peer.until()
        told = [event for event in peer.events[1:] if event["type"] != "response.steer.failed"]
        assert told == await events_of(rig, response_id)
        await peer.close()


async def test_a_silent_one_says_that_it_lives_once(autojump_clock: MockClock) -> None:
    async with serving(Slow(1), limits=Limits(keepalive_interval=0.3)) as rig:
        peer, _, response_id = await begin(rig)
        await peer.until()
        assert peer.events[1:] == await events_of(rig, response_id)
        assert sum(event["type"] == "keepalive" for event in peer.events) >= 2
        await peer.close()


async def test_a_client_that_does_not_read_holds_up_its_lane_and_not_the_response(autojump_clock: MockClock) -> None:
    script = scripted(Turn(Text("x" * 100_000, pieces=200)))
    limits = Limits(window_bytes=5000, write_progress=1000)
    async with serving(script, limits=limits, net=network(capacity=2000, keep=False)) as rig:
        peer, _, response_id = await begin(rig)
        last = await until_over(rig, response_id)
        assert last["status"] == "completed"
        assert (await peer.until())[-1]["response"] == last
        await peer.close()


@pytest.mark.parametrize(
    ("fields", "param"), [({"store": False}, "store"), ({"input": 5}, "input"), ({"model": None}, "model")]
)
async def test_what_is_wrong_is_told_in_its_lane(fields: dict[str, Any], param: str, autojump_clock: MockClock) -> None:
    async with serving(Slow()) as rig:
        peer, _ = await greet(rig)
        await peer.create(**{"background": True, "store": True, "stream_id": "a", **fields})
        error = await peer.receive()
        assert (error["type"], error["error"]["param"], error["stream_id"]) == ("error", param, "a")
        await peer.close()


async def test_only_a_client_that_asks_for_sessions_has_it(autojump_clock: MockClock) -> None:
    async with serving(Slow(1)) as rig:
        peer = await rig.connect()
        error = (await peer.ask(background=True, store=True))[-1]
        assert (error["error"]["code"], error["error"]["param"]) == ("unsupported_parameter", "background")
        await peer.close()


async def test_it_is_bounded_as_it_is_over_http(autojump_clock: MockClock) -> None:
    async with serving(Slow(), limits=Limits(background_running=1, background_queued=1)) as rig:
        peer, _ = await greet(rig)
        for lane in "abc":
            await peer.create(background=True, store=True, stream_id=lane)
        events = await peer.until("error")
        assert (events[-1]["error"]["code"], events[-1]["status"]) == ("background_queue_full", 429)
        await peer.until()
        await peer.until()
        await peer.close()


async def test_one_that_its_store_has_dropped_has_failed(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with serving(Slow(), store=store) as rig:
        peer, _, response_id = await begin(rig)
        await trio.sleep(1.5)
        await store.delete("anybody", response_id)
        await peer.until()
        last = peer.events[-1]
        assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
        assert last["sequence_number"] == len(peer.events) - 2
        assert (await peer.ask("else"))[-1]["type"] == "response.completed"
        await peer.close()


async def test_where_the_telling_fails_the_lane_goes_on(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Forgetful(MemoryStore):
        reads = 0

        async def read_events(self, principal: str, response_id: str, after: int, max_bytes: int) -> Sequence[bytes]:
            self.reads += 1
            if self.reads == 4:
                raise LookupError("gone")
            return await super().read_events(principal, response_id, after, max_bytes)

    engine = Slow()
    async with serving(engine, store=Forgetful()) as rig:
        peer, _, response_id = await begin(rig)
        events = await peer.until()
        assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
        assert events[-2]["error"]["code"] == "events_not_found"
        check(peer.events[1:])
        assert (await until_over(rig, response_id))["status"] == "completed"
        assert (await peer.ask("else"))[-1]["type"] == "response.completed"
        await peer.close()
    assert engine.reasons == []
