"""What a link makes of the extensions, where a server has them."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import agentwire
from agentwire.link import Fate, open_link
from agentwire.protocol.request import CreateRequest
from agentwire.runtime.contracts import Ask, Out
from agentwire.testing import network, no_leaks
from tests.link.peer import URL, Peer, created, delta, error, linked, text_turn
from tests.link.test_link import ask, forever, texts

WELCOME = {"type": "agentwire:welcome", "extensions": ["goaway", "response.cancel"]}


def cancelled(response_id: str) -> dict[str, Any]:
    body = {"id": response_id, "object": "response", "status": "failed", "output": []}
    return {"type": "response.failed", "sequence_number": 2, "response": body}


async def test_they_are_asked_for_with_the_upgrade(autojump_clock: MockClock) -> None:
    heads: list[bytes] = []

    async def serve(peer: Peer) -> None:
        heads.append(peer.head)
        await trio.sleep_forever()

    async with linked(serve):
        await wait_all_tasks_blocked()
    assert b"\r\nagentwire-extensions: response.cancel, goaway\r\n" in heads[0]


async def test_a_request_that_is_left_is_cancelled(autojump_clock: MockClock) -> None:
    said: list[dict[str, Any]] = []

    async def serve(peer: Peer) -> None:
        peer.say(WELCOME)
        await peer.request()
        peer.say(created("resp_1"), delta("x"), lane="a")
        said.append(json.loads(await peer.wire.receive()))
        peer.say(cancelled("resp_1"), lane="a")
        await peer.request()
        peer.say(*text_turn("resp_2", "y"), lane="a")

    async with no_leaks(), linked(serve) as link:
        async with link.exchange(ask(stream_id="a")) as exchange:
            await exchange.receive()
        async with link.exchange(ask(stream_id="a")) as exchange:
            assert await texts(exchange) == "y"
    assert said == [{"type": "agentwire:response.cancel", "response_id": "resp_1"}]


async def test_a_request_that_is_left_before_it_has_begun_is_cancelled_when_it_does(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        peer.say(WELCOME)
        await peer.request()
        await trio.sleep(5)
        peer.say(created("resp_1"))
        assert json.loads(await peer.wire.receive())["response_id"] == "resp_1"
        peer.say(cancelled("resp_1"))
        await peer.request()
        peer.say(*text_turn("resp_2", "y"))

    async with linked(serve) as link:
        async with link.exchange(ask(stream_id=None)) as exchange:
            await wait_all_tasks_blocked()
            link.cancel(exchange)  # there is no id yet, so there is nothing to say
            assert exchange.fate is Fate.UNKNOWN
        await trio.sleep(10)
        async with link.exchange(ask()) as exchange:
            assert await texts(exchange) == "y"


async def test_a_cancel_that_comes_too_late_is_no_answer_to_the_next_request(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        peer.say(WELCOME)
        await peer.request()
        peer.say(*text_turn("resp_1", "x")[:-1])
        await peer.wire.receive()
        peer.say(text_turn("resp_1", "x")[-1])
        await peer.request()
        peer.say(error("agentwire:response_not_running"))
        await trio.sleep(1)
        peer.say(*text_turn("resp_2", "y"))

    async with linked(serve) as link:
        async with link.exchange(ask()) as exchange:
            await exchange.receive()
        await trio.sleep(1)
        async with link.exchange(ask()) as exchange:
            assert await texts(exchange) == "y"


async def test_where_a_server_has_no_such_thing_nothing_is_said(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        with trio.move_on_after(5):
            await peer.wire.receive()
            raise AssertionError("it said something")

    async with linked(serve) as link:
        async with link.exchange(ask()) as exchange:
            await exchange.receive()
        await trio.sleep(10)


async def test_an_announced_end_is_shown(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        peer.say(WELCOME)
        await trio.sleep(1)
        peer.say({"type": "agentwire:goaway", "reason": "drain", "seconds": 30})
        await trio.sleep_forever()

    async with linked(serve) as link:
        before = link.goaway
        await trio.sleep(2)
        after = link.goaway
        assert before is None
        assert after is not None
        assert (after.reason, after.seconds) == ("drain", 30)


@pytest.mark.parametrize(
    "sent", [{"type": "agentwire:welcome", "extensions": 3}, {"type": "agentwire:goaway", "seconds": "x"}]
)
async def test_nonsense_ends_the_connection(sent: dict[str, Any], autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        peer.say(sent)
        await forever(peer)

    async with linked(serve) as link:
        assert "cannot be read" in (await link.wait_ended()).cause


async def test_an_extension_that_is_not_known_is_passed_over(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        peer.say({"type": "agentwire:later"}, *text_turn("resp_1", "x"))

    async with linked(serve) as link, link.exchange(ask()) as exchange:
        assert await texts(exchange) == "x"


async def test_a_turn_that_is_left_ends_on_a_server_of_ours(autojump_clock: MockClock) -> None:
    reasons: list[str] = []

    async def engine(request: Ask, out: Out) -> None:
        await out.text("begun")
        try:
            await trio.sleep_forever()
        except trio.Cancelled as reason:
            reasons.append(str(reason))
            raise

    net = network()
    async with no_leaks(rounds=50), trio.open_nursery() as nursery:
        await nursery.start(partial(agentwire.serve, engine, host=None, listeners=[net.listener()]))
        async with open_link(URL, connector=net.connect) as link:
            async with link.exchange(CreateRequest(model="m", input=ask().input)) as exchange:
                await exchange.receive()
            await wait_all_tasks_blocked()
            assert "the client has cancelled this response" in reasons[0].lower()
            assert link.statistics().running == 0
        nursery.cancel_scope.cancel(reason="the test is over")
