"""Cases about stored responses."""

from __future__ import annotations

from typing import Any

import trio

from agentwire.testing.conformance.cases.frames import LONG_TASK
from agentwire.testing.conformance.exchange import Reply
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.turns import check

__all__ = [
    "a_cut_turn_leaves_nothing_unfinished",
    "a_deleted_response_is_gone",
    "a_response_is_stored_unless_it_must_not_be",
    "input_items_are_listed",
    "what_is_not_stored_is_not_there",
]


def absent(reply: Reply) -> None:
    """A 404 with an error in JSON."""
    check(reply.status == 404, f"the status is {reply.status}")
    check(reply.json()["error"]["message"], "the error says nothing")


@case(131, "AW-R-001", "AW-R-002")
async def a_response_is_stored_unless_it_must_not_be(peer: Peer) -> None:
    """Ask without `store` on both transports, and get what came of it."""
    async with peer.socket() as socket:
        made = [(await socket.ask(store=...)).completed().response, (await peer.post(store=...)).json()]
    for response in made:
        check(response["store"] is True, f"store is {response['store']!r}")
        reply = await peer.http("GET", response["id"])
        check(reply.status == 200, f"the status is {reply.status}")
        check(reply.json() == response, "what is stored is not what was said")


@case(132, "AW-R-003", "AW-R-004")
async def what_is_not_stored_is_not_there(peer: Peer) -> None:
    """Get a response of `store: false`, and one that never was."""
    async with peer.socket() as socket:
        turn = (await socket.ask(store=False)).completed()
        absent(await peer.http("GET", turn.id))
    absent(await peer.http("GET", "resp_none"))


@case(133, "AW-R-006", "AW-R-010", "AW-R-004")
async def a_deleted_response_is_gone(peer: Peer) -> None:
    """Delete a response, twice, and look for it."""
    async with peer.socket() as socket, peer.socket() as other:
        turn = (await socket.ask(store=True)).completed()
        reply = await peer.http("DELETE", turn.id)
        check(reply.status == 200, f"the status is {reply.status}")
        check(reply.json().get("deleted") is True and reply.json().get("id") == turn.id, f"it said {reply.json()}")
        absent(await peer.http("GET", turn.id))
        absent(await peer.http("DELETE", turn.id))
        (await other.ask(previous_response_id=turn.id)).refused("previous_response_not_found")


async def _items(peer: Peer, response_id: str, query: str = "") -> dict[str, Any]:
    reply = await peer.http("GET", f"{response_id}/input_items{query}")
    check(reply.status == 200, f"the status is {reply.status}")
    told: dict[str, Any] = reply.json()
    check(told["object"] == "list", f"object is {told['object']!r}")
    ids = [item["id"] for item in told["data"]]
    check([told["first_id"], told["last_id"]] == ([ids[0], ids[-1]] if ids else [None, None]), "the ends are others")
    return told


@case(134, "AW-R-007")
async def input_items_are_listed(peer: Peer) -> None:
    """List the input of a response of 25 items, in both orders and page by page."""
    content = [{"role": "user", "content": f"number {number}"} for number in range(25)]
    made = (await peer.post(content, store=True)).json()["id"]

    def texts(listed: dict[str, Any]) -> list[str]:
        return [item["content"][0]["text"] for item in listed["data"]]

    latest = await _items(peer, made)
    check(texts(latest) == [f"number {number}" for number in range(24, 4, -1)], f"it lists {texts(latest)}")
    check(latest["has_more"] is True, "it does not say that there is more")
    rest = await _items(peer, made, f"?after={latest['last_id']}")
    check(texts(rest) == [f"number {number}" for number in range(4, -1, -1)], f"the rest is {texts(rest)}")
    check(rest["has_more"] is False, "it says that there is more")
    oldest = await _items(peer, made, "?order=asc&limit=2")
    check(texts(oldest) == ["number 0", "number 1"], f"the oldest are {texts(oldest)}")
    for query in ("?limit=0", "?limit=101", "?order=up"):
        check((await peer.http("GET", f"{made}/input_items{query}")).status == 400, f"{query} was taken")
    absent(await peer.http("GET", "resp_none/input_items"))


@case(135, "AW-R-008", needs=["slow"])
async def a_cut_turn_leaves_nothing_unfinished(peer: Peer) -> None:
    """Vanish in the midst of a stored turn: it is not there, or comes to an end, and is not in progress for ever."""
    async with peer.socket() as socket:
        await socket.create(LONG_TASK, model=peer.slow_model, store=True)
        response_id = (await socket.until("response.in_progress"))[-1]["response"]["id"]
    while (reply := await peer.http("GET", response_id)).status == 200:
        if reply.json()["status"] not in ("queued", "in_progress"):
            break
        await trio.sleep(0.1)
    check(reply.status in (200, 404), f"the status is {reply.status}")
