"""What the companion's model says to a request, in the words of chat completions and of the Responses API.

It knows nothing of transports: an answer is the payloads of a stream's events, or one whole body.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any, Final, Protocol, TypeAlias

import attrs

from agentwire.engines.builtin.filling import fill
from agentwire.testing.conformance.asked import Asked, Tool
from agentwire.testing.replies import Pause

__all__ = ["answer_to", "whole_answer"]

Json: TypeAlias = dict[str, Any]

_PIECE: Final = "x" * 16_384
_CREATED: Final = 1_795_000_000
_numbers: Final = count(1)


class _Voice(Protocol):
    """The events of one answer, in one dialect."""

    def begin(self) -> Iterator[Json]: ...

    def word(self, text: str) -> Json: ...

    def end(self) -> Iterator[Json]: ...

    def failure(self) -> Iterator[Json]: ...

    def whole(self) -> Json: ...


def answer_to(asked: Asked) -> Iterator[Any]:
    """What is streamed for a request, up to the word at which the play ends it otherwise."""
    play, voice = asked.play, _voice(asked)
    if play.first:
        yield Pause(play.first)
    yield from voice.begin()
    stops = (play.stall, play.die, play.cut)
    for said, word in enumerate(_pieces(asked)):
        if said in stops:
            return
        if said == play.error:
            yield from voice.failure()
            return
        if said == play.rubbish:
            yield "this is no JSON"
        if play.pace:
            yield Pause(play.pace)
        yield voice.word(word)
    if stops != (None, None, None):
        return
    yield from voice.end()


def whole_answer(asked: Asked) -> Json:
    """The same as one body."""
    return _voice(asked).whole()


def _voice(asked: Asked) -> _Voice:
    number = next(_numbers)
    return _Chat(asked, number) if asked.dialect == "chat" else _Responses(asked, number)


def _pieces(asked: Asked) -> Iterator[str]:
    """The text, made while it is said, because a flood is large."""
    if asked.play.flood:
        yield from (_PIECE for _ in range(asked.play.flood // len(_PIECE)))
        return
    yield from asked.words


def _arguments(tool: Tool) -> str:
    return json.dumps(fill({"type": "object", **tool.schema})) if tool.kind == "function" else "some text"


@attrs.frozen
class _Chat:
    """Chat completions."""

    asked: Asked
    number: int

    def begin(self) -> Iterator[Json]:
        yield self._said({"role": "assistant", "content": ""})

    def word(self, text: str) -> Json:
        return self._said({"content": text})

    def end(self) -> Iterator[Json]:
        for at, call in enumerate(self._calls()):
            yield self._said({"tool_calls": [{"index": at, **call}]})
        yield self._said({}, self._finish())
        if self.asked.usage:
            yield self._frame("chat.completion.chunk") | {"choices": [], "usage": self._usage()}

    def failure(self) -> Iterator[Json]:
        yield {"error": {"message": "The model has failed.", "type": "server_error", "code": 500}}

    def whole(self) -> Json:
        message: Json = {"role": "assistant", "content": "".join(_pieces(self.asked)) or None}
        if self.asked.calls:
            message["tool_calls"] = self._calls()
        choice = {"index": 0, "message": message, "finish_reason": self._finish()}
        return self._frame("chat.completion") | {"choices": [choice], "usage": self._usage()}

    def _frame(self, kind: str) -> Json:
        return {"id": f"chatcmpl-{self.number}", "object": kind, "created": _CREATED, "model": self.asked.model}

    def _said(self, delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return self._frame("chat.completion.chunk") | {"choices": [choice]}

    def _calls(self) -> list[Json]:
        return [
            {"id": f"call_{self.number}_{at}", "type": tool.kind, tool.kind: _called_with(tool)}
            for at, tool in enumerate(self.asked.calls)
        ]

    def _finish(self) -> str:
        return "tool_calls" if self.asked.calls else "length" if self.asked.cut_off else "stop"

    def _usage(self) -> Json:
        given, said = self.asked.tokens, self.asked.said
        return {"prompt_tokens": given, "completion_tokens": said, "total_tokens": given + said}


def _called_with(tool: Tool) -> Json:
    return {"name": tool.name, "arguments" if tool.kind == "function" else "input": _arguments(tool)}


class _Responses:
    """The Responses API."""

    def __init__(self, asked: Asked, number: int) -> None:
        self.asked = asked
        self.number = number
        self._sequence = count()
        self._at: Json = {"item_id": f"msg_{number}", "output_index": 0, "content_index": 0}

    def begin(self) -> Iterator[Json]:
        running = self._response("in_progress", [])
        yield self._event("response.created", response=running)
        yield self._event("response.in_progress", response=running)
        if not self.asked.calls:
            item = self._message("in_progress", [])
            yield self._event("response.output_item.added", output_index=0, item=item)
            yield self._event("response.content_part.added", **self._at, part=_part(""))

    def word(self, text: str) -> Json:
        return self._event("response.output_text.delta", **self._at, delta=text, logprobs=[])

    def end(self) -> Iterator[Json]:
        whole = self.whole()
        yield from self._call_events(whole["output"]) if self.asked.calls else self._message_end(whole["output"][0])
        yield self._event(f"response.{whole['status']}", response=whole)

    def failure(self) -> Iterator[Json]:
        error = {"code": "server_error", "message": "The model has failed."}
        yield self._event("response.failed", response=self._response("failed", []) | {"error": error})

    def whole(self) -> Json:
        status = "incomplete" if self.asked.cut_off else "completed"
        return self._response(status, self._calls() or [self._message(status, [_part("".join(_pieces(self.asked)))])])

    def _event(self, kind: str, **members: Any) -> Json:
        return {"type": kind, "sequence_number": next(self._sequence), **members}

    def _message_end(self, item: Json) -> Iterator[Json]:
        part = item["content"][0]
        yield self._event("response.output_text.done", **self._at, text=part["text"], logprobs=[])
        yield self._event("response.content_part.done", **self._at, part=part)
        yield self._event("response.output_item.done", output_index=0, item=item)

    def _call_events(self, items: list[Json]) -> Iterator[Json]:
        for at, item in enumerate(items):
            place = {"item_id": item["id"], "output_index": at}
            member, kind = ("arguments", "function_call_arguments") if "arguments" in item else _CUSTOM
            begun = item | {"status": "in_progress", member: ""}
            yield self._event("response.output_item.added", output_index=at, item=begun)
            yield self._event(f"response.{kind}.delta", **place, delta=item[member])
            yield self._event(f"response.{kind}.done", **place, **{member: item[member]})
            yield self._event("response.output_item.done", output_index=at, item=item)

    def _message(self, status: str, content: list[Json]) -> Json:
        return {
            "id": f"msg_{self.number}",
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def _calls(self) -> list[Json]:
        return [
            {"id": f"fc_{self.number}_{at}", "type": "function_call" if tool.kind == "function" else "custom_tool_call"}
            | {"status": "completed", "call_id": f"call_{self.number}_{at}"}
            | ({"namespace": tool.namespace} if tool.namespace is not None else {})
            | _called_with(tool)
            for at, tool in enumerate(self.asked.calls)
        ]

    def _response(self, status: str, output: list[Json]) -> Json:
        over = status in ("completed", "incomplete")
        return {
            "id": f"resp_{self.number}",
            "object": "response",
            "created_at": _CREATED,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": None,
            "max_output_tokens": self.asked.most,
            "metadata": {},
            "model": self.asked.model,
            "output": output,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": self._usage() if over else None,
        }

    def _usage(self) -> Json:
        given, said = self.asked.tokens, self.asked.said
        details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        return {"input_tokens": given, "output_tokens": said, "total_tokens": given + said, **details}


_CUSTOM: Final = ("input", "custom_tool_call_input")


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
