"""The watch: it follows every connection, leaves what is legal alone, and names the rule that is broken."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from agentwire.runtime.contracts import Ask, Out
from agentwire.runtime.window import Due, Window
from agentwire.testing.watch import Broken, Violation, Watch, _EventStream, _WatchedStream, watching
from agentwire.transport.frames import server_frame
from agentwire.transport.streams import SlicedByteStream
from tests.cli.kit import serving as serve_process
from tests.runtime.kit import client, create
from tests.server.kit import serving
from tests.testing.conversations import Event, answer, error, on_lane
from tests.transport.kit import Peer as HttpPeer
from tests.watching import WATCH


async def hello(ask: Ask, out: Out) -> None:
    await out.text("hello")


def post(**members: Any) -> bytes:
    body = json.dumps({"model": "m", "input": "hi", "store": False, **members}).encode()
    head = f"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def both() -> None:
    """A turn over each transport."""
    async with serving(hello) as rig:
        peer = await rig.connect()
        await peer.say(create().decode())
        await peer.until()
        await (await rig.http()).ask(post(stream=True))
        await (await rig.http()).ask(post())


async def test_every_stream_is_followed(autojump_clock: MockClock) -> None:
    with watching() as watch:
        await both()
    assert (watch.connections, watch.events, watch.violations) == (2, 18, [])
    watch.check()
    await both()
    assert watch.connections == 2, "it ends with its block"


async def test_what_is_not_legal_is_told_with_its_rule(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Violation] = []
    put_due = Window.put_due

    def skipping(window: Window, due: deque[Due]) -> bool:
        window.next_number += window.next_number == 2
        return put_due(window, due)

    monkeypatch.setattr(Window, "put_due", skipping)
    with watching(Watch(told.append)) as watch:
        await both()
    assert [(violation.rule, violation.where) for violation in told] == [
        ("sequence", "WebSocket of memory:client-0"),
        ("sequence", "POST /v1/responses"),
    ]
    assert told[0].events[-1].startswith('{"type":"response.output_item.added","sequence_number":3')
    with pytest.raises(
        Broken, match=r"not legal\nsequence: .* has '3' where 2 comes next \(WebSocket of memory:client-0\)"
    ) as broken:
        watch.check()
    assert list(broken.value.violations) == told
    watch.check()


def watched(watch: Watch) -> tuple[_WatchedStream, Callable[[Sequence[Event]], None]]:
    """A connection, and how to say something on it, cut anywhere."""
    ours, _ = memory_stream_pair()
    stream = _WatchedStream(SlicedByteStream(ours, slice_bytes=100), watch, "here")
    stream._hear(b"HTTP/1.1 101 Switching Protocols\r\n")
    stream._hear(b"\r\n")

    def say(events: Sequence[Event]) -> None:
        data = b"".join(server_frame(json.dumps(event).encode()) for event in events)
        for start in range(0, len(data), 100):
            stream._hear(data[start : start + 100])

    return stream, say


FIRST, SECOND = answer("resp_1"), answer("resp_2")


@pytest.mark.parametrize(
    ("frames", "rule"),
    [
        (b"\x81\x01x", "shape"),
        (b"\x81\x02[]", "shape"),
        (b"\xff\xff", "frame"),
        (server_frame(json.dumps(FIRST[1]).encode()), "order"),
        (server_frame(b'{"type":"response.done","sequence_number":0}'), "unknown"),
    ],
)
def test_one_fault_is_told_once(frames: bytes, rule: str) -> None:
    watch = Watch()
    stream, say = watched(watch)
    say(FIRST)
    stream._hear(frames)
    stream._hear(frames)
    say(FIRST[3:])
    assert [violation.rule for violation in watch.violations] == [rule]
    watch.clear()
    watch.check()


def welcome(*, resumed: bool = False, token: str = "t") -> Event:
    session = {"token": token, "within": 30}
    return {"type": "agentwire:welcome", "extensions": ["sessions"], "resumed": resumed, "session": session}


@pytest.mark.parametrize("again", range(len(FIRST) + 1))
def test_a_session_goes_on_where_the_client_says(again: int) -> None:
    watch = Watch()
    _, first = watched(watch)
    first([welcome(), *FIRST[:5], *(on_lane(event, "b") for event in FIRST)])
    _, second = watched(watch)
    second([welcome(resumed=True), *FIRST[min(again, 5) :], *SECOND])
    _, third = watched(watch)
    third([welcome(resumed=True), *SECOND[again:], *SECOND])
    watch.check()


@pytest.mark.parametrize(
    ("resumed", "rule"),
    [
        ([*FIRST[3:5], FIRST[6]], "sequence"),
        ([FIRST[3], FIRST[5]], "sequence"),
        (FIRST[6:], "sequence"),
        ([*FIRST[4:], *FIRST[4:]], "order"),
    ],
)
def test_a_session_that_loses_or_changes_an_event_is_told(resumed: Sequence[Event], rule: str) -> None:
    watch = Watch()
    _, first = watched(watch)
    first([welcome(), *FIRST[:5]])
    _, second = watched(watch)
    second([welcome(resumed=True), *resumed])
    assert [violation.rule for violation in watch.violations] == [rule]


def test_replies_of_a_session_are_told_again_beside_its_lanes() -> None:
    watch = Watch()
    replies = [{**error("invalid_json", 400, sequence_number=0), "agentwire:reply": number} for number in (1, 2)]
    _, first = watched(watch)
    first([welcome(), *FIRST[:3], replies[0], *FIRST[3:5]])
    _, second = watched(watch)
    second([welcome(resumed=True), replies[0], *FIRST[4:], replies[1]])
    watch.check()
    _, third = watched(watch)
    third([welcome(resumed=True), {**replies[0], "status": 401}])
    assert [violation.rule for violation in watch.violations] == ["sequence"]


def test_a_response_of_a_session_goes_on_as_an_event_stream() -> None:
    watch = Watch()
    _, say = watched(watch)
    say([welcome(), *FIRST, *SECOND[:5], *(on_lane(event, "b") for event in FIRST)])
    for events, broken in ((SECOND[5:], 0), (SECOND[6:], 1)):
        stream = _EventStream(watch, "GET", "/v1/responses/resp_2?stream=true&starting_after=4")
        stream.feed(sse(events))
        stream.finish()
        assert len(watch.violations) == broken


def test_a_session_that_nobody_knows_begins_anew() -> None:
    watch = Watch()
    _, say = watched(watch)
    say([welcome(resumed=True, token="other"), *FIRST, *SECOND])
    watch.check()


def sse(events: Sequence[Event]) -> bytes:
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def background(events: Sequence[Event]) -> list[Event]:
    return [
        {**event, "response": {**event["response"], "background": True}} if "response" in event else event
        for event in events
    ]


@pytest.mark.parametrize("after", range(len(FIRST)))
def test_an_event_stream_may_begin_in_the_middle(after: int) -> None:
    watch = Watch()
    events = background(FIRST)
    whole = _EventStream(watch, "POST", "/v1/responses")
    whole.feed(sse(events))
    whole.finish()
    rest = _EventStream(watch, "GET", f"/v1/responses/resp_1?stream=true&starting_after={after}")
    rest.feed(sse(events[after + 1 :]) + b"data: [DONE]\n\n")
    rest.finish()
    watch.check()
    wrong = _EventStream(watch, "GET", f"/v1/responses/resp_1?stream=true&starting_after={after}")
    wrong.feed(sse(events[after:]))
    assert len(watch.violations) == 1
    unknown = _EventStream(watch, "GET", f"/v1/responses/resp_x?stream=true&starting_after={after}")
    unknown.feed(sse(events[after:]))
    unknown.finish()
    assert len(watch.violations) == 1, "there is nothing to judge it by"


def test_an_event_stream_comes_to_its_end() -> None:
    watch = Watch()
    stream = _EventStream(watch, "POST", "/v1/responses")
    stream.feed(sse(FIRST[:-1]))
    stream.finish()
    with pytest.raises(Broken, match="unfinished"):
        watch.check()


async def test_a_watched_stream_is_a_stream_all_the_same() -> None:
    ours, theirs = memory_stream_pair()
    stream = _WatchedStream(SlicedByteStream(ours, slice_bytes=100, peer="them"), Watch(), "here")
    assert stream.peer == "them"
    await stream.send_all(b"HTTP/1.1 101\r\n\r\n")
    await stream.wait_send_all_might_not_block()
    assert stream.send_nowait(b"x") == 0
    assert await stream.wait_send(b"\x81\x00" * 100) == 100
    await theirs.send_all(b"back")
    assert await stream.receive_some(10) == b"back"
    await stream.send_eof()
    await stream.aclose()
    assert (await theirs.receive_some()).startswith(b"HTTP/1.1 101")


async def test_this_test_is_watched_and_so_are_wires_in_memory(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = WATCH.events
    async with client(hello) as session:
        await session.wire.ask()
    await both()
    assert WATCH.events == before + 9 + 18
    WATCH.check()
    monkeypatch.setattr(Window, "put_later", lambda *_: None)
    async with client(hello) as session:
        session.wire.say(create())
        await session.wire.until()
    assert [violation.rule for violation in WATCH.violations] == ["order"]
    WATCH.clear()


TESTS = """
import pytest
import trio

import agentwire
from agentwire.runtime.window import Window
from agentwire.pytest_plugin import wire_watch


async def hello(ask, out):
    await out.text("hello")


async def talk():
    async with trio.open_nursery() as nursery:
        server = await nursery.start(agentwire.serve, hello)
        async with agentwire.connect(server.url) as client:
            await client.respond("hi", store=False)
        nursery.cancel_scope.cancel(reason="the test is over")


async def test_legal(wire_watch):
    await talk()
    assert wire_watch.events == 10  # a welcome and the nine of a turn


async def test_illegal(wire_watch, monkeypatch):
    put = Window.put_later
    monkeypatch.setattr(Window, "put_later", lambda window, make, *about: put(window, lambda: [make()[0]] * 2, *about))
    with pytest.raises(ExceptionGroup):  # the client notices, too
        await talk()
"""


def test_the_fixture_fails_a_test_with_the_name_of_the_rule(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed, 1 error" in ran.stdout, ran.stdout
    assert "order: response.created cannot come" in ran.stdout


BROKEN_ENGINE = """
from agentwire.runtime.window import Window

put = Window.put_later
Window.put_later = lambda window, make, *about: put(window, lambda: [make()[0]] * 2, *about)


async def engine(ask, out):
    await out.text("hello")
"""


async def talk_to_a_broken_server(folder: Path) -> None:
    async with serve_process("--port", "0", "--engine", "broken:engine", cwd=folder) as server:
        stream = await trio.open_tcp_stream("127.0.0.1", urlsplit(server.where["http"]).port or 0)
        async with stream:
            await HttpPeer(stream).ask(post(stream=True))


@pytest.mark.socket
async def test_servers_in_processes_of_their_own_are_watched_too(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN_ENGINE)
    with pytest.raises(AssertionError, match=r"order: response\.created cannot come .* \(POST /v1/responses\)"):
        await talk_to_a_broken_server(tmp_path)
