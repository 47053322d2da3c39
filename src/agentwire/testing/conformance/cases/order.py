"""Cases about the order of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from agentwire.protocol.grammar import Checker, GrammarError
from agentwire.testing.conformance.cases.tools import QUESTION, WEATHER, forced
from agentwire.testing.conformance.exchange import Reply
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.turns import CaseFailed, Turn, about, check

__all__ = [
    "a_call_is_told_in_order",
    "a_failing_model_fails_its_response",
    "a_message_is_told_in_order",
    "a_search_is_told_in_order",
    "a_summary_is_told_in_order",
    "an_answer_that_is_cut_off_is_incomplete",
    "each_transport_tells_the_same",
    "legal",
]

EVERYWHERE: Final = ("AW-O-003", "AW-O-004", "AW-O-005", "AW-O-006", "AW-O-007", "AW-O-009", "AW-O-012", "AW-O-013")
"""What the grammar says of every response."""


def legal(turn: Turn) -> Turn:
    """A whole turn, if its events are legal from the first to the last."""
    checker = Checker()
    try:
        for event in turn.events:
            checker.feed(event)
        checker.finish()
    except GrammarError as error:
        raise CaseFailed(str(error)) from error
    return turn


def stems(turn: Turn) -> list[str]:
    """The types of the events without repetitions and without what comes between a response's ends."""
    types = [kind.removeprefix("response.") for kind in turn.types]
    return [kind for place, kind in enumerate(types) if place == 0 or types[place - 1] != kind]


@case(61, *EVERYWHERE, "AW-O-008", "AW-O-010", "AW-O-011", "AW-O-016", "AW-O-027", "AW-O-030")
async def a_message_is_told_in_order(peer: Peer) -> None:
    """Hold a turn in words, and read every event of it."""
    async with peer.socket() as socket:
        turn = legal((await socket.ask()).completed())
    inside = [
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
    ]
    told = " ".join(stems(turn))
    check(" ".join(inside) in told, f"a message is told as {told}", "AW-O-011")
    for event in turn.events:
        kind = event["type"]
        if kind.startswith("response.output_text."):
            check(isinstance(event.get("logprobs"), list), f"{kind} has no logprobs", "AW-O-016")
        if kind in ("response.created", "response.in_progress"):
            check(event["response"].get("usage") is None, f"{kind} tells of usage", "AW-O-030")
        check(":" not in kind, f"{kind} was not asked for", "AW-O-027")
    check(turn.response.get("usage"), "the terminal event tells nothing of usage", "AW-O-030")


@case(62, *EVERYWHERE, "AW-O-008", "AW-O-019", "AW-T-009", "AW-T-010", needs=["tools"])
async def a_call_is_told_in_order(peer: Peer) -> None:
    """Force a function call, and read every event of it."""
    async with peer.socket() as socket:
        turn = legal((await socket.ask(QUESTION, tools=[WEATHER], tool_choice=forced(WEATHER))).completed())
    told = [kind for kind in stems(turn) if kind.startswith("function_call_arguments")]
    check(told[-1:] == ["function_call_arguments.done"], f"a call is told as {stems(turn)}")
    for call in turn.calls:
        check(call["arguments"].startswith("{"), f"the arguments are {call['arguments']!r}")
        check(1 <= len(call["call_id"]) <= 64, f"the call_id is {call['call_id']!r}")


@case(63, *EVERYWHERE, "AW-O-021", needs=["reasoning"])
async def a_summary_is_told_in_order(peer: Peer) -> None:
    """Ask for a summary of the reasoning."""
    async with peer.socket() as socket:
        turn = legal((await socket.ask(reasoning={"summary": "auto"})).completed())
    inside = "reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.done"
    told = " ".join(stems(turn))
    check(f"{inside} reasoning_summary_part.done" in told, f"a summary is told as {told}")


@case(66, "AW-O-025", *EVERYWHERE, "AW-T-013", needs=["search"])
async def a_search_is_told_in_order(peer: Peer) -> None:
    """Force a search, and read every event of it."""
    tool = {"type": "web_search"}
    async with peer.socket() as socket:
        turn = legal((await socket.ask('Search for "websockets".', tools=[tool], tool_choice=tool)).completed())
        searches = [item for item in turn.output if item["type"] == "web_search_call"]
        check(searches, f"nothing was searched for: {turn.output}")
        check(all(item["status"] == "completed" and item["action"] for item in searches), f"it searched {searches}")
        stages = [kind for kind in stems(turn) if kind.startswith("web_search_call.")]
        order = [f"web_search_call.{stage}" for stage in ("in_progress", "searching", "completed")]
        check(stages in ([], order * len(searches)), f"the stages are {stages}")
        (await socket.ask("Go on.", previous_response_id=turn.id)).completed()


@case(64, *EVERYWHERE, "AW-O-018", "AW-J-012")
async def an_answer_that_is_cut_off_is_incomplete(peer: Peer) -> None:
    """Allow the smallest number of tokens for a long answer."""
    async with peer.socket() as socket:
        words = "Repeat these words exactly: " + " ".join(["alpha beta gamma delta epsilon zeta eta theta"] * 8)
        turn = legal(await socket.ask(words, max_output_tokens=16))
        with about("AW-J-012"):
            check(turn.end["type"] == "response.incomplete", f"the turn ended with {turn.end['type']}")
            check(turn.response["status"] == "incomplete", f"the status is {turn.response['status']}")
            details = turn.response["incomplete_details"]
            check(details == {"reason": "max_output_tokens"}, f"incomplete_details is {details}")
        cut = [item["type"] for item in turn.output[:-1] if item.get("status") == "incomplete"]
        check(not cut, f"these items are incomplete, but not the last: {cut}", "AW-O-018")


@case(65, *EVERYWHERE[:2], "AW-O-017", "AW-E-001", "AW-E-002", "AW-E-009", "AW-E-015", "AW-J-013", needs=["failing"])
async def a_failing_model_fails_its_response(peer: Peer) -> None:
    """Ask a model that fails."""
    async with peer.socket() as socket:
        turn = legal(await socket.ask(model=peer.failing_model))
        check(turn.types[-2:] == ["error", "response.failed"], f"the turn ended with {turn.types[-2:]}")
        assert turn.error is not None
        check(turn.error.get("sequence_number") == turn.end["sequence_number"] - 1, "the error has not the next number")
        told, shown = turn.error["error"], turn.response["error"]
        check(isinstance(shown, dict) and shown.get("message"), f"the response's error is {shown}")
        check(shown["code"] == told["code"], f"the event says {told['code']!r} and the response {shown['code']!r}")
        check(turn.error.get("status", 0) >= 500, f"the status of the server's own fault is {turn.error.get('status')}")
        check(turn.response["status"] == "failed", f"the status is {turn.response['status']}")
        await socket.usable()


@case(67, "AW-O-029", "AW-P-001")
async def each_transport_tells_the_same(peer: Peer) -> None:
    """Ask the same on the socket, as a stream and as a whole: the same events, and the same response."""
    async with peer.socket() as socket:
        spoken = legal((await socket.ask()).completed())
    async with peer.events("POST", body=peer.body(stream=True)) as events:
        streamed = legal((await events.rest()).completed())
    whole: Reply = await peer.post()
    check(whole.status == 200, f"the status is {whole.status}")
    check(stems(spoken) == stems(streamed), f"the socket says {stems(spoken)}, the stream {stems(streamed)}")
    shapes = [shape(found) for found in (spoken.response, streamed.response, whole.json())]
    check(shapes[0] == shapes[1] == shapes[2], "the responses have not the same members")


def shape(value: Any) -> Any:
    """The members of an object, and of what is in it; of a list its first element stands for all."""
    if isinstance(value, Mapping):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [shape(member) for member in value[:1]]
    return type(value).__name__
