"""Responses of a session over HTTP: replayed and followed by whoever has its token, attached or not."""

from __future__ import annotations

import json

import h11
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.engines.script import Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Out
from tests.runtime.kit import Event, check
from tests.server.kit import Peer, Rig, serving
from tests.server.test_extensions import come_back, greet, hang
from tests.server.test_http_door import parse_sse
from tests.transport.kit import Peer as HttpPeer
from tests.transport.kit import Reply


def get(session: Event, response_id: str, query: str = "stream=true") -> bytes:
    token = session["session"]["token"]
    head = f"GET /v1/responses/{response_id}?{query} HTTP/1.1\r\nHost: localhost\r\nagentwire-session: {token}\r\n\r\n"
    return head.encode()


async def begin(rig: Rig, **fields: str) -> tuple[Peer, Event, str]:
    """A client with a session and a response that has begun."""
    peer, session = await greet(rig)
    await peer.create(**fields)
    response_id: str = (await peer.receive())["response"]["id"]
    return peer, session, response_id


async def lose(peer: Peer) -> None:
    """Its connection ends without a word."""
    await trio.aclose_forcefully(peer.stream)
    await wait_all_tasks_blocked()


async def ask(rig: Rig, *request: bytes) -> Reply:
    http = await rig.http()
    return await http.ask(*request)


async def big(ask: Ask, out: Out) -> None:
    for _ in range(100):
        await out.text("x" * 100)


async def test_a_response_of_a_session_without_a_connection_is_read_and_followed(autojump_clock: MockClock) -> None:
    """Whoever reads it stands in for the connection: the turn goes on as far as it is read, and ends."""
    async with serving(big, limits=Limits(window_bytes=1000)) as rig:
        peer, session, response_id = await begin(rig, stream_id="a")
        await peer.until("response.output_text.delta")
        await lose(peer)
        got = peer.events[1:]
        await trio.sleep(10)
        assert rig.server.statistics().running == 1
        reply = await ask(rig, get(session, response_id, f"stream=true&starting_after={got[-1]['sequence_number']}"))
        assert (reply.status, reply.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        events = parse_sse(reply.body)
        check([*got, *events])
        await wait_all_tasks_blocked()
        assert rig.server.statistics().running == 0
        back, again = await come_back(rig, session, got)  # and nothing is lost for the socket
        assert again["resumed"]
        assert [await back.receive() for _ in events] == events


async def test_a_response_is_read_beside_its_connection(autojump_clock: MockClock) -> None:
    engine = scripted(lambda ask: Turn(Text("abcdefgh", pieces=8, every=1)))
    async with serving(engine) as rig:
        peer, session, response_id = await begin(rig)
        replies: list[Reply] = []

        async def read(query: str) -> None:
            replies.append(await ask(rig, get(session, response_id, query)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, "stream=true")
            nursery.start_soon(read, "stream=true&starting_after=2")
            await peer.until()
        whole = peer.events[1:]
        check(whole)
        assert sorted(len(parse_sse(reply.body)) for reply in replies) == [len(whole) - 3, len(whole)]
        for reply in (*replies, await ask(rig, get(session, response_id))):
            events = parse_sse(reply.body)
            assert events == whole[-len(events) :]


async def test_who_has_it_all_is_told_that_this_is_the_end(autojump_clock: MockClock) -> None:
    async with serving(scripted(lambda ask: Turn(Text("ab", pieces=2)))) as rig:
        peer, session, response_id = await begin(rig)
        last = (await peer.until())[-1]["sequence_number"]
        reply = await ask(rig, get(session, response_id, f"stream=true&starting_after={last}"))
        assert (reply.status, reply.body) == (200, b"data: [DONE]\n\n")
        assert (await ask(rig, get(session, response_id, f"stream=true&starting_after={last + 1}"))).status == 404


async def test_it_is_followed_while_its_connection_comes_and_goes(autojump_clock: MockClock) -> None:
    engine = scripted(lambda ask: Turn(Text("x" * 30, pieces=30, every=1)))
    async with serving(engine, limits=Limits(window_bytes=1000)) as rig:
        peer, session, response_id = await begin(rig)
        events: list[Event] = []

        async def read() -> None:
            events.extend(parse_sse((await ask(rig, get(session, response_id))).body))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for _ in range(5):
                with trio.move_on_after(3):
                    while True:
                        await peer.receive()
                got = peer.events
                await lose(peer)
                await trio.sleep(2)
                peer, again = await come_back(rig, session, got)
                assert again["resumed"]
                peer.events[:] = [*got, *peer.events[1:]]
            await peer.until()
        whole = [event for event in peer.events if not event["type"].startswith("agentwire")]
        check(whole)
        assert events == whole


async def test_a_connection_that_reads_slowly_is_not_waited_for_when_it_is_gone(autojump_clock: MockClock) -> None:
    """The reader over HTTP has all there is, and waits for the connection; that goes, and it is on its own."""
    async with serving(big, limits=Limits(window_bytes=1000, slice_bytes=100)) as rig:
        peer, session, response_id = await begin(rig)
        http = await rig.http()
        await http.send(get(session, response_id))
        await wait_all_tasks_blocked()
        await lose(peer)
        check(parse_sse((await http.reply()).body))


@pytest.mark.parametrize(
    ("query", "status", "code", "param"),
    [
        ("", 400, "invalid_value", "stream"),
        ("stream=yes", 400, "invalid_value", "stream"),
        ("stream=true&starting_after=x", 400, "invalid_value", "starting_after"),
        ("stream=true&starting_after=900", 404, "agentwire:session_gap", "starting_after"),
    ],
)
async def test_what_cannot_be_read_is_told(
    query: str, status: int, code: str, param: str, autojump_clock: MockClock
) -> None:
    async with serving(hang) as rig:
        _, session, response_id = await begin(rig)
        reply = await ask(rig, get(session, response_id, query))
        error = json.loads(reply.body)["error"]
        assert (reply.status, error["code"], error["param"]) == (status, code, param)


async def test_a_token_opens_its_own_session_to_its_own_principal_alone(autojump_clock: MockClock) -> None:
    async with serving(lambda ask, out: out.text("x"), keys=["one", "two"]) as rig:

        def keyed(request: bytes, key: str) -> bytes:
            return request.replace(b"\r\n\r\n", f"\r\nauthorization: Bearer {key}\r\n\r\n".encode())

        peer = await rig.connect(headers=[("authorization", "Bearer one"), ("agentwire-extensions", "sessions")])
        session = await peer.receive()
        response_id = (await peer.ask())[0]["response"]["id"]
        reply = await ask(rig, keyed(get(session, response_id), "one"))
        assert parse_sse(reply.body) == peer.events[1:]
        other = {"session": {"token": "0" * 64}}
        for request in (keyed(get(session, response_id), "two"), keyed(get(other, response_id), "one")):
            reply = await ask(rig, request)
            error = json.loads(reply.body)["error"]
            assert (reply.status, error["code"]) == (404, "agentwire:session_not_found")
            assert error["param"] == "agentwire-session"
        reply = await ask(rig, keyed(get(session, "resp_x"), "one"))
        assert (reply.status, json.loads(reply.body)["error"]["code"]) == (404, "agentwire:session_gap")


async def rest_of(http: HttpPeer) -> bytes:
    """Everything up to the end of the connection."""
    data = b""
    try:
        while more := await http.stream.receive_some(65536):
            data += more
    except trio.BrokenResourceError:
        pass
    return data


async def test_a_reader_that_leaves_ends_nothing(autojump_clock: MockClock) -> None:
    async with serving(hang) as rig:
        peer, session, response_id = await begin(rig)
        http = await rig.http()
        await http.send(get(session, response_id))
        await wait_all_tasks_blocked()
        await http.stream.aclose()
        await trio.sleep(1)
        assert rig.server.statistics().running == 1
        await lose(peer)
        assert (await come_back(rig, session, peer.events))[1]["resumed"]


async def test_a_stream_that_has_no_end_is_cut_off_without_one(autojump_clock: MockClock) -> None:
    async with serving(hang) as rig:
        peer, session, response_id = await begin(rig)
        http = await rig.http()
        await http.send(get(session, response_id))
        await wait_all_tasks_blocked()
        await peer.close(1000)
        data = await rest_of(http)
        assert b"response.output_text.delta" in data
        assert b"[DONE]" not in data
        assert not data.endswith(b"0\r\n\r\n")


async def test_a_reader_that_falls_too_far_behind_is_cut_off(autojump_clock: MockClock) -> None:
    gate = trio.Event()

    async def endless(ask: Ask, out: Out) -> None:
        await out.text("begun")
        await gate.wait()
        while True:
            await out.text("x" * 1000)

    async with serving(endless, limits=Limits(replay_bytes=20_000)) as rig:
        peer, session, response_id = await begin(rig)
        http = await rig.http()
        await http.send(get(session, response_id))
        await wait_all_tasks_blocked()
        gate.set()  # from here on it reads nothing, and the connection goes on
        for _ in range(500):
            await peer.receive()
        data = await rest_of(http)
        assert b"[DONE]" not in data
        assert rig.server.statistics().running == 1
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method="GET", target="/", headers=[("host", "test")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(data)
        head = parser.next_event()
        assert isinstance(head, h11.Response)
        assert head.status_code == 200
