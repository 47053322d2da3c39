"""The request to another server that speaks the Responses protocol, made of what an engine is asked.

All that the client said goes up, what is unknown here too, but for what belongs to this connection. The input stands
before the settings, so that the body of a turn begins with that of the turn before, whatever its settings are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from agentwire.engines.chat.summary import SUMMARY_REQUEST
from agentwire.engines.offering import tools_in
from agentwire.engines.relay.rendering import Made, Rendered, is_empty_thought, render
from agentwire.protocol.codec import encode_json, encode_wire, settings_writer, to_wire
from agentwire.protocol.errors import EngineError
from agentwire.protocol.events import ErrorEvent
from agentwire.protocol.tools import CustomTool, OpaqueTool, Tool, ToolChoice, tool_names
from agentwire.protocol.transcript import History
from agentwire.runtime.contracts import Ask

__all__ = [
    "ENCRYPTED",
    "Asking",
    "free_text_tools",
    "is_about_include",
    "is_forgotten",
    "made_before",
    "own_tools",
    "runs_tools",
]

ENCRYPTED: Final = "reasoning.encrypted_content"
"""What ``include`` must have for reasoning to come back in a form that can be handed back."""

_RUN_BY_CLIENTS: Final = frozenset(("function", "custom", "namespace", "local_shell", "apply_patch"))

LEAST_TOKENS: Final = 16
"""The smallest ``max_output_tokens`` that the protocol allows."""

_OURS: Final = frozenset(
    (
        "type", "model", "input", "tools", "tool_choice", "previous_response_id", "store", "stream", "stream_id",
        "background", "generate", "conversation", "context_management", "max_output_tokens", "include",
    )
)  # fmt: skip
"""Members that are about this server and its client, or are made here."""
_write_settings: Final = settings_writer(_OURS)
_NOT_FOR_SUMMARY: Final = frozenset(
    ("tools", "tool_choice", "parallel_tool_calls", "text", "include", "max_tool_calls")
)
_COUNTED: Final = frozenset(("instructions", "tools", "tool_choice", "parallel_tool_calls", "text", "reasoning"))


@attrs.define(eq=False)
class Asking:
    """One upstream request, and what is kept of its answer for the next one.

    Attributes:
        model: the name that the upstream knows its model by.
        settings: everything but the model and the input.
        rendered: the whole conversation.
        previous_response_id: the upstream's response that ends where the new items begin, if it keeps responses.
        news: the input after that one.
        stateful: the upstream keeps its responses.
        more: input behind the conversation, which is no part of it.
    """

    model: str
    settings: Mapping[str, Any]
    rendered: Rendered
    previous_response_id: str | None = None
    news: tuple[bytes, ...] = ()
    stateful: bool = False
    more: tuple[bytes, ...] = ()

    @classmethod
    def of(
        cls, ask: Ask, *, owner: object, model: str | None = None, stateful: bool = False, remembers: bool = False
    ) -> Asking:
        """What goes up for this step.

        Args:
            ask: what is asked.
            owner: the engine: what is kept with a conversation counts for one upstream only.
            model: the name that the upstream knows its model by; the client's if it is None.
            stateful: the upstream keeps its responses.
            remembers: it may still have the latest one, although it keeps none.
        """
        before = ask.memo.value
        rendered, news = render(ask.items, ask.memo, owner=owner, labels=_labels(ask.tools), called=ask.called)
        known = before.response_id if (stateful or remembers) and news is not None else None
        settings = settings_of(ask, encrypted=not stateful)
        return cls(model or ask.model, settings, rendered, known, (news or ()) if known is not None else (), stateful)

    @property
    def asks_encrypted(self) -> bool:
        """Whether reasoning is to come back encrypted."""
        return ENCRYPTED in self.settings.get("include", ())

    def without(self, included: str) -> Asking:
        """The same, but for one entry of ``include``."""
        include = [name for name in self.settings.get("include", ()) if name != included]
        settings = {name: value for name, value in self.settings.items() if name != "include"}
        return attrs.evolve(self, settings=settings | ({"include": include} if include else {}))

    def in_full(self) -> Asking:
        """The same, without a response before it."""
        return attrs.evolve(self, previous_response_id=None, news=())

    def for_summary(self, tokens: int) -> Asking:
        """The same conversation, with a request to summarize it in so many tokens instead of to go on."""
        settings = {name: value for name, value in self.settings.items() if name not in _NOT_FOR_SUMMARY}
        asked = encode_json({"type": "message", "role": "user", "content": SUMMARY_REQUEST})
        settings["max_output_tokens"] = max(LEAST_TOKENS, tokens)
        return attrs.evolve(self.in_full(), settings=settings, more=(asked,))

    def body(self, **members: Any) -> bytes:
        """The shortest request that says everything.

        Args:
            members: come first, such as ``type``, ``stream`` and ``store``.
        """
        return self.full_body(**members) if self.previous_response_id is None else self.delta_body(**members)

    def full_body(self, **members: Any) -> bytes:
        """A request with the whole conversation; see `body`."""
        entries = self.rendered.all_entries()
        entries += self.more
        return self._body(entries, members)

    def delta_body(self, **members: Any) -> bytes:
        """A request with what the response before it does not have; see `body`."""
        return self._body(self.news, {**members, "previous_response_id": self.previous_response_id})

    def count_body(self) -> bytes:
        """A request to count the tokens of the whole conversation."""
        settings = {name: value for name, value in self.settings.items() if name in _COUNTED}
        return attrs.evolve(self, settings=settings).full_body()

    def _body(self, entries: Iterable[bytes], members: Mapping[str, Any]) -> bytes:
        head, tail = encode_wire({**members, "model": self.model}), encode_wire(self.settings)
        return b'%b,"input":[%b]%b%b' % (head[:-1], b",".join(entries), b"," if self.settings else b"", tail[1:])

    def keep(self, item_id: str, raw: Mapping[str, Any], *, call_id: str | None = None) -> None:
        """The upstream made this item.

        Args:
            item_id: as the client knows it.
            raw: as the upstream made it; plain JSON values.
            call_id: of a call of a tool that this server runs.
        """
        lost = not self.stateful and is_empty_thought(raw)
        self.rendered.made[item_id] = Made(None if lost else raw, call_id)

    def keep_response(self, response_id: str | None) -> None:
        """The upstream's answer is whole, and has this id there."""
        self.rendered.response_id = response_id


def settings_of(ask: Ask, *, encrypted: bool = False) -> dict[str, Any]:
    """All members of the client's request that go up, but for the model and the input.

    Args:
        ask: what is asked.
        encrypted: reasoning must come back in a form that can be handed back.
    """
    request = ask.request
    settings = _write_settings(request)
    include = [*request.include, *([ENCRYPTED] if encrypted and ENCRYPTED not in request.include else [])]
    if include:
        settings["include"] = include
    if ask.max_output_tokens is not None:
        settings["max_output_tokens"] = max(LEAST_TOKENS, ask.max_output_tokens)
    if ask.tools:
        settings["tools"] = to_wire(ask.tools)
    if (choice := _choice(ask.tool_choice, ask.step)) != "auto":
        settings["tool_choice"] = choice
    return settings


def _choice(choice: ToolChoice, step: int) -> Any:
    """A call that is demanded is made in the first step, so that later steps can come to an answer."""
    raw = choice.raw
    if choice.mode != "required" or not step:
        return raw
    return {**raw, "mode": "auto"} if isinstance(raw, Mapping) and raw.get("type") == "allowed_tools" else "auto"


def own_tools(ask: Ask) -> list[str]:
    """The names of the tools that this server runs."""
    if not ask.tools:
        return []
    clients = set(map(id, ask.request.tools))
    return [tool.name for tool in ask.tools if id(tool) not in clients]


def free_text_tools(ask: Ask) -> list[str] | None:
    """The names of the client's free-text tools where calls of others are the upstream's own; else None.

    xAI tells of its searches so, to those who have asked for them. Any tool that an item brings counts as one.
    """
    if not any(tool.type == "x_search" for tool in ask.tools):
        return None
    late = tool_names(filter(None, map(tools_in, ask.items)))
    return [*(tool.name for tool in ask.tools if isinstance(tool, CustomTool)), *late]


def made_before(ask: Ask) -> int:
    """How many items the response has from the steps before this one."""
    return max(0, len(ask.items.tail) - len(ask.new_items)) if ask.step and isinstance(ask.items, History) else 0


def _labels(tools: Iterable[Tool]) -> set[str]:
    """The labels of the MCP servers that the upstream is to reach."""
    return {str(tool.raw.get("server_label")) for tool in tools if isinstance(tool, OpaqueTool) and tool.type == "mcp"}


def runs_tools(tools: Iterable[Mapping[str, Any]]) -> bool:
    """Whether there are any among them that the server itself may run."""
    return any(tool.get("type") not in _RUN_BY_CLIENTS for tool in tools)


def is_forgotten(response_id: str, error: EngineError | ErrorEvent) -> bool:
    """Whether a server complains about the response that it should continue; not all of them have the code for it."""
    named = error.param == "previous_response_id" or response_id in error.message
    return error.code == "previous_response_not_found" or (error.status in (400, 404, None) and named)


def is_about_include(asking: Asking, error: EngineError) -> bool:
    """Whether a server does not do what was added to the client's request, in `ENCRYPTED` or in ``include`` at all."""
    if not asking.asks_encrypted or error.status not in (400, 422):
        return False
    quoted = any(f"{mark}include" in error.message for mark in "'\"`")
    alone = len(asking.settings["include"]) == 1
    return "encrypted" in error.message.lower() or (alone and (quoted or (error.param or "").startswith("include")))
