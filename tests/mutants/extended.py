"""What a server has beyond the protocol, and what it does when its own parts fail, as seen on the bare wire.

The sessions, cancellations and announced ends of docs/topics/extensions.md, sentence by sentence; a store that cannot
be read, an engine that breaks a rule, settings that are too large for a window.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import pytest
import trio

from agentwire.engines import Call, Fail, Text, Turn, scripted
from agentwire.engines.scripted import ScriptedEngine
from agentwire.protocol.codec import encode_json
from agentwire.protocol.errors import StoreError
from agentwire.protocol.items import Message
from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Finish, Out, Stored
from agentwire.stores import MemoryStore
from agentwire.testing import Rig, network, open_rig, run
from agentwire.testing.conformance import Peer
from agentwire.testing.conformance.turns import Socket
from agentwire.testing.conformance.wire import Closed

__all__ = ["EXTENDED"]

Event = dict[str, Any]
Program = Callable[[Rig, Peer], Awaitable[None]]

EVERYTHING: Final = ["goaway", "response.cancel", "sessions"]
EXTENDED: Final[dict[str, Callable[[], None]]] = {}


def play(ask: Ask) -> Turn:
    """What the latest message asks for."""
    said = [item.text for item in ask.items if isinstance(item, Message) and item.role == "user"]
    match said[-1].split()[0]:
        case "forever":
            return Turn(Text("x" * 5000, pieces=5000, every=1))
        case "burst":
            return Turn(Text("x" * 150_000, pieces=150))
        case "flood":
            return Turn(Text("x" * 800_000, pieces=800))
        case "fail":
            return Turn(Text("well"), Fail())
        case "loop":
            return Turn(Call("count", {"at": ask.step}))
        case "untidy":
            return Turn(Call("untidy", {"at": ask.step}))
        case "slowly":
            return Turn(Text("x" * 30, pieces=30, every=1))
    return Turn(Text(f"{len(said)} {said[-1][:20]}", pieces=3, every=0.1))


async def count(at: int) -> str:
    """A tool of the server."""
    await trio.lowlevel.checkpoint()
    return str(at)


def extended(**options: Any) -> Callable[[Program], Program]:
    """Note a program, and the server that it runs against."""

    def note(program: Program) -> Program:
        EXTENDED[program.__name__] = partial(_perform, program, options)
        return program

    return note


def _perform(program: Program, options: dict[str, Any]) -> None:
    async def perform() -> None:
        given = {name: value() if isinstance(value, type) else value for name, value in options.items()}
        engine = given.pop("engine", None) or scripted(play)
        net = network(keep=given.pop("keep", True))
        async with open_rig(engine, net=net, **given) as rig:
            with trio.fail_after(8_000):
                await program(rig, Peer("http://localhost/v1", model="m", dial=rig.dial))

    run(perform, seed=1)


def engine_of(rig: Rig) -> ScriptedEngine:
    """The engine, which knows what it was asked."""
    assert isinstance(rig.engine, ScriptedEngine)
    return rig.engine


async def hello(socket: Socket, extensions: list[str] = EVERYTHING, **more: Any) -> Event:
    """Say hello; the answer."""
    await socket.ws.send({"type": "agentwire:hello", "extensions": extensions, **more})
    return await socket.receive()


@asynccontextmanager
async def a_session(peer: Peer, *, within: float = 30) -> AsyncGenerator[tuple[Socket, str]]:
    """A socket with everything, and its token."""
    async with peer.socket() as socket:
        welcome = await hello(socket, within=within)
        assert welcome["type"] == "agentwire:welcome"
        assert welcome["extensions"] == EVERYTHING
        assert welcome["resumed"] is False
        assert (welcome["session"]["within"], welcome["session"]["received"]) == (within, 0)
        yield socket, welcome["session"]["token"]


async def resume(
    socket: Socket, token: str, *lanes: Event, reply: int = 0, extensions: list[str] = EVERYTHING, within: float = 30
) -> Event:
    """Come back to a session."""
    session = {"token": token, "lanes": list(lanes), "reply": reply}
    return await hello(socket, extensions, within=within, session=session)


def seen(event: Event, response_id: str) -> Event:
    """How far a lane got."""
    lane = {"stream_id": event["stream_id"]} if "stream_id" in event else {}
    return {**lane, "response_id": response_id, "sequence_number": event["sequence_number"]}


def is_error(event: Event, code: str, param: str | None = None, *, status: int = 400) -> None:
    """This event is an error with this code, place and status."""
    assert event["type"] == "error", event
    assert event["error"]["code"] == code, event
    assert event["error"].get("param") == param, event
    assert event["status"] == status, event


async def speaking(socket: Socket, content: str, **fields: Any) -> str:
    """Ask for something, and wait for its first words; the response's id."""
    await socket.create(content, **fields)
    lane = fields.get("stream_id")
    (created,) = await socket.until("response.created", lane=lane)
    await socket.until("response.output_text.delta", lane=lane)
    return str(created["response"]["id"])


async def quiet(socket: Socket, seconds: float) -> None:
    """Nothing is said for so long."""
    with trio.move_on_after(seconds):
        event = await socket.receive()
        raise AssertionError(f"something was said: {event}")


# Cancelling


@extended()
async def a_cancelled_response_fails_and_its_lane_goes_on(rig: Rig, peer: Peer) -> None:
    async with peer.socket() as socket:
        await hello(socket, ["response.cancel"])
        parent = (await socket.ask("one", stream_id="a")).completed()
        running = await speaking(socket, "forever", stream_id="a", previous_response_id=parent.id)
        await socket.create("two", stream_id="a", previous_response_id=parent.id)
        await socket.ws.send({"type": "agentwire:response.cancel", "response_id": running})
        told = await socket.until("response.failed", lane="a")
        assert not [event for event in told if event["type"] == "error"]
        assert told[-1]["response"]["error"]["code"] == "agentwire:cancelled"
        assert told[-1]["response"]["error"]["type"] == "cancelled"
        assert told[-1]["response"]["output"][0]["status"] == "incomplete"
        assert (await socket.finish("a")).completed().text == "2 two"
        await socket.ws.send({"type": "agentwire:response.cancel", "response_id": running, "stream_id": "a"})
        event = await socket.receive()
        is_error(event, "agentwire:response_not_running", "response_id")
        assert event["stream_id"] == "a"
        await quiet(socket, 5)
        (await socket.ask("x", stream_id="a", previous_response_id=running)).refused("previous_response_not_found")
    assert [one.reason for one in engine_of(rig).cancelled] == ["The client has cancelled this response."]


@extended()
async def a_response_is_cancelled_before_its_first_word_and_twice(rig: Rig, peer: Peer) -> None:
    async with peer.socket() as socket:
        await hello(socket, ["response.cancel"])
        await socket.create("forever")
        (created,) = await socket.until("response.created")
        for _ in range(2):
            await socket.ws.send({"type": "agentwire:response.cancel", "response_id": created["response"]["id"]})
        told = await socket.until("response.failed")
        assert told[-1]["response"]["error"]["code"] == "agentwire:cancelled"
        with trio.move_on_after(5):
            is_error(await socket.receive(), "agentwire:response_not_running", "response_id")
        assert (await socket.ask("one")).completed().text == "1 one"
        assert [event["type"] for event in socket.events].count("response.failed") == 1


@extended(tools=[count])
async def cancelling_ends_what_runs_beside_the_engine(rig: Rig, peer: Peer) -> None:
    async with peer.socket() as socket:
        await hello(socket, ["response.cancel"])
        running = await speaking(socket, "forever", tools=[])
        await socket.ws.send({"type": "agentwire:response.cancel", "response_id": running})
        await socket.until("response.failed")
        shown = rig.server.statistics()
        assert (shown.running, shown.queued) == (0, 0)


@extended()
async def what_is_being_written_is_written_whole(rig: Rig, peer: Peer) -> None:
    async with peer.socket() as socket:
        await hello(socket, ["response.cancel"])
        running = await speaking(socket, "flood")
        await trio.sleep(5)  # nobody reads, so that a frame is half on its way
        await socket.ws.send({"type": "agentwire:response.cancel", "response_id": running})
        await trio.sleep(5)
        told = await socket.until("response.failed")
        numbers = [event["sequence_number"] for event in told]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert (await socket.ask("one")).completed().text == "1 one"


@extended()
async def who_was_granted_nothing_has_nothing(rig: Rig, peer: Peer) -> None:
    async with peer.socket() as socket:
        running = await speaking(socket, "forever")
        for message in (
            {"type": "agentwire:response.cancel", "response_id": running},
            {"type": "agentwire:made.up", "response_id": running},
        ):
            await socket.ws.send(message)
            errors = [event for event in await socket.until("error") if event["type"] == "error"]
            is_error(errors[0], "unknown_event_type", "type")
            assert "agentwire:reply" not in errors[0]
        await socket.ws.send({"type": "agentwire:hello", "extensions": EVERYTHING})
        is_error((await socket.until("error"))[-1], "agentwire:hello_too_late", "type")
    await rig.gone()


# Sessions


@extended(on_disconnect=None)
async def a_session_goes_on_where_it_was(rig: Rig, peer: Peer) -> None:
    async with peer.socket() as socket:
        async with a_session(peer) as (old, token):
            first = (await old.ask("one", stream_id="a")).completed()
            refused = await old.ask("x", stream_id="b", previous_response_id="resp_none")
            is_error(refused.end, "previous_response_not_found", "previous_response_id")
            assert (refused.end["agentwire:reply"], refused.end["stream_id"]) == (1, "b")
            await old.ws.send({"type": "made.up"})
            is_error(late := await old.receive(), "unknown_event_type", "type")
            assert late["agentwire:reply"] == 2
            running = await speaking(old, "forever")
            last = old.events[-1]
            assert last["type"] == "response.output_text.delta"
            await old.create("two", stream_id="a", previous_response_id=first.id)
            await old.create("x", stream_id="b", previous_response_id="resp_none")
            await trio.sleep(3)
        await trio.sleep(20)
        assert rig.server.statistics().sessions == 2  # the one that waits, and that of the other socket
        place = seen(last, running)
        end = seen(first.end, first.id)
        welcome = await resume(socket, token, place, end, reply=1)
        assert welcome["resumed"] is True
        assert welcome["session"]["received"] == 6
        assert welcome["session"]["token"] == token
        second = (await socket.finish("a")).completed()
        assert second.text == "2 two"
        replies = [event["agentwire:reply"] for event in socket.events if "agentwire:reply" in event]
        while len(replies) < 2:
            event = await socket.receive()
            replies += [event["agentwire:reply"]] if "agentwire:reply" in event else []
        assert replies == [2, 3]
        await socket.until("response.output_text.delta")
        await socket.until("response.output_text.delta")
        deltas = [event for event in socket.events if event["type"] == "response.output_text.delta"]
        numbers = [event["sequence_number"] for event in deltas if "stream_id" not in event]
        assert numbers[0] == last["sequence_number"] + 1
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        await socket.ws.send({"type": "agentwire:response.cancel", "response_id": running})
        assert (await socket.until("response.failed"))[-1]["response"]["id"] == running


@extended()
async def a_session_that_is_not_there_is_a_new_one(rig: Rig, peer: Peer) -> None:
    async with a_session(peer, within=5.5) as (old, token):
        await speaking(old, "forever")
    await trio.sleep(4)
    assert rig.server.statistics().sessions == 1
    await trio.sleep(3)
    assert rig.server.statistics().sessions == 0
    (cancelled,) = engine_of(rig).cancelled
    assert cancelled.reason.startswith("not resumed within 5.5 s ("), cancelled
    async with peer.socket() as socket:
        is_error(await resume(socket, token), "agentwire:session_not_found", "session.token")
        welcome = await socket.receive()
        assert (welcome["type"], welcome["resumed"]) == ("agentwire:welcome", False)
        assert welcome["session"]["token"] != token
        assert (await socket.ask("one")).completed().text == "1 one"


@extended()
async def who_says_goodbye_ends_the_session(rig: Rig, peer: Peer) -> None:
    async with a_session(peer) as (socket, token):
        await speaking(socket, "forever")
        await socket.ws.close(1000)
        await trio.sleep(0.1)
        assert rig.server.statistics().sessions == 0
    async with peer.socket() as other:
        is_error(await resume(other, token), "agentwire:session_not_found", "session.token")
    async with a_session(peer) as (socket, token):
        running = await speaking(socket, "forever")
        last = socket.events[-1]
        await socket.ws.close(1001)
    async with peer.socket() as other:
        assert (await resume(other, token, seen(last, running)))["resumed"] is True
        await other.ws.close(1000)
    await rig.gone()


@extended()
async def who_says_goodbye_without_a_session_ends_everything(rig: Rig, peer: Peer) -> None:
    for code in (1000, 1001):
        async with peer.socket() as socket:
            await speaking(socket, "forever")
            await socket.ws.close(code)
            await trio.sleep(0.1)
            assert rig.server.statistics().sessions == 0
    assert engine_of(rig).running == 0


@extended()
async def a_gap_leaves_the_session_as_it_is(rig: Rig, peer: Peer) -> None:
    async with a_session(peer) as (socket, token):
        running = await speaking(socket, "forever")
        last = socket.events[-1]
    async with peer.socket() as other:
        beyond = {**seen(last, running), "sequence_number": 900}
        is_error(await resume(other, token, beyond), "agentwire:session_gap", "session.lanes")
        assert (await other.receive())["resumed"] is False
    async with peer.socket() as other:
        assert (await resume(other, token, seen(last, running)))["resumed"] is True
        numbers = [(await other.receive())["sequence_number"] for _ in range(5)]
        assert numbers == [last["sequence_number"] + more for more in range(1, 6)]
        await other.ws.close(1000)
    await rig.gone()


@extended()
async def the_old_connection_is_cut_off(rig: Rig, peer: Peer) -> None:
    async with a_session(peer) as (old, token):
        running = await speaking(old, "forever")
        last = old.events[-1]
        async with peer.socket() as new:
            assert (await resume(new, token, seen(last, running)))["resumed"] is True
            await new.until("response.output_text.delta")
            with trio.fail_after(5):
                try:
                    while True:
                        await old.receive()
                except (Closed, trio.BrokenResourceError):
                    pass
            with suppress(Closed, trio.BrokenResourceError, trio.ClosedResourceError):
                await old.create("never heard", stream_id="z")
            await trio.sleep(5)
            assert not [event for event in new.events if event.get("stream_id") == "z"]
            assert rig.server.statistics().sessions == 1
            async with peer.socket() as newest:
                last = new.events[-1]
                assert (await resume(newest, token, seen(last, running), extensions=["sessions"]))["resumed"] is True
                await newest.ws.send({"type": "agentwire:response.cancel", "response_id": running})
                errors = [event for event in await newest.until("error") if event["type"] == "error"]
                is_error(errors[0], "unknown_event_type", "type")
                await newest.ws.close(1000)
    await rig.gone()


@extended()
async def a_session_that_came_back_is_not_given_up(rig: Rig, peer: Peer) -> None:
    async with a_session(peer, within=10) as (old, token):
        running = await speaking(old, "forever")
        last = old.events[-1]
    await trio.sleep(8)
    async with peer.socket() as new:
        assert (await resume(new, token, seen(last, running), within=10))["resumed"] is True
        await trio.sleep(15)
        assert rig.server.statistics().running == 1
        await new.ws.send({"type": "agentwire:response.cancel", "response_id": running})
        told = await new.until("response.failed")
        assert told[0]["sequence_number"] == last["sequence_number"] + 1
        last = told[-1]
    await trio.sleep(8)
    async with peer.socket() as new:
        assert (await resume(new, token, seen(last, running), within=10))["resumed"] is True
        await quiet(new, 15)
        assert (await new.ask("one")).completed().text == "1 one"


@extended()
async def a_refusal_is_told_again(rig: Rig, peer: Peer) -> None:
    async with a_session(peer) as (old, token):
        await old.create("x", previous_response_id="resp_none")
        await old.create("y", stream_id="bad name!")
        await old.ws.send("no JSON")
        await trio.sleep(1)
    async with peer.socket() as new:
        welcome = await resume(new, token)
        assert welcome["session"]["received"] == 3
        events = [await new.receive() for _ in range(3)]
        assert sorted(event["agentwire:reply"] for event in events) == [1, 2, 3]
        codes = {event["error"]["code"] for event in events}
        assert {"previous_response_not_found", "invalid_stream_id"} <= codes
        assert not any("stream_id" in event for event in events)
    async with peer.socket() as new:
        await resume(new, token, reply=2)
        assert (await new.receive())["agentwire:reply"] == 3
        await quiet(new, 5)


@extended()
async def an_end_is_announced(rig: Rig, peer: Peer) -> None:
    async with a_session(peer) as (socket, _), peer.socket() as plain:
        await speaking(socket, "forever")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.drain)
            (told,) = [event for event in await socket.until("agentwire:goaway") if "reason" in event]
            assert told["reason"] == "drain"
            assert 0 < told["seconds"] <= rig.limits.drain
            assert "agentwire:reply" not in told
            await socket.create("more", stream_id="b")
            event = (await socket.until("error", lane="b"))[-1]
            assert event["status"] == 503, event
            with pytest.raises(Closed) as closed:
                await plain.receive()
            assert closed.value.code == 1012
            with suppress(Closed):
                while True:
                    await socket.receive()


@extended(limits=Limits(connection_age=300, goaway_notice=60))
async def an_age_is_announced(rig: Rig, peer: Peer) -> None:
    async with a_session(peer) as (socket, _):
        told = await socket.receive()
        assert told["reason"] == "connection_limit"
        assert 50 < told["seconds"] <= 60


@extended()
async def a_response_is_read_beside_its_session(rig: Rig, peer: Peer) -> None:
    async with a_session(peer) as (socket, token):
        whole = (await socket.ask("one")).completed()
        head = [("agentwire-session", token)]
        for after in (-1, 0, 3):
            query = f"{whole.id}?stream=true" + (f"&starting_after={after}" if after >= 0 else "")
            reply = await peer.http("GET", query, headers=head)
            assert reply.status == 200, reply
            told = [json.loads(line[6:]) for line in reply.body.splitlines() if line.startswith(b"data: {")]
            assert told == [event for event in whole.events if event["sequence_number"] > after]
        assert (await peer.http("GET", "resp_none?stream=true", headers=head)).status == 404
        last = whole.end["sequence_number"]
        assert (await peer.http("GET", f"{whole.id}?stream=true&starting_after={last}", headers=head)).status == 200
        assert (await peer.http("GET", f"{whole.id}?stream=true&starting_after={last + 1}", headers=head)).status == 404
        running = await speaking(socket, "forever")
        last = socket.events[-1]
    # without a connection, who reads takes its place
    await trio.sleep(2)
    async with peer.socket() as new:
        assert (await resume(new, token, seen(last, running)))["resumed"] is True
        assert (await new.receive())["sequence_number"] == last["sequence_number"] + 1
        await new.ws.close(1000)


@extended(limits=Limits(replay_bytes=20_000))
async def what_is_kept_has_a_bound(rig: Rig, peer: Peer) -> None:
    async with a_session(peer) as (socket, token):
        first = (await socket.ask("one")).completed()
        for _ in range(8):
            latest = (await socket.ask("two")).completed()
    async with peer.socket() as new:
        is_error(await resume(new, token, seen(first.events[2], first.id)), "agentwire:session_gap", "session.lanes")
    async with peer.socket() as new:
        assert (await resume(new, token, seen(latest.end, latest.id)))["resumed"] is True


@extended(limits=Limits(reply_bytes=3000))
async def who_asks_and_never_reads_is_cut_off(rig: Rig, peer: Peer) -> None:
    for granted in ([], ["sessions"]):
        async with peer.socket() as socket:
            if granted:
                await hello(socket, granted, within=5)
            await socket.usable()
            await say_until_cut(rig, socket, {"type": "made.up" + "p" * 60})
        await trio.sleep(10)
    await rig.gone()


@extended(limits=Limits(reply_bytes=3000, window_bytes=20_000), keep=False)  # who is cut off has no terminal event
async def who_steers_and_never_reads_is_cut_off(rig: Rig, peer: Peer) -> None:
    async with peer.socket() as socket:
        running = await speaking(socket, "flood")
        await trio.sleep(5)
        steer = {"type": "response.steer", "previous_response_id": running, "input": []}
        await say_until_cut(rig, socket, steer)
    await rig.gone()


@extended()
async def answers_come_at_once(rig: Rig, peer: Peer) -> None:
    """Nothing that can be said waits for something else: not a refusal, not what was missed, not a short turn."""
    messages: list[Event] = [
        {"type": "made.up"},
        {"type": "response.steer", "previous_response_id": "resp_none", "input": "x"},
        {"type": "response.create", "model": "m", "input": "x", "stream_id": "bad name!"},
        {"type": "response.create", "model": "m", "input": "x", "previous_response_id": "resp_none"},
    ]
    async with peer.socket() as plain, a_session(peer) as (old, token):
        for socket in (plain, old):
            await socket.usable()
            for message in messages:
                await trio.sleep(3)
                await socket.ws.send(message)
                with trio.fail_after(0.5):
                    await socket.receive()
            await trio.sleep(3)
            with trio.fail_after(0.5):
                (await socket.ask("one")).completed()
        running = await speaking(old, "forever", stream_id="z")
        last = old.events[-1]
        await old.ws.send({"type": "made.up"})
        await old.create("one", stream_id="y")
        await trio.sleep(5)
    await trio.sleep(3)
    async with peer.socket() as new:
        assert (await resume(new, token, seen(last, running), reply=4))["resumed"] is True
        wanted = {"z", "y", None}
        with trio.fail_after(0.5):
            while wanted:
                event = await new.receive()
                wanted.discard(event.get("stream_id"))
        await new.ws.close(1000)
    await rig.gone()


async def say_until_cut(rig: Rig, socket: Socket, message: Event) -> None:
    """Say the same until nobody hears it any more, which must be soon."""
    assert rig.server.statistics().connections == 1
    for _ in range(5_000):
        try:
            await socket.ws.send(message)
        except (Closed, trio.BrokenResourceError, trio.ClosedResourceError):
            return
        if not rig.server.statistics().connections:
            return
    raise AssertionError("whatever is asked is kept for somebody who does not read")


@extended(limits=Limits(window_bytes=1_000_000))
async def what_is_said_of_an_ended_response_does_not_overtake_it(rig: Rig, peer: Peer) -> None:
    async with peer.socket() as socket:
        await socket.create("burst")
        (created,) = await socket.until("response.created")
        wanted = created["response"]["id"]
        await trio.sleep(10)  # it has ended, and most of it waits to be read
        for message in (
            {"type": "response.steer", "previous_response_id": wanted, "input": "More."},
            {"type": "response.inject", "response_id": wanted, "input": ["x"]},
            {"type": "response.steer", "previous_response_id": "resp_none", "input": "More."},
        ):
            await socket.ws.send(message)
        await trio.sleep(10)
        told = await socket.until("response.inject.failed")
        kinds = [event["type"] for event in told]
        assert kinds.index("response.completed") < kinds.index("response.inject.failed")
        about = {event["steer"]["previous_response_id"]: at for at, event in enumerate(told) if "steer" in event}
        assert kinds.index("response.completed") < about[wanted]
        assert "resp_none" not in about or about["resp_none"] != about[wanted]


@extended()
async def what_follows_a_steer_begins_like_any_response(rig: Rig, peer: Peer) -> None:
    async with peer.socket() as socket:
        await socket.create("slowly")
        (created,) = await socket.until("response.created")
        steer = {"type": "response.steer", "previous_response_id": created["response"]["id"], "input": "More."}
        await socket.ws.send(steer)
        (*_, successor) = await socket.until("response.created")
        begun = await socket.receive()
        assert (begun["type"], begun["sequence_number"]) == ("response.in_progress", 1)
        assert begun["response"] == successor["response"]


@extended(limits=Limits(detached_sessions=2, detached_each=2))
async def few_sessions_wait(rig: Rig, peer: Peer) -> None:
    tokens, places = [], []
    for name in ("one", "forever", "two", "three"):
        async with a_session(peer, within=60) as (socket, token):
            if name == "forever":
                running = await speaking(socket, name)
                places.append([seen(socket.events[-1], running)])
            else:
                turn = (await socket.ask(name)).completed()
                places.append([seen(turn.end, turn.id)])
        tokens.append(token)
        await trio.sleep(1)
    assert rig.server.statistics().detached == 2
    found = []
    for token, place in zip(tokens, places, strict=True):
        async with peer.socket() as socket:
            answer = await resume(socket, token, *place)
            found.append(answer["type"] == "agentwire:welcome")
            await socket.ws.close(1000)
    assert found == [False, True, False, True], "one that works goes last, then the one that waits since the latest"


# What is its own fault


class Failing(MemoryStore):
    """Cannot write, or cannot read."""

    async def put(self, principal: str, stored: Stored) -> None:
        """Fails where the response is to say so."""
        if b"unwritable" in stored.response:
            raise StoreError("the disk is full")
        await super().put(principal, stored)

    async def get(self, principal: str, response_id: str) -> Stored | None:
        """Fails for one name."""
        if response_id == "resp_unreadable":
            raise StoreError("the disk is gone")
        if response_id == "resp_crash":
            raise RuntimeError("a bug")
        return await super().get(principal, response_id)


class Literal(MemoryStore):
    """Reads the JSON that it is given, as one does that keeps it."""

    async def put(self, principal: str, stored: Stored) -> None:
        """Fails where it is not what has been said."""
        given, made = stored.input or encode_json(stored.node.input), stored.output or encode_json(stored.node.output)
        assert given == encode_json(stored.node.input)
        assert json.loads(made) == json.loads(stored.response)["output"]
        await super().put(principal, stored)


@extended(store=Literal, limits=Limits(slice_bytes=4096))
async def json_for_the_store_is_what_was_said(rig: Rig, peer: Peer) -> None:
    async with peer.socket() as socket:
        first = (await socket.ask("one", store=True)).completed()
        wide = (await socket.ask("two", store=True, previous_response_id=first.id, instructions="x" * 5000)).completed()
        (await socket.ask("three", store=True, previous_response_id=wide.id)).completed()


@extended(store=Failing)
async def a_store_that_fails_costs_one_turn(rig: Rig, peer: Peer) -> None:
    async with peer.socket() as socket:
        parent = (await socket.ask("one", stream_id="a")).completed()
        for name in ("resp_unreadable", "resp_crash"):
            turn = await socket.ask("x", stream_id="a", previous_response_id=name)
            is_error(turn.end, "server_error", status=500)
            assert turn.end["stream_id"] == "a"
            assert turn.end["sequence_number"] == 0
        again = (await socket.ask("two", stream_id="a", previous_response_id=parent.id)).completed()
        turn = await socket.ask("unwritable", stream_id="a", store=True, previous_response_id=again.id)
        kinds = turn.types
        assert kinds[-2:] == ["error", "response.failed"], kinds
        assert turn.events[-2]["error"]["code"] == "server_error"
        assert turn.events[-2]["status"] == 500
        assert turn.response["status"] == "failed"
        assert turn.response["error"]["code"] == "server_error"
        assert "disk" not in json.dumps(turn.events)
        (await socket.ask("x", stream_id="a", previous_response_id=again.id)).refused("previous_response_not_found")
        assert (await socket.ask("three", stream_id="a")).completed().text == "1 three"
    reply = await peer.http("POST", "", peer.body("unwritable", store=True))
    assert reply.status == 500, reply
    shown = rig.server.statistics()
    assert (shown.running, shown.queued) == (0, 0)


@extended(store=Failing)
async def a_store_that_fails_costs_one_turn_of_a_session(rig: Rig, peer: Peer) -> None:
    async with a_session(peer) as (socket, token):
        turn = await socket.ask("x", stream_id="a", previous_response_id="resp_unreadable")
        is_error(turn.end, "server_error", status=500)
        assert turn.end["agentwire:reply"] == 1
    async with peer.socket() as new:
        assert (await resume(new, token))["resumed"] is True
        assert (await new.receive())["agentwire:reply"] == 1


@extended(tools=[count], limits=Limits(steps=3))
async def steps_have_an_end(rig: Rig, peer: Peer) -> None:
    async with peer.socket() as socket:
        turn = await socket.ask("loop")
        assert turn.types[-2:] == ["error", "response.failed"]
        assert turn.events[-2]["status"] == 500
        assert turn.code == "server_error"
        assert len(engine_of(rig).asks) == 3
        usage = turn.response["usage"]
        assert usage["output_tokens"] > 0
        assert len([item for item in turn.output if item["type"] == "mcp_call"]) == 3
        assert (await socket.ask("one")).completed().text == "1 one"


async def _wilful(ask: Ask, out: Out) -> Finish | None:
    """Never calls what it must call, and fails as it is told."""
    await out.text("no")
    return None


@extended(engine=_wilful)
async def an_engine_that_breaks_a_rule_fails(rig: Rig, peer: Peer) -> None:
    tool = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
    async with peer.socket() as socket:
        turn = await socket.ask("x", tools=[tool], tool_choice="required")
        assert turn.types[-2:] == ["error", "response.failed"]
        assert turn.code == "server_error", turn.code
        assert turn.events[-2]["error"]["message"]
        assert 500 <= turn.events[-2]["status"] < 600
        assert turn.response["error"]["message"] == turn.events[-2]["error"]["message"]
        assert "log" not in turn.response["error"]["message"], "it is told as a crash of the server"


@extended(limits=Limits(window_bytes=20_000))
async def settings_larger_than_a_window_are_told(rig: Rig, peer: Peer) -> None:
    async with peer.socket() as socket:
        turn = (await socket.ask("one", instructions="x" * 30_000)).completed()
        assert turn.types[:2] == ["response.created", "response.in_progress"]
        assert [event["sequence_number"] for event in turn.events] == list(range(len(turn.events)))
        for event in (*turn.events[:2], turn.end):
            assert len(event["response"]["instructions"]) == 30_000


@extended()
async def nothing_is_left_of_what_was_asked(rig: Rig, peer: Peer) -> None:
    async with peer.socket() as socket:
        await socket.ask("fail")
        for lane in ("a", "b"):
            await speaking(socket, "forever", stream_id=lane)
            await socket.create("one", stream_id=lane)
        await trio.sleep(1)
        shown = rig.server.statistics()
        assert (shown.running, shown.queued, shown.sessions, shown.connections) == (2, 2, 1, 1)
    await rig.gone()
    shown = rig.server.statistics()
    assert (shown.running, shown.queued, shown.sessions, shown.connections) == (0, 0, 0, 0)
    assert engine_of(rig).running == 0
