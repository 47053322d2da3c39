"""What a legal stream is, said a second time: the grammar of the event reference as regular expressions, and sums.

It shares nothing with `agentwire.protocol.grammar`: that one walks tables event by event; this one looks at a whole
stream at once, as a person with the reference beside them would.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

Event = Mapping[str, Any]


class Illegal(Exception):
    """Why a stream is not legal."""


def judge(events: Sequence[Event]) -> str | None:
    """Why these are not the events of one whole response; None if they are."""
    try:
        _judge(events)
    except Illegal as why:
        return str(why)
    except (KeyError, AttributeError) as error:  # every member that is looked at must be there
        return f"a member is missing or of another kind: {error}"
    return None


def demand(holds: object, why: str) -> None:
    if not holds:
        raise Illegal(why)


SIDE = r"(?:keepalive|response\.steer\.(?:accepted|pending|failed)|response\.inject\.(?:created|failed)|\w+:\w+)"
LATE = r"(?:response\.steer\.(?:pending|failed)|response\.inject\.failed)"
ITEMS = (
    "output_item|content_part|output_text|refusal|reasoning|reasoning_text|reasoning_summary_part|reasoning_summary_text"
    "|function_call_arguments|custom_tool_call_input|mcp_call|mcp_call_arguments|web_search_call"
)
BODY = rf"response\.(?:{ITEMS})\.[a-z_.]+"
RESPONSE = re.compile(
    rf"error |response\.created (?:{SIDE} )*(?:response\.queued (?:{SIDE} )*)?(?:response\.in_progress )?"
    rf"(?:(?:{BODY}|{SIDE}) )*"
    rf"(?:response\.completed|response\.incomplete|response\.failed|error response\.failed) (?:{LATE} )*"
)
STATUS = {
    "response.created": {"in_progress", "queued"},
    "response.queued": {"queued"},
    "response.in_progress": {"in_progress"},
    "response.completed": {"completed"},
    "response.incomplete": {"incomplete"},
    "response.failed": {"failed"},
}


def _part(kind: str, stem: str) -> str:
    return rf"content_part\.added/{kind} (?:{stem}\.delta )*{stem}\.done content_part\.done/{kind} "


TEXT = (
    r"content_part\.added/output_text (?:output_text\.(?:delta|annotation\.added) )*output_text\.done "
    r"content_part\.done/output_text "
)
SUMMARY = (
    r"reasoning_summary_part\.added (?:reasoning_summary_text\.delta )*reasoning_summary_text\.done "
    r"reasoning_summary_part\.done "
)
RAW = rf"(?:{_part('reasoning_text', 'reasoning_text')}|{_part('reasoning_text', 'reasoning')})"
INSIDE = {
    "message": rf"(?:{TEXT}|{_part('refusal', 'refusal')})*",
    "reasoning": rf"(?:{SUMMARY}|{RAW})*",
    "function_call": r"(?:function_call_arguments\.delta )*function_call_arguments\.done ",
    "custom_tool_call": r"(?:custom_tool_call_input\.delta )*custom_tool_call_input\.done ",
    "mcp_call": r"(?:mcp_call\.in_progress (?:mcp_call_arguments\.delta )*mcp_call_arguments\.done "
    r"mcp_call\.(?:completed|failed) )?",
    "web_search_call": r"(?:web_search_call\.in_progress (?:web_search_call\.searching )+web_search_call\.completed )?",
}
WHOLE = {"function_call": "arguments", "custom_tool_call": "input", "mcp_call": "arguments"}
SAID = {
    "output_text": "text",
    "refusal": "refusal",
    "reasoning_text": "text",
    "reasoning": "text",
    "reasoning_summary_text": "text",
    "function_call_arguments": "arguments",
    "custom_tool_call_input": "input",
    "mcp_call_arguments": "arguments",
}


def _judge(events: Sequence[Event]) -> None:
    kinds = [event.get("type") for event in events]
    demand(all(isinstance(kind, str) and kind for kind in kinds), "an event without a type")
    demand(RESPONSE.fullmatch("".join(f"{kind} " for kind in kinds)), "the events are not in the order of a response")
    demand(len({event.get("stream_id") for event in events}) == 1, "events of several lanes")
    _numbers(events)
    responses = [event for event in events if event["type"] in STATUS]
    demand(
        all(isinstance(event.get("response"), Mapping) for event in responses), "a lifecycle event shows no response"
    )
    demand(len({event["response"].get("id") for event in responses}) <= 1, "the response changes its id")
    for event in responses:
        demand(event["response"].get("status") in STATUS[event["type"]], "a status that the event does not have")
    if not responses:
        return
    demand(not responses[0]["response"].get("output"), "a response that begins with output")
    _items(events, responses[-1])


def _numbers(events: Sequence[Event]) -> None:
    numbered = [event for event in events if event["type"] != "error" or event.get("sequence_number") is not None]
    numbers = [event.get("sequence_number") for event in numbered]
    demand(numbers == list(range(len(numbered))), "numbers that do not count from 0")
    demand(not any(isinstance(number, bool) for number in numbers), "numbers that are none")


def _items(events: Sequence[Event], end: Event) -> None:
    about = [event for event in events if re.fullmatch(BODY, event["type"])]
    indexes = [event.get("output_index") for event in about]
    added = [event["output_index"] for event in about if event["type"] == "response.output_item.added"]
    demand(added == list(range(len(added))), "items that are not counted as they are added")
    demand(set(indexes) == set(added), "events of an item that was not added")
    finished = []
    for index in added:
        mine = [event for event in about if event["output_index"] == index]
        demand(mine[0]["type"] == "response.output_item.added", "an item that begins before it is added")
        finished.append(_item(mine))
    if end["type"] == "response.failed":
        return
    demand(None not in finished, "an item that is not done when its response is")
    cut = [item.get("status") == "incomplete" for item in finished if item is not None]
    demand(not any(cut[:-1]), "an incomplete item that is not the last")
    demand(not any(cut) or end["type"] == "response.incomplete", "an incomplete item in a complete response")
    demand(end["response"].get("output") == finished, "an output that is not the items that were done")


def _item(mine: Sequence[Event]) -> Any:
    """How it ended, or None."""
    begin, *rest = mine
    item, final = begin.get("item"), None
    demand(isinstance(item, Mapping) and item.get("type") in INSIDE and isinstance(item.get("id"), str), "no item")
    assert isinstance(item, Mapping)
    if rest and rest[-1]["type"] == "response.output_item.done":
        final = rest.pop()["item"]
        demand((final.get("id"), final.get("type")) == (item["id"], item["type"]), "another item is done")
    demand(all(event["type"] != "response.output_item.done" for event in rest), "more after an item is done")
    demand(all(event.get("item_id") == item["id"] for event in rest), "an event with another item's id")
    begins = {"message": "content", "function_call": "arguments", "custom_tool_call": "input"}.get(item["type"])
    if begins is not None:
        demand(not item.get(begins) and item.get("status") == "in_progress", "an item that begins with something in it")
    _inside(item["type"], rest, final)
    return final


def _inside(kind: str, rest: Sequence[Event], final: Any) -> None:
    names = "".join(f"{_short(event)} " for event in rest)
    if final is None or final.get("status") == "incomplete":
        demand(_begins(INSIDE[kind], names), f"not the beginning of a {kind}")
    else:
        demand(re.fullmatch(INSIDE[kind], names), f"not the events of a {kind}")
    told = _texts(rest)
    if final is None or final.get("status") == "incomplete":
        return
    if kind in WHOLE:
        demand(not told or final.get(WHOLE[kind]) == told[0][2], "a call that ends with other words")
        return
    for space, member in (("content_index", "content"), ("summary_index", "summary")):
        said = [(part, text) for where, part, text in told if where == space]
        shown = [(part.get("type"), part.get(_member(part.get("type")))) for part in final.get(member) or ()]
        demand(said == shown or not said, f"{member} that ends with other words")


def _member(part: object) -> str:
    return "refusal" if part == "refusal" else "text"


def _short(event: Event) -> str:
    name = event["type"].removeprefix("response.")
    if not name.startswith("content_part."):
        return str(name)
    part = event.get("part")
    return f"{name}/{part.get('type') if isinstance(part, Mapping) else None}"


def _begins(pattern: str, names: str) -> bool:
    """Whether some continuation would match: the patterns are loops over few names, so all endings can be tried."""
    endings = ["", *ENDINGS]
    return any(re.fullmatch(pattern, names + ending) for ending in endings)


ENDINGS = [
    *(
        tail
        for kind, stem in (("output_text", "output_text"), ("refusal", "refusal"), ("reasoning_text", "reasoning_text"))
        for tail in (f"{stem}.done content_part.done/{kind} ", f"content_part.done/{kind} ")
    ),
    "reasoning.done content_part.done/reasoning_text ",
    "reasoning_summary_text.done reasoning_summary_part.done ",
    "reasoning_summary_part.done ",
    "function_call_arguments.done ",
    "custom_tool_call_input.done ",
    "mcp_call_arguments.done mcp_call.completed ",
    "mcp_call.completed ",
    "web_search_call.searching web_search_call.completed ",
    "web_search_call.completed ",
]


def _texts(rest: Sequence[Event]) -> list[tuple[str | None, str | None, str]]:
    """Each thread's space, part and text, as its pieces say; the pieces must agree with what repeats them."""
    told = []
    counts: dict[str | None, int] = {}
    for where, group in groupby(rest, key=_thread):
        space, index = where
        if space is not None:
            demand(index == counts.get(space, 0), f"{space} does not count")
            counts[space] = counts.get(space, 0) + 1
        told.append((space, *_thread_text(list(group))))
    return told


def _thread(event: Event) -> tuple[str | None, Any]:
    for space in ("content_index", "summary_index"):
        if space in event:
            return space, event[space]
    return None, None


def _thread_text(events: Sequence[Event]) -> tuple[str | None, str]:
    pieces, part, notes = "", None, 0
    for event in events:
        stem, _, what = event["type"].removeprefix("response.").rpartition(".")
        if what == "delta":
            demand(isinstance(event.get("delta"), str), "a delta that is no text")
            pieces += event["delta"]
        elif what == "done" and stem in SAID:
            demand(event.get(SAID[stem]) == pieces, "a whole that is not its pieces")
        elif stem.endswith("_part"):
            shown = event["part"]
            part = shown["type"]
            demand(shown.get(_member(part)) == pieces, "a part that is not its pieces")
        elif stem.endswith("annotation"):
            demand(event.get("annotation_index") == notes, "annotations that do not count")
            notes += 1
    return part, pieces


def names(events: Iterable[Event]) -> list[str]:
    """The types, for messages of tests."""
    return [str(event.get("type")) for event in events]
