"""What the engine knows of a conversation: the latest request, what tools answered since, and how much came before.

A reading grows item by item and is kept in the conversation's memo, so that a continuation reads only what is new. It
is copied before it grows: forks of one conversation share a memo.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, Final

import attrs
import msgspec

from agentwire.engines.builtin.facts import facts_of_text, parse_json
from agentwire.engines.offering import Catalogue, answer_text, as_function, between_agents, tools_in
from agentwire.protocol.content import InputFile, InputImage, OpaquePart, Part
from agentwire.protocol.items import (
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    McpCall,
    Message,
    OpaqueItem,
    Summary,
    answered_call,
    client_call,
)
from agentwire.protocol.tools import OpaqueTool
from agentwire.runtime.counting import item_tokens

__all__ = ["Exchange", "Reading", "read"]

LONGEST_MESSAGE: Final = 32_768
MOST_FACTS: Final = 500

_NO_TOOLS: Final = Catalogue()
"""The engine knows its tools by their own names."""
_PLACES: Final = ("path", "dir", "directory", "folder", "root", "base", "cwd")
_FAILED: Final = ("error", "exception", "traceback", "failed", "fatal", "permission denied", "no such file")


@attrs.frozen(slots=False)
class Exchange:
    """One call of a tool and what it put out.

    Attributes:
        name: the tool.
        arguments: as they were sent: JSON, or free text.
        output: the text of the output; empty until there is one.
        attached: what the output has beside text, in words ("1 image").
        error: whether whoever ran the tool says that it failed.
    """

    name: str
    arguments: str
    output: str = ""
    attached: str = ""
    error: bool = False

    @cached_property
    def parsed(self) -> Mapping[str, Any]:
        """The arguments as an object; empty for free text."""
        value = parse_json(self.arguments)
        return value if isinstance(value, Mapping) else {}

    @property
    def place(self) -> str:
        """The directory that the call was about, if its arguments name one."""
        return next((str(self.parsed[name]) for name in _PLACES if isinstance(self.parsed.get(name), str)), "")

    @cached_property
    def failed(self) -> bool:
        """Whether the tool failed, by what the output says."""
        value = parse_json(self.output)
        if isinstance(value, Mapping):
            return self.error or bool(value.get("error"))
        return self.error or self.output[:200].lstrip("[(<*#` ").lower().startswith(_FAILED)


@attrs.define
class Reading:
    """A conversation, read as far as it goes.

    Attributes:
        request: the text of the latest message of the user, cut at a bound.
        attached: what that message has beside text, in words.
        since: the exchanges since that message, in the order of the calls.
        before: the exchanges that answered the message before it.
        facts: what the user's messages say in the form "name is value".
        late: tools that came as items of the conversation.
        tokens: about how many tokens all items are.
    """

    request: str = ""
    attached: str = ""
    since: list[Exchange] = attrs.Factory(list)
    before: list[Exchange] = attrs.Factory(list)
    facts: dict[str, Any] = attrs.Factory(dict)
    late: tuple[OpaqueTool, ...] = ()
    tokens: int = 0
    _open: dict[str, int] = attrs.Factory(dict)

    def copy(self) -> Reading:
        """Another reading that may grow by itself; costs what was exchanged since the latest message."""
        return Reading(
            self.request,
            self.attached,
            [*self.since],
            self.before,
            {**self.facts},
            self.late,
            self.tokens,
            {**self._open},
        )

    def add(self, item: Item) -> None:
        """Read one item more."""
        self.tokens += item_tokens(item)
        if isinstance(item, Message):
            self._message(item)
        elif isinstance(item, McpCall):
            output = item.output if item.error is None else _words_in(item.error)
            self.since.append(Exchange(item.name, item.arguments, output or "", error=item.error is not None))
        elif (call_id := client_call(item)) is not None:
            if (call := _call(item)) is not None:
                self._open[call_id] = len(self.since)
                self.since.append(call)
        elif (call_id := answered_call(item)) is not None:
            self._answer(item, self._open.pop(call_id, None))
        elif isinstance(item, OpaqueItem) and (told := between_agents(item)) is not None:
            self._message(told)
        if (late := tools_in(item)) is not None:
            self.late += (late,)

    def _message(self, message: Message) -> None:
        if message.role != "user":
            return
        if isinstance(message, Summary):
            self.facts |= facts_of_text(message.text)
            return
        self.request = message.text[:LONGEST_MESSAGE]
        self.attached = "" if isinstance(message.content, str) else _attached(message.content)
        if self.since:
            self.before = self.since
        self.since, self._open = [], {}
        if len(self.facts) < MOST_FACTS:
            self.facts |= facts_of_text(self.request)

    def _answer(self, item: Item, index: int | None) -> None:
        if index is None:
            return  # an answer to a call that an earlier message has left behind
        call = self.since[index]
        if isinstance(item, FunctionCallOutput | CustomToolCallOutput):
            attached = "" if isinstance(item.output, str) else _attached(item.output)
            call = attrs.evolve(call, output=item.text, attached=attached, error=item.status == "incomplete")
        elif isinstance(item, OpaqueItem):
            output = answer_text(item, _NO_TOOLS)
            call = attrs.evolve(call, output=output, error=item.raw.get("status") == "failed")
        self.since[index] = call


def read(items: Sequence[Item], memo: Any = None) -> Reading:
    """Read a conversation, from where the memo's reading ends if that is part of it.

    Args:
        items: the whole conversation, oldest first.
        memo: a cell with a ``value``, which this updates; None to read everything.
    """
    count, last, reading = (memo.value if memo is not None else None) or (0, None, Reading())
    newest = list(islice(reversed(items), max(len(items) - count, 0) + 1))
    if count > len(items) or (count and newest.pop() is not last):
        newest, reading = list(reversed(items)), Reading()
    reading = reading.copy()
    for item in reversed(newest):
        reading.add(item)
    if memo is not None and items:
        memo.value = (len(items), next(reversed(items)), reading)
    return reading


def _call(item: Item) -> Exchange | None:
    """A call as it was made; None for a request for approval, as the call that follows from it says it all."""
    if isinstance(item, FunctionCall):
        return Exchange(item.name, item.arguments)
    if isinstance(item, CustomToolCall):
        return Exchange(item.name, item.input)
    called = as_function(item, _NO_TOOLS)
    if called is None:
        return None
    _, name, arguments = called
    return Exchange(name, arguments)


def _attached(parts: Iterable[Part]) -> str:
    """What is not text, in words: "1 image and report.pdf"."""
    images = sum(isinstance(part, InputImage) for part in parts)
    named = [part.filename or "a file" for part in parts if isinstance(part, InputFile)]
    other = [f"a part of type {part.type}" for part in parts if isinstance(part, OpaquePart)]
    listed = [f"{images} image{'s' * (images > 1)}"] * bool(images) + named[:5] + other[:5]
    return " and ".join(listed)


def _words_in(value: Any) -> str:
    """The text of an output of an unknown shape: its strings, one a line, or its JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and isinstance(value.get("stdout"), str):
        return f"{value['stdout']}{value.get('stderr') or ''}"
    if isinstance(value, list):
        return "\n".join(map(_words_in, value[:50]))
    return "" if value is None else msgspec.json.encode(value).decode()
