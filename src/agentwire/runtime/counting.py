"""How many tokens a context is: the engine's own count where it has one, else an estimate.

The estimate is a sum over items, and a conversation keeps its own: a continuation counts what is new, whatever came
before. It is four bytes of text to a token, and a flat amount for what is no text.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import trio

from agentwire.protocol.codec import encode_json
from agentwire.protocol.content import InputFile, InputImage, OpaquePart, Part, text_of
from agentwire.protocol.items import (
    Compaction,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    McpCall,
    Message,
    OpaqueItem,
    OpenedCompaction,
    Reasoning,
    Summary,
)
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.response import Usage
from agentwire.protocol.tools import Tool
from agentwire.protocol.transcript import History, Node
from agentwire.runtime.asks import ask_of
from agentwire.runtime.contracts import Ask, Engine
from agentwire.runtime.service import Service

__all__ = [
    "count_input",
    "count_tokens",
    "estimate",
    "estimated_usage",
    "item_tokens",
    "items_tokens",
    "node_tokens",
    "settings_tokens",
    "text_tokens",
]

ITEM: Final = 3
"""Tokens of an item beside its text."""
TOOL: Final = 4
"""Tokens of a tool beside its JSON."""
IMAGE: Final = 800
FILE: Final = 1000
"""Tokens of an image, and of a file whose content is elsewhere; nobody has looked into them."""
ESTIMATED: Final = {"estimated": True}
"""Marks a usage that nobody has counted."""
BATCH: Final = 64
"""Responses that are counted between two checkpoints."""


async def count_input(service: Service, request: CreateRequest, parent: Node | None, *, principal: str) -> int:
    """The input tokens that this request would have; at least 1.

    Args:
        service: whose engine would be asked.
        request: what would be asked, references resolved.
        parent: what it continues.
        principal: who asks.
    """
    ask = ask_of(service, request, parent, principal=principal, response_id="resp_none")
    return max(1, await count_tokens(service.engine_for(request), ask))


async def count_tokens(engine: Engine, ask: Ask) -> int:
    """The tokens of everything that an engine is asked: settings, tools and the whole context.

    Args:
        engine: counts itself if it has a ``count_tokens(ask)``, async or not; what that raises is raised.
        ask: what it is asked.
    """
    counter = getattr(engine, "count_tokens", None)
    if counter is None:
        return await estimate(ask)
    counted = counter(ask)
    return int(await counted if inspect.isawaitable(counted) else counted)


async def estimate(ask: Ask) -> int:
    """About how many tokens an engine is asked to read; visits only the items that no earlier turn has counted."""
    if isinstance(ask.items, History) and ask.items.node is not None:
        for count, _ in enumerate(_count_chain(ask.items.node), 1):
            if count % BATCH == 0:
                await trio.lowlevel.checkpoint()  # a long conversation that nobody has counted yet
    return items_tokens(ask.items) + settings_tokens(ask.instructions, ask.tools, ask.text_format)


def estimated_usage(ask: Ask, written: int) -> Usage:
    """About what a step has used whose server has not said; ``written`` pieces came, and a piece is about a token."""
    read = items_tokens(ask.items) + settings_tokens(ask.instructions, ask.tools, ask.text_format)
    return Usage(read, written, extra=ESTIMATED)


def settings_tokens(instructions: str | None, tools: Iterable[Tool], text_format: Any = None) -> int:
    """About how many tokens are in a request beside its items."""
    offered = sum(TOOL + _bytes_tokens(len(encode_json(tool))) for tool in tools)
    schema = text_format.get("schema") if text_format else None
    asked = _bytes_tokens(len(encode_json(schema))) if schema is not None else 0
    return text_tokens(instructions or "") + offered + asked


def items_tokens(items: Iterable[Item]) -> int:
    """About how many tokens some items are, or a whole conversation."""
    if isinstance(items, History):
        before = node_tokens(items.node) if items.node is not None else 0
        return before + sum(map(item_tokens, items.tail))
    return sum(map(item_tokens, items))


def node_tokens(node: Node) -> int:
    """About how many tokens a conversation is; it remembers the answer, at every response that was counted."""
    for _ in _count_chain(node):
        pass
    return int(node.tokens.value)


def _count_chain(node: Node) -> Iterator[None]:
    """Count what is not counted yet, a response at a time, oldest first."""
    fresh: list[Node] = []
    total = 0
    for each in node.context():
        if each.tokens.value is not None:
            total = each.tokens.value
            break
        fresh.append(each)
    for each in reversed(fresh):
        total += sum(map(item_tokens, each.shown))
        each.tokens.value = total
        yield


def text_tokens(text: str) -> int:
    """About how many tokens a text is."""
    return _bytes_tokens(len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")))


def _bytes_tokens(size: int) -> int:
    return (size + 3) // 4


def item_tokens(item: Item) -> int:
    """About how many tokens one item is."""
    if isinstance(item, OpenedCompaction):
        return items_tokens(item.shown)
    count = _COUNTS.get(item.__class__)
    return ITEM + (count(item) if count is not None else 0)


def _reasoning_tokens(item: Reasoning) -> int:
    """Of what was thought, in whatever form it goes back to the model."""
    parts = item.content or item.summary
    return text_tokens(text_of(parts)) if parts else text_tokens(item.encrypted_content or "")


def _content_tokens(content: str | tuple[Part, ...]) -> int:
    if isinstance(content, str):
        return text_tokens(content)
    return text_tokens(text_of(content)) + sum(map(_attached_tokens, content))


def _attached_tokens(part: Part) -> int:
    if isinstance(part, InputImage):
        return IMAGE
    if isinstance(part, InputFile):
        return _bytes_tokens(len(part.file_data) * 3 // 4) if part.file_data is not None else FILE
    return _bytes_tokens(len(encode_json(part.raw))) if isinstance(part, OpaquePart) else 0


def _call_tokens(item: FunctionCall | McpCall) -> int:
    return text_tokens(item.name) + text_tokens(item.arguments)


_COUNTS: Final[Mapping[type, Callable[[Any], int]]] = {
    **dict.fromkeys((Message, Summary), lambda item: _content_tokens(item.content)),
    **dict.fromkeys((FunctionCallOutput, CustomToolCallOutput), lambda item: _content_tokens(item.output)),
    FunctionCall: _call_tokens,
    McpCall: lambda item: _call_tokens(item) + text_tokens(item.output or ""),
    CustomToolCall: lambda item: text_tokens(item.name) + text_tokens(item.input),
    Reasoning: _reasoning_tokens,
    Compaction: lambda item: text_tokens(item.encrypted_content),
    OpaqueItem: lambda item: _bytes_tokens(len(encode_json(item.raw))),
}
