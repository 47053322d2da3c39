"""A sub-agent: a tool whose call is a run of its own, on a lane of its own, beside the run that calls it.

It is part of the calling run as any tool is: cancelled with it, and waited for. Several of them work at once over the
one connection, each as long as it takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import attrs

from agentwire.client.asking import Input, ToolLike
from agentwire.client.run import Run
from agentwire.runtime.tools.local import LocalTool, Rerun, make_tool

__all__ = ["SubAgent", "make_sub_agent"]


class _Runner(Protocol):
    """What can run."""

    def run(self, /, input: Input, **request: Any) -> Any:  # noqa: A002 - the wire's own name
        """See `agentwire.Client.run`."""


@attrs.frozen(eq=False)
class SubAgent(LocalTool[..., Any]):
    """A tool that is a run; made by `Client.sub_agent`. It runs in the client's own loop, whoever offers it."""


def make_sub_agent(
    client: _Runner,
    name: str,
    *,
    description: str | None,
    tools: Iterable[ToolLike],
    timeout: float | None,
    rerun: Rerun,
    request: dict[str, Any],
) -> SubAgent:
    """A sub-agent; `Client.sub_agent` says what the arguments mean."""
    own = tuple(tools)

    async def call(task: str) -> str:
        async with client.run(task, tools=own, **request) as run:
            return await _answer(run)

    told = description or f"Give a task to {name}, who works on it alone and answers with the outcome."
    made = make_tool(call, name=name, description=told, timeout=timeout, rerun=rerun)
    return SubAgent(**attrs.asdict(made, recurse=False))


async def _answer(run: Run) -> str:
    return (await run.finish()).output_text
