"""Runs in the tools of runs: which run a tool works for, how deep that goes, and what it costs in all.

A context variable says so, and it follows a tool into its tasks and threads, so that a plain `Client.run` in a tool
counts, too. A nested run ends with the tool, and the tool with its run.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

import attrs

from agentwire.protocol.errors import LocalProtocolError
from agentwire.protocol.response import Usage

__all__ = ["Nest"]

_CURRENT: Final[ContextVar[Nest | None]] = ContextVar("agentwire_run", default=None)


@attrs.define(eq=False)
class Nest:
    """A run, as the runs in its tools see it.

    Attributes:
        outer: the run in whose tool it is.
        depth: how many runs it is in.
        usage: of the runs in its tools, and of those in theirs.
    """

    outer: Nest | None = None
    depth: int = 0
    usage: Usage = attrs.field(factory=Usage)

    @classmethod
    def here(cls, limit: int) -> Nest:
        """Of a run that begins here.

        Args:
            limit: how deep runs may be nested.

        Raises:
            LocalProtocolError: they are nested as deep as they may be.
        """
        outer = _CURRENT.get()
        if outer is None:
            return cls()
        if outer.depth >= limit:
            raise LocalProtocolError(f"runs are nested {limit} deep, and may not be deeper (limits.nested_runs)")
        return cls(outer, outer.depth + 1)

    def enter(self) -> None:
        """From here on, this task and what it starts work for the run."""
        _CURRENT.set(self)

    def leave(self, usage: Usage) -> None:
        """The run has ended, and has cost this beside what the runs in its tools have."""
        if self.outer is not None:
            self.outer.usage += usage + self.usage
