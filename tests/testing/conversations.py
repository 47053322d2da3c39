"""A small legal conversation, as events, for tests that spoil it."""

from __future__ import annotations

from typing import Any

Event = dict[str, Any]


def create(*, lane: str | None = None, previous: str | None = None, **members: Any) -> Event:
    """A client's request."""
    request = {"type": "response.create", "model": "m", "input": "hi", **members}
    if previous:
        request["previous_response_id"] = previous
    return on_lane(request, lane)


def on_lane(event: Event, lane: str | None) -> Event:
    return event if lane is None else {**event, "stream_id": lane}


def answer(response_id: str, *, lane: str | None = None, text: str = "hello", end: str = "completed") -> list[Event]:
    """The events of a response with one message."""
    item = {"id": f"msg_{response_id}", "type": "message", "role": "assistant"}
    part = {"type": "output_text", "annotations": [], "logprobs": []}
    where = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    done = {**item, "status": "completed", "content": [{**part, "text": text}]}
    events: list[Event] = [
        {"type": "response.created", "response": _response(response_id, "in_progress")},
        {"type": "response.in_progress", "response": _response(response_id, "in_progress")},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **where, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **where, "delta": letter, "logprobs": []} for letter in text),
        {"type": "response.output_text.done", **where, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **where, "part": {**part, "text": text}},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": f"response.{end}", "response": _response(response_id, end, [done])},
    ]
    return [on_lane({**event, "sequence_number": number}, lane) for number, event in enumerate(events)]


def _response(response_id: str, status: str, output: list[Event] | None = None) -> Event:
    return {"id": response_id, "object": "response", "status": status, "model": "m", "output": output or []}


def error(code: str, status: int, *, lane: str | None = None, **members: Any) -> Event:
    """An error that tells of a request."""
    body = {"type": "invalid_request_error", "code": code, "message": "no", "param": None}
    return on_lane({"type": "error", "status": status, "error": body, **members}, lane)


def conversation(*, lane: str | None = None) -> list[Event]:
    """Two turns, and a refusal between them."""
    return [
        create(lane=lane),
        *answer("resp_1", lane=lane),
        create(lane=lane, previous="resp_0"),
        error("previous_response_not_found", 400, lane=lane),
        create(lane=lane, previous="resp_1"),
        *answer("resp_2", lane=lane, text="bye", end="incomplete"),
    ]
