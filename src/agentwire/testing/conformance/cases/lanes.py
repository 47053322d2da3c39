"""Cases about lanes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

from agentwire.testing.conformance.cases.frames import LONG_TASK
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.rules.model import OPENAI
from agentwire.testing.conformance.turns import TERMINALS, Socket, Turn, about, check

__all__ = [
    "RUNNING",
    "a_lane_is_first_come_first_served",
    "a_lane_of_null_is_the_default_one",
    "an_error_stays_on_its_lane",
    "every_event_names_its_lane",
    "everything",
    "lane_names_are_checked",
    "lanes_run_at_the_same_time",
    "sixteen_responses_run_at_once",
    "the_queue_is_bounded",
    "there_are_32_lane_names",
    "without_lanes_one_response_runs_at_a_time",
]

NAMES: Final = 32
RUNNING: Final = 16


async def everything(socket: Socket, count: int) -> list[dict[str, Any]]:
    """All events until so many requests have ended."""
    found: list[dict[str, Any]] = []
    while count:
        found.append(await socket.receive())
        count -= found[-1].get("type") in (*TERMINALS, "error")
    return found


def spans(events: list[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """Where each response begins and ends among these events."""
    begins: dict[str, int] = {}
    found = {}
    for place, event in enumerate(events):
        if event.get("type") == "response.created":
            begins[event["response"]["id"]] = place
        elif event.get("type") in TERMINALS:
            found[event["response"]["id"]] = (begins[event["response"]["id"]], place)
    return found


@case(50, "AW-L-001")
async def lane_names_are_checked(peer: Peer) -> None:
    """Ask on lanes with every legal character and of every legal length, and on ones with illegal names."""
    async with peer.socket() as socket:
        for name in ("a", "A-z_0.9", "x" * 256):
            (await socket.ask(stream_id=name)).completed()
        illegal: list[Any] = ["", "x" * 257, "a b", "ä", "a/b", "a\n", 5, ["a"], True]
        for name in illegal:
            await socket.create(stream_id=name)
            turn = (await socket.finish()).refused("invalid_stream_id", param="stream_id")
            check("stream_id" not in turn.end, "the refusal has a stream_id")
        await socket.usable()


@case(51, "AW-L-002")
async def a_lane_of_null_is_the_default_one(peer: Peer) -> None:
    """Ask on lane null."""
    async with peer.socket() as socket:
        await socket.create(stream_id=None)
        (await socket.finish()).completed()


@case(52, "AW-L-003", "AW-E-005")
async def every_event_names_its_lane(peer: Peer) -> None:
    """Look for `stream_id` in the events of turns and refusals, on a named lane and on the default one."""
    async with peer.socket() as socket:
        for lane in ("a", None):
            start = len(socket.events)
            fields = {} if lane is None else {"stream_id": lane}
            (await socket.ask(**fields)).completed()
            (await socket.ask(temperature=99, **fields)).refused()
            (await socket.ask(previous_response_id="resp_none", **fields)).refused()
            for event in socket.events[start:]:
                named = event.get("stream_id", "absent")
                check(named == (lane or "absent"), f"{event['type']} has the stream_id {named!r} on lane {lane!r}")


async def _in_order(peer: Peer, lane: dict[str, str]) -> None:
    async with peer.socket() as socket:
        for number in range(4):
            await socket.create(metadata={"number": str(number)}, **lane)
        events = await everything(socket, 4)
        created = [event["response"] for event in events if event["type"] == "response.created"]
        check([response["metadata"].get("number") for response in created] == list("0123"), "they ran out of order")
        ends = sorted(spans(events).values())
        check(all(one[1] < two[0] for one, two in pairwise(ends)), "two of them ran at once")


@case(53, "AW-L-004")
async def a_lane_is_first_come_first_served(peer: Peer) -> None:
    """Send four requests at once on one named lane."""
    await _in_order(peer, {"stream_id": "a"})


@case(60, "AW-L-012", "AW-L-006")
async def without_lanes_one_response_runs_at_a_time(peer: Peer) -> None:
    """Send four requests at once without a lane."""
    await _in_order(peer, {})


@case(54, "AW-L-005", needs=["slow"])
async def lanes_run_at_the_same_time(peer: Peer) -> None:
    """Start two long responses on two lanes, and one on the default lane."""
    async with peer.socket() as socket:
        await socket.create(LONG_TASK, model=peer.slow_model, stream_id="a")
        await socket.create(LONG_TASK, model=peer.slow_model, stream_id="b")
        await socket.create(LONG_TASK, model=peer.slow_model)
        found = spans(await everything(socket, 3)).values()
        check(max(begin for begin, _ in found) < min(end for _, end in found), "they ran one after the other")


@case(56, "AW-L-007", needs=["slow"])
async def sixteen_responses_run_at_once(peer: Peer) -> None:
    """Start seventeen long responses on as many lanes: one of them waits, and none is refused."""
    async with peer.socket() as socket:
        for number in range(RUNNING + 1):
            await socket.create(LONG_TASK, model=peer.slow_model, stream_id=f"lane{number}")
        events = await everything(socket, RUNNING + 1)
        check(not any(event["type"] == "error" for event in events), "one of them was refused")
        found = spans(events).values()
        first_end = min(end for _, end in found)
        running = sum(begin < first_end for begin, _ in found)
        check(running == RUNNING, f"{running} responses ran at once")


@case(55, "AW-L-006", "AW-L-008", "AW-L-009")
async def there_are_32_lane_names(peer: Peer) -> None:
    """Use 32 names and two more: those are refused, the known ones and the default lane go on."""
    async with peer.socket() as socket:
        await socket.usable()
        for number in range(NAMES):
            await socket.create(stream_id=f"lane{number}", generate=False)
        await everything(socket, NAMES)
        for name, rule in (("one-more", "AW-L-008"), ("another", "AW-L-008"), ("one-more", "AW-L-009")):
            with about(rule):
                turn = (await socket.ask(stream_id=name)).refused("websocket_stream_limit_reached")
            check(turn.end.get("stream_id") == name, "the refusal does not name the lane")
        (await socket.ask(stream_id="lane31")).completed()
        (await socket.ask(stream_id="lane0")).completed()
        await socket.usable()


@case(58, "AW-L-010", "AW-E-010", needs=["slow", "queued"])
async def the_queue_is_bounded(peer: Peer) -> None:
    """Send more requests on one lane than may wait: what is too many is refused with 429, and the others run."""
    bound = peer.limit("queued", 0)
    async with peer.socket() as socket:
        await socket.create(LONG_TASK, model=peer.slow_model)
        await socket.until("response.in_progress")
        for _ in range(bound + 2):
            await socket.create()
        events = await everything(socket, bound + 3)
        refusals = [
            Turn((event,)).refused("websocket_queue_full", status=429) for event in events if event["type"] == "error"
        ]
        check(len(refusals) == 2, f"{len(refusals)} requests were refused, and not 2", "AW-L-010")
        for told in (refusals[0].end, refusals[0].end["error"]):
            check(
                "retry-after" in (told.get("headers") or {}), "the refusal does not say when to try again", "AW-E-010"
            )
        await socket.usable()


@case(59, "AW-L-011", "AW-E-004", needs=["slow"], profiles=OPENAI)
async def an_error_stays_on_its_lane(peer: Peer) -> None:
    """Be refused in several ways while another lane's response runs."""
    async with peer.socket() as socket:
        await socket.create(LONG_TASK, model=peer.slow_model, stream_id="a")
        await socket.until("response.in_progress", lane="a")
        await socket.create(temperature=99, stream_id="b")
        await socket.ws.send("no JSON")
        await socket.create(stream_id="no good")
        events = await everything(socket, 4)
        lanes = [event.get("stream_id") for event in events if event["type"] == "error"]
        check(sorted(map(str, lanes)) == ["None", "None", "b"], f"the errors are on the lanes {lanes}")
        check(events[-1]["type"] == "response.completed", "the response was touched")
