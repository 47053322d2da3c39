"""The legal order of a response's events, as tables.

A response goes through `LIFECYCLE`; each item in it runs the flows of its type, one for every index. `grammar` checks
streams against these tables, and the documentation is rendered from them (Responses WebSocket guide; Open Responses).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

__all__ = [
    "DONE_TEXT",
    "FLOWS",
    "ITEM_EVENTS",
    "LATE_EVENTS",
    "LIFECYCLE",
    "PART_TEXT",
    "RULES",
    "SIDE_EVENTS",
    "STATUS",
    "Flow",
    "flows_for",
    "index_name",
    "label",
    "may_stand_aside",
    "render_markdown",
]

ITEM, SIDE, LATE = "(item event)", "(side event)", "(late event)"
"""Labels that stand for many event types in `LIFECYCLE`."""

SIDE_EVENTS: Final = frozenset(
    (
        "keepalive",
        "codex.rate_limits",
        "codex.response.metadata",
        "response.metadata",
        "responsesapi.websocket_timing",
        "response.audio.delta",
        "response.audio.done",
        "response.audio.transcript.delta",
        "response.audio.transcript.done",
        "response.steer.accepted",
        "response.inject.created",
    )
)
"""Events that may come anywhere while a response runs; so may every type with a colon, which is an extension."""

LATE_EVENTS: Final = frozenset(("response.steer.pending", "response.steer.failed", "response.inject.failed"))
"""Side events that may also come after the end."""

_ENDS: Final = {"response.completed": "ended", "response.incomplete": "ended", "response.failed": "ended"}
_RUNS: Final = {ITEM: "running", "error": "broken", **_ENDS}

LIFECYCLE: Final[Mapping[str, Mapping[str, str]]] = {
    "start": {"response.created": "created", "error": "refused"},
    "created": {
        "response.queued": "queued",
        "response.in_progress": "running",
        **_RUNS,
        SIDE: "created",
        LATE: "created",
    },
    "queued": {"response.in_progress": "running", **_RUNS, SIDE: "queued", LATE: "queued"},
    "running": {**_RUNS, SIDE: "running", LATE: "running"},
    "broken": {"response.failed": "ended"},
    "ended": {LATE: "ended"},
    "refused": {},
}
"""State -> event -> next state, for one response."""

STATUS: Final[Mapping[str, frozenset[str]]] = {
    "response.created": frozenset(("in_progress", "queued")),
    "response.queued": frozenset(("queued",)),
    "response.in_progress": frozenset(("in_progress",)),
    "response.completed": frozenset(("completed",)),
    "response.incomplete": frozenset(("incomplete",)),
    "response.failed": frozenset(("failed", "cancelled")),
}
"""The status that the response object has in each lifecycle event. A background response that its client has cancelled
has no event of its own: its stream ends as that of one that failed."""


@attrs.frozen
class Flow:
    """The order of events in one thread of an item.

    Attributes:
        index: the member that tells this item's threads apart; None if there is only one.
        moves: state -> event -> next state, from ``new``; part events are written ``event/part type``.
        ends: the states in which the item may be finished.
    """

    index: str | None
    moves: Mapping[str, Mapping[str, str]]
    ends: frozenset[str] = frozenset(("closed",))


def _part(kind: str, stem: str, *inside: str) -> Flow:
    """A content part: opened, written in pieces, done, closed."""
    added, done = f"response.content_part.added/{kind}", f"response.content_part.done/{kind}"
    writing = {f"{stem}.delta": "open", f"{stem}.done": "written", **dict.fromkeys(inside, "open")}
    return Flow("content_index", {"new": {added: "open"}, "open": writing, "written": {done: "closed"}})


def _summary() -> Flow:
    part, text = "response.reasoning_summary_part", "response.reasoning_summary_text"
    moves = {
        "new": {f"{part}.added/summary_text": "open"},
        "open": {f"{text}.delta": "open", f"{text}.done": "written"},
        "written": {f"{part}.done/summary_text": "closed"},
    }
    return Flow("summary_index", moves)


def _text(stem: str, *, index: str | None = None) -> Flow:
    """Text in pieces, then whole."""
    pieces = {f"{stem}.delta": "open", f"{stem}.done": "closed"}
    return Flow(index, {"new": pieces, "open": pieces})


def _stages(kind: str, *stages: str) -> Flow:
    """A tool that the server runs, stage after stage; it may also be told as a whole."""
    stem = f"response.{kind}"
    moves: dict[str, dict[str, str]] = {}
    state = "new"
    for stage in stages:
        moves.setdefault(state, {})[f"{stem}.{stage}"] = stage
        moves[stage] = {f"{stem}.{stage}": stage} if stage in ("searching", "generating") else {}
        state = stage
    return Flow(None, moves, frozenset(("new", state)))


def _images() -> Flow:
    flow = _stages("image_generation_call", "in_progress", "generating", "completed")
    moves = {state: dict(events) for state, events in flow.moves.items()}
    moves["generating"]["response.image_generation_call.partial_image"] = "generating"
    return attrs.evolve(flow, moves=moves)


def _interpreter() -> Flow:
    call, code = "response.code_interpreter_call", "response.code_interpreter_call_code"
    pieces = {f"{code}.delta": "writing", f"{code}.done": "written"}
    moves = {
        "new": {f"{call}.in_progress": "in_progress"},
        "in_progress": pieces,
        "writing": pieces,
        "written": {f"{call}.interpreting": "interpreting"},
        "interpreting": {f"{call}.completed": "completed"},
    }
    return Flow(None, moves, frozenset(("new", "completed")))


def _mcp_call() -> Flow:
    call, text = "response.mcp_call", "response.mcp_call_arguments"
    pieces = {f"{text}.delta": "writing", f"{text}.done": "calling"}
    moves = {
        "new": {f"{call}.in_progress": "in_progress"},
        "in_progress": pieces,
        "writing": pieces,
        "calling": {f"{call}.completed": "closed", f"{call}.failed": "closed"},
    }
    return Flow(None, moves, frozenset(("new", "closed")))


def _mcp_list() -> Flow:
    stem = "response.mcp_list_tools"
    ends = {f"{stem}.completed": "closed", f"{stem}.failed": "closed"}
    moves = {"new": {f"{stem}.in_progress": "in_progress"}, "in_progress": ends}
    return Flow(None, moves, frozenset(("new", "closed")))


def _commands() -> Flow:
    stem = "response.shell_call_command"
    pieces = {f"{stem}.delta": "open", f"{stem}.done": "closed"}
    return Flow("command_index", {"new": {f"{stem}.added": "open"}, "open": pieces})


def _compaction() -> Flow:
    moves = {"new": {"response.compaction.compacting": "compacting"}}
    return Flow(None, moves, frozenset(("new", "compacting")))


FLOWS: Final[Mapping[str, tuple[Flow, ...]]] = {
    "message": (
        _part("output_text", "response.output_text", "response.output_text.annotation.added"),
        _part("refusal", "response.refusal"),
    ),
    "reasoning": (
        _summary(),
        _part("reasoning_text", "response.reasoning_text"),
        _part("reasoning_text", "response.reasoning"),
    ),
    "function_call": (_text("response.function_call_arguments"),),
    "custom_tool_call": (_text("response.custom_tool_call_input"),),
    "mcp_call": (_mcp_call(),),
    "mcp_list_tools": (_mcp_list(),),
    "web_search_call": (_stages("web_search_call", "in_progress", "searching", "completed"),),
    "file_search_call": (_stages("file_search_call", "in_progress", "searching", "completed"),),
    "code_interpreter_call": (_interpreter(),),
    "image_generation_call": (_images(),),
    "shell_call": (_commands(),),
    "shell_call_output": (_text("response.shell_call_output_content", index="command_index"),),
    "compaction": (_compaction(),),
}
"""Item type -> the flows of its threads. Types that are not here have no events of their own."""

NEEDS_FLOW: Final = frozenset(("function_call", "custom_tool_call"))
"""Items that are never told as a whole: their one flow must have run."""

ITEM_EVENTS: Final = frozenset(
    event.partition("/")[0]
    for flows in FLOWS.values()
    for flow in flows
    for events in flow.moves.values()
    for event in events
)
"""Every event that belongs to a flow."""

DONE_TEXT: Final[Mapping[str, str]] = {
    "response.output_text.done": "text",
    "response.refusal.done": "refusal",
    "response.reasoning_text.done": "text",
    "response.reasoning.done": "text",
    "response.reasoning_summary_text.done": "text",
    "response.function_call_arguments.done": "arguments",
    "response.custom_tool_call_input.done": "input",
    "response.mcp_call_arguments.done": "arguments",
    "response.code_interpreter_call_code.done": "code",
}
"""Events that repeat what their deltas said, and the member that does."""

PART_TEXT: Final[Mapping[str, str]] = {
    "output_text": "text",
    "refusal": "refusal",
    "reasoning_text": "text",
    "summary_text": "text",
}
"""The text member of each part."""

RULES: Final[Mapping[str, str]] = {
    "shape": "An event has a `type` and the members that its type cannot do without.",
    "unknown": "An event's type is one of these tables, or an extension (it has a colon).",
    "order": "Events come in the order of these tables.",
    "sequence": "`sequence_number` counts the events of a response from 0, without a gap.",
    "lane": "Every event of a response has the `stream_id` of its request, or none.",
    "index": "`output_index` counts items as they are added; the other indexes count within their item.",
    "identity": "Ids do not change: the response's, an item's, and the `item_id` of its events.",
    "status": "The response, and the item at its begin and end, have the status that the event says.",
    "content": "Deltas add up to the `done` text; parts, items and the terminal event repeat it.",
    "unfinished": "Every response has exactly one terminal event, and every item in it is done by then.",
}
"""The rules by name, as a `GrammarError` gives it."""


def label(kind: str, part: str | None) -> str:
    """The name of an event in `FLOWS`."""
    return f"{kind}/{part}" if part is not None else kind


def flows_for(item: str, event: str) -> tuple[Flow, ...]:
    """The flows of an item of this type in which an event may come; a ``*_part`` event is named with its part."""
    return _FLOWS_FOR.get((item, event), ())


_FLOWS_FOR: Final[Mapping[tuple[str, str], tuple[Flow, ...]]] = {
    (item, name): tuple(flow for flow in flows if any(name in events for events in flow.moves.values()))
    for item, flows in FLOWS.items()
    for name in {name for flow in flows for events in flow.moves.values() for name in events}
}


def index_name(item: str, event: str) -> str | None:
    """The member that counts what an event is about, within an item of this type; None if there is no such member."""
    return next((flow.index for flow in flows_for(item, event)), None)


def may_stand_aside(event: str) -> bool:
    """Whether an event may come anywhere while a response runs: a side event, an extension, or a type unknown here."""
    told = event in STATUS or event in ITEM_EVENTS or event in LATE_EVENTS
    return not told and event not in ("error", "response.output_item.added", "response.output_item.done")


def render_markdown() -> str:
    """The tables as Markdown, for the documentation."""
    lines = ["### A response", "", *_table(("state", "event", "next state"), _rows(LIFECYCLE)), ""]
    for item, flows in FLOWS.items():
        lines += [f"### Item `{item}`", ""]
        for flow in flows:
            where = f"For each `{flow.index}`" if flow.index else "Once"
            ends = ", ".join(f"`{state}`" for state in sorted(flow.ends))
            lines += [f"{where}; may end in {ends}.", ""]
            lines += [*_table(("state", "event", "next state"), _rows(flow.moves)), ""]
    lines += ["### Rules", "", *_table(("rule", "meaning"), RULES.items()), ""]
    return "\n".join(lines)


def _rows(moves: Mapping[str, Mapping[str, str]]) -> Iterable[tuple[str, ...]]:
    for state, events in moves.items():
        for event, target in events.items():
            yield f"`{state}`", f"`{event}`", f"`{target}`"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
    yield _line(heads)
    yield _line(["---"] * len(heads))
    for row in rows:
        yield _line(row)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
