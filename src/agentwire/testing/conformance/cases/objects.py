"""Cases about response objects."""

from __future__ import annotations

from typing import Any, Final

from agentwire.testing.conformance.cases.tools import QUESTION, WEATHER, forced
from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.turns import Turn, check

__all__ = [
    "a_continuation_counts_the_whole_context",
    "a_response_has_its_members",
    "a_response_has_the_members_of_the_strict_schema",
    "defaults_are_told",
    "items_have_ids_types_and_statuses",
    "settings_are_echoed",
    "times_and_usage_are_told_at_the_end",
]

NEEDED: Final = (
    "id", "object", "created_at", "status", "model", "output", "parallel_tool_calls", "tool_choice", "tools", "error",
    "incomplete_details", "instructions", "metadata", "temperature", "top_p",
)  # fmt: skip
ALL: Final = (
    *NEEDED, "completed_at", "background", "max_output_tokens", "max_tool_calls", "previous_response_id",
    "prompt_cache_key", "reasoning", "safety_identifier", "service_tier", "store", "presence_penalty",
    "frequency_penalty", "text", "top_logprobs", "truncation", "usage",
)  # fmt: skip


def shown(turn: Turn) -> list[dict[str, Any]]:
    """The response object in each lifecycle event."""
    return [event["response"] for event in turn.events if "response" in event]


@case(68, "AW-J-001")
async def a_response_has_its_members(peer: Peer) -> None:
    """Look for the members that every SDK's types have, in each lifecycle event."""
    async with peer.socket() as socket:
        for response in shown((await socket.ask()).completed()):
            missing = [name for name in NEEDED if name not in response]
            check(not missing, f"the response lacks {', '.join(missing)}")
            check(response["object"] == "response", f"object is {response['object']!r}")


@case(69, "AW-J-002", "AW-J-007", "AW-J-016")
async def a_response_has_the_members_of_the_strict_schema(peer: Peer) -> None:
    """Look for all 31 members."""
    async with peer.socket() as socket:
        for response in shown((await socket.ask()).completed()):
            check(not response.get("background"), f"background is {response.get('background')!r}", "AW-J-016")
            missing = [name for name in ALL if name not in response]
            check(not missing, f"the response lacks {', '.join(missing)}", "AW-J-002")
            tier, background = response["service_tier"], response["background"]
            check(isinstance(tier, str), f"service_tier is {tier!r}", "AW-J-007")
            check(background is False, f"background is {background!r}", "AW-J-002")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@case(70, "AW-J-003", "AW-J-004", "AW-J-005", "AW-J-006", "AW-O-030")
async def times_and_usage_are_told_at_the_end(peer: Peer) -> None:
    """Look at times and usage at the beginning and at the end of a response."""
    async with peer.socket() as socket:
        first, *_, last = shown((await socket.ask()).completed())
    check(first.get("completed_at") is None, "a response that runs has completed_at", "AW-J-004")
    check(first.get("usage") is None, "a response that runs has usage", "AW-J-005")
    usage = last["usage"]
    total = usage["input_tokens"] + usage["output_tokens"]
    check(usage["total_tokens"] == total, f"{usage['total_tokens']} tokens in total are not {total}")
    check(usage["output_tokens"] > 0, "an answer has no output tokens")
    check(_is_whole(usage["input_tokens_details"]["cached_tokens"]), "there are no cached_tokens")
    check(_is_whole(usage["output_tokens_details"]["reasoning_tokens"]), "there are no reasoning_tokens")
    for name, response in (("created_at", first), ("created_at", last), ("completed_at", last)):
        check(_is_whole(response.get(name)), f"{name} is {response.get(name, 'missing')!r}", "AW-J-003")


@case(71, "AW-J-008", "AW-J-010")
async def settings_are_echoed(peer: Peer) -> None:
    """Ask with settings, and find them in the response."""
    async with peer.socket() as socket:
        parent = (await socket.ask()).completed().id
        settings = {
            "instructions": "Be brief.",
            "metadata": {"k": "v"},
            "temperature": 0.5,
            "top_p": 0.9,
            "max_output_tokens": 2000,
            "previous_response_id": parent,
            "parallel_tool_calls": False,
            "tool_choice": "none",
            "truncation": "disabled",
            "store": False,
        }
        turn = (await socket.ask(tools=[{"type": "function", "name": "bare"}], **settings)).completed()
    for response in shown(turn):
        for name, value in settings.items():
            check(response[name] == value, f"{name} is echoed as {response[name]!r}, and was {value!r}")
        (tool,) = response["tools"]
        missing = [name for name in ("type", "name", "description", "parameters", "strict") if name not in tool]
        check(not missing, f"the echoed tool lacks {', '.join(missing)}", "AW-J-008")


@case(74, "AW-J-017")
async def defaults_are_told(peer: Peer) -> None:
    """Ask with nothing but a model and an input."""
    async with peer.socket() as socket:
        told = (await socket.ask(store=...)).completed().response
    defaults = {
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "truncation": "disabled",
        "store": True,
        "tools": [],
    }
    for name, value in defaults.items():
        check(told[name] == value, f"{name} is {told[name]!r} if it is left out")
    check(told["text"]["format"] == {"type": "text"}, f"text is {told['text']!r} if it is left out")


@case(72, "AW-J-009", "AW-J-011", "AW-J-015", needs=["tools"])
async def items_have_ids_types_and_statuses(peer: Peer) -> None:
    """Look at the items of an answer in words and of a call, and compare all ids."""
    async with peer.socket() as socket:
        said = (await socket.ask()).completed()
        called = (await socket.ask(QUESTION, tools=[WEATHER], tool_choice=forced(WEATHER))).completed()
    items = [*said.output, *called.output]
    for item in items:
        missing = [name for name in ("id", "type", "status") if not item.get(name)]
        check(not missing, f"a {item.get('type')} has no {', '.join(missing)}", "AW-J-011")
    ids = [said.id, called.id, *(item["id"] for item in items)]
    check(len(set(ids)) == len(ids), f"two ids are the same: {ids}", "AW-J-009")
    check(all(name.startswith("resp_") for name in ids[:2]), f"the ids of responses are {ids[:2]}", "AW-J-009")
    prefixes = {"message": "msg_", "function_call": "fc_", "reasoning": "rs_"}
    for item in items:
        said_of = f"the id of a {item['type']} is {item['id']}"
        check(item["id"].startswith(prefixes.get(item["type"], "")), said_of, "AW-J-009")
    check("output_text" not in said.response, "output_text is on the wire", "AW-J-015")


@case(73, "AW-J-014", "AW-S-001")
async def a_continuation_counts_the_whole_context(peer: Peer) -> None:
    """Continue a turn with few words: the tokens of the earlier input and output count again."""
    async with peer.socket() as socket:
        first = (await socket.ask("Remember this: " + " ".join(["sixty times the same words"] * 60))).completed()
        second = (await socket.ask("Thanks.", previous_response_id=first.id)).completed()
    before, after = first.response["usage"], second.response["usage"]
    check(after["input_tokens"] > before["input_tokens"], f"{after['input_tokens']} tokens are less than before")
    cached = after["input_tokens_details"]["cached_tokens"]
    check(0 <= cached <= after["input_tokens"], f"{cached} of {after['input_tokens']} tokens are cached")
