"""Legal streams of events, as a server may send them; built up from pieces, so that a test can make its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

__all__ = [
    "calls",
    "content_part",
    "event",
    "framed",
    "items",
    "legal",
    "mcp_calls",
    "messages",
    "numbered",
    "part",
    "response",
    "summary_part",
    "thoughts",
    "whole",
]

Event = dict[str, Any]
PIECES = st.lists(st.sampled_from(["a", "b", "cd"]), min_size=1, max_size=3, unique=True)
PART_TEXT = {"output_text": "text", "refusal": "refusal", "reasoning_text": "text", "summary_text": "text"}


def event(kind: str, **members: Any) -> Event:
    """One event of a response."""
    return {"type": f"response.{kind}", **members}


def part(kind: str, text: str) -> dict[str, Any]:
    """A content part."""
    return {"type": kind, PART_TEXT[kind]: text}


def content_part(item_id: str, index: int, kind: str, stem: str, pieces: Sequence[str]) -> list[Event]:
    """One content part of a message or of reasoning."""
    where = {"item_id": item_id, "content_index": index}
    whole = "".join(pieces)
    return [
        event("content_part.added", **where, part=part(kind, "")),
        *(event(f"{stem}.delta", **where, delta=piece) for piece in pieces),
        event(f"{stem}.done", **where, **{PART_TEXT[kind]: whole}),
        event("content_part.done", **where, part=part(kind, whole)),
    ]


def summary_part(item_id: str, index: int, pieces: Sequence[str]) -> list[Event]:
    """One paragraph of a reasoning summary."""
    where = {"item_id": item_id, "summary_index": index}
    whole = "".join(pieces)
    return [
        event("reasoning_summary_part.added", **where, part=part("summary_text", "")),
        *(event("reasoning_summary_text.delta", **where, delta=piece) for piece in pieces),
        event("reasoning_summary_text.done", **where, text=whole),
        event("reasoning_summary_part.done", **where, part=part("summary_text", whole)),
    ]


def framed(item: dict[str, Any], begin: dict[str, Any], inside: list[Event]) -> list[Event]:
    """An item from `added` to `done`."""
    added = {**item, **begin, "status": "in_progress"}
    done = {**item, "status": "completed"}
    return [event("output_item.added", item=added), *inside, event("output_item.done", item=done)]


@st.composite
def messages(draw: st.DrawFn, item_id: str) -> list[Event]:
    """A message of text and refusals."""
    inside: list[Event] = []
    content = []
    for index in range(draw(st.integers(0, 2))):
        pieces = draw(PIECES)
        kind, stem = draw(st.sampled_from([("output_text", "output_text"), ("refusal", "refusal")]))
        inside += content_part(item_id, index, kind, stem, pieces)
        content.append(part(kind, "".join(pieces)))
    item = {"id": item_id, "type": "message", "role": "assistant", "content": content}
    return framed(item, {"content": []}, inside)


@st.composite
def thoughts(draw: st.DrawFn, item_id: str) -> list[Event]:
    """Reasoning with summary paragraphs, then raw text under either of its two names."""
    inside: list[Event] = []
    summary, content = [], []
    stem = draw(st.sampled_from(["reasoning_text", "reasoning"]))
    for index in range(draw(st.integers(0, 2))):
        pieces = draw(PIECES)
        inside += summary_part(item_id, index, pieces)
        summary.append(part("summary_text", "".join(pieces)))
    for index in range(draw(st.integers(0, 2))):
        pieces = draw(PIECES)
        inside += content_part(item_id, index, "reasoning_text", stem, pieces)
        content.append(part("reasoning_text", "".join(pieces)))
    item = {"id": item_id, "type": "reasoning", "summary": summary, **({"content": content} if content else {})}
    return framed(item, {"summary": []}, inside)


@st.composite
def calls(draw: st.DrawFn, item_id: str) -> list[Event]:
    """A call of one of the client's tools."""
    kind, stem, member = draw(
        st.sampled_from(
            [
                ("function_call", "function_call_arguments", "arguments"),
                ("custom_tool_call", "custom_tool_call_input", "input"),
            ]
        )
    )
    pieces = draw(PIECES)
    inside = [event(f"{stem}.delta", item_id=item_id, delta=piece) for piece in pieces]
    inside.append(event(f"{stem}.done", item_id=item_id, **{member: "".join(pieces)}))
    item = {"id": item_id, "type": kind, "call_id": "c", "name": "f", member: "".join(pieces)}
    return framed(item, {member: ""}, inside)


@st.composite
def mcp_calls(draw: st.DrawFn, item_id: str) -> list[Event]:
    """A call of one of the server's own tools."""
    pieces = draw(PIECES)
    where = {"item_id": item_id}
    inside = [
        event("mcp_call.in_progress", **where),
        *(event("mcp_call_arguments.delta", **where, delta=piece) for piece in pieces),
        event("mcp_call_arguments.done", **where, arguments="".join(pieces)),
        event(f"mcp_call.{draw(st.sampled_from(['completed', 'failed']))}", **where),
    ]
    item = {"id": item_id, "type": "mcp_call", "arguments": "".join(pieces), "output": "x"}
    return framed(item, {"arguments": "", "output": None}, inside)


def items(item_id: str) -> st.SearchStrategy[list[Event]]:
    """Any item, from `added` to `done`, still without `output_index`."""
    return st.one_of(messages(item_id), thoughts(item_id), calls(item_id), mcp_calls(item_id))


def response(status: str, output: Sequence[Any] = ()) -> dict[str, Any]:
    """A response object, as events show it."""
    return {"id": "resp_1", "object": "response", "status": status, "output": list(output)}


def numbered(events: Sequence[Event], lane: str | None = None) -> list[Event]:
    """The same events with contiguous numbers."""
    named = {} if lane is None else {"stream_id": lane}
    return [{**found, "sequence_number": number, **named} for number, found in enumerate(events)]


def whole(scripts: Sequence[Sequence[Event]], order: Sequence[int] | None = None, begun: bool = True) -> list[Event]:
    """A response that completes with these items; ``order`` says which item has the next event, if not one by one."""
    waiting: dict[int, list[Event]] = {}
    where: dict[int, int] = {}
    body: list[Event] = []
    output: dict[int, Any] = {}
    turns = order if order is not None else [index for index, script in enumerate(scripts) for _ in script]
    for index in turns:
        script = waiting.setdefault(index, list(scripts[index]))
        place = where.setdefault(index, len(where))
        found = {**script.pop(0), "output_index": place}
        if found["type"] == "response.output_item.done":
            output[place] = found["item"]
        body.append(found)
    start = [event("created", response=response("in_progress"))]
    if begun:
        start.append(event("in_progress", response=response("in_progress")))
    end = event("completed", response=response("completed", [output[place] for place in sorted(output)]))
    return numbered([*start, *body, end])


@st.composite
def legal(draw: st.DrawFn, *, overlapping: bool = False, most: int = 3) -> list[Event]:
    """A whole legal stream of one response that completes."""
    scripts = [draw(items(f"item_{index}")) for index in range(draw(st.integers(0, most)))]
    turns = [index for index, script in enumerate(scripts) for _ in script]
    order = draw(st.permutations(turns)) if overlapping else None
    return whole(scripts, order)
