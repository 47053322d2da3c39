"""The extensions on the wire of a whole server: asked for, granted, used; unseen by whoever does not ask."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.engines.script import Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.protocol.limits import Limits
from agentwire.protocol.response import Usage
from agentwire.runtime.contracts import Ask, Finish, Out
from agentwire.runtime.policies import Resume
from agentwire.server import serve
from tests.runtime.kit import Event, check, check_lanes
from tests.server.kit import Peer, Refused, Rig, cut_now, eventually, serving

ALL = ["goaway", "response.cancel", "sessions"]


def hello(**members: Any) -> str:
    return json.dumps({"type": "agentwire:hello", "extensions": ALL, **members})


async def greet(rig: Rig, **members: Any) -> tuple[Peer, Event]:
    """A client that has asked first thing, and what it was told."""
    peer = await rig.connect()
    await peer.say(hello(**members))
    return peer, await peer.receive()


async def come_back(rig: Rig, session: Event, events: Iterable[Event] = (), **members: Any) -> tuple[Peer, Event]:
    """A client that has these events of its session."""
    lanes: dict[str | None, dict[str, Any]] = {}
    reply = 0
    for event in events:
        lane = event.get("stream_id")
        reply = max(reply, event.get("agentwire:reply", 0))
        if "response" in event:
            lanes[lane] = {"response_id": event["response"]["id"]} | ({"stream_id": lane} if lane else {})
        if lane in lanes and "sequence_number" in event and "agentwire:reply" not in event:
            lanes[lane]["sequence_number"] = event["sequence_number"]
    back = {"token": session["session"]["token"], "reply": reply, "lanes": list(lanes.values()), **members}
    return await greet(rig, session=back)


async def hang(ask: Ask, out: Out) -> None:
    await out.text("begun")
    await trio.sleep_forever()


async def drop(rig: Rig, peer: Peer) -> None:
    cut_now(rig.net, "reset")
    await peer.read_on()
    await wait_all_tasks_blocked()


async def nothing_more(peer: Peer) -> bool:
    with trio.move_on_after(1):
        await peer.receive()
        return False
    return True


# Asking


async def test_they_are_announced_to_everybody_and_shown_to_nobody(autojump_clock: MockClock) -> None:
    limits = Limits(connection_age=100, keepalive_interval=1000, ping_timeout=1000)
    async with serving(scripted(lambda ask: Turn(Text("x"))), limits=limits) as rig:
        peer = await rig.connect()
        assert peer.headers["agentwire-extensions"] == "goaway, response.cancel, sessions; within=60"
        await peer.ask()
        await peer.ask(stream_id="a")
        assert (await peer.read_on()).code == 1001
        assert not any("agentwire" in json.dumps(event) for event in peer.events)


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({"resume_within": 5}, "goaway, response.cancel, sessions; within=5"),
        ({"resume_within": 0}, "goaway, response.cancel"),
        ({"extensions": ["goaway"]}, "goaway"),
        ({"extensions": []}, None),
    ],
)
async def test_a_server_says_what_it_permits(
    options: dict[str, Any], header: str | None, autojump_clock: MockClock
) -> None:
    async with serving(hang, **options) as rig:
        peer, welcome = await greet(rig)
        assert peer.headers.get("agentwire-extensions") == header
        announced = [name.partition(";")[0] for name in (header or "").split(", ") if name]
        assert welcome["extensions"] == announced
        assert ("session" in welcome) == ("sessions" in announced)


async def test_an_extension_that_there_is_not_cannot_be_permitted() -> None:
    with pytest.raises(ValueError, match="no extension 'magic'"):
        await serve(hang, extensions=["magic"])


async def test_asked_for_with_the_first_message(autojump_clock: MockClock) -> None:
    async with serving(scripted(Turn(Text("x")))) as rig:
        peer, welcome = await greet(rig, within=30)
        assert welcome["type"] == "agentwire:welcome"
        assert welcome["extensions"] == ALL
        assert (welcome["session"]["within"], welcome["session"]["received"], welcome["resumed"]) == (30, 0, False)
        assert len(bytes.fromhex(welcome["session"]["token"])) == 32
        check_lanes(peer.events)
        await peer.ask()


async def test_asked_for_with_the_upgrade_the_welcome_comes_first(autojump_clock: MockClock) -> None:
    async with serving(scripted(Turn(Text("x")))) as rig:
        peer = await rig.connect(headers=[("agentwire-extensions", "sessions; within=7, goaway")])
        welcome = await peer.receive()
        assert (welcome["extensions"], welcome["session"]["within"]) == (["goaway", "sessions"], 7)
        await peer.say(hello())
        assert (await peer.receive())["error"]["code"] == "agentwire:hello_too_late"
        await peer.ask()


async def test_a_header_that_cannot_be_read_refuses_the_upgrade(autojump_clock: MockClock) -> None:
    async with serving(hang) as rig:
        peer = Peer(await rig.dial())
        with pytest.raises(Refused) as caught:
            await peer.shake_hands(headers=[("agentwire-extensions", "sessions;within=long")])
        assert (caught.value.status, caught.value.error["param"]) == (400, "agentwire-extensions")


async def test_a_hello_must_come_first(autojump_clock: MockClock) -> None:
    async with serving(lambda ask, out: out.text("x")) as rig:
        peer = await rig.connect()
        await peer.ask()
        await peer.say(hello())
        error = (await peer.receive())["error"]
        assert (error["code"], error["param"]) == ("agentwire:hello_too_late", "type")
        await peer.ask()


async def test_a_hello_that_cannot_be_read_is_told_and_grants_nothing(autojump_clock: MockClock) -> None:
    async with serving(lambda ask, out: out.text("x")) as rig:
        peer, answer = await greet(rig, within="long")
        assert (answer["status"], answer["error"]["param"]) == (400, "within")
        await peer.say(hello())
        assert (await peer.receive())["error"]["code"] == "agentwire:hello_too_late"
        await peer.ask()


@pytest.mark.parametrize("first", ["{", '{"type":"agentwire:hello"', '{"type":"agentwire:other"}', "[]", "\x00"])
async def test_any_other_first_message_is_answered_as_ever(first: str, autojump_clock: MockClock) -> None:
    async with serving(lambda ask, out: out.text("x")) as rig:
        peer = await rig.connect()
        await peer.say(first)
        assert (await peer.receive())["status"] == 400
        await peer.ask()


# Cancelling one response


async def test_one_response_is_cancelled_and_the_lane_goes_on(autojump_clock: MockClock) -> None:
    told: list[str] = []

    async def tool() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            told.append(str(cancelled))
            raise

    async def engine(ask: Ask, out: Out) -> Finish:
        await out.text("beg")
        if "hang" in str(ask.items[-1]):
            await out.call("tool", {})
            try:
                await trio.sleep_forever()
            except trio.Cancelled as cancelled:
                told.append(str(cancelled))
                raise
        return Finish(Usage(1, 2))

    async with serving(engine, tools=[tool]) as rig:
        peer, _ = await greet(rig)
        first = (await peer.ask("well", stream_id="a"))[-1]["response"]["id"]
        await peer.create("hang", stream_id="a", previous_response_id=first)
        await peer.create("hang", stream_id="b")
        await wait_all_tasks_blocked()
        start = len(peer.events)
        ids: dict[str, str] = {}
        while len(ids) < 2 or peer.events[-1]["type"] != "response.mcp_call_arguments.done":
            event = await peer.receive()
            if event["type"] == "response.created":
                ids[event["stream_id"]] = event["response"]["id"]
        await peer.say(json.dumps({"type": "agentwire:response.cancel", "response_id": ids["a"]}))
        await peer.until("response.failed")
        mine = [event for event in peer.events[start:] if event["stream_id"] == "a"]
        check(mine)
        assert mine[-1]["response"]["status"] == "failed"
        assert mine[-1]["response"]["error"]["code"] == "agentwire:cancelled"
        assert not any(event["type"] == "error" for event in peer.events)
        assert len(told) == 2
        assert all("the client has cancelled this response" in reason.lower() for reason in told)
        # its lane remembers what it remembered before, and takes the next request
        again = await peer.ask("well", stream_id="a", previous_response_id=first)
        assert again[-1]["type"] == "response.completed"
        assert rig.server.statistics().turns["cancelled"] == 1
        await wait_all_tasks_blocked()
        assert rig.server.statistics().running == 1


@pytest.mark.parametrize(("named", "code"), [
    ({"response_id": "resp_x"}, "agentwire:response_not_running"),
    ({}, "missing_required_parameter"),
    ({"response_id": 7}, "missing_required_parameter"),
])  # fmt: skip
async def test_what_does_not_run_cannot_be_cancelled(
    named: dict[str, Any], code: str, autojump_clock: MockClock
) -> None:
    async with serving(lambda ask, out: out.text("x")) as rig:
        peer, _ = await greet(rig)
        await peer.say(json.dumps({"type": "agentwire:response.cancel", "stream_id": "a", **named}))
        error = await peer.receive()
        assert (error["status"], error["error"]["code"], error["error"]["param"]) == (400, code, "response_id")
        assert error["stream_id"] == "a"


async def test_a_response_that_has_ended_cannot_be_cancelled(autojump_clock: MockClock) -> None:
    async with serving(lambda ask, out: out.text("x")) as rig:
        peer, _ = await greet(rig)
        ended = (await peer.ask())[-1]["response"]["id"]
        await peer.say(json.dumps({"type": "agentwire:response.cancel", "response_id": ended}))
        assert (await peer.receive())["error"]["code"] == "agentwire:response_not_running"


async def test_nobody_cancels_who_did_not_ask_for_it(autojump_clock: MockClock) -> None:
    async with serving(hang) as rig:
        peer = await rig.connect()
        await peer.create()
        response_id = (await peer.receive())["response"]["id"]
        await peer.until("response.output_text.delta")
        await peer.say(json.dumps({"type": "agentwire:response.cancel", "response_id": response_id}))
        error = (await peer.receive())["error"]
        assert (error["code"], error["param"]) == ("unknown_event_type", "type")
        assert rig.server.statistics().running == 1


async def test_cancelling_twice_is_cancelling_once(autojump_clock: MockClock) -> None:
    async def engine(ask: Ask, out: Out) -> None:
        await out.text("begun")
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    async with serving(engine) as rig:
        peer, _ = await greet(rig)
        await peer.create()
        response_id = (await peer.receive())["response"]["id"]
        await peer.until("response.output_text.delta")
        cancel = json.dumps({"type": "agentwire:response.cancel", "response_id": response_id})
        await peer.say(cancel)
        await trio.sleep(1)
        await peer.say(cancel)
        assert [event["type"] for event in await peer.until()].count("error") == 0
        assert peer.events[-1]["type"] == "response.failed"


async def test_a_client_that_reads_nothing_can_cancel_and_then_read(autojump_clock: MockClock) -> None:
    """The engine waits for room; cancelled, it goes, and the end comes once the client reads."""

    async def endless(ask: Ask, out: Out) -> None:
        while True:
            await out.text("x" * 1000)

    async with serving(endless) as rig:
        peer, _ = await greet(rig)
        await peer.create()
        response_id = (await peer.receive())["response"]["id"]
        await wait_all_tasks_blocked()
        await peer.say(json.dumps({"type": "agentwire:response.cancel", "response_id": response_id}))
        await peer.until()
        check([event for event in peer.events if "agentwire" not in event["type"]])
        assert peer.events[-1]["response"]["error"]["code"] == "agentwire:cancelled"


# Sessions


async def test_a_session_is_found_again(autojump_clock: MockClock) -> None:
    """Two lanes run on while their client is away, and it gets the rest of both, each event once."""
    engine = scripted(lambda ask: Turn(Text("abcdefgh", pieces=8, every=1)))
    async with serving(engine) as rig:
        peer, session = await greet(rig)
        for lane in ("a", "b"):
            await peer.create(stream_id=lane)
        while len(peer.events) < 15:
            await peer.receive()
        await drop(rig, peer)
        got = peer.events[1:]
        await trio.sleep(20)
        assert rig.server.statistics().sessions == 1
        peer, again = await come_back(rig, session, got)
        assert (again["resumed"], again["session"]["received"]) == (True, 2)
        assert again["session"]["token"] == session["session"]["token"]
        while sum(event["type"] == "response.completed" for event in peer.events) < 2:
            await peer.receive()
        events = got + peer.events[1:]
        check_lanes(events)
        for lane in ("a", "b"):
            numbers = [event["sequence_number"] for event in events if event["stream_id"] == lane]
            assert numbers == list(range(len(numbers)))
        await peer.ask(stream_id="a", previous_response_id=peer.events[-1]["response"]["id"])
        assert len(engine.asks) == 3


async def test_it_takes_over_from_a_connection_that_seems_alive(autojump_clock: MockClock) -> None:
    async with serving(hang) as rig:
        old, session = await greet(rig)
        await old.create()
        await old.until("response.output_text.delta")
        new, again = await come_back(rig, session, old.events)
        assert again["resumed"]
        assert (await old.read_on()).code == 1006
        assert await nothing_more(new)
        assert rig.server.statistics().running == 1
        assert rig.server.statistics().ended == {"taken over": 1}
        await drop(rig, new)
        assert rig.server.statistics().running == 1


async def test_what_the_old_connection_still_had_to_say_is_not_taken(autojump_clock: MockClock) -> None:
    """Its client has been told how many messages arrived, and sends the others again."""
    async with serving(lambda ask, out: out.text("x")) as rig:
        old, session = await greet(rig)
        await wait_all_tasks_blocked()
        new = await rig.connect()
        token = {"token": session["session"]["token"]}
        await old.create()
        await new.say(hello(session=token))
        taken = (await new.receive())["session"]["received"]
        assert taken in (0, 1)
        if not taken:
            await new.create()
        await new.until()
        assert await nothing_more(new)
        assert rig.server.statistics().turns == {"completed": 1}


@pytest.mark.parametrize("late", [False, True])
async def test_a_token_that_is_not_known_leaves_a_new_session(late: bool, autojump_clock: MockClock) -> None:
    async with serving(lambda ask, out: out.text("x")) as rig:
        peer, session = await greet(rig, within=5)
        await drop(rig, peer)
        if late:
            await trio.sleep(6)
        else:
            session["session"]["token"] = "0" * 64
        peer, answer = await come_back(rig, session)
        assert (answer["status"], answer["error"]["code"]) == (400, "agentwire:session_not_found")
        assert answer["error"]["param"] == "session.token"
        welcome = await peer.receive()
        assert (welcome["type"], welcome["resumed"]) == ("agentwire:welcome", False)
        assert welcome["session"]["token"] != session["session"]["token"]
        await peer.ask()
        await drop(rig, peer)
        peer, answer = await come_back(rig, welcome, peer.events)
        assert answer["resumed"]


async def test_a_session_is_its_principals_alone(autojump_clock: MockClock) -> None:
    async with serving(hang, keys=["one", "two"]) as rig:

        async def connect(key: str) -> Peer:
            return await rig.connect(headers=[("authorization", f"Bearer {key}")])

        peer = await connect("one")
        await peer.say(hello())
        token = (await peer.receive())["session"]["token"]
        await drop(rig, peer)
        answers = []
        for key in ("two", "one"):
            peer = await connect(key)
            await peer.say(hello(session={"token": token}))
            answers.append(await peer.receive())
        assert answers[0]["error"]["code"] == "agentwire:session_not_found"
        assert answers[1]["resumed"]


async def test_a_gap_is_told_and_leaves_the_session_as_it_is(autojump_clock: MockClock) -> None:
    async with serving(lambda ask, out: out.text("x")) as rig:
        peer, session = await greet(rig)
        events = await peer.ask(stream_id="a")
        await drop(rig, peer)
        lanes = [{"stream_id": "a", "response_id": "resp_x", "sequence_number": 3}]
        peer, answer = await come_back(rig, session, lanes=lanes)
        assert (answer["error"]["code"], answer["error"]["param"]) == ("agentwire:session_gap", "session.lanes")
        assert "resp_x" in answer["error"]["message"]
        assert not (await peer.receive())["resumed"]
        await peer.ask()
        peer, answer = await come_back(rig, session, events)
        assert answer["resumed"]


async def test_a_client_that_says_goodbye_ends_its_session(autojump_clock: MockClock) -> None:
    async with serving(hang) as rig:
        peer, session = await greet(rig)
        await peer.create()
        await peer.until("response.output_text.delta")
        await peer.close(1000)
        await rig.gone()
        _, answer = await come_back(rig, session)
        assert answer["error"]["code"] == "agentwire:session_not_found"


async def test_a_client_that_only_goes_away_does_not(autojump_clock: MockClock) -> None:
    async with serving(hang) as rig:
        peer, session = await greet(rig)
        await peer.close(1001)
        assert (await come_back(rig, session))[1]["resumed"]


async def test_without_sessions_a_lost_connection_is_what_the_server_says(autojump_clock: MockClock) -> None:
    async with serving(hang) as rig:
        peer = await rig.connect()
        await peer.say(json.dumps({"type": "agentwire:hello", "extensions": ["goaway"]}))
        assert "session" not in await peer.receive()
        await peer.create()
        await peer.until("response.output_text.delta")
        await drop(rig, peer)
        await rig.gone()


async def test_answers_that_belong_to_no_response_come_once_too(autojump_clock: MockClock) -> None:
    """Refused at once, refused when its turn came, a steer that came too late: wherever the cut, each comes once."""
    async with serving(lambda ask, out: out.text("x")) as rig:
        peer, session = await greet(rig)
        ended = (await peer.ask(stream_id="a"))[-1]["response"]["id"]
        await peer.say("{")
        await peer.create(stream_id="a", previous_response_id="resp_x")
        await peer.say(json.dumps({"type": "response.steer", "previous_response_id": ended, "input": "x"}))
        await peer.create(stream_id="no such name")
        await peer.create(stream_id="b", temperature=9)
        with trio.move_on_after(5):
            while True:
                await peer.receive()
        whole = peer.events[1:]
        replies = [event for event in whole if "agentwire:reply" in event]
        assert [event["agentwire:reply"] for event in replies] == [1, 2, 3, 4, 5]
        assert {event["type"] for event in replies} == {"error", "response.steer.failed"}
        check_lanes(whole)
        for received in range(len(whole) + 1):
            await drop(rig, peer)
            peer, again = await come_back(rig, session, whole[:received])
            assert again["resumed"]
            with trio.move_on_after(1):
                while True:
                    await peer.receive()
            got = whole[:received] + peer.events[1:]
            assert sorted(map(json.dumps, got)) == sorted(map(json.dumps, whole))


async def test_what_becomes_of_steers_comes_once_too(autojump_clock: MockClock) -> None:
    """They waited for a request that is refused: it takes them along, each with a number of its own."""

    async def engine(ask: Ask, out: Out) -> None:
        await out.call("theirs", {})
        await trio.sleep(5)

    async with serving(engine) as rig:
        peer, session = await greet(rig)
        await peer.create(stream_id="a")
        response_id = (await peer.receive())["response"]["id"]
        await peer.until("response.output_item.done")
        for text in ("one", "two"):
            await peer.say(json.dumps({"type": "response.steer", "previous_response_id": response_id, "input": text}))
        await peer.until("response.steer.pending")
        await peer.create("not what is owed", stream_id="a", previous_response_id=response_id)
        with trio.move_on_after(5):
            while True:
                await peer.receive()
        whole = peer.events[1:]
        replies = [(event["type"], event["agentwire:reply"]) for event in whole if "agentwire:reply" in event]
        assert replies == [("error", 1), ("response.steer.failed", 2), ("response.steer.failed", 3)]
        for received in range(len(whole) + 1):
            await drop(rig, peer)
            peer, again = await come_back(rig, session, whole[:received])
            assert again["resumed"]
            with trio.move_on_after(1):
                while True:
                    await peer.receive()
            got = whole[:received] + peer.events[1:]
            assert sorted(map(json.dumps, got)) == sorted(map(json.dumps, whole))


async def test_what_a_client_said_is_counted(autojump_clock: MockClock) -> None:
    async with serving(lambda ask, out: out.text("x")) as rig:
        peer, session = await greet(rig)
        for count in range(1, 4):
            await peer.ask()
            events = peer.events
            await drop(rig, peer)
            peer, again = await come_back(rig, session, events)
            assert again["session"]["received"] == count


async def test_the_time_is_that_of_the_latest_hello(autojump_clock: MockClock) -> None:
    async with serving(hang) as rig:
        peer, session = await greet(rig, within=50)
        await drop(rig, peer)
        await trio.sleep(40)
        peer = await rig.connect()
        await peer.say(hello(within=5, session={"token": session["session"]["token"]}))
        assert (await peer.receive())["session"]["within"] == 5
        await drop(rig, peer)
        await trio.sleep(6)
        await rig.gone()


async def test_a_server_that_lets_everybodys_turns_go_on_grants_sessions_too(autojump_clock: MockClock) -> None:
    async with serving(hang, on_disconnect=Resume(within=5)) as rig:
        peer, session = await greet(rig, within=20)
        await peer.create()
        await peer.until("response.output_text.delta")
        await drop(rig, peer)
        await trio.sleep(15)
        assert (await come_back(rig, session, peer.events))[1]["resumed"]


async def test_sessions_that_wait_are_bounded(autojump_clock: MockClock) -> None:
    """Of each principal and in all; idle ones make room first, then those that have waited longest."""
    limits = Limits(detached_each=2, detached_sessions=3)
    async with serving(hang, keys=["one", "two"], limits=limits) as rig:
        sessions: dict[str, Event] = {}

        async def leave(name: str, key: str, *, busy: bool = True) -> None:
            peer = await rig.connect(headers=[("authorization", f"Bearer {key}")])
            await peer.say(hello())
            sessions[name] = {"key": key, **await peer.receive()}
            if busy:
                await peer.create()
                await peer.until("response.output_text.delta")
            await drop(rig, peer)
            await trio.sleep(1)

        async def there(name: str) -> bool:
            key, token = sessions[name]["key"], sessions[name]["session"]["token"]
            peer = await rig.connect(headers=[("authorization", f"Bearer {key}")])
            await peer.say(hello(session={"token": token}))
            answer = await peer.receive()
            await drop(rig, peer)
            return bool(answer.get("resumed"))

        await leave("busy", "one")
        await leave("idle", "one", busy=False)
        await leave("third of one", "one")  # the idle one makes room
        await leave("of two", "two")
        await leave("one too many", "two")  # three in all: the oldest makes room
        assert rig.server.statistics().detached == 3
        assert [await there(name) for name in sessions] == [False, False, True, True, True]
        assert rig.server.statistics().detached <= 3


async def test_a_session_that_came_back_waits_no_more(autojump_clock: MockClock) -> None:
    """It makes no room for one that waits."""
    async with serving(scripted(lambda ask: Turn(Text("x"))), limits=Limits(detached_sessions=1)) as rig:
        peer, session = await greet(rig)
        await drop(rig, peer)
        back, again = await come_back(rig, session)
        assert again["resumed"]
        other, waits = await greet(rig)
        await drop(rig, other)
        assert rig.server.statistics().detached == 1
        assert (await back.ask())[-1]["type"] == "response.completed"
        assert (await come_back(rig, waits))[1]["resumed"]


# The announced end


async def test_the_end_of_a_connections_time_is_announced(autojump_clock: MockClock) -> None:
    limits = Limits(connection_age=3600, ping_timeout=1e9)
    async with serving(lambda ask, out: out.text("x"), limits=limits) as rig:
        begun = trio.current_time()
        peer, session = await greet(rig)
        away = await peer.receive()
        assert (away["type"], away["reason"]) == ("agentwire:goaway", "connection_limit")
        assert 55 <= away["seconds"] <= 60
        assert begun + 3540 <= trio.current_time() <= begun + 3545
        moved, again = await come_back(rig, session)  # with all that it has
        assert again["resumed"]
        assert (await peer.read_on()).code == 1006
        await trio.sleep(100)
        await moved.ask()


async def test_who_does_not_move_in_time_is_closed_and_may_come_back(autojump_clock: MockClock) -> None:
    """The desk took no more requests on the old connection, and does on the new one."""
    limits = Limits(connection_age=100, drain=10, ping_timeout=1e9)
    async with serving(hang, limits=limits) as rig:
        peer, session = await greet(rig)
        await peer.create()
        closed = await peer.read_on()
        assert (closed.code, closed.reason) == (1001, "connection limit reached")
        codes = [event["error"]["code"] for event in peer.events if event["type"] == "error"]
        assert codes == ["websocket_connection_limit_reached"]
        assert [event["type"] for event in peer.events].count("agentwire:goaway") == 1
        back, again = await come_back(rig, session, peer.events)
        assert again["resumed"]
        await back.create(stream_id="b")
        assert (await back.receive())["type"] == "response.created"


async def test_a_drain_is_announced(autojump_clock: MockClock) -> None:
    async def slow(ask: Ask, out: Out) -> None:
        await trio.sleep(10)
        await out.text("done")

    async with serving(slow, limits=Limits(drain=20)) as rig:
        asked, _ = await greet(rig)
        other = await rig.connect()
        for peer in (asked, other):
            await peer.create()
            await peer.receive()
        rig.nursery.start_soon(rig.server.drain)
        assert [(await peer.read_on()).code for peer in (asked, other)] == [1012, 1012]
        away = [event for event in asked.events if event["type"] == "agentwire:goaway"]
        assert [(event["reason"], event["seconds"]) for event in away] == [("drain", 20)]
        assert asked.events[-1]["type"] == other.events[-1]["type"] == "response.completed"
        assert not any("agentwire" in event["type"] for event in other.events)


async def test_revoked_a_principal_is_put_out_and_kept_out(autojump_clock: MockClock) -> None:
    reasons: list[str] = []
    principals: dict[str, str] = {}

    async def engine(ask: Ask, out: Out) -> None:
        principals[ask.items[-1].text] = ask.principal  # type: ignore[union-attr]
        await out.text("begun")
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            reasons.append(str(cancelled))
            raise

    async with serving(engine, keys=["one", "two"]) as rig:
        peers = {}
        for name, key in (("attached", "one"), ("detached", "one"), ("other", "two")):
            peers[name] = await rig.connect(headers=[("authorization", f"Bearer {key}")])
            await peers[name].say(hello())
            await peers[name].create(name)
            await peers[name].until("response.output_text.delta")
            if name == "detached":
                await drop(rig, peers[name])
        await rig.server.revoke(principals["attached"])
        closed = await peers["attached"].read_on()
        assert (closed.code, closed.reason) == (1008, "access was revoked")
        await eventually(lambda: rig.server.statistics().sessions == 1)
        assert len(reasons) == 2
        assert all("access was revoked" in reason for reason in reasons)
        assert rig.server.statistics().running == 1
        peer = Peer(await rig.dial())
        with pytest.raises(Refused) as caught:
            await peer.shake_hands(headers=[("authorization", "Bearer one")])
        assert (caught.value.status, caught.value.error["code"]) == (401, "invalid_api_key")
        assert rig.server.statistics().ended["revoked"] == 1
