"""When a model call may be made a second time, after nobody knows what became of the first.

It costs tokens and nothing else, unless the server does more than to ask its model: runs tools of its own, or keeps
what comes of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, Final, Literal

import attrs

from agentwire.protocol.errors import RequestError
from agentwire.protocol.items import OpaqueItem
from agentwire.protocol.limits import Limits
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.tools import TOOL_ITEMS, CustomTool, FunctionTool, Tool

__all__ = ["Repeat", "Repeats"]

Repeat = Literal["safe", "always", "never"]
"""Which model calls are repeated where nobody knows what became of them: those that can do no harm, all, or none."""

_CLIENTS: Final = frozenset(("apply_patch", "computer", "computer_use_preview", "custom", "function", "local_shell"))
"""Tools of these types are run by the client (Responses API, tools)."""


@attrs.define(eq=False)
class Repeats:
    """What one client may ask again.

    Attributes:
        policy: of the client.
        limits: how often, and the pauses between.
        random: chance, for the pauses.
        server_works: the server has shown that it runs tools of its own, which no request names.
    """

    policy: Repeat
    limits: Limits
    random: Random
    server_works: bool = False

    def permits(self, request: CreateRequest, *, worked: bool = False) -> bool:
        """Whether a request may be sent again that the server may have worked on.

        Args:
            request: what was asked.
            worked: the server has begun to do something for it.
        """
        if self.policy != "safe":
            return self.policy == "always"
        return not (worked or self.server_works or _leaves_traces(request))

    def saw_work(self, request: CreateRequest) -> None:
        """For this request, the server has run a tool; if it was asked for none, it does so by itself."""
        if not any(map(_runs_on_server, request.tools)):
            self.server_works = True

    def pause(self, attempt: int, error: RequestError | None) -> float | None:
        """Seconds to wait before another attempt; None if the server asks for more than is waited.

        Args:
            attempt: how many there have been.
            error: the refusal, if it was one.
        """
        asked = _retry_after(error) if error is not None else None
        if asked is not None:
            return asked if asked <= self.limits.retry_after else None
        if error is None and attempt == 1:
            return 0.0
        longest = min(math.ldexp(self.limits.retry_pause, attempt - 1), self.limits.retry_longest)
        return longest * (1 + self.random.random()) / 2


def _leaves_traces(request: CreateRequest) -> bool:
    if request.store:
        return True
    brought = (item.raw for item in request.input if isinstance(item, OpaqueItem) and item.type in TOOL_ITEMS)
    return any(map(_runs_on_server, request.tools)) or any(map(_holds_server_tools, brought))


def _runs_on_server(tool: Tool) -> bool:
    if isinstance(tool, FunctionTool | CustomTool) or tool.type in _CLIENTS:
        return False
    return _raw_runs_on_server(tool.raw)


def _raw_runs_on_server(raw: Mapping[str, Any]) -> bool:
    kind = raw.get("type")
    if kind in _CLIENTS:
        return False
    if kind == "namespace":
        return _holds_server_tools(raw)
    if kind == "tool_search":
        return raw.get("execution") != "client"
    if kind == "shell":
        environment = raw.get("environment")
        return isinstance(environment, Mapping) and str(environment.get("type", "")).startswith("container")
    return True


def _holds_server_tools(raw: Mapping[str, Any]) -> bool:
    inner = raw.get("tools")
    tools: Iterable[Any] = inner if isinstance(inner, list | tuple) else ()
    return any(isinstance(tool, Mapping) and _raw_runs_on_server(tool) for tool in tools)


def _retry_after(error: RequestError) -> float | None:
    try:
        seconds = float(error.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if seconds >= 0 else None
