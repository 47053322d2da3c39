"""Turns and whole answers."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from agentwire.link import Fate, RequestLost, ResponseError
from agentwire.protocol.errors import LocalProtocolError, RemoteProtocolError, RequestError
from agentwire.protocol.events import OutputTextDelta, ResponseFailed
from agentwire.protocol.items import Message
from agentwire.runtime.policies import Cancel
from agentwire.testing import Fault, network, no_leaks
from tests.client.kit import connected
from tests.link.peer import Json, Peer, created, delta, done, ended, error, message, text_turn


async def test_a_turn_streams_typed_events_and_ends_with_the_response(autojump_clock: MockClock) -> None:
    requests: list[Json] = []

    async def serve(peer: Peer) -> None:
        requests.append(await peer.answer(*text_turn("resp_1", "Hel", "lo")))

    async with no_leaks(), connected(serve, model="m") as wire:
        async with wire.turn("Hi", instructions="Be brief.", temperature=0.5) as turn:
            pieces = [event.delta async for event in turn if isinstance(event, OutputTextDelta)]
            response = await turn.response()
        assert (pieces, turn.text, turn.fate) == (["Hel", "lo"], "Hello", Fate.FINISHED)
        assert (turn.response_id, turn.stream_id) == ("resp_1", None)
        assert response.output_text == "Hello"
        assert response.usage is not None
        assert response.usage.total_tokens == 5
    (request,) = requests
    assert (request["model"], request["store"], request["instructions"]) == ("m", False, "Be brief.")
    assert request["temperature"] == 0.5
    assert "stream_id" not in request


async def test_respond_waits_for_the_whole_answer(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(*text_turn("resp_1", "one"))
        request = await peer.answer(*text_turn("resp_2", "two"))
        assert request["previous_response_id"] == "resp_1"

    async with connected(serve) as wire:
        first = await wire.respond("1")
        second = await wire.respond("2", previous_response_id=first.id, store=True)
        assert (first.output_text, second.output_text) == ("one", "two")


async def test_an_incomplete_response_is_an_answer(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        details = {"reason": "max_output_tokens"}
        await peer.answer(
            created("resp_1"), ended("resp_1", "incomplete", [message("cut")], incomplete_details=details)
        )

    async with connected(serve) as wire:
        response = await wire.respond("Hi")
        assert (response.status, response.output_text) == ("incomplete", "cut")


async def test_output_that_only_the_events_list_is_not_lost(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(created("resp_1"), done(message("b"), 1), done(message("a"), 0), ended("resp_1"))

    async with connected(serve) as wire:
        assert (await wire.respond("Hi")).output_text == "ab"


async def test_a_server_that_leaves_created_out_is_understood(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(*text_turn("resp_1", "ok")[1:])

    async with connected(serve) as wire:
        assert (await wire.respond("Hi")).output_text == "ok"


async def test_a_refused_request_raises(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        refusal = error("rate_limit_exceeded", "Later.", status=429)
        refusal["error"]["param"] = "model"
        refusal["error"]["headers"] = {"retry-after": "2"}
        await peer.answer(refusal)
        await peer.answer(*text_turn("resp_1", "ok"))

    async with connected(serve) as wire:
        with pytest.raises(RequestError, match=r"429 rate_limit_exceeded: Later\.") as caught:
            await wire.respond("Hi")
        assert (caught.value.param, caught.value.headers) == ("model", {"retry-after": "2"})
        assert not isinstance(caught.value, ResponseError)
        assert (await wire.respond("Again")).output_text == "ok"


async def test_a_failed_response_raises_after_its_last_event(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        failure = {"code": "server_error", "message": "The engine stopped."}
        await peer.answer(
            created("resp_1"),
            delta("so far"),
            error("server_error", "x", status=503, number=2),
            ended("resp_1", "failed", [message("so far")], error=failure),
        )

    seen: list[Any] = []
    async with connected(serve) as wire, wire.turn("Hi") as turn:
        with pytest.raises(ResponseError, match=r"503 server_error: The engine stopped\.") as caught:  # noqa: PT012
            async for event in turn:
                seen.append(event)  # noqa: PERF401 - what came before the error counts
        assert isinstance(seen[-1], ResponseFailed)
        assert caught.value.response is not None
        assert caught.value.response.output_text == "so far"
        with pytest.raises(ResponseError):
            await turn.response()


async def test_a_response_that_broke_and_never_ended_raises_too(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(created("resp_1"), error("server_error", "Broke.", status=500, number=1))

    async with connected(serve) as wire:
        with pytest.raises(ResponseError, match=r"500 server_error: Broke\."):
            await wire.respond("Hi")


async def test_events_that_make_no_sense_raise_in_their_turn(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(created("resp_1"), {"type": "response.output_item.done"}, ended("resp_1"))

    async with connected(serve) as wire, wire.turn("Hi") as turn:
        for _ in range(2):  # nothing is guessed from what comes after it
            with pytest.raises(RemoteProtocolError, match="does not fit"):
                await turn.response()


async def test_a_lost_connection_raises_with_what_had_come(autojump_clock: MockClock) -> None:
    net = network()

    async def serve(peer: Peer) -> None:
        await peer.answer(created("resp_1"), done(message("whole")), delta("half"))
        await trio.sleep(1)
        net.arm(Fault("cut"))

    async with connected(serve, net=net, on_disconnect=Cancel()) as wire:
        with pytest.raises(RequestLost, match="the request: started") as caught:
            await wire.respond("Hi")
        lost = caught.value
        assert (lost.fate, lost.response_id, lost.text) == (Fate.STARTED, "resp_1", "half")
        assert [item.text for item in lost.items if isinstance(item, Message)] == ["whole"]
        assert wire.ended is not None
        assert (await wire.wait_ended()).cause == "the peer ended the connection"


async def test_a_turn_that_is_left_early_does_not_reach_the_next(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(created("resp_1"), delta("stale"))
        await trio.sleep(5)
        peer.say(ended("resp_1", output=[message("stale")]), lane="x")
        await peer.answer(*text_turn("resp_2", "fresh"))

    async with connected(serve) as wire:
        async with wire.turn("Hi", stream_id="x") as turn:
            await anext(turn)
        assert (await wire.respond("Again", stream_id="x")).output_text == "fresh"
        assert wire.statistics().running == 0


async def test_a_cancelled_answer_is_abandoned(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(created("resp_1"), delta("stale"))
        await peer.answer(*text_turn("resp_2", "fresh"))

    async with connected(serve) as wire:
        with trio.move_on_after(1):
            await wire.respond("Hi")
        assert wire.statistics().running == 1
        assert (await wire.respond("Again")).output_text == "fresh"


async def test_a_mistake_sends_nothing(autojump_clock: MockClock) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(*text_turn("resp_1", "ok"))

    async with connected(serve) as wire:
        with pytest.raises(LocalProtocolError, match="temperature"):
            await wire.respond("Hi", temperature="hot")
        assert wire.statistics().running == 0
        assert (await wire.respond("Hi")).output_text == "ok"
