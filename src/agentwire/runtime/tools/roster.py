"""The tools on offer in one turn, by the names under which the model sees them.

Those of the server have unique names that every model's API takes, and each leads back to its source and its real name.
A name is changed only where it must be: when it is not legal, or when somebody else in the same turn has it.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Self

import attrs

from agentwire.protocol.errors import RequestError
from agentwire.protocol.limits import Limits
from agentwire.protocol.mcp import McpTool
from agentwire.protocol.tools import FunctionTool, Tool, ToolChoice, tool_names
from agentwire.runtime.tools.output import ToolResult
from agentwire.runtime.tools.source import ToolRunner
from agentwire.runtime.tools.toolbox import Toolbox

__all__ = ["Offered", "OwnTools", "Roster"]

_LONGEST: Final = 64
_ILLEGAL: Final = re.compile(r"[^a-zA-Z0-9_-]")


@attrs.frozen
class OwnTools:
    """The server's own functions as a `ToolRunner`."""

    label: str
    toolbox: Toolbox

    def offered(self) -> tuple[Offered, ...]:
        """All of them."""
        return tuple(Offered(self, spec.name, spec) for spec in self.toolbox.specs)

    async def call(self, name: str, arguments: str, *, call_id: str, limits: Limits) -> ToolResult:
        """See `ToolRunner`."""
        return await self.toolbox.run(name, arguments, call_id=call_id, limits=limits)


@attrs.frozen
class Offered:
    """A tool that the server runs, as it is offered.

    Attributes:
        source: runs it.
        name: what the source calls it.
        spec: what the model is shown of it.
        asks_first: whether the client must approve each call.
    """

    source: ToolRunner
    name: str
    spec: FunctionTool
    asks_first: bool = False

    @property
    def label(self) -> str:
        """Under which its calls appear."""
        return self.source.label

    @classmethod
    def of(cls, source: ToolRunner, tool: McpTool, *, asks_first: bool) -> Self:
        """A tool of an MCP server."""
        return cls(source, tool.name, FunctionTool(tool.name, tool.schema, None, tool.description), asks_first)


@attrs.define(eq=False)
class Roster:
    """All tools of a turn; made by `Roster.of`.

    Attributes:
        clients: what the client offers, and runs itself.
        own: what the server offers, by the names that the model sees.
    """

    clients: tuple[Tool, ...] = ()
    own: Mapping[str, Offered] = MappingProxyType({})
    _names: Mapping[tuple[str, str], str] = MappingProxyType({})

    @classmethod
    def of(cls, clients: Iterable[Tool], own: Iterable[Offered]) -> Roster:
        """Give each of the server's tools its name."""
        clients, own = tuple(clients), tuple(own)
        if not own:
            return cls(clients)
        taken = set(tool_names(clients))
        wanted = Counter(_legal(tool.name) for tool in own)
        named: dict[str, Offered] = {}
        for tool in own:
            name = _legal(tool.name)
            if name in taken or wanted[name] > 1:
                name = _legal(f"{tool.label}__{tool.name}")
            if name in taken or name in named:
                name = _marked(name, tool)
            named[name] = attrs.evolve(tool, spec=attrs.evolve(tool.spec, name=name))
        names = {(tool.label, tool.name): name for name, tool in named.items()}
        return cls(clients, MappingProxyType(named), names)

    @property
    def names(self) -> Mapping[tuple[str, str], str]:
        """The name that the model sees, by label and real name."""
        return self._names

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The client's, then the server's."""
        return self.clients if not self.own else (*self.clients, *(tool.spec for tool in self.own.values()))

    def find(self, label: str, name: str) -> Offered | None:
        """The server's tool of that label and real name."""
        return self.own.get(self._names.get((label, name), ""))

    def choose(self, choice: ToolChoice) -> ToolChoice:
        """A choice in the names that the model sees; a name that is not known here stays as it is."""
        if choice.names is None or not self.own:
            return choice
        chosen = tuple(dict.fromkeys(name for wanted in choice.names for name in self._chosen(wanted)))
        return choice if chosen == choice.names else attrs.evolve(choice, names=chosen)

    def _chosen(self, wanted: str) -> Iterable[str]:
        label, dot, name = wanted.partition(".")
        if dot:
            return (self._names.get((label, name), wanted),)
        return [name for name, tool in self.own.items() if tool.label == label] or (wanted,)

    def check(self, choice: ToolChoice) -> None:
        """Check that a choice leads to tools.

        Raises:
            RequestError: 400, param ``tool_choice``: a tool of an MCP server is chosen that is not offered.
        """
        for wanted in self.choose(choice).names or ():
            label, dot, name = wanted.partition(".")
            if dot:
                message = f"Invalid value for 'tool_choice': the MCP server {label!r} has no tool {name!r} on offer."
                raise RequestError.invalid(message, param="tool_choice")


def _legal(name: str) -> str:
    """A name that every model's API takes."""
    legal = _ILLEGAL.sub("_", name)
    return legal if 0 < len(legal) <= _LONGEST else _shortened(legal, name)


def _marked(name: str, tool: Offered) -> str:
    return _shortened(name, f"{tool.label}\0{tool.name}")


def _shortened(name: str, of: str) -> str:
    mark = hashlib.sha256(of.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{name[: _LONGEST - 9]}_{mark}"
