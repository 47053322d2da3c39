from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.client import ClientConnection, connect

from agentwire.engines.chat import open_chat_engine
from agentwire.protocol.limits import Limits
from agentwire.server.server import Server, serve
from agentwire.transport.http11 import HttpConnection
from tests.engines.chat.kit import (
    CRM,
    EVENTS,
    Json,
    Script,
    Upstream,
    call,
    calls,
    delta,
    event,
    refuses,
    says,
    stop,
    sum_tool,
    text,
    upstream,
    used,
)

pytestmark = pytest.mark.socket

TERMINAL = ("response.completed", "response.failed", "response.incomplete")
RESET = struct.pack("ii", 1, 0)


@attrs.frozen
class Client:
    """A WebSocket client that is not ours."""

    ws: ClientConnection
    stream: trio.SocketStream

    async def ask(self, **request: Any) -> list[Json]:
        """One turn: all its events."""
        await self.ws.send(json.dumps({"type": "response.create", "model": "m", **request}))
        events: list[Json] = []
        while not events or events[-1]["type"] not in TERMINAL:
            events.append(json.loads(await self.ws.recv()))
        return events

    async def read_out(self) -> None:
        """Read what is left after the end; its queue is full, and it would wait for us for ever."""
        with suppress(ConnectionClosed):
            while True:
                await self.ws.recv()

    async def reset(self) -> None:
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        await trio.aclose_forcefully(self.stream)


@attrs.frozen
class Stand:
    """A chat server, and ours in front of it."""

    server: Server
    upstream: Upstream

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client]:
        assert self.server.port is not None
        stream = await trio.open_tcp_stream("127.0.0.1", self.server.port)
        async with connect(f"{self.server.url}/responses", stream=stream, ping_interval=None) as ws:
            yield Client(ws, stream)

    async def idle(self) -> None:
        """Wait until no turn and no session is left."""
        while self.server.statistics().sessions:  # noqa: ASYNC110 - nobody tells when a session is over
            await trio.sleep(0.01)


@asynccontextmanager
async def stand(*scripts: Script, **options: Any) -> AsyncGenerator[Stand]:
    async with upstream(*scripts) as above, open_chat_engine(above.url) as engine, trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, engine, **options))
        yield Stand(server, above)
        nursery.cancel_scope.cancel(reason="the test is over")


def output_of(events: list[Json]) -> list[Json]:
    found: list[Json] = events[-1]["response"]["output"]
    return found


async def test_two_turns_with_a_call_on_one_connection() -> None:
    first = says(calls(call('{"a":1,', id="c1", name="add")), calls(call('"b":2}')), stop("tool_calls"), used())
    async with stand(first, text("It is ", "3.")) as found, found.client() as client:
        events = await client.ask(input="add 1 and 2", tools=[sum_tool()], store=False)
        assert [each["type"] for each in events] == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
        (made,) = output_of(events)
        answer = {"type": "function_call_output", "call_id": made["call_id"], "output": "3"}
        previous = events[-1]["response"]["id"]
        events = await client.ask(input=[answer], tools=[sum_tool()], previous_response_id=previous, store=False)
        response = events[-1]["response"]
        assert response["output"][0]["content"][0]["text"] == "It is 3."
        assert response["usage"]["total_tokens"] == 17
        one, two = found.upstream.raw
        assert two.startswith(one.removesuffix(b"]}"))


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("silent", [True, False])
async def test_a_client_that_goes_takes_its_request_upstream_with_it(how: str, silent: bool) -> None:
    async def endless(connection: HttpConnection) -> None:
        await connection.start_stream(200, EVENTS, event(delta(content="I")))
        while True:
            await trio.sleep(3600 if silent else 0)
            await connection.send_chunk(event(delta(content=" go on")))

    async with stand(endless) as found:
        async with found.client() as client:
            await client.ws.send(json.dumps({"type": "response.create", "model": "m", "input": "talk"}))
            while json.loads(await client.ws.recv())["type"] != "response.output_text.delta":
                pass
            if how == "reset":
                await client.reset()
                await client.read_out()
        await found.upstream.left.wait()
        await found.idle()
        assert len(found.upstream.gone) == 1
        assert found.server.statistics().turns["cancelled"] == 1


async def test_a_client_that_goes_before_the_first_byte_takes_its_request_with_it() -> None:
    asked = trio.Event()

    async def thinking(connection: HttpConnection) -> None:
        asked.set()
        await trio.sleep_forever()

    async with stand(thinking) as found:
        async with found.client() as client:
            await client.ws.send(json.dumps({"type": "response.create", "model": "m", "input": "think"}))
            await asked.wait()
        await found.upstream.left.wait()
        await found.idle()


async def test_a_client_that_does_not_read_holds_the_stream_up() -> None:
    sent = 0

    async def endless(connection: HttpConnection) -> None:
        nonlocal sent
        await connection.start_stream(200, EVENTS)
        piece = event(delta(content="x" * 60_000))
        while True:
            await connection.send_chunk(piece)
            sent += len(piece)

    limits = Limits(response_bytes=1 << 40)
    async with stand(endless, limits=limits) as found, found.client() as client:
        await client.ws.send(json.dumps({"type": "response.create", "model": "m", "input": "talk"}))
        before = -1
        while sent != before or not sent:  # until nothing moves any more
            before = sent
            await trio.sleep(0.3)
        assert sent < 64 << 20
        await client.reset()
        await found.upstream.left.wait()
        await client.read_out()


async def test_the_servers_own_tools_run_between_two_requests() -> None:
    def now() -> str:
        """Tell the time."""
        return "noon"

    first = says(delta(content="I look."), calls(call("{}", id="c1", name="now")), stop("tool_calls"), used())
    async with stand(first, text("Noon."), tools=[now]) as found, found.client() as client:
        events = await client.ask(input="what time is it?", tool_choice="required")
        kinds = [item["type"] for item in output_of(events)]
        assert kinds == ["message", "mcp_call", "message"]
        assert events[-1]["response"]["usage"]["input_tokens"] == 24
        second = found.upstream.bodies[1]
        assert [message["role"] for message in second["messages"]] == ["user", "assistant", "tool"]
        assert second["messages"][1]["content"] == "I look."
        assert second["messages"][2]["content"] == "noon"


async def test_a_call_for_the_client_beside_one_for_the_server_ends_the_turn() -> None:
    def now() -> str:
        """Tell the time."""
        return "noon"

    both = says(calls(call("{}", id="c1", name="now"), call("{}", index=1, id="c2", name="crm__find")), stop())
    async with stand(both, text("Done."), tools=[now]) as found, found.client() as client:
        events = await client.ask(input="go", tools=[CRM])
        own, theirs = output_of(events)
        assert (own["type"], own["output"]) == ("mcp_call", "noon")
        assert (theirs["name"], theirs["namespace"], theirs["call_id"]) == ("find", "crm", "c2")
        answer = {"type": "function_call_output", "call_id": "c2", "output": "Ann"}
        await client.ask(input=[answer], tools=[CRM], previous_response_id=events[-1]["response"]["id"])
        told = found.upstream.bodies[1]["messages"]
        assert [message["role"] for message in told] == ["user", "assistant", "tool", "assistant", "tool"]
        assert told[-1] == {"role": "tool", "tool_call_id": "c2", "content": "Ann"}


async def test_a_tool_that_an_item_offered_can_be_demanded() -> None:
    late = {"type": "additional_tools", "role": "developer", "tools": [sum_tool()]}
    user = {"role": "user", "content": "add"}
    async with stand(says(calls(call("{}", name="add")), stop())) as found, found.client() as client:
        events = await client.ask(input=[late, user], tool_choice={"type": "function", "name": "add"})
        assert [item["name"] for item in output_of(events)] == ["add"]


async def test_an_answer_that_is_cut_off_is_incomplete() -> None:
    half = says(delta(content="I add."), calls(call('{"a":', name="add")), stop("length"), used())
    async with stand(half) as found, found.client() as client:
        events = await client.ask(input="add", tools=[sum_tool()])
        response = events[-1]["response"]
        assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
        assert response["output"][0]["content"][0]["text"] == "I add."
        assert response["usage"]["output_tokens"] == 5


async def test_a_failure_upstream_fails_its_turn_and_nothing_else() -> None:
    scripts = (refuses(401, {"error": {"message": "bad key sk-1"}}), text("fine"))
    async with stand(*scripts) as found, found.client() as client:
        *_, error, failed = await client.ask(input="x")
        assert error["type"] == "error"
        assert (error["status"], error["error"]["code"]) == (502, "upstream_unauthorized")
        assert "sk-1" not in json.dumps(error)
        assert failed["response"]["error"]["code"] == "upstream_unauthorized"
        assert output_of(await client.ask(input="y"))[0]["content"][0]["text"] == "fine"


async def test_reasoning_probabilities_citations_and_an_estimate_reach_the_client_and_come_back() -> None:
    token = {"token": "Rain.", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    said = delta(content="Rain.")
    said["choices"][0]["logprobs"] = {"content": [token]}
    cited = delta(annotations=[{"type": "url_citation", "url_citation": {"url": "https://x", "title": "X"}}])
    first = says(
        delta(reasoning="Look "), delta(reasoning="up."), said, cited, calls(call("{}", id="c1", name="add")), stop()
    )
    async with stand(first, text("ok")) as found, found.client() as client:
        wanted = ["reasoning.encrypted_content", "message.output_text.logprobs"]
        request: Json = {"tools": [sum_tool()], "store": False}
        events = await client.ask(input="x", include=wanted, **request)
        thought, message, made = output_of(events)
        assert thought["content"][0]["text"] == "Look up."
        part = message["content"][0]
        assert (part["logprobs"], part["annotations"][0]["url"]) == ([token], "https://x")
        assert events[-1]["response"]["usage"]["estimated"] is True
        bare = {name: thought[name] for name in ("type", "id", "summary", "encrypted_content")}
        answer = {"type": "function_call_output", "call_id": "c1", "output": "3"}
        asked = {"role": "user", "content": "x"}
        await client.ask(input=[asked, bare, message, made, answer], **request)  # a client that keeps its own history
        _, led, _ = found.upstream.bodies[1]["messages"]
        assert (led["content"], led["reasoning"], led["tool_calls"][0]["id"]) == ("Rain.", "Look up.", "c1")
