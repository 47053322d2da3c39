"""What a request says of the calls and the text of its answer, kept whatever the engine does.

One object follows a turn through all its engine steps. An engine that calls what it must not has a fault, and so has
one that makes no call where one is required; calls that are too many are not run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from agentwire.protocol.checks import shorten
from agentwire.protocol.content import Refusal
from agentwire.protocol.errors import EngineError
from agentwire.protocol.items import CustomToolCall, FunctionCall, Item, McpCall, Message, OpaqueItem, client_call
from agentwire.protocol.mcp_items import APPROVAL_REQUEST
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.tools import AUTO, ToolChoice

__all__ = ["CallRules", "has_format", "is_call", "may_be_call"]

_CALL: Final = "_call"


@attrs.define
class CallRules:
    """The rules of one turn, and what they have to remember of it.

    Attributes:
        choice: which tools may, must or must not be called.
        parallel: whether one engine step may make several calls.
        most: the most calls that run inside the response; None for as many as there are.
    """

    choice: ToolChoice = AUTO
    parallel: bool = True
    most: int | None = None
    _called: bool = False
    _run: int = 0

    @classmethod
    def of(cls, request: CreateRequest) -> CallRules:
        """The rules that a request sets."""
        return cls(request.tool_choice, request.parallel_tool_calls, request.max_tool_calls)

    def check(self, item: Item) -> None:
        """Judge an item before it begins, if it is a call.

        Raises:
            EngineError: ``tool_choice`` does not allow this call.
        """
        names = _names(item)
        if not names or self._allows(item, names):
            return
        allowed = "no tool" if self.choice.mode == "none" else f"only {', '.join(self.choice.names or ())}"
        raise EngineError(f"The engine called {shorten(names[0])}, where tool_choice allows {allowed}.")

    def _allows(self, item: Item, names: tuple[str, ...]) -> bool:
        if any(map(self.choice.allows, names)):
            return True
        if self.choice.mode == "none" or not isinstance(item, OpaqueItem):
            return False
        stem = item.type.removesuffix(_CALL)  # web_search_call: web_search, and web_search_preview, and dated names
        return any(name.startswith(stem) for name in self.choice.names or ())

    def count(self, item: Item) -> bool:
        """A call is complete; False if it is the server's to run, and one too many."""
        if not _names(item):
            return True
        self._called = True
        if client_call(item) is None:
            self._run += 1
        return self.most is None or self._run <= self.most or client_call(item) is not None

    def check_end(self) -> None:
        """Judge the response when its model is done.

        Raises:
            EngineError: ``tool_choice`` requires a call, and there was none.
        """
        if self.choice.mode == "required" and not self._called:
            wanted = " or ".join(self.choice.names or ()) or "a tool"
            raise EngineError(f"tool_choice requires a call of {wanted}, and the engine made none.")


def has_format(items: Sequence[Item], wanted: Mapping[str, Any]) -> bool:
    """Whether the answer has the form that ``text.format`` asks for: is JSON, if it must be.

    Not looked at: an answer that is a call, a refusal, or no message; and whether the JSON follows its schema.
    """
    if wanted.get("type") not in ("json_object", "json_schema") or not items:
        return True
    last = items[-1]
    if not isinstance(last, Message) or any(isinstance(part, Refusal) for part in last.content):
        return True
    try:
        msgspec.json.decode(last.text, type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True


def is_call(item: Item) -> bool:
    """Whether an item is a call of a tool, whoever runs it."""
    return bool(_names(item))


def may_be_call(kind: str) -> bool:
    """Whether an item of this type may be a call of a tool."""
    return kind.endswith(_CALL) or kind == APPROVAL_REQUEST


def _names(item: Item) -> tuple[str, ...]:
    """The names by which a call could have been chosen; none if the item is no call."""
    if isinstance(item, FunctionCall | CustomToolCall):
        return (item.name,) if item.namespace is None else (item.name, item.namespace)
    if isinstance(item, McpCall):
        return (item.name, item.server_label, f"{item.server_label}.{item.name}")
    if isinstance(item, OpaqueItem) and item.type == APPROVAL_REQUEST:
        label, name = item.raw.get("server_label"), item.raw.get("name")
        return (f"{name}", f"{label}", f"{label}.{name}")
    if isinstance(item, OpaqueItem) and item.type.endswith(_CALL):
        return (item.type.removesuffix(_CALL),)
    return ()
