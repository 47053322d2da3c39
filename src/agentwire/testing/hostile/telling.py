"""The events of a response, as plain objects, legal and numbered: what an honest server would send.

They are written here once more, by hand, and not by the library's own writer, which could be wrong in the same way as
the reader that is tested with them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from agentwire.testing.hostile.memory import Remembered
from agentwire.testing.hostile.script import Answer, Break, Call, Refuse, Say
from agentwire.testing.hostile.steps import Step, Tell
from agentwire.testing.replies import Pause

__all__ = [
    "TERMINAL",
    "Json",
    "Minter",
    "answer_steps",
    "error_body",
    "error_event",
    "is_end_of",
    "is_terminal_event",
    "output_of",
]

Json = dict[str, Any]

TERMINAL: Final = frozenset(("response.completed", "response.failed", "response.incomplete"))

_CREATED: Final = 1_795_000_000
_ECHOED: Final[Mapping[str, Any]] = {
    "instructions": None,
    "previous_response_id": None,
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "metadata": {},
    "temperature": 1.0,
    "top_p": 1.0,
    "store": True,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "top_logprobs": 0,
    "truncation": "disabled",
    "prompt_cache_key": None,
    "safety_identifier": None,
}


class Minter:
    """Gives ids, each once."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def new(self, kind: str) -> str:
        """Such as ``resp_h1``."""
        return f"{kind}_h{next(self._numbers)}"


def answer_steps(
    answer: Answer, *, response_id: str, asked: Mapping[str, Any], context: int, minter: Minter
) -> list[Step]:
    """All that is sent of one answer.

    Args:
        answer: what the script says.
        response_id: of the response.
        asked: the request.
        context: items that the model saw, for the usage.
        minter: for ids.
    """
    response = _response(response_id, asked)
    writer = _Writer(minter)
    writer.tell("response.created", response=response)
    writer.tell("response.in_progress", response=response)
    for part in answer.parts:
        match part:
            case Pause():
                writer.steps.append(part)
            case Say():
                writer.say(part)
            case Call():
                writer.call(part)
    _end(writer, answer, response, context)
    return writer.steps if answer.breaks is None else _broken(writer.steps, answer.breaks)


def _broken(steps: list[Step], breaks: Break) -> list[Step]:
    """Only so many events, and then the end."""
    found: list[Step] = []
    left = breaks.at
    for step in steps:
        left -= isinstance(step, Tell)
        if left < 0:
            break
        found.append(step)
    return [*found, breaks.end]


def output_of(steps: Sequence[Step], response_id: str) -> list[Json]:
    """The items of this response, as its terminal event tells them."""
    told = (step.event for step in steps if isinstance(step, Tell) and is_terminal_event(step.event))
    ends = (event["response"] for event in told if event["response"]["id"] == response_id)
    return next((response["output"] for response in ends), [])


def _end(writer: _Writer, answer: Answer, response: Json, context: int) -> None:
    tokens = len(writer.output)
    usage: Json = {"input_tokens": context, "output_tokens": tokens, "total_tokens": context + tokens}
    usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    ends: Json = {"status": answer.ending, "output": list(writer.output), "usage": usage}
    if answer.ending == "completed":
        ends["completed_at"] = _CREATED + 1
    elif answer.ending == "failed":
        ends["error"] = {"code": answer.why, "message": f"the response failed: {answer.why}"}
    else:
        ends["incomplete_details"] = {"reason": answer.why}
    writer.tell(f"response.{answer.ending}", response=response | ends)


def _response(response_id: str, asked: Mapping[str, Any]) -> Json:
    echoed = {name: asked.get(name, default) for name, default in _ECHOED.items()}
    fixed: Json = {
        "id": response_id,
        "object": "response",
        "created_at": _CREATED,
        "completed_at": None,
        "status": "in_progress",
        "background": False,
        "model": asked.get("model", "scripted"),
        "error": None,
        "incomplete_details": None,
        "output": [],
        "usage": None,
        "service_tier": "default",
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "reasoning": {"effort": None, "summary": None},
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
    }
    return fixed | echoed


@attrs.define
class _Writer:
    """Numbers events, and gathers the output."""

    minter: Minter
    steps: list[Step] = attrs.field(factory=list)
    output: list[Json] = attrs.field(factory=list)
    _number: Iterator[int] = attrs.field(factory=itertools.count)

    def tell(self, kind: str, **members: Any) -> None:
        self.steps.append(Tell({"type": kind, "sequence_number": next(self._number), **members}))

    def say(self, part: Say) -> None:
        item_id, index = self.minter.new("msg"), len(self.output)
        head: Json = {"type": "message", "id": item_id, "role": "assistant"}
        where: Json = {"item_id": item_id, "output_index": index, "content_index": 0}
        empty: Json = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        self._added(index, {**head, "status": "in_progress", "content": []})
        self.tell("response.content_part.added", **where, part=empty)
        for number, piece in enumerate(_pieces(part.text, part.pieces)):
            if number and part.every:
                self.steps.append(Pause(part.every))
            self.tell("response.output_text.delta", **where, delta=piece, logprobs=[])
        whole = empty | {"text": part.text}
        self.tell("response.output_text.done", **where, text=part.text, logprobs=[])
        self.tell("response.content_part.done", **where, part=whole)
        self._done(index, {**head, "status": "completed", "content": [whole]})

    def call(self, part: Call) -> None:
        item_id, index = self.minter.new("fc"), len(self.output)
        call_id = part.call_id or self.minter.new("call")
        given = part.arguments if isinstance(part.arguments, str) else json.dumps(part.arguments)
        head: Json = {"type": "function_call", "id": item_id, "call_id": call_id, "name": part.name}
        where: Json = {"item_id": item_id, "output_index": index}
        self._added(index, {**head, "status": "in_progress", "arguments": ""})
        self.tell("response.function_call_arguments.delta", **where, delta=given)
        self.tell("response.function_call_arguments.done", **where, arguments=given)
        self._done(index, {**head, "status": "completed", "arguments": given})

    def _added(self, index: int, item: Json) -> None:
        self.tell("response.output_item.added", output_index=index, item=item)

    def _done(self, index: int, item: Json) -> None:
        self.tell("response.output_item.done", output_index=index, item=item)
        self.output.append(item)


def _pieces(text: str, pieces: int) -> list[str]:
    size = max(1, -(-len(text) // max(1, pieces)))
    return [text[start : start + size] for start in range(0, len(text), size)]


def error_body(refusal: Refuse) -> Json:
    """The members of an error."""
    kind = "rate_limit_error" if refusal.status == 429 else "server_error" if refusal.status >= 500 else ""
    body: Json = {"type": kind or "invalid_request_error", "code": refusal.code, "message": refusal.message}
    body["param"] = refusal.param
    if refusal.headers:
        body["headers"] = dict(refusal.headers)
    return body


def error_event(refusal: Refuse) -> Json:
    """An error as a WebSocket carries it."""
    body = error_body(refusal)
    if refusal.flat:
        return {**body, "type": "error", "status": refusal.status}
    return {"type": "error", "status": refusal.status, "error": body}


def is_terminal_event(event: Mapping[str, Any]) -> bool:
    """Whether this event ends its response."""
    return event.get("type") in TERMINAL


def is_end_of(remembered: Remembered | None, event: Mapping[str, Any]) -> bool:
    """Whether this event ends this response, so that it can be continued."""
    return (
        remembered is not None
        and event.get("type") in ("response.completed", "response.incomplete")
        and event["response"]["id"] == remembered.response_id
    )
