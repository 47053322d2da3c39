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

BEYOND: list[dict[str, Any]] = [{"temperature": 99}, {"max_output_tokens": 1}, {"model": ...}]
"""What a good server refuses, and some take: whether they should is another case's."""
REFUSED: list[dict[str, Any]] = [*BEYOND, {"input": 5}, {"previous_response_id": "resp_none"}]


@case(88, "AW-E-001", "AW-E-002", "AW-E-003", "AW-E-004", "AW-E-006")
async def an_error_has_its_shape(peer: Peer) -> None:
    """Be refused in many ways, and look at each error."""
    async with peer.socket() as socket:
        asked = [(fields, await socket.ask(**fields)) for fields in REFUSED]
        turns = [turn for fields, turn in asked if fields not in BEYOND or turn.failed]
        for turn in turns:
            error = turn.refused().end["error"]
            missing = [name for name in ("type", "code", "message", "param") if name not in error]
            check(not missing, f"an error lacks {', '.join(missing)}: {turn.end}")
            check(isinstance(error["message"], str) and error["message"], "an error says nothing")
            check("code" not in turn.end, "an error has the flat form, too", "AW-E-001")
        await socket.usable()
        for turn in turns:
            code = turn.end["error"]["code"]
            check(isinstance(code, str) and code, f"the code is {code!r}", "AW-E-003")
            check(
                turn.end.get("sequence_number") == 0, f"its number is {turn.end.get('sequence_number')!r}", "AW-E-006"
            )


@case(89, "AW-E-002", "AW-P-003", "AW-V-005", "AW-E-008")
async def an_error_is_the_same_over_http(peer: Peer) -> None:
    """Be refused for the same on the socket, over HTTP, and over HTTP when asking for a stream."""
    async with peer.socket() as socket:
        for fields in REFUSED:
            turn = await socket.ask(**fields)
            if fields in BEYOND and not turn.failed:
                continue
            told = turn.refused().end
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
