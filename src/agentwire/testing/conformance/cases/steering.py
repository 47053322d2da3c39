"""Cases about steering."""

from __future__ import annotations

import re
from typing import Any, Final

from agentwire.testing.conformance.cases.frames import LONG_TASK
from agentwire.testing.conformance.cases.tools import QUESTION, SUNNY, WEATHER, forced, outputs
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.turns import TERMINALS, NotShown, Socket, Turn, check

__all__ = [
    "a_response_that_compacts_cannot_be_steered",
    "a_steer_takes_user_messages",
    "a_steer_that_comes_too_late_is_handed_back",
    "a_steer_that_reaches_nothing_is_handed_back",
    "a_steer_waits_for_the_outputs",
    "a_steered_response_ends_with_its_item",
    "a_steered_response_has_a_successor",
    "a_successor_goes_before_what_waits",
    "steers_are_bounded_and_have_one_successor",
]

Event = dict[str, Any]


async def steer(socket: Socket, response_id: str, content: Any = "Be brief.") -> None:
    """Send a steer."""
    await socket.ws.send({"type": "response.steer", "previous_response_id": response_id, "input": content})


async def answered(socket: Socket, lane: str | None = None) -> Event:
    """The next answer to a steer, past other events."""
    kinds = ("response.steer.accepted", "response.steer.failed")
    return (await socket.until(*kinds, lane=lane))[-1]


async def running(socket: Socket, peer: Peer, **fields: Any) -> str:
    """The id of a long response that has begun."""
    await socket.create(LONG_TASK, model=peer.slow_model, **fields)
    return str((await socket.until("response.in_progress", lane=fields.get("stream_id")))[-1]["response"]["id"])


def handed_back(event: Event, code: str, response_id: str, content: Any) -> None:
    """A steer that failed with this code, and all that was in it."""
    check(event["type"] == "response.steer.failed", f"the answer is {event}")
    check(event["error"].get("code") == code, f"the code is {event['error'].get('code')!r} instead of {code!r}")
    check(event["error"].get("message"), "the failure says nothing")
    check(event["steer"].get("previous_response_id") == response_id, "the failure does not name the response")
    check(event["steer"].get("input") == content, "the input is not handed back")


@case(118, "AW-G-002", "AW-G-003", "AW-G-004")
async def a_steer_that_comes_too_late_is_handed_back(peer: Peer) -> None:
    """Steer a response that never was, and one that has ended."""
    async with peer.socket() as socket:
        await steer(socket, "resp_none")
        handed_back(await answered(socket), "response_not_found", "resp_none", "Be brief.")
        ended = (await socket.ask()).completed().id
        await steer(socket, ended)
        handed_back(await answered(socket), "response_already_completed", ended, "Be brief.")
        await socket.usable()


@case(119, "AW-G-005", "AW-G-002", needs=["slow", "steering"])
async def a_steer_takes_user_messages(peer: Peer) -> None:
    """Steer with what is no user message; the response goes on."""
    bad: list[Any] = [
        [],
        [{"role": "assistant", "content": "no"}],
        [{"type": "function_call_output", "call_id": "call_1", "output": "no"}],
        5,
        None,
    ]
    async with peer.socket() as socket:
        response_id = await running(socket, peer)
        for content in bad:
            await steer(socket, response_id, content)
            handed_back(await answered(socket), "invalid_input", response_id, content)
        check((await socket.until(*TERMINALS))[-1]["type"] == "response.completed", "the response did not complete")


STEERED: Final = {"reason": "steered"}


@case(121, "AW-G-007", needs=["slow", "steering", "reasoning"])
async def a_steered_response_ends_with_its_item(peer: Peer) -> None:
    """Steer a response before its first item is done: it ends there, incomplete, and its successor follows."""
    async with peer.socket() as socket:
        response_id = await running(socket, peer, reasoning={"summary": "auto"})
        await steer(socket, response_id)
        check((await answered(socket))["type"] == "response.steer.accepted", "the steer was not accepted")
        end = (await socket.until(*TERMINALS))[-1]
        check(end["type"] == "response.incomplete", f"the steered response ended with {end['type']}")
        check(end["response"]["incomplete_details"] == STEERED, f"it is {end['response']['incomplete_details']}")
        check(len(end["response"]["output"]) <= 1, "it went on after its item")
        created = (await socket.until("response.created"))[-1]["response"]
        check(created["previous_response_id"] == response_id, "the successor continues another response")
        await socket.until(*TERMINALS)
        await socket.usable()


@case(117, "AW-G-001", "AW-G-008", "AW-G-011", "AW-G-013", "AW-G-016", needs=["slow", "steering"])
async def a_steered_response_has_a_successor(peer: Peer) -> None:
    """Steer a long answer on a lane, and follow it into its successor, whether it was cut or came to its end."""
    async with peer.socket() as socket:
        settings = {"instructions": "Be kind.", "metadata": {"k": "v"}, "stream_id": "a"}
        response_id = await running(socket, peer, **settings)
        await steer(socket, response_id, [{"role": "user", "content": "Be brief."}])
        told = await answered(socket, "a")
        check(told["type"] == "response.steer.accepted", f"the answer is {told}")
        check(told["steer"]["previous_response_id"] == response_id, "it names another response")
        check(re.fullmatch("steer_[0-9a-f]{32}", told["steer"]["id"]), f"its id is {told['steer']['id']}", "AW-G-016")
        number = told["sequence_number"]
        events = await socket.until(*TERMINALS, lane="a")
        counted = events[0]["sequence_number"] == number + 1
        check(counted, "the steer's event is not counted with the response's", "AW-G-011")
        end, created = events[-1], (await socket.until("response.created", lane="a"))[-1]
        details = end["response"]["incomplete_details"]
        check(details == (STEERED if end["type"] == "response.incomplete" else None), f"it is {end['type']}: {details}")
        successor = created["response"]
        check(created["sequence_number"] == 0, "the successor is not counted from 0", "AW-G-011")
        check(successor["previous_response_id"] == response_id, "the successor continues another response")
        inherited = {name: successor[name] for name in ("instructions", "metadata")}
        check(inherited == {"instructions": "Be kind.", "metadata": {"k": "v"}}, f"it has {inherited}", "AW-G-013")
        turn = Turn((created, *await socket.until(*TERMINALS, lane="a"))).completed()
        (await socket.ask(previous_response_id=turn.id, stream_id="a")).completed()


@case(120, "AW-G-006", "AW-G-002", needs=["slow", "steering"])
async def a_response_that_compacts_cannot_be_steered(peer: Peer) -> None:
    """Steer a long response that compacts its context by itself, and a warm-up."""
    settings = {"context_management": [{"type": "compaction", "compact_threshold": 100_000}]}
    async with peer.socket() as socket:
        response_id = await running(socket, peer, **settings)
        await steer(socket, response_id)
        handed_back(await answered(socket), "steering_not_supported", response_id, "Be brief.")
        check((await socket.until(*TERMINALS))[-1]["type"] == "response.completed", "the response did not complete")


@case(124, "AW-G-015", "AW-G-014", needs=["slow", "steering", "steers"])
async def steers_are_bounded_and_have_one_successor(peer: Peer) -> None:
    """Send more steers than may wait: the last is handed back, and the others come in one successor."""
    bound = peer.limit("steers", 256)
    async with peer.socket() as socket:
        response_id = await running(socket, peer, max_output_tokens=1000)
        await socket.until("response.output_item.added")
        for number in range(bound + 1):
            await steer(socket, response_id, f"number {number}")
        told = [await answered(socket) for _ in range(bound + 1)]
        accepted = [event["type"] == "response.steer.accepted" for event in told]
        check(all(accepted[:bound]), f"steer number {accepted.index(False)} was not accepted")
        handed_back(told[-1], "too_many_pending_steers", response_id, f"number {bound}")
        await socket.until("response.incomplete", "response.completed")
        successor = (await socket.until("response.created"))[-1]["response"]
        check(successor["max_output_tokens"] == 1000, f"its limit is {successor['max_output_tokens']}")
        end = (await socket.until(*TERMINALS))[-1]["response"]
        check(end["usage"]["input_tokens"] > bound, "the successor has not the input of the steers")
        await socket.usable()


@case(123, "AW-G-012", needs=["slow", "steering"])
async def a_successor_goes_before_what_waits(peer: Peer) -> None:
    """Steer a response behind which another request waits on its lane."""
    async with peer.socket() as socket:
        response_id = await running(socket, peer)
        await socket.create("Say something else.")
        await steer(socket, response_id)
        await socket.until("response.incomplete", "response.completed")
        created = (await socket.until("response.created"))[-1]["response"]
        check(created["previous_response_id"] == response_id, "the request that waited went first")
        await socket.until(*TERMINALS)
        (await socket.finish()).completed()


async def _waiting(socket: Socket, peer: Peer) -> tuple[Turn, Event]:
    """A turn that ended in a call, and the steer that waits for its output."""
    await socket.create(QUESTION, model=peer.slow_model, tools=[WEATHER], tool_choice=forced(WEATHER))
    response_id = (await socket.until("response.in_progress"))[-1]["response"]["id"]
    await socket.until("response.output_item.added")
    await steer(socket, response_id)
    told = await answered(socket)
    if any(event["type"] in TERMINALS for event in socket.events) and "error" in told:
        raise NotShown("its model makes calls too quickly to be steered meanwhile")
    check(told["type"] == "response.steer.accepted", f"the answer is {told}")
    turn = Turn(tuple((await socket.until(*TERMINALS))[-1:]))
    pending = await socket.receive()
    check(pending["type"] == "response.steer.pending", f"after the calls comes {pending}")
    check(pending["steer"] == told["steer"], "another steer is pending")
    return turn, pending


@case(122, "AW-G-009", "AW-G-010", needs=["tools", "slow", "steering"])
async def a_steer_waits_for_the_outputs(peer: Peer) -> None:
    """Steer a response that ends in a call; the steer is pending until the call is answered."""
    async with peer.socket() as socket:
        turn, pending = await _waiting(socket, peer)
        check(pending["reason"] == "waiting_for_required_input", f"the reason is {pending['reason']}")
        stubs = [{"type": "function_call_output", "call_id": call["call_id"]} for call in turn.calls]
        given = [{name: stub.get(name) for name in ("type", "call_id")} for stub in pending["required_input"]]
        check(given == stubs, f"the stubs are {pending['required_input']}")
        answer = (await socket.ask(outputs(turn, SUNNY), previous_response_id=turn.id, tools=[WEATHER])).completed()
        check(answer.response["previous_response_id"] == turn.id, "the answer continues another response")
        await socket.usable()


@case(125, "AW-G-017", needs=["tools", "slow", "steering"])
async def a_steer_that_reaches_nothing_is_handed_back(peer: Peer) -> None:
    """Let a steer wait for a call's output, and answer another call instead."""
    stranger = [{"type": "function_call_output", "call_id": "call_that_never_was", "output": "1"}]
    async with peer.socket() as socket:
        turn, pending = await _waiting(socket, peer)
        (await socket.ask(stranger, previous_response_id=turn.id, tools=[WEATHER])).refused()
        told = await answered(socket)
        handed_back(told, "successor_creation_failed", turn.id, "Be brief.")
        check(told["steer"].get("id") == pending["steer"]["id"], "the failure does not name the steer")
        await socket.usable()
