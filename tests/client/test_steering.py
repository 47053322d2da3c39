"""Turns that are told something while they run, or ended: what the caller sees, and what never reaches anybody else."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.client import Turn, TurnCancelled
from agentwire.engines import Call, Delay, Hang, Text, scripted
from agentwire.engines import Turn as Says
from agentwire.link import Fate, RequestLost, SteerFate, SteerLost, SteerRefused
from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.items import FunctionCall, FunctionCallOutput, Message
from agentwire.runtime.contracts import Ask
from agentwire.testing import network
from tests.client.kit import connected
from tests.client.served import served
from tests.link.peer import Peer, call, created, delta, ended, error, text_turn
from tests.link.test_steering import accepted, heard, pending, successor

GREP = {"type": "function", "name": "grep", "parameters": {"type": "object", "properties": {}}, "strict": False}


def texts(ask: Ask) -> list[str]:
    return [item.text for item in ask.items if isinstance(item, Message) and item.role == "user"]


def answer(ask: Ask) -> Says:
    """Hang until something more is said; then repeat everything."""
    said = texts(ask)
    return Says(Text(" ".join(said))) if len(said) > 1 else Says(Hang())


def plot(kinds: list[str]) -> list[str]:
    dull = ("in_progress", "content_part", "output_text", "output_item.added")
    return [kind for kind in kinds if not kind.startswith(dull)]


async def read(turn: Turn, kinds: list[str]) -> None:
    async for event in turn:
        kinds.append(event.type.removeprefix("response."))  # noqa: PERF401 - what has come when it is cut off counts


async def test_a_turn_goes_on_in_the_successor(autojump_clock: MockClock) -> None:
    engine = scripted(answer)
    kinds: list[str] = []
    async with served(engine) as wire:
        async with wire.turn("Look.", instructions="Be brief.") as turn, trio.open_nursery() as nursery:
            nursery.start_soon(read, turn, kinds)
            await wait_all_tasks_blocked()
            first = turn.response_id
            steer = await turn.steer("Also check X.")
            assert steer.fate is not SteerFate.UNKNOWN
        assert plot(kinds) == [
            "created",
            "steer.accepted",
            "incomplete",
            "created",
            "output_item.done",
            "completed",
        ]
        assert turn.text == "Look. Also check X."
        assert [response.status for response in turn.responses] == ["incomplete", "completed"]
        assert (turn.responses[0].id, turn.responses[1].id) == (first, turn.response_id)
        assert (await turn.response()).output_text == turn.text
        assert turn.steers == (steer,)
        assert await steer.delivered() == turn.response_id
        again = await wire.respond("So?", previous_response_id=turn.response_id)
        assert again.output_text == "Look. Also check X. So?"


async def test_what_was_steered_in_is_part_of_the_conversation(autojump_clock: MockClock) -> None:
    async with served(scripted(answer), extensions=()) as wire:
        async with wire.turn("Look.") as turn:
            await turn.steer([{"role": "user", "content": "Also check X."}])
            await turn.response()
        await wire.line.current.abort("cut")  # type: ignore[attr-defined]
        again = await wire.respond("So?", previous_response_id=turn.response_id)
        assert again.output_text == "Look. Also check X. So?"


async def test_calls_of_the_client_come_before_the_steer(autojump_clock: MockClock) -> None:
    asks: list[list[Any]] = []

    def model(ask: Ask) -> Says:
        asks.append(list(ask.items))
        if len(asks) == 1:
            return Says(Call("grep", {}), Delay(1))
        return Says(Text("Done."))

    async with served(scripted(model), extensions=()) as wire:
        async with wire.turn("Look.", tools=[GREP]) as turn:
            await turn.steer("Only tests.")
            response = await turn.response()
        (steer,) = turn.steers
        await wait_all_tasks_blocked()
        assert steer.fate is SteerFate.PENDING
        outputs = [
            FunctionCallOutput(item.call_id, "3 matches") for item in response.output if isinstance(item, FunctionCall)
        ]
        done = await wire.respond(outputs, previous_response_id=response.id, tools=[GREP])
        assert await steer.delivered() == done.id
        await wire.line.current.abort("cut")  # type: ignore[attr-defined]
        await wire.respond("So?", previous_response_id=done.id)
    kinds = ["message", "function_call", "message", "function_call_output"]
    assert [item.type for item in asks[1]] == kinds
    assert [item.type for item in asks[2]] == [*kinds, "message", "message"]  # all of it was said again


async def test_a_steer_waits_until_the_response_has_begun(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await trio.sleep(5)
        peer.say(created("resp_1"))
        assert (await heard(peer))["previous_response_id"] == "resp_1"
        peer.say(accepted("resp_1"), ended("resp_1", "incomplete"))
        await trio.sleep(5)
        peer.say(successor("resp_2", "resp_1")[0], delta("on"))
        assert (await heard(peer))["previous_response_id"] == "resp_2"
        peer.say(accepted("resp_2", "st_2"), ended("resp_2"), *successor("resp_3", "resp_2", "two"))

    async with connected(script) as wire, wire.turn("hi") as turn:
        await turn.steer("one")
        await trio.sleep(1)
        await turn.steer("two")  # between two responses: for the next one
        assert (await turn.response()).id == "resp_3"
        assert [steer.successor_id for steer in turn.steers] == ["resp_2", "resp_3"]


@pytest.mark.parametrize(
    "given", [[], [{"role": "system", "content": "x"}], {"type": "function_call_output", "call_id": "c", "output": ""}]
)
async def test_a_steer_is_something_that_the_user_says(autojump_clock: MockClock, given: Any) -> None:
    async with served(scripted(answer)) as wire, wire.turn("Look.") as turn:
        with pytest.raises(LocalProtocolError, match="this cannot be a steer"):
            await turn.steer(given)


async def test_a_steer_that_comes_too_late_is_handed_back(autojump_clock: MockClock) -> None:
    async with served(scripted(Says(Text("Done.")))) as wire, wire.turn("Look.") as turn:
        await turn.response()
        with pytest.raises(SteerRefused) as caught:
            await turn.steer("Also check X.")
        assert (caught.value.code, caught.value.input) == ("response_already_completed", "Also check X.")
        assert turn.steers == ()


async def test_what_the_server_refuses_is_handed_back_and_the_turn_goes_on(autojump_clock: MockClock) -> None:
    compacting = [{"type": "compaction", "compact_threshold": 100_000}]
    async with (
        served(scripted(Says(Delay(1), Text("Done.")))) as wire,
        wire.turn("Look.", context_management=compacting) as turn,
    ):
        with pytest.raises(SteerRefused) as caught:
            await turn.steer("Also check X.")
        assert (caught.value.code, caught.value.input) == ("steering_not_supported", "Also check X.")
        assert (await turn.response()).output_text == "Done."


async def test_a_server_that_knows_no_steering(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        peer.say(error("invalid_value", "Invalid value: 'response.steer'.", param="type"))
        peer.say(*text_turn("resp_1", "on")[1:])

    async with connected(script) as wire, wire.turn("hi") as turn:
        with pytest.raises(SteerRefused, match="knows no steering") as caught:
            await turn.steer("more")
        assert (caught.value.code, caught.value.input) == ("steering_not_supported", "more")
        assert (await turn.response()).output_text == "on"


async def test_a_server_that_never_answers_a_steer(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        await trio.sleep(40)
        peer.say(*text_turn("resp_1", "on")[1:])

    async with connected(script) as wire, wire.turn("hi") as turn:
        with pytest.raises(SteerLost, match="has said nothing of the steer for 30 s") as caught:
            await turn.steer("more")
        assert (caught.value.fate, caught.value.input) == (SteerFate.UNKNOWN, "more")
        assert (await turn.response()).output_text == "on"


@pytest.mark.parametrize("say", [True, False])
async def test_a_turn_that_was_steered_and_lost_is_not_asked_again_by_itself(
    autojump_clock: MockClock, say: bool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        if say:
            peer.say(accepted("resp_1"))
            await trio.sleep(1)
        await peer.wire.abort("cut")

    async def again(peer: Peer) -> None:
        await peer.answer(*text_turn("resp_2", "fresh"))

    async with connected(script, again) as wire, wire.turn("hi") as turn:
        if say:
            steer = await turn.steer("more")
            with pytest.raises(RequestLost):
                await turn.response()
            assert isinstance(steer.error, SteerLost)
            assert steer.error.fate is SteerFate.ACCEPTED
        else:
            with pytest.raises(SteerLost) as caught:
                await turn.steer("more")
            assert caught.value.fate is SteerFate.UNKNOWN
            with pytest.raises(RequestLost):
                await turn.response()
        assert (await wire.respond("again")).output_text == "fresh"


async def test_a_steer_that_waits_for_answers_ends_with_the_connection(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        peer.say(accepted("resp_1"), ended("resp_1", output=[call("c", "grep")]), pending("resp_1"))
        await trio.sleep(1)
        await peer.wire.abort("cut")

    async with connected(script) as wire:
        async with wire.turn("hi") as turn:
            steer = await turn.steer("more")
            await turn.response()
        with pytest.raises(SteerLost) as caught:
            await steer.delivered()
        assert caught.value.input == "more"


# Cancelled


async def test_a_cancelled_turn_ends_on_the_server(autojump_clock: MockClock) -> None:
    engine = scripted(Says(Text("Let me"), Hang()))
    kinds: list[str] = []
    async with served(engine) as wire, wire.turn("Look.") as turn, trio.open_nursery() as nursery:
        nursery.start_soon(read, turn, kinds)
        await wait_all_tasks_blocked()
        await turn.cancel()
        assert turn.fate is Fate.FINISHED  # the server has said so
        assert [cancelled.response_id for cancelled in engine.cancelled] == [turn.response_id]
        await wait_all_tasks_blocked()
        assert plot(kinds) == ["created"]  # whoever reads it is told that it is over
        with pytest.raises(StopAsyncIteration):
            await turn.__anext__()
        with pytest.raises(TurnCancelled, match="was cancelled") as caught:
            await turn.response()
        assert (turn.cancelled, caught.value.text) == (True, "Let me")
        await turn.cancel()


async def test_without_the_extension_nothing_of_it_reaches_the_next_turn(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"), delta("stale"), lane="a")
        await trio.sleep(60)
        peer.say(*text_turn("resp_1", "stale")[2:], lane="a")
        assert (await peer.request())["input"][0]["content"] == "two"
        peer.say(*text_turn("resp_2", "fresh"), lane="a")

    async with connected(script) as wire, wire.lane("a") as lane, lane.turn("one") as turn:
        await turn.__anext__()
        start = trio.current_time()
        await turn.cancel()
        assert trio.current_time() == start
        assert turn.fate is Fate.STARTED
        assert (await lane.respond("two")).output_text == "fresh"


async def test_a_turn_that_has_not_begun_can_be_cancelled(autojump_clock: MockClock) -> None:
    engine = scripted([Says(Delay(5), Text("one")), Says(Text("two"))], order="calls")
    async with served(engine) as wire:
        async with wire.turn("one") as turn:
            await turn.cancel()
            with pytest.raises(TurnCancelled):
                await turn.response()
        assert (await wire.respond("two")).output_text in ("one", "two")


async def test_a_cancelled_turn_is_not_asked_again(autojump_clock: MockClock) -> None:
    net = network()
    async with served(scripted(Says(Text("Let me"), Hang())), net=net, extensions=()) as wire:
        async with wire.turn("Look.") as turn:
            await turn.cancel()
            await wire.line.current.abort("cut")  # type: ignore[attr-defined]
            with pytest.raises(TurnCancelled):
                await turn.response()
        assert wire.line.statistics().ways == 1


async def test_cancelling_beside_a_reader_who_waits(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()

    async with connected(script) as wire, wire.turn("hi") as turn, trio.open_nursery() as nursery:
        kinds: list[str] = []
        nursery.start_soon(read, turn, kinds)
        await wait_all_tasks_blocked()
        await turn.cancel()
    assert kinds == []


async def test_a_turn_can_be_cancelled_while_there_is_no_connection(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.wire.abort("cut")

    async with connected(script) as wire, wire.turn("hi") as turn, trio.open_nursery() as nursery:
        kinds: list[str] = []
        nursery.start_soon(read, turn, kinds)
        await trio.sleep(1)
        start = trio.current_time()
        await turn.cancel()
        with pytest.raises(TurnCancelled):
            await turn.response()
        await wait_all_tasks_blocked(0)
        assert nursery.child_tasks == set()
        assert trio.current_time() == start
    assert kinds == []


async def test_a_turn_whose_steer_was_refused_is_asked_again(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(created("resp_1"))
        await heard(peer)
        peer.say(error("unknown_event_type", param="type"))
        await trio.sleep(1)
        await peer.wire.abort("cut")

    async def again(peer: Peer) -> None:
        await peer.answer(*text_turn("resp_2", "two"))

    async with connected(script, again) as wire, wire.turn("hi") as turn:
        with pytest.raises(SteerRefused):
            await turn.steer("more")
        assert (await turn.response()).output_text == "two"
