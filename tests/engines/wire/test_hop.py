"""Turns over a hop to a second agentwire: what goes up, and what comes down."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from agentwire.engines import Call, Reasoning, Text, Turn, scripted
from agentwire.engines.wire import open_wire_engine
from agentwire.protocol.errors import EngineError, LocalProtocolError
from agentwire.protocol.limits import Limits
from agentwire.testing import network
from agentwire.testing.recording import RecordingOut, ask_for
from tests.engines.wire.kit import URL, Hop, Json, Seen, hopping, outputs, texts
from tests.runtime.kit import check
from tests.server.kit import eventually
from tests.server.test_http_door import post
from tests.transport.test_proxy import tunnelling

TOOL = {"type": "function", "name": "read", "parameters": {"type": "object"}}


async def ask_http(hop: Hop, given: Any, **fields: Any) -> Json:
    """One request over HTTP, answered as a whole."""
    reply = await (await hop.front.http()).ask(post(given, **fields), method="POST")
    body: Json = json.loads(reply.body)
    assert reply.status == 200, body
    return body


async def test_a_turn_goes_up_and_comes_down(autojump_clock: MockClock) -> None:
    async with hopping(scripted([Turn(Text("Hello.", pieces=3))])) as hop:
        peer = await hop.front.connect()
        events = await peer.ask("hi", instructions="Be brief.", temperature=0.5, unheard_of={"a": 1})
        assert texts(events[-1]["response"]["output"]) == "Hello."
        assert [event["delta"] for event in events if event["type"].endswith("text.delta")] == ["He", "ll", "o."]
        (request,) = hop.requests()
        assert request["store"] is False
        assert (request["instructions"], request["temperature"]) == ("Be brief.", 0.5)
        assert request["unheard_of"] == {"a": 1}
        assert "stream" not in request
        assert "previous_response_id" not in request
        await peer.close()


async def test_a_continuation_goes_up_as_what_is_new(autojump_clock: MockClock) -> None:
    engine = Seen(scripted([Turn(Text("One.")), Turn(Text("Two.")), Turn(Text("Three."))]))
    async with hopping(engine) as hop:
        peer = await hop.front.connect()
        first = (await peer.ask("a"))[-1]["response"]
        second = (await peer.ask("b", previous_response_id=first["id"]))[-1]["response"]
        await peer.ask("c", previous_response_id=second["id"], instructions="Now be long.")
        assert [len(request["input"]) for request in hop.requests()] == [1, 1, 1]
        assert [len(ask.items) for ask in engine.asks] == [1, 3, 5]
        shown = hop.engine.statistics()
        assert (shown.full, shown.deltas, shown.found, shown.pool.connections) == (1, 2, 0, 1)
        await peer.close()


async def test_a_history_that_comes_whole_goes_up_as_what_is_new(autojump_clock: MockClock) -> None:
    calls = [Turn(Reasoning("Hm."), Text("Let me see."), Call("read", {"n": n, "m": [1.5]})) for n in range(4)]
    engine = Seen(scripted([*calls, Turn(Text("Done."))]))
    async with hopping(engine) as hop:
        history: list[Json] = [{"role": "user", "content": "Go."}]
        for _ in range(5):
            response = await ask_http(hop, history, tools=[TOOL], store=False)
            history += [*response["output"], *outputs(response)]
        assert texts(response["output"]) == "Done."
        assert [len(request["input"]) for request in hop.requests()] == [1, 1, 1, 1, 1]
        assert [len(ask.items) for ask in engine.asks] == [1, 5, 9, 13, 17]
        shown = hop.engine.statistics()
        assert (shown.full, shown.deltas, shown.found, shown.chains) == (1, 4, 4, 1)


async def test_the_server_s_own_tools_run_in_between(autojump_clock: MockClock) -> None:
    async def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    engine = Seen(scripted([Turn(Call("add", {"a": 1, "b": 2})), Turn(Text("3")), Turn(Text("Yes."))]))
    async with hopping(engine, front={"tools": [add]}) as hop:
        peer = await hop.front.connect()
        response = (await peer.ask("1 + 2?"))[-1]["response"]
        assert [item["type"] for item in response["output"]] == ["mcp_call", "message"]
        await peer.ask("Sure?", previous_response_id=response["id"])
        first, second, third = hop.requests()
        assert [tool["name"] for tool in first["tools"]] == ["add"]
        assert [item["type"] for item in second["input"]] == ["function_call_output"]
        assert len(third["input"]) == 1
        assert [len(ask.items) for ask in engine.asks] == [1, 3, 5]
        await peer.close()


@pytest.mark.parametrize("settings", [{"max_output_tokens": 500}, {"tool_choice": "required"}])
async def test_settings_that_a_later_step_states_otherwise_are_the_same(
    settings: Json, autojump_clock: MockClock
) -> None:
    """What is left of a bound, and a call that was demanded and made, are no change of the client's."""

    async def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    engine = scripted([Turn(Call("add", {"a": 1, "b": 2})), Turn(Text("3"))] * 2)
    async with hopping(engine, front={"tools": [add]}) as hop:
        history: list[Json] = [{"role": "user", "content": "1 + 2?"}]
        history += (await ask_http(hop, history, store=False, **settings))["output"]
        await ask_http(hop, [*history, {"role": "user", "content": "Sure?"}], store=False, **settings)
        assert len(hop.requests()) == 4
        shown = hop.engine.statistics()
        assert (shown.full, shown.deltas, shown.found) == (1, 3, 1)


async def test_an_error_of_the_upstream_is_told_once(autojump_clock: MockClock) -> None:
    async def engine(ask: Any, out: Any) -> None:
        await out.text("a")
        raise EngineError("Too much.", code="rate_limit_exceeded", status=429)

    async with hopping(engine) as hop:
        peer = await hop.front.connect()
        events = await peer.ask("hi")
        assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
        assert events[-1]["response"]["error"]["code"] == "rate_limit_exceeded"
        await hop.idle()
        assert hop.engine.statistics().pool.connections == 1
        await peer.close()


async def test_a_request_that_the_upstream_refuses(autojump_clock: MockClock) -> None:
    async with hopping(scripted([Turn(Text("a"))]), upstream={"keys": ["secret"]}) as hop:
        peer = await hop.front.connect()
        events = await peer.ask("hi")
        assert events[-1]["response"]["error"]["code"] == "upstream_unauthorized"
        assert "secret" not in json.dumps(events)
        check(events)
        await peer.close()


async def test_a_message_that_grows_too_large_on_its_way_up_is_not_sent(autojump_clock: MockClock) -> None:
    limits = Limits(message_bytes=2000)
    async with hopping(scripted([Turn(Text("a"))]), limits=limits, front={"limits": limits}) as hop:
        peer = await hop.front.connect()
        message = '{"type":"response.create","model":"m","input":"..."}'
        await peer.say(message.replace("...", "x" * (2003 - len(message))))
        events = await peer.until()
        *_, error, failed = events
        assert (error["status"], error["error"]["code"]) == (400, "request_too_large")
        assert (error["error"]["param"], failed["type"]) == ("input", "response.failed")
        assert not hop.requests()
        check(events)
        assert texts((await peer.ask("x" * 1500))[-1]["response"]["output"]) == "a"
        await peer.close()


async def test_a_client_that_goes_stops_the_upstream(autojump_clock: MockClock) -> None:
    cancelled: list[str] = []

    async def engine(ask: Any, out: Any) -> None:
        await out.text("one")
        try:
            await trio.sleep_forever()
        except trio.Cancelled as gone:
            cancelled.append(str(gone))
            raise

    async with hopping(engine) as hop:
        peer = await hop.front.connect()
        await peer.create("hi")
        await peer.until("response.output_text.delta")
        await trio.aclose_forcefully(peer.stream)
        await eventually(lambda: cancelled)
        await hop.idle()
        shown = hop.engine.statistics().pool
        assert (shown.connections, shown.abandoned) == (1, 0)
        assert [message["type"] for message in hop.said("client")][1:] == ["agentwire:response.cancel"]


async def test_an_address_that_is_none() -> None:
    with pytest.raises(LocalProtocolError, match="address"):
        async with open_wire_engine("mailto:me"):
            pass
    with pytest.raises(ValueError, match="connections"):
        async with open_wire_engine(URL, connections=0, connector=network().connect):
            pass
    with pytest.raises(ValueError, match="the URL of a proxy"):
        async with open_wire_engine(URL, proxy="socks5://proxy:1080"):
            pass


@pytest.mark.socket
async def test_it_asks_the_proxy_that_is_given() -> None:
    heads: list[bytes] = []
    async with (
        tunnelling(b"HTTP/1.1 407 Who?\r\ncontent-length: 0\r\n\r\n", heads) as port,
        open_wire_engine("wss://wire.example/v1", proxy=f"http://127.0.0.1:{port}") as engine,
    ):
        with pytest.raises(EngineError) as caught:
            await engine(ask_for("hello"), RecordingOut())
    assert caught.value.status in (502, 503)
    assert [head.partition(b"\r\n")[0] for head in heads] == [b"CONNECT wire.example:443 HTTP/1.1"]
