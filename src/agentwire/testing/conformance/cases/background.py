"""Cases about responses in the background."""

from __future__ import annotations

from typing import Any

import trio

from agentwire.testing.conformance.cases.frames import LONG_TASK
from agentwire.testing.conformance.cases.order import legal
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.turns import Turn, check

__all__ = [
    "a_background_response_can_be_cancelled",
    "a_background_response_is_polled",
    "a_background_response_must_be_stored",
    "a_background_stream_is_read_again",
    "only_background_responses_can_be_cancelled",
    "only_background_streams_are_read_again",
    "there_is_no_background_on_a_socket",
]

RUNS = ("queued", "in_progress")


async def begun(peer: Peer, **fields: Any) -> dict[str, Any]:
    """A long response in the background, as it was answered at once."""
    body = peer.body(LONG_TASK, model=peer.slow_model, background=True, store=True, **fields)
    reply = await peer.http("POST", "", body)
    check(reply.status == 200, f"the status is {reply.status}")
    response: dict[str, Any] = reply.json()
    return response


async def got(peer: Peer, response_id: str) -> dict[str, Any]:
    """The response as it stands."""
    reply = await peer.http("GET", response_id)
    check(reply.status == 200, f"the status is {reply.status}")
    response: dict[str, Any] = reply.json()
    return response


async def ended(peer: Peer, response_id: str) -> dict[str, Any]:
    """The response once it has ended."""
    while (response := await got(peer, response_id))["status"] in RUNS:  # noqa: ASYNC110 - polling is what it is about
        await trio.sleep(0.1)
    return response


@case(143, "AW-B-001", "AW-B-003", needs=["slow"])
async def a_background_response_is_polled(peer: Peer) -> None:
    """Start one, and ask for it until it is there."""
    response = await begun(peer)
    check(response["status"] in RUNS, f"it was answered when it was {response['status']}")
    check(response["background"] is True, f"background is {response['background']!r}")
    check((await got(peer, response["id"]))["status"] in RUNS, "it was not in the background")
    done = await ended(peer, response["id"])
    check(done["status"] == "completed" and done["output"], f"it ended as {done['status']}")
    async with peer.socket() as socket:
        (await socket.ask("Go on.", previous_response_id=response["id"])).completed()


@case(27, "AW-C-006")
async def there_is_no_background_on_a_socket(peer: Peer) -> None:
    """Ask for one on the socket."""
    async with peer.socket() as socket:
        (await socket.ask(background=True, store=True)).refused("unsupported_parameter", param="background")
        await socket.usable()


@case(144, "AW-B-002")
async def a_background_response_must_be_stored(peer: Peer) -> None:
    """Ask for one that is not stored."""
    reply = await peer.post(background=True, store=False)
    check(reply.status == 400, f"the status is {reply.status}")


@case(145, "AW-B-004", needs=["slow"])
async def a_background_response_can_be_cancelled(peer: Peer) -> None:
    """Cancel one, twice."""
    response = await begun(peer)
    for _ in range(2):
        reply = await peer.http("POST", f"{response['id']}/cancel")
        check(reply.status == 200, f"the status is {reply.status}")
        check(reply.json()["status"] == "cancelled", f"the response is {reply.json()['status']}")
    check((await ended(peer, response["id"]))["status"] == "cancelled", "it is not cancelled for good")


@case(146, "AW-B-005")
async def only_background_responses_can_be_cancelled(peer: Peer) -> None:
    """Cancel a response that is not in the background, and one that never was."""
    made = (await peer.post(store=True)).json()["id"]
    check((await peer.http("POST", f"{made}/cancel")).status == 400, "it was cancelled")
    check((await peer.http("POST", "resp_none/cancel")).status == 404, "it was found")


@case(147, "AW-B-006", "AW-B-008", needs=["slow"])
async def a_background_stream_is_read_again(peer: Peer) -> None:
    """Drop the stream in its midst, and read on from there, while it runs and when it is over."""
    body = peer.body(LONG_TASK, model=peer.slow_model, background=True, store=True, stream=True)
    first: list[dict[str, Any]] = []
    async with peer.events("POST", body=body) as events:
        while len(first) < 4 and (event := await events.event()) is not None:
            first.append(event)
    response_id = first[0]["response"]["id"]
    for _ in range(2):
        after = first[-1]["sequence_number"]
        async with peer.events("GET", f"{response_id}?stream=true&starting_after={after}") as events:
            check(events.reply.status == 200, f"the status is {events.reply.status}")
            rest = await events.rest()
        legal(Turn((*first, *rest.events)).completed())
    async with peer.events("GET", f"{response_id}?stream=true") as events:
        whole = legal(await events.rest())
    check(whole.events == (*first, *rest.events), "the whole is not its parts")


@case(148, "AW-B-007")
async def only_background_streams_are_read_again(peer: Peer) -> None:
    """Stream a response that was not in the background."""
    made = (await peer.post(store=True)).json()["id"]
    check((await peer.http("GET", f"{made}?stream=true")).status == 400, "it was streamed")
