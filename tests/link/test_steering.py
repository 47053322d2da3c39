"""Steers: each answer finds its steer by the response and the input, and a successor belongs to what was steered."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from agentwire.link import Exchange, Fate, Link, RequestLost
from agentwire.link.steering import Steer, SteerFate, SteerLost, SteerRefused
from agentwire.protocol.codec import decode_create
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest
from tests.link.peer import Json, Peer, call, created, delta, ended, error, linked, text_turn


def ask(text: str = "hi", **fields: Any) -> CreateRequest:
    body = {"type": "response.create", "model": "m", "input": text, "store": False, **fields}
    return decode_create(json.dumps(body).encode(), Limits(), transport="websocket")


async def heard(peer: Peer) -> Json:
    frame: Json = json.loads(await peer.wire.receive())
    return frame


def accepted(response_id: str, id_: str = "st_1") -> Json:
    about = {"id": id_, "previous_response_id": response_id}
    return {"type": "response.steer.accepted", "sequence_number": 2, "steer": about}


def pending(response_id: str, id_: str = "st_1") -> Json:
    about = {"id": id_, "previous_response_id": response_id}
    return {"type": "response.steer.pending", "sequence_number": 10, "steer": about, "reason": "waiting"}


def failed(response_id: str, given: Any, code: str = "response_already_completed", id_: str | None = None) -> Json:
    about = {"previous_response_id": response_id, "input": given} | ({} if id_ is None else {"id": id_})
    told = {"type": "invalid_request_error", "code": code, "message": "No."}
    return {"type": "response.steer.failed", "sequence_number": 10, "error": told, "steer": about}


def successor(response_id: str, parent: str, *pieces: str) -> list[Json]:
    first, *rest = text_turn(response_id, *pieces)
    first["response"]["previous_response_id"] = parent
    return [first, *rest]


async def steer(link: Link, exchange: Exchange, text: str = "Also check X.") -> Steer:
    return await link.steer(exchange, text, text)


async def begin(exchange: Exchange) -> None:
    """Read until the response has begun."""
    while exchange.fate is not Fate.STARTED:
        await exchange.receive()


async def rest_of(exchange: Exchange) -> list[str]:
    return [event.type.removeprefix("response.") async for event in exchange]


async def test_an_interrupted_response_goes_on_in_its_successor(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        lane = (await peer.request()).get("stream_id")
        peer.say(created("resp_1"), delta("one"), lane=lane)
        assert await heard(peer) == {
            "type": "response.steer",
            "previous_response_id": "resp_1",
            "input": "Also check X.",
        }
        peer.say(accepted("resp_1"), ended("resp_1", "incomplete"), lane=lane)
        await trio.sleep(60)
        peer.say(*successor("resp_2", "resp_1", "two"), lane=lane)
        await peer.answer(*text_turn("resp_3", "three"))

    async with linked(script) as link:
        async with link.exchange(ask(stream_id="a")) as exchange:
            await begin(exchange)
            sent = await steer(link, exchange)
            await sent.accepted()
            assert (sent.fate, sent.id) == (SteerFate.ACCEPTED, "st_1")
            told = await rest_of(exchange)
        assert told == [
            "output_text.delta",
            "steer.accepted",
            "incomplete",
            "created",
            "output_text.delta",
            "output_item.done",
            "completed",
        ]
        assert exchange.response_id == "resp_2"
        assert await sent.delivered() == "resp_2"
        assert (sent.fate, str(sent.fate)) == (SteerFate.DELIVERED, "delivered")
        assert exchange.fate is Fate.FINISHED
        async with link.exchange(ask(stream_id="a")) as another:
            assert (await rest_of(another))[-1] == "completed"


async def test_a_response_that_ends_by_itself_is_followed_too(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        await heard(peer)
        events = successor("resp_2", "resp_1", "two")
        peer.say(accepted("resp_1"), accepted("resp_1", "st_2"), ended("resp_1"), *events)

    async with linked(script) as link, link.exchange(ask()) as exchange:
        await begin(exchange)
        one, two = await steer(link, exchange), await steer(link, exchange, "And Y.")
        assert (await rest_of(exchange)).count("completed") == 2
        assert (one.id, two.id) == ("st_1", "st_2")
        assert await one.delivered() == await two.delivered() == "resp_2"


async def test_an_end_that_is_told_twice_has_one_successor(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        peer.say(accepted("resp_1"), ended("resp_1"), ended("resp_1"), *successor("resp_2", "resp_1", "two"))

    async with linked(script) as link, link.exchange(ask()) as exchange:
        await begin(exchange)
        await steer(link, exchange)
        assert (await rest_of(exchange)).count("completed") == 2
        assert (exchange.lane.turns, link.statistics().unexpected) == (2, 1)


async def test_calls_of_the_client_come_first(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        peer.say(accepted("resp_1"), ended("resp_1", output=[call("call_1", "grep")]))
        await trio.sleep(1)
        peer.say(pending("resp_1"))
        await peer.request()
        peer.say(*successor("resp_2", "resp_1", "two"))

    async with linked(script) as link:
        async with link.exchange(ask()) as exchange:
            await begin(exchange)
            sent = await steer(link, exchange)
            assert (await rest_of(exchange))[-1] == "completed"
            assert exchange.response_id == "resp_1"
        await trio.sleep(2)
        assert sent.fate is SteerFate.PENDING
        assert not sent.ended
        async with link.exchange(ask(previous_response_id="resp_1")) as answers:
            assert (await rest_of(answers))[-1] == "completed"
        assert await sent.delivered() == "resp_2"
        assert link.statistics().unexpected == 0


async def test_what_comes_back_is_matched_by_its_input(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        await heard(peer)
        peer.say(failed("resp_1", "And Y.", "too_many_pending_steers"), accepted("resp_1"))
        await trio.sleep(1)
        peer.say(ended("resp_1"), failed("resp_1", "Also check X.", "successor_creation_failed", "st_1"))

    async with linked(script) as link, link.exchange(ask()) as exchange:
        await begin(exchange)
        one, two = await steer(link, exchange), await steer(link, exchange, "And Y.")
        with pytest.raises(SteerRefused, match=r"No\.") as caught:
            await two.accepted()
        assert (caught.value.code, caught.value.input) == ("too_many_pending_steers", "And Y.")
        await one.accepted()
        assert (await rest_of(exchange))[-2:] == ["completed", "steer.failed"]
        with pytest.raises(SteerRefused) as caught:
            await one.delivered()
        assert (caught.value.code, caught.value.input) == ("successor_creation_failed", "Also check X.")


async def test_a_steer_that_came_too_late_ends_what_it_held_open(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        peer.say(ended("resp_1"), failed("resp_1", "Also check X."))

    async with linked(script) as link, link.exchange(ask()) as exchange:
        await begin(exchange)
        sent = await steer(link, exchange)
        assert await rest_of(exchange) == ["completed", "steer.failed"]
        assert sent.fate is SteerFate.REFUSED
        with pytest.raises(SteerRefused, match="has ended"):
            await steer(link, exchange)


async def test_before_it_has_begun_nothing_can_be_steered() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()

    async with linked(script) as link, link.exchange(ask()) as exchange:
        with pytest.raises(SteerRefused, match="has not begun"):
            await steer(link, exchange)


@pytest.mark.parametrize(
    "refusal",
    [
        error("unknown_event_type", "Unknown type."),
        error("invalid_value", "Invalid value: 'response.steer'."),
        {"type": "error", "error": {"type": "invalid_request_error", "message": "What?", "param": "type"}},
        {"type": "error", "message": "What?"},
    ],
)
async def test_a_server_that_knows_no_steering_harms_nobody(autojump_clock: MockClock, refusal: Json) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        peer.say(refusal)
        await trio.sleep(1)
        peer.say(delta("on"), ended("resp_1"))

    async with linked(script) as link, link.exchange(ask()) as exchange:
        await begin(exchange)
        sent = await steer(link, exchange)
        with pytest.raises(SteerRefused, match="knows no steering") as caught:
            await sent.accepted()
        assert (caught.value.code, caught.value.input) == ("steering_not_supported", "Also check X.")
        assert await rest_of(exchange) == ["output_text.delta", "completed"]


async def test_errors_that_are_others_stay_theirs(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        for _ in range(2):
            request = await peer.request()
            if request.get("stream_id") == "a":
                peer.say(created("resp_1"), lane="a")
        await heard(peer)
        peer.say(error("odd"), accepted("resp_1") | {"stream_id": "a"})

    async with linked(script) as link, link.exchange(ask(stream_id="a")) as exchange, link.exchange(ask()) as other:
        await begin(exchange)
        sent = await steer(link, exchange)
        assert await rest_of(other) == ["error"]
        await sent.accepted()


async def test_a_silent_server_holds_nothing_open_for_long(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        peer.say(ended("resp_1"))

    async with linked(script) as link, link.exchange(ask()) as exchange:
        await begin(exchange)
        sent = await steer(link, exchange)
        assert await rest_of(exchange) == ["completed"]
        assert sent.fate is SteerFate.UNKNOWN


@pytest.mark.parametrize("taken", [False, True])
async def test_after_a_loss_nobody_knows(autojump_clock: MockClock, taken: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        if taken:
            peer.say(accepted("resp_1"), ended("resp_1"))
            await trio.sleep(1)
        await peer.wire.abort("cut")

    async with linked(script) as link, link.exchange(ask()) as exchange:
        await begin(exchange)
        sent = await steer(link, exchange)
        if taken:
            await sent.accepted()
        with pytest.raises(RequestLost):
            await rest_of(exchange)
        with pytest.raises(SteerLost) as caught:
            await sent.delivered()
        assert caught.value.fate is (SteerFate.ACCEPTED if taken else SteerFate.UNKNOWN)
        assert caught.value.input == "Also check X."
        assert str(caught.value).endswith(f"the steer: {caught.value.fate}")
        with pytest.raises(SteerRefused if exchange.fate is not Fate.STARTED else SteerLost):
            await steer(link, exchange)


async def test_a_successor_of_something_else_is_a_fault(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        peer.say(accepted("resp_1"), ended("resp_1"), *successor("resp_2", "resp_0", "two"))

    async with linked(script) as link, link.exchange(ask()) as exchange:
        await begin(exchange)
        await steer(link, exchange)
        with pytest.raises(RequestLost, match="second response for one request"):
            await rest_of(exchange)


async def test_nobody_reads_the_successor_of_what_was_left(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        peer.say(accepted("resp_1"), ended("resp_1", "incomplete"))
        await trio.sleep(5)
        peer.say(*successor("resp_2", "resp_1", "two"))
        await peer.answer(*text_turn("resp_3", "three"))

    async with linked(script) as link:
        lane = await link.lanes.acquire()
        async with link.exchange(ask(), lane=lane) as exchange:
            await begin(exchange)
            sent = await steer(link, exchange)
            await sent.accepted()
        async with link.exchange(ask(), lane=lane) as another:
            assert await rest_of(another) == ["created", "output_text.delta", "output_item.done", "completed"]
            assert another.response_id == "resp_3"
        assert sent.successor_id == "resp_2"


async def test_what_is_said_of_an_earlier_response_is_not_told_to_the_next_request(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        peer.say(accepted("resp_1"), ended("resp_1", output=[call("call_1", "grep")]))
        await peer.request()
        peer.say(created("resp_2"))
        await trio.sleep(1)
        peer.say(failed("resp_1", "Also check X.", "successor_creation_failed", "st_1"), ended("resp_2"))

    async with linked(script) as link:
        async with link.exchange(ask()) as exchange:
            await begin(exchange)
            sent = await steer(link, exchange)
            await rest_of(exchange)
        async with link.exchange(ask("something else")) as another:
            assert await rest_of(another) == ["created", "completed"]
        assert sent.fate is SteerFate.REFUSED
