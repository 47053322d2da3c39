"""Cases about compaction."""

from __future__ import annotations

from typing import Any, Final

from agentwire.testing.conformance.cases.order import legal
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.turns import check

__all__ = [
    "a_compacted_window_begins_a_chain",
    "a_compaction_needs_a_model",
    "a_long_context_is_compacted",
    "a_trigger_compacts_now",
    "context_management_is_checked",
]

HISTORY: Final[list[dict[str, Any]]] = [
    {"role": "user", "content": "Remember the word slate."},
    {"role": "assistant", "content": "I will remember slate."},
    {"role": "user", "content": "Thank you."},
]
MORE: Final[dict[str, Any]] = {"role": "user", "content": "Go on."}


def compactions(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The compaction items among these."""
    return [item for item in items if item["type"] == "compaction"]


@case(126, "AW-K-001", "AW-K-003", "AW-K-007")
async def a_compacted_window_begins_a_chain(peer: Peer) -> None:
    """Compact a conversation over HTTP, and begin a new chain with what came of it."""
    reply = await peer.http("POST", "compact", {"model": peer.model, "input": HISTORY})
    check(reply.status == 200, f"the status is {reply.status}")
    told = reply.json()
    check(told["object"] == "response.compaction", f"object is {told['object']!r}")
    check(isinstance(told["created_at"], int) and told["usage"]["total_tokens"] >= 0, "there are no times, or no usage")
    (item,) = compactions(told["output"])
    check(isinstance(item["encrypted_content"], str) and item["encrypted_content"], "the item holds nothing")
    async with peer.socket() as socket:
        turn = (await socket.ask([*told["output"], MORE], tools=[])).completed()
        check(turn.output, "there is no output")
        (await socket.ask(previous_response_id=told["id"])).refused("previous_response_not_found")


@case(127, "AW-K-002")
async def a_compaction_needs_a_model(peer: Peer) -> None:
    """Compact without naming a model."""
    reply = await peer.http("POST", "compact", {"input": HISTORY})
    check(reply.status in (400, 422), f"the status is {reply.status}")


@case(129, "AW-K-005")
async def context_management_is_checked(peer: Peer) -> None:
    """Ask for compaction in ways that mean nothing."""
    async with peer.socket() as socket:
        bad: list[Any] = [[], [{"type": "other"}], [{"type": "compaction", "compact_threshold": 999}], {}, [5]]
        for value in bad:
            turn = (await socket.ask(context_management=value)).refused()
            named = str((turn.error or {})["error"].get("param"))
            check(named.startswith("context_management"), f"the error names {named!r}")
        (await socket.ask(context_management=[{"type": "compaction", "compact_threshold": 100_000}])).completed()


@case(128, "AW-K-004", "AW-K-007", "AW-K-008")
async def a_long_context_is_compacted(peer: Peer) -> None:
    """Let a chain grow beyond the threshold, and go on by its id."""
    settings = {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}
    words = "These are many words that say nothing at all, and say it again. " * 20
    async with peer.socket() as socket:
        turn = (await socket.ask(words, **settings)).completed()
        for _ in range(12):
            if compactions(turn.output):
                break
            turn = legal((await socket.ask(words, previous_response_id=turn.id, **settings)).completed())
        check(compactions(turn.output), "a context of several thousand tokens was never compacted")
        after = (await socket.ask("Go on.", previous_response_id=turn.id)).completed()
        check(after.output, "there is no output")


@case(130, "AW-K-006")
async def a_trigger_compacts_now(peer: Peer) -> None:
    """End the input with a trigger, and put one elsewhere."""
    trigger = {"type": "compaction_trigger"}
    async with peer.socket() as socket:
        (await socket.ask([trigger, MORE])).refused()
        turn = legal((await socket.ask([*HISTORY, trigger])).completed())
        check(len(compactions(turn.output)) == 1, f"the output is {turn.output}")
        (await socket.ask("Go on.", previous_response_id=turn.id)).completed()
