from __future__ import annotations

import gc
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.errors import EngineError
from agentwire.protocol.limits import Limits
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Ask, Engine, Finish, Out
from agentwire.runtime.turn import Turn
from agentwire.stores import MemoryStore
from agentwire.testing import network
from tests.runtime.kit import Event, check, output_for
from tests.server.kit import Rig, cut_now, eventually, on_loopback, serving
from tests.transport.kit import Peer, Reply

HOST = ("host", "localhost")


async def hello(ask: Ask, out: Out) -> Finish:
    await out.text("hel")
    await out.text("lo")
    return Finish(Usage(7, 2))


class Witness:
    """An engine that hangs after its first event; how it was cancelled."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    async def __call__(self, ask: Ask, out: Out) -> None:
        await out.text("begun")
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            self.reasons.append(str(cancelled))
            raise


def request(method: str, path: str, *headers: tuple[str, str], body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in (HOST, *headers)]
    if body or method == "POST":
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


def post(content: Any = "hi", **fields: Any) -> bytes:
    body = {"model": "test", "input": content, **fields}
    return request("POST", "/v1/responses", body=json.dumps(body).encode())


async def get(rig: Rig, path: str, *headers: tuple[str, str], method: str = "GET") -> Reply:
    return await (await rig.http()).ask(request(method, path, *headers), method=method)


async def ask(http: Peer, content: Any = "hi", **fields: Any) -> tuple[Reply, Event]:
    reply = await http.ask(post(content, **fields), method="POST")
    return reply, json.loads(reply.body)


def parse_sse(body: bytes) -> list[Event]:
    """The events of a stream, whose framing is checked byte by byte."""
    blocks = body.decode().split("\n\n")
    assert blocks[-2:] == ["data: [DONE]", ""]
    events = []
    for block in blocks[:-2]:
        first, second = block.split("\n")
        assert second.startswith("data: ")
        events.append(json.loads(second.removeprefix("data: ")))
        assert first == f"event: {events[-1]['type']}"
    return events


# Whole answers


async def test_a_whole_answer(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        http = await rig.http()
        reply, response = await ask(http, metadata={"a": "b"})
        assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
        assert reply.headers["x-request-id"].startswith("req_")
        assert (response["status"], response["object"], response["metadata"]) == ("completed", "response", {"a": "b"})
        assert response["output"][0]["content"][0]["text"] == "hello"
        assert response["usage"]["total_tokens"] == 9
        again, second = await ask(http)
        assert again.status == 200  # the connection is kept
        assert second["id"] != response["id"]


async def test_what_is_stored_can_be_read_and_continued_everywhere(autojump_clock: MockClock) -> None:
    asks: list[Ask] = []

    async def engine(ask: Ask, out: Out) -> None:
        asks.append(ask)
        await out.text("x")

    async with serving(engine) as rig:
        http = await rig.http()
        _, first = await ask(http, "one")
        read = await get(rig, f"/v1/responses/{first['id']}")
        assert (read.status, json.loads(read.body)) == (200, first)
        head = await get(rig, f"/v1/responses/{first['id']}", method="HEAD")
        assert (head.status, head.body) == (200, b"")
        _, second = await ask(http, "two", previous_response_id=first["id"])
        peer = await rig.connect()
        events = await peer.ask("three", previous_response_id=second["id"], store=True)
        third = events[-1]["response"]
        read = await get(rig, f"/v1/responses/{third['id']}")
        assert json.loads(read.body) == third
        _, fourth = await ask(http, "four", previous_response_id=third["id"])
        assert fourth["previous_response_id"] == third["id"]
        await peer.close()
    assert len(asks[-1].items) == 7
    assert asks[-1].root_id == first["id"]


async def test_what_is_not_stored_is_not_there(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        http = await rig.http()
        _, response = await ask(http, store=False)
        read = await get(rig, f"/v1/responses/{response['id']}")
        assert (read.status, json.loads(read.body)["error"]["code"]) == (404, "response_not_found")
        reply, body = await ask(http, previous_response_id=response["id"])
        assert (reply.status, body["error"]["code"]) == (400, "previous_response_not_found")
        assert body["error"]["param"] == "previous_response_id"


async def test_a_warm_up_and_a_tool_loop(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        if len(ask.items) == 1:
            await out.call("read", {"path": "a"})
        else:
            await out.text("done")

    async with serving(engine) as rig:
        http = await rig.http()
        _, warm = await ask(http, generate=False)
        assert (warm["status"], warm["output"]) == ("completed", [])
        _, first = await ask(http, [], previous_response_id=warm["id"])
        outputs = output_for({"response": first})
        assert len(outputs) == 1
        _, second = await ask(http, outputs, previous_response_id=first["id"])
        assert second["output"][0]["content"][0]["text"] == "done"


async def test_server_tools_run_over_http_too(autojump_clock: MockClock) -> None:
    async def add(a: int, b: int) -> int:
        return a + b

    async def engine(ask: Ask, out: Out) -> None:
        if ask.step == 0:
            await out.call("add", {"a": 1, "b": 2})
        else:
            await out.text("3")

    async with serving(engine, tools=[add]) as rig:
        _, response = await ask(await rig.http())
        assert [item["type"] for item in response["output"]] == ["mcp_call", "message"]
        assert response["output"][0]["output"] == "3"


async def test_a_failure_is_a_status(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        await out.text("half")
        raise EngineError("Too many.", code="rate_limit_exceeded", status=429)

    async with serving(engine) as rig:
        http = await rig.http()
        reply, body = await ask(http)
        assert (reply.status, body["error"]["code"]) == (429, "rate_limit_exceeded")
        assert body["error"]["type"] == "rate_limit_error"
        assert set(body["error"]) == {"type", "code", "message", "param"}
        assert (await ask(http))[0].status == 429


async def test_an_engines_secrets_stay_in_the_log(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        raise ValueError("the key is 1234")

    async with serving(engine) as rig:
        reply, body = await ask(await rig.http())
        assert (reply.status, body["error"]["code"]) == (500, "server_error")
        assert "1234" not in str(body)
    assert "the key is 1234" in caplog.text


# Streams


async def test_a_stream(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        http = await rig.http()
        reply = await http.ask(post(stream=True), method="POST")
        assert reply.status == 200
        assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert reply.headers["cache-control"] == "no-cache"
        assert reply.headers["x-request-id"].startswith("req_")
        events = parse_sse(reply.body)
        check(events)
        assert events[-1]["response"]["output"][0]["content"][0]["text"] == "hello"
        assert not any("stream_id" in event for event in events)
        again = await http.ask(post(stream=True), method="POST")
        assert parse_sse(again.body)[-1]["type"] == "response.completed"


async def test_both_doors_say_the_same(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        http, peer = await rig.http(), await rig.connect()
        streamed = parse_sse((await http.ask(post(stream=True, store=False), method="POST")).body)
        sent = await peer.ask(stream=True)
        await peer.close()
    assert [_shape(event) for event in streamed] == [_shape(event) for event in sent]


def _shape(value: Any) -> Any:
    """A value without what differs from one response to the next."""
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items() if key not in ("id", "item_id", "call_id")}
    return [_shape(inner) for inner in value] if isinstance(value, list) else value


async def test_a_failure_in_a_stream_is_told_in_the_stream(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        await out.text("half")
        raise EngineError("Gone.", code="upstream_gone", status=502)

    async with serving(engine) as rig:
        reply = await (await rig.http()).ask(post(stream=True), method="POST")
        events = parse_sse(reply.body)
        check(events)
        assert reply.status == 200
        assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
        assert events[-2]["error"]["code"] == "upstream_gone"


async def test_a_stream_comes_as_it_is_made(autojump_clock: MockClock) -> None:
    async def slow(ask: Ask, out: Out) -> None:
        await out.text("one")
        await trio.sleep(100)
        await out.text("two")

    async with serving(slow) as rig:
        http = await rig.http()
        await http.send(post(stream=True))
        await trio.sleep(1)
        first = await http.stream.receive_some(65536)
        assert b'"delta":"one"' in first
        assert b'"delta":"two"' not in first
        await trio.sleep(60)
        assert (await http.stream.receive_some(65536)).count(b"event: keepalive\n") == 2


async def test_a_streams_reader_is_waited_for(autojump_clock: MockClock) -> None:
    written = 0

    async def endless(ask: Ask, out: Out) -> None:
        nonlocal written
        while True:
            await out.text("x" * 1000)
            written += 1

    async with serving(endless, limits=Limits(window_bytes=20_000, write_progress=30)) as rig:
        http = await rig.http()
        await http.send(post(stream=True))
        await wait_all_tasks_blocked()
        blocked_at = written
        await trio.sleep(10)
        assert written == blocked_at < 200
        for _ in range(5):
            await http.stream.receive_some(65536)
        await wait_all_tasks_blocked()
        assert written > blocked_at
        await eventually(lambda: not rig.server.statistics().sessions)  # it reads no more, and is cut off


# Refusals


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"input": 5}, 400, "invalid_type", "input"),
        ({"model": None}, 400, "missing_required_parameter", "model"),
        ({"input": [{"role": "user"}]}, 400, "missing_required_parameter", "input[0].content"),
        ({"stream_id": "a"}, 400, "unknown_parameter", "stream_id"),
        ({"temperature": "hot"}, 400, "invalid_type", "temperature"),
        ({"previous_response_id": "resp_x"}, 400, "previous_response_not_found", "previous_response_id"),
    ],
)
async def test_what_is_wrong_is_a_status_and_never_a_stream(
    fields: dict[str, Any], status: int, code: str, param: str, autojump_clock: MockClock
) -> None:
    async with serving(hello) as rig:
        http = await rig.http()
        for stream in (False, True):
            reply = await http.ask(post(**{"content": "hi", "stream": stream, **fields}), method="POST")
            body = json.loads(reply.body)
            assert (reply.status, body["error"]["code"], body["error"]["param"]) == (status, code, param)
        assert (await ask(http))[0].status == 200


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b'{"model":', b'"x"', b'\xff{"model":"m"}'])
async def test_a_body_that_is_no_request(body: bytes, autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        http = await rig.http()
        reply = await http.ask(request("POST", "/v1/responses", body=body), method="POST")
        assert (reply.status, json.loads(reply.body)["error"]["code"]) == (400, "invalid_json")
        assert (await ask(http))[0].status == 200


async def test_stream_must_be_a_boolean(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        reply = await (await rig.http()).ask(post(stream="yes"), method="POST")
        assert (reply.status, json.loads(reply.body)["error"]["param"]) == (400, "stream")


async def test_a_body_may_be_larger_than_a_sockets_queue(autojump_clock: MockClock) -> None:
    async with serving(hello, limits=Limits(queued_bytes=1000)) as rig:
        reply, _ = await ask(await rig.http(), "x" * 5000)
        assert reply.status == 200


async def test_a_body_beyond_its_bound_is_413(autojump_clock: MockClock) -> None:
    async with serving(hello, limits=Limits(body_bytes=1000)) as rig:
        reply, body = await ask(await rig.http(), "x" * 5000)
        assert (reply.status, body["error"]["code"]) == (413, "body_too_large")


# Clients that go


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("how", ["close", "half_close", "reset", "cut"])
async def test_a_client_that_goes_cancels_its_turn(how: str, stream: bool, autojump_clock: MockClock) -> None:
    witness = Witness()
    async with serving(witness) as rig:
        http = await rig.http()
        await http.send(post(stream=stream))
        await wait_all_tasks_blocked()
        if how == "close":
            await http.stream.aclose()
        else:
            cut_now(rig.net, how)
        await wait_all_tasks_blocked()
        assert len(witness.reasons) == 1
        assert "the client went away" in witness.reasons[0]
        assert rig.server.statistics().sessions == 0
        assert rig.server.statistics().turns == {"cancelled": 1}


@pytest.mark.parametrize("how", ["half_close", "reset", "cut"])
async def test_a_stuck_client_that_goes_cancels_its_turn_at_once(how: str, autojump_clock: MockClock) -> None:
    cancelled: list[float] = []

    async def endless(ask: Ask, out: Out) -> None:
        try:
            while True:
                await out.text("x" * 1000)
        except trio.Cancelled:
            cancelled.append(trio.current_time())
            raise

    async with serving(endless, net=network(capacity=10_000, keep=False)) as rig:
        http = await rig.http()
        await http.send(post(stream=True))
        await trio.sleep(5)
        cut_now(rig.net, how)
        await wait_all_tasks_blocked()
        assert cancelled == [5]
        assert (rig.server.statistics().sessions, rig.server.statistics().listening.open) == (0, 0)


async def test_a_client_that_goes_before_it_has_asked(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        http = await rig.http()
        await http.send(post("x" * 1000)[:500])
        await wait_all_tasks_blocked()
        await http.stream.aclose()
        await rig.gone()
        assert rig.server.statistics().sessions_total == 0


async def test_the_next_request_may_come_early(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        http = await rig.http()
        await http.send(post("one") + post("two"))
        assert (await http.reply("POST")).status == 200
        assert (await http.reply("POST")).status == 200


# Everything else


async def test_health_needs_no_key(autojump_clock: MockClock) -> None:
    async with serving(hello, keys=["secret"]) as rig:
        for path in ("/healthz", "/readyz"):
            reply = await get(rig, path)
            assert (reply.status, json.loads(reply.body)["status"]) == (200, "ok")


async def test_models(autojump_clock: MockClock) -> None:
    async with serving(hello, models=["one", "two"]) as rig:
        listed = json.loads((await get(rig, "/v1/models")).body)
        assert listed["object"] == "list"
        assert [(model["id"], model["object"]) for model in listed["data"]] == [("one", "model"), ("two", "model")]
        assert isinstance(listed["data"][0]["created"], int)
        assert json.loads((await get(rig, "/v1/models/two")).body) == listed["data"][1]


async def test_a_models_name_may_hold_a_slash(autojump_clock: MockClock) -> None:
    async with serving(hello, models=["maker/model"]) as rig:
        for path in ("/v1/models/maker%2Fmodel", "/v1/models/maker/model"):
            assert json.loads((await get(rig, path)).body)["id"] == "maker/model"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("POST", "/v1/chat/completions", 404, "not_found"),
        ("GET", "/v1/responses/a/b", 404, "not_found"),
        ("GET", "/v1/responses/resp_x", 404, "response_not_found"),
        ("GET", "/v1/models/other", 404, "model_not_found"),
        ("GET", "/v1/responses", 426, "upgrade_required"),
        ("PUT", "/v1/responses", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("PATCH", "/v1/responses/resp_x", 405, "method_not_allowed"),
    ],
)
async def test_paths_and_methods(method: str, path: str, status: int, code: str, autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        reply = await get(rig, path, method=method)
        assert (reply.status, json.loads(reply.body)["error"]["code"]) == (status, code)
        if status == 405:
            assert "GET" in reply.headers["allow"]
        if status == 426:
            assert reply.headers["upgrade"] == "websocket"


async def test_what_is_refused_is_in_the_log_and_its_key_is_not(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "agentwire.server")
    async with serving(hello, keys=["right-key"]) as rig:
        await get(rig, "/v1/models?key=wrong-key", ("authorization", "Bearer wrong-key"))
        await get(rig, "/v2/models", ("authorization", "Bearer right-key"))
        await get(rig, "/v1/models", ("authorization", "Bearer right-key"))
        await get(rig, "/a%0d%0aforged%1b[2J", ("authorization", "Bearer wrong-key"))
    refused = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    asked = ["GET /v1/models", "GET /v2/models", "GET /a%0d%0aforged%1b[2J"]
    assert [words.split(" from ")[0] for words in refused] == asked
    assert [words.split(": ")[-1] for words in refused] == [
        "refused with 401 invalid_api_key",
        "refused with 404 not_found",
        "refused with 401 invalid_api_key",
    ]
    assert "-key" not in caplog.text


async def test_paths_may_end_in_a_slash_and_have_a_query(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        assert (await get(rig, "/v1/models/?x=1")).status == 200
        peer = await rig.connect("/v1/responses/?api-version=v1&x=2")
        await peer.ask()
        await peer.close()


async def test_a_broken_store_is_a_500_and_nothing_more(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(MemoryStore):
        async def get(self, principal: str, response_id: str) -> None:
            raise OSError("no disk")

    async with serving(hello, store=Broken()) as rig:
        reply = await get(rig, "/v1/responses/resp_x")
        assert (reply.status, json.loads(reply.body)["error"]["code"]) == (500, "server_error")
        assert (await get(rig, "/healthz")).status == 200
    assert "no disk" in caplog.text


@pytest.mark.socket
async def test_the_http_door_on_a_real_socket() -> None:
    witness = Witness()

    async def engine(ask: Ask, out: Out) -> None:
        await (witness(ask, out) if ask.model == "hang" else out.text("x"))

    async with on_loopback(engine) as rig:
        http = await rig.http()
        assert (await ask(http))[0].status == 200
        assert parse_sse((await http.ask(post(stream=True), method="POST")).body)
        await http.send(post(model="hang", stream=True))
        await eventually(lambda: rig.server.statistics().running)
        await http.stream.aclose()
        await eventually(lambda: witness.reasons)
        await rig.gone()


async def floods(ask: Ask, out: Out) -> None:
    while True:
        await out.text("x" * 1000)


async def fails(ask: Ask, out: Out) -> None:
    raise EngineError("Later.")


async def asks(rig: Rig) -> None:
    """A turn that fails."""
    assert (await (await rig.http()).ask(post(), method="POST")).status == 500


async def is_stuck(rig: Rig) -> None:
    """Asks, reads nothing, and goes."""
    stream = await rig.dial()
    assert isinstance(stream, trio.SocketStream)
    await stream.send_all(post(stream=True))
    await eventually(lambda: rig.server.statistics().unsent_bytes > 10_000)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


@pytest.mark.socket
@pytest.mark.parametrize(("engine", "way"), [(fails, asks), (floods, is_stuck)], ids=["fails", "is stuck and goes"])
async def test_what_was_asked_is_freed_with_the_answer(engine: Engine, way: Callable[[Rig], Awaitable[None]]) -> None:
    """Not when the garbage collector comes, as a request may have megabytes."""
    async with on_loopback(engine) as rig:
        await way(rig)  # whatever is made once
        gc.collect()
        gc.disable()
        try:
            await way(rig)
            await eventually(lambda: not rig.server.statistics().sessions)
            await wait_all_tasks_blocked(0.05)
            assert not [each for each in gc.get_objects() if isinstance(each, Turn)]
        finally:
            gc.enable()
