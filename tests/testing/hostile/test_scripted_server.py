from __future__ import annotations

import json

import pytest
import trio
from trio.testing import MockClock

import agentwire
from agentwire.protocol.errors import RequestError
from agentwire.testing import check_all, network
from agentwire.testing.hostile import Answer, Break, End, Refuse, Say, Scene, scripted_server
from agentwire.testing.hostile.clerk import Clerk, right_answer, task_of
from agentwire.testing.replies import Pause
from tests.testing.hostile.kit import connected, look_up


async def test_it_says_what_the_script_says(autojump_clock: MockClock) -> None:
    net = network()
    async with scripted_server(Answer(Say("one", pieces=3)), Answer(Say("two"), Pause(20)), net=net) as server:
        async with connected(server) as client:
            assert (await client.respond("a")).output_text == "one"
            before = trio.current_time()
            assert (await client.respond("b")).output_text == "two"
            assert trio.current_time() - before >= 20
            assert (await client.respond("c")).output_text == "two"
        assert len(server.seen.turns) == 3
        assert server.seen.complaints == []
    check_all(net.trace)


async def test_a_run_with_tools_is_legal_throughout(autojump_clock: MockClock) -> None:
    net = network()
    async with scripted_server(Clerk(), net=net) as server, connected(server) as client:
        async with client.run(task_of(1, 5, at_once=2), tools=[look_up]) as run:
            assert (await run.finish()).output_text == right_answer(1, 5)
        assert [connection.kind for connection in server.seen.connections] == ["websocket"]
        assert len(server.seen.turns) == 4
    check_all(net.trace)


async def test_over_http_it_says_the_same(autojump_clock: MockClock) -> None:
    async with scripted_server(Clerk()) as server, connected(server, transport="http") as client:
        async with client.run(task_of(1, 3), tools=[look_up]) as run:
            assert (await run.finish()).output_text == right_answer(1, 3)
        assert {turn.over for turn in server.seen.turns} == {"http"}


async def test_it_refuses_and_goes_on(autojump_clock: MockClock) -> None:
    async with scripted_server(Refuse(400, "invalid_value", "Not so."), Answer(Say("hello"))) as server:
        async with connected(server) as client:
            with pytest.raises(RequestError, match="Not so"):
                await client.respond("a")
            assert (await client.respond("b")).output_text == "hello"
        assert len(server.seen.connections) == 1


@pytest.mark.parametrize("at", range(4))
async def test_it_dies_at_an_event(autojump_clock: MockClock, at: int) -> None:
    dying = Answer(Say("hello"), breaks=Break(at, End("reset")))
    async with scripted_server(dying, Answer(Say("hello"))) as server, connected(server) as client:
        assert (await client.respond("a")).output_text == "hello"
        assert [connection.how for connection in server.seen.connections[:1]] == ["the server ended it (reset)"]
        assert len(server.seen.turns) == 2


async def test_a_conversation_is_remembered_by_its_connection_or_stored(autojump_clock: MockClock) -> None:
    seen: list[list[str]] = []

    def script(scene: Scene) -> Answer:
        seen.append([str(item.get("role")) for item in scene.history])
        return Answer(Say("yes"))

    async with scripted_server(script) as server:
        async with connected(server) as client:
            first = await client.respond("a", store=True)
            await client.respond("b", previous_response_id=first.id)
        async with connected(server) as client:
            await client.respond("c", previous_response_id=first.id, store=True)
    assert seen[1] == ["user", "assistant", "user"]


async def test_a_history_that_does_not_pair_is_refused_and_taken_down(autojump_clock: MockClock) -> None:
    async with scripted_server(Answer(Say("hello"))) as server, connected(server) as client:
        orphan = [{"type": "function_call_output", "call_id": "call_x", "output": "1"}]
        with pytest.raises(RequestError, match="call_x"):
            await client.respond(orphan)
        assert "call_x" in server.seen.complaints[0]


async def test_one_script_function_alone() -> None:
    with pytest.raises(ValueError, match="one function"):
        async with scripted_server(Clerk(), Answer(Say("x"))):
            pass


async def test_lanes_run_side_by_side(autojump_clock: MockClock) -> None:
    async with scripted_server(Answer(Pause(10), Say("x"))) as server, connected(server) as client:
        before = trio.current_time()

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(client.respond, "a")
        assert trio.current_time() - before < 11
        assert len(server.seen.connections) == 1


@pytest.mark.socket
async def test_on_a_real_socket_with_two_kinds_of_http() -> None:
    async with scripted_server(Answer(Say("hello")), sockets=True) as server:
        async with agentwire.connect(server.url) as client:
            assert (await client.respond("a")).output_text == "hello"
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            body = json.dumps({"model": "m", "input": "hi"})
            head = f"POST /v1/responses HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            await stream.send_all((head + body).encode())
            answer = b"".join([bytes(data) async for data in stream])
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["output"][0]["content"][0]["text"] == "hello"
