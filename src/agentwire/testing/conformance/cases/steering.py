"""Cases about steering."""

from __future__ import annotations

import re
from typing import Any

from agentwire.testing.conformance.cases.frames import LONG_TASK
from agentwire.testing.conformance.cases.tools import QUESTION, SUNNY, WEATHER, forced, outputs
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.turns import TERMINALS, Socket, Turn, check

__all__ = [
    "a_steer_takes_user_messages",
    "a_steer_that_comes_too_late_is_handed_back",
    "a_steer_waits_for_the_outputs",
    "a_steered_response_has_a_successor",
    "a_successor_goes_before_what_waits",
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


@case("AW-G-002", "AW-G-003", "AW-G-004")
async def a_steer_that_comes_too_late_is_handed_back(peer: Peer) -> None:
    """Steer a response that never was, and one that has ended."""
    async with peer.socket() as socket:
        await steer(socket, "resp_none")
        handed_back(await answered(socket), "response_not_found", "resp_none", "Be brief.")
        ended = (await socket.ask()).completed().id
        await steer(socket, ended)
        handed_back(await answered(socket), "response_already_completed", ended, "Be brief.")
        await socket.usable()


@case("AW-G-005", "AW-G-002", needs=["slow", "steering"])
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


@case("AW-G-001", "AW-G-007", "AW-G-011", "AW-G-013", "AW-G-016", needs=["reasoning", "slow", "steering"])
async def a_steered_response_has_a_successor(peer: Peer) -> None:
    """Steer a long response on a lane, and follow it into its successor."""
    async with peer.socket() as socket:
        thinking = {"effort": "high", "summary": "auto"}
        settings = {"instructions": "Be kind.", "metadata": {"k": "v"}, "reasoning": thinking, "stream_id": "a"}
        response_id = await running(socket, peer, **settings)
        await steer(socket, response_id, [{"role": "user", "content": "Be brief."}])
        told = await answered(socket, "a")
        check(told["type"] == "response.steer.accepted", f"the answer is {told}")
        check(told["steer"]["previous_response_id"] == response_id, "it names another response")
        check(re.fullmatch("steer_[0-9a-f]{32}", told["steer"]["id"]), f"its id is {told['steer']['id']}")
        number = told["sequence_number"]
        events = await socket.until(*TERMINALS, lane="a")
        check(events[0]["sequence_number"] == number + 1, "the steer's event is not counted with the response's")
        end, created = events[-1], (await socket.until("response.created", lane="a"))[-1]
        check(end["type"] == "response.incomplete", f"the steered response ended with {end['type']}")
        check(end["response"]["incomplete_details"] == {"reason": "steered"}, "the reason is another one")
        successor = created["response"]
        check(created["sequence_number"] == 0, "the successor is not counted from 0")
        check(successor["previous_response_id"] == response_id, "the successor continues another response")
        inherited = {name: successor[name] for name in ("instructions", "metadata")}
        check(inherited == {"instructions": "Be kind.", "metadata": {"k": "v"}}, f"it has the settings {inherited}")
        turn = Turn((created, *await socket.until(*TERMINALS, lane="a"))).completed()
        (await socket.ask(previous_response_id=turn.id, stream_id="a")).completed()


@case("AW-G-012", needs=["slow", "steering"])
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


@case("AW-G-009", "AW-G-010", needs=["tools", "slow", "steering"])
async def a_steer_waits_for_the_outputs(peer: Peer) -> None:
    """Steer a response that ends in a call; the steer is pending until the call is answered."""
    async with peer.socket() as socket:
        await socket.create(QUESTION, model=peer.slow_model, tools=[WEATHER], tool_choice=forced(WEATHER))
        response_id = (await socket.until("response.created"))[-1]["response"]["id"]
        await socket.until("response.output_item.added")
        await steer(socket, response_id)
        told = await answered(socket)
        check(told["type"] == "response.steer.accepted", f"the answer is {told}")
        turn = Turn((await socket.until(*TERMINALS))[-1:])  # type: ignore[arg-type]
        pending = await socket.receive()
        check(pending["type"] == "response.steer.pending", f"after the calls comes {pending}")
        check(pending["reason"] == "waiting_for_required_input", f"the reason is {pending['reason']}")
        check(pending["steer"] == told["steer"], "another steer is pending")
        stubs = [{"type": "function_call_output", "call_id": call["call_id"]} for call in turn.calls]
        given = [{name: stub.get(name) for name in ("type", "call_id")} for stub in pending["required_input"]]
        check(given == stubs, f"the stubs are {pending['required_input']}")
        answer = await socket.ask(outputs(turn, SUNNY), previous_response_id=response_id, tools=[WEATHER])
        answer.completed()
