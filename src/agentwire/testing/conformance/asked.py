"""A request to the companion, read from either dialect: who asks what, of which tools, and how it is to be answered."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs

from agentwire.engines.builtin.filling import fill
from agentwire.testing.conformance.plays import MODELS, Play

__all__ = ["Asked", "Dialect", "Tool", "read_chat", "read_responses"]

Json: TypeAlias = dict[str, Any]
Dialect: TypeAlias = Literal["chat", "responses"]

_WORDS: Final = ("one ", "two ", "three ", "four ", "five ", "six ", "seven ", "eight ", "nine ", "ten ")
_REPEAT: Final = re.compile(r"Repeat[^:]*: (.*)", re.DOTALL)


@attrs.frozen
class Tool:
    """A tool that was offered: its kind, its name, the schema of its arguments, and the namespace that it is in."""

    kind: Literal["function", "custom"]
    name: str
    schema: Mapping[str, Any]
    namespace: str | None = None


@attrs.frozen(kw_only=True)
class Asked:
    """A request, whatever its dialect.

    Attributes:
        dialect: in which it came, and in which it is answered.
        model: as it names it.
        play: how it is answered.
        repeated: words that it asks to have repeated.
        tools: what it offers.
        calls: the tools that are called.
        schema: of the text, if it asks for one.
        most: tokens that the answer may have.
        tokens: a rough count of what was sent.
        stream: whether the answer is events.
        usage: whether these end with a usage, in chat completions.
    """

    dialect: Dialect
    model: str
    play: Play
    repeated: Sequence[str] = ()
    tools: Sequence[Tool] = ()
    calls: Sequence[Tool] = ()
    schema: Mapping[str, Any] | None = None
    most: int | None = None
    tokens: int = 1
    stream: bool = False
    usage: bool = False

    @property
    def words(self) -> list[str]:
        """What it says, in pieces."""
        if self.calls:
            return []
        if self.schema is not None:
            return [json.dumps(fill(self.schema))]
        return self._wanted[: self.most]

    @property
    def _wanted(self) -> list[str]:
        """What it would say in words if it might."""
        return [*self.repeated] or [_WORDS[number % len(_WORDS)] for number in range(self.play.words)]

    @property
    def said(self) -> int:
        """A rough count of what it says, in tokens."""
        return len(self.words) + 5 * len(self.calls) + self.play.flood // 4

    @property
    def cut_off(self) -> bool:
        """Whether it could not say all that it wanted to."""
        return not self.calls and self.schema is None and self.most is not None and self.most < len(self._wanted)


# Reading


def read_chat(body: Json) -> Asked:
    """A request for a chat completion."""
    messages = [message for message in _list(body.get("messages")) if isinstance(message, dict)]
    tools = [(tool, tool.get(str(tool.get("type")))) for tool in _list(body.get("tools"))]
    chosen = body.get("tool_choice")
    if isinstance(chosen, dict):
        chosen = chosen.get(str(chosen.get("type")), chosen)
    form = body.get("response_format") or {}
    return _asked(
        "chat",
        body,
        _last_text(messages),
        [_tool(said, tool.get("type")) for tool, said in tools],
        chosen,
        form={**form, "schema": (form.get("json_schema") or {}).get("schema")},
        most=body.get("max_completion_tokens", body.get("max_tokens")),
        usage=bool((body.get("stream_options") or {}).get("include_usage")),
    )


def read_responses(body: Json) -> Asked:
    """A request for a response."""
    given = body.get("input", "")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else _list(given)
    offered = [tool for tool in _list(body.get("tools")) if isinstance(tool, dict)]
    inner = [(tool, one) for tool in offered if tool.get("type") == "namespace" for one in _list(tool.get("tools"))]
    tools = [_tool(tool, tool.get("type")) for tool in offered]
    tools += [_tool(one, one.get("type"), str(space.get("name"))) for space, one in inner]
    form = (body.get("text") or {}).get("format") or {}
    most = body.get("max_output_tokens")
    return _asked("responses", body, _last_text(items), tools, body.get("tool_choice"), form=form, most=most)


def _asked(
    dialect: Dialect,
    body: Json,
    text: str,
    tools: Sequence[Tool | None],
    choice: Any,
    *,
    form: Json,
    most: Any,
    usage: bool = False,
) -> Asked:
    model = str(body.get("model"))
    play = Play.read(text) or MODELS.get(model) or Play()
    offered = [tool for tool in tools if tool is not None]
    return Asked(
        dialect=dialect,
        model=model,
        play=play,
        repeated=[f"{word} " for word in found[1].split()] if (found := _REPEAT.search(text)) else (),
        tools=offered,
        calls=_called(play, offered, choice, alone=body.get("parallel_tool_calls") is False),
        schema=_schema(form),
        most=most if isinstance(most, int) else None,
        tokens=len(json.dumps(body)) // 4 + 1,
        stream=bool(body.get("stream")),
        usage=usage,
    )


def _schema(form: Json) -> Mapping[str, Any] | None:
    if form.get("type") == "json_object":
        return {"type": "object"}
    schema = form.get("schema") if form.get("type") == "json_schema" else None
    return schema if isinstance(schema, dict) else None


def _called(play: Play, tools: Sequence[Tool], choice: Any, *, alone: bool) -> Sequence[Tool]:
    """What is called: as many as the play wants, or one if the request forces it."""
    names = {tool.name for tool in tools}
    forced = choice == "required"
    if isinstance(choice, dict):
        allowed = [choice, *_list(choice.get("tools"))]
        named = {str(one.get("name") or (one.get("function") or {}).get("name")) for one in allowed}
        names &= named
        forced = choice.get("mode") != "auto"
    may = [] if choice == "none" else [tool for tool in tools if tool.name in names]
    wanted = max(play.calls, int(forced and bool(may)))
    return [may[number % len(may)] for number in range(min(wanted, 1) if alone else wanted)] if may else []


def _tool(said: Any, kind: Any, namespace: str | None = None) -> Tool | None:
    if not isinstance(said, dict) or kind not in ("function", "custom"):
        return None
    return Tool(kind, str(said.get("name")), said.get("parameters") or {}, namespace)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _last_text(messages: Sequence[Any]) -> str:
    """What the user said last, if nothing came since then."""
    last = messages[-1] if messages and isinstance(messages[-1], dict) else {}
    return _text(last) if last.get("role") == "user" else ""


def _text(message: Json) -> str:
    content = message.get("content", "")
    parts = [{"text": content}] if isinstance(content, str) else _list(content)
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
