"""How connections end: with which code, and what each end does to the turns that run, with and without a session."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Out
from tests.runtime.kit import check
from tests.server.kit import Closed, Peer, Refused, Rig, cut_now, serving
from tests.server.test_extensions import come_back, hello
from tests.server.test_http_door import parse_sse

LIMITS = Limits(message_bytes=5000, connection_age=100, drain=10, ping_timeout=1e9, connection_idle=50)


@attrs.define
class Engine:
    """One that says something and then waits; what became of that."""

    principal: str = ""
    cancelled: list[str] = attrs.field(factory=list)
    finished: int = 0
    lasts: float = 1e9

    async def __call__(self, ask: Ask, out: Out) -> None:
        self.principal = ask.principal
        await out.text("begun")
        try:
            await trio.sleep(self.lasts)
            await out.text("done")
            self.finished += 1
        except trio.Cancelled as cancelled:
            self.cancelled.append(str(cancelled))
            raise


@attrs.frozen
class Scene:
    """A server, its engine, and a client with a turn that runs."""

    rig: Rig
    engine: Engine
    peer: Peer


End = Callable[[Scene], Awaitable[Closed]]


async def too_large(scene: Scene) -> Closed:
    await scene.peer.say("x" * 5001)
    return await scene.peer.read_on()


async def no_text(scene: Scene) -> Closed:
    await scene.peer.stream.send_all(b"\x81\x82\0\0\0\0\xff\xfe")
    return await scene.peer.read_on()


async def no_frame(scene: Scene) -> Closed:
    await scene.peer.stream.send_all(b"\xf1\x80\0\0\0\0")
    return await scene.peer.read_on()


async def goes_away(scene: Scene) -> Closed:
    return await scene.peer.close(1001, "moving")


async def with_a_code_of_its_own(scene: Scene) -> Closed:
    return await scene.peer.close(3000)


async def without_a_code(scene: Scene) -> Closed:
    await scene.peer.stream.send_all(b"\x88\x80\0\0\0\0")
    return await scene.peer.read_on()


async def vanishes(scene: Scene) -> Closed:
    cut_now(scene.rig.net, "reset")
    return await scene.peer.read_on()


async def says_goodbye(scene: Scene) -> Closed:
    return await scene.peer.close(1000)


async def too_old(scene: Scene) -> Closed:
    return await scene.peer.read_on()


async def drained(scene: Scene) -> Closed:
    scene.rig.nursery.start_soon(scene.rig.server.drain)
    return await scene.peer.read_on()


async def revoked(scene: Scene) -> Closed:
    scene.rig.nursery.start_soon(scene.rig.server.revoke, scene.engine.principal)
    return await scene.peer.read_on()


async def broken(scene: Scene) -> Closed:
    (session,) = scene.rig.server._sockets.sessions

    async def fail() -> None:
        raise RuntimeError("our own fault")

    assert session._nursery is not None
    session._nursery.start_soon(fail)
    return await scene.peer.read_on()


ENDS: dict[str, tuple[End, int, str, str]] = {
    "a message over message_bytes": (too_large, 1009, "cancelled", "waits"),
    "a text message is not UTF-8": (no_text, 1007, "cancelled", "waits"),
    "the framing is broken": (no_frame, 1002, "cancelled", "waits"),
    "the client closes with 1001": (goes_away, 1001, "cancelled", "waits"),
    "the client closes with 3000": (with_a_code_of_its_own, 3000, "cancelled", "waits"),
    "the client closes without a code": (without_a_code, 1005, "cancelled", "waits"),
    "the client vanishes": (vanishes, 1006, "cancelled", "waits"),
    "the client closes with 1000": (says_goodbye, 1000, "cancelled", "cancelled"),
    "the connection reaches connection_age": (too_old, 1001, "cancelled", "waits"),
    "the server drains": (drained, 1012, "cancelled", "cancelled"),
    "access is revoked": (revoked, 1008, "cancelled", "cancelled"),
    "the server fails": (broken, 1011, "cancelled", "cancelled"),
}
"""What happens: the code, and the fate of a turn that does not finish, without and with a session."""


@pytest.mark.parametrize("sessions", [False, True], ids=["plain", "session"])
@pytest.mark.parametrize("case", ENDS)
async def test_each_end_has_its_code_and_its_effect(case: str, sessions: bool, autojump_clock: MockClock) -> None:
    end, code, plain, session_fate = ENDS[case]
    engine = Engine()
    async with serving(engine, limits=LIMITS, keys=["key"]) as rig:
        authorization = [("authorization", "Bearer key")]
        peer = await rig.connect(headers=authorization)
        session = None
        if sessions:
            await peer.say(hello())
            session = await peer.receive()
        await peer.create()
        await peer.until("response.output_text.delta")
        closed = await end(Scene(rig, engine, peer))
        assert closed.code == code
        await trio.aclose_forcefully(peer.stream)
        await trio.sleep(0.1)
        if (session_fate if sessions else plain) == "cancelled":
            assert len(engine.cancelled) == 1
            assert "reason" in engine.cancelled[0]
            await rig.gone()
            return
        assert engine.cancelled == []
        assert session is not None
        back = await rig.connect(headers=authorization)
        token = {"token": session["session"]["token"]}
        await back.say(hello(session=token))
        assert (await back.receive())["resumed"]
        await back.until("response.output_text.delta")


@pytest.mark.parametrize("case", ["the connection reaches connection_age", "the server drains"])
async def test_a_turn_that_finishes_in_the_grace_is_told_to_its_end(case: str, autojump_clock: MockClock) -> None:
    end, code, *_ = ENDS[case]
    engine = Engine(lasts=105 if end is too_old else 5)
    async with serving(engine, limits=LIMITS) as rig:
        peer = await rig.connect()
        await peer.create()
        await peer.until("response.output_text.delta")
        closed = await end(Scene(rig, engine, peer))
        assert closed.code == code
        assert (engine.finished, engine.cancelled) == (1, [])
        assert peer.events[-1]["type"] == "response.completed"


async def test_at_its_age_a_connection_says_so_and_takes_no_more_requests(autojump_clock: MockClock) -> None:
    """The error event first, then nothing new, then the grace, then 1001."""
    async with serving(Engine(), limits=LIMITS) as rig:
        begun = trio.current_time()
        peer = await rig.connect()
        await peer.create()
        await peer.until("error")
        said = peer.events[-1]
        assert (said["status"], said["error"]["code"]) == (400, "websocket_connection_limit_reached")
        assert "stream_id" not in said
        assert begun + 100 <= trio.current_time() <= begun + 103
        await peer.create(stream_id="late")
        refused = await peer.receive()
        assert (refused["error"]["code"], refused["stream_id"]) == (said["error"]["code"], "late")
        assert (await peer.read_on()).code == 1001
        assert begun + 110 <= trio.current_time() <= begun + 113


async def test_who_neither_asks_nor_runs_anything_is_closed_as_idle(autojump_clock: MockClock) -> None:
    limits = Limits(connection_idle=30, ping_timeout=1e9)
    async with serving(Engine(lasts=100), limits=limits) as rig:
        busy, idle, chatty = [await rig.connect() for _ in range(3)]
        await busy.create()
        begun = trio.current_time()
        for _ in range(5):
            await chatty.say("{}")
            await trio.sleep(20)
        closed = await idle.read_on()
        assert (closed.code, closed.reason) == (1001, "idle for 30 s")
        await busy.until()
        assert (await busy.read_on()).code == 1001
        assert 130 <= trio.current_time() - begun <= 135
        assert (await chatty.read_on()).code == 1001
        await wait_all_tasks_blocked()
        assert rig.server.statistics().ended == {"idle": 3}


async def test_no_connection_is_idle_unless_somebody_says_when(autojump_clock: MockClock) -> None:
    async with serving(Engine(), limits=Limits(ping_timeout=1e9, connection_age=1e9)) as rig:
        peer = await rig.connect()
        with trio.move_on_after(1e4):
            await peer.receive()
        assert rig.server.statistics().connections == 1


async def test_one_more_than_the_server_takes_is_refused_before_the_upgrade(autojump_clock: MockClock) -> None:
    """An overloaded server says so in HTTP, where clients look for it: 1013 is never sent."""
    async with serving(Engine(), limits=Limits(connections=1)) as rig:
        await rig.connect()
        with pytest.raises(Refused) as caught:
            await rig.connect()
        assert (caught.value.status, caught.value.headers["retry-after"]) == (503, "5")


async def test_what_was_said_in_a_session_before_it_was_too_old_is_found_again(autojump_clock: MockClock) -> None:
    engine = Engine(lasts=130)
    async with serving(engine, limits=LIMITS) as rig:
        peer = await rig.connect()
        await peer.say(hello())
        session = await peer.receive()
        await peer.create()
        assert (await peer.read_on()).code == 1001
        await trio.sleep(30)
        await wait_all_tasks_blocked()
        assert engine.finished == 1
        back, again = await come_back(rig, session, peer.events)
        assert again["resumed"]
        await back.until()
        assert json.dumps(back.events[-1]).count("begundone") > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_revoked_a_request_over_http_fails(stream: bool, autojump_clock: MockClock) -> None:
    engine = Engine()
    async with serving(engine, keys=["key"]) as rig:
        body = json.dumps({"model": "test", "input": "hi", "stream": stream})
        http = await rig.http()
        await http.send(
            b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nauthorization: Bearer key\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body.encode())
        )
        await wait_all_tasks_blocked()
        await rig.server.revoke(engine.principal)
        reply = await http.reply("POST")
        assert "not accepted any more" in engine.cancelled[0]
        if stream:
            events = parse_sse(reply.body)
            check(events)
            assert events[-1]["response"]["error"]["code"] == "invalid_api_key"
        else:
            assert (reply.status, json.loads(reply.body)["error"]["code"]) == (401, "invalid_api_key")
