from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from agentwire.protocol.errors import EngineError
from agentwire.protocol.limits import Limits
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Ask, Finish, Out, Stored
from agentwire.server import Keys
from agentwire.stores import MemoryStore
from agentwire.testing import network
from tests.runtime.kit import Event, check
from tests.server.kit import Rig, serving
from tests.server.test_http_door import ask, get, parse_sse, post, request

PATH = "/v1/responses"


class Slow:
    """An engine that says a word a second, five of them; how it was cancelled."""

    def __init__(self, words: int = 5) -> None:
        self.words = words
        self.reasons: list[str] = []
        self.running = 0
        self.peak = 0

    async def __call__(self, ask: Ask, out: Out) -> Finish:
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            for word in range(self.words):
                await out.text(f"{word} ")
                await trio.sleep(1)
        except trio.Cancelled as cancelled:
            self.reasons.append(str(cancelled))
            raise
        finally:
            self.running -= 1
        return Finish(Usage(3, self.words))


async def start(rig: Rig, content: Any = "hi", **fields: Any) -> Event:
    reply, response = await ask(await rig.http(), content, background=True, **fields)
    assert reply.status == 200, response
    assert (response["status"], response["background"], response["output"]) == ("queued", True, [])
    return response


async def poll(rig: Rig, response_id: str) -> Event:
    reply = await get(rig, f"{PATH}/{response_id}")
    assert reply.status == 200
    shown: Event = json.loads(reply.body)
    return shown


async def until_over(rig: Rig, response_id: str) -> Event:
    while (shown := await poll(rig, response_id))["status"] in ("queued", "in_progress"):  # noqa: ASYNC110 - a client polls
        await trio.sleep(0.5)
    return shown


async def events_of(rig: Rig, response_id: str, after: int | None = None) -> list[Event]:
    query = "stream=true" if after is None else f"stream=true&starting_after={after}"
    reply = await get(rig, f"{PATH}/{response_id}?{query}")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    return parse_sse(reply.body)


async def cancel(rig: Rig, response_id: str) -> tuple[int, Event]:
    reply = await (await rig.http()).ask(request("POST", f"{PATH}/{response_id}/cancel"), method="POST")
    return reply.status, json.loads(reply.body)


# Started and polled


async def test_it_is_accepted_at_once_and_polled(autojump_clock: MockClock) -> None:
    async with serving(Slow()) as rig:
        begun = trio.current_time()
        response = await start(rig, metadata={"a": "b"})
        assert trio.current_time() == begun
        shown = await poll(rig, response["id"])
        assert (shown["status"], shown["output"], shown["metadata"]) == ("in_progress", [], {"a": "b"})
        last = await until_over(rig, response["id"])
        assert (last["status"], last["output"][0]["content"][0]["text"]) == ("completed", "0 1 2 3 4 ")
        assert (last["usage"]["output_tokens"], last["background"]) == (5, True)
        await rig.gone()
        assert rig.server.statistics().turns == {"completed": 1}


async def test_its_input_is_listed_while_it_runs_and_it_is_continued_after(autojump_clock: MockClock) -> None:
    async with serving(Slow()) as rig:
        response = await start(rig)
        listed = json.loads((await get(rig, f"{PATH}/{response['id']}/input_items")).body)
        assert [item["content"][0]["text"] for item in listed["data"]] == ["hi"]
        await until_over(rig, response["id"])
        later = await start(rig, "more", previous_response_id=response["id"])
        await until_over(rig, later["id"])
        listed = json.loads((await get(rig, f"{PATH}/{later['id']}/input_items")).body)
        assert len(listed["data"]) == 3


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"store": False}, "store"),
        ({"input": 5}, "input"),
        ({"stream": "yes"}, "stream"),
        ({"previous_response_id": "resp_x"}, "previous_response_id"),
        ({"conversation": "c"}, "conversation"),
    ],
)
async def test_what_is_wrong_is_told_before_anything_is_kept(
    fields: dict[str, Any], param: str, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with serving(Slow(), store=store) as rig:
        reply, body = await ask(await rig.http(), **{"content": "hi", "background": True, **fields})
        assert (reply.status, body["error"]["param"]) == (400, param)
        await rig.gone()
    assert store.statistics().responses == 0


async def test_a_server_that_keeps_nothing_has_no_background(autojump_clock: MockClock) -> None:
    class Nothing(MemoryStore):
        retains = False

    async with serving(Slow(), store=Nothing()) as rig:
        for stream in (False, True):
            reply, body = await ask(await rig.http(), background=True, stream=stream)
            assert (reply.status, body["error"]["code"]) == (400, "unsupported_parameter")
            assert body["error"]["param"] == "background"
        assert rig.server.statistics().sessions_total == 0


async def test_a_warm_up_may_be_in_the_background(autojump_clock: MockClock) -> None:
    async with serving(Slow()) as rig:
        response = await start(rig, generate=False)
        assert (await until_over(rig, response["id"]))["output"] == []


async def test_a_failure_is_kept(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        await out.text("half")
        raise EngineError("Too many.", code="rate_limit_exceeded", status=429)

    async with serving(engine) as rig:
        response = await start(rig)
        last = await until_over(rig, response["id"])
        assert (last["status"], last["error"]["code"]) == ("failed", "rate_limit_exceeded")
        assert last["output"][0]["content"][0]["text"] == "half"
        events = await events_of(rig, response["id"])
        check(events)
        assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
        assert events[-1]["response"] == last


# Streams


async def test_a_stream_of_it_is_that_of_any_other(autojump_clock: MockClock) -> None:
    async with serving(Slow()) as rig:
        http = await rig.http()
        reply = await http.ask(post(stream=True, background=True), method="POST")
        events = parse_sse(reply.body)
        check(events)
        assert events[0]["response"]["status"] == "queued"
        assert events[1]["type"] == "response.in_progress"
        response_id = events[0]["response"]["id"]
        assert events[-1]["response"] == await poll(rig, response_id)
        assert await events_of(rig, response_id) == events
        for after in (0, 3, len(events) - 2):
            assert await events_of(rig, response_id, after) == events[after + 1 :]
        for after in (len(events) - 1, 1000):
            assert await events_of(rig, response_id, after) == []


async def test_a_client_that_leaves_its_stream_stops_nothing(autojump_clock: MockClock) -> None:
    engine = Slow()
    async with serving(engine) as rig:
        http = await rig.http()
        await http.send(post(stream=True, background=True))
        await trio.sleep(1.5)
        first = await http.stream.receive_some(65536)
        response_id = json.loads(first.split(b"data: ")[1].split(b"\n")[0])["response"]["id"]
        await http.stream.aclose()
        await trio.sleep(1)
        assert rig.server.statistics().listening.open == 0
        events = await events_of(rig, response_id)
        check(events)
        assert events[-1]["response"]["output"][0]["content"][0]["text"] == "0 1 2 3 4 "
    assert engine.reasons == []


async def test_any_number_of_readers_follow_from_anywhere(autojump_clock: MockClock) -> None:
    async with serving(Slow()) as rig:
        response = await start(rig)
        seen: dict[int, list[Event]] = {}

        async def follow(after: int) -> None:
            await trio.sleep(after / 2)
            seen[after] = await events_of(rig, response["id"], after)

        async with trio.open_nursery() as nursery:
            for after in range(10):
                nursery.start_soon(follow, after)
        whole = await events_of(rig, response["id"])
        assert {after: whole[after + 1 :] for after in range(10)} == seen


async def test_a_reader_that_stops_reading_stops_nobody(autojump_clock: MockClock) -> None:
    async def endless(ask: Ask, out: Out) -> None:
        for _ in range(200):
            await out.text("x" * 1000)

    limits = Limits(window_bytes=20_000, write_progress=1000)
    async with serving(endless, net=network(capacity=10_000, keep=False), limits=limits) as rig:
        response = await start(rig)
        stuck = await rig.http()
        await stuck.send(request("GET", f"{PATH}/{response['id']}?stream=true"))
        events = await events_of(rig, response["id"])
        check(events)
        assert (await poll(rig, response["id"]))["status"] == "completed"
        assert parse_sse((await stuck.reply()).body) == events


async def test_a_silent_response_says_that_it_lives(autojump_clock: MockClock) -> None:
    async def silent(ask: Ask, out: Out) -> None:
        await trio.sleep(50)

    async with serving(silent) as rig:
        response = await start(rig)
        events = await events_of(rig, response["id"])
        check(events)
        assert [event["type"] for event in events].count("keepalive") == 2
        assert await events_of(rig, response["id"]) == events


@pytest.mark.parametrize("query", ["stream=yes", "stream=true&starting_after=-1", "stream=true&starting_after=x"])
async def test_a_stream_that_cannot_be(query: str, autojump_clock: MockClock) -> None:
    async with serving(Slow()) as rig:
        response = await start(rig)
        reply = await get(rig, f"{PATH}/{response['id']}?{query}")
        assert (reply.status, json.loads(reply.body)["error"]["code"]) == (400, "invalid_value")


async def test_only_background_responses_are_streamed_and_cancelled(autojump_clock: MockClock) -> None:
    async with serving(Slow(1)) as rig:
        _, response = await ask(await rig.http())
        reply = await get(rig, f"{PATH}/{response['id']}?stream=true")
        assert (reply.status, json.loads(reply.body)["error"]["param"]) == (400, "stream")
        status, body = await cancel(rig, response["id"])
        assert (status, body["error"]["code"]) == (400, "response_not_in_background")
        assert (await cancel(rig, "resp_x"))[0] == 404
        assert (await get(rig, f"{PATH}/resp_x?stream=true")).status == 404


# Cancelled


async def test_it_is_cancelled_with_its_engine_and_tools(autojump_clock: MockClock) -> None:
    cut: list[str] = []

    async def forever() -> str:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            cut.append(cancelled.reason or "")
            raise

    async def engine(ask: Ask, out: Out) -> None:
        await out.text("begun")
        await out.call("forever", {})
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            cut.append(cancelled.reason or "")
            raise

    async with serving(engine, tools=[forever]) as rig:
        response = await start(rig)
        await trio.sleep(1)
        status, shown = await cancel(rig, response["id"])
        assert (status, shown["status"], shown["error"]["code"]) == (200, "cancelled", "agentwire:cancelled")
        assert [item["type"] for item in shown["output"]] == ["message", "mcp_call"]
        assert len(cut) == 2
        assert all("cancelled" in reason for reason in cut)
        assert await cancel(rig, response["id"]) == (200, shown)
        assert await poll(rig, response["id"]) == shown
        events = await events_of(rig, response["id"])
        check(events)
        assert (events[-1]["type"], events[-1]["response"]) == ("response.failed", shown)
        assert not any(event["type"] == "error" for event in events)
        reply, body = await ask(await rig.http(), previous_response_id=response["id"])
        assert (reply.status, body["error"]["code"]) == (400, "previous_response_not_found")
        assert rig.server.statistics().turns["cancelled"] == 1


async def test_one_that_has_ended_stays_as_it_is(autojump_clock: MockClock) -> None:
    async with serving(Slow(1)) as rig:
        response = await start(rig)
        last = await until_over(rig, response["id"])
        assert await cancel(rig, response["id"]) == (200, last)


async def test_an_engine_that_cleans_up_for_long_is_not_waited_for_for_ever(autojump_clock: MockClock) -> None:
    async def stubborn(ask: Ask, out: Out) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(60)

    async with serving(stubborn) as rig:
        response = await start(rig)
        status, body = await cancel(rig, response["id"])
        assert (status, body["error"]["code"]) == (409, "response_not_ended")
        await trio.sleep(60)
        assert (await cancel(rig, response["id"]))[1]["status"] == "cancelled"


async def test_a_running_one_is_cancelled_before_it_is_deleted(autojump_clock: MockClock) -> None:
    engine = Slow()
    store = MemoryStore()
    async with serving(engine, store=store) as rig:
        response = await start(rig)
        follower = await rig.http()
        await follower.send(request("GET", f"{PATH}/{response['id']}?stream=true"))
        await trio.sleep(1.5)
        assert (await get(rig, f"{PATH}/{response['id']}", method="DELETE")).status == 200
        assert len(engine.reasons) == 1
        assert (await get(rig, f"{PATH}/{response['id']}")).status == 404
        assert parse_sse((await follower.reply()).body)[-1]["type"] in ("response.failed", "response.output_text.delta")
        await trio.sleep(10)
        assert store.statistics().responses == 0


# Bounds


async def test_some_run_some_wait_and_more_are_refused(autojump_clock: MockClock) -> None:
    engine = Slow()
    async with serving(engine, limits=Limits(background_running=2, background_queued=2)) as rig:
        ids = [(await start(rig))["id"] for _ in range(4)]
        reply, body = await ask(await rig.http(), background=True)
        assert (reply.status, body["error"]["code"]) == (429, "background_queue_full")
        assert "retry-after" in reply.headers
        assert [(await poll(rig, each))["status"] for each in ids] == ["in_progress"] * 2 + ["queued"] * 2
        shown = rig.server.statistics().background
        assert (shown.running, shown.waiting) == (2, 2)
        assert shown.waiting_bytes > 50
        events = await events_of(rig, ids[-1])
        check(events)
        kinds = [event["type"] for event in events[:3]]
        assert kinds == ["response.created", "response.queued", "response.in_progress"]
        assert [(await until_over(rig, each))["status"] for each in ids] == ["completed"] * 4
        assert engine.peak == 2
        assert await start(rig)


async def test_a_waiting_one_is_cancelled_and_never_runs(autojump_clock: MockClock) -> None:
    engine = Slow()
    async with serving(engine, limits=Limits(background_running=1)) as rig:
        first, second, third = [(await start(rig))["id"] for _ in range(3)]
        assert (await cancel(rig, second))[1]["status"] == "cancelled"
        events = await events_of(rig, second)
        check(events)
        assert [event["type"] for event in events] == ["response.created", "response.queued", "response.failed"]
        assert (await until_over(rig, first))["status"] == "completed"
        assert (await until_over(rig, third))["status"] == "completed"
        assert engine.peak == 1


async def test_what_waits_is_bounded_in_bytes(autojump_clock: MockClock) -> None:
    async with serving(Slow(), limits=Limits(background_running=1, background_queued_bytes=3000)) as rig:
        await start(rig, "x" * 5000)
        await start(rig, "x" * 2000)
        reply, _ = await ask(await rig.http(), "x" * 2000, background=True)
        assert reply.status == 429


async def test_principals_share_no_bound_and_see_nothing_of_each_other(autojump_clock: MockClock) -> None:
    async with serving(Slow(), keys=["one", "two"], limits=Limits(background_running=1, background_queued=1)) as rig:
        one, two = (("authorization", f"Bearer {key}") for key in ("one", "two"))
        raw = json.dumps({"model": "m", "input": "hi", "background": True}).encode()

        async def begin(key: tuple[str, str]) -> tuple[int, Event]:
            reply = await (await rig.http()).ask(request("POST", PATH, key, body=raw), method="POST")
            return reply.status, json.loads(reply.body)

        assert [(await begin(one))[0] for _ in range(3)] == [200, 200, 429]
        status, response = await begin(two)
        assert status == 200
        target = f"{PATH}/{response['id']}"
        for raw_request in (
            request("GET", target, one),
            request("GET", f"{target}?stream=true", one),
            request("POST", f"{target}/cancel", one),
            request("DELETE", target, one),
        ):
            method = raw_request.split(b" ")[0].decode()
            assert (await (await rig.http()).ask(raw_request, method=method)).status == 404
        assert json.loads((await get(rig, target, two)).body)["status"] == "in_progress"


# Ends of the server


async def test_a_drain_waits_for_it_and_tells_its_readers(autojump_clock: MockClock) -> None:
    engine = Slow()
    async with serving(engine) as rig:
        response = await start(rig)
        http = await rig.http()
        await http.send(request("GET", f"{PATH}/{response['id']}?stream=true"))
        await trio.sleep(1)
        await rig.server.drain()
        events = parse_sse((await http.reply()).body)
        check(events)
        assert events[-1]["type"] == "response.completed"
    assert engine.reasons == []


async def test_a_drain_waits_for_a_reader_that_is_slow(autojump_clock: MockClock) -> None:
    async def fat(ask: Ask, out: Out) -> None:
        await out.text("x" * 10_000)

    async with serving(fat, net=network(bandwidth=4000, capacity=4096)) as rig:
        response = await start(rig)
        http = await rig.http()
        await http.send(request("GET", f"{PATH}/{response['id']}?stream=true"))
        await trio.sleep(1)
        rig.nursery.start_soon(rig.server.drain)
        events = parse_sse((await http.reply()).body)
        check(events)
        assert events[-1]["type"] == "response.completed"


async def test_a_drain_ends_it_when_its_time_is_up(autojump_clock: MockClock) -> None:
    engine, store = Slow(1000), MemoryStore()
    async with serving(engine, store=store, limits=Limits(drain=5.5, background_running=1)) as rig:
        running, waiting = (await start(rig))["id"], (await start(rig))["id"]
        http = await rig.http()
        await http.send(request("GET", f"{PATH}/{running}?stream=true"))
        await rig.server.drain()
        events = parse_sse((await http.reply()).body)
        check(events)
        assert events[-1]["response"]["error"]["code"] == "server_is_draining"
    assert "The server stopped before this response was done" in engine.reasons[0]
    for response_id in (running, waiting):
        stored = await store.get("anybody", response_id)
        assert stored is not None
        assert (stored.status, json.loads(stored.response)["status"]) == ("failed", "failed")


async def test_a_key_that_is_taken_back_ends_its_responses_and_no_others(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with serving(Slow(), store=store, keys=["one", "two"]) as rig:
        ids: dict[str, str] = {}
        for key in ("one", "two"):
            header = ("authorization", f"Bearer {key}")
            raw = request("POST", PATH, header, body=b'{"model": "m", "input": "hi", "background": true}')
            principal = Keys.of(["one", "two"]).principal(header[1])
            ids[principal] = json.loads((await (await rig.http()).ask(raw, method="POST")).body)["id"]
        revoked, other = ids
        await trio.sleep(1.5)
        await rig.server.revoke(revoked)
        await rig.gone()
        found = [await store.get(principal, response_id) for principal, response_id in ids.items()]
    assert [stored.status for stored in found if stored is not None] == ["failed", "completed"]
    assert other != revoked


async def test_a_server_that_is_stopped_leaves_nothing_running(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with serving(Slow(), store=store, limits=Limits(background_running=1)) as rig:
        ids = [(await start(rig))["id"] for _ in range(2)]
        await trio.sleep(1.5)
    for response_id in ids:
        stored = await store.get("anybody", response_id)
        assert stored is not None
        shown = json.loads(stored.response)
        assert (stored.status, shown["status"], shown["error"]["code"]) == ("failed", "failed", "server_error")
    async with serving(Slow(), store=store) as rig:  # the next one, in front of the same store
        for response_id, begun in zip(ids, (True, False), strict=True):
            events = await events_of(rig, response_id)
            assert (events[-1]["type"], events[-1]["response"]["status"]) == ("response.failed", "failed")
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
            assert any(event["type"] == "response.output_text.delta" for event in events) is begun
            assert await events_of(rig, response_id, len(events) - 1) == []
            assert await events_of(rig, response_id, len(events) - 2) == events[-1:]


# Stores that fail


async def test_a_store_that_breaks_fails_its_responses_and_nothing_else(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Breaking(MemoryStore):
        broken = "append"

        async def append_events(self, *args: Any) -> None:
            if self.broken == "append":
                raise OSError("no disk")
            await super().append_events(*args)

        async def put(self, principal: str, stored: Stored) -> None:
            if self.broken == "put":
                raise OSError("no disk")
            await super().put(principal, stored)

    engine, store = Slow(), Breaking()
    async with serving(engine, store=store) as rig:
        response = await start(rig)
        assert (await until_over(rig, response["id"]))["status"] == "failed"
        await rig.gone()
        store.broken = "put"
        reply, body = await ask(await rig.http(), background=True)
        assert (reply.status, body["error"]["code"]) == (500, "server_error")
        await rig.gone()
        store.broken = ""
        assert await start(rig)
    assert "no disk" in caplog.text
