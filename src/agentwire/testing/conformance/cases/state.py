"""Cases about what a connection remembers."""

from __future__ import annotations

from typing import Any, Final

from agentwire.testing.conformance.cases.frames import LONG_TASK
from agentwire.testing.conformance.cases.lanes import RUNNING, everything
from agentwire.testing.conformance.cases.tools import QUESTION, SUNNY, WEATHER, call, outputs
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.turns import Socket, Turn, about, check

__all__ = [
    "a_chain_goes_on_without_storing",
    "a_context_has_a_length",
    "a_failed_continuation_evicts",
    "a_history_in_full_matches_as_well",
    "a_queued_fork_may_lose_its_parent",
    "a_refused_continuation_evicts",
    "a_refused_fork_evicts_nothing",
    "a_response_that_fails_is_not_remembered",
    "a_started_fork_keeps_its_parent",
    "an_incomplete_response_is_remembered",
    "another_connection_does_not_know_it",
    "any_lane_may_fork_from_any_other",
    "calls_and_outputs_match_one_to_one",
    "nothing_is_inherited_but_the_conversation",
    "only_the_latest_is_remembered",
    "owners_do_not_see_each_other",
    "permits_are_shared_by_all_lanes",
    "references_stand_for_items",
    "refusals_of_other_requests_change_nothing",
    "what_is_stored_goes_on_elsewhere",
    "what_still_runs_cannot_be_continued",
    "what_was_evicted_may_come_from_the_store",
]

NOT_FOUND: Final = "previous_response_not_found"
STRANGER: Final = [{"type": "function_call_output", "call_id": "call_that_never_was", "output": "1"}]


async def known(socket: Socket, response_id: str, **fields: Any) -> Turn:
    """A response that can be continued here."""
    return (await socket.ask("Go on.", previous_response_id=response_id, **fields)).completed()


async def forgotten(socket: Socket, response_id: str, **fields: Any) -> None:
    """A response that cannot."""
    (await socket.ask("Go on.", previous_response_id=response_id, **fields)).refused(NOT_FOUND)


@case(92, "AW-S-001", "AW-X-001")
async def a_chain_goes_on_without_storing(peer: Peer) -> None:
    """Continue a response, and what continues it, and so on, with nothing stored."""
    async with peer.socket() as socket:
        turn = (await socket.ask()).completed()
        for _ in range(3):
            parent = turn.id
            turn = await known(socket, parent)
            check(turn.response["previous_response_id"] == parent, "the response does not name its parent")


@case(93, "AW-S-002", "AW-E-004")
async def another_connection_does_not_know_it(peer: Peer) -> None:
    """Continue a response that is not stored on another connection, while the first is open and after it."""
    async with peer.socket() as first:
        turn = (await first.ask()).completed()
        async with peer.socket() as second:
            await forgotten(second, turn.id)
            await second.usable()
        await known(first, turn.id)
    async with peer.socket() as third:
        await forgotten(third, turn.id)


@case(94, "AW-S-003", "AW-S-004", "AW-S-024")
async def what_is_stored_goes_on_elsewhere(peer: Peer) -> None:
    """Continue a stored response, whose parent was not, on another connection and over HTTP."""
    async with peer.socket() as first:
        root = (await first.ask()).completed()
        kept = await known(first, root.id, store=True)
    async with peer.socket() as second:
        await forgotten(second, root.id)
        with about("AW-S-003"):
            further = await known(second, kept.id)
        check(
            further.response["usage"]["input_tokens"] > kept.response["usage"]["input_tokens"],
            "context was lost",
            "AW-S-024",
        )
    reply = await peer.post("Go on.", previous_response_id=kept.id)
    check(reply.status == 200, f"over HTTP the status is {reply.status}", "AW-S-004")


@case(95, "AW-S-005")
async def only_the_latest_is_remembered(peer: Peer) -> None:
    """Continue a response twice, with other turns of the lane between."""
    async with peer.socket() as socket:
        first = (await socket.ask()).completed()
        second = await known(socket, first.id)
        await forgotten(socket, first.id)
        await known(socket, second.id)


@case(96, "AW-S-006")
async def any_lane_may_fork_from_any_other(peer: Peer) -> None:
    """Fork a named lane's response on another and on the default lane, and go on where it came from."""
    async with peer.socket() as socket:
        root = (await socket.ask(stream_id="a")).completed()
        fork = await known(socket, root.id, stream_id="b")
        other = await known(socket, root.id)
        again = await known(socket, root.id, stream_id="a")
        for turn, fields in ((fork, {"stream_id": "b"}), (other, {}), (again, {"stream_id": "a"})):
            await known(socket, turn.id, **fields)


@case(97, "AW-S-007", "AW-S-019", "AW-S-022")
async def a_failed_continuation_evicts(peer: Peer) -> None:
    """Answer a call that was never made; the response is not found afterwards, and the connection goes on."""
    async with peer.socket() as socket:
        turn = (await socket.ask()).completed()
        with about("AW-S-019"):
            refused = (await socket.ask(STRANGER, previous_response_id=turn.id)).refused()
        param = str((refused.error or {})["error"].get("param"))
        check(param.startswith("input"), f"the error names {param!r}", "AW-S-022")
        with about("AW-S-007"):
            await forgotten(socket, turn.id)
        await socket.usable()


@case(98, "AW-S-007")
async def a_refused_continuation_evicts(peer: Peer) -> None:
    """Continue a response with a setting that is not legal."""
    async with peer.socket() as socket:
        turn = (await socket.ask()).completed()
        (await socket.ask(previous_response_id=turn.id, temperature=99)).refused()
        await forgotten(socket, turn.id)


@case(99, "AW-S-007", "AW-S-008", "AW-S-013", needs=["failing"])
async def a_response_that_fails_is_not_remembered(peer: Peer) -> None:
    """Continue a response with a model that fails, on another lane and then on its own."""
    async with peer.socket() as socket:
        turn = (await socket.ask()).completed()
        fork: dict[str, Any] = {} if peer.profile == "open-responses" else {"stream_id": "fork"}
        parent = {"previous_response_id": turn.id} if fork else {}  # without lanes: a failure that continues nothing
        failed = await socket.ask(model=peer.failing_model, **parent, **fork)
        check(failed.failed, "the failing model did not fail")
        await known(socket, turn.id)
    async with peer.socket() as socket:
        turn = (await socket.ask()).completed()
        failed = await socket.ask(previous_response_id=turn.id, model=peer.failing_model)
        check(failed.failed, "the failing model did not fail")
        await forgotten(socket, failed.id)
        await forgotten(socket, turn.id)


@case(100, "AW-S-008")
async def a_refused_fork_evicts_nothing(peer: Peer) -> None:
    """Fork a response with an output that answers nothing."""
    async with peer.socket() as socket:
        turn = (await socket.ask()).completed()
        (await socket.ask(STRANGER, previous_response_id=turn.id, stream_id="b")).refused()
        await known(socket, turn.id)


@case(101, "AW-S-009", "AW-S-011", "AW-E-004")
async def refusals_of_other_requests_change_nothing(peer: Peer) -> None:
    """Be refused with requests that continue nothing, and with messages that never reach a lane."""
    async with peer.socket() as socket:
        turn = (await socket.ask()).completed()
        with about("AW-S-009"):
            (await socket.ask(temperature=99)).refused()
        with about("AW-S-011"):
            (await socket.say("no JSON")).refused()
            (await socket.say({"type": "response.cancel"})).refused()
        if peer.profile == "openai":
            (await socket.say({"type": "response.create", **peer.body(), "stream_id": "no good"})).refused()
        with about("AW-S-009"):
            await known(socket, turn.id)


@case(91, "AW-E-012", "AW-C-032", "AW-S-007", needs=["context_tokens"])
async def a_context_has_a_length(peer: Peer) -> None:
    """Let a chain grow beyond what the model can read: it is refused, and with truncation it runs."""
    words = "word " * (peer.limit("context_tokens", 100_000) // 3)
    async with peer.socket() as socket:
        for settings in ({"truncation": "disabled"}, {"truncation": "auto"}):
            turn = (await socket.ask(words)).completed()
            turn = (await socket.ask(words, previous_response_id=turn.id)).completed()
            longer = await socket.ask(words, previous_response_id=turn.id, **settings)
            if settings["truncation"] == "auto":
                longer.completed()
            else:
                longer.refused("context_length_exceeded")
                await forgotten(socket, turn.id)


@case(102, "AW-S-012")
async def an_incomplete_response_is_remembered(peer: Peer) -> None:
    """Continue a response that a limit cut off."""
    async with peer.socket() as socket:
        turn = await socket.ask("Repeat: " + " ".join(["alpha beta gamma delta"] * 20), max_output_tokens=16)
        check(turn.end["type"] == "response.incomplete", f"the turn ended with {turn.end['type']}")
        await known(socket, turn.id)


@case(103, "AW-S-014", needs=["slow"])
async def a_queued_fork_may_lose_its_parent(peer: Peer) -> None:
    """Fork on a lane that is busy, and let the source lane go on before the fork can start."""
    async with peer.socket() as socket:
        root = (await socket.ask(stream_id="source")).completed()
        await socket.create(LONG_TASK, model=peer.slow_model, stream_id="busy")
        await socket.until("response.in_progress", lane="busy")
        await socket.create("Go on.", previous_response_id=root.id, stream_id="busy")
        await known(socket, root.id, stream_id="source")
        (await socket.finish("busy")).completed()
        (await socket.finish("busy")).refused(NOT_FOUND)


@case(104, "AW-S-015", needs=["slow"])
async def a_started_fork_keeps_its_parent(peer: Peer) -> None:
    """Let the source lane go on as soon as the fork is in progress."""
    async with peer.socket() as socket:
        root = (await socket.ask(stream_id="source")).completed()
        await socket.create(LONG_TASK, model=peer.slow_model, previous_response_id=root.id, stream_id="fork")
        await socket.until("response.in_progress", lane="fork")
        await socket.create("Go on.", previous_response_id=root.id, stream_id="source")
        events = await everything(socket, 2)
        ends = [event["type"] for event in events if event["type"] in ("response.completed", "error")]
        check(ends == ["response.completed"] * 2, f"the turns ended with {ends}")


@case(105, "AW-S-016", "AW-S-017", "AW-S-018")
async def nothing_is_inherited_but_the_conversation(peer: Peer) -> None:
    """Ask with settings, and continue without any."""
    async with peer.socket() as socket:
        fields = {"instructions": "Be brief.", "metadata": {"k": "v"}, "temperature": 0.5, "tools": [WEATHER]}
        first = (await socket.ask(tool_choice="none", **fields)).completed()
        second = await known(socket, first.id)
        third = (await socket.ask()).completed()
        for turn in (second, third):
            told = turn.response
            check(told["instructions"] is None, "the instructions were inherited")
            check(not told["metadata"], "the metadata were inherited")
            check(told["tools"] == [], "the tools were inherited")
            check(told["tool_choice"] == "auto", "the tool choice was inherited")
            check(told["temperature"] != 0.5, "the temperature was inherited")
        check(third.response["previous_response_id"] is None, "a request without a parent continues something")
        tokens = [turn.response["usage"]["input_tokens"] for turn in (second, third)]
        check(tokens[1] < tokens[0], "a request without a parent has the context of the lane")


@case(106, "AW-S-020", "AW-S-021", "AW-S-022", "AW-S-007", needs=["tools"])
async def calls_and_outputs_match_one_to_one(peer: Peer) -> None:
    """Leave a call unanswered, and answer one twice."""
    async with peer.socket() as socket:
        turn = await call(socket)
        missing = await socket.ask("Never mind.", previous_response_id=turn.id, tools=[WEATHER])
        missing.refused()
        with about("AW-S-007"):
            await forgotten(socket, turn.id)
        turn = await call(socket)
        twice = outputs(turn, SUNNY) * 2
        with about("AW-S-021"):
            double = (await socket.ask(twice, previous_response_id=turn.id, tools=[WEATHER])).refused()
        with about("AW-S-022"):
            missing.refused(param="input")
        codes = (missing.code, double.code, (await socket.ask(STRANGER)).code)
        wanted = ("tool_output_missing", "duplicate_tool_output", "tool_call_not_found")
        check(codes == wanted, f"the codes are {codes}", "AW-S-022")
        await socket.usable()


@case(107, "AW-S-020", "AW-S-021", needs=["tools"])
async def a_history_in_full_matches_as_well(peer: Peer) -> None:
    """Send a whole history whose call has no output, or two."""
    asked = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city":"Paris"}'}
    answer = {"type": "function_call_output", "call_id": "call_1", "output": SUNNY}
    user = {"role": "user", "content": QUESTION}
    async with peer.socket() as socket:
        (await socket.ask([user, asked, answer], tools=[WEATHER])).completed()
        (await socket.ask([user, asked, answer, answer], tools=[WEATHER])).refused()
        (await socket.ask([user, answer], tools=[WEATHER])).refused()
        (await socket.ask([user, asked], tools=[WEATHER])).refused()


@case(108, "AW-S-023")
async def what_was_evicted_may_come_from_the_store(peer: Peer) -> None:
    """Fail to continue a stored response, and then continue it."""
    async with peer.socket() as socket:
        turn = (await socket.ask(store=True)).completed()
        (await socket.ask(STRANGER, previous_response_id=turn.id)).refused()
        await known(socket, turn.id)


@case(109, "AW-S-025", "AW-R-005", needs=["second key"])
async def owners_do_not_see_each_other(peer: Peer) -> None:
    """Ask for, and continue, a stored response with another owner's key."""
    async with peer.socket() as socket:
        kept = (await socket.ask(store=True)).completed().id
    async with peer.socket(key=peer.second_key) as other:
        await forgotten(other, kept)
    check((await peer.http("GET", kept, key=peer.second_key)).status == 404, "another owner can get it")
    check((await peer.http("GET", kept)).status == 200, "its owner cannot get it")


@case(110, "AW-S-026")
async def references_stand_for_items(peer: Peer) -> None:
    """Refer to an item of a stored response, from another connection, and to one that is nowhere."""
    async with peer.socket() as socket:
        item = (await socket.ask(store=True)).completed().output[-1]["id"]
    more = {"role": "user", "content": "Say it again."}
    async with peer.socket() as socket:
        (await socket.ask([{"type": "item_reference", "id": item}, more])).completed()
        turn = await socket.ask([{"type": "item_reference", "id": "msg_none"}, more])
        check(turn.error is not None and turn.error["status"] in (400, 404), "a reference to nothing was taken")


@case(111, "AW-S-027", needs=["slow"])
async def what_still_runs_cannot_be_continued(peer: Peer) -> None:
    """Continue a response from another connection while it runs."""
    async with peer.socket() as socket, peer.socket() as other:
        await socket.create(LONG_TASK, model=peer.slow_model, store=True)
        begun = await socket.until("response.in_progress")
        await forgotten(other, begun[-1]["response"]["id"])


@case(57, "AW-L-007", needs=["slow"])
async def permits_are_shared_by_all_lanes(peer: Peer) -> None:
    """Fill all places with long responses; a short one on one more lane waits for the first of them to end."""
    async with peer.socket() as socket:
        for number in range(RUNNING):
            await socket.create(LONG_TASK, model=peer.slow_model, stream_id=f"lane{number}")
        await socket.create(stream_id="short")
        events = await everything(socket, RUNNING + 1)
        created = [event.get("stream_id") for event in events if event["type"] == "response.created"]
        check(created[-1] == "short", "the short one did not wait")
