"""Cases about errors."""

from __future__ import annotations

from typing import Any

from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.turns import about, check

__all__ = [
    "an_error_has_its_shape",
    "an_error_is_the_same_over_http",
    "an_unknown_parent_is_not_found",
]

REFUSED: list[dict[str, Any]] = [
    {"temperature": 99},
    {"model": ...},
    {"input": 5},
    {"previous_response_id": "resp_none"},
    {"max_output_tokens": 1},
]


@case(88, "AW-E-001", "AW-E-002", "AW-E-003", "AW-E-004", "AW-E-006")
async def an_error_has_its_shape(peer: Peer) -> None:
    """Be refused in many ways, and look at each error."""
    async with peer.socket() as socket:
        turns = [await socket.ask(**fields) for fields in REFUSED]
        turns += [await socket.say("no JSON"), await socket.say({"type": "response.cancel"})]
        for turn in turns:
            turn.refused()
            error = turn.end["error"]
            missing = [name for name in ("type", "code", "message", "param") if name not in error]
            check(not missing, f"an error lacks {', '.join(missing)}: {turn.end}")
            check(isinstance(error["code"], str) and error["code"], f"the code is {error['code']!r}", "AW-E-003")
            check(isinstance(error["message"], str) and error["message"], "an error says nothing")
            check("code" not in turn.end, "an error has the flat form, too", "AW-E-001")
            check(
                turn.end.get("sequence_number") == 0, f"its number is {turn.end.get('sequence_number')!r}", "AW-E-006"
            )
        await socket.usable()


@case(89, "AW-E-002", "AW-P-003", "AW-V-005", "AW-E-008")
async def an_error_is_the_same_over_http(peer: Peer) -> None:
    """Be refused for the same on the socket, over HTTP, and over HTTP when asking for a stream."""
    async with peer.socket() as socket:
        for fields in REFUSED:
            told = (await socket.ask(**fields)).refused().end
            for stream in (False, True):
                content = {"content": fields["input"]} if "input" in fields else {}
                others = {name: value for name, value in fields.items() if name != "input"}
                reply = await peer.post(**content, **others, stream=stream)
                said = f"HTTP says {reply.status}, and the event {told['status']}"
                check(reply.status == told["status"], said, "AW-E-002")
                check(reply.headers.get("content-type", "").startswith("application/json"), "the error is no JSON")
                error = reply.json()["error"]
                for name in ("type", "code", "param"):
                    check(error[name] == told["error"][name], f"{name} is {error[name]!r} over HTTP", "AW-P-003")
                check(error["message"], "the error says nothing")


@case(90, "AW-E-007", "AW-S-010")
async def an_unknown_parent_is_not_found(peer: Peer) -> None:
    """Continue a response that never was; what the lane remembers stays."""
    async with peer.socket() as socket:
        first = (await socket.ask()).completed()
        turn = await socket.ask(previous_response_id="resp_00000000000000000000000000000000")
        with about("AW-E-007"):
            turn.refused("previous_response_not_found", param="previous_response_id")
        with about("AW-S-010"):
            (await socket.ask(previous_response_id=first.id)).completed()
