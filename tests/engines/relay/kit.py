"""An upstream's stream, told through a relay to a client in memory; what the client sees is checked."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from agentwire.engines.faults import rubbish
from agentwire.engines.relay.hearing import Relay
from agentwire.protocol.errors import RemoteProtocolError
from agentwire.runtime.contracts import Ask, Engine, Finish, Out
from tests.runtime.kit import Event, client

Json = dict[str, Any]

EMPTY_TEXT: Json = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
USAGE: Json = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}


def response(status: str = "in_progress", **members: Any) -> Json:
    """A response object of the upstream."""
    return {
        "id": "resp_theirs",
        "object": "response",
        "status": status,
        "model": "their-model",
        "output": [],
        **members,
    }


def message_events(text: str, *, index: int = 0, id_: str = "msg_theirs", pieces: int = 2) -> list[Json]:
    """A whole message, event by event."""
    where = {"item_id": id_, "output_index": index, "content_index": 0}
    part = {**EMPTY_TEXT, "text": text}
    item = {"type": "message", "id": id_, "role": "assistant", "status": "in_progress", "content": []}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": item},
        {"type": "response.content_part.added", **where, "part": EMPTY_TEXT},
        *(
            {"type": "response.output_text.delta", **where, "delta": piece, "logprobs": []}
            for piece in cut(text, pieces)
        ),
        {"type": "response.output_text.done", **where, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **where, "part": part},
        {
            "type": "response.output_item.done",
            "output_index": index,
            "item": {**item, "status": "completed", "content": [part]},
        },
    ]


def call_events(name: str, arguments: str, *, index: int = 0, id_: str = "fc_theirs", pieces: int = 2) -> list[Json]:
    """A whole function call, event by event."""
    where = {"item_id": id_, "output_index": index}
    item = {"type": "function_call", "id": id_, "call_id": f"call_{id_}", "name": name, "arguments": ""}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": {**item, "status": "in_progress"}},
        *(
            {"type": "response.function_call_arguments.delta", **where, "delta": piece}
            for piece in cut(arguments, pieces)
        ),
        {"type": "response.function_call_arguments.done", **where, "arguments": arguments},
        {
            "type": "response.output_item.done",
            "output_index": index,
            "item": {**item, "arguments": arguments, "status": "completed"},
        },
    ]


def thought_events(
    summary: str = "", text: str = "", *, index: int = 0, id_: str = "rs_theirs", **members: Any
) -> list[Json]:
    """A whole reasoning item, event by event; ``members`` stand in the finished one."""
    item: Json = {"type": "reasoning", "id": id_, "summary": []}
    final = {**item, **members}
    begun = {**item, "status": "in_progress"}
    events: list[Json] = [{"type": "response.output_item.added", "output_index": index, "item": begun}]
    if summary:
        where = {"item_id": id_, "output_index": index, "summary_index": 0}
        part = {"type": "summary_text", "text": summary}
        events += [
            {"type": "response.reasoning_summary_part.added", **where, "part": {**part, "text": ""}},
            {"type": "response.reasoning_summary_text.delta", **where, "delta": summary},
            {"type": "response.reasoning_summary_text.done", **where, "text": summary},
            {"type": "response.reasoning_summary_part.done", **where, "part": part},
        ]
        final["summary"] = [part]
    if text:
        where = {"item_id": id_, "output_index": index, "content_index": 0}
        part = {"type": "reasoning_text", "text": text}
        events += [
            {"type": "response.content_part.added", **where, "part": {**part, "text": ""}},
            {"type": "response.reasoning_text.delta", **where, "delta": text},
            {"type": "response.reasoning_text.done", **where, "text": text},
            {"type": "response.content_part.done", **where, "part": part},
        ]
        final["content"] = [part]
    return [*events, {"type": "response.output_item.done", "output_index": index, "item": final}]


def cut(text: str, pieces: int) -> list[str]:
    """A text in about so many pieces."""
    size = max(1, -(-len(text) // pieces))
    return [text[at : at + size] for at in range(0, len(text), size)]


def stream(*items: Sequence[Json], status: str = "completed", **members: Any) -> list[Json]:
    """A whole legal stream of these items' events; no two of them share anything that a test might change."""
    events = [event for item in items for event in item]
    output = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    begun = [{"type": f"response.{kind}", "response": response()} for kind in ("created", "in_progress")]
    final = response(status, output=output, usage=USAGE, **members)
    told = [*begun, *events, {"type": f"response.{status}", "response": final}]
    return [{**copy.deepcopy(event), "sequence_number": number} for number, event in enumerate(told)]


def relaying(
    events: Iterable[Mapping[str, Any] | bytes], note: Callable[..., None] | None = None, **more: Any
) -> Engine:
    """An engine that relays this stream."""

    async def engine(ask: Ask, out: Out) -> Finish:
        if ask.step:
            return Finish()
        own = [tool.name for tool in ask.tools[len(ask.request.tools) :]]
        options = {"server": "http://up", "new_id": ask.sources.new_id, "own_tools": own, "most": 1 << 20, **more}
        relay = Relay(out, keep=note, **options)
        for event in events:
            await relay.take_all((event if isinstance(event, bytes) else json.dumps(event).encode(),))
        return relay.finish()

    async def judged(ask: Ask, out: Out) -> Finish:
        try:
            return await engine(ask, out)
        except RemoteProtocolError as error:
            raise rubbish("http://up", error) from error

    return judged


async def told(events: Iterable[Mapping[str, Any] | bytes], *tools: Any, **fields: Any) -> list[Event]:
    """What a client sees of this stream; `MemoryWire.ask` has checked that it is legal."""
    options = {name: fields.pop(name) for name in ("note", "hide", "most", "taken") if name in fields}
    async with client(relaying(events, **options), *tools) as it:
        return await it.wire.ask(**fields)


def output(events: Sequence[Event]) -> list[Json]:
    """The output of the response, without the items' ids."""
    items: list[Json] = events[-1]["response"]["output"]
    return [{name: value for name, value in item.items() if name not in ("id", "call_id")} for item in items]


def texts(events: Sequence[Event], kind: str) -> str:
    """All pieces of one kind of text."""
    return "".join(event["delta"] for event in events if event["type"] == kind)
